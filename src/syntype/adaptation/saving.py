"""``generator.json`` and ``training_images.txt`` of an adapted generator."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from syntype.collection.table import Collection
from syntype.files import write_json
from syntype.generators.engine.checkpoint import write_learnt
from syntype.generators.engine.generator import Generator

__all__ = ["write_adapted"]


def write_adapted(
    out: Path, generator: Generator, known: Sequence[str], base: Generator, adapters: Sequence[dict[str, Any]], photographs: Collection
) -> str:
    """Write what makes a folder an adapted generator; its adapter files are there already.

    Args:
        out: The folder.
        generator: From which it was adapted.
        known: Its species.
        base: The base of both.
        adapters: An entry for each added species, those of ``generator`` first.
        photographs: From which the new species were learnt.

    Returns:
        the generator_id.
    """
    write_learnt(out, generator.trained_on | set(photographs.table["sha256"].dropna()))
    digests = [adapter["sha256"] for adapter in adapters]
    added = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    generator_id = f"{base.generator_id}+{added[:8]}"
    write_json(
        out / "generator.json",
        {
            "schema_version": base.info["schema_version"],
            "generator_id": generator_id,
            "family": generator.family,
            "config": base.info["config"],
            "species": list(dict.fromkeys([*known, *(adapter["species"] for adapter in adapters)])),
            "abilities": base.info.get("abilities", []),
            "licences": sorted({*generator.licences, *photographs.table["licence"].dropna()}),
            "terms": sorted({*generator.info.get("terms", []), *photographs.table["terms"].dropna()}),
            **{key: base.info[key] for key in ("built_on",) if key in base.info},
            "base": {
                "relative": os.path.relpath(base.folder, out),
                "absolute": str(base.folder.resolve()),
                "weights_sha256": base.info["weights_sha256"],
            },
            "adapters": list(adapters),
        },
    )
    return generator_id

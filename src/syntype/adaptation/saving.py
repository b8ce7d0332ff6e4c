"""An adapted generator on disk: one file for each added species, and a reference to the base."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from syntype.collection.table import Collection
from syntype.files import atomic_write, inside, write_json
from syntype.generators.engine.checkpoint import write_learnt, write_weights
from syntype.generators.engine.generator import NEW_ROW_PREFIX, Generator

__all__ = ["Added", "changed_tensors", "save_adapted"]


@dataclass(frozen=True)
class Added:
    """What was learnt of a species.

    Attributes:
        species: Its name.
        photographs: From which it was learnt.
        relative: The most similar known species, if known.
        rank: The rank that both share, if the relative was chosen by it.
        changed: Tensors of its file, by their names there.
        description: What else the family remembers of it; see ``contract.DescribesSpecies``.
    """

    species: str
    photographs: Collection
    relative: str | None
    rank: str | None
    changed: dict[str, Tensor]
    description: Mapping[str, str]


def changed_tensors(before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that changed or are new. Of a tensor that gained rows for the new species, only these rows."""
    changed = {}
    for name, tensor in after.items():
        tensor = tensor.detach().cpu()
        if name in before and tensor.shape != before[name].shape:
            changed[NEW_ROW_PREFIX + name] = tensor[len(before[name]) :].clone().contiguous()
        elif name not in before or not torch.equal(tensor, before[name].cpu()):
            changed[name] = tensor.clone(memory_format=torch.contiguous_format)
    return changed


def save_adapted(
    generator: Generator, known: Sequence[str], base: Generator, added: Sequence[Added], method: str, steps: int, seed: int, out: Path
) -> tuple[str, int]:
    """Write the files of the species that a generator had and of those that were added, and ``generator.json``.

    Args:
        generator: The generator that was adapted, which may have added species.
        known: Its species.
        base: The generator with the weights.
        added: What was learnt.
        method: How.
        steps: Number of training steps.
        seed: Of the choice of photographs and of the training.
        out: Folder of the adapted generator.

    Returns:
        Its identifier, and the size of the new files in bytes.
    """
    adapters = list(generator.info.get("adapters", []))
    (out / "adapters").mkdir(parents=True, exist_ok=True)
    for adapter in adapters:
        with atomic_write(inside(out, adapter["file"])) as temporary:
            shutil.copyfile(inside(generator.folder, adapter["file"]), temporary)
    size, learnt, licences, terms = 0, set(generator.trained_on), set(generator.licences), set(generator.info.get("terms", []))
    for one in added:
        file, table = out / "adapters" / f"{len(adapters):04d}.safetensors", one.photographs.table
        digest = write_weights(file, one.changed)
        size += file.stat().st_size
        learnt |= set(table["sha256"].dropna())
        licences |= set(table["licence"].dropna())
        terms |= set(table["terms"].dropna())
        adapters.append(
            {
                "species": one.species,
                "file": f"adapters/{file.name}",
                "sha256": digest,
                "method": method,
                "relative": one.relative,
                **({} if one.rank is None else {"relative_rank": one.rank}),
                "steps": steps,
                "seed": seed,
                "photographs": table["image_id"].tolist(),
                **({"description": dict(one.description)} if one.description else {}),
            }
        )
    write_learnt(out, learnt)
    digests = [str(adapter["sha256"]) for adapter in adapters]
    identity = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    generator_id = f"{base.generator_id}+{identity[:8]}"
    write_json(
        out / "generator.json",
        {
            "schema_version": base.info["schema_version"],
            "generator_id": generator_id,
            "family": generator.family,
            "config": base.info["config"],
            "species": [*known, *(one.species for one in added)],
            "abilities": base.info.get("abilities", []),
            "licences": sorted(licences),
            "terms": sorted(terms),
            **{key: base.info[key] for key in ("built_on",) if key in base.info},
            "base": {
                "relative": os.path.relpath(base.folder, out),
                "absolute": str(base.folder.resolve()),
                "weights_sha256": base.info["weights_sha256"],
            },
            "adapters": adapters,
        },
    )
    return generator_id, size

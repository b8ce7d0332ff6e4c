"""Damaged files: what a broken disk, a broken copy, a newer version or another program may leave, and what a reader says to it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syntype.errors import UserError

__all__ = ["damage_all", "damages", "with_value"]

_OTHERS: tuple[Any, ...] = (None, 3, "x", True, [3], {"x": 3})


def damages(content: bytes, *, is_json: bool) -> Iterator[tuple[str, bytes | None]]:
    """Descriptions and contents of a file after damage; None if the file is gone. ``is_json``: it holds a JSON object."""
    yield from {"missing": None, "empty": b"", "half": content[: len(content) // 2], "all but the end": content[:-3]}.items()
    yield "random bytes", np.random.default_rng(0).bytes(max(64, min(len(content), 4096)))
    yield "zeros", bytes(len(content))
    yield "a changed middle", content[: len(content) // 2] + b"\xff\x00\x80" + content[len(content) // 2 + 3 :]
    yield "a page of a website", b"<!DOCTYPE html><html><body>404</body></html>"
    if not is_json:
        return
    yield from {f"JSON {text}": text.encode() for text in ("[]", "3", "null", '"text"', "NaN", "{}")}.items()
    yield "nested a thousand times", b"[" * 100_000
    yield "UTF-16", content.decode("utf-8").encode("utf-16")
    whole = json.loads(content)
    yield "newer", json.dumps({**whole, "schema_version": 99}).encode()
    for key, value in whole.items():
        yield f"without {key}", json.dumps({name: kept for name, kept in whole.items() if name != key}).encode()
        for other in _OTHERS:
            if type(other) is not type(value) or (other and isinstance(value, (list, dict))):
                yield f"{key} = {other!r}", json.dumps({**whole, key: other}).encode()


def with_value(folder: Path, tmp_path: Path, file: str, key: str, value: object) -> Path:
    """A copy of a folder in whose JSON file one key has another value."""
    copied = tmp_path / "changed"
    shutil.copytree(folder, copied)
    (copied / file).write_text(json.dumps({**json.loads((copied / file).read_text()), key: value}))
    return copied


def damage_all(
    folder: Path, tmp_path: Path, read: Callable[[Path], Any], *, refused: Callable[[str, str], bool] = lambda _name, _how: False, every: int = 1
) -> int:
    """Damage each file of a folder in every way, one at a time, in a copy, and read it: ``read`` must succeed or raise ``UserError`` of one line.

    Args:
        folder: a sound folder.
        tmp_path: where to put the copy.
        read: reads the folder that it is given.
        refused: whether damage of a file (its name in the folder, the description) must be refused.
        every: try each n-th damage only, for a reader that takes long.

    Returns:
        how often ``read`` was called.
    """
    copied = tmp_path / "damaged"
    shutil.copytree(folder, copied)
    read(copied)
    faults, calls = [], 0
    for file in sorted(path for path in copied.rglob("*") if path.is_file()):
        name, content = file.relative_to(copied).as_posix(), file.read_bytes()
        for how, damaged in islice(damages(content, is_json=file.suffix == ".json"), 0, None, every):
            file.unlink(missing_ok=True)
            if damaged is not None:
                file.write_bytes(damaged)
            calls += 1
            try:
                read(copied)
                if refused(name, how):
                    faults.append(f"{name}, {how}: accepted")
            except UserError as error:
                if "\n" in str(error):
                    faults.append(f"{name}, {how}: not one sentence: {str(error)[:300]!r}")
            except Exception as error:
                faults.append(f"{name}, {how}: {type(error).__name__}: {str(error)[:200]}")
        file.write_bytes(content)
    if faults:
        pytest.fail(f"{len(faults)} of {calls}:\n" + "\n".join(faults), pytrace=False)
    return calls

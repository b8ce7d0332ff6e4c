"""Verification of a collection: every image file is read, and compared with its row."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from syntype.collection.decoding import in_threads, read_bytes, read_image
from syntype.collection.table import Collection
from syntype.errors import InputError
from syntype.run import OWN_RUN, Run

__all__ = ["PROBLEMS", "VerifyResult", "verify"]

PROBLEMS = {
    "missing": "Put it back, or delete its row.",
    "empty": "Copy it again from where it came.",
    "changed": "Copy it again from where it came, or import the photographs again.",
    "damaged": "Copy it again from where it came.",
    "unknown": "The table has no row for it: import it, or move it out of the folder.",
}
"""What can be wrong with a file, and what to do."""
_SHOWN = 20


@dataclass(frozen=True)
class VerifyResult:
    """What ``verify`` found.

    Attributes:
        name: the collection's name.
        num_images: number of rows.
        num_files: number of image files that the table names.
        num_without_hash: number of files whose row had no hash; whether they have changed cannot be told.
        problems: one dict per file that something is wrong with: ``file``, ``row`` (counted from 1; null for unknown files), ``problem`` (a key of
            ``PROBLEMS``), ``detail``.
    """

    name: str
    num_images: int
    num_files: int
    num_without_hash: int
    problems: tuple[dict[str, Any], ...]

    def summary(self) -> dict[str, Any]:
        """All results as plain values."""
        counts = {kind: sum(found["problem"] == kind for found in self.problems) for kind in PROBLEMS}
        return {
            "name": self.name, "num_images": self.num_images, "num_files": self.num_files, "num_without_hash": self.num_without_hash,
            **counts, "problems": list(self.problems),
        }  # fmt: skip

    def text(self) -> str:
        """All results as text for a terminal. Of each kind of problem the first files are named."""
        lines = [f"{self.name}: {self.num_files:,} image files of {self.num_images:,} rows were read"]
        if self.num_without_hash:
            lines.append(f"{self.num_without_hash:,} have no recorded hash, so it cannot be told whether they have changed.")
        for kind, mend in PROBLEMS.items():
            found = [problem for problem in self.problems if problem["problem"] == kind]
            if found:
                lines += ["", f"! {len(found):,} {kind}. {mend}"]
                lines += [f"  {_described(problem)}" for problem in found[:_SHOWN]]
                lines += [f"  … {len(found) - _SHOWN:,} more; --json names all"] if len(found) > _SHOWN else []
        return "\n".join(lines if self.problems else [*lines, "no problems found"])


def _described(problem: dict[str, Any]) -> str:
    row = "" if problem["row"] is None else f", row {problem['row']}"
    return f"{problem['file']}{row}: {problem['detail']}"


def verify(collection: Collection, run: Run = OWN_RUN) -> VerifyResult:
    """Read every image file of a collection, and compare it with its row: whether it is there, has the recorded hash and size, and can be decoded.

    Files in ``images/`` that the table does not name are told too. Nothing is changed.

    Args:
        collection: any collection; best opened with ``Collection.open(folder, hashes=False)``, which works if files are missing too.
        run: Records progress. Default: standard error.

    Example:
        >>> import syntype
        >>> from syntype.collection.verification import verify
        >>> verify(syntype.Collection.open("out/reef")).problems
        ()
    """
    table = collection.table
    first = table.drop_duplicates("file_name")  # several rows may show parts of one photograph
    columns = [first[name].tolist() for name in ("file_name", "sha256", "width", "height")]
    jobs = [(int(row), *values) for row, *values in zip(first.index, *columns, strict=True)]
    problems = []
    with run.progress("reading images", len(jobs)) as bar:
        for found in in_threads(lambda job: _check(collection, *job), jobs):
            problems += [found] if found else []
            bar.advance()
    known = set(columns[0])
    for name in _files(collection.root):
        if name not in known:
            problems.append({"file": name, "row": None, "problem": "unknown", "detail": "is not in the table"})
    return VerifyResult(collection.name, len(table), len(jobs), int(first["sha256"].isna().sum()), tuple(problems))


def _check(collection: Collection, row: int, name: str, sha256: Any, width: Any, height: Any) -> dict[str, Any] | None:
    """What is wrong with the file of a row, or None."""

    def problem(kind: str, detail: str) -> dict[str, Any]:
        return {"file": name, "row": row + 1, "problem": kind, "detail": detail}

    path = collection.path(row)
    if not os.path.lexists(path):
        return problem("missing", "is not there")
    try:
        data = read_bytes(path)
        if not data:
            return problem("empty", "has 0 bytes")
        if not pd.isna(sha256) and hashlib.sha256(data).hexdigest() != sha256:
            return problem("changed", "has other bytes than recorded in sha256")
        pixels = read_image(data).pixels
    except InputError as error:
        return problem("damaged", error.reason)
    measured = (pixels.shape[1], pixels.shape[0])
    recorded = tuple(side if pd.isna(known) else int(known) for side, known in zip(measured, (width, height), strict=True))
    if measured != recorded:
        return problem("changed", f"measures {measured[0]} x {measured[1]} pixels, but its row says {recorded[0]} x {recorded[1]}")
    return None


def _files(root: Path) -> Iterator[str]:
    """Names of all files in ``images/``, as the table would give them, in order."""
    for folder, folders, files in os.walk(root / "images"):
        folders.sort()
        for file in sorted(files):
            yield (Path(folder) / file).relative_to(root).as_posix()

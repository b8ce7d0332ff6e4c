"""Files that were refused, with the reasons: while they are sent, and by the import."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from syntype.apps.web.translated import translated
from syntype.apps.web.wording import in_the_studio
from syntype.files import atomic_write, read_json_object, write_json

__all__ = ["RefusedFile", "in_the_language", "join_refused", "list_refused_of", "load_refused", "save_refused"]

_FILE = ".refused.json"
_COLUMNS = ("file", "row", "reason", "hint")


@dataclass(frozen=True)
class RefusedFile:
    """A refused file: what is wrong, and what to do. ``row``: of the table that names it, counted from 1 below the header."""

    file: str
    reason: str
    hint: str
    row: int | None = None


def save_refused(upload: Path, refused: Sequence[RefusedFile]) -> None:
    """Write down what was refused while files were sent to an upload."""
    write_json(upload / _FILE, {"refused": [asdict(item) for item in refused]})


def load_refused(upload: Path) -> list[RefusedFile]:
    """What ``save_refused`` wrote; empty if it wrote nothing, or if another version did."""
    with suppress(TypeError):
        return [RefusedFile(**item) for item in read_json_object(upload / _FILE).get("refused") or []]
    return []


def list_refused_of(collection: Path, most: int) -> list[RefusedFile]:
    """The files in the ``refused.csv`` of a collection. Of an upload's files the paths inside it, of others the names."""
    return [
        RefusedFile(
            _shown(row.get("file") or ""),
            translated(in_the_studio(row.get("reason") or "")),
            translated(in_the_studio(row.get("hint") or "", hint=True)),
            int(number) if number.isdecimal() else None,
        )
        for row in _rows(collection / "refused.csv", most)
        for number in [(row.get("row") or "")[:18]]
    ]


def in_the_language(refused: RefusedFile) -> RefusedFile:
    """The same in the language of the page."""
    return replace(refused, reason=translated(refused.reason), hint=translated(refused.hint))


def join_refused(collection: Path, refused: Sequence[RefusedFile], start: str) -> None:
    """Add files that were refused when they were sent to the ``refused.csv`` of a collection. A row of a table whose photograph was refused gets the
    reason of the photograph.

    Args:
        start: path of the upload, with a separator at its end.
    """
    known = {item.file: item for item in refused}
    rows = _rows(collection / "refused.csv", None)
    for row in rows:
        if (item := known.pop((row.get("file") or "").removeprefix(start), None)) is not None:
            row["reason"], row["hint"] = item.reason, item.hint
    rows += [{"file": start + item.file, "row": "", "reason": item.reason, "hint": item.hint} for item in known.values()]
    with atomic_write(collection / "refused.csv") as temporary, temporary.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, _COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _rows(path: Path, most: int | None) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace", newline="") as file, suppress(csv.Error):  # a damaged list is shown as far as it goes
        return list(islice(csv.DictReader(line.replace("\0", "") for line in file), most))
    return []


def _shown(file: str) -> str:
    parts = Path(file).parts
    if "uploads" in parts[:-2]:
        start = len(parts) - parts[::-1].index("uploads")
        return Path(*parts[start + 1 :]).as_posix()
    return Path(file).name

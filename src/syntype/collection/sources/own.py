"""Collections of Syntype and what ``syntype export`` wrote: taken over as they are, with origin, verdicts, splits, groups, boxes and all columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syntype.collection.columns import COLUMNS, ORIGINS, REASONS, SPLITS, TABLE, VERDICTS
from syntype.collection.sources.base import Entry, Listing, Reader, Refused, SourceConfig
from syntype.collection.sources.finding import FileFinder, Unclear
from syntype.collection.sources.image_files import images_folder
from syntype.collection.sources.text_tables import read_header, read_table
from syntype.errors import InputError, shortened
from syntype.files import inside

__all__ = ["READER"]

_SIGNS = frozenset(
    {"image_id", "file_name", "species", "group", "split", "sha256", "phash", "duplicate_of", "box", "origin", "generator_id", "verdict", "reason"}
)
"""Columns that all tables of Syntype have, and those of nobody else."""
_ABOUT = "collection.json"
_TABLES = (TABLE, "collection.parquet", "metadata.csv")
"""Where the table lies; the second name is that of the layout for Hugging Face, whose loader would read the first one too."""
_KNOWN = {"split": SPLITS, "origin": ORIGINS, "verdict": VERDICTS, "reason": REASONS}
_MEASURED = frozenset({"file_name", "species", "group", "split", "duplicate_of", "original_name", "note"})
"""Columns that are not handed on as values: the entry has them, or the import finds them anew."""


@dataclass(frozen=True)
class _Place:
    """The table of a collection, and what else is known of it."""

    table: Path
    about: Mapping[str, Any] = field(default_factory=dict)


def _find(source: Path, config: SourceConfig) -> _Place | None:
    """The table of a collection or export; None if the source is none."""
    asked = (config.file_column, config.species_column, config.group_column, config.split_column, config.licence_column, config.box_column)
    if any(asked) or config.splits:  # somebody who names columns wants the table to be read in another way
        return None
    if source.is_file():
        if source.name == _ABOUT:
            return _find(source.parent, config)
        return _Place(source, _about(source.parent)) if _is_own(source) else None
    for folder in _folders(source):
        about = _about(folder)
        for name in _TABLES:
            table = folder / name
            if table.is_file() and (_is_own(table) or (about and name != "metadata.csv")):
                return _Place(table, about)
    return None


def _folders(source: Path) -> Iterator[Path]:
    """The folder, and the only folder in it: unpacking programs often put one around the content."""
    yield source
    try:
        inner = [path for path in source.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    except OSError:
        return
    if len(inner) == 1 and inner[0].is_dir():
        yield inner[0]


def _is_own(table: Path) -> bool:
    """Whether a table has the columns of Syntype."""
    try:
        if table.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            return set(pq.read_schema(table).names) >= _SIGNS
        return table.suffix.lower() == ".csv" and set(read_header(table)[0]) >= _SIGNS
    except Exception:  # pyarrow raises anything on damaged bytes; then it is not recognised
        return False


def _about(folder: Path) -> dict[str, Any]:
    """Name, species, sources and history, from ``collection.json``; empty where it has none that can be read."""
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(about, dict) or "schema_version" not in about:
        return {}
    texts = about.get("species")
    lists = {key: about[key] for key in ("sources", "history") if isinstance(about.get(key), list)}
    if isinstance(texts, list) and all(isinstance(name, str) and name.strip() for name in texts) and len(set(texts)) == len(texts):
        lists["species"] = texts
    name = about.get("name")
    return {**lists, "name": name} if isinstance(name, str) and name.strip() else lists


def _recognises(source: Path, config: SourceConfig) -> bool:
    return _find(source, config) is not None


def _read(source: Path, config: SourceConfig) -> Listing:
    place = _find(source, config)
    if place is None:
        raise InputError("is not a collection or an export of Syntype", "Leave out --format, and it is recognised by its content.", file=source)
    columns, numbers, unreadable, notes = _parquet(place.table) if place.table.suffix == ".parquet" else _delimited(place.table)
    missing = sorted(_SIGNS - columns.keys())
    if missing:
        raise InputError(f"lacks the columns {shortened(', '.join(missing))}", "Take the collection as it was exported.", file=place.table)
    finder = FileFinder(images_folder(place.table.parent, config))
    items: list[Entry | Refused] = [
        _item({name: cells[row] for name, cells in columns.items()}, number, place.table.name, finder) for row, number in enumerate(numbers)
    ]
    items = sorted([*items, *unreadable], key=lambda item: item.row or 0)
    entries = [item for item in items if isinstance(item, Entry)]
    synthetic = sum(entry.values.get("origin") == "synthetic" for entry in entries)
    refused = sum(entry.values.get("verdict") == "refused" for entry in entries)
    if 0 < synthetic < len(entries):
        notes.append(f"a mixture of {len(entries) - synthetic:,} photographs and {synthetic:,} synthetic images")
    if refused:
        notes.append(f"{refused:,} images were refused by curation or an expert, and stay refused")
    if not place.about:
        notes.append(f"no readable {_ABOUT} lies beside the table: the order of the species and the history are not known")
    about = {key: place.about[key] for key in ("name", "history") if key in place.about}
    species = place.about.get("species")
    origins = place.about.get("sources", [str(source)])
    return Listing("collection of Syntype", items, notes, origins, None if species is None else tuple(species), about, whole=True)


_Columns = tuple[dict[str, list[Any]], list[int], list[Refused], list[str]]
"""The cells of each column, the numbers of the rows, rows that could not be read, and notes."""


def _parquet(path: Path) -> _Columns:
    """The columns of a Parquet file, with every number as it is (pandas would make whole numbers beside empty cells inexact)."""
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
        columns = {name: [None if cell != cell else cell for cell in table[name].to_pylist()] for name in table.column_names}
    except Exception as error:  # pyarrow raises anything on damaged bytes
        raise InputError(f"is damaged ({type(error).__name__})", "Copy it again from where it came.", file=path) from None
    return columns, list(range(1, table.num_rows + 1)), [], []


def _delimited(path: Path) -> _Columns:
    """The columns of a CSV file: texts, or None for empty cells."""
    table = read_table(path)
    columns = {str(name): [None if cell == "" else cell for cell in table.frame[name].tolist()] for name in table.frame.columns}
    return columns, table.numbers, table.refused, list(table.notes)


def _item(cells: Mapping[str, Any], row: int, table: str, finder: FileFinder) -> Entry | Refused:
    """A row of the table as an entry."""
    name = cells["file_name"]
    told = shortened(name, 200) if isinstance(name, str) else table

    def refuse(reason: str, hint: str) -> Refused:
        return Refused(told, row, reason, hint)

    if not isinstance(name, str) or not name:
        return refuse("names no file", "Fill in file_name, or remove the row.")
    try:
        inside(finder.folder, name)
    except InputError as error:
        return refuse("names a file outside the collection", error.hint)
    for column, known in _KNOWN.items():
        if cells[column] is not None and cells[column] not in known:
            return refuse(f"{column} is not one of {', '.join(known)}", f"It is {shortened(repr(cells[column]))}: correct it, or leave it empty.")
    texts = {key: cells.get(key) for key in ("species", "group", "original_name", "note")}
    if wrong := next((key for key, value in texts.items() if value is not None and not isinstance(value, str)), None):
        return refuse(f"{wrong} is not a text", f"It is {shortened(repr(texts[wrong]))}: correct it.")
    try:
        values = {key: _value(key, cell) for key, cell in cells.items() if key not in _MEASURED and (cell is not None or key not in COLUMNS)}
        box = _box(cells["box"])
    except ValueError as error:
        return refuse(str(error), "Correct it, or leave it empty.")
    found = finder.search(name)
    if isinstance(found, Unclear):
        return refuse(found.reason, found.hint)
    return Entry(
        found.path, texts["species"], row, group=texts["group"], split=cells["split"], box=box, note=texts["note"], values=values,
        original_name=texts["original_name"],
    )  # fmt: skip


def _value(column: str, cell: Any) -> Any:
    """A value in the type of its column; further columns stay as they are."""
    kind = COLUMNS.get(column)
    try:
        if kind is not None and kind.startswith("Int"):
            return int(cell)
        if kind == "Float64":
            return float(cell)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{column} is not a number") from None
    if kind == "string" and not isinstance(cell, str):
        raise ValueError(f"{column} is not a text")
    return cell


def _box(text: Any) -> tuple[float, float, float, float] | None:
    if text is None:
        return None
    try:
        box = json.loads(text)
        left, top, right, bottom = map(float, box)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("box is not [left, top, right, bottom]") from None
    return left, top, right, bottom


READER = Reader("syntype", "collections and exports of Syntype", _recognises, _read)

"""Rows of a table as entries: which column says what, and what each cell means. Every reader of a tabular format uses ``list_rows``."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from syntype.collection.sources.addresses import find_addressed, is_address
from syntype.collection.sources.base import Entry, Refused, SourceConfig, parse_split, species_name
from syntype.collection.sources.boxes import Boxes, find_box_columns, parse_box, read_boxes
from syntype.collection.sources.finding import FileFinder, Found, Unclear
from syntype.collection.sources.licences import licence_name
from syntype.collection.sources.meanings import SYNONYMS, Meanings, find_meanings
from syntype.collection.sources.source_table import SourceTable

__all__ = ["SYNONYMS", "check_repeats", "list_rows", "parse_box"]

_NULLS = frozenset({"", "na", "n/a", "nan", "null", "none"})
_NO_SPECIES = frozenset({"", "na", "n/a", "nan"})
"""A missing species, as spreadsheets, R and pandas write it in a CSV file. Any other word is a name; in a Parquet table every word is."""
_EXTRAS = ("licence", "rights_holder", "source_url", "terms", "origin")


def list_rows(
    table: SourceTable,
    finder: FileFinder,
    config: SourceConfig,
    split: str | None = None,
    *,
    species: str | None = None,
    name: str | None = None,
    notes: list[str] | None = None,
) -> list[Entry | Refused]:
    """The rows of a table as entries, each row one item, in their order; rows that could not be read among them.

    Call ``check_repeats`` on the items of all tables of a source.

    Args:
        table: the table.
        finder: finds the image files.
        config: names of columns that the user gave; for the others the usual names are tried (``SYNONYMS``).
        split: the split of all rows, if the table is that of one split.
        species: the species of all rows, if the table has no column for it.
        name: what messages call the table, if the source has several.
        notes: takes sentences on what was decided.

    Raises:
        InputError: the table lacks a column that was given or is required.
    """
    frame, notes = table.frame, [] if notes is None else notes
    meanings = find_meanings(frame, table.path, config, species is not None)
    notes += meanings.notes
    num_rows = len(frame)
    files = _texts(frame, meanings.columns["file"], _NULLS, num_rows)
    names = _species(frame, meanings, frozenset({""}) if table.typed else _NO_SPECIES, species, num_rows)
    groups = _texts(frame, meanings.columns["group"], _NULLS, num_rows)
    splits, words = _splits(frame, meanings, split, notes, num_rows)
    addressed = find_addressed(finder, (file for file in files if file is not None and is_address(file)))
    found = [None if file is None else addressed.get(file) or finder.search(file) for file in files]
    four = find_box_columns(frame.columns) if meanings.columns["box"] is None else None
    boxes = read_boxes(frame, table.numbers, meanings.columns["box"], four, config, lambda row: _size_of(found[row]))
    notes += boxes.notes
    meant = {key: column for key in _EXTRAS if (column := meanings.columns[key]) is not None}
    extras = {key: _texts(frame, column, _NULLS, num_rows) for key, column in meant.items()}
    if "licence" in extras:
        extras["licence"] = [licence_name(text) for text in extras["licence"]]
    if "origin" in extras:
        extras["origin"] = [None if word is None or word.lower() not in ("real", "synthetic") else word.lower() for word in extras["origin"]]
    used = set(four[0]) if four is not None and any(boxes.boxes) else set()
    further = {name: _cells(frame[column]) for column, name in meanings.further.items() if column not in used}
    if any(boxes.unused):  # what is not used is kept as it is; also, rows with different boxes are different animals
        further["source_box"] = boxes.unused
    values = _values([*extras.items(), *further.items(), *([("source_split", words)] if words else [])], num_rows)
    _tell_found(found, notes)
    items: list[Entry | Refused] = []
    for row, number in enumerate(table.numbers):
        items.append(_entry(files[row], names[row], found[row], number, name, groups[row], splits[row], boxes, row, values[row]))
    if not table.refused:
        return items
    refused = [replace(item, file=item.file or (name or table.path.name)) for item in table.refused]
    return sorted([*items, *refused], key=lambda item: item.row or 0)


def _entry(
    file: str | None,
    species: str | None,
    found: Found | Unclear | None,
    row: int,
    table: str | None,
    group: str | None,
    split: str | None,
    boxes: Boxes,
    position: int,
    values: Mapping[str, Any],
) -> Entry | Refused:
    where = f"{table}: " if table is not None else ""
    if file is None or found is None:
        return Refused(f"{where}".rstrip(": "), row, "names no file", "Fill in the file column, or remove the row.")
    if not species:
        return Refused(f"{where}{file}", row, "has no species", "Fill in the species column (NA and NaN count as empty), or remove the row.")
    if isinstance(found, Unclear):
        return Refused(f"{where}{file}", row, found.reason, found.hint)
    url = file if is_address(file) and found.how == "missing" else None
    box = boxes.boxes[position]
    return Entry(
        found.path,
        species,
        row,
        table,
        group=group,
        split=split,
        box=box,
        box_shares=boxes.shares and box is not None,
        note=boxes.row_notes[position],
        values=values,
        original_name=file.replace("\\", "/"),
        url=url,
    )


def _tell_found(found: Sequence[Found | Unclear | None], notes: list[str]) -> None:
    how = Counter(item.how for item in found if isinstance(item, Found))
    for kind, words in (("spelling", "case, accents or spaces"), ("ending", "their ending"), ("place", "the folders before them")):
        if how[kind]:  # type: ignore[index]
            example = next(item.path for item in found if isinstance(item, Found) and item.how == kind)
            notes.append(f"{how[kind]:,} file names differ from those of the files in {words} ({example.name[:60]}); one file alone fits each")  # type: ignore[index]


def _species(frame: pd.DataFrame, meanings: Meanings, missing: frozenset[str], species: str | None, num_rows: int) -> list[str | None]:
    column = meanings.columns["species"]
    if column is None:
        return [species] * num_rows
    texts = _texts(frame, column, missing, num_rows)
    standard = {text: species_name(text) or None for text in set(texts) if text is not None}
    names = [None if text is None else standard[text] for text in texts]
    if meanings.genus is not None:
        genera = _texts(frame, meanings.genus, missing, num_rows)
        names = [None if name is None or genus is None else species_name(f"{genus} {name}") for genus, name in zip(genera, names, strict=True)]
    return names


def _splits(
    frame: pd.DataFrame, meanings: Meanings, split: str | None, notes: list[str], num_rows: int
) -> tuple[list[str | None], list[str | None] | None]:
    """The split of each row, and the words of the source where some are no split."""
    column = meanings.columns["split"]
    if split is not None:
        return [split] * num_rows, None if column is None else _texts(frame, column, _NULLS, num_rows)
    if column is None:
        return [None] * num_rows, None
    words = _texts(frame, column, _NULLS, num_rows)
    known = {word: parse_split(word) for word in set(words) if word is not None}
    splits = [None if word is None else known[word] for word in words]
    counts = Counter(one for one in splits if one)
    shown = ", ".join(f"{one} {counts[one]:,}" for one in ("train", "val", "test") if counts[one])
    without = num_rows - sum(counts.values())
    if counts:
        notes.append(f"splits are the author's (column {column!r}): {shown}" + (f", none {without:,}" if without else ""))
    unknown = Counter(word for word in words if word is not None and known[word] is None)
    if unknown:
        most = ", ".join(f"{word[:30]!r} {number:,}" for word, number in unknown.most_common(5))
        more = f" and {len(unknown) - 5} other words" if len(unknown) > 5 else ""
        notes.append(f"words in the column {column!r} that are no split: {most}{more}; these rows are in none")
    return splits, words if unknown else None


def _texts(frame: pd.DataFrame, column: str | None, missing: frozenset[str], num_rows: int) -> list[str | None]:
    """The cells of a column as text; None where they are empty."""
    if column is None:
        return [None] * num_rows
    return [_text(cell, missing) for cell in frame[column].tolist()]


def _text(cell: object, missing: frozenset[str]) -> str | None:
    if isinstance(cell, str):
        text = cell.strip()
        if len(text) > 4:  # no word for a missing value is longer
            return text
    else:
        value = _cell(cell)
        text = "" if value is None else str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return None if text.lower() in missing else text


def _cells(series: pd.Series) -> list[Any]:
    """The cells of a further column: None where they are empty, whole numbers that pandas made floats whole again."""
    cells = [_cell(cell) for cell in series.tolist()]
    if any(cell is None for cell in cells) and all(cell is None or (isinstance(cell, float) and cell.is_integer()) for cell in cells):
        return [None if cell is None else int(cell) for cell in cells]
    return cells


def _cell(cell: Any) -> Any:
    """A cell as text, number or bool; lists and objects as JSON, dates as text. None if it is empty."""
    if isinstance(cell, str):
        return cell or None
    if cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and cell != cell):
        return None
    if isinstance(cell, (bool, int, float)):
        return cell
    if isinstance(cell, (datetime.date, datetime.time)):
        return cell.isoformat()
    if isinstance(cell, Mapping):
        return json.dumps(dict(cell), default=_plain, ensure_ascii=False)
    if isinstance(cell, Iterable):
        return json.dumps(list(cell), default=_plain, ensure_ascii=False)
    return str(cell)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _values(columns: Sequence[tuple[str, list[Any]]], num_rows: int) -> list[dict[str, Any]]:
    """The further values of every row, without those that are empty."""
    values: list[dict[str, Any]] = [{} for _ in range(num_rows)]
    for name, cells in columns:
        for row, cell in enumerate(cells):
            if cell is not None:
                values[row][name] = cell
    return values


def _size_of(found: Found | Unclear | None) -> tuple[int, int] | None:
    """Width and height of an upright image, from its first bytes; None if it cannot be opened, or is of a rare format."""
    from PIL import Image

    from syntype.collection.foreign import foreign_kind

    if not isinstance(found, Found) or not found.path.is_file():
        return None
    try:
        if found.path.suffix.lower() not in (".jpg", ".jpeg", ".png") and foreign_kind(found.path.read_bytes()) is not None:
            return None  # a RAW file may begin as a TIFF with a small picture
        with Image.open(found.path, formats=["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"]) as image:
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            return (image.height, image.width) if turned else (image.width, image.height)
    except Exception:  # Pillow raises anything on damaged bytes; the import itself says what is wrong
        return None


def check_repeats(items: Sequence[Entry | Refused]) -> list[Entry | Refused]:
    """Look at rows of one file: several animals get one group, the same row twice and rows that contradict one another are refused.

    Args:
        items: entries and refused items.
    """
    by_file: dict[object, list[int]] = {}
    for position, item in enumerate(items):
        if isinstance(item, Entry):
            by_file.setdefault(item.image, []).append(position)
    result = list(items)
    for positions in by_file.values():
        if len(positions) > 1:
            _check_file(result, positions)
    return result


def _check_file(result: list[Entry | Refused], positions: Sequence[int]) -> None:
    entries = {position: item for position in positions if isinstance(item := result[position], Entry)}
    first = next(iter(entries.values()))

    def refuse(some: Iterable[int], reason: str, hint: Callable[[Entry, Entry], str]) -> None:
        some = list(some)
        for position in some:
            entry = entries[position]
            other = next(entries[one] for one in some if one != position)
            result[position] = Refused(_called(entry), entry.row, reason, hint(entry, other))

    if len({_spelling(entry) for entry in entries.values()}) > 1 and any(not _is_own_name(entry) for entry in entries.values()):
        loose = [position for position, entry in entries.items() if not _is_own_name(entry)]
        if len(loose) == len(entries):
            refuse(
                entries,
                "shares its file with another name",
                lambda one, other: f"{_row(one)} and {_row(other)} both fit {first.image}: write the folders too.",
            )
            return
        for position in loose:
            entry = entries.pop(position)
            result[position] = Refused(
                _called(entry), entry.row, "is missing", f"{Path(str(entry.image)).name} belongs to another row: correct the name."
            )
        if len(entries) < 2:
            return
    if len({entry.split for entry in entries.values()}) > 1:
        refuse(
            entries,
            "is in two splits",
            lambda one, other: f"{_row(one)} says {one.split or 'none'}, {_row(other)} {other.split or 'none'}: correct one of them.",
        )
        return
    by_box: dict[object, list[int]] = {}
    for position, entry in entries.items():
        by_box.setdefault(entry.box or ("no box", entry.values.get("source_box")), []).append(position)
    species = {entry.species for entry in entries.values()}
    whole = [position for position, entry in entries.items() if entry.box is None]
    if len(species) > 1 and whole:
        said = {entries[position].species for position in whole}
        against = whole if len(said) > 1 else [*whole, next(position for position, entry in entries.items() if entry.species not in said)]
        hint = "correct one of them, or give each animal a box"
        for position in whole:
            other = next(entries[one] for one in against if entries[one].species != entries[position].species)
            one = entries[position]
            result[position] = Refused(
                _called(one), one.row, "is listed with two species", f"{_row(one)} says {one.species}, {_row(other)} {other.species}: {hint}."
            )
    for same in by_box.values():
        names = {entries[position].species for position in same}
        if len(names) > 1 and entries[same[0]].box is not None:
            refuse(
                same,
                "is listed with two species",
                lambda one, other: f"{_row(one)} says {one.species}, {_row(other)} {other.species}: correct one of them.",
            )
        elif len(names) == 1:
            for position in same[1:]:
                entry = entries[position]
                hint = f"{_row(entries[same[0]])} says the same: remove one of them."
                result[position] = Refused(_called(entry), entry.row, "is listed twice", hint)
    kept = [position for position in entries if isinstance(result[position], Entry)]
    if len(kept) > 1:
        group = next((entries[position].group for position in kept if entries[position].group), None) or first.original_name
        for position in kept:
            if entries[position].group is None:
                result[position] = replace(entries[position], group=group)


def _called(entry: Entry) -> str:
    name = entry.original_name or str(entry.image)
    return f"{entry.table}: {name}" if entry.table is not None else name


def _row(entry: Entry) -> str:
    """How a message names the row of an entry: "Row 3", or "train.csv row 3"."""
    return f"Row {entry.row}" if entry.table is None else f"{entry.table} row {entry.row}"


def _spelling(entry: Entry) -> str:
    return (entry.original_name or "").casefold()


def _is_own_name(entry: Entry) -> bool:
    """Whether the path of the file ends with the name that the table gives it."""
    return str(entry.image).replace("\\", "/").endswith((entry.original_name or "").removeprefix("./"))

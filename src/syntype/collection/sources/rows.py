"""Rows of a table as entries: which column says what, and what each cell means. Every reader of a tabular format uses ``list_rows``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from syntype.collection.sources.base import Entry, Refused, SourceConfig, species_name
from syntype.collection.sources.finding import FileFinder
from syntype.collection.sources.text_tables import SourceTable
from syntype.errors import InputError, shortened, shown_list

__all__ = ["SYNONYMS", "list_rows", "parse_box"]

SYNONYMS: dict[str, tuple[str, ...]] = {
    "file": ("file_name", "filename", "file", "image", "path", "file_path", "filepath", "image_path", "image_name"),
    "species": ("standardized_species", "species", "label", "scientificName", "scientific_name", "taxon", "taxon_name", "class"),
    "group": ("group", "trajectory", "track", "track_id", "observation_id", "observation", "specimen_id", "specimen", "individual"),
    "licence": ("licence", "license"),
    "box": ("box", "bbox", "bounding_box"),
    "rights_holder": ("rights_holder", "rightsHolder", "rightsholder", "copyright"),
    "source_url": ("source_url", "url", "image_url"),
    "terms": ("terms",),
}  # fmt: skip
"""Column names that are tried in this order if none is given. Case is ignored. Names used by the Fish-Vista data set come first."""

_NULLS = frozenset({"", "na", "n/a", "nan", "null", "none"})
_NO_SPECIES = frozenset({"", "na", "n/a", "nan"})
"""A missing species, as spreadsheets, R and pandas write it in a CSV file. Any other word is a name; in a Parquet table every word is."""


def list_rows(table: SourceTable, finder: FileFinder, config: SourceConfig, split: str | None = None) -> list[Entry | Refused]:
    """The rows of a table as entries, each row one item, in their order; rows that could not be read among them.

    Args:
        table: the table.
        finder: finds the image files.
        config: names of columns that the user gave; for the others the usual names are tried (``SYNONYMS``).
        split: the split of all rows, if the table is that of one split.

    Raises:
        InputError: the table lacks a column that was given or is required.
    """
    asked = {
        "file": config.file_column, "species": config.species_column, "group": config.group_column,
        "licence": config.licence_column, "box": config.box_column,
    }  # fmt: skip
    frame, source = table.frame, table.path
    found = {key: _find_column(source, list(frame.columns), key, asked.get(key)) for key in SYNONYMS}
    items: list[Entry | Refused] = list(table.refused)
    seen: dict[tuple[str, ...], int] = {}
    no_species = frozenset({""}) if table.typed else _NO_SPECIES
    columns_of_cells = [frame[column].tolist() if column else [None] * len(frame) for column in found.values()]
    for row, cells in zip(table.numbers, zip(*columns_of_cells, strict=True), strict=True):
        value = {key: _value(cell, no_species if key == "species" else _NULLS) for key, cell in zip(found, cells, strict=True)}
        items.append(_entry(finder, row, value, seen))
    return items


def _entry(finder: FileFinder, row: int, value: dict[str, str | None], seen: dict[tuple[str, ...], int]) -> Entry | Refused:
    name, species = value["file"], species_name(value["species"] or "")
    if name is None:
        return Refused("", row, "names no file", "Fill in the file column, or remove the row.")
    if not species:
        return Refused(name, row, "has no species", "Fill in the species column (NA and NaN count as empty), or remove the row.")
    key = (name, species, value["box"] or "")
    if key in seen:
        return Refused(name, row, "is listed twice", f"Row {seen[key]} says the same: remove one of them.")
    seen[key] = row
    box, note = None, None
    if value["box"] is not None:
        box = parse_box(value["box"])
        note = None if box else f"box not used: {value['box'][:60]!r} is not left,top,right,bottom in pixels"
    extras = {key: text for key in ("licence", "rights_holder", "source_url", "terms") if (text := value[key]) is not None}
    return Entry(finder.find(name), species, row, group=value["group"], box=box, note=note, values=extras, original_name=name.replace("\\", "/"))


def parse_box(text: str) -> tuple[float, float, float, float] | None:
    """Read ``left,top,right,bottom`` (separated by commas, semicolons or spaces; brackets allowed). None if it is not such a box."""
    parts = text.strip().strip("[]()").replace(";", " ").replace(",", " ").split()
    try:
        left, top, right, bottom = (float(part) for part in parts)
    except ValueError:
        return None
    sound = all(abs(edge) < 1e9 for edge in (left, top, right, bottom)) and right - left >= 1 and bottom - top >= 1
    return (left, top, right, bottom) if sound else None


def _value(cell: object, missing: frozenset[str]) -> str | None:
    if cell is None or cell is pd.NA or (isinstance(cell, float) and cell != cell):
        return None
    text = (json.dumps(list(cell)) if isinstance(cell, Iterable) and not isinstance(cell, str) else str(cell)).strip()
    return None if text.lower() in missing else text


def _find_column(source: Path, columns: list[str], key: str, asked: str | None) -> str | None:
    shown, asked_for = shown_list(columns, 30), "" if asked is None else shortened(asked)
    option = f"--{key}-column"
    if asked is not None:
        if asked not in columns:
            raise InputError(f"has no column {asked_for!r}; its columns are: {shown}", f"Give one of these with {option}.", file=source)
        return asked
    lower = {str(column).strip().lower(): column for column in reversed(columns)}
    for name in SYNONYMS[key]:
        if name.lower() in lower:
            return lower[name.lower()]
    if key in ("file", "species"):
        raise InputError(f"has no column that names the {key}; its columns are: {shown}", f"Name one of these with {option}.", file=source)
    return None

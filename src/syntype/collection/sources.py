"""Lists the images to import, from one folder per species or from a table. No image is opened here."""

from __future__ import annotations

import csv
import io
import json
import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from syntype.errors import InputError

__all__ = ["SIDECARS", "SYNONYMS", "Entry", "Refused", "list_folder", "list_table", "parse_box", "species_name"]

SIDECARS = frozenset(
    {
        ".txt",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".parquet",
        ".xml",
        ".yaml",
        ".yml",
        ".md",
        ".html",
        ".pdf",
        ".xmp",
        ".log",
        ".py",
        ".ini",
        ".db",
        ".zip",
        ".mat",
    }
)
"""Endings of files that are often found beside photographs. They are skipped without a message, and so are hidden files."""

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


@dataclass(frozen=True)
class Entry:
    """One image to import.

    Attributes:
        path: path of the file.
        species: species name in Unicode NFC, without spaces at the ends.
        row: row of the table, counted from 1 below the header; None if the source is a folder.
        box: left, top, right, bottom in pixels; not yet checked against the size of the image.
        extras: those of licence, rights_holder, source_url and terms that are known.
    """

    path: Path
    species: str
    row: int | None = None
    group: str | None = None
    box: tuple[float, float, float, float] | None = None
    note: str | None = None
    extras: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """A file or row that cannot be used, with the reason and a hint on what to do."""

    file: str
    row: int | None
    reason: str
    hint: str


def species_name(text: str) -> str:
    """A species name in a standard form: Unicode NFC, single spaces, no spaces at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def list_folder(source: Path, skip: Path | None = None) -> list[Entry | Refused]:
    """List the files of a folder with one sub-folder per species (which may contain further sub-folders), or of a folder of one species.

    Args:
        skip: a folder inside ``source`` to leave out (the one to which the collection is written).

    Raises:
        InputError: there is nothing to import.
    """
    files = _walk(source, skip)
    if not files:
        raise InputError("holds no files to import", "Give a folder with one sub-folder a species, or a CSV file.", file=source)
    single = all(path.parent == source for path in files)
    items: list[Entry | Refused] = []
    for path in files:
        folder = source.resolve().name if single else path.relative_to(source).parts[0]
        species = species_name(folder.replace("_", " "))
        if not single and path.parent == source:
            items.append(Refused(str(path), None, "lies beside the species' folders", "Move it into the folder of its species."))
        elif not species:
            items.append(Refused(str(path), None, "has no species", "Name its folder after the species."))
        else:
            items.append(Entry(path, species))
    return items


def _walk(source: Path, skip: Path | None) -> list[Path]:
    found = []
    leave_out = None if skip is None else skip.resolve()
    for folder, folders, names in os.walk(source):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and (here / name).resolve() != leave_out)
        found += [here / name for name in sorted(names) if not name.startswith(".") and Path(name).suffix.lower() not in SIDECARS]
    return found


def list_table(source: Path, columns: Mapping[str, str | None]) -> list[Entry | Refused]:
    """List the rows of a CSV or Parquet table. Relative paths start from the table's folder.

    Args:
        columns: for each key of ``SYNONYMS`` the column's name, or None to try the usual names.

    Raises:
        InputError: the table cannot be read, has no rows, or lacks a column that was given or is required.
    """
    table = _read(source)
    found = {key: _find_column(source, list(table.columns), key, columns.get(key)) for key in SYNONYMS}
    items: list[Entry | Refused] = []
    seen: dict[tuple[str, ...], int] = {}
    no_species = frozenset({""}) if source.suffix.lower() == ".parquet" else _NO_SPECIES
    columns_of_cells = [table[column].tolist() if column else [None] * len(table) for column in found.values()]
    for row, cells in enumerate(zip(*columns_of_cells, strict=True), start=1):
        value = {key: _value(cell, no_species if key == "species" else _NULLS) for key, cell in zip(found, cells, strict=True)}
        items.append(_entry(source, row, value, seen))
    if not items:
        raise InputError("has a header but no rows", "Give a table with one row an image.", file=source)
    return items


def _entry(source: Path, row: int, value: dict[str, str | None], seen: dict[tuple[str, ...], int]) -> Entry | Refused:
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
    # Tables made on Windows may contain backslashes as separators. On other systems file names seldom contain backslashes.
    path = source.parent / (name if os.name == "nt" or _exists(source.parent / name) else name.replace("\\", "/"))
    return Entry(path, species, row, value["group"], box, note, extras)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name of more than 255 bytes, or with a null character
        return False


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


def _read(source: Path) -> pd.DataFrame:
    try:
        if source.suffix.lower() == ".parquet":
            return pd.read_parquet(source)
        data = source.read_bytes()
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        header = text.split("\n", 1)[0]
        delimiter = max(",;\t", key=header.count)  # a tie means that none occurs; then the comma is chosen
        return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, sep=delimiter, quoting=csv.QUOTE_MINIMAL)
    except UnicodeDecodeError:
        raise InputError("is not text in UTF-8", "Save the table as CSV in UTF-8.", file=source) from None
    except (OSError, ValueError) as error:  # the errors of pandas and pyarrow are subclasses of ValueError
        raise InputError(f"cannot be read as a table ({' '.join(str(error).split())[:200]})", "Give a CSV file with a header.", file=source) from None


def _find_column(source: Path, columns: list[str], key: str, asked: str | None) -> str | None:
    shown = ", ".join(map(str, columns))
    option = f"--{key}-column"
    if asked is not None:
        if asked not in columns:
            raise InputError(f"has no column {asked!r}; its columns are: {shown}", f"Give one of these with {option}.", file=source)
        return asked
    lower = {str(column).strip().lower(): column for column in reversed(columns)}
    for name in SYNONYMS[key]:
        if name.lower() in lower:
            return lower[name.lower()]
    if key in ("file", "species"):
        raise InputError(f"has no column that names the {key}; its columns are: {shown}", f"Name one of these with {option}.", file=source)
    return None

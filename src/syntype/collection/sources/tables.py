"""Tables of photographs: a column of file names and a column of species; one table, one for each split, or one in each folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from syntype.collection.sources.base import SIDECARS, SPLIT_WORDS, Entry, Listing, Reader, Refused, SourceConfig, species_name
from syntype.collection.sources.collector import without_collector
from syntype.collection.sources.delimited import looks_like_file
from syntype.collection.sources.finding import FileFinder, Found
from syntype.collection.sources.image_files import images_folder
from syntype.collection.sources.meanings import known_names, plain_name
from syntype.collection.sources.rows import check_repeats, list_rows
from syntype.collection.sources.text_tables import TABLE_ENDINGS, read_header, read_table
from syntype.errors import InputError

__all__ = ["READER"]

_METADATA = ("metadata.parquet", "metadata.csv", "metadata.jsonl")
"""Tables beside images, as Hugging Face's imagefolder and Syntype name them."""
_OTHER_KINDS = {
    ".xml": "an XML file of an unknown kind", ".yaml": "a YAML file", ".yml": "a YAML file", ".html": "a web page", ".htm": "a web page",
    ".md": "a text", ".py": "a program", ".doc": "a text document", ".docx": "a text document", ".odt": "a text document", ".rtf": "a text document",
}  # fmt: skip
_MOST_FOLDERS = 300
"""Folders below which a table of their own is looked for."""


@dataclass(frozen=True)
class _Part:
    """One table of a source."""

    path: Path
    folder: Path
    name: str | None = None
    split: str | None = None
    species: str | None = None
    note: str | None = None


def _recognises(source: Path, config: SourceConfig) -> bool:
    if source.is_file():
        return True
    try:
        return source.is_dir() and (bool(config.splits) or bool(_parts_of(source, config)))
    except OSError:
        return False
    except InputError:  # several tables: reading them says what to do
        return True


def _parts_of(source: Path, config: SourceConfig) -> list[_Part]:
    """The tables of a source; none if it is a folder without one.

    Raises:
        InputError: a table that was given is not there, or it is not clear which of several tables is meant.
    """
    if config.splits:
        return _given(source, config)
    if source.is_file():
        return [_Part(source, images_folder(source.parent, config))]
    if beside := [source / name for name in _METADATA if (source / name).is_file()]:
        return [_Part(beside[0], images_folder(source, config))]
    tables = [path for path in _inside(source) if path.name.lower().endswith(TABLE_ENDINGS) and not path.name.startswith("~$") and path.is_file()]
    columns = (config.file_column, config.species_column, config.group_column, config.split_column, config.licence_column, config.box_column)
    if any(columns) and len(tables) == 1:
        return [_Part(tables[0], images_folder(source, config))]
    if own := list(_in_folders(source)):
        return own
    listing = [path for path in sorted(tables) if _lists_photographs(path, images_folder(source, config), config)]
    if by_split := _by_split(listing):
        return [_Part(path, images_folder(source, config), path.name, split) for split, path in by_split.items()]
    with_splits = [path for path in listing if known_names("split") & {plain_name(column) for column in read_header(path)[0]}]
    if len(listing) > 1 and len(with_splits) == 1:
        others = ", ".join(path.name for path in listing[:4] if path != with_splits[0])
        note = f"the table {with_splits[0].name} is read, as it alone has the splits; not {others}"
        return [_Part(with_splits[0], images_folder(source, config), note=note)]
    if len(listing) > 1:
        shown = ", ".join(path.name for path in listing[:4]) + (", …" if len(listing) > 4 else "")
        raise InputError(
            f"holds {len(listing)} tables that list photographs ({shown})",
            "Give the table itself, or --split train=TABLE --split test=TABLE.",
            file=source,
        )
    return [_Part(path, images_folder(source, config)) for path in listing]


def _given(source: Path, config: SourceConfig) -> list[_Part]:
    """The tables that the user gave for the splits."""
    folder = source if source.is_dir() else source.parent
    parts = []
    for split, name in config.splits.items():
        path = next((path for path in (folder / name, Path(name)) if path.is_file()), None)
        if path is None:
            raise InputError(f"has no table {name!r} for the split {split}", "Give its path from the folder of the source.", file=folder)
        parts.append(_Part(path, images_folder(folder, config), path.name, split))
    if len({part.path.resolve() for part in parts}) < len(parts):
        raise InputError("is given for two splits", "Give each split a table of its own.", file=parts[0].path)
    return parts


def _inside(folder: Path) -> list[Path]:
    """What a folder holds, without hidden files; nothing if it cannot be opened."""
    try:
        return sorted(folder / name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return []


def _in_folders(source: Path) -> Iterator[_Part]:
    """Tables called ``metadata`` in sub-folders, each beside its own images: those of a split, or of a species."""
    waiting, count = [(source, 0)], 0
    while waiting:
        folder, depth = waiting.pop(0)
        inner = [path for path in _inside(folder) if not looks_like_file(path.name) and path.is_dir()]
        for path in inner:
            count += 1
            if count > _MOST_FOLDERS:
                return
            table = next((path / name for name in _METADATA if (path / name).is_file()), None)
            words = [SPLIT_WORDS.get(part.lower()) for part in path.relative_to(source).parts]
            split = next((word for word in words if word), None)
            if table is not None:
                species = None if words[-1] else species_name(path.name.replace("_", " "))
                yield _Part(table, path, table.relative_to(source).as_posix(), split, species)
            elif depth < 1:
                waiting.append((path, depth + 1))


def _lists_photographs(path: Path, folder: Path, config: SourceConfig) -> bool:
    """Whether a table has a column of files and one of species, and names files that are there."""
    try:
        columns, rows = read_header(path)
    except (InputError, OSError):
        return False
    plain = [plain_name(column) for column in columns]
    files = known_names("file") | {plain_name(config.file_column or "")}
    species = known_names("species") | {plain_name(config.species_column or "")}
    names = [row[position] for position, column in enumerate(plain) if column in files for row in rows]
    if not rows or not names or not set(plain) & (species - files):
        return False
    finder = FileFinder(folder)
    there = (looks_like_file(name) or "/" in name or len(rows) < 3 for name in names[:20])
    return any(there) and any(isinstance(found := finder.search(name), Found) and found.how != "missing" for name in names[:5] if name)


def _by_split(tables: Sequence[Path]) -> dict[str, Path]:
    """The tables of the splits, if each has the word of a split in its name and the names are otherwise the same."""
    found: dict[str, Path] = {}
    frames = set()
    for path in tables:
        words = re.split(r"[\W_]+", path.stem.lower())
        splits = [SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS]
        if len(splits) != 1 or splits[0] in found:
            return {}
        found[splits[0]] = path
        frames.add((tuple(word for word in words if word not in SPLIT_WORDS), path.suffix.lower()))
    return found if len(found) > 1 and len(frames) == 1 else {}


@without_collector
def _read(source: Path, config: SourceConfig) -> Listing:
    """List the rows of a table, or of the tables of a folder. Relative paths start from the table's folder.

    Raises:
        InputError: the table cannot be read, has no rows, or lacks a column that was given or is required.
    """
    if source.is_file() and (kind := _OTHER_KINDS.get(source.suffix.lower())) is not None:
        raise InputError(f"is not a table but {kind}", "See what Syntype reads with: syntype formats", file=source)
    parts = _parts_of(source, config)
    if not parts:
        raise InputError("holds no table that lists photographs", "Give the table itself.", file=source)
    asked = [name for name in (config.file_column, config.species_column, config.group_column, config.split_column, config.licence_column,
                               config.box_column) if name]  # fmt: skip
    finders: dict[Path, FileFinder] = {}
    items: list[Entry | Refused] = []
    notes: list[str] = []
    for part in parts:
        table = read_table(part.path, asked)
        finder = finders.setdefault(part.folder, FileFinder(part.folder))
        decided = [*([part.note] if part.note else []), *table.notes]
        rows = list_rows(table, finder, config, part.split, species=part.species or config.species, name=part.name, notes=decided)
        if not rows:
            raise InputError("has a header but no rows", "Give a table with one row an image.", file=part.path)
        items += rows
        _tell(notes, decided, part, len(parts))
    if any(part.split for part in parts):
        notes.append("splits are the author's, by table: " + ", ".join(f"{part.split or 'none'} {part.name}" for part in parts[:6]))
    items = check_repeats(items)
    if source.is_dir():
        _tell_unlisted(items, finders, notes)
    kind = "table with a row for each image" if len(parts) == 1 else f"{len(parts)} tables with a row for each image"
    return Listing(kind, items, notes=notes, origins=[str(source)])


def _tell(notes: list[str], decided: list[str], part: _Part, num_parts: int) -> None:
    """Add what was decided on one table, once if it is the same for all."""
    for note in decided:
        if note in notes or any(note == known.partition(": ")[2] for known in notes):
            continue
        if len(notes) < 30:
            notes.append(note if num_parts == 1 else f"{part.name}: {note}")


def _tell_unlisted(items: list[Entry | Refused], finders: dict[Path, FileFinder], notes: list[str]) -> None:
    """Say how many images of the folder are in no row."""
    listed = {os.path.normpath(str(item.image)) for item in items if isinstance(item, Entry)}
    files = {os.path.normpath(os.path.join(str(folder), name)) for folder, finder in finders.items() for name in finder.files()}
    left_out = sorted(file for file in files - listed if looks_like_file(file) and os.path.splitext(file)[1].lower() not in SIDECARS)
    if left_out:
        notes.append(f"{len(left_out):,} image files of the folder are in no row and are left out ({Path(left_out[0]).name[:60]})")


READER = Reader("table", "tables: CSV, TSV, Excel, JSON Lines, Parquet; one table a split", _recognises, _read)

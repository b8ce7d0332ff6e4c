"""Tables of photographs: a column of file names and a column of species."""

from __future__ import annotations

from pathlib import Path

from syntype.collection.sources.base import Listing, Reader, SourceConfig
from syntype.collection.sources.finding import FileFinder
from syntype.collection.sources.rows import list_rows
from syntype.collection.sources.text_tables import TABLE_ENDINGS, read_table
from syntype.errors import InputError

__all__ = ["READER"]


def _recognises(source: Path, config: SourceConfig) -> bool:
    return _table_of(source, config) is not None


def _table_of(source: Path, config: SourceConfig) -> Path | None:
    """The table that a source is or holds; a folder's only table counts if a column was asked for."""
    if source.is_file():
        return source
    for name in ("metadata.parquet", "metadata.csv"):
        if (source / name).is_file():
            return source / name
    asked = (config.file_column, config.species_column, config.group_column, config.split_column, config.licence_column, config.box_column)
    found = [path for path in sorted(source.iterdir()) if path.suffix.lower() in TABLE_ENDINGS] if any(asked) and source.is_dir() else []
    return found[0] if len(found) == 1 else None


def _read(source: Path, config: SourceConfig) -> Listing:
    """List the rows of a table. Relative paths start from the table's folder.

    Raises:
        InputError: the table cannot be read, has no rows, or lacks a column that was given or is required.
    """
    path = _table_of(source, config)
    if path is None:
        raise InputError("holds no table", "Give the table itself.", file=source)
    table = read_table(path)
    items = list_rows(table, FileFinder(path.parent if config.images is None else Path(config.images)), config)
    if not items:
        raise InputError("has a header but no rows", "Give a table with one row an image.", file=path)
    return Listing("table with a row for each image", items, notes=table.notes, origins=[str(source)])


READER = Reader("table", "tables: CSV, TSV, Parquet", _recognises, _read)

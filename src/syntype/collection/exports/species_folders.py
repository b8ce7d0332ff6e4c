"""Layout ``species``: one folder for each species, for people and for programs that take the species from the folder."""

from __future__ import annotations

from typing import Any

import pandas as pd

from syntype.collection.columns import TABLE
from syntype.collection.exports.base import Content, Layout
from syntype.collection.exports.file_names import FileNames, name_rows, plain_name
from syntype.collection.exports.package import Package
from syntype.collection.table import Collection

__all__ = ["LAYOUT"]


def _place(collection: Collection) -> list[str]:
    """``<species>/<name>``. Each species has its own folder, whatever characters its name contains."""
    names, folders = FileNames(), dict[str, str]()

    def folder(row: Any) -> str:
        species = "no species" if pd.isna(row.species) else str(row.species)
        if species not in folders:
            folders[species] = names.own(plain_name(species) or "species")
        return folders[species]

    return name_rows(collection, folder)


def _write(content: Content, package: Package) -> None:
    package.add_table("metadata.csv", content.table)
    package.add_table(TABLE, content.table)


LAYOUT = Layout("species", "a zip with a folder for each species, and the table as CSV and Parquet", _place, _write)

"""What a layout is, and what it gets: the images' paths in the export, and the table that names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from syntype.collection.exports.package import Package
from syntype.collection.table import SCHEMA_VERSION, Collection

__all__ = ["RECORD", "Content", "Layout"]

RECORD = "collection.json"
"""In every zip file: what the collection says of itself, as in its own folder. With the table of images it makes an export readable again."""


@dataclass(frozen=True)
class Content:
    """What an export holds, after its images were packed.

    Attributes:
        name: of the collection.
        species: all species, in the collection's order.
        info: sources and history of the collection.
        table: its rows; ``file_name`` is the path in the export, ``sha256`` that of the file there.
        collection: the rows with the files' own names.
        signed: whether synthetic images carry content credentials.
    """

    name: str
    species: tuple[str, ...]
    info: Mapping[str, Any]
    table: pd.DataFrame
    collection: Collection
    signed: bool = False

    def record(self) -> dict[str, Any]:
        """The content of ``collection.json``."""
        return {"schema_version": SCHEMA_VERSION, "species": list(self.species), "name": self.name, **self.info}


@dataclass(frozen=True)
class Layout:
    """One form of export. Each module of a layout has one, called ``LAYOUT``.

    Attributes:
        name: for ``--layout``.
        title: what it is, for lists: a clause without a full stop.
        place: the path in the export of every row's image. None: the layout has no images, and is a CSV file.
        write: adds to the zip file what describes the images; None as for ``place``.
    """

    name: str
    title: str
    place: Callable[[Collection], list[str]] | None = None
    write: Callable[[Content, Package], None] | None = None

"""Layout ``collection``: a zip that unpacks to a collection, described in the Croissant format too."""

from __future__ import annotations

from syntype.collection.columns import TABLE
from syntype.collection.exports.base import RECORD, Content, Layout
from syntype.collection.exports.croissant import describe
from syntype.collection.exports.file_names import keep_names
from syntype.collection.exports.package import Package, json_bytes
from syntype.collection.table import Collection

__all__ = ["LAYOUT"]


def _place(collection: Collection) -> list[str]:
    return keep_names(collection.table["file_name"].tolist(), (TABLE, RECORD, "croissant.json"))


def _write(content: Content, package: Package) -> None:
    package.add_table(TABLE, content.table)
    package.add("croissant.json", json_bytes(describe(content, TABLE, package.hashes[TABLE])) + b"\n")


LAYOUT = Layout("collection", "a zip that unpacks to a collection, for Syntype", _place, _write)

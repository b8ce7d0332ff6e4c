"""Layout ``hugging-face``: a folder that ``datasets.load_dataset`` opens, and that can be uploaded to the hub as it is.

    README.md           the data set's card; its head says which files are of which split
    train/ validation/ test/ unsplit/   the images of each split, and their table metadata.parquet
    collection.parquet  the whole table, with the columns' own names, for Syntype
    croissant.json      the same in the Croissant format

``datasets`` finds splits by words in the names of folders and files. Hence no file's name holds such a word, no folder is named after a species,
and images without a split (synthetic ones) lie in a folder that no such word names; the card makes them a split of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from syntype.collection.exports.base import Content, Layout
from syntype.collection.exports.card import write_card
from syntype.collection.exports.croissant import describe
from syntype.collection.exports.file_names import name_rows, readable_stem
from syntype.collection.exports.package import Package, json_bytes
from syntype.collection.table import Collection

__all__ = ["LAYOUT", "PARTS", "WHOLE_TABLE", "neutral_stem"]

WHOLE_TABLE = "collection.parquet"
"""Not called ``metadata.parquet``, which ``datasets`` would read beside the tables of the splits."""
PARTS: Mapping[str | None, str] = {"train": "train", "val": "validation", "test": "test", None: "unsplit"}
"""The folder of each split; it is also the split's name in ``datasets``."""
_SPLIT_WORDS = frozenset({"train", "training", "validation", "valid", "dev", "val", "test", "testing", "eval", "evaluation"})
"""Words that ``datasets`` looks for (``datasets.data_files.SPLIT_KEYWORDS``)."""


def _place(collection: Collection) -> list[str]:
    return name_rows(collection, lambda row: PARTS[None if pd.isna(row.split) else row.split], neutral_stem)


def neutral_stem(row: Any) -> str:
    """The readable name of a file; ``image`` if ``datasets`` would see a split in it."""
    stem = readable_stem(row)
    return "image" if _SPLIT_WORDS & set(re.split(r"[-._ 0-9]+", stem.lower())) else stem


def _write(content: Content, package: Package) -> None:
    import pyarrow as pa

    table = content.table
    names = _column_names(list(table.columns))
    renamed = table.rename(columns=names)
    schema = pa.Schema.from_pandas(renamed, preserve_index=False)  # of the whole table: a column may have no value in one split
    for number, field in enumerate(schema):
        if pa.types.is_dictionary(field.type):  # datasets has no such type
            schema = schema.set(number, field.with_type(field.type.value_type))
    folders = table["file_name"].str.partition("/")[0]
    parts = [part for part in PARTS.values() if (folders == part).any()]
    for part in parts:
        rows = renamed[folders == part]
        package.add_table(f"{part}/metadata.parquet", rows.assign(file_name=rows["file_name"].str.removeprefix(f"{part}/")), schema)
    package.add_table(WHOLE_TABLE, table)
    package.add("croissant.json", json_bytes(describe(content, WHOLE_TABLE, package.hashes[WHOLE_TABLE])) + b"\n")
    changed = {old: new for old, new in names.items() if old != new}
    package.add("README.md", write_card(content, {part: int((folders == part).sum()) for part in parts}, changed))


def _column_names(columns: list[str]) -> dict[str, str]:
    """The columns' names for ``imagefolder``, which makes ``file_name`` the column ``image``, and takes every ``…_file_name`` for an image too."""
    names: dict[str, str] = {}
    taken = set(columns)
    for name in columns:
        new = name
        if name == "image" or (re.search(r"(^|_)file_names?$", name) and name != "file_name"):
            new = f"{name}_"
            while new in taken:
                new += "_"
            taken.add(new)
        names[name] = new
    return names


LAYOUT = Layout("hugging-face", "a zip for Hugging Face's datasets and hub, with a data set card", _place, _write)

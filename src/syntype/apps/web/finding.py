"""Searching and sorting the images of a collection.

What the index does not hold is read from the collection's table for each search, so that it takes no memory between searches.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from syntype.apps.web.languages import gettext
from syntype.collection.columns import COLUMNS, TABLE
from syntype.errors import CollectionError

__all__ = ["further_columns", "image_columns", "order", "searched", "sortable"]

_NOT_SEARCHED = {"sha256", "phash", "box", "width", "height", "controls", "duplicate_of", "nearest_real_distance", "verdict_before", "reason_before"}
"""Columns of digits and codes, in which a short word would be found by chance."""
_DATES = re.compile("date|year|time|datum|fecha|jahr", re.IGNORECASE)
_MOST_COLUMNS, _MOST_WORDS, _MOST_LETTERS = 12, 20, 500


def _schema(root: Path) -> pa.Schema:
    return pq.read_schema(root / TABLE)


def _read(root: Path, names: list[str], num_images: int) -> pa.Table:
    table = pq.read_table(root / TABLE, columns=names) if names else pa.table({})
    if names and table.num_rows != num_images:
        raise CollectionError(gettext("collection {name} has changed at this moment. Try again.", name=repr(root.name)))
    return table


def further_columns(root: Path) -> list[str]:
    """Columns of a collection's table that are not Syntype's own, in their order."""
    return [name for name in _schema(root).names if name not in COLUMNS and name not in _NOT_SEARCHED]


def _text(column: Any) -> Any:
    """A column as text; None where it holds no values that people write (bytes, structures)."""
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if not (pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)):
            return None
        column = pc.binary_join(column, pa.scalar(" ", kind.value_type))
    elif pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return None
    return column.cast(pa.large_string())


def searched(table: pa.Table, root: Path, query: str) -> Any:
    """Which images have every word of a query in some text of theirs: bool, one value an image. Upper and lower case are alike.

    Args:
        table: of the index; its columns are not read again.
        query: words, between blanks; the first 20 count.
    """
    own = [name for name in table.column_names if name in COLUMNS and name not in _NOT_SEARCHED]
    others = [name for name in _schema(root).names if name not in _NOT_SEARCHED and name not in own]
    read = _read(root, others, table.num_rows)
    columns = [_text(table[name]) for name in own] + [_text(read[name]) for name in others if read[name].null_count < table.num_rows]
    line = pa.scalar("\n", pa.large_string())
    texts = pc.utf8_lower(pc.binary_join_element_wise(*(column for column in columns if column is not None), line, null_handling="skip"))
    mask: Any = pa.scalar(True)
    for word in query.lower().split()[:_MOST_WORDS]:
        mask = pc.and_(mask, pc.match_substring(texts, word))
    return mask


def sortable(root: Path) -> list[str]:
    """Further columns by which images can be sorted: numbers and dates."""
    names = []
    for name in further_columns(root):
        kind = _schema(root).field(name).type
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_temporal(kind)
        if number or (_DATES.search(name) and (pa.types.is_string(kind) or pa.types.is_large_string(kind))):
            names.append(name)
    return names[:_MOST_COLUMNS]


def order(table: pa.Table, root: Path, positions: pa.Array, sort: str) -> pa.Array:
    """The same positions in the order of a column; images without a value come last, equal ones stay in the order of the collection.

    Args:
        sort: ``file_name``, ``species``, ``size`` (pixels), ``nearest_real_distance`` or a column of ``sortable``; with a hyphen before it
            the largest first. Anything else leaves the order as it is.
    """
    name, down = sort.removeprefix("-"), sort.startswith("-")
    if name == "size":
        column = pc.multiply(table["width"].cast(pa.int64()), table["height"].cast(pa.int64()))
    elif name in ("file_name", "species", "nearest_real_distance"):
        column = table[name]
    elif name in sortable(root):
        column = _read(root, [name], table.num_rows)[name]
    else:
        return positions
    kind = column.type
    values = (column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column).take(positions)
    values = pc.utf8_lower(values) if pa.types.is_string(values.type) or pa.types.is_large_string(values.type) else values
    keys = [("value", "descending" if down else "ascending")]
    return positions.take(pc.sort_indices(pa.table({"value": values}), sort_keys=keys))


def image_columns(root: Path, position: int, num_images: int) -> dict[str, Any]:
    """Every value of one image's row that is not null, by column; texts of further columns at most 500 letters long."""
    row = _read(root, _schema(root).names, num_images).slice(position, 1).to_pylist()[0]
    known = {name: value for name, value in row.items() if value is not None}
    return {name: value if name in COLUMNS or len(str(value)) <= _MOST_LETTERS else f"{str(value)[:_MOST_LETTERS]}…" for name, value in known.items()}

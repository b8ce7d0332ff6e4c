"""Hashes of images whose table has none, such as a table that another program wrote.

Without them, copies of test photographs would go unnoticed. They are kept in ``.cache/hashes.json``, so that they are computed only once.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from syntype.collection.columns import TABLE
from syntype.collection.decoding import in_threads, read_bytes, read_image
from syntype.collection.duplicates import perceptual_hash
from syntype.errors import CollectionError, InputError
from syntype.files import inside, read_json_object, write_json
from syntype.run import OWN_RUN

__all__ = ["fill_hashes"]


def fill_hashes(root: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The table with ``sha256`` and ``phash`` in every row: those that are null are computed from the image files.

    Raises:
        CollectionError: an image file without hashes is missing or damaged; the message names it and its row.
    """
    rows = np.flatnonzero((table["sha256"].isna() | table["phash"].isna()).to_numpy(dtype=bool))
    if not len(rows):
        return table
    cache = root / ".cache" / "hashes.json"
    known = read_json_object(cache)
    names = table["file_name"].tolist()

    def one(row: int) -> list[Any]:
        path = inside(root, names[row])
        with suppress(OSError):  # a missing file: reading it says so
            state = path.stat()
            entry = known.get(names[row])
            if isinstance(entry, list) and len(entry) == 4 and entry[:2] == [state.st_size, state.st_mtime_ns] and _are_texts(entry[2:]):
                return entry
        try:
            data = read_bytes(path)
            return [len(data), path.stat().st_mtime_ns, hashlib.sha256(data).hexdigest(), perceptual_hash(read_image(data).pixels)]
        except InputError as error:
            raise CollectionError(
                f"{root / TABLE}, row {row + 1}: {names[row]} has no hashes yet, and {error.reason}. Put the file back, or delete the row."
            ) from None

    found: dict[str, list[Any]] = {}
    with OWN_RUN.progress("Computing missing hashes", len(rows)) as bar:
        for row, entry in zip(rows, in_threads(one, [int(row) for row in rows]), strict=True):
            found[names[row]] = entry
            bar.advance()
    if found != {name: known.get(name) for name in found}:
        with suppress(OSError, InputError):  # a read-only collection: they are computed again next time
            cache.parent.mkdir(exist_ok=True)
            write_json(cache, known | found)
    computed = {"sha256": 2, "phash": 3}
    filled = {column: [found[names[row]][place] for row in rows] for column, place in computed.items()}
    result = table.copy()
    for column, values in filled.items():
        new = pd.Series(pd.array(values, dtype="string"), index=result.index[rows])
        result[column] = result[column].fillna(new)
    return result


def _are_texts(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)

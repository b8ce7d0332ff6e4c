"""Has a test photograph reached a place where it would spoil the verdict? Checked before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from syntype.collection import Collection
from syntype.collection.duplicates import SURE_CORRELATION, THUMBNAIL
from syntype.errors import LeakageError

__all__ = ["check_leakage", "check_synthetic"]


def check_leakage(collection: Collection, trained_on: Iterable[str] = ()) -> None:
    """Refuse a collection whose test photographs are also, or nearly, training photographs.

    Looks for groups that lie in two splits, photographs of two splits with the same bytes or that look the same, and test
    photographs among those that the generator learned from.

    Args:
        collection: all splits of the real photographs.
        trained_on: SHA-256 of the generator's training images.

    Raises:
        LeakageError: with the names of the first few.
    """
    held = collection.where(collection.table["split"].notna())
    table = held.table
    for column, what in (("group", "group"), ("sha256", "file content")):
        first = table.groupby(column)["split"].transform("first")
        straddling = table.index[table[column].notna() & (first != table["split"])]
        if len(straddling):
            row = straddling[0]
            other = table.index[table[column] == table[column][row]][0]
            raise _straddles(collection, table, int(other), int(row), table.loc[straddling, column].nunique(), f"the same {what}")
    pairs = _look_alikes(held, held)
    straddling = pairs[(table["split"].to_numpy()[pairs] != table["split"].to_numpy()[pairs[:, :1]]).any(axis=1)]
    if len(straddling):
        raise _straddles(collection, table, *map(int, straddling[0]), len(straddling), "photographs that look the same")
    learned = table[(table["split"] == "test") & table["sha256"].isin(list(trained_on))]
    if len(learned):
        raise LeakageError(
            f"{collection.root}: the generator was trained on {len(learned)} of the test photographs ({_names(learned['image_id'])}), so its images "
            "would carry the answers into the training set. Train it again on this very collection: syntype train FAMILY COLLECTION --out GENERATOR"
        )


def check_synthetic(synthetic: Collection, real: Collection) -> None:
    """Refuse synthetic images that are test photographs (the same bytes, or the same to look at), or name one as a parent.

    Raises:
        LeakageError: with the names of the first few.
    """
    test, table = real.select(split="test"), synthetic.table
    ids = set(test.table["image_id"])
    guilty = table["sha256"].isin(test.table["sha256"].dropna()).to_numpy(dtype=bool)
    guilty |= table["parents"].map(lambda text: _mentions(text, ids)).to_numpy(dtype=bool)
    guilty[_look_alikes(synthetic, test)[:, 0]] = True
    if guilty.any():
        raise LeakageError(
            f"{synthetic.root}: {int(guilty.sum())} synthetic images are, or were made from, test photographs of {real.root} "
            f"({_names(table.loc[guilty, 'image_id'])}). Take them out, or make them again from the training photographs alone."
        )


def _look_alikes(a: Collection, b: Collection) -> np.ndarray:
    """Pairs of rows of ``a`` and ``b`` with the same perceptual hash whose thumbnails agree as well: int64, shape (P, 2).

    Two pictures with little in them can share a hash by chance; the importer asks the same correlation of the thumbnails.
    """
    left = pd.DataFrame({"phash": a.table["phash"], "left": np.arange(len(a))}).dropna()
    right = pd.DataFrame({"phash": b.table["phash"], "right": np.arange(len(b))}).dropna()
    if a is b:  # compare each with the first of its hash: enough to find out whether all lie in one split
        right = right.drop_duplicates("phash")
    pairs = left.merge(right, on="phash")[["right", "left"] if a is b else ["left", "right"]].to_numpy(dtype=np.int64)
    if a is b:
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    alike = []
    for start in range(0, len(pairs), 1000):
        part = pairs[start : start + 1000]
        rows_a, rows_b = (collection.where(_mask(len(collection), rows)) for collection, rows in ((a, part[:, 0]), (b, part[:, 1])))
        x = _standard(rows_a.pixels(THUMBNAIL))[np.unique(part[:, 0], return_inverse=True)[1]]
        y = _standard(rows_b.pixels(THUMBNAIL))[np.unique(part[:, 1], return_inverse=True)[1]]
        alike.append((x * y).mean(axis=1) >= SURE_CORRELATION)
    return pairs[np.concatenate(alike)] if alike else pairs


def _mask(length: int, rows: np.ndarray) -> np.ndarray:
    mask = np.zeros(length, dtype=bool)
    mask[rows] = True
    return mask


def _standard(images: np.ndarray) -> np.ndarray:
    """Images as rows with mean 0 and variance 1 (flat ones as zeros), so that the mean of products is the correlation."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(flat.std(axis=1, keepdims=True), 1e-9)


def _straddles(collection: Collection, table: pd.DataFrame, first: int, second: int, number: int, what: str) -> LeakageError:
    pair = " and ".join(f"{table['image_id'][row]} in {table['split'][row]}" for row in (first, second))
    return LeakageError(
        f"{collection.root}: {number} times {what} in more than one split (first: {pair}), so the test would not be fair. "
        "Import the photographs again with syntype collect, which keeps copies in one split, and name the column that says which "
        "photographs show the same individual or track with --group-column."
    )


def _mentions(text: Any, ids: set[str]) -> bool:
    return not pd.isna(text) and bool(ids.intersection(map(str, json.loads(text))))


def _names(values: pd.Series) -> str:
    return ", ".join(map(str, values[:3])) + (", …" if len(values) > 3 else "")

"""Checks for leakage, before any training: no test photograph may be among the images used for training."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from syntype.collection import Collection
from syntype.collection.duplicates import THUMBNAIL, near_duplicates
from syntype.errors import LeakageError

__all__ = ["check_leakage", "check_synthetic"]


def check_leakage(collection: Collection, trained_on: Iterable[str] = ()) -> None:
    """Refuse a collection in which a test photograph, or a near duplicate of one, is also used for training.

    Three things are checked: whether a group is in two splits; whether photographs of two splits have the same bytes or look the same; and
    whether the generator was trained on test photographs.

    Args:
        collection: all splits of the real photographs.
        trained_on: SHA-256 of the generator's training images.

    Raises:
        LeakageError: leakage was found; the message names the first images.
    """
    held = collection.hashed().where(collection.table["split"].notna())
    table = held.table
    for column, what in (("group", "group"), ("sha256", "file content")):
        first = table.groupby(column)["split"].transform("first")
        straddling = table.index[table[column].notna() & (first != table["split"])]
        if len(straddling):
            row = straddling[0]
            other = table.index[table[column] == table[column][row]][0]
            raise _straddles(collection, table, int(other), int(row), table.loc[straddling, column].nunique(), f"the same {what}")
    pairs = _look_alikes([held])
    splits = table["split"].to_numpy(dtype=object)
    straddling = pairs[splits[pairs[:, 0]] != splits[pairs[:, 1]]]
    if len(straddling):
        raise _straddles(collection, table, int(straddling[0, 0]), int(straddling[0, 1]), len(straddling), "photographs that look the same")
    learned = table[(table["split"] == "test") & table["sha256"].isin(list(trained_on))]
    if len(learned):
        raise LeakageError(
            f"{collection.root}: the generator was trained on {len(learned)} of the test photographs ({_names(learned['image_id'])}), so its "
            "images would bring test photographs into the training set. Train it again on this collection: "
            "syntype train FAMILY COLLECTION --out GENERATOR"
        )


def check_synthetic(synthetic: Collection, real: Collection) -> None:
    """Refuse synthetic images that are test photographs (the same bytes, or looking the same), or that name a test photograph as a parent.

    Raises:
        LeakageError: leakage was found; the message names the first images.
    """
    synthetic, test = synthetic.hashed(), real.hashed().select(split="test")
    table = synthetic.table
    ids = set(test.table["image_id"])
    guilty = table["sha256"].isin(test.table["sha256"].dropna()).to_numpy(dtype=bool, copy=True)
    guilty |= table["parents"].map(lambda text: _mentions(text, ids)).to_numpy(dtype=bool)
    pairs = _look_alikes([synthetic, test])
    guilty[pairs[(pairs[:, 0] < len(synthetic)) & (pairs[:, 1] >= len(synthetic)), 0]] = True
    if guilty.any():
        raise LeakageError(
            f"{synthetic.root}: {int(guilty.sum())} synthetic images are, or were made from, test photographs of {real.root} "
            f"({_names(table.loc[guilty, 'image_id'])}). Take them out, or make them again from the training photographs alone."
        )


def _look_alikes(collections: list[Collection]) -> np.ndarray:
    """Pairs of images that look the same: int64, shape (P, 2), rows of the concatenated collections, the smaller first.

    A pair has to pass the importer's test for near duplicates and have the same perceptual hash, so that no collection is refused wrongly.
    """
    wholes = [collection.where(np.ones(len(collection), dtype=bool)) for collection in collections]
    for whole in wholes:
        whole.table["box"] = None  # compare whole pictures: a box contains only one animal
    ends = np.cumsum([len(whole) for whole in wholes])

    def thumbnails(rows: np.ndarray) -> np.ndarray:
        parts: list[np.ndarray] = []
        for whole, end in zip(wholes, ends, strict=True):
            inside = rows[(rows >= end - len(whole)) & (rows < end)] - (end - len(whole))
            parts.extend(whole.iterate_pixels(THUMBNAIL, inside))
        return np.stack(parts)  # ``rows`` is in increasing order

    table = pd.concat([whole.table[["sha256", "phash"]] for whole in wholes], ignore_index=True)
    pairs = near_duplicates(table, thumbnails)
    return pairs.loc[pairs["bits"] == 0, ["first", "second"]].to_numpy(dtype=np.int64)


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

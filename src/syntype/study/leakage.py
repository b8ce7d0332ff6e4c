"""Checks for leakage that are certain and cost nothing, before any training; ``curation/leaks.py`` compares the pictures afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from syntype.collection import Collection
from syntype.errors import LeakageError, shown_list

__all__ = ["check_leakage", "check_synthetic"]


def check_leakage(collection: Collection, trained_on: Iterable[str] = ()) -> None:
    """Refuse a collection in which a test photograph is also used for training.

    Three things are checked: whether a group is in two splits; whether photographs of two splits have the same bytes; and whether the
    generator was trained on test photographs.

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
    learned = table[(table["split"] == "test") & table["sha256"].isin(list(trained_on))]
    if len(learned):
        raise LeakageError(
            f"{collection.root}: the generator was trained on {len(learned)} of the test photographs ({shown_list(learned['image_id'], 3)}), so its "
            "images would bring test photographs into the training set. Train it again on this collection: "
            "syntype train FAMILY COLLECTION --out GENERATOR"
        )


def check_synthetic(synthetic: Collection, real: Collection) -> None:
    """Refuse synthetic images that are test photographs (the same bytes), or that name a test photograph as a parent.

    Raises:
        LeakageError: leakage was found; the message names the first images.
    """
    synthetic, test = synthetic.hashed(), real.hashed().select(split="test")
    table = synthetic.table
    ids = set(test.table["image_id"])
    guilty = table["sha256"].isin(test.table["sha256"].dropna()).to_numpy(dtype=bool, copy=True)
    guilty |= table["parents"].map(lambda text: _mentions(text, ids)).to_numpy(dtype=bool)
    if guilty.any():
        raise LeakageError(
            f"{synthetic.root}: {int(guilty.sum())} synthetic images are, or were made from, test photographs of {real.root} "
            f"({shown_list(table.loc[guilty, 'image_id'], 3)}). Take them out, or make them again from the training photographs alone."
        )


def _straddles(collection: Collection, table: pd.DataFrame, first: int, second: int, number: int, what: str) -> LeakageError:
    pair = " and ".join(f"{table['image_id'][row]} in {table['split'][row]}" for row in (first, second))
    return LeakageError(
        f"{collection.root}: {number} times {what} in more than one split (first: {pair}), so the test would not be fair. "
        "Import the photographs again with syntype collect, which keeps copies in one split, and name the column that says which "
        "photographs show the same individual or track with --group-column."
    )


def _mentions(text: Any, ids: set[str]) -> bool:
    return not pd.isna(text) and bool(ids.intersection(map(str, json.loads(text))))

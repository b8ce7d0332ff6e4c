from __future__ import annotations

import json

import pandas as pd
import pytest

from syntype.collection import Collection
from syntype.errors import LeakageError
from syntype.study.leakage import check_leakage, check_synthetic


def changed(collection: Collection, rows: dict[int, dict[str, object]]) -> Collection:
    table = collection.table.copy()
    for row, values in rows.items():
        for column, value in values.items():
            table.loc[row, column] = value
    return Collection(collection.root, table, collection.species, collection.info)


def first(collection: Collection, split: str) -> int:
    return int(collection.table.index[collection.table["split"] == split][0])


def test_a_clean_collection_passes(reef: Collection) -> None:
    check_leakage(reef)
    check_leakage(reef, trained_on=frozenset(reef.training().table["sha256"]))


@pytest.mark.parametrize("column", ["group", "sha256"])
def test_what_lies_in_two_splits_is_refused_by_name(reef: Collection, column: str) -> None:
    train, test = first(reef, "train"), first(reef, "test")
    spoiled = changed(reef, {test: {column: reef.table[column][train]}})
    with pytest.raises(LeakageError, match="syntype collect") as caught:
        check_leakage(spoiled)
    assert str(reef.table["image_id"][test]) in str(caught.value)
    assert str(reef.table["image_id"][train]) in str(caught.value)


def test_near_copies_in_two_splits_are_refused(reef: Collection) -> None:
    train, test = first(reef, "train"), first(reef, "test")
    same_look = {"file_name": reef.table["file_name"][train], "phash": reef.table["phash"][train]}  # other bytes, same picture
    with pytest.raises(LeakageError, match="look the same"):
        check_leakage(changed(reef, {test: same_look}))


def test_equal_hashes_of_different_pictures_are_let_through(reef: Collection) -> None:
    train, test = first(reef, "train"), first(reef, "test")
    check_leakage(changed(reef, {test: {"phash": reef.table["phash"][train]}}))


def test_a_generator_that_has_seen_a_test_photograph_is_refused(reef: Collection) -> None:
    test = first(reef, "test")
    with pytest.raises(LeakageError, match="trained on 1 of the test photographs") as caught:
        check_leakage(reef, trained_on=frozenset([str(reef.table["sha256"][test])]))
    assert str(reef.table["image_id"][test]) in str(caught.value)


def test_synthetic_images_that_are_test_photographs_are_refused(reef: Collection) -> None:
    made = reef.training()
    check_synthetic(made, reef)
    test = reef.table.iloc[first(reef, "test")]
    for values in ({"sha256": test["sha256"]}, {"parents": json.dumps([test["image_id"]])}, {"phash": test["phash"], "file_name": test["file_name"]}):
        with pytest.raises(LeakageError, match="1 synthetic images"):
            check_synthetic(changed(made, {3: values}), reef)


def test_missing_values_are_no_leak(reef: Collection) -> None:
    table = reef.table.copy()
    for column in ("group", "sha256", "phash"):
        table[column] = pd.array([None] * len(table), dtype="string")
    check_leakage(Collection(reef.root, table, reef.species, reef.info))

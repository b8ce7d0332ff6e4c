from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as reference

from syntype.collection.bins import BINS, bin_of, bins_of
from syntype.identification.metrics import measure


@pytest.mark.parametrize(
    ("count", "name"),
    [(0, "2-10"), (1, "2-10"), (2, "2-10"), (10, "2-10"), (11, "11-100"), (100, "11-100"), (101, "101-500"), (500, "101-500"), (501, ">500")],
)
def test_bins(count: int, name: str) -> None:
    assert bin_of(count) == name
    assert BINS[bins_of(np.array([count]))[0]] == name


def test_figures_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    labels = random.choice([0, 1, 2, 4], size=300, p=[0.6, 0.2, 0.15, 0.05])  # species 3 and 5 have no test images
    predicted = np.where(random.random(300) < 0.6, labels, random.integers(0, 6, size=300))
    found = measure(labels, predicted, np.array([600, 200, 50, 5, 5, 0]))
    assert found.accuracy == pytest.approx(reference.accuracy_score(labels, predicted))
    tested = [0, 1, 2, 4]
    assert found.macro_recall == pytest.approx(reference.recall_score(labels, predicted, labels=tested, average="macro", zero_division=0))
    assert found.macro_f1 == pytest.approx(reference.f1_score(labels, predicted, labels=tested, average="macro", zero_division=0))
    np.testing.assert_array_equal(found.confusion, reference.confusion_matrix(labels, predicted, labels=range(6)))
    counted = np.zeros((6, 6), np.int64)
    np.add.at(counted, (labels, predicted), 1)
    np.testing.assert_array_equal(found.confusion, counted)

    bins = found.bins()
    assert bins["2-10"] == {"recall": pytest.approx(found.recall[4]), "num_species": 1, "num_images": int((labels == 4).sum())}
    assert bins[">500"]["num_species"] == 1
    assert sum(row["num_images"] for row in bins.values()) == 300


def test_without_test_images_the_figures_are_null_and_valid_json() -> None:
    empty = np.empty(0, np.int64)
    summary = measure(empty, empty, np.array([3, 3])).summary()
    assert summary["accuracy"] is None and summary["macro_recall"] is None and summary["bins"]["2-10"]["recall"] is None
    json.dumps(summary, allow_nan=False)


def test_worst_pairs_come_first() -> None:
    labels = np.array([0] * 10 + [1] * 4)
    predicted = np.array([0] * 7 + [1] * 2 + [2] + [0] * 3 + [1])
    pairs = measure(labels, predicted, np.array([10, 4, 1])).worst_pairs()
    assert pairs == [(1, 0, 3, 0.75), (0, 1, 2, 0.2), (0, 2, 1, 0.1)]

"""Labels of images between two species: what the table may say, and what is read from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from syntype.collection import Collection
from syntype.collection.soft_labels import blends_left_out, label_counts, soft_labels, with_main_species
from syntype.errors import CollectionError

SPECIES = ("A", "B", "C")
ROWS = [
    ("A", None), ("A × B", '{"A": 0.75, "B": 0.25}'), ("B × C", '{"B": 0.5, "C": 0.5}'), ("C × A", '{"C": 0.125, "A": 0.875}'),
    ("C × D", '{"C": 0.5, "D": 0.5}'), ("D", None), (None, None),
]  # fmt: skip


def collection(folder: Path, rows: list[tuple[str | None, str | None]] = ROWS) -> Collection:
    names, weights = zip(*rows, strict=True)
    table = pd.DataFrame({"file_name": [f"{n}.png" for n in range(len(rows))], "species": names, "label_weights": weights, "origin": "synthetic"})
    return Collection.create(folder, table.assign(sha256=[f"{n:064x}" for n in range(len(rows))], phash="0" * 16))


def test_labels_counts_and_names_by_hand(tmp_path: Path) -> None:
    made = collection(tmp_path / "made")
    found = soft_labels(made.table, SPECIES)
    assert found.main.tolist() == [0, 0, 1, 0, -1, -1, -1], "of equal weights the first"
    assert found.second.tolist() == [-1, 1, 2, 2, -1, -1, -1]
    assert found.second_share.tolist() == [0, 0.25, 0.5, 0.125, 0, 0, 0]
    assert label_counts(made.table, SPECIES).tolist() == [1 + 0.75 + 0.875, 0.25 + 0.5, 0.5 + 0.125]
    named = with_main_species(made, SPECIES)
    assert named.table["species"].fillna("").tolist() == ["A", "A", "B", "A", "C × D", "D", ""]
    assert named.table["label_weights"].equals(made.table["label_weights"]) and named.labels().tolist()[0] == named.species.index("A")
    left_out, told = blends_left_out(made.table, SPECIES)
    assert np.flatnonzero(left_out).tolist() == [4]
    assert told == "1 image between two species of which the collection of photographs lacks one: 'D'"


def test_a_table_keeps_its_labels_and_other_tables_are_as_before(tmp_path: Path) -> None:
    made = collection(tmp_path / "made")
    assert Collection.open(made.root).table["label_weights"].fillna("").tolist() == [text or "" for _, text in ROWS]
    other = collection(tmp_path / "other", [("A × B", '{"A": 0.5, "B": 0.5}') if text and "0.75" in text else (name, text) for name, text in ROWS])
    assert other.fingerprint != made.fingerprint, "another label is another collection"
    plain = collection(tmp_path / "plain", [(name, None) for name, _ in ROWS])
    without = Collection(plain.root, plain.table.drop(columns="label_weights"), plain.species)
    assert without.table["label_weights"].isna().all() and without.fingerprint == plain.fingerprint
    assert with_main_species(plain, SPECIES) is plain and blends_left_out(plain.table, SPECIES)[1] == ""


@pytest.mark.parametrize(
    "text", ["A", "[0.5, 0.5]", '{"A": 1}', '{"A": 0.5, "B": 0.4}', '{"A": 1.5, "B": -0.5}', '{"A": true, "B": 0.1}', '{"A": NaN, "B": 0.5}']
)
def test_a_label_that_is_none_is_refused_with_its_row(text: str, tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match=r'row 2: label_weights is .*like \{"A": 0.7, "B": 0.3\}'):
        collection(tmp_path / "made", [("A", None), ("A × B", text)])

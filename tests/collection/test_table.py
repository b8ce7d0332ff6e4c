from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from syntype.collection.columns import COLUMNS, conform
from syntype.collection.table import Collection, number_groups
from syntype.errors import CollectionError, UnknownNameError


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    table = pd.DataFrame(
        {
            "image_id": list("abcdef"),
            "file_name": [f"images/{name}.jpg" for name in "abcdef"],
            "species": ["B", "A", "B", "A", "C", "B"],
            "group": ["1", None, "1", None, "2", "3"],
            "split": ["train", "train", "test", "val", "train", None],
            "verdict": [None, "refused", None, "accepted", None, None],
            "sha256": list("uvwxyz"),
            "phash": [f"{number:016x}" for number in range(6)],
            "site": ["reef", None, "lagoon", None, None, "reef"],
        }
    )
    return Collection.create(tmp_path / "c", table, name="test", sources=["a folder"], history=[{"stage": "made"}])


def test_what_is_written_is_read_back(collection: Collection) -> None:
    again = Collection.open(collection.root)
    pd.testing.assert_frame_equal(again.table[list(COLUMNS)], collection.table[list(COLUMNS)])
    assert (again.species, again.name, again.info) == (("A", "B", "C"), "test", collection.info)
    assert again.table["site"].tolist() == collection.table["site"].tolist()
    assert again.fingerprint == collection.fingerprint
    raw = pd.read_parquet(collection.root / "metadata.parquet")
    assert raw["group"].isna().sum() == 2 and raw["licence"].isna().all()


def test_labels_counts_and_groups(collection: Collection) -> None:
    np.testing.assert_array_equal(collection.labels(), [1, 0, 1, 0, 2, 1])
    assert collection.counts() == {"A": 2, "B": 3, "C": 1}
    np.testing.assert_array_equal(collection.groups(), [0, 1, 0, 2, 3, 4])
    np.testing.assert_array_equal(number_groups(pd.Series(["1", None, "1", "=1", None])), [0, 1, 0, 2, 3])


def test_views_keep_the_vocabulary(collection: Collection) -> None:
    view = collection.select(species="C")
    assert view.table["image_id"].tolist() == ["e"] and view.species == ("A", "B", "C") and view.labels().tolist() == [2]
    assert collection.select(split=("train", "val"), usable=True).table["image_id"].tolist() == ["a", "d", "e"]
    assert collection.training().table["image_id"].tolist() == ["a", "e"]
    assert collection.where(collection.table["group"] == "1").table["image_id"].tolist() == ["a", "c"]  # a null is not chosen
    assert collection.path(4).name == "e.jpg"
    with pytest.raises(UnknownNameError, match="Known: A, B, C"):
        collection.select(species="D")
    with pytest.raises(UnknownNameError):
        collection.select(split="training")
    with pytest.raises(CollectionError, match="no images in the split"):
        collection.select(species="C", split="test").training()


def test_what_is_no_collection_says_so(tmp_path: Path, collection: Collection) -> None:
    with pytest.raises(CollectionError, match="syntype collect"):
        Collection.open(tmp_path)
    (collection.root / "metadata.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(CollectionError, match="damaged"):
        Collection.open(collection.root)


@pytest.mark.parametrize(
    "content", ["[]", '{"schema_version": 1}', '{"schema_version": 1, "species": null}', "{", '{"schema_version": 99, "species": []}']
)
def test_a_damaged_or_newer_description_says_so(collection: Collection, content: str) -> None:
    (collection.root / "collection.json").write_text(content)
    with pytest.raises(CollectionError, match=r"damaged|schema"):
        Collection.open(collection.root)


def test_a_table_gets_every_column_with_its_type() -> None:
    table = conform(pd.DataFrame({"image_id": ["a", "b"], "width": [3, None], "seed": [2**40, None]}))
    assert list(table) == list(COLUMNS)
    assert {column: str(table[column].dtype) for column in COLUMNS} == COLUMNS
    assert table["seed"][0] == 2**40 and table["width"].isna().tolist() == [False, True]
    assert len(conform(pd.DataFrame({"image_id": []}))) == 0


def test_the_description_is_json_for_people(collection: Collection) -> None:
    info = json.loads((collection.root / "collection.json").read_text(encoding="utf-8"))
    assert info["schema_version"] == 1 and info["species"] == ["A", "B", "C"] and info["history"] == [{"stage": "made"}]

"""Tables with wrong values: each is refused in one line that has folder, row, reason and mend, however the table comes in."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made import make_collection

from syntype.collection import Collection
from syntype.encoders import encode_collection
from syntype.errors import CollectionError, LeakageError, UserError
from syntype.generators.engine.batches import training_data
from syntype.study.leakage import check_leakage

SPECIES = ("Aus primus", "Bus secundus")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The table of a sound collection, four images a species."""
    return make_collection(tmp_path_factory.mktemp("base") / "fish", dict.fromkeys(SPECIES, 4)).table


def written(folder: Path, table: pd.DataFrame | pa.Table, species: Any = SPECIES, **info: Any) -> Path:
    """A collection's folder as another program might write it."""
    (folder / "images").mkdir(parents=True)
    pq.write_table(table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False), folder / "metadata.parquet")
    (folder / "collection.json").write_text(json.dumps({"schema_version": 1, "species": species, **info}))
    return folder


WRONG: dict[str, tuple[str, list[Any]]] = {  # values of the last rows
    "renamed species": ("species", ["Cus tertius"]),
    "empty species": ("species", [""]),
    "absolute path": ("file_name", ["/etc/passwd"]),
    "path out of the folder": ("file_name", ["images/../../other/1.png"]),
    "drive letter": ("file_name", ["C:\\photographs\\1.png"]),
    "backslashes": ("file_name", ["..\\1.png"]),
    "no file name": ("file_name", [None]),
    "empty file name": ("file_name", [""]),
    "dot": ("file_name", ["."]),
    "null character": ("file_name", ["images/1.png\0.jpg"]),
    "no id": ("image_id", [None]),
    "same id": ("image_id", ["0-0"]),
    "unknown split": ("split", ["Test"]),
    "unknown origin": ("origin", ["drawn"]),
    "unknown verdict": ("verdict", ["maybe"]),
    "unknown reason": ("reason", ["ugly"]),
    "synthetic test image": ("origin", ["synthetic"]),
    "no width": ("width", [0]),
    "negative height": ("height", [-3]),
    "hash of another length": ("phash", ["12"]),
    "box that is no JSON": ("box", ["1,2,3,4"]),
    "box of three": ("box", ["[1, 2, 3]"]),
    "box of texts": ("box", ['["1", "2", "3", "4"]']),
    "box of booleans": ("box", ["[0, 0, true, true]"]),
    "box that is not a number": ("box", ["[0, 0, NaN, 5]"]),
    "endless box": ("box", ["[0, 0, 1e999, 5]"]),
    "box without extent": ("box", ["[5, 0, 5, 9]"]),
    "box outside": ("box", ["[0, 0, 49, 10]"]),
    "box before the edge": ("box", ["[-1, 0, 9, 10]"]),
    "boxes that are JSON only together": ("box", ["[0,0,1,1],[0,0", "1,1]"]),
    "parents that are no JSON": ("parents", ["0-1"]),
    "parents that are numbers": ("parents", ["[1]"]),
}


def spoilt(base: pd.DataFrame, column: str, values: list[Any]) -> tuple[pd.DataFrame, int]:
    """The table with these values in its last rows, and the number of the first of them."""
    whole = base[column].tolist()
    return base.assign(**{column: [*whole[: len(whole) - len(values)], *values]}), len(whole) - len(values) + 1


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_value_is_refused_with_its_row(base: pd.DataFrame, case: str, tmp_path: Path) -> None:
    column, values = WRONG[case]
    table, row = spoilt(base, column, values)
    sound = Collection(tmp_path, base, SPECIES)
    ways: list[Callable[[], Any]] = [
        lambda: Collection.open(written(tmp_path / "opened", table)),
        lambda: Collection.create(tmp_path / "created", table, species=SPECIES),
        lambda: Collection(tmp_path / "made", table, SPECIES),
        lambda: replace(sound, table=table),
    ]
    for way in ways:
        with pytest.raises(CollectionError, match=rf"metadata.parquet, row {row}: ") as caught:
            way()
        assert "\n" not in str(caught.value) and str(caught.value).endswith((".", "null."))
    assert not (tmp_path / "created").exists()


def test_how_many_rows_are_wrong_is_told(base: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match=r"row 1: split is 'all' \(the same in 7 more rows\)"):
        Collection.open(written(tmp_path / "fish", base.assign(split="all")))


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("width", ["48", None, "wide", *["48"] * 5], r"row 3: width is 'wide', which is not a whole number"),
        ("width", [48.5] * 8, r"row 1: width is 48.5"),
        ("seed", [1e300] * 8, r"row 1: seed is 1e\+300"),
        ("species", [["Aus primus"]] * 8, r"row 1: species is .*, which is not text"),
        ("image_id", [True] + [False] * 7, r"row 1: image_id is True, which is not text"),
        ("box", [[0.0, 0.0, 5.0, 5.0]] * 8, r"row 1: box is .*, which is not text"),
        ("species", [b"Aus"] * 8, r"row 1: species is b'Aus', which is not text"),
        ("nearest_real_distance", ["far"] * 8, r"row 1: nearest_real_distance is 'far', which is not a number"),
    ],
)
def test_a_value_that_cannot_be_converted_is_refused(base: pd.DataFrame, column: str, values: list[Any], said: str, tmp_path: Path) -> None:
    columns = {name: pa.array(base[name]) for name in base}
    with pytest.raises(CollectionError, match=said):
        Collection.open(written(tmp_path / "fish", pa.table({**columns, column: pa.array(values)})))


@pytest.mark.parametrize("species", [[*SPECIES, "Aus primus"], [*SPECIES, 3], [*SPECIES, " "], "Aus primus", 3])
def test_a_wrong_vocabulary_is_refused(base: pd.DataFrame, species: Any, tmp_path: Path) -> None:
    with pytest.raises(CollectionError):
        Collection.open(written(tmp_path / "fish", base, species))


@pytest.mark.parametrize("info", [{"name": 3}, {"sources": "here"}, {"history": {"stage": "reef"}}])
def test_wrong_types_in_the_description_are_refused(base: pd.DataFrame, info: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match=r"collection.json"):
        Collection.open(written(tmp_path / "fish", base, **info))


def test_two_columns_of_one_name_are_refused(base: pd.DataFrame, tmp_path: Path) -> None:
    doubled = pa.Table.from_arrays([pa.array(["images/1.png"])] * 2, names=["file_name", "file_name"])
    with pytest.raises(CollectionError, match=r"two columns|damaged"):
        Collection.open(written(tmp_path / "fish", doubled))


def test_a_table_of_another_program_needs_only_files_and_species(tmp_path: Path) -> None:
    root = make_collection(tmp_path / "fish", {"Aus primus": 3}).root
    (root / "images" / "sub").mkdir()
    (root / "images" / "0-0.png").rename(root / "images" / "sub" / "0-1.png")
    files = ["images/sub/0-1.png", "images/0-1.png", "images/0-2.png"]
    pq.write_table(pa.table({"file_name": files, "species": ["Aus primus", "Aus primus", None]}), root / "metadata.parquet")
    opened = Collection.open(root)
    assert opened.table["image_id"].tolist() == ["0-1", "0-1-2", "0-2"]
    assert opened.labels().tolist() == [0, 0, -1]
    assert opened.table["sha256"].nunique() == 3 and opened.table["phash"].str.fullmatch("[0-9a-f]{16}").all()
    kept = json.loads((root / ".cache" / "hashes.json").read_text())
    assert set(kept) == set(files)
    (root / ".cache" / "hashes.json").write_text('{"images/0-2.png": 3')  # damaged: computed again
    pd.testing.assert_frame_equal(Collection.open(root).table, opened.table)


def test_known_hashes_are_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_collection(tmp_path / "fish", {"Aus primus": 3}).root
    first = Collection.open(root)
    monkeypatch.setattr("syntype.collection.hashes.read_image", lambda _: pytest.fail("read again"))
    pd.testing.assert_frame_equal(Collection.open(root).table, first.table)


@pytest.mark.parametrize("content", [None, b"", b"no image"])
def test_a_file_without_hashes_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    root = make_collection(tmp_path / "fish", {"Aus primus": 3}).root
    (root / "images" / "0-1.png").unlink()
    if content is not None:
        (root / "images" / "0-1.png").write_bytes(content)
    with pytest.raises(CollectionError, match=r"row 2: images/0-1.png has no hashes yet"):
        Collection.open(root)
    assert len(Collection.open(root, hashes=False)) == 3


def test_without_hashes_a_leak_is_found_and_features_differ(tmp_path: Path) -> None:
    made = make_collection(tmp_path / "fish", {"Aus primus": 12})
    train, test = (int(np.flatnonzero(made.table["split"] == split)[0]) for split in ("train", "test"))
    made.path(test).write_bytes(made.path(train).read_bytes())
    blind = Collection.create(made.root, made.table.assign(sha256=None, phash=None), species=made.species)
    with pytest.raises(LeakageError):
        check_leakage(blind)

    class Encoder:
        name, dim, backbone = "mean", 3, type("Backbone", (), {"weights": "none", "preprocessing": None})

        def encode(self, images: np.ndarray, **_: Any) -> np.ndarray:
            return images.mean(axis=(1, 2)).astype(np.float32)

    features = encode_collection(Encoder(), blind, pixels=16)  # type: ignore[arg-type]
    assert len(np.unique(features, axis=0)) == 11
    for content in (b"", b"no archive", b"\x93NUMPY"):
        next((made.root / ".cache").glob("features-*.npz")).write_bytes(content)  # computed again
        np.testing.assert_array_equal(encode_collection(Encoder(), blind, pixels=16), features)  # type: ignore[arg-type]


def test_a_species_renamed_in_memory_is_not_learnt_as_another(base: pd.DataFrame, tmp_path: Path) -> None:
    collection = make_collection(tmp_path / "fish", dict.fromkeys(SPECIES, 4), split="train")
    collection.table.loc[0, "species"] = "Cus tertius"
    for use in (collection.labels, lambda: training_data(collection, 16)):
        with pytest.raises(CollectionError, match="'Cus tertius' is not in its list"):
            use()


def test_a_path_put_into_a_table_in_memory_is_not_opened(tmp_path: Path) -> None:
    collection = make_collection(tmp_path / "fish", {"Aus primus": 2})
    (tmp_path / "secret.png").write_bytes(collection.path(0).read_bytes())
    collection.table.loc[0, "file_name"] = "../secret.png"
    for read in (lambda: collection.path(0), lambda: collection.pixels(16), lambda: list(collection.iterate_pixels(16))):
        with pytest.raises(UserError, match="outside this folder"):
            read()


def test_a_hundred_thousand_rows_are_checked_quickly(tmp_path: Path) -> None:
    num = 100_000
    table = pd.DataFrame({
        "image_id": [f"i{number}" for number in range(num)],
        "file_name": [f"images/{number}.jpg" for number in range(num)],
        "species": [f"Species {number % 500}" for number in range(num)],
        "split": "train", "width": 640, "height": 480,
        "phash": [f"{number:016x}" for number in range(num)],
        "box": [f"[{number % 100}, 2, 600.5, {number % 400 + 3}]" for number in range(num)],
    })  # fmt: skip
    collection = Collection(tmp_path, table, tuple(f"Species {number}" for number in range(500)))
    start = time.process_time()
    replace(collection)
    assert time.process_time() - start < 2  # 0.4 s on an idle core
    start = time.process_time()
    for _ in range(10):
        collection.where(np.ones(num, dtype=bool))  # rows are checked once, not in every view
    assert time.process_time() - start < 2

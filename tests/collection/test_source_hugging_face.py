from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from marked import COLOURS, imported, marked, refused, said, shown_colours, write_json
from PIL import Image

from syntype.collection.sources import SourceConfig, hugging_face_hub, read_source, recognise
from syntype.collection.sources.packed_tables import ParquetImages
from syntype.errors import InputError

NAMES = ["Naso lituratus", "Zebrasoma scopas"]
FEATURES = {"image": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}


def png(colour: str, seed: int = 0) -> bytes:
    """A picture of nearly one colour, different for each seed."""
    pixels = np.full((32, 32, 3), COLOURS[colour], dtype=np.uint8)
    pixels[0, :, :] = np.random.default_rng(seed).integers(0, 255, (32, 3))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def shard(path: Path, colours: list[str], labels: list[Any], features: Any = FEATURES, row_group: int = 2, **columns: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [
        {"bytes": png(colour, number + len(path.name) * 50 + ord(path.name[0])), "path": f"{colour}-{number}.png"}
        for number, colour in enumerate(colours)
    ]
    table = pa.table({"image": cells, "label": labels, **columns})
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=row_group)
    return path


def test_shards_with_their_splits_and_names_of_classes(tmp_path: Path) -> None:
    shard(tmp_path / "in" / "data" / "train-00000-of-00002.parquet", ["red", "blue", "red"], [0, 1, 0], licence=["CC0"] * 3)
    shard(tmp_path / "in" / "data" / "train-00001-of-00002.parquet", ["blue"], [1], licence=["CC BY"])
    shard(tmp_path / "in" / "data" / "validation-00000-of-00001.parquet", ["blue", "red"], [1, 0], licence=["CC0"] * 2)
    shard(tmp_path / "in" / "data" / "test-00000-of-00001.parquet", ["red", "blue"], [0, -1], licence=["CC0"] * 2)
    result = imported(tmp_path / "in", tmp_path / "out")
    table = result.collection.table
    assert result.splits == {"train": 4, "val": 2, "test": 1}
    assert shown_colours(result.collection) == [{"Naso lituratus": "red", "Zebrasoma scopas": "blue"}[name] for name in table["species"]]
    assert set(table["original_name"]) == {"red-0.png", "blue-1.png", "red-2.png", "blue-0.png", "red-1.png"}
    assert table["licence"].tolist().count("CC BY") == 1
    assert [(row["file"], row["reason"]) for row in refused(tmp_path / "out")] == [("blue-1.png", "has no species")]  # kept back by the author


def test_one_file_with_only_a_training_split_gets_splits(tmp_path: Path) -> None:
    shard(tmp_path / "in" / "train-00000-of-00001.parquet", ["red", "blue"] * 6, [0, 1] * 6)
    result = imported(tmp_path / "in", tmp_path / "out")
    assert result.splits["test"] > 0 and "only a training split" in said(tmp_path / "in")
    assert len(imported(tmp_path / "in" / "train-00000-of-00001.parquet", tmp_path / "out2").collection) == 12


def test_several_data_sets_in_one_folder_are_not_mixed_and_splits_can_be_named(tmp_path: Path) -> None:
    for name in ("birds", "fishes"):
        shard(tmp_path / "in" / name / "train-00000.parquet", ["red", "blue"], [0, 1])
    with pytest.raises(InputError, match=r"several data sets \(birds, fishes\)"):
        read_source(tmp_path / "in", SourceConfig())
    given = SourceConfig.parse({"splits": {"train": "birds/train-00000.parquet", "test": "fishes/train-00000.parquet"}})
    assert [entry.split for entry in read_source(tmp_path / "in", given).entries] == ["train", "train", "test", "test"]


def test_numbers_without_names_are_refused_and_other_columns_offered(tmp_path: Path) -> None:
    file = shard(tmp_path / "a.parquet", ["red", "blue"], [0, 1], features=None, taxon_id=[5, 6], kind=["Naso", "Zebrasoma"])
    with pytest.raises(InputError, match=r"only numbers as 'label'.*--species-column.*taxon_id, kind"):
        read_source(file, SourceConfig())
    chosen = read_source(file, SourceConfig(species_column="kind"))
    assert [entry.species for entry in chosen.entries] == ["Naso", "Zebrasoma"]
    texts = shard(tmp_path / "b.parquet", ["red", "blue"], ["0", "1"], features=None)
    with pytest.raises(InputError, match="only numbers"):
        read_source(texts, SourceConfig())


def test_names_of_classes_from_the_card_or_the_description(tmp_path: Path) -> None:
    shard(tmp_path / "card" / "data" / "train.parquet", ["red", "blue"], [0, 1], features=None)
    (tmp_path / "card" / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: image\n    dtype: image\n  - name: label\n    dtype:\n      class_label:\n        names:\n"
        "          '0': Naso lituratus\n          '1': Zebrasoma scopas\n---\n# Fish\n"
    )
    shard(tmp_path / "info" / "data" / "train.parquet", ["red", "blue"], [0, 1], features=None)
    write_json(tmp_path / "info" / "dataset_info.json", {"features": FEATURES})
    for name in ("card", "info"):
        assert [entry.species for entry in read_source(tmp_path / name, SourceConfig()).entries] == NAMES


def test_a_class_beyond_the_names_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 2: has the class 7 in 'label', but only 2 names"):
        read_source(shard(tmp_path / "a.parquet", ["red", "blue"], [0, 7]), SourceConfig())


def test_bare_bytes_and_images_that_are_files_beside_the_table(tmp_path: Path) -> None:
    table = pa.table({"img": [png("red"), png("blue", 1), b""], "species": [*NAMES, NAMES[0]]})
    pq.write_table(table, tmp_path / "a.parquet")
    result = imported(tmp_path / "a.parquet", tmp_path / "out")
    assert shown_colours(result.collection) == ["red", "blue"] and refused(tmp_path / "out")[0]["reason"] == "holds no image"
    marked(tmp_path / "in" / "x.png", {"red": (0, 0, 64, 48)})
    pq.write_table(pa.table({"image": [{"bytes": None, "path": "x.png"}], "species": ["Naso"]}, schema=pa.schema(
        {"image": pa.struct({"bytes": pa.binary(), "path": pa.string()}), "species": pa.string()})), tmp_path / "in" / "a.parquet")  # fmt: skip
    assert shown_colours(imported(tmp_path / "in", tmp_path / "out2").collection) == ["red"]


def test_objects_with_boxes_are_a_row_each(tmp_path: Path) -> None:
    file = io.BytesIO(marked(tmp_path / "x.png", {"red": (4, 8, 16, 20), "blue": (40, 30, 52, 42)}).read_bytes())
    objects = {"bbox": [[4.0, 8.0, 12.0, 12.0], [40.0, 30.0, 12.0, 12.0]], "category": [0, 1]}
    table = pa.table(
        {
            "image": [{"bytes": file.getvalue(), "path": None}, {"bytes": png("green"), "path": None}],
            "objects": [objects, {"bbox": [], "category": []}],
        }
    )
    features = {
        "image": {"_type": "Image"},
        "objects": {"bbox": {}, "category": {"feature": {"names": NAMES, "_type": "ClassLabel"}, "_type": "List"}},
    }
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), tmp_path / "a.parquet")
    collection = imported(tmp_path / "a.parquet", tmp_path / "out").collection
    assert shown_colours(collection) == ["red", "blue"] and collection.table["species"].tolist() == NAMES
    assert collection.table["file_name"].nunique() == 1 and collection.table["group"].nunique() == 1
    assert "1 images without an object" in said(tmp_path / "a.parquet")


def test_rows_are_read_in_any_order_and_few_are_held(tmp_path: Path) -> None:
    cells = [f"{number}".encode() * 3 for number in range(1000)]
    pq.write_table(pa.table({"image": cells}), tmp_path / "a.parquet", row_group_size=300)
    images = ParquetImages(tmp_path / "a.parquet", "image")
    for row in (0, 1, 40, 2, 39, 999, 500, 3, 299, 300):
        assert images.cell(row) == cells[row]
        assert len(images._cells) < 300


def test_a_damaged_table_is_one_line(tmp_path: Path) -> None:
    file = shard(tmp_path / "a.parquet", ["red", "blue"] * 20, [0, 1] * 20, row_group=20)
    data = bytearray(file.read_bytes())
    start = pq.read_metadata(file).row_group(1).column(0).data_page_offset  # the images of the second half
    data[start : start + 30] = b"\xff" * 30
    file.write_bytes(bytes(data))
    result = imported(file, tmp_path / "out")
    assert len(result.collection) == 20 and {row["reason"] for row in refused(tmp_path / "out")} == {"is damaged"} and result.num_refused == 20
    file.write_bytes(bytes(data)[:-200])
    with pytest.raises(InputError):
        read_source(file, SourceConfig())


def test_tables_of_file_names_are_left_to_the_reader_of_tables(tmp_path: Path) -> None:
    marked(tmp_path / "a.png")
    pq.write_table(pa.table({"file_name": ["a.png"], "species": ["Naso"]}), tmp_path / "metadata.parquet")
    assert recognise(tmp_path, SourceConfig()).name != "hugging-face"
    assert recognise(tmp_path / "metadata.parquet", SourceConfig()).name != "hugging-face"


@pytest.mark.parametrize("kind", ["one", "several", "parquet"])
def test_what_the_library_itself_writes(tmp_path: Path, kind: str) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    rows = {
        "image": [{"bytes": png("red", n), "path": None} if n % 2 == 0 else {"bytes": png("blue", n), "path": None} for n in range(8)],
        "label": [0, 1] * 4,
    }
    data = datasets.Dataset.from_dict(rows, features=features)
    if kind == "one":
        data.filter(lambda row: True, input_columns=["label"]).save_to_disk(str(tmp_path / "in"))
    elif kind == "several":
        datasets.DatasetDict({"train": data, "test": data.select([1, 0])}).save_to_disk(str(tmp_path / "in"))
    else:
        (tmp_path / "in").mkdir()
        data.to_parquet(str(tmp_path / "in" / "all.parquet"))
    result = imported(tmp_path / "in", tmp_path / "out")
    assert shown_colours(result.collection) == [
        {"Naso lituratus": "red", "Zebrasoma scopas": "blue"}[name] for name in result.collection.table["species"]
    ]
    assert len(result.collection) == (10 if kind == "several" else 8)
    if kind == "several":
        assert result.splits == {"train": 8, "val": 0, "test": 2}


def test_a_name_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    data = datasets.Dataset.from_dict({"image": [{"bytes": png(c), "path": None} for c in ("red", "blue")], "label": [0, 1]}, features=features)
    asked = []

    def load(name: str, revision: str | None) -> Any:
        asked.append((name, revision))
        return datasets.DatasetDict({"train": data, "test": data.select([1])})

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
    result = imported(Path("hf:owner/fish@v2"), tmp_path / "out")
    assert asked == [("owner/fish", "v2")] and result.splits == {"train": 2, "val": 0, "test": 1}
    assert shown_colours(result.collection) == ["red", "blue", "blue"]

    def fails(name: str, revision: str | None) -> Any:
        raise ValueError("There is no such data set\n" * 50)

    monkeypatch.setattr(datasets, "load_dataset", fails)
    with pytest.raises(InputError, match=r"hf:owner/fish: cannot be loaded from the hub \(There is no such data set.*internet") as error:
        read_source(Path("hf:owner/fish"), SourceConfig())
    assert len(str(error.value)) < 500 and "\n" not in str(error.value)


@pytest.mark.parametrize("silent", [False, True])
def test_without_internet_a_data_set_comes_from_the_cache_or_one_line_says_why_not(silent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    from huggingface_hub import constants

    over = threading.Event()

    def ask(*_: object, **__: object) -> None:
        if silent:  # a network that swallows what is sent
            over.wait(60)
        raise OSError("no address")

    def load(name: str, revision: str | None) -> Any:
        assert datasets.config.HF_HUB_OFFLINE and constants.HF_HUB_OFFLINE  # so that it is not tried again and again
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", ask)
    monkeypatch.setattr(hugging_face_hub, "_PATIENCE", 0.05)
    monkeypatch.setattr(datasets, "load_dataset", load)
    try:
        with pytest.raises(InputError, match=r"^hf:owner/fish: cannot be loaded: the hub does not answer.* Check the internet connection") as error:
            read_source(Path("hf:owner/fish"), SourceConfig())
        assert "\n" not in str(error.value) and not datasets.config.HF_HUB_OFFLINE and not constants.HF_HUB_OFFLINE
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
        data = datasets.Dataset.from_dict({"image": [{"bytes": png("red"), "path": None}], "label": [0]}, features=features)
        monkeypatch.setattr(datasets, "load_dataset", lambda name, revision: datasets.DatasetDict({"train": data}))
        assert [entry.species for entry in read_source(Path("hf:owner/fish"), SourceConfig()).entries] == NAMES[:1]
    finally:
        over.set()

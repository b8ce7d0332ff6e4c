"""The layout for programs that train text-to-image models: a text beside each image, and the same texts as a table."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from made import make_collection

from syntype.collection import Collection
from syntype.collection.exports import ExportConfig, export
from syntype.collection.prompts import captions_of, common_names_of, prompt, species_text, species_texts
from syntype.run import Run


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    made = make_collection(tmp_path / "fish", {"Aus primus": 3, "Aus secundus": 2})
    table = made.table.assign(
        genus="Aus", family="Ausidae", vernacular_name=["first fish", None, "first fish", "", None], split=["train", "train", "test", "train", None]
    )
    table["caption"] = ["on a reef.", None, "in sand", " ", "é"]
    table["original_name"] = ["a/one.JPG", "b/one.png", "test_3.png", "four.png", "five.png"]
    table.loc[4, "species"] = None
    second = table.iloc[[0]].assign(image_id="second", species="Aus secundus", caption=None, vernacular_name=None)
    table = pd.concat([table, second], ignore_index=True)
    collection = Collection.create(made.root, table, species=made.species)
    file = export(collection, ExportConfig(layout="captions"), tmp_path / "export", Run.silent()).file
    with zipfile.ZipFile(file) as packed:
        packed.extractall(tmp_path / "unpacked")
    return tmp_path / "unpacked"


def test_every_image_has_its_text_beside_it(exported: Path) -> None:
    texts = {path.relative_to(exported).as_posix(): path.read_text(encoding="utf-8") for path in exported.rglob("*.txt")}
    assert texts == {
        "train/one.txt": "a photo of Aus primus, first fish, Ausidae and Aus secundus, Ausidae, on a reef",
        "train/one-2.txt": "a photo of Aus primus, first fish, Ausidae",
        "train/four.txt": "a photo of Aus secundus, Ausidae",
        "test/image.txt": "a photo of Aus primus, first fish, Ausidae, in sand",
        "unsplit/five.txt": "a photo, é",
    }
    images = {path.with_suffix(".txt") for path in exported.rglob("*") if path.suffix in (".png", ".jpg")}
    assert {exported / name for name in texts} == images


def test_the_table_of_texts_names_every_image_of_its_folder(exported: Path) -> None:
    for folder in ("train", "test", "unsplit"):
        lines = [json.loads(line) for line in (exported / folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
        assert {line["file_name"] for line in lines} == {path.name for path in (exported / folder).iterdir() if path.suffix in (".png", ".jpg")}
        for line in lines:
            assert (exported / folder / line["file_name"]).with_suffix(".txt").read_text(encoding="utf-8") == line["text"]


def test_datasets_opens_the_folder_for_diffusers_scripts(exported: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(exported / "train"), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"] and set(loaded["train"].column_names) == {"image", "text"}
    assert len(loaded["train"]) == 3 and "a photo of Aus secundus, Ausidae" in loaded["train"]["text"]


def test_texts_name_a_species_once_by_each_of_its_names() -> None:
    assert species_text("Aus primus", "Aus primus", "Aus", "Ausidae") == "Aus primus, Ausidae"
    assert species_text("blue fish", "big\nfish", "Aus", None) == "blue fish, big fish, Aus"
    assert prompt(species_text("Aus primus"), "  in the\nsun. ") == "a photo of Aus primus, in the sun"
    assert prompt("", None) == "a photo"


def test_the_most_frequent_common_name_counts() -> None:
    table = pd.DataFrame({"species": list("aaabc"), "vernacular_name": ["x", "y", "y", None, " "], "common_name": ["z", "z", "z", "b fish", None]})
    assert common_names_of(table) == {"a": "y", "b": "b fish"}
    assert species_texts(table, ("a", "c")) == {"a": "a, y", "c": "c"}
    assert captions_of(table) == ()

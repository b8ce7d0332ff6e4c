"""Exports in the forms of other programs: names of files, COCO, Label Studio, and what every one of them carries."""

from __future__ import annotations

import json
import unicodedata
import zipfile
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from made import make_collection, tree
from PIL import Image

from syntype.apps.cli_collections import export as command
from syntype.collection import Collection
from syntype.collection.exports import LAYOUTS, ExportConfig, LayoutName, export
from syntype.collection.exports.file_names import keep_names
from syntype.errors import CollectionError
from syntype.run import Run

ZIPS = [name for name, layout in LAYOUTS.items() if layout.place is not None]
ODD = ("NA", "null", "007", "1.0", " both ends ", "two\r\nlines\rhere", 'a "quoted", text', "=1+1", "", None, "ß", "\U0001f41f")
WINDOWS = set('<>:"\\|?*')


def unpacked(collection: Collection, layout: str, out: Path, **settings: Any) -> Path:
    """The folder to which an export unpacks."""
    result = export(collection, ExportConfig(layout=layout, **settings), out / layout, Run.silent())  # type: ignore[arg-type]
    with zipfile.ZipFile(result.file) as archive:
        assert archive.testzip() is None and len(set(archive.namelist())) == len(archive.namelist())
        archive.extractall(out / f"{layout}-unpacked")
    return out / f"{layout}-unpacked"


def whole_table(folder: Path) -> pd.DataFrame:
    name = "collection.parquet" if (folder / "collection.parquet").exists() else "metadata.parquet"
    return pd.read_parquet(folder / name)


@pytest.fixture
def mixed(tmp_path: Path) -> Collection:
    """Photographs and synthetic images: odd further values, two animals on one photograph, boxes, files and species with unfortunate names."""
    made = make_collection(tmp_path / "made", {"Aux": 6, "aux": 3, "train": 3, "Aus 王 é": 2})
    table = made.table.copy()
    number = len(table)
    table["original_name"] = pd.array([f"trip/{['IMG 1', 'img 1', 'test-1', 'con', '…'][i % 5]}.JPG" for i in range(number)], dtype="string")
    table.loc[[2, 7], "origin"] = "synthetic"
    table.loc[[2, 7], "split"] = None
    table.loc[[2, 7], "terms"] = "Synthetic image. Not occurrence evidence."
    table.loc[2, "generator_id"] = "generator-1"
    table.loc[0, "box"] = "[4, 6, 20, 30.5]"
    table.loc[1, "licence"] = None
    table.loc[number - 1, "species"] = None
    table["remark"] = pd.array([ODD[i % len(ODD)] for i in range(number)], dtype="string")
    table["count"] = pd.array([None, *range(1, number)], dtype="Int64")
    second = table.iloc[[0]].assign(image_id="second", species="train", box="[20, 20, 40, 40]")
    table = pd.concat([table, second], ignore_index=True)
    return Collection.create(made.root, table, name="Mixed / fish", species=["train", "Aux", "aux", "Aus 王 é", "none here"],
                             sources=["a place"], history=[{"stage": "collect"}])  # fmt: skip


def test_every_layout_can_be_asked_for_everywhere() -> None:
    choice = next(option for option in command.params if option.name == "layout")
    assert list(choice.type.choices) == list(LAYOUTS) == list(get_args(LayoutName))  # type: ignore[attr-defined]


@pytest.mark.parametrize("layout", ZIPS)
def test_every_zip_has_the_whole_table_and_the_record_of_the_collection(layout: str, mixed: Collection, tmp_path: Path) -> None:
    folder = unpacked(mixed, layout, tmp_path)
    table = whole_table(folder)
    expected = mixed.table.drop(columns="file_name")
    pd.testing.assert_frame_equal(table.drop(columns="file_name").astype(expected.dtypes.to_dict()), expected)
    for name, own in zip(table["file_name"], mixed.table["file_name"], strict=True):
        assert (folder / name).read_bytes() == (mixed.root / own).read_bytes()
    assert json.loads((folder / "collection.json").read_text()) == json.loads((mixed.root / "collection.json").read_text())
    if not (folder / "collection.parquet").exists():  # it then is a collection
        again = Collection.open(folder)
        assert again.species == mixed.species and again.fingerprint == mixed.fingerprint


@pytest.mark.parametrize("layout", ZIPS)
def test_names_are_different_for_every_system_and_allowed_by_it(layout: str, mixed: Collection, tmp_path: Path) -> None:
    files = list(tree(unpacked(mixed, layout, tmp_path)))
    assert len({unicodedata.normalize("NFKC", name).casefold() for name in files}) == len(files)
    for name in files:
        for part in name.split("/"):
            assert not WINDOWS & set(part) and part == part.strip(" .") and part.partition(".")[0].lower() not in ("con", "aux", "nul", "prn")
            assert len(part.encode()) < 120
    table = whole_table(tmp_path / f"{layout}-unpacked")
    assert table["file_name"].nunique() == len(table) - (1 if layout != "species" else 0), "two animals of one photograph share its file"


def test_names_are_those_of_the_source(mixed: Collection, tmp_path: Path) -> None:
    table = whole_table(unpacked(mixed, "species", tmp_path))
    assert table["file_name"][0] == "Aux_/IMG 1.png" and table["file_name"][1] == "Aux_/img 1-2.png"
    assert table["file_name"][3] == "Aux_/con_.png" and table["file_name"][4] == "Aux_/0-4.png", "a name without letters is the collection's own"


def test_a_collection_keeps_its_names_where_they_are_safe() -> None:
    files = ["images/a.png", "images/A.png", "images/a.png", "images/con.png", "metadata.parquet", "images/a:b.JPG", "./x.png", "images/é (1), b.png"]
    kept = keep_names(files, ["metadata.parquet"])
    assert kept == ["images/a.png", "images/A-2.png", "images/a.png", "images/con_.png", "metadata-2.parquet", "images/a_b.jpg", "x.png", files[-1]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_collection_gives_the_same_bytes(layout: str, mixed: Collection, tmp_path: Path) -> None:
    first, second = (export(mixed, ExportConfig(layout=layout), tmp_path / name, Run.silent()).file for name in ("a", "b"))  # type: ignore[arg-type]
    assert first.read_bytes() == second.read_bytes() and first.name.startswith("Mixed_fish.")


@pytest.mark.parametrize("layout", ZIPS)
def test_a_missing_file_leaves_no_export(layout: str, mixed: Collection, tmp_path: Path) -> None:
    mixed.path(4).unlink()
    with pytest.raises(CollectionError, match="No such file"):
        export(mixed, ExportConfig(layout=layout), tmp_path / "out", Run.silent())  # type: ignore[arg-type]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_csv_survives_strange_values(mixed: Collection, tmp_path: Path) -> None:
    file = export(mixed, ExportConfig(layout="table"), tmp_path / "out", Run.silent()).file
    remarks = pd.read_csv(file, dtype=str, keep_default_na=False)
    assert remarks["remark"].tolist() == mixed.table["remark"].fillna("").tolist()
    assert remarks["original_name"].tolist() == mixed.table["original_name"].tolist()
    assert all((mixed.root / name).is_file() for name in remarks["file_name"])


def coco(folder: Path, split: str) -> Any:
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO

    return COCO(folder / "annotations" / f"instances_{split}.json")


def test_coco_opens_with_its_own_tools(mixed: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = unpacked(mixed, "coco", tmp_path)
    assert {path.name for path in (folder / "annotations").iterdir()} == {f"instances_{name}.json" for name in ("train", "test", "unsplit")}
    train = coco(folder, "train")
    assert [(item["id"], item["name"]) for item in train.loadCats(train.getCatIds())] == list(enumerate(mixed.species, 1))
    photograph = next(image for image in train.dataset["images"] if len(train.getAnnIds(image["id"])) == 2)
    first, second = train.loadAnns(train.getAnnIds(photograph["id"]))
    assert (first["bbox"], first["area"], second["bbox"]) == ([4, 6, 16, 24.5], 392, [20, 20, 20, 20])
    assert {train.cats[one["category_id"]]["name"] for one in (first, second)} == {"Aux", "train"}
    assert "whole_image" not in first and first["attributes"]["image_id"] == "0-0" and first["attributes"]["remark"] == "NA"
    assert (folder / "images" / photograph["file_name"]).is_file()
    licences = {item["id"]: item for item in train.dataset["licenses"]}
    assert licences[photograph["license"]] == {"id": 1, "name": "CC0-1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}
    rows = mixed.table
    for one in train.dataset["annotations"]:
        row = rows[rows["image_id"] == one["attributes"]["image_id"]].iloc[0]
        assert one.get("whole_image", False) == pd.isna(row["box"]) and row["split"] == "train"
        if pd.isna(row["box"]):
            assert one["bbox"] == [0, 0, 48, 48]
    total = sum(len(coco(folder, name).dataset["annotations"]) for name in ("train", "test", "unsplit"))
    bare = [image for name in ("train", "test", "unsplit") for image in coco(folder, name).dataset["images"] if "attributes" in image]
    assert total == len(mixed) - 1 and [image["attributes"]["image_id"] for image in bare] == ["3-1"], "an image without species has no annotation"
    synthetic = coco(folder, "unsplit")
    assert synthetic.dataset["info"]["num_synthetic"] == 2 and len(synthetic.dataset["annotations"]) == 2
    assert synthetic.dataset["info"]["terms"] == ["Synthetic image. Not occurrence evidence."]


def test_coco_has_the_size_of_the_upright_image_where_the_table_has_none(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(tmp_path / "made" / "a.jpg", exif=exif)
    made = Collection.create(tmp_path / "made", pd.DataFrame({"file_name": ["a.jpg"], "species": ["Aus primus"], "split": ["train"]}))
    image = coco(unpacked(made, "coco", tmp_path), "train").dataset["images"][0]
    assert (image["width"], image["height"]) == (20, 40)


def test_label_studio_has_labels_to_confirm_and_labels_that_are_known(mixed: Collection, tmp_path: Path) -> None:
    folder = unpacked(mixed, "label-studio", tmp_path)
    tasks = json.loads((folder / "tasks.json").read_text())
    assert len(tasks) == len(mixed) - 1 and len({task["id"] for task in tasks}) == len(tasks)
    first = tasks[0]
    known = [(result["type"], result["value"].get("rectanglelabels")) for result in first["annotations"][0]["result"]]
    assert known == [("rectanglelabels", ["Aux"]), ("rectanglelabels", ["train"])] and first["predictions"] == []
    value = first["annotations"][0]["result"][0]["value"]
    assert [round(value[key] * 48 / 100, 6) for key in ("x", "y", "width", "height")] == [4, 6, 16, 24.5]
    assert tasks[1]["annotations"][0]["result"][0]["value"] == {"choices": ["Aux"]}
    drawn = [task for task in tasks if task["predictions"]]
    assert [task["data"]["image_id"] for task in drawn] == ["0-2", "1-1"] and all(task["annotations"] == [] for task in drawn)
    assert drawn[0]["predictions"][0]["model_version"] == "generator-1"
    assert next(task for task in tasks if task["data"]["image_id"] == "3-1")["annotations"] == []
    for task in tasks:
        place, _, file = task["data"]["image"].partition("?d=")
        assert place == "/data/local-files/" and (folder / file).is_file()
    view = ElementTree.parse(folder / "labelling-interface.xml").getroot()
    controls = {item.get("name"): [label.get("value") for label in item] for item in view if len(item)}
    assert controls == {"box": list(mixed.species), "species": list(mixed.species)}

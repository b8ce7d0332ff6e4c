"""The Hugging Face layout opened with ``datasets`` itself, and the description in the Croissant format with ``mlcroissant``."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from made import make_collection

from syntype.collection import Collection
from syntype.collection.exports import ExportConfig, export
from syntype.collection.exports.licences import hub_licence, licence_url
from syntype.run import Run

datasets = pytest.importorskip("datasets")
PARTS = {"train": "train", "val": "validation", "test": "test", None: "unsplit"}
NAMES = ("train/test-1 valid.jpg", "dev.png", "a-train.b.PNG", "validation", "eval 3.jpg", "IMG_7.jpg")


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def unpacked(collection: Collection, out: Path, layout: str = "hugging-face") -> Path:
    result = export(collection, ExportConfig(layout=layout), out, Run.silent())  # type: ignore[arg-type]
    with zipfile.ZipFile(result.file) as archive:
        archive.extractall(out / "unpacked")
    return out / "unpacked"


def opened(tmp_path: Path, *args: Any, **more: Any) -> Any:
    return datasets.load_dataset(*args, cache_dir=str(tmp_path / "cache"), **more)


@pytest.fixture
def confusing(tmp_path: Path) -> Collection:
    """Species, files and further columns that are called like splits and image columns."""
    made = make_collection(tmp_path / "made", {"test": 8, "train": 7, "dev validation": 4})
    table = made.table.copy()
    number = len(table)
    table["original_name"] = pd.array([NAMES[i % len(NAMES)] for i in range(number)], dtype="string")
    table.loc[[4, 10, 16], ["split", "origin"]] = [None, "synthetic"]
    table.loc[[4, 10, 16], "generator_id"] = "generator-1"
    table.loc[3, "licence"] = "CC-BY-4.0"
    table["image"] = "a text"
    table["mask_file_name"] = "mask.png"
    table["places/ü n:1"] = pd.array(["007", *[None] * (number - 1)], dtype="string")
    table["kind"] = pd.Categorical(["adult", "larva"] * (number // 2) + ["adult"] * (number % 2))
    second = table.iloc[[0]].assign(image_id="second", species="train", box="[20, 20, 40, 40]")
    table = pd.concat([table, second], ignore_index=True)
    return Collection.create(made.root, table, name="Fish: a | b", species=["train", "test", "dev validation"], sources=["ours"])


def test_the_card_opens_every_split_with_labels_and_all_metadata(confusing: Collection, tmp_path: Path) -> None:
    data = opened(tmp_path, str(unpacked(confusing, tmp_path / "out")))
    assert list(data) == ["train", "validation", "test", "unsplit"]
    table = confusing.table.set_index("image_id")
    for split, part in PARTS.items():
        rows = table[table["split"].isna() if split is None else (table["split"] == split).fillna(False)]
        assert sorted(data[part]["image_id"]) == sorted(rows.index)
        for one in data[part]:
            row = rows.loc[one["image_id"]]
            assert one["image"].size == (48, 48) and one["species"] == row["species"] and one["original_name"] == row["original_name"]
            assert (one["image_"], one["mask_file_name_"], one["kind"]) == ("a text", "mask.png", row["kind"])
            assert one["places/ü n:1"] == (None if pd.isna(row["places/ü n:1"]) else "007") and one["box"] == (
                None if pd.isna(row["box"]) else row["box"]
            )
            pixels = confusing.pixels(48)[list(table.index).index(one["image_id"])] if one["box"] is None else None
            assert pixels is None or (pixels == one["image"]).all()


def test_imagefolder_opens_the_splits_whatever_things_are_called(confusing: Collection, tmp_path: Path) -> None:
    folder = unpacked(confusing, tmp_path / "out")
    data = opened(tmp_path, "imagefolder", data_dir=str(folder))
    counts = confusing.table["split"].value_counts()
    assert {name: len(part) for name, part in data.items()} == {"train": counts["train"], "validation": counts["val"], "test": counts["test"]}
    for split in ("train", "test"):
        assert set(data[split]["split"]) == {split}
    alone = opened(tmp_path, "imagefolder", data_dir=str(folder / "unsplit"), split="train")
    assert len(alone) == 3 and set(alone["origin"]) == {"synthetic"}


def test_synthetic_images_alone_are_one_part(confusing: Collection, tmp_path: Path) -> None:
    drawn = confusing.where(confusing.table["split"].isna())
    folder = unpacked(drawn, tmp_path / "out")
    assert {name: len(part) for name, part in opened(tmp_path, str(folder)).items()} == {"unsplit": 3}
    assert {name: len(part) for name, part in opened(tmp_path, "imagefolder", data_dir=str(folder)).items()} == {"train": 3}
    assert "3 of them (100 %) are synthetic" in (folder / "README.md").read_text()


def test_the_card_tells_licences_counts_and_the_share_of_synthetic_images(confusing: Collection, tmp_path: Path) -> None:
    text = (unpacked(confusing, tmp_path / "out") / "README.md").read_text()
    head = yaml.safe_load(text.split("---")[1])
    assert (head["license"], head["pretty_name"], head["task_categories"]) == ("other", "Fish: a | b", ["image-classification"])
    assert "synthetic" in head["tags"] and head["size_categories"] == ["n<1K"]
    assert "20 images of 3 species; 3 of them (15.0 %) are synthetic." in text
    assert "| CC-BY-4.0 | 1 | https://creativecommons.org/licenses/by/4.0/ |" in text and "no evidence of where a species lives" in text
    assert "| train | 8 | 1 |" in text and "`generator-1`" in text


def test_a_single_image_opens(tmp_path: Path) -> None:
    made = make_collection(tmp_path / "made", {"Aus primus": 1}, split="test")
    data = opened(tmp_path, str(unpacked(made, tmp_path / "out")))
    assert {name: len(part) for name, part in data.items()} == {"test": 1} and data["test"][0]["image"].size == (48, 48)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib", "ignore::DeprecationWarning:mlcroissant")
@pytest.mark.parametrize("layout", ["hugging-face", "collection"])
def test_croissant_is_valid_and_leads_to_every_row_and_file(layout: str, confusing: Collection, tmp_path: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    folder = unpacked(confusing, tmp_path / "out", layout)
    described = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    assert not described.metadata.issues.errors
    rows = list(described.records("images"))
    assert [row["images/image_id"].decode() for row in rows] == confusing.table["image_id"].tolist()
    files = {one["files/path"].decode(): one["files/content"] for one in described.records("files")}
    assert {row["images/file_name"].decode() for row in rows} == set(files) and all(image.size == (48, 48) for image in files.values())
    content = json.loads((folder / "croissant.json").read_text())
    assert content["license"] == ["https://creativecommons.org/licenses/by/4.0/", "https://creativecommons.org/publicdomain/zero/1.0/"]


@pytest.mark.parametrize(
    ("licence", "url", "name"),
    [
        ("CC BY-NC-SA 4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/", "cc-by-nc-sa-4.0"),
        ("http://creativecommons.org/licenses/by/4.0/legalcode", "https://creativecommons.org/licenses/by/4.0/", "cc-by-4.0"),
        ("CC0", "https://creativecommons.org/publicdomain/zero/1.0/", "cc0-1.0"),
        ("CC BY-ND", None, "other"),
        ("CC0-1.0; CC-BY-4.0", None, "other"),
        ("https://museum.example/terms", "https://museum.example/terms", "other"),
    ],
)
def test_licences_are_known_by_their_usual_names(licence: str, url: str | None, name: str) -> None:
    assert (licence_url(licence), hub_licence([licence])) == (url, name)

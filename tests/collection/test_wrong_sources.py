"""What goes wrong with sources of every kind: each is one clear line that names the file and says what to do, and nothing is mislabelled."""

from __future__ import annotations

import json
import shlex
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from shots import Shot, draw_shots
from written_annotations import ANNOTATIONS
from written_portals import PORTALS

from syntype.apps.cli import main

WRITERS = {**PORTALS, **ANNOTATIONS}
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> list[Shot]:
    return draw_shots(tmp_path_factory.mktemp("photographs"))


def cut(name: str) -> Change:
    """Half of a file is lost."""

    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return change


def filled(name: str, text: str = "") -> Change:
    """A file holds something else, or nothing."""
    return lambda folder: (folder / name).write_text(text)


def gone(*names: str) -> Change:
    """Files or folders are missing."""

    def change(folder: Path) -> None:
        for name in names:
            shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()

    return change


def twice(name: str, other: str) -> Change:
    return lambda folder: shutil.copytree(folder / name, folder / other) if (folder / name).is_dir() else shutil.copy(folder / name, folder / other)


def other_words(name: str, old: str, new: str) -> Change:
    return lambda folder: (folder / name).write_text((folder / name).read_text().replace(old, new))


def nothing(_: Path) -> None: ...


WRONG = [
    ("GBIF, unpacked", gone("birds/multimedia.txt"), "birds", "meta.xml: names the table multimedia.txt, which is not there"),
    ("GBIF, unpacked", gone("birds/multimedia.txt", "birds/meta.xml"), "birds", "occurrence.txt: is one table of a GBIF download"),
    ("GBIF, unpacked", gone("birds/occurrence.txt", "birds/meta.xml"), "birds/multimedia.txt", "Put occurrence.txt of the same download beside it"),
    ("GBIF, unpacked", filled("birds/multimedia.txt"), "birds", "has no rows of images. On gbif.org, filter by media type"),
    ("GBIF, unpacked", filled("birds/occurrence.txt"), "birds", "occurrence.txt: has no rows"),
    ("GBIF, unpacked", cut("birds/meta.xml"), "birds", "meta.xml: is not whole XML"),
    ("GBIF, unpacked", twice("birds", "more"), ".", "holds 2 folders that are sources of their own (birds: darwin-core, more: darwin-core)"),
    ("GBIF, unpacked", nothing, "birds --format coco", "It looks like darwin-core: leave --format coco out"),
    ("GBIF, images in the zip", cut("birds.zip"), "birds.zip", "birds.zip: is not a zip that can be read"),
    ("GBIF, images in the zip", filled("birds.zip"), "birds.zip", "birds.zip: is empty. Download or copy it again"),
    ("GBIF, images in the zip", filled("birds.zip", "<html>404"), "birds.zip", "birds.zip: is a web page, not a zip"),
    ("GBIF, images in the zip", nothing, ".", "holds a zip and nothing else. Give the zip itself: birds.zip"),
    ("GBIF, images in the zip", twice("birds.zip", "more.zip"), ".", "holds 2 archives and nothing else (birds.zip, more.zip)"),
    ("GBIF, images in the zip", nothing, "birds.zip --species-column taxon", "has no term 'taxon'; there are:"),
    ("GBIF, images beside", nothing, "birds.zip --images nowhere", "nowhere: does not exist. Give the folder with the images"),
    ("GBIF, images beside", nothing, "birds.zip --licence CCO", "no image has the licence CCO; there are: CC BY 4.0 (42), CC0 1.0 (20)"),
    ("iNaturalist, export", filled("observations-123456.csv"), "observations-123456.csv", "it is empty"),
    ("iNaturalist, export", filled("observations-123456.csv"), ".", "their folders have numbers as names (7000001,"),
    ("iNaturalist, export", nothing, "observations-123456.csv --species-column taxon", "has no column 'taxon'"),
    ("iNaturalist, export", nothing, "observations-123456.csv --images nowhere", "nowhere: does not exist"),
    ("iNaturalist, export", twice("observations-123456.csv", "b.csv"), ".", "holds 2 tables that list photographs"),
    ("iNaturalist, open data", gone("inaturalist-open-data/taxa.csv"), "inaturalist-open-data", "photos.csv: lacks the tables beside it: taxa.csv"),
    ("iNaturalist, open data", gone("inaturalist-open-data/photos.csv"), "inaturalist-open-data", "says nowhere what the images show"),
    ("iNaturalist, open data", cut("inaturalist-open-data/taxa.csv"), "inaturalist-open-data", "mostly: is of a taxon that is not in the table"),
    ("Camtrap DP", gone("wood/media.csv"), "wood", "names the table media.csv, which is not there"),
    ("Camtrap DP", filled("wood/observations.csv"), "wood", "observations.csv: cannot be read as a table (it is empty)"),
    ("Camtrap DP", other_words("wood/media.csv", "filePath", "path"), "wood", "media.csv: has no column filePath"),
    ("Camtrap DP", cut("wood/datapackage.json"), "wood", "they lie in 'media'. Give datapackage.json itself"),
    ("Camtrap DP", gone("wood/media"), "wood", "the image files are missing"),
    ("COCO", cut("annotations.json"), "annotations.json", "annotations.json: is not whole JSON (line 1, column"),
    ("COCO", filled("annotations.json"), ".", "they lie in 'photographs'. Give annotations.json itself"),
    ("COCO", other_words("annotations.json", '"file_name"', '"name"'), "annotations.json", "mostly: is of an image without a file"),
    ("COCO", nothing, "annotations.json --format megadetector", "It looks like coco"),
    ("COCO, a file a split", nothing, "coco --split train=nowhere.json", "nowhere.json: does not exist"),
    ("MegaDetector over folders", cut("megadetector.json"), "photographs --boxes megadetector.json", "megadetector.json: is not whole JSON"),
    ("MegaDetector over folders", nothing, "photographs --boxes photographs", "is not a file"),
    ("MegaDetector over folders", nothing, "megadetector.json", "it has boxes, but says no species"),
    ("VIAME, folder", twice("frames/annotations.viame.csv", "frames/b.csv"), "frames", "holds 2 VIAME files (annotations.viame.csv, b.csv)"),
    ("VIAME, folder", filled("frames/annotations.viame.csv"), "frames", "Give annotations.viame.csv itself"),
    ("VIAME, file", nothing, "annotations.viame.csv --species-column x", "has no column to choose for the species"),
    ("Parquet", cut("train.parquet"), "train.parquet", "train.parquet: cannot be read as a table (Parquet"),
    ("Parquet", cut("train.parquet"), ".", "holds no images, but train.parquet"),
    ("Parquet", nothing, "train.parquet --species-column specie", "has no column 'specie'"),
    ("Parquet, shards", cut("data-set/data/test-00000-of-00001.parquet"), "data-set", "test-00000-of-00001.parquet: cannot be read as Parquet"),
    ("Label Studio", nothing, ".", "they lie in 'photographs'. Give export.json itself"),
    ("Label Studio", filled("export.json", "[]"), "export.json", "is JSON, but holds no list of images"),
    ("CVAT", cut("cvat-export/annotations.xml"), "cvat-export", "annotations.xml: is not whole XML"),
    ("CVAT", gone("cvat-export/annotations.xml"), "cvat-export", "says nowhere what the images show: they lie in 'images'"),
    ("CVAT", filled("cvat-export/annotations.xml", "<x/>"), "cvat-export/annotations.xml", "is not a table but an XML file of an unknown kind"),
    ("labelme", gone(*(f"labelme/{split}" for split in ("train", "val"))), "labelme --format yolo", "It looks like labelme"),
    ("Pascal VOC", gone("voc/Annotations"), "voc", "they lie in 'JPEGImages'"),
    ("YOLO", filled("yolo/data.yaml"), "yolo", "data.yaml: is not a YOLO data.yaml"),
    ("YOLO", gone("yolo/data.yaml"), "yolo", "they lie in no folder named after a species"),
    ("YOLO", gone("yolo/labels"), "yolo/data.yaml", "holds nothing to import (62 images without a box: not imported)"),
    ("YOLO", gone("yolo/images"), "yolo/data.yaml", "names folders that hold no images"),
    ("Fish-Vista", nothing, "fish-vista --split train=no.csv", "has no table 'no.csv' for the split train"),
    ("Fish-Vista", filled("fish-vista/classification_val.csv", "filename,art\na.jpg,x\n"), "fish-vista --split val=classification_val.csv",
     "classification_val.csv: has no column that names the species"),
    ("Fish-Vista", gone("fish-vista/AllImages"), "fish-vista --split train=classification_train.csv", "the image files are missing"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "change", "given", "words"), WRONG, ids=[f"{source}: {given}" for source, _, given, _ in WRONG])
def test_a_mistake_is_one_clear_line(
    source: str, change: Change, given: str, words: str, shots: list[Shot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    WRITERS[source](tmp_path, shots)
    change(tmp_path)
    assert main(["collect", *shlex.split(given), "--dry-run"]) == 2
    told = capsys.readouterr().err
    assert words in told and told.startswith("syntype: error: ") and told.count("\n") == 1 and len(told.encode()) < 700
    assert not (tmp_path / "out").exists()


def test_for_programs_the_counts_are_told_where_nothing_can_be_used(shots: list[Shot], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    WRITERS["Camtrap DP"](tmp_path, shots)
    shutil.rmtree(tmp_path / "wood" / "media")
    assert main(["collect", str(tmp_path / "wood"), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_missing"] == 62


def test_names_that_are_none_are_taken_if_the_user_says_so(shots: list[Shot], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for shot in shots:
        shot.copy(tmp_path / "data" / str(len(shot.species)))
    assert main(["collect", str(tmp_path / "data"), "--dry-run"]) == 2
    assert "have numbers as names (12" not in capsys.readouterr().out
    assert main(["collect", str(tmp_path / "data"), "--format", "folders", "--dry-run"]) == 0
    assert "62 photographs of 3 species" in capsys.readouterr().out


def test_a_damaged_annotation_costs_itself_alone(shots: list[Shot], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    WRITERS["Pascal VOC"](tmp_path, shots)
    (tmp_path / "voc" / "Annotations" / "IMG_0001.xml").write_text("")
    assert main(["collect", str(tmp_path / "voc"), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "61 photographs of 3 species" in told and "Refused: 1 is not whole XML" in told


def test_a_folder_of_a_split_that_is_not_there_is_told(shots: list[Shot], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    WRITERS["YOLO"](tmp_path, shots)
    (tmp_path / "yolo" / "images" / "val").rename(tmp_path / "yolo" / "images" / "valid")
    assert main(["collect", str(tmp_path / "yolo"), "--dry-run"]) == 0
    assert "data.yaml names folders that are not there: images/val" in capsys.readouterr().out


def test_a_table_of_a_package_stands_for_the_package(shots: list[Shot], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    WRITERS["Camtrap DP"](tmp_path, shots)
    assert main(["collect", str(tmp_path / "wood" / "observations.csv"), "--dry-run"]) == 0
    assert "Camtrap DP: a row an observed animal: 62 photographs" in capsys.readouterr().out


def test_archives_below_folders_are_named(shots: list[Shot], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in" / "Aus primus").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "in" / "Aus primus" / "a.tar.gz", "w") as archive:
        archive.write(shots[0].file, "1.jpg")
    assert main(["collect", str(tmp_path / "in"), "--dry-run"]) == 2
    assert "holds no images, but a.tar.gz. Give a.tar.gz itself" in capsys.readouterr().err

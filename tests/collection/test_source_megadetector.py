from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from marked import imported, marked, refused, said, shown_colours, write_json

from syntype.apps.cli import cli
from syntype.collection.sources import SourceConfig, read_source
from syntype.errors import InputError

CATEGORIES = {"1": "animal", "2": "person", "3": "vehicle"}


def found(confidence: float, left: float, top: float, right: float, bottom: float, category: str = "1") -> dict[str, Any]:
    """A detection on a picture of 64 x 48, from its corners in pixels."""
    return {"category": category, "conf": confidence, "bbox": [left / 64, top / 48, (right - left) / 64, (bottom - top) / 48]}


def write_boxes(path: Path, images: list[dict[str, Any]], **further: Any) -> Path:
    return write_json(path, {"info": {"format_version": "1.4"}, "detection_categories": CATEGORIES, "images": images, **further})


def photographs(folder: Path) -> Path:
    """Two species; a1 has two foxes (red, green), b1 a badger (blue)."""
    marked(folder / "Vulpes_vulpes" / "a1.png", {"red": (4, 8, 16, 20), "green": (40, 30, 52, 42)})
    marked(folder / "Vulpes_vulpes" / "a2.png", {"white": (4, 8, 16, 20)})
    marked(folder / "Meles_meles" / "b1.png", {"blue": (20, 6, 32, 18)})
    return folder


def test_boxes_are_laid_over_folders_of_species(tmp_path: Path) -> None:
    source = photographs(tmp_path / "in")
    boxes = write_boxes(
        tmp_path / "md.json",
        [
            {"file": "Vulpes_vulpes\\a1.png", "detections": [found(0.9, 4, 8, 16, 20), found(0.8, 40, 30, 52, 42), found(0.1, 0, 0, 9, 9)]},
            {"file": "Vulpes_vulpes/a2.png", "detections": [found(0.99, 30, 30, 40, 40, "2"), found(0.19, 4, 8, 16, 20)]},
            {"file": "Meles_meles/b1.png", "detections": [found(0.2, 20, 6, 32, 18)], "failure": None},
        ],
    )
    result = imported(source, tmp_path / "out", boxes=str(boxes))
    table = result.collection.table
    assert shown_colours(result.collection) == ["blue", "red", "green", None]
    assert table["species"].tolist() == ["Meles meles", *["Vulpes vulpes"] * 3]
    assert table["group"][1] == table["group"][2] and table["file_name"][1] == table["file_name"][2] and table["box_confidence"][1] == "0.9"
    text = said(source, boxes=str(boxes))
    assert "3 boxes of at least 0.2 confidence on 2 images" in text and "1 image with several animals and one label" in text
    assert "1 image on which MegaDetector found no animal: kept without a box" in text
    strict = imported(source, tmp_path / "strict", boxes=str(boxes), min_confidence=0.85)
    assert shown_colours(strict.collection) == [None, "red", None]
    told = CliRunner().invoke(cli, ["collect", str(source), "--boxes", str(boxes), "--min-confidence", "0.85", "--dry-run"]).output
    assert "1 box of at least 0.85 confidence on 1 image" in told and "--min-confidence 0.85" in told


@pytest.mark.parametrize("given", [["--min-confidence", "0.5"], ["--min-confidence", "1.5", "--boxes", "md.json"], ["--min-confidence", "high"]])
def test_a_threshold_without_boxes_or_out_of_range_is_refused(given: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["collect", str(photographs(tmp_path)), *given, "--dry-run"])
    assert done.exit_code == 2 and "--min-confidence" in done.output


def test_a_missing_picture_of_a_sequence_is_refused_and_that_of_a_picture_is_kept(tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "3.png"):
        marked(tmp_path / "in" / name, {"red": (4, 8, 16, 20)})
    images = [{"id": n, "file_name": f"{n}.png", "seq_id": "s"} for n in (1, 2, 3)]
    annotations = [{"id": n, "image_id": n, "category_id": 1, "sequence_level_annotation": n != 3} for n in (1, 2, 3)]
    categories = [{"id": 1, "name": "Vulpes vulpes"}]
    source = write_json(tmp_path / "in" / "cct.json", {"images": images, "annotations": annotations, "categories": categories})
    boxes = write_boxes(
        tmp_path / "md.json",
        [{"file": "1.png", "detections": [found(0.9, 4, 8, 16, 20)]}, {"file": "2.png", "detections": []}, {"file": "3.png", "detections": []}],
    )
    result = imported(source, tmp_path / "out", boxes=str(boxes))
    assert shown_colours(result.collection) == ["red", None] and result.collection.table["original_name"].tolist() == ["1.png", "3.png"]
    assert [(row["row"], row["reason"]) for row in refused(tmp_path / "out")] == [("2", "shows no animal that MegaDetector found")]


def test_boxes_of_the_source_are_kept_and_several_labels_get_none(tmp_path: Path) -> None:
    for name in ("own.png", "mixed.png"):
        marked(tmp_path / "in" / name, {"red": (4, 8, 16, 20)})
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 8, 12, 12]},
        {"id": 2, "image_id": 2, "category_id": 1},
        {"id": 3, "image_id": 2, "category_id": 2},
    ]
    content = {
        "images": [{"id": 1, "file_name": "own.png"}, {"id": 2, "file_name": "mixed.png"}], "annotations": annotations,
        "categories": [{"id": 1, "name": "Vulpes vulpes"}, {"id": 2, "name": "Meles meles"}],
    }  # fmt: skip
    source = write_json(tmp_path / "in" / "coco.json", content)
    boxes = write_boxes(tmp_path / "md.json", [{"file": name, "detections": [found(0.9, 40, 30, 52, 42)]} for name in ("own.png", "mixed.png")])
    result = imported(source, tmp_path / "out", boxes=str(boxes))
    assert shown_colours(result.collection) == ["red", None, None]
    assert "several labels" in result.collection.table["note"][1]


def test_failures_and_images_without_a_record_are_told(tmp_path: Path) -> None:
    source = photographs(tmp_path / "in")
    boxes = write_boxes(
        tmp_path / "md.json",
        [{"file": "Vulpes_vulpes/a1.png", "failure": "image access", "detections": None}, {"file": "Meles_meles/b1.png", "detections": []}],
    )
    text = said(source, boxes=str(boxes))
    assert "1 image that MegaDetector could not read" in text and "1 image without a record" in text


def test_names_agree_by_their_ends_and_never_across_cameras(tmp_path: Path) -> None:
    marked(tmp_path / "in" / "Vulpes_vulpes" / "north" / "IMG_1.png")
    marked(tmp_path / "in" / "Vulpes_vulpes" / "south" / "IMG_1.png", {"red": (4, 8, 16, 20)})
    box = [found(0.9, 4, 8, 16, 20)]
    absolute = write_boxes(tmp_path / "a.json", [{"file": "D:/stick/Vulpes_vulpes/south/IMG_1.png", "detections": box}])
    assert shown_colours(imported(tmp_path / "in", tmp_path / "out", boxes=str(absolute)).collection) == [None, "red"]
    bare = write_boxes(tmp_path / "b.json", [{"file": "IMG_1.png", "detections": box}])  # which of the two?
    with pytest.raises(InputError, match="names none of the images"):
        read_source(tmp_path / "in", SourceConfig.parse({"boxes": str(bare)}))
    other = write_boxes(tmp_path / "c.json", [{"file": "east/IMG_1.png", "detections": box}])
    with pytest.raises(InputError, match="names none of the images"):
        read_source(tmp_path / "in", SourceConfig.parse({"boxes": str(other)}))


def test_the_list_that_microsofts_package_writes(tmp_path: Path) -> None:
    source = photographs(tmp_path / "in")
    records = [
        {"file": "in/Meles_meles/b1.png", "detections": [{"category": "animal", "confidence": 0.93, "bbox": [20, 6, 32, 18]}]},
        {"file": "in/Vulpes_vulpes/a2.png", "detections": [{"category": "person", "confidence": 0.93, "bbox": [20, 6, 32, 18]}]},
    ]
    boxes = write_json(tmp_path / "md.json", records)
    assert shown_colours(imported(source, tmp_path / "out", boxes=str(boxes)).collection) == ["blue", None, None]


def test_a_detector_with_classes_of_its_own(tmp_path: Path) -> None:
    source = photographs(tmp_path / "in")
    records = [{"file": "Meles_meles/b1.png", "detections": [found(0.9, 20, 6, 32, 18, "7"), found(0.9, 1, 1, 9, 9, "2")]}]
    boxes = write_json(tmp_path / "md.json", {"detection_categories": {"7": "fish", "2": "person"}, "images": records})
    assert shown_colours(imported(source, tmp_path / "out", boxes=str(boxes)).collection) == ["blue", None, None]
    assert "no category 'animal'; boxes of these are used: fish" in said(source, boxes=str(boxes))


def test_boxes_alone_are_no_source(tmp_path: Path) -> None:
    boxes = write_boxes(tmp_path / "md.json", [])
    with pytest.raises(InputError, match=r"says no species.*--boxes md.json"):
        read_source(boxes, SourceConfig())


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"images": 3, "detection_categories": {}}', '{"images": [], "annotations": [], "categories": []}']
)
def test_a_file_that_is_none_of_megadetector_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "md.json").write_text(text)
    with pytest.raises(InputError, match=r"md\.json: (is not|cannot)"):
        read_source(photographs(tmp_path / "in"), SourceConfig.parse({"boxes": str(tmp_path / "md.json")}))

"""Exports of programs in which people draw boxes: Label Studio, CVAT, labelme, and the folders of Pascal VOC and YOLO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from marked import imported, marked, refused, said, shown_colours, write_json
from PIL import Image

from syntype.collection.sources import SourceConfig, read_source
from syntype.errors import InputError

# --- Label Studio


def rectangle(label: str, left: float, top: float, right: float, bottom: float, **further: Any) -> dict[str, Any]:
    """A region on a picture of 64 x 48, from its corners in pixels."""
    value = {
        "x": left / 0.64,
        "y": top / 0.48,
        "width": (right - left) / 0.64,
        "height": (bottom - top) / 0.48,
        "rotation": 0,
        "rectanglelabels": [label],
    }
    return {
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": 64,
        "original_height": 48,
        "value": value,
        **further,
    }


def choice(label: str, question: str = "species") -> dict[str, Any]:
    return {"type": "choices", "from_name": question, "to_name": "image", "value": {"choices": [label]}}


def task(number: int, image: str, *answers: list[dict[str, Any]], **further: Any) -> dict[str, Any]:
    annotations = [{"id": n, "was_cancelled": False, "ground_truth": False, "result": answer, "completed_by": n} for n, answer in enumerate(answers)]
    return {"id": number, "data": {"image": image, **further}, "annotations": annotations, "predictions": []}


def test_label_studio_rectangles_in_percent(tmp_path: Path) -> None:
    marked(tmp_path / "a.png", {"red": (4, 8, 16, 20), "blue": (40, 30, 52, 42)})
    marked(tmp_path / "b c.png", {"green": (20, 6, 32, 18)})
    tasks = [
        task(1, "/data/upload/3/1a2b3c4d-a.png", [rectangle("Vulpes vulpes", 4, 8, 16, 20), rectangle("Meles meles", 40, 30, 52, 42)], site="north"),
        task(2, "/data/local-files/?d=b%20c.png", [rectangle("Vulpes vulpes", 20, 6, 32, 18)]),
        task(3, "https://example.org/x/c.png?token=1"),
    ]
    result = imported(write_json(tmp_path / "export.json", tasks), tmp_path / "out")
    assert shown_colours(result.collection) == ["red", "blue", "green"]
    assert result.collection.table["species"].tolist() == ["Vulpes vulpes", "Meles meles", "Vulpes vulpes"]
    assert result.collection.table["site"][0] == "north" and result.num_refused == 0
    assert "1 task without a label" in said(tmp_path / "export.json")


def test_label_studio_annotators_that_contradict_one_another_are_refused(tmp_path: Path) -> None:
    for name in "abcd":
        marked(tmp_path / f"{name}.png")
    cancelled = task(4, "d.png", [choice("Vulpes vulpes")], [choice("Meles meles")])
    cancelled["annotations"][1]["was_cancelled"] = True
    truth = task(3, "c.png", [choice("Vulpes vulpes")], [choice("Meles meles")])
    truth["annotations"][1]["ground_truth"] = True
    tasks = [
        task(1, "a.png", [choice("Vulpes vulpes")], [choice("Meles meles")]),
        task(2, "b.png", [choice("Vulpes vulpes")], [choice("Vulpes vulpes")]), truth, cancelled,
    ]  # fmt: skip
    result = imported(write_json(tmp_path / "export.json", tasks), tmp_path / "out")
    assert result.collection.table["species"].tolist() == ["Vulpes vulpes", "Meles meles", "Vulpes vulpes"]
    (row,) = refused(tmp_path / "out")
    assert row["row"] == "1" and row["reason"] == "is labelled differently by several annotators" and "Meles meles / Vulpes vulpes" in row["hint"]
    text = said(tmp_path / "export.json")
    assert "1 annotation skipped" in text and "1 image with several annotations that agree" in text and "ground truth" in text


def test_label_studio_questions_other_than_the_species_make_no_species(tmp_path: Path) -> None:
    marked(tmp_path / "a.png")
    answers = [choice("blurred", "quality"), choice("Vulpes vulpes", "species"), choice("male", "sex")]
    assert imported(write_json(tmp_path / "a.json", [task(1, "a.png", answers)]), tmp_path / "out").collection.species == ("Vulpes vulpes",)
    unclear = write_json(tmp_path / "b.json", [task(1, "a.png", [choice("blurred", "quality"), choice("male", "sex")])])
    with pytest.raises(InputError, match=r"several questions \(quality, sex\).*--species-column"):
        read_source(unclear, SourceConfig())
    assert [entry.species for entry in read_source(unclear, SourceConfig(species_column="sex")).entries] == ["male"]


def test_label_studio_json_min(tmp_path: Path) -> None:
    marked(tmp_path / "a.png", {"red": (4, 8, 16, 20)})
    marked(tmp_path / "b.png")
    common = {"annotator": 1, "annotation_id": 7, "created_at": "2024", "updated_at": "2024", "lead_time": 3.5}
    region = {"x": 4 / 0.64, "y": 8 / 0.48, "width": 12 / 0.64, "height": 12 / 0.48, "original_width": 64, "original_height": 48}
    boxes = [{**common, "id": 1, "image": "/data/upload/1/aabbccdd-a.png", "label": [{**region, "rectanglelabels": ["Vulpes vulpes"]}]}]
    collection = imported(write_json(tmp_path / "boxes.json", boxes), tmp_path / "out").collection
    assert shown_colours(collection) == ["red"] and collection.species == ("Vulpes vulpes",)
    rows = [{**common, "id": 1, "image": "a.png", "choice": "Meles meles"}, {**common, "id": 2, "image": "b.png", "choice": "Meles meles"},
            {**common, "id": 2, "image": "b.png", "choice": "Vulpes vulpes"}]  # fmt: skip
    listing = read_source(write_json(tmp_path / "choices.json", rows), SourceConfig())
    assert [entry.species for entry in listing.entries] == ["Meles meles"] and listing.refused[0].row == 2


def test_label_studio_a_turned_rectangle_is_surrounded(tmp_path: Path) -> None:
    marked(tmp_path / "a.png", {"red": (20, 8, 32, 20)})
    region = rectangle("Vulpes vulpes", 32, 8, 44, 20)  # turned by 90 degrees around its first corner, it lies to the left of it
    region["value"]["rotation"] = 90
    collection = imported(write_json(tmp_path / "e.json", [task(1, "a.png", [region])]), tmp_path / "out").collection
    assert shown_colours(collection) == ["red"]


def test_label_studio_two_uploads_of_one_name_are_not_mistaken(tmp_path: Path) -> None:
    marked(tmp_path / "a.png")
    tasks = [task(n, f"/data/upload/1/{n}abbccdd-a.png", [choice(species)]) for n, species in ((1, "Vulpes vulpes"), (2, "Meles meles"))]
    entries = read_source(write_json(tmp_path / "e.json", tasks), SourceConfig()).entries
    assert not any(Path(str(entry.image)).exists() for entry in entries)


# --- CVAT

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><id>4</id><name>autumn</name></task></meta>
<image id="0" name="sub/a.png" width="64" height="48" subset="Train">
  <box label="Vulpes vulpes" occluded="1" xtl="4.0" ytl="8.0" xbr="16.0" ybr="20.0"><attribute name="sex">male</attribute></box>
  <box label="person" xtl="1" ytl="1" xbr="3" ybr="3"></box>
  <polygon label="Meles meles" points="40,30;52,30;52,42;40,42"></polygon></image>
<image id="1" name="b.png" width="64" height="48" subset="Validation"><tag label="Meles meles"></tag></image>
<image id="2" name="c.png" width="64" height="48"></image>
<image id="3" name="gone.png" width="64" height="48"><tag label="Meles meles"></tag></image>
</annotations>"""


def test_cvat_boxes_outlines_and_tags(tmp_path: Path) -> None:
    marked(tmp_path / "in" / "images" / "sub" / "a.png", {"red": (4, 8, 16, 20), "blue": (40, 30, 52, 42)})
    marked(tmp_path / "in" / "images" / "b.png")
    (tmp_path / "in" / "annotations.xml").write_text(CVAT)
    result = imported(tmp_path / "in", tmp_path / "out")
    table = result.collection.table
    assert shown_colours(result.collection) == ["red", "blue", None]
    assert table["species"].tolist() == ["Vulpes vulpes", "Meles meles", "Meles meles"] and table["split"].tolist() == ["train", "train", "val"]
    assert (table["task"][0], table["attribute_sex"][0], table["occluded"][0]) == ("autumn", "male", "true")
    assert [(row["row"], row["reason"]) for row in refused(tmp_path / "out")] == [("4", "is missing")]
    text = said(tmp_path / "in")
    assert "1 'person'" in text and "1 image without a label" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CVAT[:700], "not whole XML"),
        ('<!DOCTYPE a [<!ENTITY e "x">]><annotations>&e;</annotations>', "entities"),
        ("<annotations><track id='0' label='x'/></annotations>", "a film"),
    ],
)
def test_cvat_damaged_or_hostile_files_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(InputError, match=said) as error:
        read_source(tmp_path / "annotations.xml", SourceConfig())
    assert len(str(error.value)) < 500


# --- labelme


def test_labelme_rectangles_outlines_and_circles(tmp_path: Path) -> None:
    for split in ("train", "test"):
        marked(tmp_path / "in" / split / "a.png", {"red": (4, 8, 16, 20), "blue": (40, 30, 52, 42)}, seed=len(split))
        shapes = [
            {"label": "Vulpes vulpes", "points": [[16, 20], [4, 8]], "shape_type": "rectangle", "flags": {"young": True}, "group_id": None},
            {"label": "Meles meles", "points": [[40, 30], [52, 30], [52, 42], [40, 42]], "shape_type": "polygon"},
            {"label": "person", "points": [[40, 30], [52, 30]], "shape_type": "rectangle"},
        ]
        content = {"version": "5.0", "shapes": shapes, "imagePath": "..\\old\\a.png", "imageData": None, "imageWidth": 64, "imageHeight": 48}
        write_json(tmp_path / "in" / split / "a.json", content)
    (tmp_path / "in" / "train" / "b.json").write_text("{")
    result = imported(tmp_path / "in", tmp_path / "out")
    assert shown_colours(result.collection) == ["red", "blue"] * 2 and result.collection.table["split"].tolist() == ["test", "test", "train", "train"]
    assert result.collection.table["attribute_young"][0] == "true"
    assert [row["reason"] for row in refused(tmp_path / "out")] == ["is not whole JSON"] and "2 'person'" in said(tmp_path / "in")


# --- Pascal VOC


def voc(name: str, *objects: tuple[str, int, int, int, int], size: tuple[int, int] = (64, 48)) -> str:
    boxes = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for label, left, top, right, bottom in objects
    )
    return f"<annotation><filename>{name}</filename><size><width>{size[0]}</width><height>{size[1]}</height></size>{boxes}</annotation>"


def test_voc_with_its_lists_of_splits(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    marked(root / "JPEGImages" / "a.png", {"red": (4, 8, 16, 20), "blue": (40, 30, 52, 42)})
    marked(root / "JPEGImages" / "b.png", {"green": (20, 6, 32, 18)})
    (root / "Annotations" / "a.xml").write_text(voc("a.png", ("Vulpes vulpes", 4, 8, 16, 20), ("Meles meles", 40, 30, 52, 42)))
    (root / "Annotations" / "b.xml").write_text(voc("b.png", ("Vulpes vulpes", 20, 6, 32, 18)))
    (root / "Annotations" / "c.xml").write_text(voc("c.png"))
    (root / "Annotations" / "d.xml").write_text("<annotation><filename>")
    (root / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    (root / "ImageSets" / "Main" / "test.txt").write_text("b 1\n")
    result = imported(root, tmp_path / "out")
    assert shown_colours(result.collection) == ["red", "blue", "green"]
    assert result.collection.table["split"].tolist() == ["train", "train", "test"]
    assert [(Path(row["file"]).name, row["reason"]) for row in refused(tmp_path / "out")] == [("d.xml", "is not whole XML")]
    assert "1 file without an object" in said(root)


def test_voc_a_file_that_names_another_image_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        marked(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.xml").write_text(voc("a.png", ("Vulpes vulpes", 4, 8, 16, 20)))
    listing = read_source(tmp_path, SourceConfig())
    assert [Path(str(entry.image)).name for entry in listing.entries] == ["a.png"]
    assert listing.refused[0].reason == "names another image than the one it is called after"


# --- YOLO


def yolo(root: Path, splits: dict[str, str]) -> Path:
    """A red fox and a blue badger in each split; ``splits``: name of the split in data.yaml -> folder."""
    for number, folder in enumerate(splits.values()):
        marked(root / folder / "images" / f"{number}.png", {"red": (4, 8, 16, 20), "blue": (40, 30, 52, 42)})
        (root / folder / "labels").mkdir()
        (root / folder / "labels" / f"{number}.txt").write_text(
            f"0 {10 / 64} {14 / 48} {12 / 64} {12 / 48}\n1 {40 / 64} {30 / 48} {52 / 64} {30 / 48} {52 / 64} {42 / 48} {40 / 64} {42 / 48}\n"
        )
    lines = "".join(f"{split}: ../{folder}/images\n" for split, folder in splits.items())
    (root / "data.yaml").write_text(f"{lines}nc: 2\nnames: ['Vulpes vulpes', 'Meles meles']\n")
    return root


def test_yolo_boxes_and_outlines_with_the_authors_splits(tmp_path: Path) -> None:
    root = yolo(tmp_path / "in", {"train": "train", "val": "valid", "test": "test"})
    marked(root / "train" / "images" / "background.png")
    (root / "test" / "labels" / "2.txt").write_text("0 0.5 0.5\n7 0.5 0.5 0.2 0.2\n0 0.5 0.5 0 0.2\n")
    result = imported(root, tmp_path / "out")
    assert shown_colours(result.collection) == ["red", "blue", "red", "blue", None]
    assert result.collection.table["species"].tolist()[:2] == ["Vulpes vulpes", "Meles meles"]
    assert result.splits == {"train": 2, "val": 2, "test": 1}
    assert [(row["row"], row["reason"]) for row in refused(tmp_path / "out")] == [
        ("1", "is not a class and a box"),
        ("2", "has a class without a name"),
    ]
    assert "1 image without a box" in said(root)


@pytest.mark.parametrize("names", ["", "names: ['0', '1']\n", "names: {0: class_0, 1: class_1}\n"])
def test_yolo_numbers_without_names_are_refused(tmp_path: Path, names: str) -> None:
    root = yolo(tmp_path / "in", {"train": "train"})
    (root / "data.yaml").write_text(f"train: train/images\nnc: 2\n{names}")
    with pytest.raises(InputError, match="no names of the classes"):
        read_source(root, SourceConfig())


def test_yolo_with_classes_txt(tmp_path: Path) -> None:
    root = yolo(tmp_path / "in", {"train": "."})
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("Vulpes vulpes\nMeles meles\n")
    assert shown_colours(imported(root, tmp_path / "out").collection) == ["red", "blue"]


def test_shares_on_a_turned_photograph_are_of_the_picture_as_people_saw_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    marked(tmp_path / "a.png", {"red": (4, 8, 16, 20)}, exif=exif)  # upright: 48 x 64, the square at 28, 4
    region = rectangle("Vulpes vulpes", 0, 0, 1, 1, original_width=48, original_height=64)
    region["value"] |= {"x": 28 / 0.48, "y": 4 / 0.64, "width": 12 / 0.48, "height": 12 / 0.64}
    collection = imported(write_json(tmp_path / "e.json", [task(1, "a.png", [region])]), tmp_path / "out").collection
    assert shown_colours(collection) == ["red"]

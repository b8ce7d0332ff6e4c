from __future__ import annotations

import gc
import json
import time
from pathlib import Path
from typing import Any

import pytest
from marked import imported, marked, refused, said, shown_colours, write_json
from PIL import Image

from syntype.collection.boxes import fit_box
from syntype.collection.preview import preview
from syntype.collection.sources import Entry, SourceConfig, json_files, read_source
from syntype.errors import InputError

CATEGORIES = [{"id": 1, "name": "Vulpes vulpes", "supercategory": "Canidae"}, {"id": 2, "name": "Meles meles"}, {"id": 30, "name": "empty"}]


def coco(images: list[dict[str, Any]], annotations: list[dict[str, Any]], **further: Any) -> dict[str, Any]:
    return {"info": {"version": "1"}, "images": images, "annotations": annotations, "categories": CATEGORIES, **further}


def two_animals(folder: Path) -> Path:
    """Two photographs: one with a fox (red) and a badger (blue), one with a fox (green)."""
    marked(folder / "a.png", {"red": (4, 8, 16, 20), "blue": (40, 30, 52, 42)})
    marked(folder / "deep" / "b.png", {"green": (20, 6, 32, 18)})
    images = [
        {"id": "A", "file_name": "a.png", "width": 64, "height": 48, "location": 7, "license": 2, "datetime": "2021-05-01 10:00:00"},
        {"id": 5, "file_name": "deep/b.png", "width": 64, "height": 48, "location": "north", "rights_holder": "A. Person"},
    ]
    annotations = [
        {"id": 1, "image_id": "A", "category_id": 1, "bbox": [4, 8, 12, 12]},
        {"id": 2, "image_id": "A", "category_id": 2, "bbox": [40, 30, 12, 12], "sex": "female"},
        {"id": 3, "image_id": "5", "category_id": 1, "bbox": [20.0, 6.0, 12.0, 12.0]},
    ]
    return write_json(folder / "coco.json", coco(images, annotations, licenses=[{"id": 2, "name": "CC BY 4.0", "url": "https://x"}]))


def test_a_row_an_annotation_with_its_own_animal(tmp_path: Path) -> None:
    result = imported(two_animals(tmp_path / "in"), tmp_path / "out")
    table = result.collection.table
    assert table["species"].tolist() == ["Vulpes vulpes", "Meles meles", "Vulpes vulpes"]
    assert shown_colours(result.collection) == ["red", "blue", "green"]
    assert table["group"].tolist()[:2] == ["a.png", "a.png"] and table["split"][0] == table["split"][1]
    assert table["file_name"][0] == table["file_name"][1] and table["duplicate_of"].isna().all()
    assert table["licence"][0] == "CC BY 4.0" and table["rights_holder"][2] == "A. Person"
    assert table["location"].tolist() == ["7", "7", "north"] and table["observed_on"][0] == "2021-05-01 10:00:00"
    assert table["supercategory"][0] == "Canidae" and table["sex"][1] == "female"
    assert result.num_refused == 0 and result.num_duplicates == 0


def test_a_folder_with_one_coco_file_and_images_in_their_own_folder(tmp_path: Path) -> None:
    file = two_animals(tmp_path / "in" / "images")
    file.rename(tmp_path / "in" / "labels.json")
    assert imported(tmp_path / "in", tmp_path / "out").summary()["num_images"] == 3
    (tmp_path / "in" / "images").rename(tmp_path / "elsewhere")
    assert imported(tmp_path / "in", tmp_path / "out2", images=str(tmp_path / "elsewhere")).summary()["num_images"] == 3


def test_sequences_are_groups_and_empty_images_are_left_out(tmp_path: Path) -> None:
    images = [{"id": n, "file_name": f"{n}.png", "seq_id": f"s{n // 2}", "frame_num": n % 2} for n in range(6)]
    for image in images:
        marked(tmp_path / "in" / image["file_name"])
    annotations = [{"id": n, "image_id": n, "category_id": (1, 2, 30)[n // 2], "sequence_level_annotation": True} for n in range(6)]
    source = write_json(tmp_path / "in" / "cct.json", coco(images, annotations))
    table = imported(source, tmp_path / "out").collection.table
    assert table["group"].tolist() == ["s0", "s0", "s1", "s1"] and table["box"].isna().all()
    assert "2 annotations left out" in said(source) and "'empty'" in said(source)
    assert "COCO-CameraTraps" in preview(source, SourceConfig()).format


@pytest.mark.parametrize("word", ["Empty", "blank", "human", "vehicle", "no_animal", "unknown"])
def test_labels_that_are_no_species_are_left_out_and_counted(tmp_path: Path, word: str) -> None:
    content = json.loads(two_animals(tmp_path).read_text())
    content["categories"][0]["name"] = word
    source = write_json(tmp_path / "coco.json", content)
    assert [entry.species for entry in read_source(source, SourceConfig()).entries] == ["Meles meles"]
    assert f"2 annotations left out, because the label names no species (2 '{word}')" in said(source)


def test_what_cannot_be_used_is_refused_with_its_number_and_all_rows_are_accounted_for(tmp_path: Path) -> None:
    content = json.loads(two_animals(tmp_path / "in").read_text())
    content["images"] += [{"id": 8, "file_name": "gone.png"}, {"id": 9}]
    good = content["annotations"]
    content["annotations"] = [
        *good,
        {"id": 4, "image_id": "nowhere", "category_id": 1},
        {"id": 5, "image_id": "A", "category_id": 77},
        {"id": 6, "image_id": 8, "category_id": 1},
        {"id": 7, "image_id": 9, "category_id": 1},
        {**good[0], "id": 8},
        "rubbish",
    ]
    result = imported(write_json(tmp_path / "in" / "coco.json", content), tmp_path / "out")
    reasons = {row["row"]: row["reason"] for row in refused(tmp_path / "out")}
    assert reasons == {
        "4": "is of an image that is not in the list", "5": "is of a category that is not in the list", "6": "is missing",
        "7": "is of an image without a file", "8": "is listed twice", "9": "is no annotation",
    }  # fmt: skip
    assert len(result.collection) + result.num_refused == 9


def test_files_of_splits_are_the_authors_splits(tmp_path: Path) -> None:
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        images = [{"id": n, "file_name": f"{n}.png", "width": 64, "height": 48} for n in range(count)]
        for image in images:
            marked(tmp_path / "in" / f"{split}2017" / image["file_name"], seed=ord(split[0]) + 100 * ord(split[1]))
        annotations = [{"id": n, "image_id": n, "category_id": 1 + n % 2} for n in range(count)]
        write_json(tmp_path / "in" / "annotations" / f"instances_{split}2017.json", coco(images, annotations))
    write_json(tmp_path / "in" / "annotations" / "captions_train2017.json", {"images": [], "annotations": [], "categories": []})
    result = imported(tmp_path / "in", tmp_path / "out")
    assert result.splits == {"train": 4, "val": 2, "test": 3} and result.num_refused == 0
    given = {"splits": {"train": "annotations/instances_test2017.json", "test": "annotations/instances_val2017.json"}}
    by_hand = read_source(tmp_path / "in", SourceConfig.parse({**given, "images": str(tmp_path / "in" / "test2017")}))
    assert [entry.split for entry in by_hand.entries] == ["train"] * 3 + ["test"] * 2


def test_the_layout_of_roboflow(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        marked(tmp_path / split / "1.png", {"red": (4, 8, 16, 20)}, seed=len(split) * 7 + ord(split[2]))
        images, annotations = [{"id": 0, "file_name": "1.png"}], [{"id": 0, "image_id": 0, "category_id": 1, "bbox": [4, 8, 12, 12]}]
        write_json(tmp_path / split / "_annotations.coco.json", coco(images, annotations))
    assert [entry.split for entry in read_source(tmp_path, SourceConfig()).entries] == ["test", "train", "val"]


def test_several_files_that_are_no_splits_are_not_guessed_at(tmp_path: Path) -> None:
    source = two_animals(tmp_path)
    (tmp_path / "other.json").write_bytes(source.read_bytes())
    with pytest.raises(InputError, match=r"2 COCO files.*coco.json, other.json.*--split"):
        read_source(tmp_path, SourceConfig())


def test_boxes_on_a_photograph_that_its_file_stores_turned(tmp_path: Path) -> None:
    """Stored 64 x 48 and turned by EXIF to 48 x 64: a box on the stored picture, and one on the upright picture."""
    exif = Image.Exif()
    exif[0x0112] = 6
    marked(tmp_path / "in" / "stored.png", {"red": (4, 8, 16, 20)}, exif=exif)
    marked(tmp_path / "in" / "upright.png", {"red": (4, 8, 16, 20)}, seed=1, exif=exif)
    images = [
        {"id": 1, "file_name": "stored.png", "width": 64, "height": 48}, {"id": 2, "file_name": "upright.png", "width": 48, "height": 64},
    ]  # fmt: skip
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 8, 12, 12]},
        {"id": 2, "image_id": 2, "category_id": 1, "bbox": [48 - 20, 4, 12, 12]},
    ]
    collection = imported(write_json(tmp_path / "in" / "coco.json", coco(images, annotations)), tmp_path / "out").collection
    assert shown_colours(collection) == ["red", "red"]


def test_boxes_on_a_smaller_copy_are_scaled_and_those_on_another_picture_not_used(tmp_path: Path) -> None:
    marked(tmp_path / "in" / "copy.png", {"red": (8, 16, 32, 40)}, size=(128, 96))
    marked(tmp_path / "in" / "other.png", {"red": (8, 16, 32, 40)}, size=(128, 96), seed=1)
    images = [{"id": 1, "file_name": "copy.png", "width": 64, "height": 48}, {"id": 2, "file_name": "other.png", "width": 64, "height": 64}]
    annotations = [{"id": n, "image_id": n, "category_id": 1, "bbox": [4, 8, 12, 12]} for n in (1, 2)]
    collection = imported(write_json(tmp_path / "in" / "coco.json", coco(images, annotations)), tmp_path / "out").collection
    assert shown_colours(collection) == ["red", None]
    assert "scaled" in collection.table["note"][0] and "64 x 64" in collection.table["note"][1] and collection.table["box"].isna()[1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_on_the_stored_picture_is_turned_as_the_picture_is(tmp_path: Path, orientation: int) -> None:
    from syntype.collection.decoding import decode, orientation_of

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = marked(tmp_path / "a.jpg", {"red": (8, 16, 24, 32)}, exif=exif, quality=100).read_bytes()
    pixels = decode(data)
    entry = Entry(tmp_path / "a.jpg", "x", box=(8, 16, 24, 32), box_frame=(64, 48))
    box, note = fit_box(entry, pixels.shape[1], pixels.shape[0], orientation_of(data))
    if orientation in (2, 3, 4):  # the sizes agree either way
        assert "upright" in str(note)
    else:
        left, top, right, bottom = json.loads(str(box))
        assert (pixels[top + 2 : bottom - 2, left + 2 : right - 2, 0] > 200).all() and note is None


@pytest.mark.parametrize("bbox", [[10, 10, 0, 5], [1, 2, 3], [1, 2, "x", 4], [1, 2, float("inf"), 3], {"x": 1}])
def test_a_box_that_is_none_is_told_and_the_row_kept(tmp_path: Path, bbox: Any) -> None:
    content = json.loads(two_animals(tmp_path / "in").read_text())
    content["annotations"][2]["bbox"] = bbox
    table = imported(write_json(tmp_path / "in" / "coco.json", content), tmp_path / "out").collection.table
    assert len(table) == 3 and table["box"].isna()[2] and "box not used" in table["note"][2]


def test_boxes_that_can_only_be_corners_are_never_cut_as_sizes(tmp_path: Path) -> None:
    content = json.loads(two_animals(tmp_path / "in").read_text())
    for one, box in zip(content["annotations"], ([4, 8, 16, 20], [40, 30, 52, 42], [20, 6, 32, 18]), strict=True):
        one["bbox"] = box
    source = write_json(tmp_path / "in" / "coco.json", content)
    with pytest.raises(InputError, match=r"leave their images as left, top, width, height \(1 of 3\).*--box-format corners"):
        read_source(source, SourceConfig())
    assert shown_colours(imported(source, tmp_path / "out", box_format="corners").collection) == ["red", "blue", "green"]


def test_boxes_in_shares_are_told_and_not_used(tmp_path: Path) -> None:
    content = json.loads(two_animals(tmp_path / "in").read_text())
    content["annotations"][2]["bbox"] = [0.3, 0.2, 0.2, 0.3]
    table = imported(write_json(tmp_path / "in" / "coco.json", content), tmp_path / "out").collection.table
    assert table["box"].isna().tolist() == [False, False, True] and "in pixels" in table["note"][2]


def test_one_split_for_all_is_no_split(tmp_path: Path) -> None:
    content = json.loads(two_animals(tmp_path / "in").read_text())
    for image in content["images"]:
        image["split"] = "train"
    source = write_json(tmp_path / "in" / "coco.json", content)
    assert {entry.split for entry in read_source(source, SourceConfig()).entries} == {None} and "splits are drawn" in said(source)


def test_an_outline_stands_for_a_box_that_is_not_given_and_crowds_are_told(tmp_path: Path) -> None:
    content = json.loads(two_animals(tmp_path / "in").read_text())
    del content["annotations"][2]["bbox"]
    content["annotations"][2] |= {"segmentation": [[20, 6, 32, 6, 32, 18, 20, 18]], "iscrowd": 1}
    result = imported(write_json(tmp_path / "in" / "coco.json", content), tmp_path / "out")
    assert shown_colours(result.collection)[2] == "green" and "several animals" in result.collection.table["note"][2]


def test_two_species_in_a_photograph_without_boxes_get_a_note(tmp_path: Path) -> None:
    content = json.loads(two_animals(tmp_path / "in").read_text())
    for one in content["annotations"]:
        del one["bbox"]
    table = imported(write_json(tmp_path / "in" / "coco.json", content), tmp_path / "out").collection.table
    assert "no box says which" in table["note"][0] and "no box says which" in table["note"][1] and table["note"].isna()[2]


def test_columns_that_the_user_names_are_keys_of_the_file(tmp_path: Path) -> None:
    source = two_animals(tmp_path)
    listing = read_source(source, SourceConfig.parse({"group_column": "location", "species_column": "name"}))
    assert [entry.group for entry in listing.entries] == ["7", "7", "north"]
    with pytest.raises(InputError, match=r"no key 'site'.*location.*--group-column"):
        read_source(source, SourceConfig.parse({"group_column": "site"}))


def test_one_id_for_two_images_is_refused(tmp_path: Path) -> None:
    content = json.loads(two_animals(tmp_path).read_text())
    content["images"].append({"id": "A", "file_name": "deep/b.png"})
    with pytest.raises(InputError, match="two of the image id 'A'"):
        read_source(write_json(tmp_path / "coco.json", content), SourceConfig())


def test_the_same_file_name_of_two_cameras_is_never_mistaken(tmp_path: Path) -> None:
    marked(tmp_path / "north" / "IMG_1.png")
    images = [{"id": 1, "file_name": "south/IMG_1.png"}, {"id": 2, "file_name": "D:\\cameras\\north\\IMG_1.png"}]
    annotations = [{"id": n, "image_id": n, "category_id": n} for n in (1, 2)]
    entries = read_source(write_json(tmp_path / "coco.json", coco(images, annotations)), SourceConfig()).entries
    assert [Path(str(entry.image)).is_file() for entry in entries] == [False, True]


@pytest.mark.parametrize("name", ["../secret.png", "sub/../../secret.png", "ABSOLUTE", "..\\secret.png"])
def test_a_file_outside_the_source_is_never_taken(tmp_path: Path, name: str) -> None:
    secret = marked(tmp_path / "secret.png")
    (tmp_path / "in" / "sub").mkdir(parents=True)
    images = [{"id": 1, "file_name": str(secret) if name == "ABSOLUTE" else name}]
    source = write_json(tmp_path / "in" / "coco.json", coco(images, [{"id": 1, "image_id": 1, "category_id": 1}]))
    (entry,) = read_source(source, SourceConfig()).entries
    assert isinstance(entry.image, Path) and entry.image.is_relative_to(tmp_path / "in") and not entry.image.exists()
    (entry,) = read_source(source, SourceConfig(images=str(tmp_path))).entries  # unless the user says where images are
    assert entry.image == secret or name.startswith("sub") or ".." in name


def test_two_species_in_one_photograph_are_no_contradiction_where_boxes_tell_them_apart(tmp_path: Path) -> None:
    from syntype.collection.inspection import inspect

    source = two_animals(tmp_path / "in")
    assert not any("under two species" in problem for problem in inspect(imported(source, tmp_path / "out").collection).problems)
    content = json.loads(source.read_text())
    content["annotations"][1]["bbox"] = content["annotations"][0]["bbox"]
    wrong = imported(write_json(source, content), tmp_path / "wrong").collection
    assert any("1 pictures are listed under two species" in problem for problem in inspect(wrong).problems)


def test_twenty_thousand_images_without_annotations_take_no_time_and_are_told_in_one_line(tmp_path: Path) -> None:
    content = json.loads(two_animals(tmp_path).read_text())
    content["images"] += [{"id": f"x{n}", "file_name": f"far/away/x{n:06d}.jpg", "width": 2048, "height": 1536} for n in range(20_000)]
    start = time.monotonic()
    listing = read_source(write_json(tmp_path / "coco.json", content), SourceConfig())
    assert time.monotonic() - start < 2 and len(listing.items) == 3
    assert "20,000 images without an annotation" in "\n".join(listing.notes) and len("\n".join(listing.notes)) < 500


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"images": [{"id": 1, "file_', "not whole JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("", "not whole JSON"),
        ('{"images": [], "categories": []}', "without annotations"),
        ('{"tracks": {}, "version": 2}', "DIVE"),
        ('{"a": 1}', "unknown kind"),
        ("3", "no list of images"),
        ("9" * 5000, "cannot be read as JSON"),
        ('[{"photo": "a.jpg"}]', "list of records"),
    ],
)
def test_other_and_broken_json_is_one_short_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=said) as error:
        imported(tmp_path / "x.json", tmp_path / "out")
    assert len(str(error.value)) < 500 and "\n" not in str(error.value) and not (tmp_path / "out" / "images").exists()


def test_a_list_of_records_is_read_as_a_table(tmp_path: Path) -> None:
    marked(tmp_path / "in" / "a.png")
    records = [{"file_name": "a.png", "species": "Vulpes vulpes", "n": 1}, {"file_name": "b.png", "species": None}]
    result = imported(write_json(tmp_path / "in" / "x.json", records), tmp_path / "out")
    assert result.collection.table["species"].tolist() == ["Vulpes vulpes"] and [row["row"] for row in refused(tmp_path / "out")] == ["2"]


def _parsed_files(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the JSON files that are parsed from now on."""
    sizes: list[int] = []
    real = json.loads

    def loads(text: str, **further: Any) -> Any:
        sizes.append(len(text))
        return real(text, **further)

    monkeypatch.setattr(json, "loads", loads)
    return sizes


def test_each_file_of_a_data_set_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, split in enumerate(("train", "val", "test")):
        marked(tmp_path / split / f"{split}.png", {"red": (4, 8, 16, 20)})
        images = [{"id": 1, "file_name": f"{split}.png"}]
        write_json(tmp_path / split / "_annotations.coco.json", coco(images, [{"id": 1, "image_id": 1, "category_id": 1}], note="x" * 10 * number))
    parsed = _parsed_files(monkeypatch)
    assert {entry.split for entry in read_source(tmp_path, SourceConfig()).entries} == {"train", "val", "test"}
    assert len(parsed) == len(set(parsed)) == 3


def test_of_files_that_are_too_large_together_no_more_is_kept_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "test"):
        marked(tmp_path / split / f"{split}.png", {"red": (4, 8, 16, 20)})
        annotations = [{"id": 1, "image_id": 1, "category_id": 1}]
        write_json(tmp_path / split / "_annotations.coco.json", coco([{"id": 1, "file_name": f"{split}.png"}], annotations))
    monkeypatch.setattr(json_files, "_KEPT_BYTES", 100)
    parsed = _parsed_files(monkeypatch)
    assert [entry.split for entry in read_source(tmp_path, SourceConfig()).entries] == ["test", "train"]
    assert len(parsed) <= 4


def test_a_damaged_file_is_parsed_once_and_a_mended_one_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = two_animals(tmp_path)
    whole = file.read_text()
    file.write_text(whole[:-20])
    parsed = _parsed_files(monkeypatch)
    with pytest.raises(InputError, match="is not whole JSON"):
        read_source(file, SourceConfig())
    assert len(parsed) == 1 and gc.isenabled()
    file.write_text(whole)
    assert len(read_source(file, SourceConfig()).entries) == 3 and gc.isenabled()


def test_an_outline_counts_only_without_a_box(tmp_path: Path) -> None:
    marked(tmp_path / "a.png", {"red": (4, 8, 16, 20), "blue": (40, 30, 52, 42)})
    outline = [[40, 30, 52, 30, 52, 42]]
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 8, 12, 12], "segmentation": outline},
        {"id": 2, "image_id": 1, "category_id": 2, "bbox": [], "segmentation": outline},
    ]
    file = write_json(tmp_path / "coco.json", coco([{"id": 1, "file_name": "a.png"}], annotations))
    assert [entry.box for entry in read_source(file, SourceConfig()).entries] == [(4, 8, 16, 20), (40, 30, 52, 42)]


def test_further_values_are_those_of_the_image_the_annotation_and_the_category(tmp_path: Path) -> None:
    marked(tmp_path / "a.png", {"red": (4, 8, 16, 20)})
    marked(tmp_path / "b.png", {"blue": (40, 30, 52, 42)})
    images = [{"id": 1, "file_name": "a.png", "depth": 3, "url": "https://x.org/a"}, {"id": 2, "file_name": "b.png", "station": "south"}]
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 8, 12, 12], "sex": "female"},
        {"id": 2, "image_id": 2, "category_id": 1, "bbox": [40, 30, 12, 12], "depth": 4},
        {"id": 3, "image_id": 1, "category_id": 2, "bbox": [5, 8, 12, 12], "depth": 5},
    ]
    file = write_json(tmp_path / "coco.json", coco(images, annotations))
    fox = {"supercategory": "Canidae"}
    assert [dict(entry.values) for entry in read_source(file, SourceConfig()).entries] == [
        {"depth": "3", "sex": "female", **fox, "source_image_id": "1", "source_annotation_id": "1", "source_url": "https://x.org/a"},
        {"station": "south", "depth": "4", **fox, "source_image_id": "2", "source_annotation_id": "2"},
        {"depth": "5", "source_image_id": "1", "source_annotation_id": "3", "source_url": "https://x.org/a"},
    ]

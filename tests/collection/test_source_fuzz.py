"""Annotation files with anything in them: a listing, or one short line; never another error."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marked import marked
from test_source_annotators import CVAT, choice, rectangle, task, voc
from test_source_camtrap_dp import box, of_event, of_media, package
from test_source_coco import coco
from test_source_darwin_core import gbif
from test_source_inaturalist import export, open_data
from test_source_megadetector import found
from test_source_viame import HEADER, ROWS

from syntype.collection.importers import CollectConfig, collect
from syntype.collection.preview import preview
from syntype.collection.sources import Listing, SourceConfig, read_source
from syntype.errors import UserError
from syntype.run import Run

SHORT = {
    "annotator": 1, "lead_time": 2, "id": 1, "image": "a.png",
    "label": [{"x": 1, "y": 2, "width": 30, "height": 40, "rectanglelabels": ["Vulpes vulpes"], "original_width": 64, "original_height": 48}],
}  # fmt: skip
JSON_FILES: dict[str, Any] = {
    "coco.json": coco(
        [{"id": 1, "file_name": "a.png", "width": 64, "height": 48, "seq_id": "s", "license": 1}, {"id": "2", "file_name": "sub/b.png"}],
        [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 8, 12, 12]},
            {"id": 2, "image_id": 2, "category_id": 2, "segmentation": [[1, 1, 9, 1, 9, 9]]},
        ],
        licenses=[{"id": 1, "name": "CC0"}],
    ),
    "md.json": {
        "detection_categories": {"1": "animal"},
        "images": [{"file": "a.png", "detections": [found(0.9, 4, 8, 16, 20)]}, {"file": "sub/b.png", "failure": "x"}],
    },
    "label_studio.json": [
        task(1, "a.png", [rectangle("Vulpes vulpes", 4, 8, 16, 20)], [choice("x", "quality")]), task(2, "/data/upload/1/12345678-b.png", []),
    ],
    "labelme.json": {
        "shapes": [{"label": "Vulpes vulpes", "points": [[16, 20], [4, 8]], "shape_type": "rectangle", "flags": {"young": True}}],
        "imagePath": "a.png", "imageWidth": 64, "imageHeight": 48,
    },
    "min.json": [SHORT, {**SHORT, "id": 2, "image": "sub/b.png"}],
}  # fmt: skip
TEXT_FILES = {
    "annotations.csv": HEADER + "\n".join(ROWS).replace("f1.png", "a.png").replace("f2.png", "sub/b.png"),
    "annotations.xml": CVAT,
    "a.xml": voc("a.png", ("Vulpes vulpes", 4, 8, 16, 20)),
    "data.yaml": "train: images\nval: sub\nnames: {0: Vulpes vulpes, 1: Meles meles}\nnc: 2\n",
    "classes.txt": "Vulpes vulpes\n",
}

SEVERAL_FILES: dict[str, Callable[[Path], Path]] = {
    "darwin-core": gbif,
    "camtrap-dp": lambda folder: package(folder, [of_media("o1", "m1", **box(0.1, 0.1, 0.2, 0.2)), of_event("o2", "02:00", "02:10")]),
    "inaturalist": lambda folder: export(folder / "observations-1.csv").parent,
    "inaturalist-open-data": open_data,
}
"""Sources of several files, by a function that writes them into a folder."""

odd_values = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=8),
    st.sampled_from([[], {}, [[]], {"bytes": 1}, 1, "1", "a.png", "\x00", "../../x", "\ud800", "a" * 400]),
)  # fmt: skip


def places(content: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all values of a JSON document."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [here, *(place for key, value in inner for place in places(value, (*here, key)))]


def changed(content: Any, place: tuple[Any, ...], value: Any, delete: bool) -> Any:
    if not place:
        return value
    content = copy.deepcopy(content)
    node = content
    for key in place[:-1]:
        node = node[key]
    if delete:
        del node[place[-1]]
    else:
        node[place[-1]] = value
    return content


def listing_or_line(folder: Path, source: Path, **given_settings: Any) -> Listing | None:
    """Read and preview a source; an error must be the user's, on one short line."""
    config = SourceConfig.parse(given_settings)
    try:
        listing = read_source(source, config)
        assert sum(preview(source, config).species.values()) == len(listing.entries)
        assert len(listing.entries) + len(listing.refused) == len(listing.items)
    except UserError as error:
        assert len(str(error).encode(errors="replace")) < 2000 and "\n" not in str(error) and str(folder) in str(error)
        return None
    assert len("\n".join(listing.notes)) < 2000
    return listing


def folder_of_pictures(folder: Path) -> Path:
    marked(folder / "a.png", {"red": (4, 8, 16, 20)})
    marked(folder / "sub" / "b.png", {"blue": (4, 8, 16, 20)})
    return folder


@pytest.mark.parametrize("name", JSON_FILES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_json_with_other_values(name: str, data: st.DataObject) -> None:
    content = JSON_FILES[name]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places(content)))
        content = changed(content, place, data.draw(odd_values), data.draw(st.booleans()))
    with tempfile.TemporaryDirectory() as temporary:
        folder = folder_of_pictures(Path(temporary))
        path = folder / name
        path.write_text(json.dumps(content))
        if name == "md.json":
            listing_or_line(folder, folder / "sub", boxes=str(path))
        listing_or_line(folder, path)


@pytest.mark.parametrize("name", [*JSON_FILES, *TEXT_FILES])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_files_with_other_bytes(name: str, data: st.DataObject) -> None:
    content = (json.dumps(JSON_FILES[name]) if name in JSON_FILES else TEXT_FILES[name]).encode()
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = min(len(content), start + data.draw(st.integers(0, 40)))
        content = (
            content[:start] + data.draw(st.binary(max_size=6) | st.sampled_from([b'"', b",", b"\n", b"<", b"}", b"\x00", b"\xff"])) + content[end:]
        )
    with tempfile.TemporaryDirectory() as temporary:
        folder = folder_of_pictures(Path(temporary))
        (folder / "images").mkdir()
        (folder / "labels").mkdir()
        marked(folder / "images" / "c.png")
        (folder / "labels" / "c.txt").write_bytes(content if name == "classes.txt" else b"0 0.5 0.5 0.2 0.2\n")
        (folder / name).write_bytes(TEXT_FILES[name].encode() if name == "classes.txt" else content)
        listing_or_line(folder, folder)
        listing_or_line(folder, folder / name)


@pytest.mark.parametrize("name", SEVERAL_FILES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_sources_of_several_files_with_other_bytes(name: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = SEVERAL_FILES[name](Path(temporary))
        files = sorted(path for path in folder.iterdir() if path.is_file())
        path = data.draw(st.sampled_from(files))
        content = path.read_bytes()
        for _ in range(data.draw(st.integers(1, 4))):
            start = data.draw(st.integers(0, len(content)))
            end = min(len(content), start + data.draw(st.integers(0, 40)))
            inserted = data.draw(
                st.binary(max_size=6) | st.sampled_from([b'"', b",", b"\n", b"\t", b"<", b"}", b"\x00", b"\xff", b"../", b"\x1f\x8b"])
            )
            content = content[:start] + inserted + content[end:]
        path.write_bytes(content)
        listing_or_line(folder, folder)
        listing_or_line(folder, path)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_what_is_listed_can_be_collected_and_no_row_is_lost(data: st.DataObject) -> None:
    content = JSON_FILES["coco.json"]
    for _ in range(data.draw(st.integers(0, 2))):
        inner = [place for place in places(content) if len(place) > 2 and place[0] != "categories"]
        content = changed(content, data.draw(st.sampled_from(inner)), data.draw(odd_values), delete=False)
    with tempfile.TemporaryDirectory() as temporary:
        folder = folder_of_pictures(Path(temporary))
        (folder / "coco.json").write_text(json.dumps(content))
        listing = listing_or_line(folder, folder / "coco.json")
        if listing is None:
            return
        assert len(listing.items) == len(content["annotations"])
        try:
            result = collect(folder / "coco.json", CollectConfig(), folder / "out", Run.silent())
        except UserError:
            return
        assert len(result.collection) + result.num_refused == len(content["annotations"])

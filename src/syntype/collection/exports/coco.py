"""Layout ``coco``: COCO JSON for detectors and their tools, one file a split, and the images in one folder.

    annotations/instances_train.json   images, annotations, categories, licenses of the split
    images/                            the image files; ``file_name`` in the JSON is relative to this folder

Format: https://cocodataset.org/#format-data. What it has no field for is under ``attributes``: of an annotation, or of an image without species.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from syntype.collection.columns import SPLITS, TABLE
from syntype.collection.exports.base import Content, Layout
from syntype.collection.exports.boxes import size_box, size_of
from syntype.collection.exports.file_names import name_rows
from syntype.collection.exports.licences import licence_url
from syntype.collection.exports.package import Package, plain_rows
from syntype.collection.table import Collection

__all__ = ["LAYOUT"]

_FIELDS = ("file_name", "species", "width", "height", "box", "licence")
"""Columns that COCO has fields for."""


def _place(collection: Collection) -> list[str]:
    return name_rows(collection, lambda row: "images")


def _write(content: Content, package: Package) -> None:
    table = content.table
    categories = {name: number for number, name in enumerate(content.species, 1)}
    numbers = {name: number for number, name in enumerate(dict.fromkeys(table["file_name"]), 1)}  # the same image has the same id in every file
    licences = {name: number for number, name in enumerate(sorted(table["licence"].dropna().unique()), 1)}
    head: dict[str, Any] = {
        "info": _info(content),
        "licenses": [{"id": number, "name": name, "url": licence_url(name) or ""} for name, number in licences.items()],
        "categories": [{"id": number, "name": name, "supercategory": ""} for name, number in categories.items()],
    }
    splits = table["split"].fillna("unsplit").to_numpy(dtype=object)
    for split in (*SPLITS, "unsplit"):
        rows = np.flatnonzero(splits == split)
        if not len(rows):
            continue
        part = table.iloc[rows]
        package.add_json(
            f"annotations/instances_{split}.json",
            {**head, "info": {**head["info"], "split": split}},
            images=_images(content, part, rows, numbers, licences),
            annotations=_annotations(content, part, rows, numbers, categories),
        )
    package.add_table(TABLE, table)


def _info(content: Content) -> dict[str, Any]:
    synthetic = int((content.table["origin"] == "synthetic").sum())
    return {
        "description": content.name,
        "num_images": len(content.table),
        "num_synthetic": synthetic,
        "terms": sorted(content.table["terms"].dropna().unique())[:100],
        "boxes": "left, top, width, height in pixels of the upright image (EXIF rotation applied); with whole_image the animal has no box of its own",
    }


def _images(
    content: Content, part: pd.DataFrame, rows: np.ndarray, numbers: Mapping[str, int], licences: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    seen = set()
    for row, values in zip(rows, plain_rows(part), strict=True):
        name = values["file_name"]
        if name in seen:
            continue
        seen.add(name)
        width, height = size_of(content, int(row), values)
        image = {"id": numbers[name], "file_name": name.removeprefix("images/"), "width": width, "height": height}
        if "licence" in values:
            image["license"] = licences[values["licence"]]
        yield image if "species" in values else {**image, "attributes": _attributes(values)}


def _annotations(
    content: Content, part: pd.DataFrame, rows: np.ndarray, numbers: Mapping[str, int], categories: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    for row, values in zip(rows, plain_rows(part), strict=True):
        if "species" not in values:
            continue
        width, height = size_of(content, int(row), values)
        box = size_box(values.get("box"))
        left, top, across, down = box or (0, 0, width, height)
        yield {
            "id": int(row) + 1,
            "image_id": numbers[values["file_name"]],
            "category_id": categories[values["species"]],
            "bbox": [left, top, across, down],
            "area": across * down,
            "iscrowd": 0,
            "segmentation": [],
            **({} if box else {"whole_image": True}),
            "attributes": _attributes(values),
        }


def _attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in _FIELDS}


LAYOUT = Layout("coco", "a zip with COCO JSON for each split, for detectors", _place, _write)

"""Layout ``label-studio``: tasks with their labels, the images, and the labelling interface for a project in Label Studio.

    tasks.json              one task an image
    labelling-interface.xml the labels: one choice for a whole image, or boxes
    images/                 the image files

Labels of photographs, and of synthetic images that an expert accepted, are annotations; those of other synthetic images are predictions, which
an annotator confirms. Format: https://labelstud.io/guide/task_format
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import quoteattr

import pandas as pd

from syntype.collection.columns import TABLE
from syntype.collection.exports.base import Content, Layout
from syntype.collection.exports.boxes import size_box, size_of
from syntype.collection.exports.file_names import name_rows
from syntype.collection.exports.package import Package, plain_rows
from syntype.collection.table import Collection

__all__ = ["LAYOUT"]

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2
_COLOURS = ("#b2182b", "#2166ac", "#1b7837", "#762a83", "#e08214", "#01665e", "#c51b7d", "#4d4d4d")
_LOCAL = "/data/local-files/?d="
"""Where Label Studio serves files of its own disk; what follows is a path below LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT."""


def _place(collection: Collection) -> list[str]:
    return name_rows(collection, lambda row: "images")


def _write(content: Content, package: Package) -> None:
    package.add("labelling-interface.xml", _interface(content.species))
    package.add_json_list("tasks.json", _tasks(content))
    package.add_table(TABLE, content.table)


def _interface(species: tuple[str, ...]) -> str:
    labels = [quoteattr(_label(name)) for name in species]
    boxes = "\n".join(f"    <Label value={label} background={quoteattr(_COLOURS[i % len(_COLOURS)])}/>" for i, label in enumerate(labels))
    choices = "\n".join(f"    <Choice value={label}/>" for label in labels)
    return (
        f'<View>\n  <Image name="image" value="$image" zoom="true" zoomControl="true"/>\n  <RectangleLabels name="box" toName="image">\n{boxes}\n'
        f'  </RectangleLabels>\n  <Choices name="species" toName="image" choice="single">\n{choices}\n  </Choices>\n</View>\n'
    )


def _tasks(content: Content) -> Iterator[dict[str, Any]]:
    """One task an image. Rows of one file (several animals) are several labels of one task."""
    table = content.table
    codes, names = pd.factorize(table["file_name"])
    order = pd.Series(range(len(table))).groupby(codes, sort=False).indices
    if len(names) == len(table):  # the usual case, without a second copy of the table
        for row, values in enumerate(plain_rows(table)):
            yield _task(content, row + 1, [(row, values)])
        return
    for number in range(len(names)):
        rows = order[number]
        yield _task(content, number + 1, list(zip((int(row) for row in rows), plain_rows(table.iloc[rows]), strict=True)))


def _task(content: Content, number: int, rows: list[tuple[int, Mapping[str, Any]]]) -> dict[str, Any]:
    first = rows[0][1]
    data = {name: value if isinstance(value, (str, int, float)) else str(value) for name, value in first.items() if name not in ("file_name", "box")}
    task: dict[str, Any] = {"id": number, "data": {**data, "image": _LOCAL + first["file_name"], "file_name": first["file_name"]}}
    labels = [result for row, values in rows for result in _result(content, row, values)]
    is_drawn = first.get("origin") == "synthetic" and not ("reviewer" in first and first.get("verdict") == "accepted")
    task["annotations"] = [{"result": labels}] if labels and not is_drawn else []
    task["predictions"] = [{"result": labels, "model_version": first.get("generator_id", "synthetic")}] if labels and is_drawn else []
    return task


def _result(content: Content, row: int, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The label of a row: a rectangle in percent of the upright image, or a choice for the whole image; none without a species."""
    if "species" not in values:
        return
    width, height = size_of(content, row, values)
    base = {"id": f"row-{row + 1}", "to_name": "image", "meta": {"text": [values["image_id"]]}}
    if box := size_box(values.get("box")):
        left, top, across, down = box
        place = {"x": 100 * left / width, "y": 100 * top / height, "width": 100 * across / width, "height": 100 * down / height, "rotation": 0}
        frame = {"original_width": width, "original_height": height, "image_rotation": 0}
        yield {**base, "from_name": "box", "type": "rectanglelabels", **frame, "value": {**place, "rectanglelabels": [_label(values["species"])]}}
    else:
        yield {**base, "from_name": "species", "type": "choices", "value": {"choices": [_label(values["species"])]}}


def _label(species: str) -> str:
    """A species as a label: what XML cannot hold becomes the replacement character, in the tasks too."""
    return _NOT_XML.sub("\ufffd", species)


LAYOUT = Layout("label-studio", "a zip with tasks and the labelling interface for Label Studio", _place, _write)

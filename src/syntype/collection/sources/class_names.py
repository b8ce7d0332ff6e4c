"""Names of the classes of a Hugging Face data set, and its objects with boxes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from syntype.errors import InputError

__all__ = ["card_names", "class_names", "explode_objects", "features_of", "name_classes"]

_OBJECTS = ("objects", "annotations", "faces")
_LABELS = ("category", "categories", "label", "labels", "species", "class", "category_id")


def features_of(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """The features that a table's own metadata describe."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def class_names(features: Mapping[str, Any]) -> dict[str, list[str]]:
    """Names of the classes by column, from a description of features."""
    return {
        column: [str(name) for name in feature["names"]]
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list)
    }


def card_names(folder: Path) -> dict[str, list[str]]:
    """Names of the classes by column, from ``dataset_info.json`` or the card ``README.md`` of a data set."""
    for place in (folder, folder.parent):
        try:
            info = json.loads((place / "dataset_info.json").read_text(encoding="utf-8"))
            return class_names(info["features"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        try:
            head = (place / "README.md").read_text(encoding="utf-8")[:1_000_000].split("---", 2)
            info = yaml.safe_load(head[1])["dataset_info"]
            features = (info[0] if isinstance(info, list) else info)["features"]
            kinds = {str(one["name"]): one.get("dtype") for one in features}
            names = {column: kind["class_label"]["names"] for column, kind in kinds.items() if isinstance(kind, dict) and "class_label" in kind}
            return {column: [str(found[key]) for key in sorted(found, key=int)] for column, found in names.items()}
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, yaml.YAMLError, RecursionError):
            pass
    return {}


def name_classes(cells: pd.Series, names: Sequence[str] | None, table: str, others: Sequence[str] = ()) -> list[str | None]:
    """The cells of a column as texts: numbers of classes become their names.

    Args:
        cells: the column.
        names: names of the classes, if they are known.
        table: for messages.
        others: other columns, for messages.

    Raises:
        InputError: the cells are numbers, and nothing says their names; or a number is beyond the names.
    """
    if names is None or all(name.strip().isdigit() for name in names):
        words = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
        numeric = pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells)
        if numeric or (words and all(word.strip().isdigit() for word in words)):
            known = ", ".join(others)[:200] or "none"
            raise InputError(
                f"has only numbers as {str(cells.name)!r}, and nothing says which species they are",
                f"Name a column with the species by --species-column (there are: {known}), or add the data set's dataset_info.json.",
                file=table,
            )
        return [cell if isinstance(cell, str) else None if cell is None or cell != cell else str(cell) for cell in cells]
    if not pd.api.types.is_numeric_dtype(cells):
        return [cell if isinstance(cell, str) else None for cell in cells]
    result: list[str | None] = []
    for row, cell in enumerate(cells, 1):
        if cell is None or cell != cell or cell < 0:  # -1 stands for a label that is kept back
            result.append(None)
        elif cell >= len(names):
            raise InputError(
                f"has the class {int(cell)} in {str(cells.name)!r}, but only {len(names)} names", "Correct the data set.", file=table, row=row
            )
        else:
            result.append(names[int(cell)])
    return result


def explode_objects(frame: pd.DataFrame, features: Mapping[str, Any], table: str, sizes: bool) -> tuple[pd.DataFrame, list[str]] | None:
    """A row for each object with a box, if the table has a column of such objects; and notes. None if it has none.

    Args:
        frame: the table. Its column of objects holds, for each image, lists of ``bbox`` and ``category``, or a list of mappings with these.
        features: description of the columns, with the names of the classes.
        table: for messages.
        sizes: the four numbers of a box are left, top, width, height, and not left, top, right, bottom.

    Returns:
        the frame with the columns ``species`` and ``box`` (left, top, right, bottom) instead of the objects; images without an object are left out.
    """
    column = next((name for name in _OBJECTS if name in frame and any(_objects_of(cell) for cell in frame[name].head(100))), None)
    if column is None:
        return None
    names = _names_below(features.get(column))
    objects = frame[column].map(_objects_of)
    rows = [(number, label, box) for number, found in enumerate(objects) for label, box in found]
    exploded = frame.iloc[[number for number, _, _ in rows]].drop(columns=[column, *(name for name in ("species", "box") if name in frame)])
    labels = pd.Series([label for _, label, _ in rows], name=column)
    boxes = [_box_text(box, sizes) for _, _, box in rows]
    result = exploded.assign(species=pd.array(name_classes(labels, names, table), dtype=object), box=pd.array(boxes, dtype=object))
    empty = int((objects.map(len) == 0).sum())
    notes = [f"boxes in {column!r} are read as left, top, {'width, height' if sizes else 'right, bottom'}, a row a box; --box-format says otherwise"]
    if empty:
        notes.append(f"{empty:,} images without an object: not imported")
    return result.reset_index(drop=True), notes


def _objects_of(cell: Any) -> list[tuple[Any, Any]]:
    """Label and box of each object of a cell."""
    if isinstance(cell, Mapping):
        key = next((name for name in _LABELS if name in cell), None)
        boxes = cell.get("bbox")
        if key is None or boxes is None or cell[key] is None:
            return []
        return list(zip(cell[key], boxes, strict=False))
    if isinstance(cell, str) or not hasattr(cell, "__iter__"):
        return []
    found = []
    for one in cell:
        key = next((name for name in _LABELS if name in one), None) if isinstance(one, Mapping) else None
        if key is not None and one.get("bbox") is not None:
            found.append((one[key], one["bbox"]))
    return found


def _box_text(box: Any, sizes: bool) -> str | None:
    try:
        left, top, third, fourth = (float(value) for value in box)
    except (TypeError, ValueError):
        return None
    return f"{left:g},{top:g},{left + third:g},{top + fourth:g}" if sizes else f"{left:g},{top:g},{third:g},{fourth:g}"


def _names_below(feature: Any) -> list[str] | None:
    """Names of the classes of the first label within a description of nested features."""
    if isinstance(feature, list):
        feature = dict(enumerate(feature))
    if not isinstance(feature, dict):
        return None
    if feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list):
        return [str(name) for name in feature["names"]]
    return next((names for value in feature.values() if (names := _names_below(value)) is not None), None)

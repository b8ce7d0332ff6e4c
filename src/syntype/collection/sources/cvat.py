"""CVAT exports in the form "CVAT for images 1.1": tags (labels of images) and boxes, in XML.

Format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from syntype.collection.sources.annotations import as_text, group_photographs, keep_splits, left_out_note, names_no_species, number, refuse_options
from syntype.collection.sources.base import Entry, Listing, Reader, Refused, SourceConfig, parse_split, species_name
from syntype.collection.sources.image_files import find_images, folders_of_images
from syntype.collection.sources.xml_files import head_of, load_xml
from syntype.errors import InputError, plural

__all__ = ["READER"]


def _recognises(source: Path, _: SourceConfig) -> bool:
    path = _file_of(source)
    return path is not None and b"<annotations" in head_of(path)


def _file_of(source: Path) -> Path | None:
    path = source / "annotations.xml" if source.is_dir() else source
    return path if path.suffix.lower() == ".xml" and path.is_file() else None


def _read(source: Path, config: SourceConfig) -> Listing:
    """List the boxes and tags of an export: a row a box, or a row an image that has a tag and no boxes.

    Raises:
        InputError: the file is damaged, or is of a film.
    """
    path = _file_of(source)
    root = load_xml(path) if path is not None else None
    if path is None or root is None or root.tag != "annotations":
        raise InputError("is not a CVAT export", "Export the task as 'CVAT for images 1.1'.", file=source)
    refuse_options(config, path, "a CVAT export")
    images = root.findall("image")
    if not images and root.find("track") is not None:
        raise InputError("is an export of a film ('CVAT for video')", "Export the task as 'CVAT for images 1.1', with its images.", file=path)
    tasks = {one.findtext("id"): one.findtext("name") for one in root.iter("task")}
    names = {row: name for row, image in enumerate(images, 1) if (name := as_text(image.get("name")))}
    files = find_images(names.values(), folders_of_images(path, source, config))
    left_out: Counter[str] = Counter()
    items: list[Entry | Refused] = []
    bare = 0
    for row, image in enumerate(images, 1):
        found = _rows(row, image, names.get(row), files, left_out, tasks)
        bare += not found and not any(child.get("label") for child in image)
        items += found
    items, _ = group_photographs(items)
    items, remarks = keep_splits(items)
    notes = left_out_note(left_out)
    if bare:
        notes.append(f"{plural(bare, 'image')} without a label: not imported")
    notes += remarks
    return Listing("CVAT export", items, notes=notes, origins=[_origin(source, tasks)])


def _origin(source: Path, tasks: dict[str | None, str | None]) -> Any:
    names = sorted({name for name in tasks.values() if name})
    return {"path": str(source), "tasks": names} if names else str(source)


def _rows(
    row: int, image: Any, name: str | None, files: dict[str, Path], left_out: Counter[str], tasks: dict[str | None, str | None]
) -> list[Entry | Refused]:
    """The rows of one image."""
    shapes = [
        child
        for child in image
        if child.tag in ("box", "polygon", "mask", "ellipse", "polyline", "points", "cuboid", "skeleton") and child.get("label")
    ]
    tags = [child for child in image if child.tag == "tag" and child.get("label")]
    if not shapes and not tags:
        return []
    if name is None:
        return [Refused("", row, "names no image", "Export the task again, with the names of its images.")]
    kept = _named(shapes, left_out) or _named(tags, left_out)
    width, height = number(image.get("width")), number(image.get("height"))
    frame = (int(width), int(height)) if width and height and width >= 1 and height >= 1 else None
    task = tasks.get(image.get("task_id")) or (next(iter(tasks.values())) if len(tasks) == 1 else None)
    result: list[Entry | Refused] = []
    for child, species in kept:
        box, note = _box_of(child)
        values = {f"attribute_{key}": text for one in child.findall("attribute") if (key := as_text(one.get("name"))) and (text := as_text(one.text))}
        values |= {key: text for key, text in (("task", as_text(task)), ("source_image_id", as_text(image.get("id")))) if text}
        values |= {key: "true" for key in ("occluded",) if child.get(key) == "1"}
        result.append(
            Entry(
                files[name], species, row, group=values.pop("attribute_group", None), split=parse_split(image.get("subset")), box=box,
                box_frame=frame, note=note, values=values, original_name=name.replace("\\", "/"),
            )
        )  # fmt: skip
    return result


def _named(shapes: Sequence[Any], left_out: Counter[str]) -> list[tuple[Any, str]]:
    """Shapes or tags with their species; those whose label names none are counted."""
    kept = []
    for child in shapes:
        species = species_name(as_text(child.get("label")) or "")
        if not species or names_no_species(species):
            left_out[species or "(empty)"] += 1
        else:
            kept.append((child, species))
    return kept


def _box_of(child: Any) -> tuple[tuple[float, float, float, float] | None, str | None]:
    """The box of a shape, or that around its outline; and a note if there is none."""
    if child.tag == "tag":
        return None, None
    if number(child.get("rotation")) not in (None, 0):
        return None, "box not used: it is turned"
    if child.tag == "box":
        edges = [number(child.get(key)) for key in ("xtl", "ytl", "xbr", "ybr")]
    elif child.tag == "polygon":
        points = [[number(part) for part in point.split(",")] for point in (child.get("points") or "").split(";")]
        xs, ys = ([point[side] for point in points if len(point) == 2] for side in (0, 1))
        edges = [_extreme(xs, min), _extreme(ys, min), _extreme(xs, max), _extreme(ys, max)]
    elif child.tag == "mask":
        left, top, width, height = (number(child.get(key)) for key in ("left", "top", "width", "height"))
        edges = [left, top, None if left is None or width is None else left + width, None if top is None or height is None else top + height]
    else:
        return None, f"box not used: the shape is no box, polygon or mask ({child.tag})"
    left, top, right, bottom = edges
    if left is None or top is None or right is None or bottom is None or right <= left or bottom <= top:
        return None, "box not used: it is not left, top, right, bottom with an area"
    return (left, top, right, bottom), None


def _extreme(values: Sequence[float | None], choose: Any) -> float | None:
    numbers = [value for value in values if value is not None]
    return choose(numbers) if numbers and len(numbers) == len(values) else None


READER = Reader("cvat", "CVAT exports: CVAT for images 1.1", _recognises, _read)

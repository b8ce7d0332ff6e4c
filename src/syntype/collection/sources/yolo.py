"""YOLO data sets: images, a text file of boxes for each, and the names of the classes in ``data.yaml`` or ``classes.txt``.

Format: https://docs.ultralytics.com/datasets/detect: a line is the number of the class, and centre, width and height of the box as shares of the
image; or, for outlines, the shares of its points.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from syntype.collection.sources.annotations import as_text, group_photographs, keep_splits, left_out_note, names_no_species, number, refuse_options
from syntype.collection.sources.base import SIDECARS, Entry, Listing, Reader, Refused, SourceConfig, species_name
from syntype.collection.sources.image_files import find_images
from syntype.errors import InputError, plural, shown_list

__all__ = ["READER"]

_YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_SPLIT_KEYS: Mapping[str, str] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def _recognises(source: Path, _: SourceConfig) -> bool:
    path = _settings_of(source)
    if path is None:
        return False
    if path.name == "classes.txt":
        return (path.parent / "labels").is_dir() and (path.parent / "images").is_dir()
    content = _load(path)
    if not isinstance(content, dict):  # damaged or empty
        return source.is_file() or (path.parent / "labels").is_dir()
    return source.is_file() or (("names" in content or "nc" in content) and any(key in content for key in _SPLIT_KEYS))


def _settings_of(source: Path) -> Path | None:
    if source.is_file():
        return source if source.suffix.lower() in (".yaml", ".yml") else None
    return next((source / name for name in (*_YAMLS, "classes.txt") if (source / name).is_file()), None)


def _load(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig")[:10_000_000])
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None


def _read(source: Path, config: SourceConfig) -> Listing:
    """List the boxes of a YOLO data set: a row a box.

    Raises:
        InputError: the settings are damaged, or say no names of the classes or no folders.
    """
    path = _settings_of(source)
    if path is None:
        raise InputError("holds no data.yaml", "Give the folder with data.yaml, or the file itself.", file=source)
    refuse_options(config, path, "a YOLO data set")
    places: list[tuple[Path, str | None]]
    if path.name == "classes.txt":
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        names, places, keypoints = (
            {number: line.strip() for number, line in enumerate(lines) if line.strip()},
            [(path.parent / "images", None)],
            False,
        )
    else:
        content = _load(path)
        if not isinstance(content, dict):
            raise InputError("is not a YOLO data.yaml", "Give the file with the names of the classes and the folders of the images.", file=path)
        names, places, keypoints = _names(content, path), _places(content, path), "kpt_shape" in content
    images = [(image, split) for place, split in places for image in _images_in(place)]
    if not images:
        shown = ", ".join(str(place) for place, _ in places)[:200]
        raise InputError(f"names folders that hold no images ({shown})", "Correct the paths in it; they start from its own folder.", file=path)
    items: list[Entry | Refused] = []
    left_out: Counter[str] = Counter()
    bare = 0
    for image, split in images:
        found, lines_there = _rows(image, split, names, keypoints, path.parent, left_out)
        bare += not lines_there
        items += found
    items, _ = group_photographs(items)
    items, remarks = keep_splits(items)
    notes = left_out_note(left_out)
    gone = [f"{place.parent.name}/{place.name}" for place, split in places if not _exists(place)]
    if gone:
        notes.append(f"{path.name} names folders that are not there: {shown_list(gone, 3)}")
    if bare:
        notes.append(f"{plural(bare, 'image')} without a box: not imported")
    notes += remarks
    return Listing("YOLO data set: a row a box", items, notes=notes, origins=[str(source)])


def _names(content: Mapping[str, Any], path: Path) -> dict[int, str]:
    """Names of the classes by number."""
    names = content.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    found = {int(key): text for key, name in names.items() if (text := as_text(name)) and str(key).isdigit()} if isinstance(names, dict) else {}
    if not found or all(name.isdigit() or name.casefold().removeprefix("class").strip(" _").isdigit() for name in found.values()):
        raise InputError("says no names of the classes", "Give each class its species under names, in the order of the numbers.", file=path)
    return found


def _places(content: Mapping[str, Any], path: Path) -> list[tuple[Path, str | None]]:
    """Folders, or lists of images, with their split."""
    start = path.parent
    base = (as_text(content.get("path")) or "").replace("\\", "/")
    places: list[tuple[Path, str | None]] = []
    for key, split in _SPLIT_KEYS.items():
        given = content.get(key)
        for one in given if isinstance(given, list) else [given]:
            text = as_text(one) if isinstance(one, str) else None
            if text is not None:
                places.append((_place(start, base, text.replace("\\", "/")), split))
    if not places:
        raise InputError("names no folders of images", "Give train, val and test.", file=path)
    return places


def _place(start: Path, base: str, name: str) -> Path:
    """The folder or list of a split. Paths of another computer, and those that Roboflow writes one step too high, are found by their end."""
    parts = [part for part in f"{base}/{name}".split("/") if part not in ("", ".", "..")]
    tries = [start.joinpath(*parts[number:]) for number in range(len(parts))]
    return next((place for place in tries if _exists(place)), start / Path(*parts))


def _exists(place: Path) -> bool:
    try:
        return place.exists()
    except (OSError, ValueError):  # a name of more than 255 bytes, or with a null character
        return False


def _images_in(place: Path) -> list[Path]:
    try:
        if place.is_dir():
            files = sorted(path for path in place.rglob("*") if path.is_file())
            return [path for path in files if not path.name.startswith(".") and path.suffix.lower() not in SIDECARS and "labels" not in path.parts]
        if place.suffix.lower() == ".txt":
            lines = [line.strip() for line in place.read_text(encoding="utf-8", errors="replace").splitlines()]
            return list(find_images([line for line in lines if line], [place.parent]).values())
    except (OSError, ValueError):
        pass
    return []


def _label_file(image: Path) -> Path:
    """The text file of an image: in ``labels`` instead of the last ``images`` of its path, or beside it."""
    parts = list(image.parts)
    for number_ in range(len(parts) - 2, -1, -1):
        if parts[number_] == "images":
            parts[number_] = "labels"
            return Path(*parts).with_suffix(".txt")
    return image.with_suffix(".txt")


def _rows(
    image: Path, split: str | None, names: Mapping[int, str], keypoints: bool, root: Path, left_out: Counter[str]
) -> tuple[list[Entry | Refused], bool]:
    """The boxes of one image, and whether there are any lines."""
    file = _label_file(image)
    try:
        lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines() if file.is_file() else []
    except (OSError, ValueError):
        return [Refused(str(file), None, "cannot be read", "Check its permissions.")], True
    name = image.relative_to(root).as_posix() if image.is_relative_to(root) else image.name
    rows: list[Entry | Refused] = []
    filled = [(row, line.split()) for row, line in enumerate(lines, 1) if line.strip()]
    for row, cells in filled:
        values = [number(cell) for cell in cells]
        if len(values) < 5 or any(value is None for value in values):
            rows.append(Refused(f"{name} ({file.name})", row, "is not a class and a box", "A line is: class, centre x, centre y, width, height."))
            continue
        given = [value for value in values if value is not None]
        label = names.get(int(given[0])) if given[0].is_integer() else None
        if label is None:
            rows.append(Refused(f"{name} ({file.name})", row, "has a class without a name", f"Give class {cells[0][:20]} a name in data.yaml."))
        elif names_no_species(label):
            left_out[label] += 1
        else:
            box = _box_of(given[1:], keypoints)
            note = None if box else "box not used: it has no area, or is not in shares of the image"
            rows.append(
                Entry(image, species_name(label), row, file.name, split=split, box=box, box_shares=box is not None, note=note, original_name=name)
            )
    return rows, bool(filled)


def _box_of(values: Sequence[float], keypoints: bool) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom in shares: of centre and size (a confidence may follow), or around the points of an outline."""
    if len(values) in (4, 5) or keypoints:
        x, y, width, height = values[:4]
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    elif len(values) % 2 == 0:
        xs, ys = values[0::2], values[1::2]
        box = (min(xs), min(ys), max(xs), max(ys))
    else:
        return None
    return box if box[2] > box[0] and box[3] > box[1] and max(box) <= 1.5 and min(box) >= -0.5 else None


READER = Reader("yolo", "YOLO data sets: data.yaml with labels", _recognises, _read)

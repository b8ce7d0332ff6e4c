"""labelme: a folder of JSON files, one an image, with rectangles and outlines in pixels.

Format: https://github.com/wkentaro/labelme, as version 4 and 5 write it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from syntype.collection.sources.annotations import (
    as_text,
    further_values,
    group_photographs,
    keep_splits,
    left_out_note,
    names_no_species,
    number,
    refuse_options,
)
from syntype.collection.sources.base import Entry, Listing, Reader, Refused, SourceConfig, parse_split, species_name
from syntype.collection.sources.image_files import find_images, folders_of_images
from syntype.collection.sources.json_files import forget, load_json_source, peek_json
from syntype.errors import InputError, plural

__all__ = ["READER"]


def _recognises(source: Path, _: SourceConfig) -> bool:
    files = [source] if source.is_file() else _files_in(source)
    return any(_is_labelme(peek_json(path)) for path in files[:1])


def _is_labelme(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content


def _files_in(folder: Path) -> list[Path]:
    """The JSON files of a folder, or of its folders of splits."""
    try:
        splits = [place for place in sorted(folder.iterdir()) if place.is_dir() and parse_split(place.name)]
        for places in ([folder], splits):
            found = [path for place in places for path in sorted(place.glob("*.json")) if not path.name.startswith(".")]
            if found:
                return found
    except (OSError, ValueError):
        pass
    return []


def _read(source: Path, config: SourceConfig) -> Listing:
    """List the shapes of labelme files: a row a shape.

    Raises:
        InputError: there are none.
    """
    files = [source] if source.is_file() else _files_in(source)
    if not files:
        raise InputError("holds no labelme files", "Give the folder with the JSON files.", file=source)
    refuse_options(config, source, "labelme")
    items: list[Entry | Refused] = []
    left_out: Counter[str] = Counter()
    bare = 0
    contents: list[tuple[Path, Mapping[str, Any], str]] = []
    for path in files:
        try:
            content = _without_image(load_json_source(path))
        except InputError as error:
            items.append(Refused(str(path), None, error.reason.partition(" (")[0], error.hint))
            continue
        finally:
            forget()
        if not _is_labelme(content):
            items.append(Refused(str(path), None, "is not a labelme file", "Remove it from the folder."))
            continue
        bare += not content["shapes"]
        contents.append((path, content, (as_text(content.get("imagePath")) or "").replace("\\", "/").rpartition("/")[2]))
    images: dict[tuple[Path, str], Path] = {}
    for folder in dict.fromkeys(path.parent for path, _, _ in contents):
        one = next(path for path, _, _ in contents if path.parent == folder)
        found = find_images((name for path, _, name in contents if path.parent == folder and name), folders_of_images(one, source, config))
        images |= {(folder, name): image for name, image in found.items()}
    for path, content, name in contents:
        items += _shapes(path, content, name, images, source, left_out)
    items, _ = group_photographs(items)
    items, remarks = keep_splits(items)
    notes = left_out_note(left_out) + remarks
    if bare:
        notes.append(f"{plural(bare, 'file')} without a shape: not imported")
    return Listing("labelme: a row a shape", items, notes=notes, origins=[str(source)])


def _without_image(content: Any) -> Any:
    """The content without the image that labelme may pack into the file: the image itself lies beside it."""
    return {key: value for key, value in content.items() if key != "imageData"} if isinstance(content, dict) else content


def _shapes(
    path: Path, content: Mapping[str, Any], name: str, images: Mapping[tuple[Path, str], Path], source: Path, left_out: Counter[str]
) -> list[Entry | Refused]:
    """The rows of one file."""
    if not name:
        return [Refused(str(path), None, "names no image", "Save it again in labelme.")]
    image = images[path.parent, name]
    width, height = number(content.get("imageWidth")), number(content.get("imageHeight"))
    frame = (int(width), int(height)) if width and height and width >= 1 and height >= 1 else None
    split = parse_split(path.parent.name) if path.parent != source and source.is_dir() else None
    rows: list[Entry | Refused] = []
    for row, shape in enumerate(content["shapes"], 1):
        species = species_name(as_text(shape.get("label")) or "") if isinstance(shape, dict) else ""
        if not species:
            rows.append(Refused(str(path), row, "has no species", "Give the shape a label."))
        elif names_no_species(species):
            left_out[species] += 1
        else:
            box = _around(shape.get("points"), str(shape.get("shape_type")))
            note = None if box else f"box not used: the shape has no area ({str(shape.get('shape_type'))[:20]})"
            flags = shape.get("flags")
            values = further_values({f"attribute_{key}": value for key, value in flags.items() if value}) if isinstance(flags, dict) else {}
            number_of_group = as_text(shape.get("group_id"))
            values |= {"group_id": number_of_group} if number_of_group else {}
            rows.append(
                Entry(image, species, row, path.name, split=split, box=box, box_frame=frame, note=note, values=values, original_name=name)
            )  # fmt: skip
    return rows


def _around(points: Any, kind: str) -> tuple[float, float, float, float] | None:
    """The box around the points of a shape; of a circle they are its centre and a point on it."""
    pairs = (
        [(number(point[0]), number(point[1])) for point in points if isinstance(point, list) and len(point) == 2] if isinstance(points, list) else []
    )
    xs, ys = [x for x, _ in pairs if x is not None], [y for _, y in pairs if y is not None]
    if len(xs) < 2 or len(ys) < 2:
        return None
    if kind == "circle":
        radius = ((xs[1] - xs[0]) ** 2 + (ys[1] - ys[0]) ** 2) ** 0.5
        xs, ys = [xs[0] - radius, xs[0] + radius], [ys[0] - radius, ys[0] + radius]
    return (min(xs), min(ys), max(xs), max(ys)) if max(xs) > min(xs) and max(ys) > min(ys) else None


READER = Reader("labelme", "labelme: JSON files, one an image", _recognises, _read)

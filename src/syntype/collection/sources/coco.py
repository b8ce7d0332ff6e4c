"""COCO and COCO-CameraTraps JSON: a row an annotation, with its box; sequences are groups.

Formats: https://cocodataset.org/#format-data and https://lila.science/coco-camera-traps
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from syntype.collection.sources.annotations import (
    as_text,
    author_splits,
    corner_box,
    further_values,
    group_photographs,
    keep_splits,
    left_out_note,
    names_no_species,
    number,
    refuse_options,
    size_box,
)
from syntype.collection.sources.base import Entry, Listing, Reader, Refused, SourceConfig, parse_split, species_name
from syntype.collection.sources.collector import without_collector
from syntype.collection.sources.image_files import find_images, folders_of_images, is_there
from syntype.collection.sources.json_files import forget, load_json_source, peek_json_is
from syntype.collection.sources.licences import licence_name
from syntype.errors import InputError, plural

__all__ = ["READER"]

_MOST_FILES = 30
"""A folder with more JSON files holds one an image, and no COCO files."""
_TAXONOMY = ("kingdom", "phylum", "class", "order", "family", "genus", "taxon_rank", "supercategory", "taxon_id")
_IMAGE_KEYS = ("id", "file_name", "license", "seq_id", "split", "rights_holder", "date_captured", "datetime")
_ADDRESSES = ("coco_url", "flickr_url", "url", "file_name")
_ANNOTATION_KEYS = ("id", "image_id", "category_id", "bbox", "area", "segmentation", "keypoints", "num_keypoints", "iscrowd", "split")


def _recognises(source: Path, _: SourceConfig) -> bool:
    return peek_json_is(source, _is_coco) if source.is_file() else any(peek_json_is(path, _is_coco) for path in _candidates_in(source))


def _is_coco(content: Any) -> bool:
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in ("images", "annotations", "categories"))


def _candidates_in(folder: Path) -> list[Path]:
    """The JSON files of a folder: in it, in ``annotations``, or in folders of splits; those called ``instances_*`` if there are any."""
    try:
        places = [
            folder,
            *(place for place in sorted(folder.iterdir()) if place.is_dir() and (place.name == "annotations" or parse_split(place.name))),
        ]
        found = [path for place in places for path in sorted(place.glob("*.json")) if not path.name.startswith(".")]
    except (OSError, ValueError):
        return []
    instances = [path for path in found if path.name.startswith("instances_")]
    found = instances or found
    return found if len(found) <= _MOST_FILES else []


@without_collector
def _read(source: Path, config: SourceConfig) -> Listing:
    """List the annotations of COCO files.

    Raises:
        InputError: a file is damaged, lacks a table, or names an id twice.
    """
    try:
        files: list[tuple[Path, str | None]]
        if config.splits:
            folder = source if source.is_dir() else source.parent
            files = [(folder / name, str(split)) for split, name in config.splits.items()]
        elif source.is_file():
            files = [(source, None)]
        else:
            files = author_splits([path for path in _candidates_in(source) if peek_json_is(path, _is_coco)], source, "COCO files")
        items: list[Entry | Refused] = []
        notes: list[str] = []
        camera_trap = False
        for path, split in files:
            content = load_json_source(path)
            table = path.name if len(files) > 1 else None
            found, remarks = _File(path, source, content, config, split, table).read()
            items += found
            notes += [f"{table}: {remark}" if table else remark for remark in remarks]
            camera_trap |= any(isinstance(image, dict) and "seq_id" in image for image in content["images"][:100])
            content = None
            forget(path)
    finally:
        forget()
    items, num_several = group_photographs(items)
    if num_several:
        notes.append(f"{plural(num_several, 'photograph')} with several annotations: a row for each, in one group")
    items, remarks = keep_splits(items)
    notes += remarks
    title = "COCO-CameraTraps JSON" if camera_trap else "COCO JSON"
    return Listing(f"{title}: a row an annotation", items, notes=notes, origins=[str(source)])


class _File:
    """One COCO file."""

    def __init__(self, path: Path, source: Path, content: Any, config: SourceConfig, split: str | None, table: str | None) -> None:
        if not _is_coco(content):
            raise InputError("is not COCO JSON", "It needs the lists images, annotations and categories.", file=path)
        self.path, self.source, self.config, self.split, self.table = path, source, config, split, table
        self.images = self._by_id(content["images"], "image", "file_name")
        self.categories = self._by_id(content["categories"], "category", "name")
        self.annotations: Sequence[Any] = content["annotations"]
        licences = content.get("licenses")
        self.licences = self._by_id(licences if isinstance(licences, list) else [], "licence", "name")
        self.left_out: Counter[str] = Counter()
        self.last_image: Mapping[str, Any] | None = None
        self.image_values: tuple[dict[str, str], dict[str, str | None]] = ({}, {})
        self.category_values: dict[str, dict[str, str | None]] = {}
        refuse_options(config, path, "COCO JSON", "species", "group", "split", "licence", "splits")
        self._check_columns()
        if config.box_format is None:
            self._check_boxes()

    def read(self) -> tuple[list[Entry | Refused], list[str]]:
        """The annotations as items, and notes."""
        used = {_key(item.get("image_id")) for item in self.annotations if isinstance(item, dict)}
        names = {key: name for key, image in self.images.items() if key in used and (name := as_text(image.get("file_name")))}
        folders = folders_of_images(self.path, self.source, self.config, self._folder_names())
        files = find_images(names.values(), folders)
        seen: dict[tuple[Any, ...], int] = {}
        items = [item for row, one in enumerate(self.annotations, 1) if (item := self._item(row, one, names, files, seen)) is not None]
        return items, self._notes(used, items)

    def _notes(self, used: set[str | None], items: Sequence[Entry | Refused]) -> list[str]:
        notes = left_out_note(self.left_out)
        bare = sum(key not in used for key in self.images)
        if bare:
            notes.append(f"{plural(bare, 'image')} without an annotation: not imported")
        both = 0
        if self.left_out:
            empty = {_key(item.get("image_id")) for item in self.annotations if isinstance(item, dict) and self._label(item) in self.left_out}
            both = sum(isinstance(item, Entry) and item.values.get("source_image_id") in empty for item in items)
        if both:
            notes.append(f"{plural(both, 'annotation')} of a species on images that are labelled as empty or human too: kept")
        return notes

    def _item(
        self, row: int, one: Any, names: Mapping[str, str], files: Mapping[str, Path], seen: dict[tuple[Any, ...], int]
    ) -> Entry | Refused | None:
        """One annotation; None if its label names no species."""
        if not isinstance(one, dict):
            return Refused("", row, "is no annotation", "Each annotation must be an object with image_id and category_id.")
        image_id, category_id = _key(one.get("image_id")), _key(one.get("category_id"))
        label = self._label(one)
        name = names.get(image_id or "", "")
        if label is not None and names_no_species(label):
            self.left_out[label] += 1
            return None
        if image_id is None or image_id not in self.images:
            return Refused(name, row, "is of an image that is not in the list", f"It names image {_shown(image_id)}: add it to images.")
        if not name:
            return Refused("", row, "is of an image without a file", f"Give image {_shown(image_id)} a file_name.")
        if category_id is None or category_id not in self.categories:
            return Refused(name, row, "is of a category that is not in the list", f"It names category {_shown(category_id)}: add it to categories.")
        species = species_name(label or "")
        if not species:
            return Refused(name, row, "is of a category without a name", f"Give category {_shown(category_id)} a name.")
        key = (image_id, category_id, str(one.get("bbox") or one.get("segmentation") or ""))
        if key in seen:
            return Refused(name, row, "is listed twice", f"Annotation {seen[key]} says the same: remove one of them.")
        seen[key] = row
        return self._entry(row, one, self.images[image_id], category_id, species, name, files[name])

    def _entry(self, row: int, one: Mapping[str, Any], image: Mapping[str, Any], category_id: str, species: str, name: str, file: Path) -> Entry:
        box, notes = _box_of(one, self.config.box_format == "corners"), []
        if box is not None and max(box) <= 1:
            box = None
        if box is None and one.get("bbox"):
            shape = "left, top, right, bottom" if self.config.box_format == "corners" else "left, top, width, height"
            notes.append(f"box not used: {str(one['bbox'])[:60]} is not {shape} in pixels, with an area")
        if one.get("iscrowd") == 1:
            notes.append("the box is around several animals (iscrowd)")
        if self.last_image is not image:  # annotations of one image mostly follow one another
            self.last_image, self.image_values = image, self._values_of_image(image)
        if category_id not in self.category_values:
            self.category_values[category_id] = _values_of_category(self.categories[category_id], species)
        further, usual = self.image_values
        values = {
            **further,
            **further_values(one, _ANNOTATION_KEYS),
            **self.category_values[category_id],
            "source_image_id": _key(image.get("id")),
            "source_annotation_id": _key(one.get("id")),
            **usual,
        }
        url = usual["source_url"]
        return Entry(
            file, species, row, self.table,
            group=self._value(self.config.group_column, one, image) if self.config.group_column else as_text(image.get("seq_id")),
            split=self.split or parse_split(self._value(self.config.split_column or "split", one, image)),
            box=box,
            box_frame=_size_of(image),
            note="; ".join(notes) or None,
            values={key: value for key, value in values.items() if value is not None},
            original_name=name.replace("\\", "/"),
            url=url if url and not is_there(file) else None,
        )  # fmt: skip

    def _values_of_image(self, image: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str | None]]:
        """Further values of an image, and those that have a column of their own."""
        addresses = (as_text(image.get(key)) for key in _ADDRESSES)
        return further_values(image, (*_IMAGE_KEYS, *_ADDRESSES)), {
            "observed_on": as_text(image.get("datetime") or image.get("date_captured")),
            "licence": self._licence(image),
            "rights_holder": as_text(image.get("rights_holder")),
            "source_url": next((text for text in addresses if text and text.startswith(("http://", "https://"))), None),
        }

    def _label(self, one: Mapping[str, Any]) -> str | None:
        category = self.categories.get(_key(one.get("category_id")) or "", {})
        return as_text(category.get(self.config.species_column or "name"))

    def _licence(self, image: Mapping[str, Any]) -> str | None:
        if self.config.licence_column:
            return licence_name(as_text(image.get(self.config.licence_column)))
        value = _key(image.get("license"))
        entry = self.licences.get(value or "")
        if entry is not None:
            return licence_name(as_text(entry.get("name")) or as_text(entry.get("url")))
        return licence_name(value) if value and not value.isdigit() else None

    def _value(self, key: str, one: Mapping[str, Any], image: Mapping[str, Any]) -> str | None:
        return as_text(one.get(key)) if key in one else as_text(image.get(key))

    def _check_columns(self) -> None:
        """Names that the user gave must occur."""
        tables = {
            "group": (self.config.group_column, [*self.annotations, *self.images.values()]),
            "split": (self.config.split_column, [*self.annotations, *self.images.values()]),
            "licence": (self.config.licence_column, list(self.images.values())),
            "species": (self.config.species_column, list(self.categories.values())),
        }
        for option, (name, rows) in tables.items():
            if name is not None and not any(isinstance(row, dict) and name in row for row in rows):
                known = ", ".join(sorted({str(key)[:30] for row in rows[:100] if isinstance(row, dict) for key in row})[:20])
                raise InputError(f"has no key {name!r}; there are: {known}", f"Give one of these with --{option}-column.", file=self.path)

    def _check_boxes(self) -> None:
        """Boxes that leave their images as left, top, width, height, and fit as left, top, right, bottom, would be cut wrongly."""
        leaving = fitting = total = 0
        for one in self.annotations:
            frame = _size_of(self.images.get(_key(one.get("image_id")) or "", {})) if isinstance(one, dict) else None
            corners = size_box(one["bbox"]) if frame is not None and one.get("bbox") else None
            if corners is not None and frame is not None:
                left, top, right, bottom = corners
                total += 1
                leaving += right > frame[0] + 2 or bottom > frame[1] + 2
                fitting += 2 * left < right <= left + frame[0] + 2 and 2 * top < bottom <= top + frame[1] + 2
        if leaving > total / 10 and fitting == total:
            raise InputError(
                f"has boxes that leave their images as left, top, width, height ({leaving:,} of {total:,}), and fit as left, top, right, bottom",
                "Give --box-format corners if that is what they are, or --box-format size to read them as COCO prescribes.",
                file=self.path,
            )

    def _by_id(self, rows: Sequence[Any], kind: str, key: str) -> dict[str, Mapping[str, Any]]:
        """Rows by id. An id that two different rows have would give annotations to the wrong one of them."""
        found: dict[str, Mapping[str, Any]] = {}
        for row in rows:
            if not isinstance(row, dict) or (name := _key(row.get("id"))) is None:
                continue
            if name in found and found[name].get(key) != row.get(key):
                raise InputError(f"has two of the {kind} id {name[:40]!r}", "Give each its own id, and its annotations that id.", file=self.path)
            found[name] = row
        return found

    def _folder_names(self) -> list[str]:
        """Names of folders in which the images of this file are usually: COCO keeps those of ``instances_train2017.json`` in ``train2017``."""
        stem = self.path.stem
        suffix = stem.removeprefix("instances_") if stem.startswith("instances_") else ""
        words = [suffix, f"images/{suffix}"] if suffix else []
        return [*words, *([self.split, f"images/{self.split}"] if self.split else [])]


def _key(value: Any) -> str | None:
    """An id as text: 7, 7.0 and "7" are the same."""
    return str(value) if type(value) is int else None if isinstance(value, (bool, dict, list)) else as_text(value)


def _shown(value: str | None) -> str:
    return "none" if value is None else repr(value[:40])


def _values_of_category(category: Mapping[str, Any], species: str) -> dict[str, str | None]:
    taxonomy = {key: text for key in _TAXONOMY if (text := as_text(category.get(key))) and text.casefold() not in ("none", species.casefold())}
    return {**taxonomy, "vernacular_name": as_text(category.get("common_name"))}


def _size_of(image: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = number(image.get("width")), number(image.get("height"))
    return (int(width), int(height)) if width and height and width >= 1 and height >= 1 else None


def _box_of(one: Mapping[str, Any], corners: bool = False) -> tuple[float, float, float, float] | None:
    """The box of an annotation, or that around its outline."""
    if one.get("bbox"):
        return corner_box(one["bbox"]) if corners else size_box(one["bbox"])
    outline = one.get("segmentation")
    if not isinstance(outline, list) or not outline or not all(isinstance(part, list) and len(part) >= 6 for part in outline):
        return None
    across = [number(value) for part in outline for value in part[0::2]]
    down = [number(value) for part in outline for value in part[1::2]]
    if any(value is None for value in (*across, *down)):
        return None
    xs, ys = [value for value in across if value is not None], [value for value in down if value is not None]
    return (min(xs), min(ys), max(xs), max(ys)) if max(xs) > min(xs) and max(ys) > min(ys) else None


READER = Reader("coco", "COCO and COCO-CameraTraps JSON", _recognises, _read)

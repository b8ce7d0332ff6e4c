"""Boxes that the user corrected before an import: of some photographs all animals, in place of those that the source has."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from syntype.collection.sources.base import Entry, Listing, Refused, species_name
from syntype.errors import InputError, shortened

__all__ = ["MOST_ANIMALS", "Animal", "check_animals", "load_box_corrections", "place_of", "save_box_corrections", "with_boxes"]

MOST_ANIMALS = 500
"""Animals of one corrected photograph."""
_OF_PHOTOGRAPH = ("licence", "rights_holder", "source_url", "terms", "origin")
"""Values that an animal has from the photograph on which it was found."""
_NOTE = "boxes of this photograph were corrected before the import"
_BACK = "Take the corrections of its boxes back, and correct them again."


class Animal(BaseModel):
    """One animal of a photograph.

    Attributes:
        number: which of the photograph's animals in the source it is, counted from 0; None: one that the source does not have.
        species: its name, as the source spells it; None: that of the source.
        box: left, top, right, bottom in pixels of the upright photograph; None: the whole photograph, which then is the only animal of it.
    """

    model_config = ConfigDict(extra="forbid")

    number: int | None = Field(None, ge=0)
    species: str | None = Field(None, min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]+$")
    box: tuple[float, float, float, float] | None = None


_FILE = TypeAdapter(dict[str, list[Animal]])


def load_box_corrections(path: Path) -> dict[str, list[Animal]]:
    """What ``save_box_corrections`` has written: for each photograph, by its path from the source, all its animals.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        return _FILE.validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError("does not exist", "Give a file with corrected boxes.", file=path) from None
    except ValidationError as error:
        reason = shortened(error.errors()[0]["msg"], 100)
        raise InputError(
            f"is no file of corrected boxes ({reason})", 'It is like {"a/1.jpg": [{"number": 0, "box": [10, 20, 90, 80]}]}.', file=path
        ) from None


def save_box_corrections(path: Path, photographs: Mapping[str, Sequence[Animal]]) -> None:
    """Write corrected boxes for ``SourceConfig.box_corrections``."""
    content = {name: [animal.model_dump(mode="json") for animal in animals] for name, animals in photographs.items()}
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def check_animals(animals: Sequence[Animal], known: int, size: tuple[int, int]) -> None:
    """Check the corrected animals of a photograph.

    Args:
        known: number of its animals in the source.
        size: width and height of the upright photograph, in pixels.

    Raises:
        InputError: a box is none, or not inside the photograph; an animal is none of the source, or is there twice; there is no animal at all, or
            one that is the whole photograph among others.
    """
    if not animals:
        raise InputError("the photograph would have no animal left", "Keep one, whole or with a box; to leave out its species, untick that.")
    if len(animals) > MOST_ANIMALS:
        raise InputError(f"the photograph would have more than {MOST_ANIMALS} animals", "Remove some of the boxes.")
    if len(animals) > 1 and any(animal.box is None for animal in animals):
        raise InputError("one animal is the whole photograph, and there are others", "Give each a box.")
    numbers = [animal.number for animal in animals if animal.number is not None]
    if len(set(numbers)) < len(numbers) or any(number >= known for number in numbers):
        raise InputError(f"the photograph has {known} animals in the source, and others were corrected", _BACK)
    for animal in animals:
        if animal.number is None and animal.species is None:
            raise InputError("a new animal needs a species", "Say what it shows.")
        if animal.box is not None:
            _check_box(animal.box, size)


def _check_box(box: tuple[float, float, float, float], size: tuple[int, int]) -> None:
    left, top, right, bottom = box
    width, height = size
    if not all(map(math.isfinite, box)) or left < 0 or top < 0 or right > width or bottom > height:
        raise InputError(f"a box lies outside the photograph of {width} x {height} pixels", "Draw it inside.")
    if right - left < 1 or bottom - top < 1:
        raise InputError("a box is smaller than one pixel", "Draw it larger, or remove it.")


def place_of(image: Path, source: Path) -> str:
    """The path of a photograph from its source on, by which its corrections are known."""
    return Path(os.path.relpath(image, source if source.is_dir() else source.parent)).as_posix()


def with_boxes(listing: Listing, source: Path, corrected: Mapping[str, Sequence[Animal]]) -> Listing:
    """The listing where some photographs have other animals. Animals that were removed are refused, so that all of the source are counted.

    Raises:
        InputError: corrections are of a photograph or an animal that the source does not have.
    """
    there: dict[str, list[int]] = {}
    for position, item in enumerate(listing.items):
        if isinstance(item, Entry) and isinstance(item.image, Path):
            there.setdefault(place_of(item.image, source), []).append(position)
    for name in corrected:
        if name not in there:
            raise InputError("has corrected boxes, and the source has no such photograph", _BACK, file=name)
    items: list[list[Entry | Refused]] = [[item] for item in listing.items]
    for name, animals in corrected.items():
        positions = there[name]
        entries = [listing.items[position] for position in positions]
        if any(animal.number is not None and animal.number >= len(entries) for animal in animals):
            raise InputError("has corrected boxes of more animals than the source has", _BACK, file=name)
        for position, changed in zip(positions, _changed(entries, animals), strict=True):  # type: ignore[arg-type]
            items[position] = changed
    note = f"{len(corrected):,} {'photograph has' if len(corrected) == 1 else 'photographs have'} corrected boxes"
    return replace(listing, items=[item for some in items for item in some], notes=[note, *listing.notes])


def _changed(entries: Sequence[Entry], animals: Sequence[Animal]) -> list[list[Entry | Refused]]:
    """What becomes of each animal of a photograph; those that are new follow the last one."""
    kept = {animal.number: animal for animal in animals if animal.number is not None}
    group = entries[0].group or (entries[0].original_name or str(entries[0].image) if len(animals) > 1 else None)
    changed: list[list[Entry | Refused]] = []
    for number, entry in enumerate(entries):
        if number in kept:
            changed.append([_boxed(entry, kept[number], entry.group or group, entry.values)])
        else:
            name = entry.original_name or str(entry.image)
            changed.append([Refused(name, entry.row, "its box was removed before the import", "Import the photograph again to have it.")])
    own = {key: value for key, value in entries[0].values.items() if key in _OF_PHOTOGRAPH}
    changed[-1] += [_boxed(replace(entries[0], note=None), animal, group, own) for animal in animals if animal.number is None]
    return changed


def _boxed(entry: Entry, animal: Animal, group: str | None, values: Mapping[str, Any]) -> Entry:
    if "box" in values or "sha256" in values:  # of a collection, whose table has the box as it will stay
        values = {**values, "box": None if animal.box is None else json.dumps(list(animal.box))}
    note = "; ".join(text for text in (entry.note, _NOTE) if text)
    species = entry.species if animal.species is None else species_name(animal.species)
    return replace(entry, species=species, box=animal.box, box_shares=False, box_frame=None, group=group, note=note, values=values)

"""Boxes of an upload that were corrected in its preview: kept beside the photographs, and read by the import.

Boxes are corrected as they were read: where an upload is read in another way, its photographs may have other animals, and other corrections.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from syntype.apps.web.import_options import ImportOptions
from syntype.collection.boxes import fit_box
from syntype.collection.decoding import FORMATS, orientation_of, read_bytes, read_image
from syntype.collection.foreign import foreign_kind
from syntype.collection.sources.base import Entry
from syntype.collection.sources.box_corrections import Animal, load_box_corrections, save_box_corrections
from syntype.files import atomic_write

__all__ = ["box_options", "corrected_boxes", "corrections_of", "keep_boxes", "measure", "source_animals"]

_NOT_READ = {"rename", "leave_out", "default_licence", "default_rights_holder"}
"""Options that change nothing of how boxes are read."""


def corrections_of(folder: Path, read: ImportOptions) -> Path:
    """The file with the corrected boxes of an upload, where it is read in a certain way; it may not exist."""
    way = read.model_dump_json(include=set(ImportOptions.model_fields) - _NOT_READ)
    return folder / f".boxes-{hashlib.sha256(way.encode()).hexdigest()[:16]}.json"


def box_options(folder: Path, read: ImportOptions) -> list[str]:
    """The option of ``syntype collect`` that reads the corrected boxes of an upload, if there are any."""
    path = corrections_of(folder, read)
    return [f"--set=box_corrections={path}"] if path.is_file() else []


def corrected_boxes(path: Path) -> dict[str, list[Animal]]:
    """For each photograph whose boxes were corrected, by its path in the upload, all its animals."""
    return load_box_corrections(path) if path.is_file() else {}


def keep_boxes(path: Path, photograph: str, animals: Sequence[Animal] | None) -> None:
    """Keep the corrected animals of a photograph; None: it has those of the source again. Call it with the upload's lock held."""
    kept: dict[str, Sequence[Animal]] = {**corrected_boxes(path)}
    kept.pop(photograph, None)
    if animals is not None:
        kept[photograph] = animals
    if not kept:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as temporary:
        save_box_corrections(temporary, kept)


def measure(file: Path) -> tuple[int, int, int]:
    """Width and height of an upright photograph in pixels, and the EXIF orientation of its file.

    Raises:
        InputError: it is missing or damaged.
    """
    data = read_bytes(file)
    orientation = orientation_of(data)
    if foreign_kind(data) is None:
        with suppress(Exception), Image.open(io.BytesIO(data), formats=FORMATS) as image:  # what is wrong with it the decoder says, below
            width, height = image.size
            return (height, width, orientation) if orientation >= 5 else (width, height, orientation)
    height, width = read_image(data).pixels.shape[:2]
    return width, height, orientation


def source_animals(animals: Sequence[Mapping[str, Any]], size: tuple[int, int, int]) -> list[Animal]:
    """The animals of a photograph as its source has them.

    Args:
        animals: as ``Preview.boxes`` tells them.
        size: what ``measure`` gives.
    """
    found = []
    for number, animal in enumerate(animals):
        entry = Entry(Path(), None, box=animal["box"], box_shares=animal["shares"], box_frame=animal["frame"] and tuple(animal["frame"]))
        box, _ = fit_box(entry, *size)
        found.append(Animal(number=number, species=animal["species"], box=None if box is None else json.loads(box)))
    return found

"""Which reader a source needs: each reader looks at the content, the more particular ones first."""

from __future__ import annotations

from pathlib import Path

from syntype.collection.sources.base import Listing, Reader, SourceConfig
from syntype.collection.sources.camtrap_dp import READER as CAMTRAP_DP
from syntype.collection.sources.coco import READER as COCO
from syntype.collection.sources.cvat import READER as CVAT
from syntype.collection.sources.darwin_core import READER as DARWIN_CORE
from syntype.collection.sources.folders import READER as FOLDERS
from syntype.collection.sources.hugging_face import READER as HUGGING_FACE
from syntype.collection.sources.hugging_face_hub import is_hub_name, read_hub
from syntype.collection.sources.inaturalist import READER as INATURALIST
from syntype.collection.sources.json_files import READER as OTHER_JSON
from syntype.collection.sources.json_files import forget
from syntype.collection.sources.label_studio import READER as LABEL_STUDIO
from syntype.collection.sources.labelme import READER as LABELME
from syntype.collection.sources.megadetector import READER as MEGADETECTOR
from syntype.collection.sources.megadetector import overlay
from syntype.collection.sources.naming import name_species
from syntype.collection.sources.own import READER as OWN
from syntype.collection.sources.tables import READER as TABLES
from syntype.collection.sources.viame import READER as VIAME
from syntype.collection.sources.voc import READER as VOC
from syntype.collection.sources.yolo import READER as YOLO
from syntype.errors import InputError, UnknownNameError

__all__ = ["READERS", "read_source", "recognise"]

READERS: tuple[Reader, ...] = (
    OWN, CAMTRAP_DP, COCO, MEGADETECTOR, LABEL_STUDIO, LABELME, OTHER_JSON, DARWIN_CORE, INATURALIST, CVAT, VOC, YOLO, VIAME, HUGGING_FACE,
    TABLES, FOLDERS,
)  # fmt: skip
"""All readers. The first that recognises a source reads it, so the more particular ones stand before the general ones."""

_NOTES = frozenset({".txt", ".md", ".pdf", ".html", ".log", ".py", ".ini"})
_DEEPEST = 5
"""Folders around a source."""


def recognise(source: Path, config: SourceConfig) -> Reader:
    """The reader of a source: the one that ``config.format`` names, or else the first that recognises the content.

    Raises:
        UnknownNameError: there is no reader of that name.
        InputError: the source is missing, or no reader recognises it.
    """
    if config.format is not None:
        for reader in READERS:
            if reader.name == config.format:
                return reader
        raise UnknownNameError("format", config.format, [reader.name for reader in READERS])
    if not source.exists():
        raise InputError("does not exist", "Give a folder with one sub-folder a species, a table, or a file of another format.", file=source)
    for reader in READERS:
        if reader.recognises(source, config):
            return reader
    raise InputError("is not a source that Syntype knows", "See the formats with: syntype formats", file=source)


def _find(source: Path, config: SourceConfig) -> tuple[Path, Reader]:
    """The reader of a source, and where it begins: what lies in a folder that wraps all of it is read as if it were given itself."""
    reader = recognise(source, config)
    inner = source
    for _ in range(_DEEPEST):
        if reader is not FOLDERS or config.format is not None or (only := _only_folder(inner)) is None:
            break
        inner = only
        found = recognise(inner, config)
        if found is not FOLDERS:
            return inner, found
    return source, reader


def _only_folder(folder: Path) -> Path | None:
    """The only folder in a folder in which nothing else lies but notes; None if there is no such."""
    try:
        entries = [path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX"]
        folders = [path for path in entries if path.is_dir()]
    except OSError:
        return None
    if len(folders) != 1:
        return None
    others = {path.suffix.lower() for path in entries if path != folders[0]}
    return folders[0] if others <= _NOTES else None


def read_source(source: Path, config: SourceConfig) -> Listing:
    """List the images of a source, under names that are each written in one way (see ``name_species``).

    Raises:
        InputError: the source or the checklist is missing, damaged, of no known format, lacks a column, or has nothing to import.
        UnknownNameError: ``config.format`` is unknown.
    """
    try:
        if is_hub_name(source):
            listing = read_hub(source, config)
        else:
            source, reader = _find(source, config)
            listing = reader.read(source, config)
    finally:
        forget()
    if not listing.items:
        raise InputError("holds nothing to import", "Give a folder with one sub-folder a species, or a table with a row for each image.", file=source)
    if config.boxes is not None:
        beside = (source if source.is_dir() else source.parent) / config.boxes
        boxes = beside if beside.is_file() and not Path(config.boxes).is_file() else Path(config.boxes)
        listing = overlay(listing, boxes, config.min_confidence)
    return name_species(listing, source, config)

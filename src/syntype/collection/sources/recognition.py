"""Which reader a source needs: each reader looks at the content, the more particular ones first."""

from __future__ import annotations

from pathlib import Path

from syntype.collection.sources.base import Listing, Reader, SourceConfig
from syntype.collection.sources.coco import READER as COCO
from syntype.collection.sources.cvat import READER as CVAT
from syntype.collection.sources.folders import READER as FOLDERS
from syntype.collection.sources.hugging_face import READER as HUGGING_FACE
from syntype.collection.sources.hugging_face import is_hub_name, read_hub
from syntype.collection.sources.json_files import READER as OTHER_JSON
from syntype.collection.sources.json_files import forget
from syntype.collection.sources.label_studio import READER as LABEL_STUDIO
from syntype.collection.sources.labelme import READER as LABELME
from syntype.collection.sources.megadetector import READER as MEGADETECTOR
from syntype.collection.sources.megadetector import overlay
from syntype.collection.sources.naming import name_species
from syntype.collection.sources.tables import READER as TABLES
from syntype.collection.sources.viame import READER as VIAME
from syntype.collection.sources.voc import READER as VOC
from syntype.collection.sources.yolo import READER as YOLO
from syntype.errors import InputError, UnknownNameError

__all__ = ["READERS", "read_source", "recognise"]

READERS: tuple[Reader, ...] = (COCO, MEGADETECTOR, LABEL_STUDIO, LABELME, OTHER_JSON, CVAT, VOC, YOLO, VIAME, HUGGING_FACE, TABLES, FOLDERS)
"""All readers. The first that recognises a source reads it, so the more particular ones stand before the general ones."""


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


def read_source(source: Path, config: SourceConfig) -> Listing:
    """List the images of a source, under names that are each written in one way (see ``name_species``).

    Raises:
        InputError: the source or the checklist is missing, damaged, of no known format, lacks a column, or has nothing to import.
        UnknownNameError: ``config.format`` is unknown.
    """
    try:
        listing = read_hub(source, config) if is_hub_name(source) else recognise(source, config).read(source, config)
    finally:
        forget()
    if not listing.items:
        raise InputError("holds nothing to import", "Give a folder with one sub-folder a species, or a table with a row for each image.", file=source)
    if config.boxes is not None:
        beside = (source if source.is_dir() else source.parent) / config.boxes
        boxes = beside if beside.is_file() and not Path(config.boxes).is_file() else Path(config.boxes)
        listing = overlay(listing, boxes, config.min_confidence)
    return name_species(listing, source, config)

"""Which reader a source needs: each reader looks at the content, the more particular ones first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from syntype.collection.sources.base import ARCHIVES, Entry, Listing, Reader, SourceConfig, species_name
from syntype.collection.sources.box_corrections import load_box_corrections, with_boxes
from syntype.collection.sources.camtrap_dp import READER as CAMTRAP_DP
from syntype.collection.sources.coco import READER as COCO
from syntype.collection.sources.corrections import corrected
from syntype.collection.sources.cvat import READER as CVAT
from syntype.collection.sources.darwin_core import READER as DARWIN_CORE
from syntype.collection.sources.folders import READER as FOLDERS
from syntype.collection.sources.folders import is_system_file, is_system_folder
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
from syntype.errors import InputError, UnknownNameError, shortened, shown_list

__all__ = ["READERS", "read_source", "recognise"]

READERS: tuple[Reader, ...] = (
    OWN, CAMTRAP_DP, COCO, MEGADETECTOR, LABEL_STUDIO, LABELME, OTHER_JSON, DARWIN_CORE, INATURALIST, CVAT, VOC, YOLO, VIAME, HUGGING_FACE,
    TABLES, FOLDERS,
)  # fmt: skip
"""All readers. The first that recognises a source reads it, so the more particular ones stand before the general ones."""

_WHOLE = (OWN, CAMTRAP_DP, COCO, DARWIN_CORE, CVAT, YOLO)
"""Readers of folders that say by themselves what they are."""
_NOTES = frozenset({".txt", ".md", ".pdf", ".html", ".log", ".py", ".ini"})
_MOST_FOLDERS = 200
"""Folders in a folder that are looked at, whether they are sources of their own."""
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
    if source.is_dir():
        _require_no_archive(source)
    reader = recognise(source, config)
    inner = source
    for _ in range(_DEEPEST):
        if reader is not FOLDERS or config.format is not None or (only := _only_folder(inner)) is None:
            break
        inner = only
        found = recognise(inner, config)
        if found is not FOLDERS:
            return inner, found
    if reader is FOLDERS and config.format is None:
        _require_one_source(inner)
    return source, reader


def _require_no_archive(folder: Path) -> None:
    """Refuse a folder in which nothing lies but archives and notes.

    Raises:
        InputError: it is one.
    """
    files = [path for path in _entries(folder) if path.suffix.lower() not in _NOTES]
    archives = sorted(path for path in files if path.name.lower().endswith(ARCHIVES) and path.is_file())
    if not archives or len(archives) < len(files):
        return
    if len(archives) > 1:
        names = shown_list((path.name for path in archives), 3)
        raise InputError(f"holds {len(archives)} archives and nothing else ({names})", "Give one of them at a time.", file=folder)
    what = "zip" if archives[0].suffix.lower() == ".zip" else "archive"
    raise InputError(
        f"holds {'a' if what == 'zip' else 'an'} {what} and nothing else", f"Give the {what} itself: {shortened(archives[0], 200)}", file=folder
    )


def _require_one_source(folder: Path) -> None:
    """Refuse a folder of sources, whose names would be taken for those of species.

    Raises:
        InputError: it is one.
    """
    folders = sorted(path for path in _entries(folder) if path.is_dir())[:_MOST_FOLDERS]
    found = [(path, reader) for path in folders for reader in _WHOLE if reader.recognises(path, SourceConfig())]
    if found:
        shown = shown_list((f"{path.name}: {reader.name}" for path, reader in found), 3)
        reason = f"holds {len(found)} folders that are sources of their own ({shown})" if len(found) > 1 else f"holds another source ({shown})"
        raise InputError(reason, "Give one of these folders; or add --format folders to take species from the names of folders.", file=folder)


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, without hidden files and what systems put there."""
    try:
        return [path for path in folder.iterdir() if not is_system_folder(path.name) and not is_system_file(path.name)]
    except OSError:
        return []


def _only_folder(folder: Path) -> Path | None:
    """The only folder in a folder in which nothing else lies but notes; None if there is no such."""
    entries = _entries(folder)
    folders = [path for path in entries if path.is_dir()]
    if len(folders) != 1:
        return None
    others = {path.suffix.lower() for path in entries if path != folders[0]}
    return folders[0] if others <= _NOTES else None


def _read(source: Path, reader: Reader, config: SourceConfig) -> Listing:
    """The listing that a reader gives. If that is none, and the user named the reader, what the source looks like is told.

    Raises:
        InputError: the source cannot be read, or has nothing to import.
    """
    try:
        listing = reader.read(source, config)
        if not listing.items:
            told = f" ({'; '.join(listing.notes[:2])[:200]})" if listing.notes else ""
            hint = "Check that it is whole: export, download or copy it again."
            raise InputError(f"holds nothing to import{told}", hint, file=source)
        return listing
    except InputError as error:
        if config.format is None or reader.recognises(source, config):
            raise
        other = next((one.name for one in READERS if one is not reader and one.recognises(source, config)), None)
        looks = "" if other is None else f" It looks like {other}: leave --format {config.format} out."
        raise InputError(error.reason, f"{error.hint}{looks}", file=error.file, row=error.row) from None


def _of_one_species(listing: Listing, species: str) -> Listing:
    """The same images, all of one species, as the user says; a note tells what the source calls them."""
    name = species_name(species)
    told = sorted({entry.species for entry in listing.entries if entry.species} - {name})
    items = [replace(item, species=name) if isinstance(item, Entry) else item for item in listing.items]
    notes = [f"all images are taken as {name}, as was said; the source says {shown_list(told, 4)}"] if told else []
    return replace(listing, items=items, species=None, notes=[*notes, *listing.notes])


def _require_images_folder(source: Path, config: SourceConfig) -> None:
    """The folder that ``--images`` names must be there.

    Raises:
        InputError: it is not.
    """
    if config.images is None:
        return
    folder = source if source.is_dir() else source.parent
    if not any(path.is_dir() for path in (folder / config.images, Path(config.images))):
        hint = "Give the folder with the images with --images, as a path from here or from the source."
        raise InputError("is no folder that is there" if Path(config.images).exists() else "does not exist", hint, file=config.images)


def read_source(source: Path, config: SourceConfig) -> Listing:
    """List the images of a source, under names that are each written in one way (see ``name_species``).

    Raises:
        InputError: the source or the checklist is missing, damaged, of no known format, lacks a column, or has nothing to import.
        UnknownNameError: ``config.format`` is unknown, or a species to rename or to leave out.
    """
    given = source
    try:
        if is_hub_name(source):
            listing = read_hub(source, config)
        else:
            source, reader = _find(source, config)
            _require_images_folder(source, config)
            listing = _read(source, reader, config)
        if config.species is not None:
            listing = _of_one_species(listing, config.species)
    finally:
        forget()
    if config.boxes is not None:
        beside = (source if source.is_dir() else source.parent) / config.boxes
        boxes = beside if beside.is_file() and not Path(config.boxes).is_file() else Path(config.boxes)
        listing = overlay(listing, boxes, config.min_confidence)
    if config.box_corrections is not None:
        listing = with_boxes(listing, given, load_box_corrections(Path(config.box_corrections)))
    return corrected(name_species(listing, source, config), config)

"""Folders of photographs: one sub-folder for each species."""

from __future__ import annotations

import os
from pathlib import Path

from syntype.collection.sources.base import SIDECARS, Entry, Listing, Reader, Refused, SourceConfig, species_name
from syntype.errors import InputError

__all__ = ["READER"]


def _recognises(source: Path, _: SourceConfig) -> bool:
    return source.is_dir()


def _read(source: Path, config: SourceConfig) -> Listing:
    """List the files of a folder with one sub-folder per species (which may contain further sub-folders), or of a folder of one species."""
    asked = [name for name in (config.file_column, config.species_column, config.group_column, config.licence_column, config.box_column) if name]
    if asked:
        raise InputError(f"is a folder: it has no column {asked[0]!r}", "Give the CSV file itself, or leave the column options out.", file=source)
    files = _walk(source)
    if not files:
        raise InputError("holds no files to import", "Give a folder with one sub-folder a species, or a CSV file.", file=source)
    single = all(path.parent == source for path in files)
    items: list[Entry | Refused] = []
    for path in files:
        folder = source.resolve().name if single else path.relative_to(source).parts[0]
        species = species_name(folder.replace("_", " "))
        if not single and path.parent == source:
            items.append(Refused(str(path), None, "lies beside the species' folders", "Move it into the folder of its species."))
        elif not species:
            items.append(Refused(str(path), None, "has no species", "Name its folder after the species."))
        else:
            items.append(Entry(path, species, original_name=path.relative_to(source).as_posix()))
    return Listing("folder with a sub-folder for each species", items, origins=[str(source)])


def _walk(source: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(source):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [here / name for name in sorted(names) if not name.startswith(".") and Path(name).suffix.lower() not in SIDECARS]
    return found


READER = Reader("folders", "folders named after species", _recognises, _read)

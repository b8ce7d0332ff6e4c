"""Camtrap DP: data packages of camera traps, with tables of deployments, media and observations; a row an observed animal in one image.

Format: https://camtrap-dp.tdwg.org (version 1.0). Observations are of one file (``observationLevel`` media), with or without a box in shares of the
width and height, or of an event: then the animal is in the images that one deployment took between start and end of the event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syntype.collection.sources.addresses import find_addressed, find_named, is_address
from syntype.collection.sources.annotations import as_text, group_photographs, names_no_species, number, refuse_options, size_box
from syntype.collection.sources.base import Entry, Listing, Reader, Refused, SourceConfig, species_name
from syntype.collection.sources.camtrap_events import match_events
from syntype.collection.sources.camtrap_package import Package, TableRow, load_package, package_file
from syntype.collection.sources.darwin_core_names import is_above_species
from syntype.collection.sources.finding import FileFinder, Found, Unclear
from syntype.collection.sources.image_files import images_folder
from syntype.errors import InputError, plural

__all__ = ["READER"]

_FURTHER = ("count", "lifeStage", "sex", "behavior", "individualID", "classificationMethod", "classifiedBy", "classificationProbability",
            "observationTags", "observationComments", "observationID")  # fmt: skip
_OF_MEDIA = {"timestamp": "observed_on", "captureMethod": "captureMethod", "mediaID": "mediaID", "fileName": "fileName"}
_OF_DEPLOYMENT = {"latitude": "latitude", "longitude": "longitude", "locationName": "locationName", "locationID": "locationID",
                  "deploymentID": "deploymentID", "habitat": "habitat", "cameraModel": "cameraModel"}  # fmt: skip
_BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")


def _recognises(source: Path, _: SourceConfig) -> bool:
    return package_file(source) is not None


@dataclass
class _Counts:
    """What is told, and not listed row by row."""

    left_out: Counter[str] = field(default_factory=Counter)
    films: int = 0
    same: int = 0
    covered: int = 0


def _read(source: Path, config: SourceConfig) -> Listing:
    """List the observed animals of a package.

    Raises:
        InputError: the package is damaged, or lacks a table or a column.
    """
    path = package_file(source)
    if path is None:
        raise InputError("holds no Camtrap DP", "Give the folder with datapackage.json, or that file.", file=source)
    refuse_options(config, path, "Camtrap DP")
    package = load_package(path)
    files = _find_files(package, config)
    counts = _Counts()
    items: list[Entry | Refused] = list(package.refused)
    animals = [row for row in package.observations if _is_animal(row, counts)]
    seen: dict[tuple[str, ...], int] = {}
    classified = {key for row in package.observations if (key := row.values.get("mediaID"))}
    for row in animals:
        if _is_of_event(row):
            continue
        media_id = row.values.get("mediaID", "")
        media = package.media.get(media_id)
        if media is None:
            items.append(_refused(row, "is of a file that is not in the table", f"media.csv has no row {media_id[:60]!r}: add it."))
            continue
        _add(items, package, row, media, files, seen, counts)
    of_events = [row for row in package.observations if _is_of_event(row)]
    matched = match_events(package, [row for row in animals if _is_of_event(row)], of_events, classified)
    items += matched.refused
    for row, images in matched.images:
        for image in images:
            _add(items, package, row, image, files, seen, counts)
    counts.covered = matched.num_covered
    items.sort(key=lambda item: item.row or 0)
    items, _ = group_photographs(items)
    notes = [*package.notes, *_notes(package, items, counts), *matched.notes]
    return Listing("Camtrap DP: a row an observed animal", items, notes=notes, origins=[str(source), *package.origins])


def _is_of_event(row: TableRow) -> bool:
    level = row.values.get("observationLevel", "").lower()
    return level == "event" if level else "mediaID" not in row.values


def _is_animal(row: TableRow, counts: _Counts) -> bool:
    """Whether an observation is of an animal with a name; the others are counted."""
    kind = row.values.get("observationType", "").lower()
    name = species_name(row.values.get("scientificName", ""))
    if kind and kind != "animal":
        counts.left_out[kind] += 1
    elif not name:
        counts.left_out["animal without a name"] += 1
    elif names_no_species(name):
        counts.left_out[name] += 1
    else:
        return True
    return False


def _refused(row: TableRow, reason: str, hint: str, name: str = "") -> Refused:
    return Refused(f"{row.table}: {name}".rstrip(": "), row.number, reason, hint)


def _find_files(package: Package, config: SourceConfig) -> dict[str, Found | Unclear]:
    """The file of every row of the media table, by mediaID."""
    finder = FileFinder(images_folder(package.folder, config))
    paths = {key: row.values.get("filePath", "") for key, row in package.media.items()}
    addresses = {path: package.media[key].values.get("fileName", "") for key, path in paths.items() if is_address(path)}
    found = find_addressed(finder, addresses, {address: name for address, name in addresses.items() if name})
    return {key: found[path] if path in found else find_named(finder, path) for key, path in paths.items() if path}


def _add(
    items: list[Entry | Refused], package: Package, row: TableRow, media: TableRow, files: Mapping[str, Found | Unclear],
    seen: dict[tuple[str, ...], int], counts: _Counts,
) -> None:  # fmt: skip
    """Add the entry of an observation in one image, or why there is none."""
    values = media.values
    name = values.get("filePath", "")
    kind = values.get("fileMediatype", "image/").lower()
    if "/" in kind and not kind.startswith("image/"):
        counts.films += 1
        return
    file = files.get(values["mediaID"])
    if file is None:
        items.append(_refused(row, "is of a file without a path", f"Fill in filePath of {values['mediaID'][:60]!r} in media.csv."))
        return
    if isinstance(file, Unclear):
        items.append(_refused(row, file.reason, file.hint, name))
        return
    if file.how == "missing" and values.get("filePublic", "").lower() == "false":
        items.append(_refused(row, "is of a file that is not public", "Ask its owners for it, and put it beside the tables.", name))
        return
    species = species_name(row.values.get("scientificName", ""))
    box, note = _box_of(row.values)
    key = (values["mediaID"], species, *(row.values.get(part, "") for part in _BOX))
    if key in seen:
        counts.same += 1
        return
    seen[key] = row.number
    taxon = package.taxa.get(species, {})
    rank = taxon.get("taxon_rank", "")
    notes = [note, f"identified to the {rank} only" if rank and is_above_species(rank, species) else None]
    deployment = values.get("deploymentID") or row.values.get("deploymentID") or ""
    items.append(
        Entry(
            file.path, species, row.number, row.table,
            group=package.event_of(row, deployment) or deployment or None,
            box=box,
            box_shares=box is not None,
            note="; ".join(text for text in notes if text) or None,
            values=_values(package, row, media, taxon, deployment),
            original_name=name,
            url=name if is_address(name) and file.how == "missing" else None,
        )
    )  # fmt: skip


def _values(package: Package, row: TableRow, media: TableRow, taxon: Mapping[str, str], deployment: str) -> dict[str, Any]:
    place = package.deployments.get(deployment, {})
    return {
        **{column: place[name] for name, column in _OF_DEPLOYMENT.items() if name in place},
        **{column: media.values[name] for name, column in _OF_MEDIA.items() if name in media.values},
        **{name: row.values[name] for name in _FURTHER if name in row.values},
        **({"taxon_id": row.values["taxonID"]} if "taxonID" in row.values else {}),
        **taxon,
        **({"deploymentID": deployment} if deployment else {}),
        **package.rights,
    }


def _box_of(values: Mapping[str, str]) -> tuple[tuple[float, float, float, float] | None, str | None]:
    """Left, top, right, bottom in shares, and why a box that is given is not used."""
    given = [values.get(name) for name in _BOX]
    if not any(given):
        return None, None
    box = size_box([number(as_text(part)) for part in given])
    if box is None or min(box) < 0 or max(box) > 1.001:
        return None, f"box not used: {', '.join(str(part or '') for part in given)[:60]} is not left, top, width, height in shares of the image"
    left, top, right, bottom = box
    return (left, top, min(right, 1.0), min(bottom, 1.0)), None


def _notes(package: Package, items: Sequence[Entry | Refused], counts: _Counts) -> list[str]:
    entries = [item for item in items if isinstance(item, Entry)]
    notes = []
    if counts.left_out:
        shown = ", ".join(f"{count:,} {kind[:30]}" for kind, count in counts.left_out.most_common(6))
        notes.append(f"{plural(counts.left_out.total(), 'observation')} left out, because they name no species ({shown})")
    if counts.films:
        notes.append(f"{plural(counts.films, 'observation')} left out, because they are of films or sounds")
    if counts.same:
        notes.append(f"{plural(counts.same, 'observation')} of a species that the same image has already, with no other box: one row for both")
    if counts.covered:
        notes.append(f"{plural(counts.covered, 'observation')} of events whose images all have observations of their own: those are used")
    used = {entry.values.get("mediaID") for entry in entries}
    if without := len(package.media.keys() - used):
        notes.append(f"{plural(without, 'file')} of media.csv without an animal that can be used: not imported")
    machine = sum(entry.values.get("classificationMethod") == "machine" for entry in entries)
    if machine:
        notes.append(f"{plural(machine, 'observation')} named by a program and not by a person (classificationMethod): check them")
    above = sum("identified to the" in (entry.note or "") for entry in entries)
    if above:
        notes.append(f"{plural(above, 'observation')} identified above the species: kept under that name; see the column taxon_rank")
    if "licence" not in package.rights:
        notes.append("datapackage.json gives no licence for the media: the images have none")
    return notes


READER = Reader("camtrap-dp", "Camtrap DP: camera-trap data packages with datapackage.json", _recognises, _read)

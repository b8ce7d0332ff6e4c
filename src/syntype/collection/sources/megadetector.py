"""MegaDetector's boxes, laid over the images of another source.

Formats: https://lila.science/megadetector-output-format (boxes as shares of width and height) and
https://microsoft.github.io/MegaDetector/output_format (a list with boxes as corners in pixels). Both are of the upright image.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from syntype.collection.sources.annotations import as_text, corner_box, group_photographs, names_no_species, number, size_box
from syntype.collection.sources.base import Entry, Listing, Reader, Refused, SourceConfig
from syntype.collection.sources.image_files import parts_of
from syntype.collection.sources.json_files import forget, load_json_source, peek_json
from syntype.errors import InputError, plural

__all__ = ["READER", "overlay"]

_ANIMALS = frozenset({"animal", "animals", "wildlife"})
_EPSILON = 1e-9


@dataclass(frozen=True)
class _Detection:
    """One animal that MegaDetector found.

    Attributes:
        box: left, top, right, bottom, as shares or in pixels.
        shares: whether ``box`` is in shares.
    """

    box: tuple[float, float, float, float]
    confidence: float
    shares: bool


@dataclass(frozen=True)
class _Image:
    """What MegaDetector says of one image."""

    parts: tuple[str, ...]
    state: Literal["seen", "failed", "video"]
    animals: tuple[_Detection, ...] = ()


def _recognises(source: Path, _: SourceConfig) -> bool:
    content = peek_json(source)
    return _is_records(content) or _is_list(content)


def _is_records(content: Any) -> bool:
    """The format of the MegaDetector package."""
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or "annotations" in content:
        return False
    if "detection_categories" in content:
        return True
    return bool(images) and isinstance(images[0], dict) and "file" in images[0] and ("detections" in images[0] or "failure" in images[0])


def _is_list(content: Any) -> bool:
    """The format of Microsoft's package."""
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and "file" in first and "detections" in first


def _read(source: Path, _: SourceConfig) -> Listing:
    forget()
    raise InputError(
        "is a MegaDetector file: it has boxes, but says no species", f"Give the photographs as the source, and --boxes {source.name}.", file=source
    )


def overlay(listing: Listing, path: Path, min_confidence: float) -> Listing:
    """Lay the boxes of a MegaDetector file over the images of a listing.

    An image with several animals and one label becomes a row a box, in one group. Boxes that the source has are kept. Images on which no animal was
    found keep their row without a box, except where the label is that of a whole sequence: such an image is probably empty, and is refused.

    Args:
        listing: of the source.
        path: the MegaDetector file.
        min_confidence: smallest confidence of a box that is used, 0..1.

    Raises:
        InputError: the file is damaged, is none of MegaDetector, or names none of the images.
    """
    try:
        content = load_json_source(path)
        if not (_is_records(content) or _is_list(content)):
            raise InputError("is not a MegaDetector file", "Give the JSON file that MegaDetector wrote with --boxes.", file=path)
        detected, notes = _images_in(content, min_confidence, path)
    finally:
        forget()
    rows: dict[Any, list[Entry]] = defaultdict(list)
    for entry in listing.entries:
        rows[entry.image].append(entry)
    matched, num_unclear = _match({image: entries[0] for image, entries in rows.items()}, detected)
    if not matched:
        theirs = "/".join(detected[0].parts)[-80:] if detected else "no image"
        ours = listing.entries[0].original_name if listing.entries else "no image"
        raise InputError(
            f"names none of the images of the source (it has {theirs!r}, the source {(ours or '')[-80:]!r})",
            "Run MegaDetector on the folder of the source, so that the names agree.",
            file=path,
        )
    counts: Counter[str] = Counter()
    laid = {image: _lay(entries, matched.get(image), counts) for image, entries in rows.items()}
    items: list[Entry | Refused] = []
    for item in listing.items:
        items += [item] if isinstance(item, Refused) else laid.pop(item.image, [])
    items, _ = group_photographs(items)
    notes += _notes(counts, num_unclear, min_confidence)
    return replace(listing, items=items, notes=[*listing.notes, *notes], origins=[*listing.origins, str(path)])


def _images_in(content: Any, min_confidence: float, path: Path) -> tuple[list[_Image], list[str]]:
    records = content["images"] if isinstance(content, dict) else content
    categories = content.get("detection_categories") if isinstance(content, dict) else None
    animals, notes = _animal_categories(categories)
    images, bad = [], 0
    for record in records:
        name = as_text(record.get("file")) if isinstance(record, dict) else None
        if name is None:
            bad += 1
            continue
        found = record.get("detections")
        if record.get("failure") or found is None:
            images.append(_Image(parts_of(name), "failed"))
        elif "frame_rate" in record or "frames_processed" in record:
            images.append(_Image(parts_of(name), "video"))
        else:
            shares = isinstance(content, dict)
            seen = [_detection(one, animals, shares) for one in found] if isinstance(found, list) else []
            sure = [one for one in seen if one is not None and one.confidence + _EPSILON >= min_confidence]
            images.append(_Image(parts_of(name), "seen", tuple(sure)))
    if bad:
        notes.append(f"{path.name}: {plural(bad, 'record')} without a file name: not used")
    return images, notes


def _animal_categories(categories: Any) -> tuple[frozenset[str], list[str]]:
    """Ids and names of categories that stand for animals. Other detectors of the same format have classes of their own instead of "animal"."""
    named = {str(key): as_text(name) or "" for key, name in categories.items()} if isinstance(categories, dict) else {"1": "animal"}
    ids = {key for key, name in named.items() if name.casefold() in _ANIMALS}
    notes = []
    if not ids:
        ids = {key for key, name in named.items() if name and not names_no_species(name)}
        shown = ", ".join(sorted(named[key] for key in ids)[:5])
        notes.append(f"the boxes' file has no category 'animal'; boxes of these are used: {shown[:120] or 'none'}")
    return frozenset(ids | {named[key] for key in ids} | _ANIMALS), notes


def _detection(one: Any, animals: frozenset[str], shares: bool) -> _Detection | None:
    """One detection; None if it is of no animal, or has no box with an area."""
    if not isinstance(one, dict) or as_text(one.get("category")) not in animals:
        return None
    confidence = number(one.get("conf", one.get("confidence")))
    values = one.get("bbox")
    if confidence is None or not isinstance(values, Sequence) or isinstance(values, str) or len(values) != 4:
        return None
    box = size_box(values) if shares else corner_box(values)
    return None if box is None else _Detection(box, confidence, shares)


def _match(sources: Mapping[Any, Entry], detected: Sequence[_Image]) -> tuple[dict[Any, _Image], int]:
    """The record of each image; and the number of images for which more than one would fit.

    Names agree if one is the end of the other: MegaDetector's are mostly relative to the folder it was run on. Two cameras may both have a file
    "IMG_0001.jpg", so a record is used only if it fits one image, and an image only if one record fits best.
    """
    by_name: dict[str, list[_Image]] = defaultdict(list)
    for record in detected:
        if record.parts:
            by_name[record.parts[-1]].append(record)
    claims: dict[tuple[str, ...], list[Any]] = defaultdict(list)
    chosen: dict[Any, _Image] = {}
    unclear = 0
    for image, entry in sources.items():
        full = parts_of(str(image.absolute() if isinstance(image, Path) else image))
        short = parts_of(entry.original_name or str(image))
        best, several = _best(by_name.get(full[-1] if full else "", ()), full, short)
        if best is not None:
            chosen[image] = best
            claims[best.parts].append(image)
        unclear += several
    for claimants in claims.values():
        if len(claimants) > 1:
            unclear += len(claimants)
            for image in claimants:
                del chosen[image]
    return chosen, unclear


def _best(records: Sequence[_Image], full: tuple[str, ...], short: tuple[str, ...]) -> tuple[_Image | None, bool]:
    inside = sorted((record for record in records if full[-len(record.parts) :] == record.parts), key=lambda record: -len(record.parts))
    if inside:
        alike = [record for record in inside if len(record.parts) == len(inside[0].parts)]
        return (alike[0], False) if len(alike) == 1 else (None, True)
    around = [record for record in records if record.parts[-len(short) :] == short]
    return (around[0], False) if len(around) == 1 else (None, len(around) > 1)


def _lay(entries: Sequence[Entry], image: _Image | None, counts: Counter[str]) -> list[Entry | Refused]:
    """The rows of one photograph with the boxes that were found on it."""
    bare = [entry for entry in entries if entry.box is None]
    if not bare:
        counts["own"] += 1
        return list(entries)
    if image is None or image.state != "seen":
        counts["absent" if image is None else image.state] += 1
        return list(entries)
    animals = image.animals
    if not animals:
        whole = [entry for entry in bare if entry.values.get("sequence_level_annotation") == "true"]
        counts["sequence" if whole else "none"] += 1
        refused = {id(entry) for entry in whole}
        return [_empty(entry) if id(entry) in refused else entry for entry in entries]
    if len(entries) == 1:
        counts["laid"] += 1
        counts["several"] += len(animals) > 1
        counts["boxes"] += len(animals)
        return [_boxed(entries[0], animal) for animal in animals]
    if len(bare) == len(entries) == len(animals) and len({entry.species for entry in entries}) == 1:
        counts["laid"] += 1
        counts["boxes"] += len(animals)
        return [_boxed(entry, animal) for entry, animal in zip(entries, animals, strict=True)]
    counts["mixed"] += 1
    note = "box not used: the photograph has several labels, and nothing says which animal is which"
    return [replace(entry, note="; ".join(text for text in (entry.note, note) if text)) if entry.box is None else entry for entry in entries]


def _empty(entry: Entry) -> Refused:
    hint = "The label is that of the whole sequence; remove the row, or lower the threshold (--min-confidence 0.1)."
    return Refused(entry.original_name or str(entry.image), entry.row, "shows no animal that MegaDetector found", hint)


def _boxed(entry: Entry, animal: _Detection) -> Entry:
    values = {**entry.values, "box_confidence": f"{animal.confidence:g}"}
    return replace(entry, box=animal.box, box_shares=animal.shares, box_frame=None, values=values)


def _notes(counts: Counter[str], num_unclear: int, min_confidence: float) -> list[str]:
    boxes = f"{counts['boxes']:,} box{'es' if counts['boxes'] != 1 else ''}"
    notes = [f"MegaDetector: {boxes} of at least {min_confidence:g} confidence on {plural(counts['laid'], 'image')}"]
    if counts["several"]:
        notes.append(f"{plural(counts['several'], 'image')} with several animals and one label: a row a box, all with that label, in one group")
    if counts["own"]:
        notes.append(f"{plural(counts['own'], 'image')} with boxes of the source itself: these are kept")
    if counts["mixed"]:
        notes.append(f"{plural(counts['mixed'], 'image')} with several labels: no box, as nothing says which animal is which")
    if counts["none"]:
        notes.append(f"{plural(counts['none'], 'image')} on which MegaDetector found no animal: kept without a box")
    if counts["sequence"]:
        notes.append(
            f"{plural(counts['sequence'], 'image')} on which MegaDetector found no animal, and whose label is that of a whole sequence: refused"
        )
    if counts["failed"]:
        notes.append(f"{plural(counts['failed'], 'image')} that MegaDetector could not read: kept without a box")
    if counts["absent"]:
        unclear = f" ({num_unclear:,} because several names fit)" if num_unclear else ""
        notes.append(f"{plural(counts['absent'], 'image')} without a record in the MegaDetector file{unclear}: kept without a box")
    return notes


READER = Reader("megadetector", "MegaDetector JSON, for --boxes", _recognises, _read)

"""Copies image files into a collection: each is read once, checked by decoding it, and written byte for byte."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from syntype.collection.decoding import in_threads, orientation_of, read_bytes, read_image
from syntype.collection.duplicates import perceptual_hash, thumbnail
from syntype.collection.marks import Mark, read_mark
from syntype.collection.sources import Entry, Packed, Refused
from syntype.errors import InputError

__all__ = ["CopiedImage", "copy_images", "unique_name"]

_SUFFIX = {"JPEG": ".jpg", "TIFF": ".tif"}
"""Endings of the formats that have another than their name in small letters."""


@dataclass(frozen=True)
class CopiedImage:
    """One image file that was read and copied.

    Attributes:
        file_name: relative to the collection's folder, with forward slashes.
        width, height: pixels, upright.
        phash: perceptual hash, 16 hex digits.
        note: what a user should know of its decoding, or None.
        thumbnail: small picture for the search of near duplicates.
        mark: what the file says of its being synthetic, or None.
        orientation: how the file stores the picture, by EXIF: 1 is upright, 2..8 are turned or mirrored. It is looked up only where a box needs it.
    """

    file_name: str
    width: int
    height: int
    sha256: str
    phash: str
    note: str | None
    thumbnail: np.ndarray
    orientation: int = 1
    mark: Mark | None = None


def copy_images(entries: Sequence[Entry], out: Path) -> Iterator[tuple[Entry, CopiedImage | Refused]]:
    """Read, check and copy the image of every entry, in their order. Entries of one file (several animals in one photograph) share its copy."""
    files: dict[object, list[Entry]] = {}
    for entry in entries:
        files.setdefault(entry.image, []).append(entry)
    shared = {key: sharing for key, sharing in files.items() if len(sharing) > 1}
    firsts = [sharing[0] for sharing in files.values()]
    framed = [any(entry.box_frame is not None for entry in sharing) for sharing in files.values()]
    jobs = zip(firsts, _file_stems(firsts), framed, strict=True)
    done: dict[object, CopiedImage | Refused] = {}
    order = iter(entries)
    for job, image in zip(firsts, in_threads(lambda item: _copy(item, out), jobs), strict=True):
        if job.image in shared:
            done[job.image] = image
        for entry in order:
            if entry.image == job.image:
                yield entry, image
                break
            yield entry, _for_row(done[entry.image], entry)  # a later animal of a photograph that was copied before
    for entry in order:
        yield entry, _for_row(done[entry.image], entry)


def _for_row(image: CopiedImage | Refused, entry: Entry) -> CopiedImage | Refused:
    return Refused(image.file, entry.row, image.reason, image.hint) if isinstance(image, Refused) else image


def _copy(job: tuple[Entry, str, bool], out: Path) -> CopiedImage | Refused:
    """Read, check and copy one file. Called from several threads."""
    entry, stem, framed = job
    try:
        data = entry.image.read() if isinstance(entry.image, Packed) else read_bytes(entry.image)
        decoded = read_image(data)
    except InputError as error:
        return Refused(str(entry.image), entry.row, error.reason, error.hint)
    file_name = f"{stem}{_SUFFIX.get(decoded.format, f'.{decoded.format.lower()}')}"
    target = out / file_name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    height, width = decoded.pixels.shape[:2]
    return CopiedImage(
        file_name,
        width,
        height,
        sha256=hashlib.sha256(data).hexdigest(),
        phash=perceptual_hash(decoded.pixels),
        note=decoded.note,
        thumbnail=thumbnail(decoded.pixels),
        orientation=orientation_of(data) if framed else 1,
        mark=read_mark(data),
    )


def _file_stems(entries: Sequence[Entry]) -> list[str]:
    """A file name without its ending for every entry: ``images/<species>/<name>``. Unique also if case is ignored."""
    folders: dict[str, str] = {}
    taken: Counter[str] = Counter()
    stems = []
    for entry in entries:
        species = entry.species or "no species"
        if species not in folders:
            folders[species] = unique_name(_slug(species) or "species", taken)
        stems.append(unique_name(f"images/{folders[species]}/{_slug(entry.image.stem) or 'image'}", taken))
    return stems


def _slug(text: str) -> str:
    """Reduce a text to ASCII letters, digits, hyphens and underscores, which every file system allows in names."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9-]+", "_", plain).strip("_-")[:100]


def unique_name(name: str, taken: Counter[str]) -> str:
    """The name, with a number behind it if it is taken; upper and lower case count as the same. ``taken`` remembers it."""
    candidate, key = name, name.lower()
    while taken[candidate.lower()]:
        taken[key] += 1
        candidate = f"{name}-{taken[key]}"
    taken[candidate.lower()] += 1
    return candidate

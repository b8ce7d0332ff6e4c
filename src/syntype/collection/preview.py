"""What an import will do, told before anything is taken in: what was recognised, how many images of which species, and what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syntype.collection.columns import SPLITS
from syntype.collection.sources import Entry, Listing, Packed, SourceConfig, read_source
from syntype.collection.sources.image_files import is_there

__all__ = ["Preview", "preview", "preview_listing"]

_FIRST = 5
_MOST = 8


@dataclass(frozen=True)
class Preview:
    """What an import will do. Image files are not opened for it; the import itself checks them.

    Attributes:
        format: what the source was recognised as.
        num_images: rows or files that will be imported if their images can be read.
        num_files: image files of them (several animals in one photograph are several images of one file).
        num_missing: images whose file is missing.
        num_downloads: images that have an address and no file; only ``--download`` fetches them.
        species: number of images of each species, most first.
        splits: number of images of each of the author's splits; empty if the source has none.
        num_groups: distinct groups; images without one count as one each.
        licences: number of images of each licence; ``none`` for those without.
        origins: number of images that are real and synthetic, as far as the source says; ``unknown``: only the file can tell.
        num_boxes: images with a box.
        refused: number of refused rows or files for each reason.
        columns: further columns that are kept.
        rows: the first rows, as file, species, group, split and licence.
        notes: sentences on what was found and decided.
    """

    format: str
    num_images: int
    num_files: int
    num_missing: int
    num_downloads: int
    species: dict[str, int]
    splits: dict[str, int]
    num_groups: int
    licences: dict[str, int]
    origins: dict[str, int]
    num_boxes: int
    refused: dict[str, int]
    columns: list[str] = field(default_factory=list)
    rows: list[dict[str, str | None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """The same as plain values, as ``--json`` prints them."""
        return dict(vars(self))

    def text(self) -> str:
        """The same in words, on at most a screen."""
        raise NotImplementedError


def preview(source: Path | str, config: SourceConfig) -> Preview:
    """Look at a source without importing anything.

    Raises:
        InputError: the source is missing, damaged, of no known format, or has nothing to import.
    """
    return preview_listing(read_source(Path(source), config))


def preview_listing(listing: Listing) -> Preview:
    """The preview of a listing."""
    entries = listing.entries
    missing = [entry for entry in entries if not isinstance(entry.image, Packed) and not is_there(entry.image)]
    known = {"licence", "rights_holder", "source_url", "terms", "origin", "image_id"}
    splits = Counter(entry.split for entry in entries if entry.split)
    return Preview(
        format=listing.format,
        num_images=len(entries),
        num_files=len({entry.image for entry in entries}),
        num_missing=sum(entry.url is None for entry in missing),
        num_downloads=sum(entry.url is not None for entry in missing),
        species=dict(Counter(entry.species or "none" for entry in entries).most_common()),
        splits={name: splits[name] for name in SPLITS} if splits else {},
        num_groups=len({entry.group for entry in entries if entry.group}) + sum(not entry.group for entry in entries),
        licences=dict(Counter(str(entry.values.get("licence") or "none") for entry in entries).most_common()),
        origins=dict(Counter(str(entry.values.get("origin") or "unknown") for entry in entries).most_common()),
        num_boxes=sum(entry.box is not None for entry in entries),
        refused=dict(Counter(item.reason for item in listing.refused).most_common()),
        columns=sorted({name for entry in entries for name in entry.values} - known),
        rows=_first_rows(entries),
        notes=list(listing.notes),
    )


def _first_rows(entries: Sequence[Entry]) -> list[dict[str, str | None]]:
    return [
        {
            "file": entry.original_name or str(entry.image),
            "species": entry.species,
            "group": entry.group,
            "split": entry.split,
            "licence": entry.values.get("licence"),
        }
        for entry in entries[:_FIRST]
    ]

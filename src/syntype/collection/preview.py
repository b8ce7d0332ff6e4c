"""What an import will do, told before anything is taken in: what was recognised, how many images of which species, and what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from syntype.collection.columns import COLUMNS, SPLITS
from syntype.collection.marks import read_mark_of
from syntype.collection.opened_source import opened_source
from syntype.collection.selection import limited
from syntype.collection.sources.base import Entry, Listing, Packed, SourceConfig
from syntype.collection.sources.image_files import is_there
from syntype.errors import CollectionError, percent, plural, shortened, shown_list

__all__ = ["Preview", "preview", "preview_listing"]

_FIRST = 5
_EXAMPLES = 12
_MOST = 8
_RAREST = 4
_NOTES = 5
_LOOKED_AT = 300
"""Image files whose marks are looked for."""
_WIDE = 150
"""Characters of a line."""
_MOST_BYTES = 1950
"""Size of the text."""


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
        boxes: where images have boxes, every photograph that is a file of its own: its ``path``, and for each of its ``animals`` the ``species``, the
            ``box`` (null if it is the whole photograph), whether that is in ``shares`` of width and height, and the width and height of the
            picture on which it was drawn as ``frame`` (null if the source does not say).
        refused: number of refused rows or files for each reason.
        columns: further columns that are kept.
        rows: the first rows: ``file`` as the source calls it, ``species``, ``group``, ``split``, ``licence``, ``row`` in the table (null in folders)
            and ``path`` of the file (null if it is no file of its own).
        examples: the first image of each of the twelve commonest species, like ``rows``.
        missing: the first rows whose file is missing, like ``rows``.
        refused_items: every refused row or file, with ``file``, ``row``, ``reason`` and ``hint``.
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
    boxes: list[dict[str, Any]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)
    missing: list[dict[str, Any]] = field(default_factory=list)
    refused_items: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """The same as plain values, and the sentence, as ``--json`` prints them."""
        return {"sentence": self.sentence(), **vars(self)}

    def sentence(self) -> str:
        """What was recognised, in one sentence of at most some hundred characters."""
        parts = [f"{_images(self.num_images, self.origins)} of {plural(len(self.species.keys() - {'none'}), 'species', 'species')}"]
        if self.num_groups < self.num_images:
            parts[0] += f" in {plural(self.num_groups, 'observation')}"
        if self.num_files < self.num_images:
            parts.append(f"several animals in one photograph ({plural(self.num_files, 'file')})")
        if self.num_boxes:
            parts.append("all with a box" if self.num_boxes == self.num_images else f"{self.num_boxes:,} with a box")
        if self.num_missing:
            parts.append(f"{self.num_missing:,} without a file")
        if self.num_downloads:
            parts.append(f"{self.num_downloads:,} to be downloaded (--download)")
        told = [", ".join(parts)]
        if self.licences.keys() - {"none"}:
            told.append(f"licences {_shares(self.licences)}")
        if self.splits:
            without = self.num_images - sum(self.splits.values())
            shown = ", ".join(f"{name} {number:,}" for name, number in self.splits.items())
            told.append(f"the author's splits: {shown}{f', none {without:,}' if without else ''}")
        if self.refused:
            told.append(f"{sum(self.refused.values()):,} refused")
        return f"{shortened(self.format[:1].upper() + self.format[1:], 80)}: {'; '.join(told)}."

    def text(self, then: str = "") -> str:
        """The same in words, on at most a screen: 24 lines, two kilobytes.

        Args:
            then: the next command.
        """
        lines = [self.sentence()]
        lines += [f"Refused: {line}" for line in self._refusals()[:_MOST]]
        if self.num_missing:
            lines.append(f"No file: {shown_list((_named(row) for row in self.missing), 3)}{', …' if self.num_missing > 3 else ''}")
        lines += self._first_lines()
        if self.species:
            lines.append(self._species_line())
        if self.columns:
            lines.append(f"Further columns kept: {shown_list(self.columns, 10, 30)}")
        lines += [shortened(note, _WIDE) for note in self.notes[:_NOTES]]
        if len(self.notes) > _NOTES:
            lines.append(f"… and {len(self.notes) - _NOTES} more notes (--json)")
        end = ["Nothing was written.", *([f"Next: {shortened(then, 300)}"] if then else [])]
        lines = [shortened(line, 3 * _WIDE if number == 0 else _WIDE) for number, line in enumerate(lines)]
        while lines[2:] and (len(lines) + len(end) > 24 or len("\n".join([*lines, *end]).encode("utf-8", "replace")) > _MOST_BYTES):
            lines.pop()
        return "\n".join([*lines, *end])

    @property
    def num_usable(self) -> int:
        """Number of images that are here or can be downloaded."""
        return self.num_images - self.num_missing

    def nothing(self, source: Path) -> CollectionError:
        """The error for a source of which not one image can be used."""
        if self.num_missing:
            reason, hint = "the image files are missing", "Give the folder that has them with --images."
        else:
            commonest = next(iter(self.refused))
            hint = next(shortened(item["hint"], 200) for item in self.refused_items if item["reason"] == commonest)
            reason = f"mostly: {shortened(commonest, 100)}"
        number = plural(self.num_images + len(self.refused_items), "image")
        return CollectionError(f"{shortened(source, 300)}: not one of {number} can be used ({reason}). {hint}")

    def _refusals(self) -> list[str]:
        """For each reason, commonest first: how many rows or files, the reason, and the first of them."""
        lines = []
        for reason, number in self.refused.items():
            items = [item for item in self.refused_items if item["reason"] == reason][:2]
            told = f"{number:,} {shortened(reason, 70)} ("
            room = (_WIDE - len("Refused: ") - len(told) - len("; ; …)")) // len(items)
            named = "; ".join(_named(item, room) for item in items)
            lines.append(f"{told}{named}{'; …' if number > len(items) else ''})")
        return lines

    def _first_lines(self) -> list[str]:
        lines = ["First rows:"] if self.rows else []
        for row in self.rows:
            more = [f"{key} {shortened(row[key], 20)}" for key in ("group", "split", "licence") if row[key]]
            lines.append(f"  {', '.join([shortened(row['file'], 50), shortened(row['species'] or 'no species', 40), *more])}")
        return lines

    def _species_line(self) -> str:
        names = [f"{shortened(name, 40)} {number:,}" for name, number in self.species.items()]
        if len(names) <= _MOST:
            return f"Species: {', '.join(names)}"
        return f"Species: {', '.join(names[: _MOST - _RAREST])}, …, {', '.join(names[-_RAREST:])}"


def preview(source: Path | str, config: SourceConfig) -> Preview:
    """Look at a source without importing anything.

    Raises:
        InputError: the source is missing, damaged, of no known format, or has nothing to import.
    """
    with opened_source(Path(source), config) as opened:
        listing = limited(opened.listing, config.licences, config.max_per_species)
        found = preview_listing(listing)
        return replace(found, notes=[*_marks(listing.entries), *found.notes])  # an import reads all files, and needs no such look


def preview_listing(listing: Listing) -> Preview:
    """The preview of a listing."""
    entries, refused = listing.entries, listing.refused
    missing = [entry for entry in entries if not isinstance(entry.image, Packed) and not is_there(entry.image)]
    gone = [entry for entry in missing if entry.url is None]
    splits = Counter(entry.split for entry in entries if entry.split)
    return Preview(
        format=listing.format,
        num_images=len(entries),
        num_files=len({entry.image for entry in entries}),
        num_missing=len(gone),
        num_downloads=len(missing) - len(gone),
        species=_counts(entry.species for entry in entries),
        splits={name: splits[name] for name in SPLITS} if splits else {},
        num_groups=len({entry.group for entry in entries if entry.group}) + sum(not entry.group for entry in entries),
        licences=_counts(entry.values.get("licence") for entry in entries),
        origins=_counts((entry.values.get("origin") for entry in entries), "unknown"),
        num_boxes=sum(entry.box is not None for entry in entries),
        boxes=_boxes(entries),
        refused=_counts(item.reason for item in refused),
        columns=sorted({name for entry in entries for name in entry.values} - COLUMNS.keys()),
        rows=[_row(entry) for entry in entries[:_FIRST]],
        examples=_examples(entries),
        missing=[_row(entry) for entry in gone[:_FIRST]],
        refused_items=[vars(item) for item in refused],
        notes=list(listing.notes),
    )


def _marks(entries: Sequence[Entry]) -> list[str]:
    """What the files say of their being synthetic, from some that are spread over the source."""
    unsaid = [entry for entry in entries if isinstance(entry.image, Path) and entry.values.get("origin") != "synthetic"]
    chosen = unsaid[:: max(1, -(-len(unsaid) // _LOOKED_AT))]
    marked = [entry for entry in chosen if read_mark_of(Path(str(entry.image))) is not None]
    if not marked:
        return []
    many = f"{len(marked):,} of {len(chosen):,} image files that were looked at say that they are synthetic"
    return [f"{many}, such as {shortened(marked[0].original_name or marked[0].image, 40)}: these will be synthetic images in no split"]


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "file": entry.original_name or str(entry.image),
        "species": entry.species,
        "group": entry.group,
        "split": entry.split,
        "licence": entry.values.get("licence"),
        "row": entry.row,
        "path": None if isinstance(entry.image, Packed) else str(entry.image),
    }


def _examples(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The first image of each of the commonest species."""
    first: dict[str, Entry] = {}
    for entry in entries:
        first.setdefault(entry.species or "none", entry)
    return [_row(first[species]) for species in list(_counts(entry.species for entry in entries))[:_EXAMPLES]]


def _boxes(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The photographs with their animals, if any has a box."""
    if all(entry.box is None for entry in entries):
        return []
    found: dict[Path, list[dict[str, Any]]] = {}
    for entry in entries:
        if isinstance(entry.image, Path):
            animal = {"species": entry.species, "box": entry.box, "shares": entry.box_shares, "frame": entry.box_frame}
            found.setdefault(entry.image, []).append(animal)
    return [{"path": str(path), "animals": animals} for path, animals in found.items()]


def _counts(values: Iterable[Any], without: str = "none") -> dict[str, int]:
    """How often each value occurs, most first; equal numbers in the order of the values."""
    counted = Counter(str(value) if value else without for value in values)
    return dict(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])))


def _named(item: Mapping[str, Any], most: int = 40) -> str:
    """A row or file for a message, in about ``most`` letters: its number in the table, if it has one, and its name."""
    where = [f"row {item['row']}"] if item["row"] is not None else []
    room = max(12, most - sum(len(word) + 1 for word in where))
    return " ".join([*where, *([shortened(item["file"], room)] if item["file"] else [])]) or "no name"


def _images(number: int, origins: Mapping[str, int]) -> str:
    synthetic = origins.get("synthetic", 0)
    if synthetic == 0:
        return plural(number, "photograph")
    if synthetic == number:
        return plural(number, "synthetic image")
    return f"{number:,} images ({synthetic:,} synthetic)"


def _shares(counts: Mapping[str, int], most: int = 4) -> str:
    """The commonest values with their shares in percent."""
    whole = sum(counts.values())
    shown = [f"{shortened(name, 30)} {percent(number / whole, certain=True)}" for name, number in list(counts.items())[:most]]
    return ", ".join(shown) + (f", … ({len(counts) - most} more)" if len(counts) > most else "")

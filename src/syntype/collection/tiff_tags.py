"""Directories of TIFF files (TIFF 6.0, section 2; BigTIFF), read without a decoder, so that a file is known before one sees it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["MOST_TAGS", "Directory", "Tag", "directories", "first_directory", "order_of"]

MOST_TAGS = 4096
"""Entries of one directory that are read; libtiff reads no more."""
_BEGINNINGS = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_SUB_DIRECTORIES = 330
_MOST_DIRECTORIES = 32  # cameras write up to about 8


@dataclass(frozen=True)
class Tag:
    """One entry of a directory: its number of values, and where they lie (``size`` bytes each, from ``start``)."""

    count: int
    size: int
    start: int

    def values(self, data: bytes, order: str) -> tuple[int, ...]:
        """The values of an entry of unsigned integers."""
        code = {1: "B", 2: "H", 4: "I", 8: "Q"}[self.size]
        there = min(self.count, max(0, len(data) - self.start) // self.size)
        return struct.unpack_from(f"{order}{there}{code}", data, self.start)


@dataclass(frozen=True)
class Directory:
    """One directory.

    Attributes:
        tags: its entries; of a tag that occurs twice the first counts, as for Pillow. Empty if the directory is cut off or too long.
        num_tags: how many entries it says it has.
        num_bytes: bytes of all values outside the directory; more than the file has if they share their bytes.
        following: where the next directory lies, 0 for none.
    """

    tags: dict[int, Tag] = field(default_factory=dict)
    num_tags: int = 0
    num_bytes: int = 0
    following: int = 0

    def number(self, tag: int, data: bytes, order: str, default: int = 0) -> int:
        """The value of an entry that has exactly one."""
        entry = self.tags.get(tag)
        return next(iter(entry.values(data, order)), default) if entry is not None and entry.count == 1 else default

    def text(self, tag: int, data: bytes) -> str:
        """The value of an entry of text, at most 60 letters; empty if it is missing."""
        entry = self.tags.get(tag)
        raw = b"" if entry is None else data[entry.start : entry.start + min(entry.count * entry.size, 60)]
        return raw.partition(b"\0")[0].decode("latin-1").strip()


def order_of(data: bytes) -> tuple[str, bool] | None:
    """Order of bytes (``<`` or ``>``) and whether it is a BigTIFF; None if the file does not begin as a TIFF."""
    return _BEGINNINGS.get(data[:4])


def first_directory(data: bytes, order: str, big: bool) -> Directory:
    """The first directory, which is the one that decoders use."""
    return _directory(data, order, big, _start(data, order, big))


def directories(data: bytes, order: str, big: bool) -> Iterator[Directory]:
    """The first directory, then those that it leads to: the following pages and the directories within each (at most 32 altogether)."""
    waiting = [_start(data, order, big)]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_DIRECTORIES:
        start = waiting.pop(0)
        if not start or start in seen:
            continue
        seen.add(start)
        found = _directory(data, order, big, start)
        yield found
        inner = found.tags.get(_SUB_DIRECTORIES)
        if inner is not None and inner.size in (4, 8):
            waiting += inner.values(data, order)[:_MOST_DIRECTORIES]
        waiting.append(found.following)


def _start(data: bytes, order: str, big: bool) -> int:
    try:
        return int(struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0])
    except struct.error:
        return 0


def _directory(data: bytes, order: str, big: bool, start: int) -> Directory:
    head, number, entry, inline, offset = ("Q", 8, 20, 8, "Q") if big else ("H", 2, 12, 4, "I")
    tags: dict[int, Tag] = {}
    try:
        (count,) = struct.unpack_from(order + head, data, start)
        if count > MOST_TAGS:
            return Directory(num_tags=count)
        total = 0
        for index in range(count):
            place = start + number + index * entry
            tag, kind, length = struct.unpack_from(f"{order}HH{offset}", data, place)
            size, at = _SIZES.get(kind, 1), place + entry - inline
            if length * size > inline:
                (at,) = struct.unpack_from(order + offset, data, at)
                total += length * size
            tags.setdefault(tag, Tag(length, size, at))
    except struct.error:
        return Directory()  # the directory is cut off: the decoder says so
    try:
        following = int(struct.unpack_from(order + offset, data, start + number + count * entry)[0])
    except struct.error:
        following = 0
    return Directory(tags, count, total, following)

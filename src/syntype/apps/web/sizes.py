"""How much room the things of a workspace take, measured in the background and remembered, and whether what comes next fits on the disk."""

from __future__ import annotations

import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from syntype.apps.web.languages import N_, gettext, number
from syntype.errors import DiskError, InputError

__all__ = ["Room", "Size", "Sizes", "free_room", "measure", "require_room", "told_size"]

_FRESH_SECONDS = 300.0
"""A size is measured again after this time, and at once when the folder has changed."""
_CACHE = ".cache"
_FULL = 64 * 1024
"""With less free room than this, in bytes, a disk is full."""


@dataclass(frozen=True)
class Size:
    """What a folder holds: bytes and files, and how many of the bytes are caches, which fill again by themselves."""

    num_bytes: int
    num_files: int
    cache_bytes: int


@dataclass(frozen=True)
class Room:
    """The disk of the workspace, in bytes."""

    free: int
    total: int


def measure(folder: Path) -> Size:
    """Add up the files of a folder. Links are counted as such and not followed. Fifty thousand files take about half a second."""
    num_bytes = num_files = cache_bytes = 0
    waiting = [(str(folder), False)]
    while waiting:
        path, cached = waiting.pop()
        with suppress(OSError), os.scandir(path) as entries:  # what is deleted meanwhile is not counted
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, cached or entry.name == _CACHE))
                    continue
                with suppress(OSError):
                    size = entry.stat(follow_symlinks=False).st_size
                    num_bytes, num_files, cache_bytes = num_bytes + size, num_files + 1, cache_bytes + size * cached
    return Size(num_bytes, num_files, cache_bytes)


class Sizes:
    """Sizes of folders, by what they are rather than by their path, so that a renamed one is not measured again. Safe to use from several threads."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[tuple[int, ...], float, Size]] = {}
        self._measuring: set[Path] = set()
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="sizes")

    def of(self, folder: Path) -> Size | None:
        """The size as it is known; None if it is not known yet. Where it is missing or old it is measured in the background."""
        size, fresh = self._look_up(folder)
        if not fresh:
            with self._lock:
                if folder not in self._measuring:
                    self._measuring.add(folder)
                    self._worker.submit(self._measure, folder)
        return size

    def now(self, folder: Path) -> Size:
        """The size, measured now if it is not known or old."""
        size, fresh = self._look_up(folder)
        return size if fresh and size is not None else self._measure(folder)

    def _look_up(self, folder: Path) -> tuple[Size | None, bool]:
        """The size as it is known, and whether that still holds. What is not there need not be measured."""
        found = self._found(folder)
        if found is None:
            return None, True
        stamp, when, size = self._known.get(found[0], (None, 0.0, None))
        return size, stamp == found[1] and time.monotonic() - when <= _FRESH_SECONDS

    @property
    def busy(self) -> bool:
        """Whether something is being measured."""
        with self._lock:
            return bool(self._measuring)

    def close(self) -> None:
        """Measure no more."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _measure(self, folder: Path) -> Size:
        try:
            found, size = self._found(folder), measure(folder)
            if found is not None:
                self._known[found[0]] = (found[1], time.monotonic(), size)
            return size
        finally:
            with self._lock:
                self._measuring.discard(folder)

    @staticmethod
    def _found(folder: Path) -> tuple[tuple[int, int], tuple[int, ...]] | None:
        """What the folder is, and what changes when files enter or leave it; None if it is not there."""
        try:
            own = folder.stat()
        except OSError:
            return None
        caches = (folder / _CACHE, folder / "images")
        return (own.st_dev, own.st_ino), (own.st_mtime_ns, *(path.stat().st_mtime_ns for path in caches if path.exists()))


def free_room(folder: Path) -> Room:
    """Free and total room of the disk on which a folder lies."""
    usage = shutil.disk_usage(folder)
    return Room(usage.free, usage.total)


def require_room(folder: Path, num_bytes: int, what: str) -> None:
    """Check that something fits on the disk of a folder.

    Args:
        num_bytes: room that it needs, as far as can be said beforehand.
        what: what needs it, the beginning of a sentence ("importing these photographs").

    Raises:
        DiskError: the disk is full.
        InputError: it does not fit.
    """
    free = free_room(folder).free
    if num_bytes > free and free < _FULL:
        raise DiskError(
            gettext("cannot be written, because the disk is full"), gettext("Free some space on the page Storage, then try again."), file=folder
        )
    if num_bytes > free:
        reason = gettext(
            "there is not enough room on the disk: {what} needs about {size}, and {free} are free",
            what=what,
            size=told_size(num_bytes),
            free=told_size(free),
        )
        raise InputError(reason, gettext("Delete something or empty the trash on the page Storage, then try again."))


def told_size(num_bytes: int) -> str:
    """A number of bytes as people say it.

    Example:
        >>> told_size(1_234_567)
        '1.2 MB'
    """
    size = float(num_bytes)
    for unit in (N_("bytes"), "kB", "MB", "GB"):
        if size < 999.5:
            whole = unit == "bytes" or size >= 99.5
            return f"{number(size, '0' if whole else '0.0')} {gettext(unit)}"
        size /= 1000
    return f"{number(size, '0.0')} TB"

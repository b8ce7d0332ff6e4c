"""Pixels of a collection at one size, decoded once and kept in a memory-mapped cache.

    ROOT/.cache/
      pixels-64-<id>.npy    uint8 (n, 64, 64, 3)
      pixels-64-<id>.keys   .npy of n keys: what each row shows (bytes of the file, box, version of the method)
      pixels-640x1024-...   likewise, 640 high and 1024 wide

A pair of files is a segment: written under a temporary name, then renamed, keys last; never changed afterwards. So two processes
may write at once (a picture stands twice, no harm), and a crash leaves at most a temporary file, which is swept away a day later.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter

from syntype.collection.decoding import decode, in_threads
from syntype.errors import CollectionError, InputError

__all__ = ["MARGIN", "crop_square", "crop_to", "iterate_pixels", "read_pixels", "window"]

MARGIN = 0.06
"""Room left around a box on each side, as a fraction of its longer side, where the photograph has it."""
_VERSION = "3"  # change it when the same file would give other pixels
_DAY = 86400


def read_pixels(root: Path, table: pd.DataFrame, size: int | tuple[int, int]) -> np.ndarray:
    """Decoded images of a collection's rows, from the cache where they are there: uint8, shape (num_images, height, width, 3), RGB 0..255.

    Rows that lie one after another in the cache come as a memory map (copy-on-write, so it may be changed without harm to the
    cache); others are copied. Where the folder cannot be written, nothing is cached.

    Args:
        root: the collection's folder.
        table: rows with ``file_name``, ``sha256`` and ``box``.
        size: side of square images, or height and width, in pixels.

    Raises:
        CollectionError: an image file is missing or has been damaged since the import.
    """
    shape = (size, size) if isinstance(size, int) else size
    if not len(table):
        return np.empty((0, *shape, 3), dtype=np.uint8)
    keys = _keys(table)
    cache = _Cache(root / ".cache", shape)
    place = cache.find(keys)
    missing = np.flatnonzero(place < 0)
    if len(missing):
        # duplicates are written again: a segment in the order of the table can be used without copying
        if not cache.write(keys[missing], iterate_pixels(root, table, shape, missing)):
            return _in_memory(root, table, shape, keys)
        cache = _Cache(root / ".cache", shape)
        place = cache.find(keys)
        if (place < 0).any():  # somebody has deleted the cache meanwhile
            return _in_memory(root, table, shape, keys)
    return cache.take(place)


def iterate_pixels(root: Path, table: pd.DataFrame, size: int | tuple[int, int], rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Decode the given rows (all by default) one after another, without the cache: uint8, shape (height, width, 3) each."""
    shape = (size, size) if isinstance(size, int) else size
    names, boxes = table["file_name"].tolist(), table["box"].tolist()

    def one(row: int) -> np.ndarray:
        box = boxes[row]
        try:
            return crop_to(shape, decode(root / names[row]), None if pd.isna(box) else json.loads(box))
        except InputError as error:
            raise CollectionError(f"{error} It was sound when imported: put it back, or import again.") from None

    return in_threads(one, range(len(names)) if rows is None else [int(row) for row in rows])


def window(width: int, height: int, box: list[float] | None, shape: tuple[int, int] = (1, 1)) -> tuple[int, int, int, int]:
    """The part of an image to show: left, top, width, height in pixels; it may reach beyond the image where that cannot be helped.

    With a box it holds the whole box and, where the photograph has room, ``MARGIN`` on each side; it is moved rather than padded.
    Without one it holds the whole image.

    Args:
        shape: height and width of what is to be shown; only their ratio matters.
    """
    unit_height, unit_width = shape[0] / max(shape), shape[1] / max(shape)
    if box is None:
        longer = max(width / unit_width, height / unit_height)
        wide, high = round(longer * unit_width), round(longer * unit_height)
        return (width - wide) // 2, (height - high) // 2, wide, high
    left, top = max(0, int(np.floor(box[0]))), max(0, int(np.floor(box[1])))
    right, bottom = min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))
    longest = max((right - left) / unit_width, (bottom - top) / unit_height)
    longer = min(longest * (1 + 2 * MARGIN), max(longest, min(width / unit_width, height / unit_height)))  # the margin is never worth padding
    wide, high = round(longer * unit_width), round(longer * unit_height)
    return _place(left, right, wide, width), _place(top, bottom, high, height), wide, high


def _place(start: int, stop: int, side: int, length: int) -> int:
    if side >= length:
        return (length - side) // 2
    return min(max((start + stop - side) // 2, 0), length - side)


def crop_square(pixels: np.ndarray, size: int, box: list[float] | None = None) -> np.ndarray:
    """Crop or pad to a square and scale it, as ``crop_to`` does."""
    return crop_to((size, size), pixels, box)


def crop_to(shape: tuple[int, int], pixels: np.ndarray, box: list[float] | None = None) -> np.ndarray:
    """Crop or pad to the ratio of ``shape`` and scale, never stretching: uint8 (height, width, 3) -> uint8 (*shape, 3).

    What the photograph lacks is the image mirrored at its edge, melting within a twelfth to a quarter of the side into the blurred
    colours of the edge: a sharp bar would be learnt by generators, and so would a mirrored fish.

    Args:
        box: left, top, right, bottom in pixels; all of it stays in the picture.
    """
    height, width = pixels.shape[:2]
    left, top, wide, high = window(width, height, box, shape)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + wide, width), min(top + high, height)
    inner = (max(1, round((x1 - x0) * shape[1] / wide)), max(1, round((y1 - y0) * shape[0] / high)))
    image = Image.fromarray(np.ascontiguousarray(pixels[y0:y1, x0:x1]))
    scaled = np.asarray(image.resize(inner, Image.Resampling.LANCZOS, reducing_gap=3.0))
    if inner == shape[::-1]:
        return scaled
    return _pad(scaled, shape)


def _pad(inner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Centre ``inner``, which is too low or too narrow but not both, and fill the rest from its edges."""
    lacking = (shape[0] - inner.shape[0], shape[1] - inner.shape[1])
    size = shape[0] if lacking[0] else shape[1]
    before = (lacking[0] // 2, lacking[1] // 2)
    after = (lacking[0] - before[0], lacking[1] - before[1])
    margins = ((before[0], after[0]), (before[1], after[1]), (0, 0))
    mirrored = np.pad(inner, margins, mode="symmetric")
    image = Image.fromarray(mirrored)
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(size * 0.02)), dtype=np.float32)
    edge = _edge_colours(inner, margins, size)
    rows = np.maximum(before[0] - np.arange(shape[0]), np.arange(shape[0]) - (shape[0] - 1 - after[0])).clip(0)
    columns = np.maximum(before[1] - np.arange(shape[1]), np.arange(shape[1]) - (shape[1] - 1 - after[1])).clip(0)
    distance = (rows[:, None] + columns[None, :])[:, :, None] / size  # one of the two is 0: only one direction is padded
    # a narrow strip may mirror a quarter of the side; wide ones stand beside slim pictures, whose animal would be mirrored too
    reach = np.clip(0.025 / (max(after) / size), 0.08, 0.25)
    blur = np.clip(distance / (0.4 * reach), 0, 1)
    melt = np.clip(distance / reach, 0, 1)
    melt = melt * melt * (3 - 2 * melt)
    result = mirrored * (1 - blur) + soft * blur
    result = result * (1 - melt) + edge * melt
    return np.rint(result).clip(0, 255).astype(np.uint8)


def _edge_colours(inner: np.ndarray, margins: Any, size: int) -> np.ndarray:
    """The outermost lines of ``inner``, carried outwards to ``size`` and blurred: float32, as large as the padded image."""
    vertical = margins[0][0] + margins[0][1] > 0
    lines = inner if vertical else inner.transpose(1, 0, 2)
    depth = max(1, len(lines) // 12)
    ends = np.stack([lines[:depth].mean(axis=0), lines[-depth:].mean(axis=0)])  # (2, length of a line, 3)
    strip = Image.fromarray(np.repeat(np.rint(ends).astype(np.uint8), 2, axis=0))
    smooth = np.asarray(strip.filter(ImageFilter.BoxBlur((size * 0.08, 0))), dtype=np.float32)
    halves = np.where(np.arange(size)[:, None, None] < size // 2, smooth[0][None], smooth[-1][None])
    return halves if vertical else halves.transpose(1, 0, 2)


def _keys(table: pd.DataFrame) -> np.ndarray:
    """What each row shows, as 32 hex digits: bytes, shape (num_images,)."""
    rows = zip(table["sha256"].fillna("").tolist(), table["box"].fillna("").tolist(), table["file_name"].tolist(), strict=True)
    return np.array([hashlib.blake2b(f"{_VERSION}|{sha or name}|{box}".encode(), digest_size=16).hexdigest() for sha, box, name in rows], dtype="S32")


def _in_memory(root: Path, table: pd.DataFrame, shape: tuple[int, int], keys: np.ndarray) -> np.ndarray:
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    unique = np.empty((len(first), *shape, 3), dtype=np.uint8)
    for number, image in enumerate(iterate_pixels(root, table, shape, first)):
        unique[number] = image
    return unique if np.array_equal(place, np.arange(len(keys))) else unique[place]


class _Cache:
    """The segments of one size, read when the object is made."""

    def __init__(self, folder: Path, shape: tuple[int, int]) -> None:
        self.folder, self.shape = folder, shape
        self.name = str(shape[0]) if shape[0] == shape[1] else f"{shape[0]}x{shape[1]}"
        self.segments: list[np.ndarray] = []
        keys = []
        for path in sorted(folder.glob(f"pixels-{self.name}-*.keys")):
            try:
                found = np.load(path, allow_pickle=False)
                images = np.load(path.with_suffix(".npy"), mmap_mode="c", allow_pickle=False)
            except (OSError, ValueError, EOFError):
                continue  # deleted meanwhile, or damaged from outside: decode again
            if images.shape == (len(found), *shape, 3) and images.dtype == np.uint8:
                keys.append(found)
                self.segments.append(images)
        self.starts = np.cumsum([0, *(len(segment) for segment in self.segments)])
        self.keys = np.concatenate(keys) if keys else np.empty(0, dtype="S32")

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Position of each key in the segments laid end to end, or -1: int64."""
        order = np.argsort(self.keys, kind="stable")
        if not len(order):
            return np.full(len(keys), -1)
        at = np.searchsorted(self.keys, keys, sorter=order).clip(max=len(order) - 1)
        found = order[at]
        return np.where(self.keys[found] == keys, found, -1)

    def take(self, place: np.ndarray) -> np.ndarray:
        """The images at these positions; not copied where they lie one after another in a segment."""
        segment = np.searchsorted(self.starts, place, side="right") - 1
        start, number = int(place[0]), int(segment[0])
        stop = start + len(place)
        if stop <= self.starts[number + 1] and np.array_equal(self.keys[start:stop], self.keys[place]):
            return self.segments[number][start - self.starts[number] : stop - self.starts[number]]
        result = np.empty((len(place), *self.shape, 3), dtype=np.uint8)
        for number in np.unique(segment):
            mine = segment == number
            result[mine] = self.segments[number][place[mine] - self.starts[number]]
        return result

    def write(self, keys: np.ndarray, images: Iterator[np.ndarray]) -> bool:
        """Add a segment; False if the folder cannot be written or the disk is full."""
        name = f"pixels-{self.name}-{uuid.uuid4().hex[:12]}"
        temporary = self.folder / f"{name}.tmp"
        try:
            self.folder.mkdir(exist_ok=True)
            self._sweep()
            with temporary.open("wb") as file:  # plain writes: a full disk is an error here, but a crash through a memory map
                header = {"descr": "|u1", "fortran_order": False, "shape": (len(keys), *self.shape, 3)}
                np.lib.format.write_array_header_1_0(file, header)
                for image in images:
                    file.write(np.ascontiguousarray(image).data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.folder / f"{name}.npy")
            with temporary.open("wb") as file:
                np.save(file, keys)
            os.replace(temporary, self.folder / f"{name}.keys")
        except OSError:
            return False
        finally:
            with suppress(OSError):
                temporary.unlink()
        return True

    def _sweep(self) -> None:
        for path in self.folder.glob("pixels-*.tmp"):
            if time.time() - path.stat().st_mtime > _DAY:
                path.unlink(missing_ok=True)

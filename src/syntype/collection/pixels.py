"""Pixels of a collection at a given size, decoded once and stored in a memory-mapped cache.

    ROOT/.cache/
      pixels-64-<id>.npy    uint8 (n, 64, 64, 3)
      pixels-64-<id>.keys   n keys in .npy format; each is a hash of the file's bytes, the box and the version of the method
      pixels-640x1024-...   the same for images 640 pixels high and 1024 wide

A pair of files is called a segment. Each file is written under a temporary name and then renamed, the keys last; it is never changed
afterwards. So two processes may write at the same time; at worst a picture is stored twice. A crash leaves at most a temporary file,
which is deleted when the cache is written to a day or more later.
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

from syntype.collection.decoding import DECODING, decode, in_threads
from syntype.errors import CollectionError, InputError, shortened
from syntype.files import inside

__all__ = ["MARGIN", "crop_square", "crop_to", "digest_images", "iterate_pixels", "photograph_parts", "read_pixels", "window"]

MARGIN = 0.06
"""Margin on each side of a box, as a fraction of its longer side, as far as the photograph extends."""
_VERSION = f"{DECODING}.3"  # change the second number whenever the same decoded image would give other pixels than before
_DAY = 86400
_LARGEST = 16384
_MOST_COPIED = 2**30
"""Bytes of images that are copied into memory at most."""


def read_pixels(root: Path, table: pd.DataFrame, size: int | tuple[int, int]) -> np.ndarray:
    """Decoded images of a collection's rows, read from the cache if possible: uint8, shape (num_images, height, width, 3), RGB 0..255.

    If the rows are consecutive in the cache, the result is a memory map (copy-on-write, so changes do not reach the cache): it takes no
    memory of its own, and all processes of a machine share it. Otherwise they are copied into memory, or, if that takes more than 1 GB, into
    a further segment of the cache, where they are consecutive. If the folder cannot be written, nothing is cached.

    Args:
        root: the collection's folder.
        table: rows with ``file_name``, ``sha256`` and ``box``.
        size: side of square images, or height and width, in pixels.

    Raises:
        CollectionError: an image file is missing or has been damaged since the import.
    """
    shape = _shape(size)
    if not len(table):
        return np.empty((0, *shape, 3), dtype=np.uint8)
    keys = _keys(table)
    cache = _Cache(root / ".cache", shape)
    place = cache.find(keys)
    missing = np.flatnonzero(place < 0)
    if len(missing):
        # duplicates are written too, so that the segment is in the order of the table and can be used without copying
        if not cache.write(keys[missing], iterate_pixels(root, table, shape, missing)):
            return _in_memory(root, table, shape, keys)
        cache = _Cache(root / ".cache", shape)
        place = cache.find(keys)
        if (place < 0).any():  # the cache was deleted in the meantime
            return _in_memory(root, table, shape, keys)
    images = cache.run(keys)
    if images is None and len(keys) * shape[0] * shape[1] * 3 > _MOST_COPIED and cache.write(keys, cache.each(place)):
        images = _Cache(root / ".cache", shape).run(keys)
    return cache.take(place) if images is None else images


def iterate_pixels(root: Path, table: pd.DataFrame, size: int | tuple[int, int], rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Decode the given rows (default: all) one after another, without the cache: each uint8, shape (height, width, 3)."""
    shape = _shape(size)
    names, boxes = table["file_name"].tolist(), table["box"].tolist()

    def one(row: int) -> np.ndarray:
        box, path = boxes[row], inside(root, str(names[row]))
        try:
            return crop_to(shape, decode(path), None if pd.isna(box) else json.loads(box))
        except InputError as error:
            raise CollectionError(f"{error} It could be read when it was imported: put it back, or import again.") from None

    return in_threads(one, range(len(names)) if rows is None else [int(row) for row in rows])


def _shape(size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width of a size.

    Raises:
        InputError: it is not one or two whole numbers from 1 to 16,384.
    """
    sides = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, (int, np.integer)) and not isinstance(side, bool) and 1 <= side <= _LARGEST for side in sides):
        raise InputError(f"the size is {shortened(repr(size))}", "Give the side in pixels, or height and width: whole numbers from 1 to 16384.")
    return int(sides[0]), int(sides[1])


def window(width: int, height: int, box: list[float] | None, shape: tuple[int, int] = (1, 1)) -> tuple[int, int, int, int]:
    """The part of an image to show: left, top, width, height in pixels. It reaches beyond the image only if the image is too small.

    With a box, it contains the whole box and, where the photograph has room, ``MARGIN`` on each side. At the edge of the photograph it is
    moved inwards, to avoid padding. Without a box, it contains the whole image.

    Args:
        shape: height and width of the result; only their ratio matters.
    """
    unit_height, unit_width = shape[0] / max(shape), shape[1] / max(shape)
    if box is None:
        longer = max(width / unit_width, height / unit_height)
        wide, high = round(longer * unit_width), round(longer * unit_height)
        return (width - wide) // 2, (height - high) // 2, wide, high
    left, top = max(0, int(np.floor(box[0]))), max(0, int(np.floor(box[1])))
    right, bottom = min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))
    longest = max((right - left) / unit_width, (bottom - top) / unit_height)
    longer = min(longest * (1 + 2 * MARGIN), max(longest, min(width / unit_width, height / unit_height)))  # rather no margin than padding
    wide, high = round(longer * unit_width), round(longer * unit_height)
    return _place(left, right, wide, width), _place(top, bottom, high, height), wide, high


def _place(start: int, stop: int, side: int, length: int) -> int:
    if side >= length:
        return (length - side) // 2
    return min(max((start + stop - side) // 2, 0), length - side)


def digest_images(images: np.ndarray) -> list[str]:
    """Content hash of each image, 32 hex digits (BLAKE2b over its pixels)."""
    return [hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).hexdigest() for image in images]


def photograph_parts(table: pd.DataFrame, size: int) -> np.ndarray:
    """Which part of the square of ``size`` pixels (``crop_square``) shows the photograph; the rest is padding.

    Args:
        table: rows with ``width``, ``height`` and ``box``. Where width or height is null, the photograph counts as filling its square.

    Returns:
        left, top, right, bottom in pixels, int64, shape (num_images, 4).
    """
    parts = np.tile(np.array([0, 0, size, size]), (len(table), 1))
    for row, (width, height, box) in enumerate(zip(table["width"], table["height"], table["box"], strict=True)):
        if not (pd.isna(width) or pd.isna(height)):
            *_, inner = _shown(int(width), int(height), None if pd.isna(box) else json.loads(box), (size, size))
            left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
            parts[row] = left, top, left + inner[0], top + inner[1]
    return parts


def crop_square(pixels: np.ndarray, size: int, box: list[float] | None = None) -> np.ndarray:
    """Crop or pad to a square of ``size`` pixels; see ``crop_to``."""
    return crop_to((size, size), pixels, box)


def crop_to(shape: tuple[int, int], pixels: np.ndarray, box: list[float] | None = None) -> np.ndarray:
    """Crop or pad to the ratio of ``shape`` and scale, without stretching: uint8 (height, width, 3) -> uint8 (*shape, 3).

    The padding is the image mirrored at its edge. Within a twelfth to a quarter of the side it changes gradually into the blurred colours
    of the edge. Generators would learn to draw a sharp bar or a mirrored fish.

    Args:
        box: left, top, right, bottom in pixels; the result shows all of it.
    """
    height, width = pixels.shape[:2]
    x0, y0, x1, y1, inner = _shown(width, height, box, shape)
    image = Image.fromarray(np.ascontiguousarray(pixels[y0:y1, x0:x1]))
    scaled = np.asarray(image.resize(inner, Image.Resampling.LANCZOS, reducing_gap=3.0))
    if inner == shape[::-1]:
        return scaled
    return _pad(scaled, shape)


def _shown(width: int, height: int, box: list[float] | None, shape: tuple[int, int]) -> tuple[int, int, int, int, tuple[int, int]]:
    """The part of a photograph that is shown (left, top, right, bottom), and the width and height to which it is scaled."""
    left, top, wide, high = window(width, height, box, shape)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + wide, width), min(top + high, height)
    return x0, y0, x1, y1, (max(1, round((x1 - x0) * shape[1] / wide)), max(1, round((y1 - y0) * shape[0] / high)))


def _pad(inner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Centre ``inner``, which is either too low or too narrow (never both), and fill the rest from its edges."""
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
    distance = (rows[:, None] + columns[None, :])[:, :, None] / size  # one of the two is 0, as only one direction is padded
    # A narrow strip may mirror up to a quarter of the side. A wide strip is next to a narrow picture, whose animal would be mirrored too.
    reach = np.clip(0.025 / (max(after) / size), 0.08, 0.25)
    blur = np.clip(distance / (0.4 * reach), 0, 1)
    melt = np.clip(distance / reach, 0, 1)
    melt = melt * melt * (3 - 2 * melt)
    result = mirrored * (1 - blur) + soft * blur
    result = result * (1 - melt) + edge * melt
    return np.rint(result).clip(0, 255).astype(np.uint8)


def _edge_colours(inner: np.ndarray, margins: Any, size: int) -> np.ndarray:
    """The outermost lines of ``inner``, blurred and repeated outwards: float32, as large as the padded image (``size`` in that direction)."""
    vertical = margins[0][0] + margins[0][1] > 0
    lines = inner if vertical else inner.transpose(1, 0, 2)
    depth = max(1, len(lines) // 12)
    ends = np.stack([lines[:depth].mean(axis=0), lines[-depth:].mean(axis=0)])  # (2, length of a line, 3)
    strip = Image.fromarray(np.repeat(np.rint(ends).astype(np.uint8), 2, axis=0))
    smooth = np.asarray(strip.filter(ImageFilter.BoxBlur((size * 0.08, 0))), dtype=np.float32)
    halves = np.where(np.arange(size)[:, None, None] < size // 2, smooth[0][None], smooth[-1][None])
    return halves if vertical else halves.transpose(1, 0, 2)


def _keys(table: pd.DataFrame) -> np.ndarray:
    """The cache key of each row, 32 hex digits: dtype S32, shape (num_images,)."""
    rows = zip(table["sha256"].fillna("").tolist(), table["box"].fillna("").tolist(), table["file_name"].tolist(), strict=True)
    return np.array([hashlib.blake2b(f"{_VERSION}|{sha or name}|{box}".encode(), digest_size=16).hexdigest() for sha, box, name in rows], dtype="S32")


def _in_memory(root: Path, table: pd.DataFrame, shape: tuple[int, int], keys: np.ndarray) -> np.ndarray:
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    unique = np.empty((len(first), *shape, 3), dtype=np.uint8)
    for number, image in enumerate(iterate_pixels(root, table, shape, first)):
        unique[number] = image
    return unique if np.array_equal(place, np.arange(len(keys))) else unique[place]


class _Cache:
    """The segments of one size that exist when the object is created."""

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
                continue  # deleted in the meantime, or damaged: the images are decoded again
            if images.shape == (len(found), *shape, 3) and images.dtype == np.uint8:
                keys.append(found)
                self.segments.append(images)
        self.starts = np.cumsum([0, *(len(segment) for segment in self.segments)])
        self.keys = np.concatenate(keys) if keys else np.empty(0, dtype="S32")

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Position of each key in the concatenated segments: int64, -1 if not found."""
        order = np.argsort(self.keys, kind="stable")
        if not len(order):
            return np.full(len(keys), -1)
        at = np.searchsorted(self.keys, keys, sorter=order).clip(max=len(order) - 1)
        found = order[at]
        return np.where(self.keys[found] == keys, found, -1)

    def run(self, keys: np.ndarray) -> np.ndarray | None:
        """The images of these keys as a memory map, if they are consecutive in one segment; else None."""
        for segment, start, stop in zip(self.segments, self.starts[:-1], self.starts[1:], strict=True):
            own = self.keys[start:stop]
            for first in np.flatnonzero(own == keys[0]):
                if np.array_equal(own[first : first + len(keys)], keys):
                    return segment[first : first + len(keys)]
        return None

    def each(self, place: np.ndarray) -> Iterator[np.ndarray]:
        """The images at these positions, one after another."""
        for at, number in zip(place, np.searchsorted(self.starts, place, side="right") - 1, strict=True):
            yield self.segments[number][at - self.starts[number]]

    def take(self, place: np.ndarray) -> np.ndarray:
        """The images at these positions, copied into memory."""
        segment = np.searchsorted(self.starts, place, side="right") - 1
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
            with temporary.open("wb") as file:  # if the disk is full, plain writes raise an error; a memory map would crash the process
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

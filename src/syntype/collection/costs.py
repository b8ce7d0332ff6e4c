"""Bounds on what decoding an image file may cost. A small file can be made so that decoding it takes minutes, or gigabytes of memory.

Two things keep the cost of every file within a few seconds. ``check_cost`` looks at the file's structure before a decoder sees it, and refuses
what a decoder in C would work on without a pause. ``Watched`` is the file that Pillow reads from: it ends the decoding once it has taken too
much processor time, or once it has read too many small parts.

    JPEG        scans: each scan of a progressive JPEG goes over all pixels, also if it holds no data
    TIFF        compression methods, size of tiles, strips and tags that share their bytes
    PNG, GIF    decoded in blocks of at most 64 kB, between which ``Watched`` looks at the clock; only the first frame is decoded
    BMP         likewise
    WebP        only the first frame is decoded; its size is limited (16,383 pixels a side, and ``MAX_PIXELS``)
"""

from __future__ import annotations

import io
import re
import struct
import time

from syntype.collection.tiff_tags import MOST_TAGS, first_directory, order_of
from syntype.errors import InputError

__all__ = ["MAX_PIXELS", "SECONDS", "Watched", "check_cost", "costly"]

MAX_PIXELS = 120_000_000
"""Largest image, in pixels (the largest phone cameras give 108 million); beyond it a small file may be a decompression bomb."""
SECONDS = 10.0
"""Processor time that one image may take. The largest photographs that are allowed take about 3 seconds."""

_SCANNED = 25 * MAX_PIXELS
"""Most scans times pixels: 25 scans of the largest image. Cameras write 1 scan, programs that save progressive JPEGs about 10."""
_SCANS_FROM = 30_000_000
"""Smaller images count as this many pixels, so that no JPEG has more than 100 scans."""
_PART = 64
"""A file may be read in parts of this many bytes on average, so that lists of its parts stay smaller than the file ..."""
_PARTS = 20_000
"""... apart from so many parts."""
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # a JPEG marker other than stuffing, a restart or a fill byte
_TIFF_METHODS = {1: "none", 5: "LZW", 7: "JPEG", 8: "deflate", 32773: "PackBits", 32946: "deflate", 50000: "zstd"}
_WIDTH, _HEIGHT, _COMPRESSION, _ROWS, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILE_BYTES = 256, 257, 259, 278, 279, 322, 323, 325


class Watched(io.BytesIO):
    """The bytes of an image file, for Pillow to read from.

    Raises (on reading):
        InputError: the decoding has taken more than ``SECONDS`` of processor time of this thread, or the file is read in too many small parts.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._end = time.thread_time() + SECONDS
        # Pillow reads the run lengths of a BMP byte by byte, and keeps no list of them.
        self._reads_left = _PARTS + 4 * len(data) if data[:2] == b"BM" else _PARTS + len(data) // _PART

    def read(self, size: int | None = -1, /) -> bytes:
        """As ``io.BytesIO.read``."""
        self._reads_left -= 1
        if self._reads_left < 0:
            raise costly("it consists of too many small parts")
        if time.thread_time() > self._end:
            raise costly(f"it takes more than {SECONDS:.0f} seconds")
        return super().read(size)


def check_cost(data: bytes) -> None:
    """Check that decoding an image file cannot take long. Formats that are not recognised, and damaged files, pass: the decoder refuses them.

    Raises:
        InputError: it could take minutes, or gigabytes of memory.
    """
    if data.startswith(b"\xff\xd8"):
        _check_scans(*_scans(data))
    elif (tiff := order_of(data)) is not None:
        _check_tiff(data, *tiff)


def costly(why: str) -> InputError:
    """The refusal of a file that is too costly; ``why`` is a clause."""
    return InputError("would take too long to decode", f"Save it again with another program ({why}).")


def _check_scans(scans: int, pixels: int) -> None:
    if scans * max(pixels, _SCANS_FROM) > _SCANNED:
        raise costly(f"it is a JPEG of {scans} scans and {pixels:,} pixels; at most {_SCANNED // max(pixels, _SCANS_FROM)} scans are read")


def _scans(data: bytes) -> tuple[int, int]:
    """Number of scans and of pixels of a JPEG (ITU-T T.81, annex B.2): its segments are passed over as libjpeg does."""
    scans, pixels, at, segments_left = 0, 0, 2, _PARTS + len(data) // _PART
    while (found := _MARKER.search(data, at)) is not None:
        segments_left -= 1
        if segments_left < 0:
            raise costly("it consists of too many small parts")
        kind, at = data[found.start() + 1], found.end()
        if kind == 0xD9:  # end of image
            break
        if kind in (0x01, 0xD8):  # they have no length
            continue
        if kind == 0xDA:
            scans += 1
        elif 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC) and len(data) >= at + 7:
            height, width = struct.unpack_from(">HH", data, at + 3)
            pixels = max(pixels, height * width)
        at += max(2, int.from_bytes(data[at : at + 2], "big"))
    return scans, pixels


def _check_tiff(data: bytes, order: str, big: bool) -> None:
    found = first_directory(data, order, big)
    if found.num_tags > MOST_TAGS:
        raise costly(f"it is a TIFF of {found.num_tags:,} tags")
    if found.num_bytes > 2 * len(data):
        raise costly("it is a TIFF whose tags share their bytes")
    tags = found.tags
    values = {tag: tags[tag].values(data, order) if tag in tags else () for tag in (_STRIP_BYTES, _TILE_BYTES)}
    single = {tag: found.number(tag, data, order) for tag in tags}
    method = single.get(_COMPRESSION, 1)
    if method not in _TIFF_METHODS:
        raise costly(f"it is a TIFF with compression method {method}; these are read: {', '.join(dict.fromkeys(_TIFF_METHODS.values()))}")
    width, height = max(1, single.get(_WIDTH, 1)), max(1, single.get(_HEIGHT, 1))
    if _TILE_WIDTH in single:
        across, down = max(1, single[_TILE_WIDTH]), max(1, single.get(_TILE_HEIGHT, 1))
        sizes = values[_TILE_BYTES] or values[_STRIP_BYTES]
    else:
        across, down = width, min(height, single.get(_ROWS) or height)
        sizes = values[_STRIP_BYTES]
    parts = -(-width // across) * -(-height // down)
    if parts * across * down > 2 * MAX_PIXELS:
        raise costly("it is a TIFF whose tiles have more pixels than are allowed")
    if sum(sizes) > len(data) or (method != 1 and parts > max(1, len(sizes))):
        raise costly("it is a TIFF whose strips or tiles share their bytes")
    if _TIFF_METHODS[method] == "JPEG":
        _check_scans(data.count(b"\xff\xda"), across * down)

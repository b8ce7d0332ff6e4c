"""Thumbnails, made once and cached on disk under the hash of the image file."""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
from pathlib import Path

from PIL import Image

from syntype.collection.decoding import DECODING, decode
from syntype.collection.pixels import crop_square
from syntype.files import atomic_write

__all__ = ["fitted", "squared", "thumbnail"]

_decoders = threading.BoundedSemaphore(2)
"""Decoding one photograph may take 360 MB of memory: at most two are decoded at the same time."""


def thumbnail(cache: Path, source: Path, sha256: str | None, side: int) -> Path:
    """The WebP of an image, at most ``side`` pixels long; small images keep their size.

    Raises:
        InputError: the image is missing or damaged.
    """
    if sha256 is None or not re.fullmatch("[0-9a-f]{64}", sha256):
        state = source.stat()
        sha256 = hashlib.sha256(f"{source}\n{state.st_mtime_ns}\n{state.st_size}".encode()).hexdigest()
    path = cache / f"thumbnails-{side}-{DECODING}" / sha256[:2] / f"{sha256}.webp"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:  # two requests may make the same thumbnail at the same time
            fitted(source, side).save(temporary, "WEBP", quality=85, method=2)  # half the time of the usual method
    return path


def fitted(source: Path, side: int) -> Image.Image:
    """An image file, decoded, at most ``side`` pixels long and without any of its metadata.

    Raises:
        InputError: the image is missing or damaged.
    """
    with _decoders:
        picture = Image.fromarray(decode(source))
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        return picture


def squared(source: Path, side: int, box: str | None) -> bytes:
    """The square of an image file that generators see, as a PNG of ``side`` pixels without any of its metadata.

    Args:
        box: of the animal, as a collection's table has it.

    Raises:
        InputError: the image is missing or damaged.
    """
    file = io.BytesIO()
    with _decoders:
        Image.fromarray(crop_square(decode(source), side, None if box is None else json.loads(box))).save(file, "PNG")
    return file.getvalue()

"""Photographs that were sent, decoded as the importer will."""

from __future__ import annotations

import threading
from pathlib import Path

from PIL import Image

from syntype.apps.web.languages import gettext
from syntype.collection.costs import Watched, check_cost
from syntype.collection.decoding import FORMATS, read_image
from syntype.errors import InputError

__all__ = ["check_image"]

_decoding = threading.BoundedSemaphore(1)
"""One photograph at a time is decoded for checking, so that many uploads do not add up their pixels in memory."""


def check_image(path: Path, name: str, most_pixels: int) -> None:
    """Check that a file can be imported as a photograph.

    Args:
        path: where it is.
        name: what the sender calls it.
        most_pixels: a photograph with more is refused.

    Raises:
        InputError: it cannot be decoded, or has too many pixels.
    """
    data = path.read_bytes()
    try:
        check_cost(data)
        with Image.open(Watched(data), formats=FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        width = height = most_pixels
    except Exception:  # whatever a header makes Pillow throw: the importer's own check, below, says what is wrong
        width = height = 0
    _check_pixels(width * height, name, most_pixels)
    try:
        with _decoding:
            decoded = read_image(data)
    except InputError as error:
        raise InputError(error.reason, error.hint, file=name) from None
    _check_pixels(decoded.pixels.shape[0] * decoded.pixels.shape[1], name, most_pixels)  # of rare formats the size is known only now


def _check_pixels(number: int, name: str, most: int) -> None:
    if number > most:
        raise InputError(gettext("has more than {number} million pixels", number=most // 1_000_000), gettext("Scale it down first."), file=name)

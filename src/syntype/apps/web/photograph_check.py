"""The check of a photograph that was sent: it is decoded as the importer will."""

from __future__ import annotations

import threading
from pathlib import Path

from PIL import Image

from syntype.apps.web.languages import gettext
from syntype.collection.costs import Watched, check_cost
from syntype.collection.decoding import FORMATS, read_image
from syntype.errors import InputError

__all__ = ["check_photograph"]

_decoding = threading.BoundedSemaphore(1)
"""One photograph at a time is decoded for checking, so that many uploads do not add up their pixels in memory."""


def check_photograph(path: Path, name: str, most: int) -> None:
    """Decode an image.

    Args:
        name: what the error calls it.
        most: pixels that it may have.

    Raises:
        InputError: it is too large, or no image that can be read.
    """
    data = path.read_bytes()
    too_large = InputError(gettext("has more than {number} million pixels", number=most // 1_000_000), gettext("Scale it down first."), file=name)
    try:
        check_cost(data)
        with Image.open(Watched(data), formats=FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise too_large from None
    except Exception:  # whatever a header makes Pillow throw: the importer's own check, below, says what is wrong
        width = height = 0
    if width * height > most:
        raise too_large
    try:
        with _decoding:
            decoded = read_image(data)
    except InputError as error:
        raise InputError(error.reason, error.hint, file=name) from None
    if decoded.pixels.shape[0] * decoded.pixels.shape[1] > most:  # of rare formats the size is known only now
        raise too_large

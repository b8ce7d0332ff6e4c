"""Sizes and boxes as the annotation formats want them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

from PIL import Image

from syntype.collection.decoding import orientation_of, read_bytes
from syntype.collection.exports.base import Content
from syntype.errors import CollectionError

__all__ = ["size_box", "size_of"]


def size_box(box: str | None) -> tuple[float, float, float, float] | None:
    """A box of the table as left, top, width, height in pixels.

    Example:
        >>> size_box("[10, 20, 40, 60]")
        (10, 20, 30, 40)
    """
    if box is None:
        return None
    left, top, right, bottom = json.loads(box)
    return left, top, right - left, bottom - top


def size_of(content: Content, row: int, values: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height of a row's upright image in pixels; read from the file where the table lacks them.

    Raises:
        CollectionError: they are not in the table, and the file is damaged.
    """
    if "width" in values and "height" in values:
        return values["width"], values["height"]
    data = read_bytes(content.collection.path(row))
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise CollectionError(f"{content.collection.path(row)}: is damaged. Put the file back, or import the collection again.") from None
    return (height, width) if orientation_of(data) >= 5 else (width, height)

"""Boxes of animals on the upright image, wherever they were drawn: on the image as it is stored, or on a smaller copy."""

from __future__ import annotations

import json
import math

from syntype.collection.sources.base import Entry

__all__ = ["fit_box", "turn_box"]

Box = tuple[float, float, float, float]
Size = tuple[int, int]


def turn_box(box: Box, size: Size, orientation: int) -> Box:
    """A box on the stored image as a box on the upright one.

    Args:
        box: left, top, right, bottom on the stored image, in pixels.
        size: width and height of the stored image, in pixels.
        orientation: EXIF orientation, 1 to 8 (EXIF 2.32, table 6).
    """
    (left, top, right, bottom), (width, height) = box, size
    if orientation in (2, 3, 7, 8):  # the stored left side is, in the upright image, on the right or at the bottom
        left, right = width - right, width - left
    if orientation in (3, 4, 6, 7):
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if orientation >= 5 else (left, top, right, bottom)


def fit_box(entry: Entry, width: int, height: int, orientation: int = 1) -> tuple[str | None, str | None]:
    """The box of an entry on the upright image.

    If the entry says on how large an image its box was drawn (``box_frame``) and the upright image has another size, the box is turned, when the
    size is that of the stored image, and scaled, when it is that of a smaller or larger copy. A box that fits neither is not used.

    Args:
        entry: the entry.
        width, height: of the upright image, in pixels.
        orientation: EXIF orientation of the stored image, 1 to 8.

    Returns:
        the box as JSON ``[left, top, right, bottom]`` in pixels, clipped to the image, or None; and a note if there is something to say of it.
    """
    if entry.box is None:
        return None, None
    box, frame, note = entry.box, entry.box_frame, None
    if entry.box_shares:
        frame = frame or (width, height)
        box = (box[0] * frame[0], box[1] * frame[1], box[2] * frame[0], box[3] * frame[1])
    if frame is not None:
        placed, note = _placed(box, frame, (width, height), orientation)
        if placed is None:
            return None, note
        box = placed
    left, top, right, bottom = max(0.0, box[0]), max(0.0, box[1]), min(float(width), box[2]), min(float(height), box[3])
    if not all(map(math.isfinite, box)) or right - left < 1 or bottom - top < 1:
        return None, f"box not used: it lies outside the image of {width} x {height} pixels"
    return json.dumps([int(edge) if edge == int(edge) else edge for edge in (left, top, right, bottom)]), note


def _placed(box: Box, frame: Size, upright: Size, orientation: int) -> tuple[Box | None, str | None]:
    """A box that was drawn on an image of the size ``frame`` as a box on the upright image, and a note."""
    turned = orientation >= 5
    stored = (upright[1], upright[0]) if turned else upright
    if frame != upright and frame != stored:
        if _is_copy(frame, upright):
            target = upright
        elif turned and _is_copy(frame, stored):
            target = stored
        else:
            drawn, here = f"{frame[0]} x {frame[1]}", f"{upright[0]} x {upright[1]}"
            return None, f"box not used: it was drawn on an image of {drawn} pixels, and this one has {here}"
        across, down = target[0] / frame[0], target[1] / frame[1]
        box = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
        scaled = max(abs(frame[0] - target[0]), abs(frame[1] - target[1])) > 1
        note = f"box drawn on a copy of {frame[0]} x {frame[1]} pixels, and scaled" if scaled else None
        frame = target
    else:
        note = None
    if turned and frame == stored and stored != upright:
        return turn_box(box, stored, orientation), note
    if orientation > 1 and not (turned and stored != upright):
        note = "the file stores this picture turned (EXIF); the box is taken as drawn on the upright picture"
    return box, note


def _is_copy(size: Size, other: Size) -> bool:
    """Whether two sizes are those of copies of one image: one scale for both sides, each rounded to whole pixels."""
    low = max((size[0] - 1) / other[0], (size[1] - 1) / other[1])
    high = min((size[0] + 1) / other[0], (size[1] + 1) / other[1])
    return low <= high

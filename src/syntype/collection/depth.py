"""Depth of decoded images: from 16 or 32 bits a channel, or floating-point values, to 8."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from syntype.errors import InputError

__all__ = ["to_8_bits"]

_LEVELS = {255: 8, 4095: 12}  # highest value and number of bits
_HIGHEST = 65535
_OTHER_ORDER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}  # N: the machine's own
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0


def to_8_bits(image: Image.Image, again: Callable[[], Image.Image]) -> tuple[Image.Image, str | None]:
    """Decode an opened image, and bring it to 8 bits a channel.

    The scale is that of 16 bits, by division by 257. Microscope cameras store 12 bits (or 8) in files of 16: where no value of the image is above
    4095 (255), it is divided by that and multiplied by 255. Floating-point values in 0..1 and whole numbers of 32 bits in 0..65535 keep their scale;
    others are stretched from their lowest to their highest.

    Args:
        image: an image that was opened and not yet decoded; one of 8 bits is decoded and returned.
        again: opens the same file a second time.

    Returns:
        the image, and a note if the scale is not the usual one.

    Raises:
        InputError: a value is not a number.
    """
    deep = _channels_of_16_bits(image, again)
    if deep is not None:
        alpha = image.mode == "RGBA"
        colours, note = _from_16_bits(deep[:, :, :-1] if alpha else deep)
        return Image.fromarray(np.dstack([colours, _by_257(deep[:, :, -1])]) if alpha else colours), note
    image.load()
    if not image.mode.startswith("I") and image.mode != "F":
        return image, None
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        values = values.astype(np.uint16)
        tags: Any = getattr(image, "tag_v2", {})
        if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow turns it round for 8 bits only
            values = np.uint16(next((level for level in _LEVELS if values.max() <= level), _HIGHEST)) - values
        grey, note = _from_16_bits(values)
    else:
        grey, note = _from_32_bits(values)
    return Image.fromarray(grey), note


def _channels_of_16_bits(image: Image.Image, again: Callable[[], Image.Image]) -> np.ndarray | None:
    """All bits of an image of several channels, of which Pillow keeps only the upper eight: uint16, shape (height, width, channels).

    Pillow names the order of the two bytes in its raw mode ("RGB;16B"). Decoded with the other order, the same file gives the lower eight bits.
    None: the image has 8 bits, one channel (whose bits Pillow keeps), or a raw mode of another kind.
    """
    modes = {tile.args[0] if isinstance(tile.args, tuple) and tile.args else tile.args for tile in getattr(image, "tile", ())}
    mode = str(next(iter(modes))) if len(modes) == 1 else ""
    if mode == "LA;16B":  # as four channels of 8 bits: grey and opacity, two bytes each
        parts = _decoded(image, "RGBA").astype(np.uint16)
        grey, opacity = parts[:, :, 0] << 8 | parts[:, :, 1], parts[:, :, 2] << 8 | parts[:, :, 3]
        return np.dstack([grey, grey, grey, opacity])
    channels, _, order = mode.partition(";16")
    if channels not in ("RGB", "RGBX", "RGBA") or order not in _OTHER_ORDER:
        return None
    with again() as second:
        low = _decoded(second, f"{channels};16{_OTHER_ORDER[order]}")
    image.load()
    return np.asarray(image).astype(np.uint16) << 8 | low


def _decoded(image: Image.Image, mode: str) -> np.ndarray:
    """Pixels of an opened image, decoded with another raw mode."""
    image.tile = [tile._replace(args=mode if isinstance(tile.args, str) else (mode, *tile.args[1:])) for tile in image.tile]  # type: ignore[attr-defined]
    image.load()
    return np.asarray(image)


def _by_257(values: np.ndarray) -> np.ndarray:
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _from_16_bits(values: np.ndarray) -> tuple[np.ndarray, str | None]:
    most = int(values.max(initial=0))
    for level, bits in _LEVELS.items():
        if 0 < most <= level:
            scaled = (values.astype(np.uint32) * 510 + level) // (2 * level)
            return scaled.astype(np.uint8), f"{bits} bits in a file of 16: no value is above {level}, which became white"
    return _by_257(values), None


def _from_32_bits(values: np.ndarray) -> tuple[np.ndarray, str | None]:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError("holds values that are not numbers", "Export it again as 8-bit PNG.")
    low, high = float(values.min()), float(values.max())
    kept = 1.0 if values.dtype.kind == "f" else float(_HIGHEST)
    if low < 0 or high > kept:
        note = f"values stretched: {low:.6g} became black and {high:.6g} white"
        return ((values.astype(np.float64) - low) * (255 / max(high - low, 1e-12)) + 0.5).astype(np.uint8), note
    return ((values * 255 + 0.5).astype(np.uint8) if kept == 1 else _by_257(values)), None

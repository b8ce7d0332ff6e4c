"""Colours of decoded images: from the colour space of the file to sRGB.

Colour profiles (ICC) are applied by Little CMS. A picture whose profile is sRGB in effect keeps its values exactly, so that nothing changes for most
photographs. What cannot be applied is ignored with a note.
"""

from __future__ import annotations

import io
import struct
import time
from functools import lru_cache

import numpy as np
from PIL import ExifTags, Image, ImageCms

from syntype.collection.costs import SECONDS, costly

__all__ = ["ADOBE_RGB", "IGNORED", "profile_of", "to_srgb"]

IGNORED = "colour profile ignored"
"""How the note of a profile that could not be applied begins."""
SAME = 3
"""A profile that changes no colour by more than this (of 255) counts as sRGB: some programs write curves that are rounded."""
_LARGEST = 8_000_000  # bytes; profiles of printing presses have 2 million at most
_BAND = 4_000_000  # pixels that are converted between two looks at the clock


def profile_of(image: Image.Image) -> bytes | None:
    """The ICC profile of an image; None for sRGB or unknown. Cameras set to Adobe RGB often embed none, and say so in EXIF only (DCF 2.0)."""
    embedded = image.info.get("icc_profile")
    if embedded:
        return bytes(embedded)
    try:
        return ADOBE_RGB if image.getexif().get_ifd(ExifTags.IFD.Interop).get(1) == "R03" else None
    except Exception:  # a damaged EXIF block does not cost the picture
        return None


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, str | None]:
    """Colours of a picture in sRGB.

    Args:
        image: mode RGB, L, CMYK or LAB, without transparency. RGB may hold grey values.
        profile: its ICC profile, or None.

    Returns:
        the picture, in mode RGB, and a note if the profile could not be applied.

    Raises:
        InputError: the conversion takes too long.
    """
    if image.mode == "LAB":  # its colours are absolute, whatever the profile says
        return _converted(image, _transform(b"", "LAB")), None
    if not profile:
        return image.convert("RGB"), None
    try:
        space = _space(profile)
        prepared = image.convert("L") if space == "GRAY" and _is_grey(image) else image.convert("RGB") if image.mode == "L" else image
        if {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space) != prepared.mode:
            return image.convert("RGB"), f"{IGNORED}: it is for {space or 'other'} pictures, and this one is {image.mode}"
        transform = _transform(profile, prepared.mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, struct.error):
        return image.convert("RGB"), f"{IGNORED}: it is damaged"
    return (image.convert("RGB") if transform is None else _converted(prepared, transform)), None


def _is_grey(image: Image.Image) -> bool:
    if image.mode != "RGB":
        return image.mode == "L"
    values = np.asarray(image)
    return bool((values[:, :, 0] == values[:, :, 1]).all() and (values[:, :, 1] == values[:, :, 2]).all())


def _space(profile: bytes) -> str:
    """The colour space of a profile: ``RGB``, ``GRAY``, ``CMYK`` or another.

    Raises:
        ValueError: it is no ICC profile, or one that may hold calculations without end.
    """
    if len(profile) > _LARGEST or profile[36:40] != b"acsp" or b"mpet" in profile:  # mpet: chains of any length (ICC.1, multiProcessElementsType)
        raise ValueError("no profile that is read")
    return profile[16:20].decode("latin-1").strip()


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a colour space to sRGB; None where that changes nothing. Made without a cache of its own, so that threads may share it."""
    if mode == "LAB":
        source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB", 5000))
    else:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    srgb = ImageCms.createProfile("sRGB")
    flags = ImageCms.Flags.NOCACHE
    made = ImageCms.buildTransform(source, srgb, mode, "RGB", renderingIntent=ImageCms.Intent.PERCEPTUAL, flags=flags)
    probe = _probe(mode)
    if probe is not None:
        changed = np.asarray(ImageCms.applyTransform(probe, made)).astype(int) - np.asarray(probe.convert("RGB"))
        if np.abs(changed).max() <= SAME:
            return None
    return made


def _probe(mode: str) -> Image.Image | None:
    """Colours in which two spaces are compared: all greys, and for RGB a cube of 6 x 6 x 6 colours."""
    ramp = np.arange(256, dtype=np.uint8)
    if mode == "L":
        return Image.fromarray(ramp[None])
    if mode == "RGB":
        steps = np.linspace(0, 255, 6).round().astype(np.uint8)
        cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
        return Image.fromarray(np.concatenate([np.repeat(ramp[:, None], 3, axis=1), cube])[None])
    return None


def _converted(image: Image.Image, transform: ImageCms.ImageCmsTransform | None) -> Image.Image:
    """Apply a transform, a band of rows at a time, as long as it does not take too long."""
    if transform is None:
        return image.convert("RGB")
    result = Image.new("RGB", image.size)
    rows = max(1, _BAND // image.width)
    end = time.thread_time() + SECONDS
    for top in range(0, image.height, rows):
        if time.thread_time() > end:
            raise costly(f"converting its colours takes more than {SECONDS:.0f} seconds")
        band = image.crop((0, top, image.width, min(image.height, top + rows)))
        result.paste(ImageCms.applyTransform(band, transform), (0, top))  # type: ignore[arg-type]
    return result


def _matrix_profile(primaries: tuple[tuple[float, float, float], ...], gamma: float, name: bytes) -> bytes:
    """An RGB profile of three primaries (XYZ, adapted to D50) and one exponent: ICC.1:2001, sections 6.1, 6.3.1.1 and 6.5."""

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    white = (0.9642, 1.0, 0.8249)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + b"\0" * 79
    entries = {b"desc": description + b"\0" * (-len(description) % 4), b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": xyz(white)}
    entries |= {tag + b"XYZ": xyz(value) for tag, value in zip((b"r", b"g", b"b"), primaries, strict=True)}
    entries |= {tag + b"TRC": curve for tag in (b"r", b"g", b"b")}
    table, body, start = struct.pack(">I", len(entries)), b"", 132 + 12 * len(entries)
    for tag, content in entries.items():
        table += tag + struct.pack(">II", start + len(body), len(content))
        body += content
    head = struct.pack(">I4sI", start + len(body), b"lcms", 0x02100000) + b"mntrRGB XYZ " + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp"
    head = head.ljust(68, b"\0") + xyz(white)[8:]
    return head.ljust(128, b"\0") + table + body


ADOBE_RGB = _matrix_profile(((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)), 563 / 256, b"Adobe RGB")
"""Adobe RGB (1998) as an ICC profile: primaries and exponent of its specification (Adobe Systems 2005, sections 4.3.1 and 4.3.4.2)."""

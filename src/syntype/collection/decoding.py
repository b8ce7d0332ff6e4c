"""Decoding of image files: every reader of photographs in Syntype uses ``decode``.

What comes out is always uint8 RGB in the colours of sRGB, upright. What cannot be used raises ``InputError`` with a reason from a
short fixed list (so that reasons can be counted) and a hint that holds the particulars. Only formats with sturdy decoders are tried
here, so that a hostile file never reaches an interpreter (PostScript), and what a file may cost is bounded (``costs``). Rare formats
(``foreign``) are decoded in processes of their own (``isolated``).
"""

from __future__ import annotations

import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from syntype.collection.colours import profile_of, to_srgb
from syntype.collection.costs import MAX_PIXELS, Watched, check_cost
from syntype.collection.depth import to_8_bits
from syntype.collection.foreign import BEGINNING, Foreign, foreign_kind, refusal
from syntype.collection.isolated import decode_isolated
from syntype.collection.tiff_tags import first_directory, order_of
from syntype.errors import InputError

__all__ = [
    "DECODING", "FORMATS", "MAX_BYTES", "MAX_PIXELS", "MIN_SIDE", "Decoded", "decode", "in_threads", "orientation_of", "read_bytes", "read_image",
]  # fmt: skip

DECODING = "4"
"""Version of the method, for caches of what was decoded: it changes whenever the same file gives other pixels than before."""

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")
"""Formats that are always read, by their Pillow names (stereo and phone JPEGs, which Pillow calls MPO, count as JPEG)."""
MAX_BYTES = 1_000_000_000
"""Largest file, in bytes."""
MIN_SIDE = 8
"""Shortest side, in pixels, below which an image shows nothing."""

_GREY = (128, 128, 128)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image of each EXIF orientation upright."""

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Decoded:
    """A decoded image.

    Attributes:
        pixels: uint8, shape (height, width, 3), RGB 0..255, upright.
        format: one of ``FORMATS``, or the short name of another kind ("HEIC", "CR2").
        note: what a user should know of the conversion ("animated: the first frame is used"), or None; several are divided by semicolons.
    """

    pixels: np.ndarray
    format: str
    note: str | None = None


def decode(source: Path | str | bytes) -> np.ndarray:
    """Decode an image file, or its bytes, to uint8 RGB, shape (height, width, 3), upright. See ``read_image``."""
    return read_image(source).pixels


def read_image(source: Path | str | bytes) -> Decoded:
    """Decode an image file, or its bytes.

    EXIF rotation is applied; of an animation or several pages the first is taken; colour profiles are applied; grey, palette, CMYK
    and Lab become RGB; 16 bits become 8 by division by 257 (by 4095 / 255 where all values fit into 12 bits); transparent pixels become
    mid-grey, the same for every image, so that the background says nothing about the species.

    Raises:
        InputError: the file is missing, empty, too large, no image, damaged, smaller than ``MIN_SIDE``, or made so that decoding takes too long.
    """
    file = None if isinstance(source, bytes) else Path(source)
    data = source if isinstance(source, bytes) else read_bytes(Path(source))
    if not data:
        raise InputError("is empty (0 bytes)", "Copy it again from where it came.", file=file)
    with _quiet():
        try:
            return _decode(data, file)
        except InputError as error:
            raise InputError(error.reason, error.hint, file=file) from None
        except UnidentifiedImageError:
            raise _unidentified(data, file) from None
        except Image.DecompressionBombError:
            raise _too_large(file, "") from None
        except Exception as error:  # decoders raise anything on hostile bytes; the error concerns this file only
            raise InputError("is truncated or damaged", f"Copy it again from where it came ({_brief(error)}).", file=file) from None


def read_bytes(path: Path) -> bytes:
    """Read a whole file of at most ``MAX_BYTES``.

    Raises:
        InputError: it is missing, not a regular file (a pipe would block for ever), too large or unreadable.
    """
    try:
        if not path.is_file():
            if path.exists():
                raise InputError("is not a file", "Name an image file.", file=path)
            raise InputError("is missing", "Check the path, or remove it from the list.", file=path)
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError("is too large a file", f"It has {size:,} bytes; at most {MAX_BYTES:,} are read.", file=path)
        with path.open("rb") as file:
            head = file.read(BEGINNING)
            if (kind := foreign_kind(head)) is not None and kind.reader is None and order_of(head) is None:
                raise refusal(kind, install=False)  # of a video no more than its beginning is read
            return head + file.read()
    except InputError as error:
        raise InputError(error.reason, error.hint, file=path) from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise InputError("cannot be read", f"Check its permissions ({_brief(error)}).", file=path) from None


def orientation_of(data: bytes) -> int:
    """How an image file stores its picture: the EXIF orientation, 1 (upright) to 8; 1 if the file does not say."""
    try:
        with _quiet(), Image.open(Watched(data), formats=FORMATS) as image:
            value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged EXIF block does not cost the picture
        return 1
    return int(value) if value in _TURNS else 1


def in_threads(function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """Results of ``function`` for every item, in order, computed by threads (Pillow and hashing release the lock).

    Only a few items are under way at any time, so that memory stays bounded and an interrupt takes effect at once.
    """
    workers = min(8, os.cpu_count() or 1)
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 8 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _decode(data: bytes, file: Path | None) -> Decoded:
    if (kind := foreign_kind(data)) is not None:
        return _decode_foreign(data, kind)
    check_cost(data)
    with Image.open(Watched(data), formats=FORMATS) as image:
        width, height = image.size
        name = str(image.format)
        if width * height > MAX_PIXELS:  # before any pixel is decoded
            raise _too_large(file, f"It measures {width} x {height}; ")
        if min(width, height) < MIN_SIDE:
            raise _too_small(width, height)
        with _room(width * height):
            eight_bit, depth = to_8_bits(image, lambda: Image.open(Watched(data), formats=FORMATS))
            profile, turn = profile_of(image), _turn(image)  # once it is decoded: Pillow turns a TIFF itself, and finds the EXIF block of a PNG late
            pixels, colour = _to_rgb(eight_bit if turn is None else eight_bit.transpose(turn), profile)
        frames = "several pages: the first is used" if name == "TIFF" else "animated: the first frame is used"
        notes = [frames if name != "MPO" and _has_frames(image) else None, depth, colour]
        return Decoded(pixels, "JPEG" if name == "MPO" else name, "; ".join(filter(None, notes)) or None)


def _decode_foreign(data: bytes, kind: Foreign) -> Decoded:
    """Decode a rare format. Two at a time, as its size is known to the other process only."""
    with _room(MAX_PIXELS // 2):
        image, note = decode_isolated(data, kind, MIN_SIDE)
        if isinstance(image, tuple):
            raise _too_small(*image) if min(image) < MIN_SIDE else _too_large(None, f"It measures {image[0]} x {image[1]}; ")
        eight_bit, depth = to_8_bits(image, lambda: image)
        pixels, colour = _to_rgb(eight_bit, profile_of(image))
    return Decoded(pixels, kind.format, "; ".join(filter(None, (note, depth, colour))) or None)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What turns an image upright. (Pillow's ``exif_transpose`` also rewrites the EXIF block, which fails if it is damaged.)"""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a damaged EXIF block does not cost the picture
        return None


def _to_rgb(image: Image.Image, profile: bytes | None) -> tuple[np.ndarray, str | None]:
    """Pixels of an image of 8 bits in sRGB, uint8 (height, width, 3), and a note."""
    if not image.has_transparency_data:
        plain = image if image.mode in ("RGB", "L", "CMYK", "LAB") else image.convert("RGB")
        result, note = to_srgb(plain, profile)
        return np.asarray(result), note
    layer = image.convert("RGBA")
    opacity = layer.getchannel("A")
    if opacity.getextrema() == (0, 0):
        raise InputError("is wholly transparent", "Export it again with its background.")
    colours, note = to_srgb(layer.convert("RGB"), profile)
    ground = Image.new("RGB", image.size, _GREY)
    ground.paste(colours, mask=opacity)
    return np.asarray(ground), note


def _has_frames(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # the first frame is sound, a later one is not
        return True


def _unidentified(data: bytes, file: Path | None) -> InputError:
    """What to say of a file that Pillow does not know."""
    if (tiff := order_of(data)) is not None and (found := first_directory(data, *tiff)).tags:
        bits = [str(number) for number in found.tags[258].values(data, tiff[0])[:4]] if 258 in found.tags else ["?"]
        kinds = {2: "signed ", 3: "floating-point "}
        sample = next(iter(found.tags[339].values(data, tiff[0])), 1) if 339 in found.tags else 1
        told = f"It has {len(bits)} channels of {kinds.get(sample, '')}{bits[0]} bits, photometric {found.number(262, data, tiff[0])}"
        return InputError("is a TIFF of a kind that cannot be read", f"{told}; export it with 8 or 16 bits, in RGB or grey.", file=file)
    hint = f"Syntype reads {', '.join(FORMATS)}: convert it, copy it again if its beginning is damaged, or remove it."
    return InputError("is not an image that can be read", hint, file=file)


def _too_small(width: int, height: int) -> InputError:
    return InputError(f"is smaller than {MIN_SIDE} pixels", f"It measures {width} x {height} pixels; use a larger one.")


def _too_large(file: Path | None, measure: str) -> InputError:
    return InputError(
        f"has more than {MAX_PIXELS // 1_000_000} million pixels", f"{measure}scale it down, if it is not a decompression bomb.", file=file
    )


def _brief(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:120]}" if text else type(error).__name__


_room_free = threading.Condition()
_pixels_taken = 0


@contextmanager
def _room(pixels: int) -> Iterator[None]:
    """Wait until threads decode at most ``MAX_PIXELS`` together, so that large images in several threads do not add up in memory."""
    global _pixels_taken
    with _room_free:
        _room_free.wait_for(lambda: _pixels_taken == 0 or _pixels_taken + pixels <= MAX_PIXELS)
        _pixels_taken += pixels
    try:
        yield
    finally:
        with _room_free:
            _pixels_taken -= pixels
            _room_free.notify_all()


_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_filters: warnings.catch_warnings | None = None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Pillow's warnings (odd EXIF, large sizes): each fault that matters raises. Counted, as filters are shared by all threads."""
    global _quiet_depth, _quiet_filters
    with _quiet_lock:
        if _quiet_depth == 0:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.simplefilter("ignore")
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0 and _quiet_filters is not None:
                _quiet_filters.__exit__(None, None, None)
                _quiet_filters = None

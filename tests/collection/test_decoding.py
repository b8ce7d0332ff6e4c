from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from syntype.collection.decoding import MAX_PIXELS, MIN_SIDE, decode, in_threads, read_bytes, read_image
from syntype.errors import InputError


def picture(height: int = 40, width: int = 56, seed: int = 0) -> np.ndarray:
    """A smooth, lopsided uint8 picture, so that turning it shows."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def reason(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        decode(data)
    return caught.value.reason


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims a size."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_come_back_exactly(kind: str) -> None:
    pixels = picture()
    result = read_image(encoded(Image.fromarray(pixels), kind))
    assert result.format == kind and result.note is None
    assert result.pixels.dtype == np.uint8
    np.testing.assert_array_equal(result.pixels, pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_rotation_is_applied(orientation: int, kind: str) -> None:
    image = Image.fromarray(picture())
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    data = encoded(image, kind, exif=exif, **options)
    with Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    np.testing.assert_array_equal(decode(data), expected)
    assert decode(data).shape[:2] == ((40, 56) if orientation < 5 else (56, 40))
    if kind == "PNG":  # lossless: against the EXIF standard's table, 2-4 mirrored and turned, 5-8 with rows as columns
        flips = {1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}[orientation]
        laid = picture() if orientation < 5 else picture().transpose(1, 0, 2)
        np.testing.assert_array_equal(decode(data), laid[:: flips[0], :: flips[1]])


def test_a_damaged_exif_block_does_not_cost_the_picture() -> None:
    image = Image.fromarray(picture())
    data = encoded(image, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03\xff\xff\xff\xff\0\x09\0\0")
    np.testing.assert_array_equal(decode(data), decode(encoded(image, "JPEG")))


def test_orientation_counts_even_where_another_exif_entry_is_damaged() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    block = bytearray(exif.tobytes())
    block[17] = 0  # the first entry's tag: Pillow can read this block, but not write it again
    data = encoded(Image.fromarray(picture()), "PNG", exif=bytes(block))
    with Image.open(io.BytesIO(data)) as opened, pytest.raises(struct.error):
        ImageOps.exif_transpose(opened)
    np.testing.assert_array_equal(decode(data), picture().transpose(1, 0, 2)[:, ::-1])


def test_grey_palette_and_two_tone_become_rgb() -> None:
    grey = picture()[:, :, 0]
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(grey), "PNG")), np.repeat(grey[:, :, None], 3, axis=2))
    few = Image.fromarray(picture()).quantize(16)
    np.testing.assert_array_equal(decode(encoded(few, "PNG")), np.asarray(few.convert("RGB")))
    two = Image.fromarray(grey > 128)
    np.testing.assert_array_equal(decode(encoded(two, "PNG"))[:, :, 0], np.where(grey > 128, 255, 0))


def test_sixteen_bits_keep_their_scale() -> None:
    wide = np.linspace(0, 65535, 40 * 56).reshape(40, 56).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(decode(encoded(Image.fromarray(wide), kind))[:, :, 0], np.rint(wide / 257).astype(np.uint8))
    dim = np.full((20, 20), 2570, dtype=np.int32)
    assert (decode(encoded(Image.fromarray(dim), "TIFF")) == 10).all()


def test_floats_in_unit_range_keep_their_scale_and_others_are_stretched() -> None:
    ramp = np.linspace(0, 1, 40 * 56, dtype=np.float32).reshape(40, 56)
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(ramp), "TIFF"))[:, :, 0], np.floor(ramp * 255 + 0.5))
    stretched = decode(encoded(Image.fromarray(ramp * 5000 - 7), "TIFF"))
    assert (stretched.min(), stretched.max()) == (0, 255)
    ramp[3, 3] = np.nan
    assert reason(encoded(Image.fromarray(ramp), "TIFF")) == "holds values that are not numbers"


def test_cmyk_photographs_look_like_their_rgb_originals() -> None:
    image = Image.fromarray(picture())
    result = decode(encoded(image.convert("CMYK"), "JPEG", quality=98))
    assert np.abs(result.astype(int) - np.asarray(image).astype(int)).mean() < 6


def test_transparency_lies_over_mid_grey() -> None:
    pixels = picture()
    alpha = np.full(pixels.shape[:2], 255, dtype=np.uint8)
    alpha[:10] = 0
    result = decode(encoded(Image.fromarray(np.dstack([pixels, alpha])), "PNG"))
    np.testing.assert_array_equal(result[10:], pixels[10:])
    assert (result[:10] == 128).all()
    assert reason(encoded(Image.fromarray(np.dstack([pixels, alpha * 0])), "PNG")) == "is wholly transparent"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken_and_noted(kind: str) -> None:
    frames = [Image.fromarray(picture(seed=seed)).quantize(8).convert("RGB") for seed in range(3)]
    result = read_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})))
    assert np.abs(result.pixels.astype(int) - np.asarray(frames[0]).astype(int)).mean() < 2
    assert result.note == ("several pages: the first is used" if kind == "TIFF" else "animated: the first frame is used")


def test_refusals_have_countable_reasons() -> None:
    whole = encoded(Image.fromarray(picture(200, 200)), "JPEG")
    assert reason(b"") == "is empty (0 bytes)"
    assert reason(b"Field notes, 3 May") == "is not an image that can be read"
    assert reason(whole[: len(whole) // 2]) == "is truncated or damaged"
    assert reason(encoded(Image.fromarray(picture(1, 1)), "PNG")) == f"is smaller than {MIN_SIDE} pixels"
    assert reason(encoded(Image.fromarray(picture(3, 500)), "PNG")) == f"is smaller than {MIN_SIDE} pixels"


@pytest.mark.parametrize("side", [11_000, 13_000, 30_000, 2**31 - 1])
def test_bombs_are_refused_by_their_header(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("its pixels were decoded"))
    assert side * side > MAX_PIXELS
    assert reason(png_claiming(side, side)) == f"has more than {MAX_PIXELS // 1_000_000} million pixels"


def test_postscript_never_reaches_an_interpreter() -> None:
    assert reason(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n(/etc/passwd) run\n") == "is not an image that can be read"


def test_files_that_are_none(tmp_path: Path) -> None:
    for path, expected in ((tmp_path, "is not a file"), (tmp_path / "none.jpg", "is missing"), (Path("a\0b.jpg"), None)):
        with pytest.raises(InputError) as caught:
            read_bytes(path)
        assert expected in (None, caught.value.reason)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")  # reading it would wait for ever
        with pytest.raises(InputError, match="is not a file"):
            read_bytes(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    with pytest.raises(InputError):
        decode(tmp_path / "loop.jpg")


def test_warning_filters_survive_decoding_in_many_threads() -> None:
    data = [encoded(Image.fromarray(picture(seed=seed)), "JPEG") for seed in range(8)] * 8
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [decode(item) for item in data]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_threads_keep_the_order_and_pass_errors_on() -> None:
    assert list(in_threads(lambda number: number * number, range(500))) == [number * number for number in range(500)]

    def fail(number: int) -> int:
        if number == 77:
            raise ValueError("77")
        return number

    with pytest.raises(ValueError, match="77"):
        list(in_threads(fail, range(100_000)))


def test_threads_do_not_run_far_ahead() -> None:
    taken = []
    results = in_threads(lambda number: number, (taken.append(number) or number for number in range(100_000)))
    next(results)
    assert len(taken) < 1000
    results.close()

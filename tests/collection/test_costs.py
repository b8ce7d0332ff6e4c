"""Small files that would take minutes or gigabytes to decode are refused at once; photographs are not."""

from __future__ import annotations

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from syntype.collection import costs
from syntype.collection.decoding import FORMATS, decode, read_image
from syntype.errors import InputError

COSTLY = "would take too long to decode"


def segment(kind: int, body: bytes) -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(body) + 2) + body


def jpeg_of_scans(scans: int, side: int = 64, *, progressive: bool = True, data: bytes = b"") -> bytes:
    """A grey JPEG with this many scans, each of which holds almost nothing and goes over all pixels."""
    tables = segment(0xDB, b"\0" + b"\x10" * 64) + segment(0xC4, b"\0\1" + b"\0" * 16) + segment(0xC4, b"\x10\1\1" + b"\0" * 14 + b"\xe0\0")
    frame = segment(0xC2 if progressive else 0xC1, struct.pack(">BHHB", 8, side, side, 1 if progressive else 3) + b"\1\x11\0")
    if not progressive:
        frame = segment(0xC1, struct.pack(">BHHB", 8, side, side, 3) + b"\1\x11\0\2\x11\0\3\x11\0")
    first = segment(0xDA, b"\1\1\0\0\0\0") if progressive else b""
    later = segment(0xDA, b"\1\1\0\1\x3f\0" if progressive else b"\1\1\0\0\x3f\0") + data
    return b"\xff\xd8" + tables + frame + first + later * scans + b"\xff\xd9"


def tiff(tags: dict[int, tuple[int, int, bytes | int]], data: bytes, *, big: bool = False) -> bytes:
    """A little-endian TIFF: ``data`` after its head, then one directory of tag -> type, count, value or offset."""
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16 + len(data)) if big else struct.pack("<2sHI", b"II", 42, 8 + len(data))
    entries = b"".join(struct.pack("<HHQQ" if big else "<HHII", tag, kind, count, value) for tag, (kind, count, value) in sorted(tags.items()))
    return head + data + struct.pack("<Q" if big else "<H", len(tags)) + entries + b"\0" * (8 if big else 4)


GREY = {256: (4, 1, 64), 257: (4, 1, 64), 258: (3, 1, 8), 259: (3, 1, 8), 262: (3, 1, 1), 277: (3, 1, 1), 278: (4, 1, 64)}
PACKED = zlib.compress(bytes(64 * 64))


def encoded(kind: str, side: int = 64, **options: object) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(buffer, kind, **options)
    return buffer.getvalue()


def refused(data: bytes) -> str:
    began = time.thread_time()
    with pytest.raises(InputError) as caught:
        decode(data)
    assert caught.value.reason == COSTLY, caught.value
    assert time.thread_time() - began < 2
    return caught.value.hint


@pytest.mark.parametrize("progressive", [True, False])
def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded(progressive: bool) -> None:
    hint = refused(jpeg_of_scans(3000, progressive=progressive))
    assert "scans" in hint and "at most 100" in hint


def test_a_jpeg_of_thousands_of_scans_and_sixty_million_pixels_costs_nothing() -> None:
    refused(jpeg_of_scans(30_000, side=7700))


@pytest.mark.parametrize("wrapped", [b"\xff\xe1\0\1", b"\xff\xfe\0\0", b"\xff\xd0\xff\xd7", b"\xff\xff\xff", b"junk"])
def test_scans_are_counted_behind_odd_segments(wrapped: bytes) -> None:
    refused(jpeg_of_scans(3000, data=wrapped))


def test_progressive_photographs_and_those_with_a_film_behind_them_are_read() -> None:
    plain = encoded("JPEG", progressive=True, quality=95)
    for data in (plain, plain + b"\xff\xda" * 5000, plain[:2] + segment(0xED, b"\xff\xda" * 5000) + plain[2:], jpeg_of_scans(90)):
        assert read_image(data).format == "JPEG"


def test_a_file_of_millions_of_small_parts_is_refused() -> None:
    png, gif = encoded("PNG"), encoded("GIF")
    chunk = struct.pack(">I4sI", 0, b"xxXx", zlib.crc32(b"xxXx"))
    refused(png[:33] + chunk * 100_000 + png[33:])
    refused(b"\xff\xd8" + b"\xff\xec\0\2" * 100_000 + encoded("JPEG")[2:])
    refused(b"\xff\xd8" + b"\xff" * 100_000 + encoded("JPEG")[2:])
    start = 13 + 3 * 2 ** ((gif[10] & 7) + 1)
    refused(gif[:start] + b"!\xfe" + b"\1a" * 200_000 + b"\0" + gif[start:])


def test_a_large_photograph_in_usual_parts_is_read() -> None:
    png = encoded("PNG", 1000, compress_level=0)
    assert len(png) > 3_000_000 and read_image(png).pixels.shape == (1000, 1000, 3)
    assert read_image(encoded("GIF", 600, save_all=True, append_images=[Image.new("RGB", (600, 600))])).note == "animated: the first frame is used"


def test_decoding_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "SECONDS", -1.0)
    for kind in FORMATS:
        refused(encoded(kind))


def test_time_is_counted_by_image_and_thread_not_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "SECONDS", 0.5)
    watched = costs.Watched(encoded("PNG"))
    time.sleep(0.6)  # a machine that is busy with something else
    assert len(watched.read(10)) == 10


@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_whose_strips_share_their_bytes_is_refused(big: bool) -> None:
    start, count = (16 if big else 8), 64
    offsets, sizes = struct.pack("<64I", *[start] * count), struct.pack("<64I", *[len(PACKED)] * count)
    data = PACKED + offsets + sizes
    tags = GREY | {278: (4, 1, 1), 273: (4, count, start + len(PACKED)), 279: (4, count, start + len(PACKED) + len(offsets))}
    assert "share" in refused(tiff(tags, data, big=big))
    alone = GREY | {273: (4, 1, start), 279: (4, 1, len(PACKED))}
    assert read_image(tiff(alone, PACKED, big=big)).pixels.shape == (64, 64, 3)


def test_a_tiff_whose_tags_share_their_bytes_or_whose_tiles_are_huge_is_refused() -> None:
    alone = GREY | {273: (4, 1, 8), 279: (4, 1, len(PACKED))}
    many = dict.fromkeys(range(40000, 42000), (1, 2000, 8))
    assert "tags share" in refused(tiff(alone | many, PACKED + bytes(2000)))
    assert "tags" in refused(tiff(alone | dict.fromkeys(range(30000, 35000), (1, 1, 0)), PACKED))
    tiles = {tag: value for tag, value in GREY.items() if tag != 278} | {
        322: (4, 1, 16_000),
        323: (4, 1, 16_000),
        324: (4, 1, 8),
        325: (4, 1, len(PACKED)),
    }
    assert "tiles" in refused(tiff(tiles, PACKED))


@pytest.mark.parametrize("method", [2, 4, 6, 32809, 34676, 34925, 50001, 65000])
def test_a_tiff_of_a_rare_compression_is_refused_by_name(method: int) -> None:
    assert str(method) in refused(tiff(GREY | {259: (3, 1, method), 273: (4, 1, 8), 279: (4, 1, len(PACKED))}, PACKED))


@pytest.mark.parametrize("method", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("side", [64, 700])
def test_the_usual_tiffs_are_read(method: str | None, side: int) -> None:
    assert read_image(encoded("TIFF", side, compression=method)).pixels.shape == (side, side, 3)


def _hostile(rng: np.random.Generator, files: list[bytes]) -> bytes:
    """A file of any format after some of: other header values, repeated parts, huge sizes, and two files in one."""
    data = bytearray(files[rng.integers(len(files))])
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, min(len(data), 400)))
        match rng.integers(6):
            case 0:
                data[at] = rng.choice([0, 1, 2, 127, 128, 254, 255])
            case 1:
                data[at : at + 2] = struct.pack(">H", rng.choice([0, 1, 255, 16_000, 65_535]))
            case 2:
                data[at : at + 4] = struct.pack("<I", rng.choice([0, 1, 65_535, 10_000_000, 2**31 - 1, 2**32 - 1]))
            case 3:
                stop = int(rng.integers(at, min(len(data), at + 300) + 1))
                data[at:stop] = bytes(data[at:stop]) * int(rng.integers(1, 500))
            case 4:
                data[at : at + 4] = struct.pack(">I", rng.choice([0, 1, 65_535, 10_000_000, 2**31 - 1]))
            case 5:
                data[at:at] = files[rng.integers(len(files))][: rng.integers(1, 500)]
    return bytes(data)


@pytest.mark.parametrize("number", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_file_takes_longer_than_the_limit(number: int) -> None:
    still = [encoded(kind) for kind in FORMATS]
    moving = [
        encoded(kind, save_all=True, append_images=[Image.new("RGB", (64, 64), (at, 0, 0)) for at in range(9)]) for kind in ("GIF", "PNG", "WEBP")
    ]
    packed = [encoded("TIFF", compression=method) for method in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")]
    files = [*still, *moving, *packed, encoded("JPEG", progressive=True), jpeg_of_scans(50), encoded("WEBP", lossless=True)]
    worst = 0.0
    for index in range(number):
        data = _hostile(np.random.default_rng([31, index]), files)
        began = time.thread_time()
        try:
            assert decode(data).dtype == np.uint8
        except InputError as error:
            assert error.reason and error.hint
        worst = max(worst, time.thread_time() - began)
    assert worst < costs.SECONDS, f"one file took {worst:.1f} s"

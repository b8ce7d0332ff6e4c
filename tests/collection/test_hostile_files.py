"""Thousands of damaged and hostile files, made from real photographs where they are there: no crash, each reported, the good ones kept."""

from __future__ import annotations

import csv
import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from syntype.collection.decoding import decode
from syntype.collection.importers import CollectConfig, collect
from syntype.collection.table import Collection
from syntype.run import Run

REAL_DATA = Path(os.environ.get("SYNTYPE_FISH4KNOWLEDGE", Path(__file__).parents[3] / "shared" / "data" / "fish4knowledge"))


@dataclass(frozen=True)
class Case:
    """A file to import and what must become of it: kept with these pixels, kept with any, refused, or either."""

    name: str
    data: bytes
    fate: str  # kept | refused | either
    pixels: np.ndarray | None = None


def _encode(pixels: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(buffer, kind, **options)
    return buffer.getvalue()


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _png(width: int, height: int, body: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(body)) + _chunk(b"IEND", b"")


def _truncated(jpeg: bytes, pixels: np.ndarray, rng: np.random.Generator) -> Case:
    return Case("cut.jpg", jpeg[: int(len(jpeg) * rng.uniform(0.02, 0.9))], "refused")


def _truncated_png(jpeg: bytes, pixels: np.ndarray, rng: np.random.Generator) -> Case:
    data = _encode(pixels, "PNG")
    return Case("cut.png", data[: int(len(data) * rng.uniform(0.02, 0.9))], "refused")


def _flipped(jpeg: bytes, pixels: np.ndarray, rng: np.random.Generator) -> Case:
    data = np.frombuffer(jpeg, dtype=np.uint8).copy()
    at = rng.integers(0, len(data), rng.integers(1, 40))
    data[at] ^= (1 << rng.integers(0, 8, len(at))).astype(np.uint8)
    return Case("flip.jpg", data.tobytes(), "either")


def _flipped_other(jpeg: bytes, pixels: np.ndarray, rng: np.random.Generator) -> Case:
    kind = ("PNG", "GIF", "WEBP", "TIFF", "BMP")[rng.integers(5)]
    data = np.frombuffer(_encode(pixels, kind), dtype=np.uint8).copy()
    data[rng.integers(0, min(len(data), 200), 3)] ^= np.uint8(1 << rng.integers(0, 8))  # mostly in the header
    return Case(f"flip.{kind.lower()}", data.tobytes(), "either")


def _odd(jpeg: bytes, pixels: np.ndarray, rng: np.random.Generator) -> Case:
    width, height = (int(side) for side in rng.integers(11_000, 2**31 - 1, 2))
    choices = [
        Case("zero.jpg", b"", "refused"),
        Case("random.jpg", rng.bytes(int(rng.integers(1, 5000))), "refused"),
        Case("random2.png", b"\x89PNG\r\n\x1a\n" + rng.bytes(2000), "refused"),
        Case("random3.jpg", b"\xff\xd8\xff\xe0" + rng.bytes(2000), "refused"),
        Case("random4.tif", b"II*\0\x08\0\0\0" + rng.bytes(2000), "refused"),
        Case("random5.gif", b"GIF89a" + rng.bytes(2000), "either"),
        Case("text.jpg", b"Field note: nothing seen", "refused"),
        Case("page.jpg", b"<!DOCTYPE html><html><title>404 Not Found</title></html>", "refused"),
        Case("drawing.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n(%pipe%id) (r) file\n", "refused"),
        Case("bomb.png", _png(width, height, b"\0" * 10_000), "refused"),
        Case("point.png", _png(1, 1, b"\0\1\2\3"), "refused"),
        Case("line.png", _encode(pixels[:1], "PNG"), "refused"),
        Case("column.png", _encode(pixels[:, :3], "PNG"), "refused"),
        Case("clear.png", _encode(np.dstack([pixels, np.zeros(pixels.shape[:2], np.uint8)]), "PNG"), "refused"),
    ]
    return choices[rng.integers(len(choices))]


def _sound(jpeg: bytes, pixels: np.ndarray, rng: np.random.Generator) -> Case:
    choices: list[Callable[[], Case]] = [
        lambda: Case("plain.jpg", jpeg, "kept", pixels),
        lambda: Case("noending", jpeg, "kept", pixels),
        lambda: Case("wrong.png", jpeg, "kept", pixels),
        lambda: Case("wrong.tif", _encode(pixels, "PNG"), "kept", pixels),
        lambda: Case("spaces and % signs?.bmp", _encode(pixels, "BMP"), "kept", pixels),
        lambda: Case("trailing.jpg", jpeg + rng.bytes(300), "kept", pixels),
        lambda: Case("opaque.png", _encode(np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)]), "PNG"), "kept", pixels),
        lambda: Case("lossless.webp", _encode(pixels, "WEBP", lossless=True), "kept", pixels),
        lambda: Case("grey.png", _encode(pixels[:, :, 0], "PNG"), "kept", np.repeat(pixels[:, :, :1], 3, axis=2)),
        lambda: Case("deep.png", _encode(pixels[:, :, 0].astype(np.uint16) * 257, "PNG"), "kept", np.repeat(pixels[:, :, :1], 3, axis=2)),
        lambda: Case("deep.tif", _encode(pixels[:, :, 1].astype(np.uint16) * 257, "TIFF"), "kept", np.repeat(pixels[:, :, 1:2], 3, axis=2)),
        lambda: Case("ink.jpg", _encode(Image.fromarray(pixels).convert("CMYK"), "JPEG"), "kept"),
        lambda: Case("wide.png", _encode(np.repeat(pixels[:9], 20, axis=1), "PNG"), "kept", np.repeat(pixels[:9], 20, axis=1)),
        lambda: _turned(pixels, int(rng.integers(1, 9))),
        lambda: _moving(pixels, ("GIF", "WEBP")[rng.integers(2)]),
    ]
    return choices[rng.integers(len(choices))]()


def _turned(pixels: np.ndarray, orientation: int) -> Case:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = _encode(pixels, "PNG", exif=exif)
    return Case("turned.png", data, "kept", np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))


def _moving(pixels: np.ndarray, kind: str) -> Case:
    frames = [Image.fromarray(np.roll(pixels, shift, axis=1)) for shift in (0, 5, 10)]
    options = {"lossless": True} if kind == "WEBP" else {}
    return Case(
        f"moving.{kind.lower()}", _encode(frames[0], kind, save_all=True, append_images=frames[1:], **options), "kept", pixels if options else None
    )


def _bases() -> list[bytes]:
    names = sorted((REAL_DATA / "images").glob("*/*.jpg"))[::90] if REAL_DATA.is_dir() else []
    if names:
        return [path.read_bytes() for path in names]
    rng = np.random.default_rng(7)
    coarse = [Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(40)]
    return [_encode(image.resize((95, 87), Image.Resampling.BICUBIC), "JPEG") for image in coarse]


def _cases(number: int) -> list[Case]:
    bases = _bases()
    makers = (_truncated, _truncated_png, _flipped, _flipped, _flipped_other, _odd, _odd, _sound, _sound, _sound)
    cases = []
    for index in range(number):
        rng = np.random.default_rng([20, index])
        jpeg = bases[index % len(bases)]
        cases.append(makers[index % len(makers)](jpeg, decode(jpeg), rng))
    return cases


@pytest.mark.parametrize("number", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_hostile_files_are_reported_and_good_ones_kept(number: int, tmp_path: Path) -> None:
    cases = _cases(number)
    source, out = tmp_path / "source", tmp_path / "out"
    paths = []
    for index, case in enumerate(cases):
        path = source / f"Species_{index % 7}" / f"{index:04d}_{case.name.replace('?', '')}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(case.data)
        paths.append(path)
    summary = collect(source, CollectConfig(), out, Run.silent()).summary()
    assert summary["num_images"] + summary["num_refused"] == number

    with (out / "refused.csv").open(encoding="utf-8", newline="") as file:
        refused = {row["file"]: row for row in csv.DictReader(file)}
    assert len(refused) == summary["num_refused"]
    assert all(row["reason"] and row["hint"] for row in refused.values())
    collection = Collection.open(out)
    by_stem = {Path(name).stem[:4]: row for row, name in enumerate(collection.table["file_name"])}
    for index, (case, path) in enumerate(zip(cases, paths, strict=True)):
        row = by_stem.get(f"{index:04d}")
        assert (row is None) == (str(path) in refused), path
        if case.fate == "refused":
            assert row is None, f"{path} ({case.name}) was kept"
        if case.fate == "kept":
            assert row is not None, f"{path}: {refused.get(str(path))}"
            assert collection.path(row).read_bytes() == case.data
            if case.pixels is not None:
                np.testing.assert_array_equal(decode(collection.path(row)), case.pixels)
    assert collection.pixels(32).shape == (len(collection), 32, 32, 3)

"""Files of rare formats, made for tests: TIFFs of any kind, RAW photographs, a HEIF photograph, PNGs of 16 bits."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np

__all__ = ["HEIC", "deep_png", "dng", "tiff"]

HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAAAAAERAAAEA"
    "AQAAAAABoQABAAAAAAAAAJsAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmND"
    "AQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAA"
    "AAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAA"
    "Av////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAAKNtZGF0AAAAlygBrwngPg6bnk4QdLDGLT7BfogyMbOJzpfPvUO9"
    "3vUUpf+9w82erIhQKb5i66abGyClUioW7/eElJYO/qLoxvjSDsN77IYTuoMx322rs+CAKWA5NFlgjlYmUYtrVFz1JhUsfm98l4JdLY+ybNkcW+dcSKmsxOPf"
    "GptcruPGw7A8K4C7UE8SDvw8tbfLTVWNKApvTkpww+A="
)
"""A HEIF photograph of 64 x 48 pixels: red rises to the right, green downwards, blue falls to the right. Made with libheif 1.23 and x265."""


def deep_png(values: np.ndarray) -> bytes:
    """A PNG of uint16, shape (height, width, channels): grey, grey and opacity, RGB, or RGB and opacity."""
    height, width, channels = values.shape

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


Tags = dict[int, tuple[int, Sequence[int] | bytes]]
_FORMS = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B", 9: "i"}


def tiff(values: np.ndarray, photometric: int, more: Tags | None = None, *, inner: tuple[np.ndarray, int, Tags] | None = None,
         compressed: bool = False, order: str = "<") -> bytes:  # fmt: skip
    """A TIFF with one directory, and one within it.

    Args:
        values: pixels as they are stored, shape (height, width, channels).
        photometric: tag 262.
        more: further tags, as type and values.
        inner: pixels, photometric and tags of a directory inside the first (SubIFD).
    """
    parts = [(values, photometric, dict(more or {})), *([inner] if inner else [])]
    blob = bytearray((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 0))
    starts: list[int] = []
    for pixels, kind, extra in reversed(parts):
        height, width, channels = pixels.shape
        body = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        body = zlib.compress(body) if compressed else body
        tags: Tags = {256: (4, [width]), 257: (4, [height]), 258: (3, [8 * pixels.itemsize] * channels), 259: (3, [8 if compressed else 1]),
                      262: (3, [kind]), 273: (4, [len(blob)]), 277: (3, [channels]), 278: (4, [height]), 279: (4, [len(body)])}  # fmt: skip
        if pixels.dtype.kind == "f":
            tags[339] = (3, [3] * channels)
        if starts:
            tags[330] = (4, [starts[-1]])
        tags |= extra
        blob += body + b"\0" * (len(body) % 2)
        entries = b""
        for number, (form, content) in sorted(tags.items()):
            raw = bytes(content) if isinstance(content, bytes) else struct.pack(f"{order}{len(content)}{_FORMS[form]}", *content)
            count = len(raw) // struct.calcsize(_FORMS[form])
            if len(raw) > 4:
                entries += struct.pack(order + "HHII", number, form, count, len(blob))
                blob += raw + b"\0" * (len(raw) % 2)
            else:
                entries += struct.pack(order + "HHI", number, form, count) + raw.ljust(4, b"\0")
        starts.append(len(blob))
        blob += struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", 0)
    struct.pack_into(order + "I", blob, 4, starts[-1])
    return bytes(blob)


def dng(
    red: float = 0.9,
    green: float = 0.5,
    blue: float = 0.2,
    *,
    height: int = 96,
    width: int = 128,
    maker: bytes = b"",
    orientation: int = 1,
    at_end: bool = False,
) -> bytes:
    """A RAW file: a small picture that is all blue, and in a directory within it the values of a sensor, which show one colour.

    Args:
        red, green, blue: brightness of the photograph's colours, 0..1, in sRGB without gamma.
        maker: of the camera. Without one it is a DNG.
        at_end: the values of the sensor are the last part of the file.
    """
    sensor = np.empty((height, width, 1), np.uint16)
    for (row, column), level in {(0, 0): red, (0, 1): green, (1, 0): green, (1, 1): blue}.items():
        sensor[row::2, column::2] = round(60000 * level)
    sensor[: height // 4, : width // 4] = 0  # a dark corner, at the top left of the stored picture
    preview = np.zeros((24, 32, 3), np.uint8)
    preview[:, :, 2] = 255
    # XYZ to the camera, which sees sRGB (IEC 61966-2-1), times 10,000
    matrix = [32405, -15371, -4985, -9693, 18760, 416, 556, -2040, 10572]
    ratio = struct.pack("<18i", *(part for value in matrix for part in (value, 10000)))
    first: Tags = {254: (4, [1]), 271: (2, (maker or b"Test") + b"\0"), 272: (2, b"Test\0"), 274: (3, [orientation])}
    if not maker:
        first |= {50706: (1, [1, 4, 0, 0]), 50708: (2, b"Test\0"), 50778: (3, [21])}
    inner: Tags = {254: (4, [0]), 33421: (3, [2, 2]), 33422: (1, [0, 1, 1, 2]), 50714: (3, [0]), 50717: (3, [60000])}
    data = tiff(preview, 2, first, inner=(sensor, 32803, inner))
    data = data if maker else _with_ratios(data, {50721: ratio, 50728: struct.pack("<6I", 1, 1, 1, 1, 1, 1)})
    if not at_end:
        return data
    place = data.rindex(struct.pack("<HHII", 273, 4, 1, 8)) + 8  # the sensor's strip is the first part of the file
    return data[:place] + struct.pack("<I", len(data)) + data[place + 4 :] + sensor.tobytes()


def _with_ratios(data: bytes, ratios: dict[int, bytes]) -> bytes:
    """The file with further tags of fractions in its first directory, which is written anew at the end."""
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    entries = [data[start + 2 + 12 * index : start + 14 + 12 * index] for index in range(count)]
    blob = bytearray(data)
    for tag, raw in ratios.items():
        entries.append(struct.pack("<HHII", tag, 10 if tag == 50721 else 5, len(raw) // 8, len(blob)))
        blob += raw
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry)[0])
    struct.pack_into("<I", blob, 4, len(blob))
    return bytes(blob + struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0")

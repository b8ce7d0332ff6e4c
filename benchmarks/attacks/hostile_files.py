"""Damaged and malicious files, made from sound photographs: images, tables and zips. Each says what must become of it."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

__all__ = ["HostileFile", "hostile_image", "hostile_table", "hostile_zip"]

INFLATED = zlib.compress(b"x" * 20_000_000, 9)
"""Twenty megabytes that take twenty thousand bytes."""
FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "TIFF": "tif", "BMP": "bmp"}


@dataclass(frozen=True)
class HostileFile:
    """A file: its ending, its bytes, and its fate: ``kept``, ``refused``, or ``either``."""

    kind: str
    ending: str
    data: bytes
    fate: str


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(width: int, height: int, body: bytes, *more: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(more) + chunk(b"IDAT", zlib.compress(body, 9)) + chunk(b"IEND", b"")


def hostile_image(image: Image.Image, rng: np.random.Generator) -> HostileFile:
    """One damaged, malicious or (one in four) sound but odd image."""
    maker = (_sound, _flipped, _cut, _spliced, _chunk_edited, _huge, _disguised, _odd)[rng.integers(8)]
    return maker(image, rng)


def _any(image: Image.Image, rng: np.random.Generator) -> tuple[str, bytes]:
    kind = list(FORMATS)[rng.integers(len(FORMATS))]
    return FORMATS[kind], encoded(image, kind)


def _sound(image: Image.Image, rng: np.random.Generator) -> HostileFile:
    ending, data = _any(image, rng)
    which = rng.integers(4)
    if which == 0:
        return HostileFile("sound, wrong ending", list(FORMATS.values())[rng.integers(6)], data, "kept")
    if which == 1:
        return HostileFile("sound, a zip behind it", "jpg", encoded(image, "JPEG") + hostile_zip([encoded(image, "PNG")], rng).data, "kept")
    if which == 2:
        return HostileFile("sound, progressive", "jpg", encoded(image, "JPEG", progressive=True, quality=95), "kept")
    return HostileFile("sound", ending, data, "kept")


def _flipped(image: Image.Image, rng: np.random.Generator) -> HostileFile:
    ending, raw = _any(image, rng)
    data = np.frombuffer(raw, dtype=np.uint8).copy()
    at = rng.integers(0, min(len(data), 300) if rng.random() < 0.5 else len(data), rng.integers(1, 40))
    data[at] ^= (1 << rng.integers(0, 8, len(at))).astype(np.uint8)
    return HostileFile("bits flipped", ending, data.tobytes(), "either")


def _cut(image: Image.Image, rng: np.random.Generator) -> HostileFile:
    ending, data = _any(image, rng)
    return HostileFile("cut off", ending, data[: int(rng.integers(0, len(data) - 40))], "either" if ending in ("gif", "webp", "tif") else "refused")


def _spliced(image: Image.Image, rng: np.random.Generator) -> HostileFile:
    ending, data = _any(image, rng)
    _, other = _any(image.rotate(90), rng)
    at, until = sorted(int(place) for place in rng.integers(0, len(data), 2))
    part = (other[at:until], b"", rng.bytes(int(rng.integers(0, 2000))), data[at:until] * 50)[rng.integers(4)]
    return HostileFile("a part replaced", ending, data[:at] + part + data[until:], "either")


def _chunk_edited(image: Image.Image, rng: np.random.Generator) -> HostileFile:
    name = (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"PLTE", b"tRNS", b"gAMA", b"acTL", b"fdAT", b"IHDR")[rng.integers(11)]
    body = (rng.bytes(60), b"", b"a\0\0" + INFLATED, b"Exif\0\0II*\0" + rng.bytes(80), b"=cmd()\0text")[rng.integers(5)]
    plain = encoded(image, "PNG")
    return HostileFile("a strange chunk", "png", plain[:33] + chunk(name, body) + plain[33:], "either")


def _huge(image: Image.Image, rng: np.random.Generator) -> HostileFile:
    width, height = (int(side) for side in rng.integers(11_000, 2**31 - 1, 2))
    raw = encoded(image, "JPEG")
    short = struct.pack(">HH", image.height, image.width)
    choices: list[Callable[[], tuple[str, bytes]]] = [
        lambda: ("png", png_of(width, height, b"\0" * 10_000)),
        lambda: ("png", png_of(12_000, 12_000, b"\0" * 12_000_000)),
        lambda: ("jpg", raw.replace(short, struct.pack(">HH", 65_500, 65_500), 1)),
        lambda: ("gif", b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + encoded(image, "GIF")[10:]),
        lambda: ("bmp", (bmp := encoded(image, "BMP"))[:18] + struct.pack("<ii", width, height) + bmp[26:]),
    ]
    ending, data = choices[rng.integers(len(choices))]()
    return HostileFile("a huge size in the header", ending, data, "either" if ending == "gif" else "refused")


def _disguised(image: Image.Image, rng: np.random.Generator) -> HostileFile:
    texts = (b"", b"\0", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>", b"<!DOCTYPE html><script>1</script>",
             b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n(%pipe%id) (r) file\n", b"MZ" + rng.bytes(900), b"\x7fELF" + rng.bytes(900),
             b"\xff\xd8\xff\xe0" + rng.bytes(2000), b"\x89PNG\r\n\x1a\n" + rng.bytes(2000), b"II*\0\x08\0\0\0" + rng.bytes(2000),
             b"GIF89a" + rng.bytes(900), b"RIFF" + rng.bytes(4) + b"WEBPVP8 " + rng.bytes(900),
             b"%PDF-1.4\n" + rng.bytes(300), b"PK\3\4" + rng.bytes(300))  # fmt: skip
    which = int(rng.integers(len(texts)))
    return HostileFile(
        "no image", list(FORMATS.values())[rng.integers(6)], texts[which], "either" if texts[which][:3] in (b"GIF", b"II*") else "refused"
    )


def _odd(image: Image.Image, rng: np.random.Generator) -> HostileFile:
    clear = image.convert("RGBA")
    clear.putalpha(0)
    choices = [
        ("one pixel", encoded(image.resize((1, 1)), "PNG"), "refused"),
        ("one line", encoded(image.crop((0, 0, image.width, 1)), "PNG"), "refused"),
        ("nothing but clear", encoded(clear, "PNG"), "refused"),
        ("a strange EXIF", encoded(image, "PNG", exif=b"Exif\0\0MM\0*" + rng.bytes(60)), "either"),
        ("many frames", encoded(image, "GIF", save_all=True, append_images=[image.rotate(7 * turn) for turn in range(1, 40)]), "either"),
        ("sixteen bits", encoded(Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "PNG"), "kept"),
        ("four inks", encoded(image.convert("CMYK"), "JPEG"), "kept"),
    ]
    kind, data, fate = choices[rng.integers(len(choices))]
    return HostileFile(kind, "png", data, fate)


def hostile_table(names: list[tuple[str, str]], rng: np.random.Generator) -> HostileFile:
    """A table of photographs (file name, species) that an editor, a program or an enemy has spoilt."""
    quoted = "\n".join(f'"{name}","{species}"' for name, species in names)
    plain = "file_name,species\n" + "\n".join(f"{name},{species}" for name, species in names) + "\n"
    first, species = names[0]
    wide = "".join(f"{name},{kind}" + "," * 1000 + "\n" for name, kind in names)
    strange = "".join(f"{name},{kind}\n" for (name, _), kind in zip(names, ("../../x", "a/b", "..", "CON", "x" * 300), strict=False))
    kinds: list[tuple[str, bytes, str]] = [
        ("sound", plain.encode(), "kept"),
        ("sound, quoted", f"file_name,species\n{quoted}\n".encode(), "kept"),
        ("sound, UTF-8 with a mark", b"\xef\xbb\xbf" + plain.encode(), "kept"),
        ("sound, UTF-16", plain.encode("utf-16"), "kept"),
        ("sound, semicolons", plain.replace(",", ";").encode(), "kept"),
        ("Latin-1", plain.replace(species, "Fönix ärger", 1).encode("latin-1"), "either"),
        ("zero bytes", plain.replace(species, "Aus\0bus", 1).encode(), "either"),
        ("UTF-16 cut", plain.encode("utf-16")[:-3], "either"),
        ("surrogates", plain.encode() + b"\xed\xa0\x80,x\n", "either"),
        ("ragged", plain.encode() + f"{first}\n{first},{species},3,4,5\n,,\n".encode(), "either"),
        ("an open quote", plain.encode() + b'"photo.png,Aus bus\n', "either"),
        ("outside", plain.encode() + b"../../../../etc/passwd,Aus bus\n/etc/hostname,Aus bus\nC:\\x.png,Aus bus\n\\\\host\\x.png,Aus bus\n", "kept"),
        ("devices", plain.encode() + b"/dev/null,Aus bus\n/dev/zero,Aus bus\n/proc/self/mem,Aus bus\n.,Aus bus\n", "kept"),
        ("a huge cell", plain.encode() + b"x" * 2_000_000 + b",Aus bus\n", "kept"),
        ("formulas", plain.encode() + f"{first},=HYPERLINK(1)\n@x,+1\n".encode(), "kept"),
        ("the header twice", ("file_name,species,species,file_name\n" + "\n".join(f"{n},{s},{s},{n}" for n, s in names)).encode(), "either"),
        ("the header again below", (plain + plain).encode(), "kept"),
        ("no header", plain.partition("\n")[2].encode(), "refused"),
        ("empty", b"", "refused"),
        ("only a header", b"file_name,species\n", "refused"),
        ("bytes", rng.bytes(3000), "refused"),
        ("odd species", plain.encode() + strange.encode(), "kept"),
        ("no ends of lines", plain.replace("\n", "\r").encode(), "either"),
        ("a thousand columns", f"file_name,species,{','.join(map(str, range(1000)))}\n{wide}".encode(), "kept"),
    ]  # fmt: skip
    kind, data, fate = kinds[rng.integers(len(kinds))]
    if rng.random() < 0.2:
        data, kind, fate = _bits(data, rng), f"{kind}, bits flipped", "either"
    return HostileFile(kind, "csv" if rng.random() < 0.95 else "parquet", data, fate) if fate != "kept" else HostileFile(kind, "csv", data, fate)


def _bits(data: bytes, rng: np.random.Generator) -> bytes:
    if not data:
        return data
    array = np.frombuffer(data, dtype=np.uint8).copy()
    array[rng.integers(0, len(array), 5)] ^= np.uint8(1 << rng.integers(0, 8))
    return array.tobytes()


def hostile_zip(photographs: list[bytes], rng: np.random.Generator) -> HostileFile:
    """A zip with sound photographs in ``Aus bus/`` and something hostile beside them; ``kept``: the sound ones must come through."""
    sound = [(f"Aus bus/{index}.png", data) for index, data in enumerate(photographs)]
    one = photographs[0]
    members: dict[str, list[tuple[str | zipfile.ZipInfo, bytes]]] = {
        "sound": [],
        "slips": [(_raw(name), one) for name in ("../../slip.png", "/tmp/slip.png", "C:\\slip.png", "Aus bus/../../slip.png", "..\\slip.png")],
        "links": [(_special("Aus bus/link.png", 0o120777), b"/etc/passwd"), (_special("Aus bus/pipe.png", 0o010666), b"")],
        "names": [(_raw(name), one) for name in ("Aus bus/CON.png", "Aus bus/a\0b.png", "Aus bus/" + "x" * 300 + ".png", "Aus bus/ .png", "//.png")],
        "twice": [(_raw("Aus bus/0.png"), one), (_raw("aus BUS/0.PNG"), one)],
        "no images": [("Aus bus/text.png", b"text"), ("Aus bus/cut.png", one[: len(one) // 2]), ("Aus bus/inner.zip", b"PK\3\4")],
        "sidecars": [("__MACOSX/Aus bus/._0.png", b"x"), ("Aus bus/notes.txt", b"x"), ("Thumbs.db", b"x"), (".hidden/0.png", one)],
    }  # fmt: skip
    kind = [*members, "bomb", "lying sizes", "encrypted", "odd compression", "cut", "bits flipped", "no zip"][rng.integers(len(members) + 7)]
    method = zipfile.ZIP_DEFLATED if rng.random() < 0.5 else zipfile.ZIP_STORED
    if kind in members:  # a zip that tries to leave its folder is refused as a whole
        fate = "either" if kind in ("slips", "links", "names") else "kept"
        return HostileFile(kind, "zip", _zipped([*sound, *members[kind]], method), fate)
    if kind == "bomb":
        return HostileFile(kind, "zip", _zipped([*sound, ("Aus bus/bomb.png", b"\0" * 60_000_000)], zipfile.ZIP_DEFLATED), "either")
    plain = _zipped(sound, method)
    if kind == "odd compression":
        return HostileFile(kind, "zip", _zipped(sound, (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)[rng.integers(2)]), "either")
    if kind == "lying sizes":
        return HostileFile(kind, "zip", plain.replace(struct.pack("<I", len(one)), struct.pack("<I", int(rng.integers(0, 2**32)))), "either")
    if kind == "encrypted":
        return HostileFile(kind, "zip", plain.replace(b"PK\1\2\x14\x03\x14\0\0\0", b"PK\1\2\x14\x03\x14\0\1\0"), "either")
    if kind == "cut":
        return HostileFile(kind, "zip", plain[: int(rng.integers(0, len(plain)))], "either")
    return HostileFile(kind, "zip", rng.bytes(2000) if kind == "no zip" else _bits(plain, rng), "either")


def _zipped(members: list[tuple[str | zipfile.ZipInfo, bytes]], method: int) -> bytes:
    import warnings

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that stand twice are meant so
        for name, data in members:
            archive.writestr(name, data, compress_type=method)
    return file.getvalue()


def _raw(name: str) -> zipfile.ZipInfo:
    """An entry whose name is written as it is, which ``ZipInfo`` itself would tidy up."""
    info = zipfile.ZipInfo("x")
    info.filename = info.orig_filename = name
    return info


def _special(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info

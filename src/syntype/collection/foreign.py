"""Files that are no plain JPEG, PNG, WebP, TIFF, GIF or BMP, recognised by their content and called by their own name.

RAW files of cameras and HEIF photographs of phones are read by libraries that are installed on demand; AVIF and JPEG 2000 by Pillow. All others are
refused, each with what to do instead. A RAW file often begins as a TIFF with a small picture of what the camera saw, which is never taken for the
photograph.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from syntype.collection.tiff_tags import Directory, directories, order_of
from syntype.errors import InputError

__all__ = ["BEGINNING", "Foreign", "foreign_kind", "refusal"]

BEGINNING = 4096
"""Bytes from which every kind but TIFF-based RAW files is recognised."""
_JPEG = "export it as JPEG"
_STILL = "export single frames of it as JPEG"
_PICTURE = "export it as PNG"
_SUBFILE, _MAKE, _COMPRESSION, _PHOTOMETRIC, _SUB_DIRECTORIES, _DNG_VERSION = 254, 271, 259, 262, 330, 50706
_SENSOR = {32803, 34892}  # photometric: colour filter array, linear sensor values
_SENSOR_METHODS = {32767, 32769, 32770, 34713, 65000, 65535}  # compression: Sony, packed, Samsung, Nikon, Kodak, Pentax


@dataclass(frozen=True)
class Foreign:
    """A kind of file that needs another reader than the usual ones, or has none.

    Attributes:
        name: in words, with the article ("a Canon RAW file (CR2)").
        format: short name ("CR2"), which is also the ending of its files.
        reader: what reads it: ``raw``, ``heif`` or ``pillow``; None if nothing does.
        mend: what the user can do instead, as the end of a sentence.
    """

    name: str
    format: str
    reader: Literal["raw", "heif", "pillow"] | None
    mend: str


def _raw(camera: str, ending: str) -> Foreign:
    return Foreign(f"{'an' if camera[0] in 'AEIO' else 'a'} {camera} RAW file ({ending})", ending, "raw", _JPEG)


def _video(name: str, ending: str) -> Foreign:
    return Foreign(f"a video ({name})", ending, None, _STILL)


_DNG = Foreign("a RAW file (DNG)", "DNG", "raw", _JPEG)
_HEIF = Foreign("a HEIF photograph (HEIC)", "HEIC", "heif", _JPEG)
_AVIF = Foreign("an AVIF image", "AVIF", "pillow", _JPEG)
_JPEG_2000 = Foreign("a JPEG 2000 image", "JP2", "pillow", _JPEG)
_JPEG_XL = Foreign("a JPEG XL image", "JXL", None, _JPEG)
_PREVIEW = Foreign("a TIFF that begins with a small preview of its photograph", "TIFF", None, "export the photograph as a TIFF without preview")

_STARTS: Sequence[tuple[bytes, Foreign]] = (
    (b"IIU\0", _raw("Panasonic", "RW2")),
    (b"IIRO", _raw("Olympus", "ORF")),
    (b"IIRS", _raw("Olympus", "ORF")),
    (b"MMOR", _raw("Olympus", "ORF")),
    (b"FUJIFILMCCD-RAW", _raw("Fujifilm", "RAF")),
    (b"FOVb", _raw("Sigma", "X3F")),
    (b"\0MRM", _raw("Minolta", "MRW")),
    (b"II\x1a\0\0\0HEAPCCDR", _raw("Canon", "CRW")),
    (b"\0\0\0\x0cjP  \r\n\x87\n", _JPEG_2000),
    (b"\xff\x4f\xff\x51", _JPEG_2000),
    (b"\0\0\0\x0cJXL \r\n\x87\n", _JPEG_XL),
    (b"\xff\x0a", _JPEG_XL),
    (b"8BPS\0\1", Foreign("a Photoshop file (PSD)", "PSD", None, _JPEG)),
    (b"8BPS\0\2", Foreign("a large Photoshop file (PSB)", "PSB", None, _JPEG)),
    (b"gimp xcf", Foreign("a GIMP file (XCF)", "XCF", None, _JPEG)),
    (b"%PDF", Foreign("a PDF document", "PDF", None, "export its pictures as JPEG")),
    (b"II\xbc\x01", Foreign("a JPEG XR image", "JXR", None, _JPEG)),
    (b"v/1\x01", Foreign("an OpenEXR image", "EXR", None, _PICTURE)),
    (b"ZISRAWFILE", Foreign("a Zeiss microscope file (CZI)", "CZI", None, _PICTURE)),
    (b"SIMPLE  =", Foreign("a FITS file", "FITS", None, _PICTURE)),
    (b"\0\0\1\0", Foreign("an icon (ICO)", "ICO", None, "use the photograph itself")),
    (b"qoif", Foreign("a QOI image", "QOI", None, _PICTURE)),
    (b"\x1aE\xdf\xa3", _video("Matroska or WebM", "MKV")),
    (b"\0\0\1\xba", _video("MPEG", "MPG")),
    (b"\0\0\1\xb3", _video("MPEG", "MPG")),
    (b"FLV\1", _video("Flash", "FLV")),
    (b"0&\xb2u\x8ef\xcf\x11", _video("Windows Media", "WMV")),
    (b"version https://git-lfs", Foreign("a Git LFS pointer, not the file itself", "LFS", None, "fetch the files with: git lfs pull")),
)
_BRANDS = {
    b"crx ": _raw("Canon", "CR3"),
    **dict.fromkeys((b"avif", b"avis"), _AVIF),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2"), _HEIF),
    b"qt  ": _video("QuickTime", "MOV"),
}
_CAMERAS = {
    "nikon": ("Nikon", "NEF"),
    "sony": ("Sony", "ARW"),
    "canon": ("Canon", "CR2"),
    "pentax": ("Pentax", "PEF"),
    "ricoh": ("Ricoh", "PEF"),
    "samsung": ("Samsung", "SRW"),
    "hasselblad": ("Hasselblad", "3FR"),
    "epson": ("Epson", "ERF"),
    "mamiya": ("Mamiya", "MEF"),
    "leaf": ("Leaf", "MOS"),
    "leica": ("Leica", "RWL"),
    "kodak": ("Kodak", "DCR"),
    "eastman": ("Kodak", "DCR"),
    "phase one": ("Phase One", "IIQ"),
}
_MARKUP = re.compile(rb"<(!doctype\s+)?(svg|html)\b", re.IGNORECASE)


def foreign_kind(data: bytes) -> Foreign | None:
    """The kind of a file by its content; None if it is one that Syntype always reads, or not recognised.

    Args:
        data: the whole file. Its first ``BEGINNING`` bytes suffice for all but RAW files that begin as a TIFF.
    """
    for start, kind in _STARTS:
        if data.startswith(start):
            return kind
    if data[4:8] == b"ftyp":
        return _by_brand(data)
    if data.startswith(b"RIFF") and data[8:12] == b"AVI ":
        return _video("AVI", "AVI")
    if data[:1] == b"G" and len(data) > 376 and data[188] == data[376] == 0x47:
        return _video("MPEG transport stream", "TS")
    if data[128:132] == b"DICM":
        return Foreign("a DICOM file", "DCM", None, _PICTURE)
    if (tiff := order_of(data)) is not None:
        return _tiff_kind(data, *tiff)
    head = data[:BEGINNING].removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"<") and (found := _MARKUP.search(head)):
        if found[2].lower() == b"svg":
            return Foreign("a drawing (SVG)", "SVG", None, _PICTURE)
        return Foreign("a web page, not an image", "HTML", None, "download the image itself, the address led to a page")
    return None


def refusal(kind: Foreign, install: bool) -> InputError:
    """Why a file of this kind is not read, and what to do.

    Args:
        install: a library that would read it is not installed.
    """
    mend = f"{kind.mend[0].upper()}{kind.mend[1:]}."
    if not install:
        return InputError(f"is {kind.name}", mend)
    if kind.reader == "pillow":
        return InputError(f"is {kind.name}", f"Install a newer Pillow (pip install -U pillow), or {kind.mend}.")
    return InputError(f"is {kind.name}", f"Install syntype[{kind.reader}] (pip install 'syntype[{kind.reader}]'), or {kind.mend}.")


def _by_brand(data: bytes) -> Foreign:
    """The kind of an ISO base media file (ISO 14496-12, section 4.3): its major brand, or else those that it is compatible with."""
    size = max(16, min(int.from_bytes(data[:4], "big"), 256))
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, size, 4))]
    if brands[0] in (b"mif1", b"msf1", b"mif2") and any(brand in (b"avif", b"avis") for brand in brands):
        return _AVIF
    return _BRANDS.get(brands[0]) or next((_BRANDS[brand] for brand in brands if brand in _BRANDS), _video("MP4", "MP4"))


def _tiff_kind(data: bytes, order: str, big: bool) -> Foreign | None:
    """RAW files that begin as a TIFF: Canon's by their signature, the others as one of their directories describes values of a sensor."""
    if data[8:10] == b"CR":
        return _raw("Canon", "CR2")
    if data[8:12] in (b"IIII", b"MMMM"):
        return _raw("Phase One", "IIQ")
    found = list(directories(data, order, big))
    first = found[0] if found else Directory()
    sensor = any(one.number(_PHOTOMETRIC, data, order) in _SENSOR for one in found)
    if sensor or any(one.number(_COMPRESSION, data, order) in _SENSOR_METHODS for one in found):
        if _DNG_VERSION in first.tags:
            return _DNG
        maker = " ".join(one.text(_MAKE, data) for one in found).casefold()
        camera = next((_raw(*camera) for word, camera in _CAMERAS.items() if word in maker), None)
        if camera is not None or sensor:  # the number of a compression alone may be anything in a file of another program
            return camera or _raw("camera's", "RAW")
    reduced = first.number(_SUBFILE, data, order) & 1
    if reduced and (len(found) > 1 or _SUB_DIRECTORIES in first.tags):
        return _DNG if _DNG_VERSION in first.tags else _PREVIEW
    return None

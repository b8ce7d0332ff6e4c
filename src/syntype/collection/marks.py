"""Marks inside image files that say that the image is synthetic: IPTC's digital source type, C2PA content credentials, and the notes of generators.

Sources: IPTC Photo Metadata Standard, "Digital Source Type" (https://cv.iptc.org/newscodes/digitalsourcetype/); C2PA Technical Specification 2.1,
which stores the same terms as plain text; the text chunks that Stable Diffusion web UI, ComfyUI and InvokeAI write into PNG files.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

__all__ = ["SYNTHETIC_TERMS", "Mark", "read_mark", "read_mark_of"]

SYNTHETIC_TERMS = frozenset(
    {
        "trainedAlgorithmicMedia", "trainedAlgorithmicData", "compositeWithTrainedAlgorithmicMedia", "algorithmicMedia", "compositeSynthetic",
        "dataDrivenMedia", "virtualRecording", "softwareImage",
    }
)  # fmt: skip
"""Digital source types of images that no camera took, or that were composed of such."""

_TERM = b"igitalsourcetype/"
_NOTICE = b"Synthetic image. Not occurrence evidence."
_GENERATORS = (
    ("Stable Diffusion", (b"Steps: ", b"Sampler: ", b"CFG scale: ")),
    ("ComfyUI", (b'"class_type"', b'"KSampler')),
    ("InvokeAI", (b"invokeai_metadata",)),
)
_MOST_TERMS = 50
_MOST_TEXT = 1 << 20
"""Bytes of an unpacked text of a PNG file."""
_MOST_PACKET = 1 << 20
_HEAD, _TAIL = 1 << 17, 1 << 16
_SYNTYPE = "{urn:x-syntype:provenance:1#}"


@dataclass(frozen=True)
class Mark:
    """What a file says of its being synthetic.

    Attributes:
        term: the digital source type, or the name of the program whose notes the file holds.
        generator_id, seed, controls: of an image that Syntype made (``controls`` as JSON); else None.
    """

    term: str
    generator_id: str | None = None
    seed: int | None = None
    controls: str | None = None


def read_mark(data: bytes) -> Mark | None:
    """The mark of an image file that says that the image is synthetic; None if it says no such thing. Raises nothing, whatever the bytes.

    Args:
        data: the file, or its beginning and end.
    """
    texts = [data, *_packed_texts(data)]
    for text in texts:
        term = next((word for word in _terms(text) if word in SYNTHETIC_TERMS), None)
        if term is None and _NOTICE in text:
            term = "trainedAlgorithmicMedia"
        if term is not None:
            return Mark(term, **_own_fields(text))
    for name, words in _GENERATORS:
        for text in texts:
            if all(word in text for word in words) or all(word.decode().encode("utf-16-be") in text for word in words):
                return Mark(name)
    return None


def read_mark_of(path: Path) -> Mark | None:
    """The same from the first and last bytes of a file, which is fast; None if it cannot be read. Few files have their mark between them."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            size = file.seek(0, 2)
            file.seek(max(len(head), size - _TAIL))
            return read_mark(head + file.read(_TAIL))
    except (OSError, ValueError):  # ValueError: a null character in the path
        return None


def _terms(text: bytes) -> Iterator[str]:
    """Last parts of the addresses of digital source types, in their order."""
    start = 0
    for _ in range(_MOST_TERMS):
        start = text.find(_TERM, start)
        if start < 0:
            return
        start += len(_TERM)
        found = re.match(rb"[A-Za-z]{1,60}", text[start : start + 60])
        if found:
            yield found[0].decode()


def _packed_texts(data: bytes) -> list[bytes]:
    """Compressed texts of a PNG file (PNG specification, chunks iTXt and zTXt), unpacked."""
    texts: list[bytes] = []
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return texts
    place = 8
    while place + 8 <= len(data) and len(texts) < 20:
        length, kind = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        body = data[place + 8 : place + 8 + min(length, _MOST_TEXT)]
        if kind == b"zTXt":
            texts.append(_unpacked(body.partition(b"\0")[2][1:]))
        elif kind == b"iTXt":
            keyword, _, rest = body.partition(b"\0")
            if rest[:1] == b"\1":
                texts.append(keyword + b" " + _unpacked(rest[2:].partition(b"\0")[2].partition(b"\0")[2]))
        place += 12 + length
    return [text for text in texts if text]


def _unpacked(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _MOST_TEXT)
    except zlib.error:
        return b""


def _own_fields(text: bytes) -> dict[str, Any]:
    """Generator, seed and controls of an image that Syntype made, from its XMP packet; empty for others."""
    start = text.find(b"<x:xmpmeta")
    end = text.find(b"</x:xmpmeta>", start)
    if start < 0 or end < 0 or end - start > _MOST_PACKET:
        return {}
    try:
        root = fromstring(text[start : end + len(b"</x:xmpmeta>")])
        values = {
            name: element.text or "" for name in ("generator", "seed", "controls") if (element := root.find(f".//{_SYNTYPE}{name}")) is not None
        }
        seed = int(values["seed"])
        json.loads(values["controls"])
    except (ParseError, DefusedXmlException, KeyError, ValueError, RecursionError):
        return {}
    return {"generator_id": values["generator"] or None, "seed": seed if abs(seed) < 2**63 else None, "controls": values["controls"]}

"""The mark that every synthetic image carries in its own file, in an XMP packet.

An image that has lost its table must still say what it is. The packet states IPTC's digital source type
(https://cv.iptc.org/newscodes/digitalsourcetype/), which generator drew the image from which seed, and, where any viewer
shows it, that the image is no evidence that the species occurs anywhere. PNG files hold it in an ``iTXt`` chunk
``XML:com.adobe.xmp``, JPEG files in an ``APP1`` segment (XMP specification, part 3).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from syntype.errors import InputError
from syntype.run import atomic_write

__all__ = ["EDITED", "NOTICE", "TRAINED", "Provenance", "read_provenance", "write_animation", "write_image"]

NOTICE = "Synthetic image. Not occurrence evidence."
"""The sentence in every mark (description and usage terms) and in the column ``terms`` of every synthetic collection."""
TRAINED = "trainedAlgorithmicMedia"
"""IPTC's term for media made by a model that was trained on sampled content."""
EDITED = "compositeWithTrainedAlgorithmicMedia"
"""IPTC's term ("Edited using Generative AI") for captured media that such a model augmented, corrected or filled in."""

_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "syntype": "urn:x-syntype:provenance:1#",
}
_NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2; a parser would change \r


@dataclass(frozen=True)
class Provenance:
    """What an image says of itself.

    Attributes:
        generator_id: which trained generator drew it.
        family: the generator's family.
        species: what it is meant to show.
        seed: its own seed; with the generator, the species and the controls it gives the same image again.
        controls: further arguments of ``sample``, as JSON has them.
        digital_source_type: last part of IPTC's term.
        software: name and version of what wrote it.
    """

    generator_id: str
    family: str
    species: str
    seed: int
    controls: dict[str, Any] = field(default_factory=dict)
    digital_source_type: str = TRAINED
    software: str = "Syntype"


def write_image(image: np.ndarray, path: Path, mark: Provenance, *, quality: int = 95) -> bytes:
    """Write an image with its mark; a crash leaves no half of a file.

    Args:
        image: uint8, shape (height, width, 3), RGB.
        path: ends in .png, .jpg or .jpeg.
        quality: of JPEG, 1 to 100; the colours keep their full resolution.

    Returns:
        the content of the file.

    Raises:
        InputError: another suffix, or the file cannot be written.
    """
    buffer, packet = io.BytesIO(), _packet(mark)
    picture = Image.fromarray(image)
    match path.suffix.lower():
        case ".png":
            info = PngInfo()
            info.add_itxt("XML:com.adobe.xmp", packet)
            picture.save(buffer, "PNG", pnginfo=info)
        case ".jpg" | ".jpeg":
            picture.save(buffer, "JPEG", quality=quality, subsampling=0, xmp=packet.encode("utf-8"))
        case _:
            raise InputError(f"has the suffix {path.suffix!r}", "Synthetic images are written as .png or .jpg.", file=path)
    return _write(buffer.getvalue(), path)


def write_animation(frames: Sequence[np.ndarray], path: Path, mark: Provenance, *, milliseconds: int) -> bytes:
    """Write an endless animation with its mark; a crash leaves no half of a file.

    Args:
        frames: uint8, shape (height, width, 3) each, RGB.
        path: ends in .webp (lossless colours, the whole mark) or .gif (256 colours; the mark as a comment, in words).
        milliseconds: a frame.

    Returns:
        the content of the file.

    Raises:
        InputError: the file cannot be written.
    """
    buffer = io.BytesIO()
    first, *others = [Image.fromarray(frame) for frame in frames]
    if path.suffix.lower() == ".webp":
        first.save(buffer, "WEBP", save_all=True, append_images=others, duration=milliseconds, loop=0, lossless=True, xmp=_packet(mark).encode())
    else:
        first.save(buffer, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0, comment=_told(mark).encode())
    return _write(buffer.getvalue(), path)


def _write(content: bytes, path: Path) -> bytes:
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", "Check the disk's free space and the folder's permissions.", file=path) from None
    return content


def read_provenance(path: Path) -> Provenance | None:
    """The mark in an image file, or None where there is none of Syntype's.

    Raises:
        InputError: the file is missing or no image.
    """
    try:
        with Image.open(path) as image:
            packet = image.info.get("xmp")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not an image that can be read"
        raise InputError(f"cannot be read ({reason})", "Check the path, or draw the image again.", file=path) from None
    if not packet:
        return None
    try:
        root = fromstring(packet)
        controls = json.loads(_value(root, "syntype", "controls"))
        return Provenance(
            generator_id=_value(root, "syntype", "generator"),
            family=_value(root, "syntype", "family"),
            species=_value(root, "syntype", "species"),
            seed=int(_value(root, "syntype", "seed")),
            controls=controls,
            digital_source_type=_value(root, "Iptc4xmpExt", "DigitalSourceType").removeprefix(_SOURCE_TYPES),
            software=_value(root, "xmp", "CreatorTool"),
        )
    except (ParseError, DefusedXmlException, LookupError, ValueError):  # somebody else's packet, or a damaged or hostile one
        return None


def _value(root: Element, prefix: str, name: str) -> str:
    element = root.find(f".//{{{_NAMESPACES[prefix]}}}{name}")
    if element is None:
        raise LookupError(name)
    return element.text or ""


def _told(mark: Provenance) -> str:
    """The mark in words."""
    return f"{NOTICE} {mark.species}, made by {mark.software} (generator {mark.generator_id}, family {mark.family}, seed {mark.seed})."


def _packet(mark: Provenance) -> str:
    """The XMP packet (XMP specification, part 1, section 7), as XML."""
    properties = (
        ("dc:description", _language(_told(mark))),
        ("xmpRights:UsageTerms", _language(NOTICE)),
        ("xmp:CreatorTool", _text(mark.software)),
        ("Iptc4xmpExt:DigitalSourceType", _text(_SOURCE_TYPES + mark.digital_source_type)),
        ("syntype:generator", _text(mark.generator_id)),
        ("syntype:family", _text(mark.family)),
        ("syntype:species", _text(mark.species)),
        ("syntype:seed", str(mark.seed)),
        ("syntype:controls", _text(json.dumps(mark.controls, sort_keys=True))),
    )
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in _NAMESPACES.items())
    body = "\n".join(f"   <{name}>{value}</{name}>" for name, value in properties)
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        f' <rdf:RDF {spaces}>\n  <rdf:Description rdf:about="">\n{body}\n  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="r"?>'
    )


def _text(value: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", value))


def _language(value: str) -> str:
    """A language alternative, the type of texts meant for readers."""
    return f'<rdf:Alt><rdf:li xml:lang="x-default">{_text(value)}</rdf:li></rdf:Alt>'

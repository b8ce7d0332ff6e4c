"""Provenance metadata in every synthetic image file, as an XMP packet.

An image must be recognisable as synthetic even without the table of its collection. The packet contains IPTC's digital source type
(https://cv.iptc.org/newscodes/digitalsourcetype/), the generator and the seed, and, in fields that image viewers show, the statement that the
image is not evidence of the species' occurrence. PNG files store it in an ``iTXt`` chunk ``XML:com.adobe.xmp``, JPEG files in an ``APP1``
segment (XMP specification, part 3).
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
from syntype.files import atomic_write

__all__ = [
    "EDITED", "NOTICE", "TRAINED", "Provenance", "animation_bytes", "image_bytes", "read_provenance", "require_image", "write_animation",
    "write_image",
]  # fmt: skip

NOTICE = "Synthetic image. Not occurrence evidence."
"""Statement in the metadata of every image (description and usage terms) and in the column ``terms`` of every synthetic collection."""
TRAINED = "trainedAlgorithmicMedia"
"""IPTC's term for media created by a model that was trained on sampled content."""
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
_NOT_XML = re.compile(
    "[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)  # characters that XML 1.0 does not allow (section 2.2), and \r, which a parser would change


@dataclass(frozen=True)
class Provenance:
    """Provenance of a synthetic image. Generator, species, seed and controls reproduce it.

    Attributes:
        generator_id: Identifier of the trained generator.
        family: Family of the generator.
        species: Species that the image is meant to show.
        seed: Seed of the image.
        controls: Additional arguments of ``sample``, as JSON values.
        digital_source_type: Last part of IPTC's term: ``TRAINED`` or ``EDITED``.
        software: Name and version of the software that wrote the file.
    """

    generator_id: str
    family: str
    species: str
    seed: int
    controls: dict[str, Any] = field(default_factory=dict)
    digital_source_type: str = TRAINED
    software: str = "Syntype"


def require_image(image: np.ndarray) -> None:
    """Raise ``InputError`` unless an image is uint8 of the shape (height, width, 3)."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        told = (
            f"has the type {image.dtype} and the shape {image.shape}" if isinstance(image, np.ndarray) else f"is of the type {type(image).__name__}"
        )
        raise InputError(f"an image {told}", "Give a numpy array of uint8, 0 to 255, of the shape (height, width, 3).")


def write_image(image: np.ndarray, path: Path, provenance: Provenance, *, quality: int = 95) -> bytes:
    """Write an image with its provenance. The write is atomic.

    Args:
        image: uint8, shape (height, width, 3), RGB.
        path: File to write; ends in .png, .jpg or .jpeg.
        provenance: Metadata of the file.
        quality: JPEG quality, 1 to 100; without chroma subsampling.

    Returns:
        The content of the file.

    Raises:
        InputError: The image has another type or shape, the file name extension is another, or the file cannot be written.
    """
    path = Path(path)
    kind = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"has the extension {path.suffix!r}", "Use .png or .jpg for synthetic images.", file=path)
    return _write(image_bytes(image, kind, provenance, quality=quality), path)


def image_bytes(image: np.ndarray, kind: str, provenance: Provenance, *, quality: int = 95) -> bytes:
    """The content of an image file with its provenance.

    Args:
        image: uint8, shape (height, width, 3), RGB.
        kind: ``png``, ``jpeg`` or ``webp``.
        provenance: Metadata of the file.
        quality: of JPEG and WebP, 1 to 100; JPEG without chroma subsampling, WebP of 100 without losses.

    Raises:
        InputError: The image has another type or shape.
    """
    require_image(image)
    buffer, packet = io.BytesIO(), _packet(provenance)
    picture = Image.fromarray(image)
    match kind:
        case "png":
            info = PngInfo()
            info.add_itxt("XML:com.adobe.xmp", packet)
            picture.save(buffer, "PNG", pnginfo=info)
        case "jpeg":
            picture.save(buffer, "JPEG", quality=quality, subsampling=0, xmp=packet.encode("utf-8"))
        case _:
            picture.save(buffer, "WEBP", quality=quality, lossless=quality == 100, method=2, xmp=packet.encode("utf-8"))
    return buffer.getvalue()


def write_animation(frames: Sequence[np.ndarray], path: Path, provenance: Provenance, *, milliseconds: int) -> bytes:
    """Write a looping animation with its provenance. The write is atomic.

    Args:
        frames: Images, uint8, shape (height, width, 3) each, RGB.
        path: File to write; ends in .webp (lossless, with the XMP packet) or .gif (256 colours; the provenance is a text comment).
        provenance: Metadata of the file.
        milliseconds: Duration of each frame.

    Returns:
        The content of the file.

    Raises:
        InputError: The file cannot be written.
    """
    path = Path(path)
    return _write(animation_bytes(frames, "webp" if path.suffix.lower() == ".webp" else "gif", provenance, milliseconds=milliseconds), path)


def animation_bytes(frames: Sequence[np.ndarray], kind: str, provenance: Provenance, *, milliseconds: int) -> bytes:
    """The content of such a file.

    Args:
        frames: Images, uint8, shape (height, width, 3) each, RGB.
        kind: ``webp`` or ``gif``.
        provenance: Metadata of the file.
        milliseconds: Duration of each frame.

    Raises:
        InputError: There are no frames, or one is no image.
    """
    for frame in frames:
        require_image(frame)
    if not len(frames):
        raise InputError("an animation has no frames", "Give one image at least.")
    buffer = io.BytesIO()
    first, *others = [Image.fromarray(frame) for frame in frames]
    if kind == "webp":
        first.save(
            buffer, "WEBP", save_all=True, append_images=others, duration=milliseconds, loop=0, lossless=True, xmp=_packet(provenance).encode()
        )
    else:
        first.save(buffer, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0, comment=_description(provenance).encode())
    return buffer.getvalue()


def _write(content: bytes, path: Path) -> bytes:
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", "Check the disk's free space and the folder's permissions.", file=path) from None
    return content


def read_provenance(path: Path) -> Provenance | None:
    """Read the provenance from an image file. Returns None if the file has none written by Syntype.

    Raises:
        InputError: The file is missing or is not an image.
    """
    try:
        with Image.open(path) as image:
            packet = image.info.get("xmp")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not an image that can be read"
        raise InputError(f"cannot be read ({reason})", "Check the path, or generate the image again.", file=path) from None
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
    except (ParseError, DefusedXmlException, LookupError, ValueError):  # a packet of other software, or a damaged or malicious one
        return None


def _value(root: Element, prefix: str, name: str) -> str:
    element = root.find(f".//{{{_NAMESPACES[prefix]}}}{name}")
    if element is None:
        raise LookupError(name)
    return element.text or ""


def _description(provenance: Provenance) -> str:
    """The provenance as a sentence."""
    origin = f"generator {provenance.generator_id}, family {provenance.family}, seed {provenance.seed}"
    return f"{NOTICE} {provenance.species}, made by {provenance.software} ({origin})."


def _packet(provenance: Provenance) -> str:
    """The XMP packet (XMP specification, part 1, section 7), as XML."""
    properties = (
        ("dc:description", _language(_description(provenance))),
        ("xmpRights:UsageTerms", _language(NOTICE)),
        ("xmp:CreatorTool", _text(provenance.software)),
        ("Iptc4xmpExt:DigitalSourceType", _text(_SOURCE_TYPES + provenance.digital_source_type)),
        ("syntype:generator", _text(provenance.generator_id)),
        ("syntype:family", _text(provenance.family)),
        ("syntype:species", _text(provenance.species)),
        ("syntype:seed", str(provenance.seed)),
        ("syntype:controls", _text(json.dumps(provenance.controls, sort_keys=True))),
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
    """An XMP language alternative, the type of human-readable text."""
    return f'<rdf:Alt><rdf:li xml:lang="x-default">{_text(value)}</rdf:li></rdf:Alt>'

"""An image that has lost its table must still say that it is synthetic, and by what it was made."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from syntype.errors import InputError
from syntype.synthesis.provenance import NOTICE, Provenance, read_provenance, write_image

NAMES = ["Zanclus cornutus", 'Pomacentrus "sp. A" & <cf. moluccensis>', "Pseudanthias d'Ornay]]>", "Čičavica žutá 魚 🐟", "&amp; &#65; %s {}", ""]


def picture(size: int = 24) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (size, size + 5, 3), dtype=np.uint8)


def mark(species: str = NAMES[0], **changes: object) -> Provenance:
    values = {
        "generator_id": "projected-0123456789ab",
        "family": "projected",
        "species": species,
        "seed": 2**63 - 1,
        "software": "Syntype 0.1.0",
        **changes,
    }
    return Provenance(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg"])
@pytest.mark.parametrize("species", NAMES)
def test_marks_come_back_as_they_were(tmp_path: Path, suffix: str, species: str) -> None:
    path = tmp_path / f"image.{suffix}"
    written = mark(species, controls={"truncation": 0.7, "note": "<a & b> ü"}, digital_source_type="compositeCapture")
    content = write_image(picture(), path, written)
    assert path.read_bytes() == content
    assert read_provenance(path) == written
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(species=st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=40))
def test_any_name_comes_back(tmp_path: Path, species: str) -> None:
    write_image(picture(8), tmp_path / "image.png", mark(species))
    found = read_provenance(tmp_path / "image.png")
    assert found is not None
    assert found.species == species


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_characters_that_xml_cannot_hold_do_not_spoil_the_packet(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    write_image(picture(), path, mark("Bad\x00 \x0bname\r \ud800\uffff"))
    found = read_provenance(path)
    assert found is not None
    assert found.species == "Bad\ufffd \ufffdname\ufffd \ufffd\ufffd"


def test_png_pixels_are_kept_and_jpeg_pixels_nearly(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(32), np.arange(32))[..., None].repeat(3, 2).astype(np.uint8) * 2
    write_image(picture(), tmp_path / "a.png", mark())
    write_image(smooth, tmp_path / "a.jpg", mark())
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture())
    assert np.abs(np.asarray(Image.open(tmp_path / "a.jpg")).astype(int) - smooth).max() <= 4


def png_packet(content: bytes) -> bytes:
    """The XMP of a PNG, found without Pillow: PNG specification, section 11.3.3.4 (iTXt)."""
    at, found = 8, []
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        if kind == b"iTXt" and body.startswith(b"XML:com.adobe.xmp\0\0\0\0\0"):
            found.append(body.removeprefix(b"XML:com.adobe.xmp\0\0\0\0\0"))
        at += 12 + length
    assert len(found) == 1
    return found[0]


def jpeg_packet(content: bytes) -> bytes:
    """The XMP of a JPEG, found without Pillow: XMP specification, part 3, section 1.1.3."""
    at, header, found = 2, b"http://ns.adobe.com/xap/1.0/\0", []
    while content[at + 1] != 0xDA:
        (length,) = struct.unpack(">H", content[at + 2 : at + 4])
        body = content[at + 4 : at + 2 + length]
        if content[at + 1] == 0xE1 and body.startswith(header):
            found.append(body.removeprefix(header))
        at += 2 + length
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(("suffix", "packet_of"), [("png", png_packet), ("jpg", jpeg_packet)])
def test_other_programs_find_the_standard_properties(tmp_path: Path, suffix: str, packet_of: object) -> None:
    content = write_image(picture(), tmp_path / f"a.{suffix}", mark(NAMES[1]))
    packet = packet_of(content)  # type: ignore[operator]
    assert packet.startswith(b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>')
    root = fromstring(packet)
    spaces = {
        "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
        "dc": "http://purl.org/dc/elements/1.1/",
        "ext": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
        "rights": "http://ns.adobe.com/xap/1.0/rights/",
    }
    description = root.find("./rdf:RDF/rdf:Description", spaces)
    assert description is not None
    assert (
        description.findtext("ext:DigitalSourceType", namespaces=spaces) == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    )
    told = description.findtext("dc:description/rdf:Alt/rdf:li", namespaces=spaces)
    assert told is not None
    assert told.startswith(NOTICE)
    assert NAMES[1] in told
    assert description.findtext("rights:UsageTerms/rdf:Alt/rdf:li", namespaces=spaces) == NOTICE


def with_packet(path: Path, packet: str) -> Path:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet)
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, "PNG", pnginfo=info)
    path.write_bytes(buffer.getvalue())
    return path


def test_images_without_our_mark_have_none(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "plain.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "plain.jpg")
    assert read_provenance(tmp_path / "plain.png") is None
    assert read_provenance(tmp_path / "plain.jpg") is None
    assert read_provenance(with_packet(tmp_path / "other.png", '<x:xmpmeta xmlns:x="adobe:ns:meta/"/>')) is None
    assert read_provenance(with_packet(tmp_path / "broken.png", "<x:xmpmeta")) is None
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'
    assert read_provenance(with_packet(tmp_path / "bomb.png", bomb)) is None


def test_a_damaged_mark_is_no_mark(tmp_path: Path) -> None:
    content = write_image(picture(), tmp_path / "a.png", mark(seed=12345))
    packet = png_packet(content).decode()
    assert read_provenance(with_packet(tmp_path / "b.png", packet.replace(">12345<", ">x<"))) is None
    assert read_provenance(with_packet(tmp_path / "c.png", packet)) == mark(seed=12345)


def test_files_that_cannot_be_read_or_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    for name in ("text.png", "missing.png"):
        with pytest.raises(InputError, match=name):
            read_provenance(tmp_path / name)
    with pytest.raises(InputError, match=r"\.gif"):
        write_image(picture(), tmp_path / "a.gif", mark())
    with pytest.raises(InputError, match="nowhere"):
        write_image(picture(), tmp_path / "nowhere" / "a.png", mark())

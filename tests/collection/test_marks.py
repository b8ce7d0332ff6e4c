"""Images that say of themselves that they are synthetic are never taken for photographs."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from syntype.collection.importers import CollectConfig, CollectResult, collect
from syntype.collection.marks import SYNTHETIC_TERMS, read_mark, read_mark_of
from syntype.collection.preview import preview
from syntype.collection.sources import SourceConfig
from syntype.errors import InputError
from syntype.run import Run
from syntype.synthesis.provenance import EDITED, Provenance, write_animation, write_image

TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def pixels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def photograph(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed)).save(path)
    return path


def imported(source: Path, out: Path, **settings: object) -> CollectResult:
    return collect(source, CollectConfig.parse(settings), out, Run.silent())


def xmp(term: str) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        f'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType="{TERMS}{term}"/></rdf:RDF></x:xmpmeta>'
    ).encode()


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_what_syntype_made_comes_in_as_synthetic_with_its_generator_and_seed(tmp_path: Path, ending: str) -> None:
    for number in range(3):
        photograph(tmp_path / "in" / "Aus primus" / f"{number}.png", number)
    made = Provenance("fish-gan", "fastgan", "Aus primus", 77, {"truncation": 0.5}, EDITED)
    write_image(pixels(9), tmp_path / "in" / "Aus primus" / f"made{ending}", made)
    result = imported(tmp_path / "in", tmp_path / "out")
    row = result.collection.table.set_index("original_name").loc[f"Aus primus/made{ending}"]
    assert (row["origin"], row["generator_id"], row["seed"], row["controls"]) == ("synthetic", "fish-gan", 77, '{"truncation": 0.5}')
    assert pd.isna(row["split"]) and result.num_synthetic == 1 and sum(result.splits.values()) == 3


@pytest.mark.parametrize("term", sorted(SYNTHETIC_TERMS))
def test_the_terms_of_other_programs(term: str) -> None:
    mark = read_mark(b"\xff\xd8\xff\xe1" + xmp(term) + b"\xff\xd9")
    assert mark is not None and mark.term == term


@pytest.mark.parametrize("term", ["digitalCapture", "negativeFilm", "algorithmicallyEnhanced", "minorHumanEdits", "compositeCapture"])
def test_what_a_camera_took_is_no_synthetic_image(term: str) -> None:
    assert read_mark(xmp(term)) is None


def test_every_kind_of_file_can_carry_the_mark(tmp_path: Path) -> None:
    image, packet = Image.fromarray(pixels()), xmp("trainedAlgorithmicMedia")
    image.save(tmp_path / "a.jpg", xmp=packet)
    image.save(tmp_path / "a.webp", xmp=packet)
    image.save(tmp_path / "a.tif", tiffinfo={700: packet}, compression="tiff_lzw")
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet.decode(), zip=True)
    image.save(tmp_path / "a.png", pnginfo=info)
    write_animation([pixels(), pixels(1)], tmp_path / "a.gif", Provenance("g", "f", "s", 1), milliseconds=100)
    (tmp_path / "c2pa.jpg").write_bytes(
        (tmp_path / "a.jpg").read_bytes().replace(packet, b"jumbc2pa\x71digitalSourceType\x78" + TERMS.encode() + b"trainedAlgorithmicMedia")
    )
    for path in sorted(tmp_path.iterdir()):
        assert read_mark(path.read_bytes()) is not None, path.name
        assert read_mark_of(path) is not None, path.name


def test_the_notes_of_other_generators(tmp_path: Path) -> None:
    for name, key, text in (
        ("a.png", "parameters", "a reef fish\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1"),
        ("b.png", "prompt", '{"3": {"class_type": "KSampler", "inputs": {}}, "4": {"class_type": "KSamplerAdvanced"}}'),
        ("c.png", "invokeai_metadata", '{"generation_mode": "txt2img"}'),
    ):
        for packed in (False, True):
            info = PngInfo()
            info.add_text(key, text, zip=packed)
            Image.fromarray(pixels()).save(tmp_path / name, pnginfo=info)
            if not packed or name != "c.png":
                assert read_mark((tmp_path / name).read_bytes()) is not None, (name, packed)
    exif = Image.Exif()
    exif[0x9286] = b"UNICODE\0" + "a fish Steps: 20, Sampler: Euler, CFG scale: 7".encode("utf-16-be")
    Image.fromarray(pixels()).save(tmp_path / "d.jpg", exif=exif)
    assert read_mark((tmp_path / "d.jpg").read_bytes()) is not None


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffzTXta\0\0" + zlib.compress(b"\0" * 20_000_000),
        b"\x89PNG\r\n\x1a\n\0\0\0\5zTXtab", b"<x:xmpmeta" * 1000, TERMS.encode() * 10_000, xmp("x" * 100_000),
    ],
)  # fmt: skip
def test_hostile_bytes_are_no_mark_and_no_error(data: bytes) -> None:
    assert read_mark(data) is None


def test_real_and_synthetic_contradict_each_other(tmp_path: Path) -> None:
    photograph(tmp_path / "in" / "Aus primus" / "1.png", 1)
    write_image(pixels(2), tmp_path / "in" / "Aus primus" / "2.png", Provenance("g", "f", "Aus primus", 1))
    with pytest.raises(InputError, match=r"1 image files say that they are synthetic, and --origin says real\. Leave out --origin"):
        imported(tmp_path / "in", tmp_path / "out", origin="real")
    assert not (tmp_path / "out" / "images").exists()
    table = pd.DataFrame({"file": ["1.png", "2.png"], "species": "Aus primus", "origin": ["synthetic", "real"]})
    table.to_csv(tmp_path / "in" / "Aus primus" / "labels.csv", index=False)
    with pytest.raises(InputError, match="the source says of 1 images"):
        imported(tmp_path / "in" / "Aus primus" / "labels.csv", tmp_path / "out", origin="real")
    found = imported(tmp_path / "in" / "Aus primus" / "labels.csv", tmp_path / "out").collection.table
    assert found["origin"].tolist() == ["synthetic", "synthetic"]
    assert found["note"][1] == "the source calls it real, and the file says that it is synthetic"


def test_the_preview_says_so_before_anything_is_taken_in(tmp_path: Path) -> None:
    for number in range(4):
        photograph(tmp_path / "Aus primus" / f"{number}.png", number)
    write_image(pixels(9), tmp_path / "Aus primus" / "made.png", Provenance("g", "f", "Aus primus", 1))
    assert "1 of 5 image files that were looked at say that they are synthetic" in preview(tmp_path, SourceConfig()).text()

"""Colours, depths and rare formats: what a photograph looks like does not depend on how its file stores it."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from rare_formats import HEIC, deep_png, dng, tiff

from syntype.collection import Collection, foreign, isolated
from syntype.collection.colours import ADOBE_RGB, IGNORED
from syntype.collection.costs import MAX_PIXELS
from syntype.collection.decoding import decode, read_bytes, read_image
from syntype.collection.importers import CollectConfig, collect
from syntype.errors import InputError
from syntype.run import Run

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def picture(height: int = 40, width: int = 56, seed: int = 0) -> np.ndarray:
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def to_space(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    """The same colours in another RGB space, by matrices (IEC 61966-2-1 and the profile's own numbers), not by Little CMS."""
    linear = np.where(pixels <= 10.31475, pixels / 255 / 12.92, ((pixels / 255 + 0.055) / 1.055) ** 2.4)
    own = {profile[at : at + 4]: struct.unpack_from(">II", profile, at + 4) for at in range(132, 132 + 12 * profile[131], 12)}
    columns = [np.array(struct.unpack_from(">3i", profile, own[tag][0] + 8)) / 65536 for tag in (b"rXYZ", b"gXYZ", b"bXYZ")]
    gamma = struct.unpack_from(">H", profile, own[b"rTRC"][0] + 12)[0] / 256
    srgb = np.array([[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]])  # D50 (Lindbloom)
    values = linear @ srgb.T @ np.linalg.inv(np.stack(columns, axis=1)).T
    return np.rint(255 * values.clip(0, 1) ** (1 / gamma)).astype(np.uint8)


def far(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of two pictures. (Single dark values differ by up to 8, as the other space has no finer steps there.)"""
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


# Profiles ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_a_picture_in_adobe_rgb_shows_the_colours_of_its_srgb_original(kind: str) -> None:
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    wide = Image.fromarray(to_space(picture(), ADOBE_RGB))
    result = read_image(encoded(wide, kind, icc_profile=ADOBE_RGB, **options))
    assert result.note is None
    assert far(result.pixels, picture()) < (1.5 if kind == "JPEG" else 1)
    assert far(np.asarray(wide), picture()) > 5, "without the profile the colours differ"


def test_a_camera_that_says_adobe_rgb_in_exif_only_is_believed() -> None:
    wide = Image.fromarray(to_space(picture(), ADOBE_RGB))
    for kind in ("PNG", "JPEG"):
        options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
        assert far(decode(encoded(wide, kind, exif=interoperability(b"R03"), **options)), picture()) < 1.5
        assert far(decode(encoded(wide, kind, exif=interoperability(b"R98"), **options)), np.asarray(wide)) < 1


def interoperability(index: bytes) -> bytes:
    """An EXIF block that says by which rule a camera wrote the file: R98 is sRGB, R03 Adobe RGB (DCF 2.0)."""
    directories = [(0x8769, 4, struct.pack("<I", 26)), (0xA005, 4, struct.pack("<I", 44)), (1, 2, index + b"\0")]
    body = b"".join(struct.pack("<HHHI", 1, tag, form, 4 if form == 2 else 1) + value + b"\0\0\0\0" for tag, form, value in directories)
    return b"Exif\0\0II*\0\x08\0\0\0" + body


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_srgb_pictures_keep_every_byte(mode: str, kind: str) -> None:
    image = Image.fromarray(picture()).convert(mode)
    if kind == "JPEG" and mode not in ("RGB", "L"):
        pytest.skip("JPEG has no such mode")
    plain, with_profile = encoded(image, kind), encoded(image, kind, icc_profile=SRGB)
    with Image.open(io.BytesIO(plain)) as opened:
        expected = np.asarray(opened.convert("RGB"))
    np.testing.assert_array_equal(decode(plain), expected)
    np.testing.assert_array_equal(decode(with_profile), expected)


@pytest.mark.parametrize("damage", ["cut", "noise", "empty tags", "chain"])
def test_a_damaged_profile_is_ignored_and_told(damage: str) -> None:
    noise = np.random.default_rng(0).bytes(500)
    broken = {"cut": ADOBE_RGB[:200], "noise": noise, "empty tags": ADOBE_RGB[:132] + b"\0" * 300, "chain": ADOBE_RGB + b"mpet"}[damage]
    result = read_image(encoded(Image.fromarray(picture()), "PNG", icc_profile=broken))
    np.testing.assert_array_equal(result.pixels, picture())
    assert result.note == f"{IGNORED}: it is damaged"


def test_a_profile_for_other_pictures_is_ignored_and_told() -> None:
    result = read_image(encoded(Image.fromarray(picture()), "PNG", icc_profile=ink_profile()))
    np.testing.assert_array_equal(result.pixels, picture())
    assert result.note == f"{IGNORED}: it is for CMYK pictures, and this one is RGB"


def test_grey_pictures_with_a_grey_profile_change_their_curve() -> None:
    grey = picture()[:, :, 0]
    linear = grey_profile(1.0)
    for image in (Image.fromarray(grey), Image.fromarray(np.dstack([grey, np.full_like(grey, 255)]), "LA")):
        result = decode(encoded(image, "PNG", icc_profile=linear))
        share = grey / 255
        expected = 255 * np.where(share <= 0.0031308, 12.92 * share, 1.055 * share ** (1 / 2.4) - 0.055)
        assert np.abs(result[:, :, 1] - expected)[grey > 12].max() <= 2  # darker greys have no finer steps
        assert (result == result[:, :, :1]).all()


def test_transparent_pixels_stay_mid_grey_whatever_the_profile() -> None:
    alpha = np.full(picture().shape[:2], 255, np.uint8)
    alpha[:10] = 0
    data = encoded(Image.fromarray(np.dstack([to_space(picture(), ADOBE_RGB), alpha])), "PNG", icc_profile=ADOBE_RGB)
    assert (decode(data)[:10] == 128).all() and far(decode(data)[10:], picture()[10:]) < 1


def test_a_palette_with_a_transparent_colour_lies_over_mid_grey() -> None:
    image = Image.fromarray(np.repeat(np.arange(4, dtype=np.uint8), 100).reshape(20, 20), "P")
    image.putpalette([250, 0, 0, 0, 250, 0, 0, 0, 250, 9, 9, 9])
    for kind in ("PNG", "GIF"):
        result = decode(encoded(image, kind, transparency=1))
        assert [tuple(result[row, 5]) for row in (2, 7, 12, 17)] == [(250, 0, 0), (128, 128, 128), (0, 0, 250), (9, 9, 9)]


def test_printing_inks_with_a_profile_follow_it_and_not_the_rule_of_thumb() -> None:
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:, :8, 0] = 255  # cyan
    inks[:, 8:, 3] = 255  # black
    for kind in ("TIFF", "JPEG"):
        options = {"quality": 100} if kind == "JPEG" else {}
        result = decode(encoded(Image.fromarray(inks, "CMYK"), kind, icc_profile=ink_profile(), **options))
        np.testing.assert_allclose(result[8, 2], (0, 153, 214), atol=12)  # the cyan of the profile, L* 60, a* -20, b* -40, and not (0, 255, 255)
        np.testing.assert_allclose(result[8, 14], (0, 0, 0), atol=4)  # its black, L* 20, is the black of the screen


def test_lab_pictures_become_the_colours_they_mean() -> None:
    lab = np.zeros((16, 16, 3), np.uint8)
    lab[:, :8] = (138, 81, 70)  # L* 54.1, a* 81, b* 70: sRGB red under D50 (Lindbloom)
    lab[:, 8:] = (128, 0, 0)
    result = decode(tiff(lab, 8))
    np.testing.assert_allclose(result[8, 2], (255, 0, 0), atol=8)
    np.testing.assert_allclose(result[8, 12], (119, 119, 119), atol=2)  # L* 50.2 is grey 119


def grey_profile(gamma: float) -> bytes:
    return made_profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"})


def ink_profile() -> bytes:
    """Cyan is L* 60, a* -20, b* -40, black L* 20, and paper L* 100: a lut8Type of two grid points an ink (ICC.1, section 10.10)."""
    same = bytes(range(256))
    grid = b""
    for corner in range(16):  # cyan changes slowest
        cyan, black = corner >> 3 & 1, corner & 1
        level = 20 if black else 60 if cyan else 100
        grid += bytes([round(level * 2.55), 128 - 20 * (cyan and not black), 128 - 40 * (cyan and not black)])
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + struct.pack(">9i", *(65536 * one for one in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    return made_profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table + same * 4 + grid + same * 3})


def made_profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    white = struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": b"XYZ \0\0\0\0" + white, **tags}
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for tag, content in tags.items():
        content += b"\0" * (-len(content) % 4)
        table += tag + struct.pack(">II", start + len(body), len(content))
        body += content
    head = (
        struct.pack(">I4sI", start + len(body), b"lcms", 0x02100000) + kind + space + connection + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp"
    )
    return (head.ljust(68, b"\0") + white).ljust(128, b"\0") + table + body


# Depth -------------------------------------------------------------------------------------------------------------------------------


def every_file(values: np.ndarray) -> dict[str, bytes]:
    """The same uint16 values in every kind of file that holds them."""
    photometric = 1 if values.shape[2] < 3 else 2
    more = {338: (3, [2])} if values.shape[2] in (2, 4) else None
    files = {"png": deep_png(values)}
    if values.shape[2] != 2:
        for compressed in (False, True):
            for order in "<>":
                files[f"tiff {order} {compressed}"] = tiff(values, photometric, more, compressed=compressed, order=order)
    return files


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_are_rounded_to_eight_in_every_file(channels: int) -> None:
    values = np.random.default_rng(channels).integers(0, 65536, (20, 30, channels)).astype(np.uint16)
    if channels in (2, 4):
        values[:, :, -1] = 65535
    expected = np.rint(values[:, :, : channels - (channels in (2, 4))] / 257).astype(np.uint8)
    for name, data in every_file(values).items():
        result = read_image(data)
        np.testing.assert_array_equal(result.pixels, np.broadcast_to(expected, (20, 30, 3)), err_msg=name)
        assert result.note is None


@pytest.mark.parametrize(("level", "bits"), [(4095, 12), (255, 8)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_twelve_bits_in_a_file_of_sixteen_are_scaled_and_told(channels: int, level: int, bits: int) -> None:
    values = np.random.default_rng(0).integers(0, level + 1, (20, 30, channels)).astype(np.uint16)
    values[0, 0] = level
    if channels in (2, 4):
        values[:, :, -1] = 65535
    expected = np.rint(values[:, :, : channels - (channels in (2, 4))] * (255 / level)).astype(np.uint8)
    for name, data in every_file(values).items():
        result = read_image(data)
        np.testing.assert_array_equal(result.pixels, np.broadcast_to(expected, (20, 30, 3)), err_msg=name)
        assert str(result.note).startswith(f"{bits} bits in a file of 16")


def test_sixteen_bits_with_opacity_lie_over_mid_grey() -> None:
    values = np.full((20, 20, 4), 65535, np.uint16)
    values[:10, :, 3] = 0
    result = decode(deep_png(values))
    assert (result[:10] == 128).all() and (result[10:] == 255).all()


def test_sixteen_bits_where_white_is_zero_are_turned_round() -> None:
    values = np.full((20, 20, 1), 65535, np.uint16)
    values[:10] = 0
    result = decode(tiff(values, 0))
    assert (result[:10] == 255).all() and (result[10:] == 0).all()


def test_a_profile_applies_to_sixteen_bits_too() -> None:
    wide = to_space(picture(), ADOBE_RGB).astype(np.uint16) * 257
    assert far(decode(tiff(wide, 2, {34675: (7, ADOBE_RGB)})), picture()) < 1


def test_floats_beyond_one_are_stretched_and_told_and_channels_of_floats_refused_by_name() -> None:
    values = np.linspace(-3, 500, 400, dtype=np.float32).reshape(20, 20, 1)
    result = read_image(tiff(values, 1))
    assert (result.pixels.min(), result.pixels.max()) == (0, 255) and result.note == "values stretched: -3 became black and 500 white"
    with pytest.raises(InputError, match=r"is a TIFF of a kind that cannot be read. It has 3 channels of floating-point 32 bits.*export it"):
        decode(tiff(np.repeat(values, 3, axis=2), 2))


# Rare formats ------------------------------------------------------------------------------------------------------------------------


def box(*brands: bytes) -> bytes:
    """The beginning of an ISO base media file."""
    return struct.pack(">I", 16 + 4 * (len(brands) - 1)) + b"ftyp" + brands[0] + b"\0\0\0\0" + b"".join(brands[1:]) + b"\0" * 64


KINDS = {
    "CR3": (box(b"crx ", b"crx ", b"isom"), "a Canon RAW file (CR3)", "raw"),
    "CR2": (b"II*\0\x10\0\0\0CR\2\0" + b"\0" * 64, "a Canon RAW file (CR2)", "raw"),
    "NEF": (dng(maker=b"NIKON CORPORATION"), "a Nikon RAW file (NEF)", "raw"),
    "ARW": (dng(maker=b"SONY"), "a Sony RAW file (ARW)", "raw"),
    "DNG": (dng(), "a RAW file (DNG)", "raw"),
    "other RAW": (dng(maker=b"Ours"), "a camera's RAW file (RAW)", "raw"),
    "ORF": (b"IIRO\x08\0\0\0" + b"\0" * 64, "an Olympus RAW file (ORF)", "raw"),
    "RW2": (b"IIU\0\x08\0\0\0" + b"\0" * 64, "a Panasonic RAW file (RW2)", "raw"),
    "RAF": (b"FUJIFILMCCD-RAW 0201" + b"\0" * 64, "a Fujifilm RAW file (RAF)", "raw"),
    "HEIC": (HEIC, "a HEIF photograph (HEIC)", "heif"),
    "HEIF": (box(b"mif1", b"mif1", b"heic"), "a HEIF photograph (HEIC)", "heif"),
    "AVIF": (box(b"mif1", b"avif", b"miaf"), "an AVIF image", "pillow"),
    "JPEG XL": (b"\xff\x0a" + b"\0" * 64, "a JPEG XL image", None),
    "JPEG 2000": (b"\xff\x4f\xff\x51" + b"\0" * 64, "a JPEG 2000 image", "pillow"),
    "PSD": (b"8BPS\0\1" + b"\0" * 64, "a Photoshop file (PSD)", None),
    "SVG": (b'<?xml version="1.0"?>\n<!-- fish -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "a drawing (SVG)", None),
    "web page": (b"<!DOCTYPE html><html><body>404</body></html>", "a web page, not an image", None),
    "MP4": (box(b"isom", b"iso2", b"avc1"), "a video (MP4)", None),
    "MOV": (box(b"qt  ", b"qt  "), "a video (QuickTime)", None),
    "AVI": (b"RIFF\0\0\0\0AVI LIST" + b"\0" * 64, "a video (AVI)", None),
    "MKV": (b"\x1aE\xdf\xa3" + b"\0" * 64, "a video (Matroska or WebM)", None),
    "PDF": (b"%PDF-1.7" + b"\0" * 64, "a PDF document", None),
}


@pytest.mark.parametrize("name", KINDS)
def test_rare_formats_are_called_by_their_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, words, reader = KINDS[name]
    monkeypatch.setattr(isolated, "_is_there", lambda kind: False)
    with pytest.raises(InputError) as caught:
        decode(data)
    assert caught.value.reason == f"is {words}"
    install = {None: "", "pillow": "Install a newer Pillow", "raw": "Install syntype[raw]", "heif": "Install syntype[heif]"}[reader]
    assert caught.value.hint.startswith(install)
    assert ("ownload" if name == "web page" else "xport") in caught.value.hint


def test_what_is_always_read_is_not_called_foreign() -> None:
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"):
        assert foreign.foreign_kind(encoded(Image.fromarray(picture()), kind)) is None


@pytest.mark.parametrize("maker", [b"", b"NIKON CORPORATION"])
def test_the_preview_of_a_raw_file_is_never_taken_for_the_photograph(maker: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    data = dng(maker=maker)
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.size == (32, 24), "Pillow sees the preview"
    result = read_image(data)
    assert result.format == ("NEF" if maker else "DNG") and result.pixels.shape == (96, 128, 3)
    assert (result.pixels[:20, :28] < 10).all(), "the dark corner"
    red, _, blue = result.pixels[60, 80].astype(int)
    assert maker or red > blue + 60, "the preview is blue, the photograph is not"
    assert decode(dng(orientation=6)).shape == (128, 96, 3)
    monkeypatch.setattr(isolated, "_is_there", lambda kind: False)
    with pytest.raises(InputError, match=r"RAW file .*Install syntype\[raw\]"):
        decode(data)


def test_a_tiff_that_begins_with_a_preview_of_something_else_is_refused() -> None:
    small, large = picture(20, 30), picture(80, 120)
    with pytest.raises(InputError, match="begins with a small preview"):
        decode(tiff(small, 2, {254: (4, [1])}, inner=(large, 2, {254: (4, [0])})))
    np.testing.assert_array_equal(decode(tiff(small, 2, {254: (4, [1])})), small)  # there is no other picture
    np.testing.assert_array_equal(decode(tiff(large, 2, inner=(small, 2, {254: (4, [1])}))), large)  # the preview comes second


def test_a_heif_photograph_is_read() -> None:
    result = read_image(HEIC)
    assert result.format == "HEIC" and result.note is None
    row, column = np.mgrid[0:48, 0:64]
    expected = np.stack([column * 4, row * 5, 255 - column * 3], axis=-1).clip(0, 255)
    assert np.abs(result.pixels - expected).mean() < 6


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000"])
def test_avif_and_jpeg_2000_are_read_with_their_colours(kind: str) -> None:
    options = {"quality": 95, "subsampling": "4:4:4", "icc_profile": ADOBE_RGB} if kind == "AVIF" else {}
    pixels = to_space(picture(), ADOBE_RGB) if kind == "AVIF" else picture()
    result = read_image(encoded(Image.fromarray(pixels), kind, **options))
    assert result.format == ("AVIF" if kind == "AVIF" else "JP2")
    assert np.abs(result.pixels.astype(int) - picture()).mean() < 3


def test_rare_formats_keep_the_limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(isolated, "MAX_PIXELS", 1000)
    with pytest.raises(InputError, match=f"more than {MAX_PIXELS // 1_000_000} million pixels. It measures 64 x 48"):
        decode(HEIC)
    with pytest.raises(InputError, match="more than 120 million pixels"):
        decode(dng())
    monkeypatch.undo()
    for data in (HEIC[:300], dng()[:2000], dng()[:-400], dng(at_end=True)[:-100]):
        with pytest.raises(InputError, match=r"is truncated or damaged|is not an image|RAW|cannot be read"):
            decode(data)
    endless = tmp_path / "endless.py"
    endless.write_text("import sys\nimport resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 2))\nwhile True: pass\n")
    if sys.platform == "linux":
        monkeypatch.setattr(isolated, "_PROGRAM", endless)
        with pytest.raises(InputError, match="would take too long to decode"):
            decode(HEIC)


def test_of_a_video_only_the_beginning_is_read(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(box(b"isom", b"avc1") + b"\0" * 100_000)
    with pytest.raises(InputError, match=r"film.mp4: is a video \(MP4\). Export single frames"):
        read_bytes(tmp_path / "film.mp4")


def test_a_folder_with_rare_formats_reads_or_refuses_every_file(tmp_path: Path) -> None:
    folder = tmp_path / "photos" / "Aus primus"
    folder.mkdir(parents=True)
    for seed in range(3):
        Image.fromarray(picture(seed=seed)).save(folder / f"{seed}.jpg")
    files = {"IMG_1.HEIC": HEIC, "DSC_1.NEF": dng(maker=b"NIKON"), "film.mov": KINDS["MOV"][0], "drawing.svg": KINDS["SVG"][0],
             "layers.psd": KINDS["PSD"][0], "renamed.jpg": HEIC, "cut.dng": dng()[:2000]}  # fmt: skip
    for name, data in files.items():
        (folder / name).write_bytes(data)
    result = collect(tmp_path / "photos", CollectConfig(), tmp_path / "out", Run.silent())
    summary = result.summary()
    assert summary["num_images"] + summary["num_refused"] == 3 + len(files)
    collection = Collection.open(tmp_path / "out")
    kept = {Path(name).name for name in collection.table["file_name"]}
    assert {"IMG_1.heic", "DSC_1.nef", "renamed.heic"} <= kept
    refused = (tmp_path / "out" / "refused.csv").read_text(encoding="utf-8")
    assert all(words in refused for words in ("is a video (QuickTime)", "is a drawing (SVG)", "is a Photoshop file (PSD)"))
    assert collection.pixels(32).shape == (len(collection), 32, 32, 3)

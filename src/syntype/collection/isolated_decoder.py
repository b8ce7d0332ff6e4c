"""A program of its own that decodes one image, started by ``isolated``: python isolated_decoder.py READER MAX_PIXELS MIN_SIDE SECONDS.

It reads the file from standard input, and writes one line of JSON and then the pixels to standard output. Libraries for rare formats may work for
minutes on a hostile file, or crash: here the operating system ends them, and nothing else with them. It imports nothing of Syntype, so that it
starts quickly.
"""

from __future__ import annotations

import io
import json
import sys
import warnings
from contextlib import suppress
from typing import Any

__all__ = ["main"]

_MEMORY = 8 << 30
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF orientation -> PIL.Image.Transpose
_SDR = (1, 2, 5, 6, 13)  # transfer characteristics of usual pictures (ISO 23091-2); others are of high dynamic range


def main(words: list[str]) -> None:
    """Decode standard input. ``words``: reader, most pixels, shortest side, seconds of processor time."""
    reader, (pixels, side, seconds) = words[0], map(int, words[1:])
    with suppress(ImportError, ValueError, OSError):  # not on Windows; not above the limits of the user's own
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    warnings.simplefilter("ignore")
    data = sys.stdin.buffer.read()
    head, body = (_raw if reader == "raw" else _pillow)(data, reader, pixels, side)
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n")
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()


def _unfit(width: int, height: int, pixels: int, side: int) -> bool:
    return width * height > pixels or min(width, height) < side


def _raw(data: bytes, _reader: str, pixels: int, side: int) -> tuple[dict[str, Any], bytes]:
    """A photograph from the values of the sensor, with the camera's white balance, in sRGB, upright."""
    import rawpy

    with rawpy.imread(io.BytesIO(data)) as raw:
        size = raw.sizes
        if _unfit(size.iwidth, size.iheight, pixels, side):
            return {"width": size.iwidth, "height": size.iheight}, b""
        picture = raw.postprocess(use_camera_wb=True, output_color=rawpy.ColorSpace.sRGB, output_bps=8)
    height, width = picture.shape[:2]
    return {"width": width, "height": height, "mode": "RGB", "profile": 0}, picture.tobytes()


def _pillow(data: bytes, reader: str, pixels: int, side: int) -> tuple[dict[str, Any], bytes]:
    """The first picture of a HEIF, AVIF or JPEG 2000 file, upright, in the colours of its profile (whose bytes come before the pixels)."""
    from PIL import Image

    formats = ["AVIF", "JPEG2000"]
    if reader == "heif":
        import pi_heif

        pi_heif.register_heif_opener()
        formats = ["HEIF"]
    Image.MAX_IMAGE_PIXELS = None  # the limit is checked here
    with Image.open(io.BytesIO(data), formats=formats) as image:
        width, height = image.size
        if _unfit(width, height, pixels, side):
            return {"width": width, "height": height}, b""
        image.load()
        colours = image.info.get("nclx_profile") or {}
        profile = bytes(image.info.get("icc_profile") or b"")
        upright: Image.Image = image
        with suppress(Exception):  # a damaged EXIF block does not cost the picture
            turn = _TURNS.get(image.getexif().get(0x0112, 1))
            upright = image if turn is None else image.transpose(Image.Transpose(turn))
        if upright.mode not in ("RGB", "RGBA", "L", "LA", "I;16"):
            upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    head = {"width": upright.width, "height": upright.height, "mode": upright.mode, "profile": len(profile)}
    if not profile and (colours.get("color_primaries", 1) not in (1, 2) or colours.get("transfer_characteristics", 13) not in _SDR):
        head["note"] = "colour profile ignored: the file gives its colours by numbers of another standard than sRGB"
    return head, profile + upright.tobytes()


if __name__ == "__main__":
    main(sys.argv[1:])

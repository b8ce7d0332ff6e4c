"""Decoding by libraries for rare formats, each file in a process of its own with a limit of time, so that a hostile file can do no harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, features

from syntype.collection.costs import MAX_PIXELS, costly
from syntype.collection.foreign import Foreign, refusal
from syntype.errors import InputError

__all__ = ["SECONDS", "decode_isolated"]

SECONDS = 30
"""Processor time that one image may take; RAW files of 24 million pixels take about 8 seconds."""
_PROGRAM = Path(__file__).with_name("isolated_decoder.py")
_LIBRARIES = {"raw": "rawpy", "heif": "pi_heif"}
_FEATURES = {"AVIF": "avif", "JP2": "jpg_2000"}
_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def decode_isolated(data: bytes, kind: Foreign, min_side: int) -> tuple[Image.Image | tuple[int, int], str | None]:
    """Decode a file of a kind that the usual readers do not know.

    Args:
        min_side: shortest side in pixels that is decoded.

    Returns:
        the image, upright and with its colour profile, or its width and height if it is too large or too small to be decoded; and a note.

    Raises:
        InputError: nothing reads this kind, its library is not installed, it takes too long, or it is damaged.
    """
    if kind.reader is None:
        raise refusal(kind, install=False)
    if not _is_there(kind):
        raise refusal(kind, install=True)
    command = [sys.executable, "-P", str(_PROGRAM), kind.reader, str(MAX_PIXELS), str(min_side), str(SECONDS)]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=6 * SECONDS, env={**os.environ, **_THREADS})
    except subprocess.TimeoutExpired:
        raise costly(f"it takes more than {6 * SECONDS} seconds") from None
    if done.returncode < 0 and -done.returncode in (9, 24):  # SIGKILL and SIGXCPU: the limit of processor time
        raise costly(f"it takes more than {SECONDS} seconds")
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:120] or f"the decoder ended with {done.returncode}"
        raise InputError("is truncated or damaged", f"Copy it again from where it came ({kind.format}: {told}).")
    line, _, body = done.stdout.partition(b"\n")
    head = json.loads(line)
    size = (head["width"], head["height"])
    if "mode" not in head:
        return size, None
    start = head["profile"]
    image = Image.frombytes(head["mode"], size, body[start:])
    if start:
        image.info["icc_profile"] = body[:start]
    return image, head.get("note")


def _is_there(kind: Foreign) -> bool:
    """Whether what reads this kind is installed."""
    if kind.reader == "pillow":
        return bool(features.check(_FEATURES[kind.format]))
    return find_spec(_LIBRARIES[str(kind.reader)]) is not None

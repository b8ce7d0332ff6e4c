"""What a training will take, told before it begins: time, room on the disk, and what is missing on this machine.

Nothing is imported that a training needs, so that a server can ask at every change of a form. Times are estimates from the project's benchmarks on
two cores without a graphics card (docs/benchmarks/demo.md and fish4knowledge.md), or from the speed of an earlier training of the family here.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

__all__ = ["DONORS", "UNTRAINED", "Expected", "expected", "graphics_card", "images_per_second", "suggested_size"]

UNTRAINED = ("collage", "copies", "pose_transfer")
"""Families that are not trained. They are named here, as asking them would import what they need, PyTorch among it."""
DONORS = 30
"""Training photographs from which on a species lends pose and place to others (``PoseTransferConfig.min_donor_images``)."""
_PASTE_START, _PASTE_EACH = 25.0, 0.05
"""Seconds of ``pose_transfer`` before the first photograph, and for each, at 128 pixels."""
_PASTE_BYTES = 5
"""Of a pixel in the folder of ``pose_transfer``: the photograph, and what its place looks like without the animal."""
_LEARNT_BYTES = {"projected": 140_000_000, "lora": 250_000_000}
"""Of a generator with its training state, roughly; other families lie below the first."""
_CACHE_BYTES = 3
"""Of a decoded pixel, which is kept while photographs are learnt from."""
_LORA_NEEDS = ("diffusers", "peft", "transformers")


@dataclass(frozen=True)
class Expected:
    """What is expected of a training.

    Attributes:
        family: its name.
        size: side of the images, in pixels.
        minutes: of training; None where it is not known beforehand.
        steps: training steps in this time; None where nothing is trained, or the speed is not known.
        num_bytes: on the disk, roughly.
        missing_card: it needs a graphics card, and this machine has none.
        missing_packages: Python packages that it needs and that are not installed.
    """

    family: str
    size: int
    minutes: float | None
    steps: int | None
    num_bytes: int
    missing_card: bool = False
    missing_packages: tuple[str, ...] = ()


def images_per_second(size: int) -> float:
    """Rough training speed: 30 images of 64 px per second on two cores without a GPU, in proportion to the number of pixels."""
    return 30 * (64 / size) ** 2


def expected(
    family: str,
    counts: Mapping[str, int],
    size: int,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    batch_size: int = 16,
    pace: float | None = None,
) -> Expected:
    """What to expect of a training.

    Args:
        family: name of the generator family.
        counts: training photographs of each species.
        size: side of the images, in pixels.
        minutes, steps: when the training ends, whichever comes first; without meaning for families that are not trained.
        batch_size: photographs in a step.
        pace: how many times as fast as two cores this machine is, from an earlier training here; None: not measured. Then a machine with a
            graphics card is not estimated, and others count as two cores.

    Example:
        >>> paste = expected("pose_transfer", {"Aus primus": 400, "Bus secundus": 6}, 128)
        >>> round(paste.minutes, 1), paste.steps, paste.missing_packages
        (0.8, None, ())
    """
    photographs = sum(counts.values())
    if family in UNTRAINED:
        seconds = (_PASTE_START + _PASTE_EACH * photographs) / (pace or 1) if family == "pose_transfer" else 0.01 * photographs
        return Expected(family, size, seconds / 60, None, photographs * size * size * _PASTE_BYTES)
    pace = pace or (None if family == "lora" or graphics_card() else 1)
    speed = None if pace is None else pace * images_per_second(size)
    in_time = None if minutes is None or speed is None else max(1, int(60 * minutes * speed / batch_size))
    taken = min((number for number in (steps, in_time) if number is not None), default=None)
    if speed is not None and taken is not None and taken != in_time:
        minutes = taken * batch_size / speed / 60
    num_bytes = _LEARNT_BYTES.get(family, _LEARNT_BYTES["projected"]) + photographs * size * size * _CACHE_BYTES
    if family != "lora":
        return Expected(family, size, minutes, taken, num_bytes)
    packages = tuple(name for name in _LORA_NEEDS if find_spec(name) is None)
    return Expected(family, size, minutes, taken, num_bytes, graphics_card() is None, packages)


@cache
def graphics_card() -> str | None:
    """Name of the first NVIDIA graphics card of this machine, as its driver tells; None without one."""
    if (program := shutil.which("nvidia-smi")) is None:
        return None
    try:
        told = subprocess.run([program, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):  # a driver without a card
        return None
    return told.strip().partition("\n")[0].strip() or None


def suggested_size(family: str) -> int:
    """Side of the images in pixels to begin with, without importing the family: its own for those that learn, 128 for the others."""
    return 512 if family == "lora" else 128 if family in UNTRAINED else 64

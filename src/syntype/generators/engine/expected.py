"""What a training will take and give, told before it begins: time, room on the disk, quality, and what is missing on this machine.

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

from syntype.errors import plural, shown_list

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
_CLOSE = ((5000, "about three quarters"), (1600, "about half"))
"""Steps of ``projected``, and the share of test photographs near which its images lay (coverage 0.75 and 0.56): fish4knowledge.md, families.md."""
_MANY = 1000
"""Photographs, fewer of which give less variety than that benchmark."""
_BLURRED = 300
"""Steps after which 9 of 400 images passed the check against photographs (demo.md)."""


@dataclass(frozen=True)
class Expected:
    """What is expected of a training.

    Attributes:
        family: its name.
        size: side of the images, in pixels.
        minutes: of training; None where it is not known beforehand.
        steps: training steps in this time; None where nothing is trained, or the speed is not known.
        num_bytes: on the disk, roughly.
        quality: what the images will be like, in sentences.
        lacks: what is missing on this machine, in one line; None if it can be trained here.
    """

    family: str
    size: int
    minutes: float | None
    steps: int | None
    num_bytes: int
    quality: str
    lacks: str | None


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
        >>> round(paste.minutes, 1), paste.steps, paste.lacks
        (0.8, None, None)
    """
    photographs = sum(counts.values())
    if family in UNTRAINED:
        seconds = (_PASTE_START + _PASTE_EACH * photographs) / (pace or 1) if family == "pose_transfer" else 0.01 * photographs
        quality = _pasted(counts) if family == "pose_transfer" else ""
        return Expected(family, size, seconds / 60, None, photographs * size * size * _PASTE_BYTES, quality, None)
    pace = pace or (None if family == "lora" or graphics_card() else 1)
    speed = None if pace is None else pace * images_per_second(size)
    in_time = None if minutes is None or speed is None else max(1, int(60 * minutes * speed / batch_size))
    taken = min((number for number in (steps, in_time) if number is not None), default=None)
    if speed is not None and taken is not None and taken != in_time:
        minutes = taken * batch_size / speed / 60
    num_bytes = _LEARNT_BYTES.get(family, _LEARNT_BYTES["projected"]) + photographs * size * size * _CACHE_BYTES
    lacks = _lacks() if family == "lora" else None
    return Expected(family, size, minutes, taken, num_bytes, _learnt(family, photographs, size, taken, batch_size), lacks)


def _pasted(counts: Mapping[str, int]) -> str:
    donors = sum(number >= DONORS for number in counts.values())
    lend = f"{plural(donors, 'species', 'species')} with {DONORS} photographs or more {'lends' if donors == 1 else 'lend'} pose, place and light."
    if not donors:
        lend = f"No species has {DONORS} photographs, so all lend each other pose and place; look for seams."
    return f"Looks real: each image shows an animal of your photographs in the place of another. It draws no new individuals. {lend}"


def _learnt(family: str, photographs: int, size: int, steps: int | None, batch_size: int) -> str:
    if family == "lora":
        return "Expected to be the sharpest, as the model has seen millions of pictures. Not measured."
    small = "Colours, outlines and coarse patterns; no scales or fin rays. " if size < 128 else ""
    if family != "projected":
        return f"{small}Below projected in the benchmarks."
    if steps is None:
        return small.strip()
    seen = f"Each photograph is seen about {plural(max(1, round(steps * batch_size / max(1, photographs))), 'time')}."
    for least, share in _CLOSE:
        if steps >= 0.9 * least:
            fewer = f" Your {plural(photographs, 'photograph')} will give less variety." if photographs < _MANY else ""
            return f"{small}In a benchmark with 2,100 photographs, so many steps came near {share} of the test photographs.{fewer} {seen}"
    blurred = f"Expect blurred shapes: in a benchmark, 9 of 400 images passed the check after {_BLURRED} steps." if steps <= 2 * _BLURRED else ""
    return f"{small}{blurred or 'Short: expect some images without a clear shape.'} {seen}"


def _lacks() -> str | None:
    """What ``lora`` lacks here, in one line."""
    packages = [name for name in _LORA_NEEDS if find_spec(name) is None]
    missing = [] if graphics_card() else ["a graphics card (24 GB for its usual model)"]
    missing += (
        [f"the {'package' if len(packages) == 1 else 'packages'} {shown_list(packages)} (pip install 'syntype[diffusion]')"] if packages else []
    )
    return f"Not possible on this machine, which lacks {' and '.join(missing)}." if missing else None


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

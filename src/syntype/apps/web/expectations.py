"""What the images of a training will be like, and what this machine lacks for it, in sentences.

The figures come from the project's benchmarks: docs/benchmarks/fish4knowledge.md, families.md and demo.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from syntype.apps.web.languages import N_, gettext, ngettext
from syntype.errors import shown_list
from syntype.generators.engine.expected import DONORS, UNTRAINED, Expected

__all__ = ["lacks", "quality"]

_CLOSE = (
    (5000, N_("In a benchmark with 2,100 photographs, so many steps came near about three quarters of the test photographs.")),
    (1600, N_("In a benchmark with 2,100 photographs, so many steps came near about half of the test photographs.")),
)
"""Steps of ``projected``, and the share of test photographs near which its images lay (coverage 0.75 and 0.56)."""
_MANY = 1000
"""Photographs, fewer of which give less variety than that benchmark."""
_BLURRED = 300
"""Steps after which 9 of 400 images passed the check against photographs."""


def quality(told: Expected, counts: Mapping[str, int], batch_size: int = 16) -> str:
    """What the images will be like.

    Args:
        told: what is expected of the training.
        counts: training photographs of each species.
        batch_size: photographs in a step.
    """
    if told.family in UNTRAINED:
        return " ".join(_pasted(counts)) if told.family == "pose_transfer" else ""
    if told.family == "lora":
        return gettext("Expected to be the sharpest, as the model has seen millions of pictures. Not measured.")
    sentences = [gettext("Colours, outlines and coarse patterns; no scales or fin rays.")] if told.size < 128 else []
    if told.family != "projected":
        sentences.append(gettext("Below projected in the benchmarks."))
    elif told.steps is not None:
        sentences += _learnt(told.steps, sum(counts.values()), batch_size)
    return " ".join(sentences)


def lacks(told: Expected) -> str | None:
    """What is missing on this machine, in one line; None if it can be trained here."""
    packages = shown_list(told.missing_packages) if told.missing_packages else ""
    if told.missing_card and packages:
        return gettext(
            "Not possible on this machine, which lacks a graphics card (24 GB for its usual model) and these Python packages: {packages} "
            "(pip install 'syntype[diffusion]').",
            packages=packages,
        )
    if told.missing_card:
        return gettext("Not possible on this machine, which lacks a graphics card (24 GB for its usual model).")
    if packages:
        return gettext(
            "Not possible on this machine, which lacks these Python packages: {packages} (pip install 'syntype[diffusion]').", packages=packages
        )
    return None


def _pasted(counts: Mapping[str, int]) -> list[str]:
    donors = sum(number >= DONORS for number in counts.values())
    first = gettext("Looks real: each image shows an animal of your photographs in the place of another. It draws no new individuals.")
    if not donors:
        return [first, gettext("No species has {number} photographs, so all lend each other pose and place; look for seams.", number=DONORS)]
    lending = ngettext(
        "{n} species with {number} photographs or more lends pose, place and light.",
        "{n} species with {number} photographs or more lend pose, place and light.",
        donors,
        number=DONORS,
    )
    return [first, lending]


def _learnt(steps: int, photographs: int, batch_size: int) -> list[str]:
    times = max(1, round(steps * batch_size / max(1, photographs)))
    seen = ngettext("Each photograph is seen about {n} time.", "Each photograph is seen about {n} times.", times)
    for least, sentence in _CLOSE:
        if steps >= 0.9 * least:
            fewer = ngettext("Your {n} photograph will give less variety.", "Your {n} photographs will give less variety.", photographs)
            return [gettext(sentence), *([fewer] if photographs < _MANY else []), seen]
    if steps <= 2 * _BLURRED:
        blurred = gettext("Expect blurred shapes: in a benchmark, 9 of 400 images passed the check after {steps} steps.", steps=_BLURRED)
        return [blurred, seen]
    return [gettext("Short: expect some images without a clear shape."), seen]

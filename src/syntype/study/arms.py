"""The arms of a study: methods of training the same classifier. They differ in the images that they add, or in how they sample or mix images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from syntype.errors import RecipeError, UnknownNameError
from syntype.identification import LabelledImages

__all__ = ["ARMS", "COMPETITORS", "CURATED", "ZERO_SHOT", "Arm", "Pool", "added_images", "choose_arms"]

Source = Literal["nothing", "copies", "collage", "retrieved", "synthetic", "curated", "random", "oracle"]


@dataclass(frozen=True)
class Arm:
    """One method of training the classifier.

    Attributes:
        name: name in tables and on the command line.
        description: what the arm does, in words for a biologist.
        adds: which images it adds to the real training images.
        classifier: classifier settings that differ from those of the other arms.
        competitor: True if it can be chosen as the best method without a generator.
        is_trained: False if it trains no classifier.
    """

    name: str
    description: str
    adds: Source = "nothing"
    classifier: dict[str, Any] = field(default_factory=dict)
    competitor: bool = False
    is_trained: bool = True


_ALL = (
    Arm("real", "the real training images only", competitor=True),
    Arm("oversample", "the real training images; every species is drawn equally often", classifier={"sampler": "balanced"}, competitor=True),
    Arm("mixup", "pairs of real images blended, and their labels with them", classifier={"mix": "mixup"}, competitor=True),
    Arm("cutmix", "a patch of one real image pasted into another; labels in proportion", classifier={"mix": "cutmix"}, competitor=True),
    Arm("collage", "subjects cut out of real images, on other backgrounds; as many as there are synthetic images", "collage", competitor=True),
    Arm(
        "retrieved",
        "photographs of another collection that look most like the rare species, as many as there are synthetic images",
        "retrieved",
        competitor=True,
    ),
    Arm("copies", "real images repeated, as many as there are synthetic images (negative control: adds no information)", "copies"),
    Arm("synthetic", "all synthetic images added, curated or not", "synthetic"),
    Arm("synthetic+curated", "the synthetic images that passed curation added", "curated"),
    Arm("synthetic, same count at random", "as many synthetic images as passed curation, drawn at random from all of them", "random"),
    Arm("oracle", "new images from the true distribution instead of synthetic ones (positive control; only for the drawn reef)", "oracle"),
    Arm(
        "zero-shot",
        "species named by a model of images and texts, with nothing trained here; it may have seen the test photographs",
        is_trained=False,
    ),
)
ARMS: dict[str, Arm] = {arm.name: arm for arm in _ALL}
"""Every arm, in the order of the tables."""

COMPETITORS = tuple(arm.name for arm in _ALL if arm.competitor and arm.adds != "retrieved")
"""The competitors that need nothing but the collection."""
CURATED = "synthetic+curated"
ZERO_SHOT = "zero-shot"


def choose_arms(asked: Iterable[str] | None, *, on_reef: bool, is_collage: bool, retrieves: bool = False, names: bool = False) -> tuple[Arm, ...]:
    """The arms of a study: those asked for, or all that apply.

    Args:
        asked: names, or None for all. ``real`` and ``synthetic+curated`` are needed for a verdict.
        on_reef: True if the collection is a drawn reef, so that its true distribution is known.
        is_collage: True if the generator under study is the collage. The collage arm is then left out.
        retrieves: True if there is another collection to retrieve photographs from.
        names: True if there is a model that names species by texts; ``zero-shot`` is then among the arms whatever is asked for.

    Raises:
        UnknownNameError: there is no arm of that name.
        RecipeError: a needed arm is missing, ``oracle`` was asked for without a reef, ``retrieved`` without another collection, or ``zero-shot``
            without a model.
    """
    if asked is None:
        impossible = {"oracle": not on_reef, "collage": is_collage, "retrieved": not retrieves, ZERO_SHOT: not names}
        return tuple(arm for arm in _ALL if not impossible.get(arm.name))
    asked_for = list(asked)
    for name in asked_for:
        if name not in ARMS:
            raise UnknownNameError("arm", name, ARMS)
    missing = [name for name in ("real", CURATED) if name not in asked_for]
    if missing:
        raise RecipeError(f"arms: the verdict needs {' and '.join(map(repr, missing))}. Add it to the list of arms.")
    if "oracle" in asked_for and not on_reef:
        raise RecipeError(
            "arms: 'oracle' draws fresh images from the true distribution, which is known only for the drawn reef (syntype reef). Leave it out."
        )
    if "retrieved" in asked_for and not retrieves:
        raise RecipeError("arms: 'retrieved' takes photographs from another collection. Name it with --retrieve-from, or leave the arm out.")
    if ZERO_SHOT in asked_for and not names:
        raise RecipeError("arms: 'zero-shot' names species by a model of images and texts. Name it with --zero-shot, or leave the arm out.")
    return tuple(arm for arm in _ALL if arm.name in asked_for or (names and not arm.is_trained))


@dataclass(frozen=True)
class Pool:
    """The images, other than real ones, that the arms can add in one repetition.

    Attributes:
        made: all synthetic images of this repetition.
        accepted: bool, shape (M,), True for images that passed curation.
        collage: images of the collage arm, or None without that arm.
        oracle: images of the oracle arm, or None without that arm.
        retrieved: images of the arm ``retrieved``, or None without that arm.
    """

    made: LabelledImages
    accepted: np.ndarray
    collage: LabelledImages | None = None
    oracle: LabelledImages | None = None
    retrieved: LabelledImages | None = None


def added_images(arm: Arm, pool: Pool, real: LabelledImages, *, seed: int) -> LabelledImages:
    """The images that an arm adds to the real training images.

    Args:
        real: the real training images.
        seed: seed of the repetition; it determines the random draws of the arms ``copies`` and ``synthetic, same count at random``.

    Returns:
        A images, all of which count as synthetic.
    """
    none = pool.made.rows(np.empty(0, np.int64))
    random = np.random.default_rng([seed, 0xA93])
    if arm.adds == "nothing":
        return none
    if arm.adds in ("collage", "oracle", "retrieved"):
        return {"collage": pool.collage, "oracle": pool.oracle, "retrieved": pool.retrieved}[arm.adds] or none
    if arm.adds == "copies":
        rows = _draw_per_species(real.labels, np.bincount(pool.made.labels, minlength=1), random, repeat=True)
        return LabelledImages(real.images[rows], real.labels[rows], np.ones(len(rows), bool))
    if arm.adds == "random":
        rows = _draw_per_species(pool.made.labels, np.bincount(pool.made.labels[pool.accepted], minlength=1), random, repeat=False)
    else:
        rows = np.flatnonzero(pool.accepted) if arm.adds == "curated" else np.arange(len(pool.made))
    return pool.made.rows(rows)


def _draw_per_species(labels: np.ndarray, wanted: np.ndarray, random: np.random.Generator, *, repeat: bool) -> np.ndarray:
    """Draw rows so that label c occurs ``wanted[c]`` times. With ``repeat``, all images of a label are used before one is used again."""
    chosen = []
    for label in np.flatnonzero(wanted):
        rows = np.flatnonzero(labels == label)
        rounds = -(-int(wanted[label]) // len(rows)) if repeat and len(rows) else 1
        chosen.append(np.concatenate([random.permutation(rows) for _ in range(rounds)])[: wanted[label]])
    return np.concatenate(chosen) if chosen else np.empty(0, np.int64)

"""What are synthetic images worth, in photographs?

The best method that uses the photographs alone is trained with fewer photographs of each rare species and, where further ones are given, with
more. That is a curve of recall against the number of photographs, and the synthetic images are worth the number at which it is as high as with them.

The curve is made to rise (isotonic regression, Barlow et al. 1972, "Statistical Inference under Order Restrictions", section 1.2) and is straight
between the numbers that were tried. The interval has every number of photographs at which the difference between the synthetic images and the
curve is not significant: the interval of that difference, from ``paired_effect``, contains 0 (inversion of a test, Fieller 1954, Journal of the
Royal Statistical Society B 16, 175-185). It needs no other bootstrap than that of the verdict, and ends where nothing was tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from syntype.collection import Collection
from syntype.identification import LabelledImages
from syntype.run import Run
from syntype.study.analysis import Outcome
from syntype.study.arms import CURATED, Arm
from syntype.study.config import StudyConfig
from syntype.study.photographs import Split
from syntype.study.running import run_arms
from syntype.study.statistics import paired_effect
from syntype.study.synthetic import SyntheticSets
from syntype.study.worth_words import worth_sentence

__all__ = ["Level", "Worth", "levels_for", "measure_worth", "weigh"]

FEWER = (1, 2, 3, 6, 12, 25, 50)
MORE = (1, 2, 4, 6, 12, 25, 50)
"""Numbers of photographs of each rare species that are tried: of those that the collection has, and in addition to them."""
ENOUGH = 0.9
"""Numbers with which the rare species have, on average, more than this share of all their photographs are not tried: they would show nothing."""
_PARTS = 4
_PURPOSE = 0x3047


@dataclass(frozen=True)
class Level:
    """A number of photographs with which the classifier is trained.

    Attributes:
        kept: largest number of training photographs of each rare species that are kept; None: all.
        more: largest number of further photographs of each rare species that are added.
    """

    kept: int | None = None
    more: int = 0

    @property
    def name(self) -> str:
        """Name in tables and of files."""
        number, what = (self.kept, "photographs") if self.kept is not None else (self.more, "more photographs")
        return f"{number} {what if number != 1 else what.removesuffix('s')}"

    def num_photographs(self, counts: np.ndarray, further: np.ndarray) -> float:
        """Number of photographs of a species, mean over those whose numbers are given (int64, shape (K,))."""
        kept = counts if self.kept is None else np.minimum(counts, self.kept)
        return float((kept + np.minimum(further, self.more)).mean())


def levels_for(counts: np.ndarray, further: np.ndarray) -> list[Level]:
    """The numbers of photographs that are tried besides all training photographs, the smallest first.

    Args:
        counts: int64, shape (K,), number of training photographs of each rare species.
        further: int64, shape (K,), number of their further photographs.

    Example:
        >>> import numpy as np
        >>> [level.name for level in levels_for(np.array([6, 6]), np.array([4, 3]))]
        ['1 photograph', '2 photographs', '3 photographs', '1 more photograph', '2 more photographs', '4 more photographs']
    """
    fewer = [Level(kept=number) for number in FEWER if np.minimum(1, number / counts).mean() <= ENOUGH]
    most = int(further.max(initial=0))
    return fewer + [Level(more=number) for number in sorted({*(one for one in MORE if one < most), most}) if number]


@dataclass(frozen=True)
class _Subsets:
    """The training photographs of each level (``running.Photographs``).

    Attributes:
        levels: by name.
        target: labels of the rare species.
        groups: int64, shape (N,), groups of the training photographs.
        further: the further photographs of these species, or None.
        seeds: seed of the draw in each repetition.
    """

    levels: Mapping[str, Level]
    target: np.ndarray
    groups: np.ndarray
    further: Collection | None
    size: int
    seeds: tuple[int, ...]

    def chosen(self, arm: str, number: int, real: LabelledImages) -> LabelledImages:
        """The photographs of a level. Those of a smaller level are part of those of a larger one; each repetition draws others."""
        level, random = self.levels[arm], np.random.default_rng([self.seeds[number], _PURPOSE])
        keep = np.ones(len(real), dtype=bool)
        if level.kept is not None:
            keep = (drawn_order(real.labels, self.groups, random) < level.kept) | ~np.isin(real.labels, self.target)
        images, labels = [real.images[keep]], [real.labels[keep]]
        if level.more and self.further is not None:
            own = self.further.labels()
            rows = drawn_order(own, self.further.groups(), random) < level.more
            images.append(self.further.where(rows).pixels(self.size))
            labels.append(own[rows])
        return LabelledImages(np.concatenate(images), np.concatenate(labels))


def drawn_order(labels: np.ndarray, groups: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Place of each photograph in the drawing of its species: int64, shape (N,), from 0.

    One group is drawn after the other, as new photographs come: those of one individual, specimen or track together.

    Args:
        labels: int64, shape (N,).
        groups: int64, shape (N,), from 0.
        random: source of the draw.
    """
    of_groups, of_images = random.permutation(int(groups.max(initial=-1)) + 1), random.permutation(len(labels))
    order = np.lexsort((of_images, of_groups[groups], labels))
    sizes = np.bincount(labels, minlength=1)
    place = np.empty(len(labels), np.int64)
    place[order] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return place


@dataclass(frozen=True)
class Worth:
    """What synthetic images are worth.

    Attributes:
        photographs: number of photographs of a rare species at each point of the curve, rising.
        recall: mean recall of the rare species there, with its interval: (value, low, high) as fractions.
        rising: the same without the interval, made to rise.
        synthetic: recall with synthetic images, with its interval.
        base: number of photographs without any added.
        more: how many more photographs the synthetic images are worth, negative for fewer; None if the curve does not reach their recall.
        low: lower end of its interval; None if it lies below the curve's first point.
        high: upper end; None if it lies above the last point.
    """

    photographs: list[float]
    recall: list[tuple[float, float, float]]
    rising: list[float]
    synthetic: tuple[float, float, float]
    base: float
    more: float | None
    low: float | None
    high: float | None

    @property
    def above(self) -> bool:
        """Whether the recall with synthetic images is higher than that of all points of the curve."""
        return self.synthetic[0] > self.rising[-1]


def weigh(hits: Sequence[np.ndarray], photographs: Sequence[float], synthetic: np.ndarray, test: Split, target: np.ndarray, *, base: float,
          seed: int, num_bootstrap: int = 4000) -> Worth | None:  # fmt: skip
    """Place synthetic images on the curve of recall against the number of photographs.

    Args:
        hits: bool, shape (S, N) each: whether the classifier of each point of the curve with seed s identified test image n correctly.
        photographs: number of photographs at each point, rising.
        synthetic: the same as one of ``hits``, with synthetic images.
        test: labels and groups of the test photographs.
        target: labels of the rare species.
        base: the number of photographs that the synthetic images were added to.
        seed: seed of the bootstrap.
        num_bootstrap: number of bootstrap samples.

    Returns:
        the result, or None if none of the species has a test photograph.
    """
    from scipy.optimize import isotonic_regression  # slow to import

    def difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float] | None:
        found = paired_effect(a, b, test.labels, test.groups, target, seed=seed, num_bootstrap=num_bootstrap)
        return None if found is None else (found.value, found.low, found.high)

    nothing = np.zeros(synthetic.shape)
    alone = [found for one in (synthetic, *hits) if (found := difference(one, nothing))]
    if not alone:
        return None
    own, *recall = [(value, max(low, 0.0), high) for value, low, high in alone]  # a recall is never below 0
    # Points that fall are replaced by their mean, in their predictions, so that differences from them have intervals too.
    ends = isotonic_regression([value for value, _, _ in recall]).blocks
    risen: list[np.ndarray] = []
    for first, last in pairwise(ends):
        risen += [np.mean([hits[row] for row in range(first, last)], axis=0)] * int(last - first)
    places, differences = [float(photographs[0])], [difference(synthetic, risen[0])]
    for row in range(1, len(hits)):
        for part in np.arange(1, _PARTS + 1) / _PARTS:
            places.append(float((1 - part) * photographs[row - 1] + part * photographs[row]))
            differences.append(difference(synthetic, (1 - part) * risen[row - 1] + part * risen[row]))
    value, low, high = np.array(differences, dtype=np.float64).T
    x = np.array(places)
    rising = [own[0] - value[row * _PARTS] for row in range(len(hits))]
    beyond = bool(value[0] < 0 or value[-1] > 0)
    return Worth(
        photographs=[float(one) for one in photographs],
        recall=recall,
        rising=[float(one) for one in rising],
        synthetic=own,
        base=base,
        more=None if beyond else first_not_above_zero(x, value) - base,
        low=None if low[0] <= 0 else first_not_above_zero(x, low) - base,
        high=None if high[-1] >= 0 else first_not_above_zero(x[::-1], -high[::-1]) - base,
    )


def first_not_above_zero(x: np.ndarray, values: np.ndarray) -> float:
    """Where ``values``, straight between the points ``x``, first are not above 0; the last point if they always are."""
    down = np.flatnonzero(values <= 0)
    if not len(down):
        return float(x[-1])
    row = int(down[0])
    if row == 0:
        return float(x[0])
    return float(x[row - 1] + (x[row] - x[row - 1]) * values[row - 1] / (values[row - 1] - values[row]))


def measure_worth(real: Collection, tested: Collection, synthetic: SyntheticSets, arms: Sequence[Arm], outcomes: Mapping[str, Outcome],
                  recall: Mapping[str, float], target: np.ndarray, further: Collection | None, doubts: Sequence[str], config: StudyConfig, out: Path,
                  run: Run) -> dict[str, Any] | None:  # fmt: skip
    """Train the classifiers of the curve, and place the curated synthetic images on it.

    Nothing that is measured here has a part in the verdict.

    Args:
        real: the photographs.
        tested: the same without those that are left out of the test.
        synthetic: the synthetic images of the study.
        arms: the study's arms, with the settings that were chosen for each.
        outcomes: their predictions.
        recall: of every competitor, by which the best of those that use the photographs alone is chosen.
        target: labels of the species that synthetic images were made for.
        further: further photographs, as from ``further_photographs``, or None.
        doubts: why the study gives no verdict, whatever its figures; then no number of photographs is told either.
        config: settings of the study.
        out: the study's folder.
        run: records progress and events.

    Returns:
        the values for ``results.json``; None if none of the species has a test photograph.
    """
    test, train = Split.of(tested, "test"), Split.of(tested, "train")
    target = target[np.isin(target, test.labels)]
    if not len(target):
        return None
    if further is not None:
        further = further.where(np.isin(further.labels(), target))
    arm = max((one for one in arms if one.name in recall and one.adds == "nothing"), key=lambda one: recall[one.name])
    counts = np.bincount(train.labels, minlength=len(real.species))[target]
    others = np.zeros_like(counts) if further is None else np.bincount(further.labels(), minlength=len(real.species))[target]
    levels = levels_for(counts, others)
    subsets = _Subsets({level.name: level for level in levels}, target, train.groups, further, config.size,
                       tuple(config.seed_of(number) for number in range(config.seeds)))  # fmt: skip
    folder = f"worth/{arm.name}-{'own' if further is None else further.fingerprint[:8]}"
    at_levels = [replace(arm, name=level.name, competitor=False) for level in levels]
    found = run_arms(tested, synthetic, at_levels, config, out, run, folder=folder, photographs=subsets)
    points = sorted([(level.num_photographs(counts, others), level.name, found[level.name]) for level in levels]
                    + [(base := float(counts.mean()), "all photographs", outcomes[arm.name])], key=lambda point: point[0])  # fmt: skip
    hits = [outcome.test == test.labels for _, _, outcome in points]
    weighed = weigh(hits, [number for number, _, _ in points], outcomes[CURATED].test == test.labels, test, target, base=base, seed=config.seed,
                    num_bootstrap=config.num_bootstrap)  # fmt: skip
    if weighed is None:
        return None
    num_images = float(np.mean(outcomes[CURATED].num_added))
    sentence = worth_sentence(weighed.more, weighed.low, weighed.high, above=weighed.above, base=base, fewest=points[0][0] - base,
                              most=points[-1][0] - base, num_images=round(num_images))  # fmt: skip
    if doubts:
        sentence = f"What the synthetic images are worth in photographs cannot be said: {doubts[0]}"
    run.event("worth", sentence=sentence)
    return {
        "arm": arm.name,
        "photographs": base,
        "num_species": len(target),
        "num_images": num_images,
        "curve": [
            {"name": name, "photographs": number, "recall": value, "interval": [low, high], "rising": rising}
            for (number, name, _), (value, low, high), rising in zip(points, weighed.recall, weighed.rising, strict=True)
        ],
        "synthetic": {
            "recall": weighed.synthetic[0],
            "recall_interval": list(weighed.synthetic[1:]),
            "equivalent_photographs": weighed.more,
            "interval": [weighed.low, weighed.high],
        },
        "sentence": sentence,
    }

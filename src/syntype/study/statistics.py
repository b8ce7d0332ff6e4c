"""Differences in recall between two arms, with confidence intervals.

Every arm is run with the same seeds on the same test photographs, so all comparisons are paired. Three sources of chance are considered:
which species were studied, which test groups (tracks, specimens) were photographed, and the random seeds.

With at least ``FEW_SPECIES`` species, the bootstrap resamples species and seeds, which are crossed factors. The groups of a species are not
resampled: their random variation is already part of the differences between species, and resampling would count it twice (Davison &
Hinkley 1997, section 3.8). Resampling both of two crossed factors counts the residual variance (that of neither factor alone) three times
(Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 386-411, section 4). So the replicates are scaled to the width that
the analysis of variance gives.

With fewer species, nothing can be concluded about other species. Then groups within species and seeds are resampled, and the interval holds
for these species only.

The smallest units that are resampled are groups, not images, because frames of one track are not independent.

A repetition may differ from the others in more than the classifier's seed: the images drawn, the training of the generator, the few photographs
that are trained on (Bouthillier et al. 2021, arXiv 2103.03098, section 3: all sources of variation vary together, so that one factor stands for all
of them). Where several repetitions share a generator or a draw of photographs, they are averaged first, and this unit is the factor in place of
the seed (a balanced nested design: Searle, Casella & McCulloch 1992, "Variance components", section 3.6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr as normal_probability
from scipy.special import ndtri as normal_quantile
from scipy.special import stdtrit as student_quantile  # (degrees of freedom, probability); scipy.stats gives the same and is slow to import

__all__ = ["FEW_SPECIES", "Effect", "mean_recall", "paired_effect", "species_recall", "worst_recall"]

FEW_SPECIES = 4
"""With at least this number of species, the interval also covers the variation between species, and so holds for similar species too."""


@dataclass(frozen=True)
class Effect:
    """A difference in macro recall between two arms, as a fraction (0.01 is one percentage point).

    Attributes:
        value: mean over species and seeds of recall(A) - recall(B).
        low: lower end of the confidence interval (95 %, unless another level was asked for).
        high: upper end of the confidence interval.
        num_species: number of species with test images, over which the mean is taken.
        num_groups: number of their independent test groups.
        num_images: number of their test images.
        resolution: average change of ``value`` when the result of one test group changes. The interval extends at least this far on either side.
        above_minimum: share of the bootstrap samples whose effect is larger than the minimum effect, in [0, 1]. The samples are scaled to the
            width of the interval. Read as a probability of the effect, it takes all effects for equally likely before the study.
    """

    value: float
    low: float
    high: float
    num_species: int
    num_groups: int
    num_images: int
    resolution: float
    above_minimum: float

    @property
    def over_species(self) -> bool:
        """True if the interval holds for similar species too, False if it holds for these species only."""
        return self.num_species >= FEW_SPECIES

    @property
    def half_width(self) -> float:
        """Half the width of the interval. Smaller effects cannot be detected with these test images."""
        return (self.high - self.low) / 2

    def to_json(self) -> dict[str, Any]:
        """The fields as values that can be written as JSON, with ``interval`` and ``half_width``."""
        return {**asdict(self), "interval": [self.low, self.high], "half_width": self.half_width}


def species_recall(hits: np.ndarray, labels: np.ndarray, num_species: int) -> np.ndarray:
    """Recall of every species for every seed.

    Args:
        hits: bool, shape (S, N), True where the classifier with seed s identified image n correctly.
        labels: int64, shape (N,), in 0..num_species-1.
        num_species: number of species.

    Returns:
        float64, shape (S, num_species); NaN for species without a test image.
    """
    # scikit-learn's recall_score gives the same figures, seed by seed, but takes 300 times as long (12 ms for 5 seeds, 2,000 images, 40 species)
    totals = np.bincount(labels, minlength=num_species).astype(np.float64)
    right = np.stack([np.bincount(labels, weights=row, minlength=num_species) for row in np.asarray(hits, dtype=np.float64)])
    return np.divide(right, totals, out=np.full_like(right, np.nan), where=totals > 0)


def mean_recall(recall: np.ndarray, species: Sequence[int] | np.ndarray) -> float | None:
    """Macro recall over the given species and all seeds; None if none of them has a test image.

    Args:
        recall: float64, shape (S, K), as from ``species_recall``.
        species: labels to average over.
    """
    chosen = recall[:, np.asarray(species, dtype=np.int64)]
    chosen = chosen[:, ~np.isnan(chosen).any(axis=0)]
    return float(chosen.mean()) if chosen.size else None


def worst_recall(recall: np.ndarray, species: Sequence[int] | np.ndarray) -> float | None:
    """Mean recall over all seeds of the tenth of the given species (at least one) that has the lowest; None if none of them has a test image.

    With few test images it is lower than the worst species deserves, as chance has a part in which species is the worst; in all arms alike.

    Args:
        recall: float64, shape (S, K), as from ``species_recall``.
        species: labels to consider.
    """
    chosen = recall[:, np.asarray(species, dtype=np.int64)].mean(axis=0)
    ranked = np.sort(chosen[~np.isnan(chosen)])
    return float(ranked[: -(-len(ranked) // 10)].mean()) if len(ranked) else None


def paired_effect(hits_a: np.ndarray, hits_b: np.ndarray, labels: np.ndarray, groups: np.ndarray, species: Sequence[int] | np.ndarray, *,
                  seed: int, num_bootstrap: int = 4000, level: float = 0.95, minimum: float = 0.0,
                  units: np.ndarray | None = None) -> Effect | None:  # fmt: skip
    """Macro recall of arm A minus that of arm B over the given species, with a bootstrap interval.

    Args:
        hits_a: bool, shape (S, N), True where arm A with seed s identified test image n correctly.
        hits_b: the same for arm B, with the same seeds.
        labels: int64, shape (N,).
        groups: shape (N,); images with the same value are not independent.
        species: labels to average over; those without test images are left out.
        seed: random seed of the bootstrap.
        num_bootstrap: number of bootstrap samples.
        level: confidence level of the interval.
        minimum: the minimum effect of ``Effect.above_minimum``, as a fraction.
        units: int64, shape (S,); repetitions with the same number share a generator or a draw of photographs. None: none do.

    Returns:
        the effect, or None if none of the species has a test image.
    """
    difference = np.asarray(hits_a, dtype=np.float64) - np.asarray(hits_b, dtype=np.float64)
    if units is not None:
        difference = np.stack([difference[units == unit].mean(axis=0) for unit in np.unique(units)])
    clusters = _by_species(difference, labels, groups, species)
    if not clusters:
        return None
    num_species, num_seeds = len(clusters), difference.shape[0]
    value = float(np.mean([sums.sum(axis=1) / sizes.sum() for sums, sizes in clusters]))

    rng = np.random.default_rng([seed, 0xB007])
    of_seeds = _bootstrap_weights(rng, num_seeds, num_bootstrap)
    tail = (1 - level) / 2
    if num_species >= FEW_SPECIES:
        recall = np.stack([sums.sum(axis=1) / sizes.sum() for sums, sizes in clusters])  # (K, S)
        replicates = (_bootstrap_weights(rng, num_species, num_bootstrap) @ recall * of_seeds).sum(axis=1)
        wider = _half_width(recall, level) / normal_quantile(1 - tail) / max(float(replicates.std()), 1e-12)
    else:
        replicates = np.zeros(num_bootstrap)
        for sums, sizes in clusters:
            weights = _bootstrap_weights(rng, len(sizes), num_bootstrap)
            replicates += (weights @ sums.T * of_seeds).sum(axis=1) / (weights @ sizes) / num_species
        left, drawn = sum(len(sizes) - 1 for _, sizes in clusters), sum(len(sizes) for _, sizes in clusters) / num_species
        # With few units the bootstrap interval is too narrow, on average and more so by chance; the second factor is that of Student's t.
        wider = np.sqrt(drawn / (drawn - 1)) * student_quantile(left, 1 - tail) / normal_quantile(1 - tail) if left else 1.0
    replicates = value + wider * (replicates - value)
    low, high = np.clip(np.quantile(replicates, [tail, 1 - tail]), -1, 1)
    # Without this minimum width, a few photographs on which both arms always agree would give the interval [0, 0].
    resolution = float(np.mean([1 / len(sizes) for _, sizes in clusters])) / num_species
    ends = float(min(low, value - resolution)), float(max(high, value + resolution))
    return Effect(
        value=value,
        low=ends[0],
        high=ends[1],
        num_species=num_species,
        num_groups=sum(len(sizes) for _, sizes in clusters),
        num_images=int(sum(sizes.sum() for _, sizes in clusters)),
        resolution=resolution,
        above_minimum=_share_above(minimum, replicates, value, (float(low), float(high)), ends, tail),
    )


def _share_above(
    minimum: float, replicates: np.ndarray, value: float, quantiles: tuple[float, float], ends: tuple[float, float], tail: float
) -> float:
    """Share of the bootstrap samples above ``minimum``, after their quantiles were moved to the ends of the interval, so that the two agree.

    Where all samples are the same, they are taken as normally distributed within the interval.

    Args:
        replicates: float64, shape (B,), the samples, scaled to the analysis of variance.
        value: the effect.
        quantiles: quantiles ``tail`` and 1 - ``tail`` of ``replicates``.
        ends: ends of the interval, which is at least as wide.
    """
    if not quantiles[0] < value < quantiles[1]:
        return float(normal_probability((value - minimum) / ((ends[1] - ends[0]) / 2 / normal_quantile(1 - tail))))
    below, above = (value - ends[0]) / (value - quantiles[0]), (ends[1] - value) / (quantiles[1] - value)
    return float((value + np.where(replicates < value, below, above) * (replicates - value) > minimum).mean())


def _half_width(table: np.ndarray, level: float) -> float:
    """Half-width of the interval for the mean of a table with two crossed random factors, from the analysis of variance without replication.

    Each component of variance is multiplied by its own Student quantile (Graybill & Wang 1980, Journal of the American Statistical
    Association 75, 869-873), because a few seeds give only a rough estimate of the variance between seeds.

    Args:
        table: float64, shape (K, S), K at least 2: recall differences of K species with S seeds.
        level: confidence level of the interval.
    """
    rows, columns, free = table.mean(axis=1), table.mean(axis=0), np.array(table.shape) - 1
    parts, left = np.array([rows.var(ddof=1) / len(rows)]), free[:1]
    if free[1]:
        rest = np.square(table - rows[:, None] - columns + table.mean()).sum() / free.prod() / table.size
        parts = np.array([max(parts[0] - rest, 0.0), max(columns.var(ddof=1) / len(columns) - rest, 0.0), rest])
        left = np.array([*free, free.prod()])
    return float(np.sqrt((parts * student_quantile(left, (1 + level) / 2) ** 2).sum()))


def _bootstrap_weights(rng: np.random.Generator, number: int, num_bootstrap: int) -> np.ndarray:
    """Bootstrap weights of ``number`` units, shape (num_bootstrap, number). Each row adds up to 1."""
    return rng.multinomial(number, np.full(number, 1 / number), size=num_bootstrap) / number


def _by_species(
    difference: np.ndarray, labels: np.ndarray, groups: np.ndarray, species: Sequence[int] | np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For every species with test images: differences summed by group, shape (S, G), and number of images per group, shape (G,)."""
    clusters = []
    for label in species:
        rows = np.flatnonzero(labels == label)
        if not len(rows):
            continue
        _, codes = np.unique(np.asarray(groups)[rows], return_inverse=True)
        sizes = np.bincount(codes).astype(np.float64)
        sums = np.stack([np.bincount(codes, weights=row, minlength=len(sizes)) for row in difference[:, rows]])
        clusters.append((sums, sizes))
    return clusters

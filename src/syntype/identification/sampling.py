"""Sampling of training batches. All batches of a training run are drawn beforehand, so that every arm of a study has the same number of steps."""

from __future__ import annotations

from typing import Literal

import numpy as np

__all__ = ["SAMPLER_POWER", "Sampler", "num_synthetic_per_batch", "sample_batches", "synthetic_frequencies"]

Sampler = Literal["natural", "square_root", "balanced"]

SAMPLER_POWER: dict[str, float] = {"natural": 1.0, "square_root": 0.5, "balanced": 0.0}
"""By sampler, the power: a species with n images is drawn with probability proportional to n^power."""


def num_synthetic_per_batch(num_real: int, num_synthetic: int, batch_size: int, max_synthetic: float) -> int:
    """Number of synthetic images in a batch: in proportion to the data, but at most the fraction ``max_synthetic`` (all, without real images)."""
    if num_real == 0 or num_synthetic == 0:
        return batch_size if num_real == 0 else 0
    fair = round(batch_size * num_synthetic / (num_real + num_synthetic))
    return min(max(fair, 1), int(max_synthetic * batch_size + 1e-9))


def sample_batches(labels: np.ndarray, is_synthetic: np.ndarray, *, steps: int, batch_size: int, sampler: Sampler,
                   max_synthetic: float, seed: int, synthetic_until: float = 1.0) -> np.ndarray:  # fmt: skip
    """Draw the images of every batch.

    Real and synthetic images are drawn separately, both with the same sampler. Every batch holds the same number of each, until the batches
    hold real images only. The natural sampler shuffles all images and shows each equally often. The others draw with replacement.

    Args:
        labels: int64, shape (N,).
        is_synthetic: bool, shape (N,).
        steps: Number of batches.
        batch_size: Images per batch.
        sampler: How species are weighted; see ``SAMPLER_POWER``.
        max_synthetic: Largest fraction of synthetic images in a batch, in [0, 1].
        seed: Seed of the draw.
        synthetic_until: Fraction of the steps after which batches hold real images only, if there are any; in [0, 1].

    Returns:
        Positions in ``labels``: int64, shape (steps, batch_size). Synthetic images are last in each row.
    """
    pools = (np.flatnonzero(~is_synthetic), np.flatnonzero(is_synthetic))
    num_synthetic = num_synthetic_per_batch(len(pools[0]), len(pools[1]), batch_size, max_synthetic)
    with_synthetic = round(synthetic_until * steps) if len(pools[0]) else steps
    chosen = np.zeros((steps, batch_size), bool)  # the places of synthetic images
    chosen[:with_synthetic, batch_size - num_synthetic :] = True
    rows = np.empty((steps, batch_size), np.int64)
    for origin, (pool, places) in enumerate(zip(pools, (~chosen, chosen), strict=True)):
        rows[places] = _draw(pool, labels, int(places.sum()), sampler, np.random.default_rng([seed, 1, origin]))
    return rows


def synthetic_frequencies(labels: np.ndarray, is_synthetic: np.ndarray, *, num_species: int, batch_size: int, sampler: Sampler, max_synthetic: float,
                          synthetic_until: float = 1.0, weight: float = 1.0, seconds: np.ndarray | None = None,
                          second_shares: np.ndarray | None = None) -> np.ndarray | None:  # fmt: skip
    """Synthetic images of each species as a share of all images that ``sample_batches`` draws: float64, shape (num_species,); None without any.

    An image between two species is drawn as one of its label, and counts for both by its weights.

    Args:
        num_species: Number of species.
        weight: Weight of a synthetic image in the loss, by which it counts.
        seconds: As in ``LabelledImages``.
        second_shares: As in ``LabelledImages``.

    The other arguments are those of ``sample_batches``.
    """
    counts = np.bincount(labels[is_synthetic], minlength=num_species).astype(np.float64)
    num_real = int((~is_synthetic).sum())
    share = num_synthetic_per_batch(num_real, int(counts.sum()), batch_size, max_synthetic) / batch_size
    if num_real:
        share = weight * share * synthetic_until / (1 - share * synthetic_until + weight * share * synthetic_until)
    if not share:
        return None
    powers = np.where(counts > 0, np.maximum(counts, 1) ** SAMPLER_POWER[sampler], 0.0)
    frequencies = share * powers / powers.sum()
    if seconds is not None and second_shares is not None:
        mixed = np.flatnonzero(is_synthetic & (seconds >= 0))
        moved = frequencies[labels[mixed]] / counts[labels[mixed]] * second_shares[mixed]
        np.add.at(frequencies, seconds[mixed], moved)
        np.subtract.at(frequencies, labels[mixed], moved)
    return frequencies


def _draw(pool: np.ndarray, labels: np.ndarray, total: int, sampler: Sampler, random: np.random.Generator) -> np.ndarray:
    if total == 0:
        return np.empty(0, np.int64)
    if sampler == "natural":
        rounds = -(-total // len(pool))
        return np.concatenate([random.permutation(pool) for _ in range(rounds)])[:total]
    _, inverse, counts = np.unique(labels[pool], return_inverse=True, return_counts=True)
    weight = counts[inverse] ** (SAMPLER_POWER[sampler] - 1.0)
    return pool[random.choice(len(pool), size=total, p=weight / weight.sum())]

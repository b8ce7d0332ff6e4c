"""Which images make up each batch: a sample_batches drawn once, so that every arm of a study takes the same number of steps."""

from __future__ import annotations

from typing import Literal

import numpy as np

__all__ = ["SAMPLER_POWER", "Sampler", "sample_batches", "num_synthetic_per_batch"]

Sampler = Literal["natural", "square_root", "balanced"]

SAMPLER_POWER: dict[str, float] = {"natural": 1.0, "square_root": 0.5, "balanced": 0.0}
"""A species with n images is drawn with probability proportional to n^power."""


def num_synthetic_per_batch(num_real: int, num_synthetic: int, batch_size: int, cap: float) -> int:
    """Synthetic images in every batch: their share of the pool, at most ``cap`` of the batch (all of it without real images)."""
    if num_real == 0 or num_synthetic == 0:
        return batch_size if num_real == 0 else 0
    fair = round(batch_size * num_synthetic / (num_real + num_synthetic))
    return min(max(fair, 1), int(cap * batch_size + 1e-9))


def sample_batches(labels: np.ndarray, is_synthetic: np.ndarray, *, steps: int, batch_size: int, sampler: Sampler, cap: float, seed: int) -> np.ndarray:
    """Draw the images of every batch.

    Real images and synthetic ones are drawn apart, each with the sampler, and every batch holds the same number of both.
    The natural sampler goes through a pool in shuffled order and shows every image equally often; the others draw with replacement.

    Args:
        labels: int64, shape (N,).
        is_synthetic: bool, shape (N,).
        cap: highest share of synthetic images in a batch, 0..1.

    Returns:
        int64, shape (steps, batch_size), positions in ``labels``; the synthetic ones stand last in each row.
    """
    pools = (np.flatnonzero(~is_synthetic), np.flatnonzero(is_synthetic))
    num_synthetic = num_synthetic_per_batch(len(pools[0]), len(pools[1]), batch_size, cap)
    parts = []
    for origin, (pool, width) in enumerate(zip(pools, (batch_size - num_synthetic, num_synthetic), strict=True)):
        random = np.random.default_rng([seed, 1, origin])
        parts.append(_draw(pool, labels, steps * width, sampler, random).reshape(steps, width))
    return np.concatenate(parts, axis=1)


def _draw(pool: np.ndarray, labels: np.ndarray, total: int, sampler: Sampler, random: np.random.Generator) -> np.ndarray:
    if total == 0:
        return np.empty(0, np.int64)
    if sampler == "natural":
        rounds = -(-total // len(pool))
        return np.concatenate([random.permutation(pool) for _ in range(rounds)])[:total]
    _, inverse, counts = np.unique(labels[pool], return_inverse=True, return_counts=True)
    weight = counts[inverse] ** (SAMPLER_POWER[sampler] - 1.0)
    return pool[random.choice(len(pool), size=total, p=weight / weight.sum())]

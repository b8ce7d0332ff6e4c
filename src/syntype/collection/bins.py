"""Bins by the number of real training images per species (following the four groups of the Fish-Vista benchmark)."""

from __future__ import annotations

import numpy as np

__all__ = ["BINS", "bin_of", "bins_of"]

BINS = ("2-10", "11-100", "101-500", ">500")
"""Names of the bins, from the rarest to the most common."""

_UPPER = np.array([10, 100, 500])


def bin_of(count: int) -> str:
    """Bin of a species with ``count`` real training images. Species with 0 or 1 image are in the first bin.

    Example:
        >>> bin_of(6), bin_of(344)
        ('2-10', '101-500')
    """
    return BINS[int(np.searchsorted(_UPPER, count))]


def bins_of(counts: np.ndarray) -> np.ndarray:
    """Position in ``BINS`` for each count: int64, same shape as ``counts``."""
    return np.searchsorted(_UPPER, np.asarray(counts)).astype(np.int64)

"""Losses for long-tailed identification. Each takes raw logits, so that a classifier predicts with its logits alone."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Loss", "classification_loss", "log_prior"]

Loss = Literal["cross_entropy", "balanced_softmax"]


def log_prior(counts_real: np.ndarray, power: float = 1.0) -> Tensor:
    """Logarithm of each species' share of the draws that a sampler makes from the *real* images.

    A sampler that draws species c with probability proportional to n_c^power shows the network the prior n_c^power / sum,
    and that is the prior to take out again: with the full counts, balanced sampling would be corrected for twice
    (Ren et al. 2020, section 3.3, "over-balance").

    Args:
        counts_real: real training images a species, shape (num_species,); a species that has only synthetic ones counts as one.
        power: 1 natural, 0.5 square root, 0 balanced sampling.

    Returns:
        float32, shape (num_species,); its exponentials sum to 1.
    """
    weights = np.maximum(np.asarray(counts_real, dtype=np.float64), 1.0) ** power
    return torch.from_numpy(np.log(weights / weights.sum())).to(torch.float32)


def classification_loss(logits: Tensor, targets: Tensor, prior: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy, or balanced softmax where a prior is given.

    Balanced softmax (Ren et al. 2020, arXiv 2007.10740, equation 4): -log(n_y exp(z_y) / sum_j n_j exp(z_j)), that is the
    cross-entropy of logits + log n.

    Args:
        logits: float, shape (N, C).
        targets: int64, shape (N,), or float, shape (N, C), rows that sum to 1 (mixed images).
        prior: ``log_prior``, shape (C,), or None for plain cross-entropy.
        weights: float, shape (N,), how much each image counts; None for all the same.

    Returns:
        The (weighted) mean over the batch, a scalar.
    """
    shifted = logits.float() if prior is None else logits.float() + prior
    losses = F.cross_entropy(shifted, targets, reduction="none")
    return losses.mean() if weights is None else (losses * weights).sum() / weights.sum().clamp_min(torch.finfo(torch.float32).tiny)

"""Losses for long-tailed identification. Each takes raw logits, so that a classifier predicts with its logits alone.

They differ in four things: what is added to the logits, a margin that the true species must win by, the weight of what is identified
well already, and the weight of each species.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from syntype.identification.mixing import Targets
from syntype.recipe import Settings

__all__ = ["Loss", "LossConfig", "Objective", "effective_number_weights", "log_prior", "ldam_margins", "inverse_frequency_weights"]

Loss = Literal["cross_entropy", "focal", "focal_alpha", "class_balanced_focal", "ldam_drw", "logit_adjustment", "balanced_softmax"]


class LossConfig(Settings):
    """Settings of the losses that have any."""

    gamma: float = Field(default=2.0, ge=0)
    """Of the focal losses: how little images count that are identified well."""
    beta: float = Field(default=0.999, ge=0, lt=1)
    """Of ``class_balanced_focal`` and ``ldam_drw``: images beyond about 1 / (1 - beta) of a species add nothing new."""
    tau: float = Field(default=1.0, ge=0)
    """Of ``logit_adjustment``: times the logarithm of the prior. 1 is balanced softmax."""
    margin: float = Field(default=0.5, gt=0, le=2)
    """Of ``ldam_drw``: margin of the rarest species, in cosine."""
    drw_start: float = Field(default=0.8, ge=0, le=1)
    """Of ``ldam_drw``: share of the steps after which species are weighted too."""


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


def inverse_frequency_weights(counts_seen: np.ndarray) -> Tensor:
    """The alpha of long-tailed focal losses: log(1 + N / (n_c C)), scaled to mean 1; float32, shape (C,)."""
    counts = np.asarray(counts_seen, dtype=np.float64)
    weights = np.log1p(counts.sum() / (counts * len(counts)))
    return torch.from_numpy(weights / weights.mean()).to(torch.float32)


def effective_number_weights(counts_seen: np.ndarray, beta: float) -> Tensor:
    """Inverse effective numbers (1 - beta) / (1 - beta^n_c), scaled to mean 1 (Cui et al. 2019, arXiv 1901.05555, section 4); float32, (C,)."""
    weights = (1 - beta) / -np.expm1(np.asarray(counts_seen, dtype=np.float64) * np.log(beta)) if beta > 0 else np.ones(len(counts_seen))
    return torch.from_numpy(weights / weights.mean()).to(torch.float32)


def ldam_margins(counts_real: np.ndarray, largest: float) -> Tensor:
    """Margins proportional to n_c^(-1/4), the rarest species' being ``largest`` (Cao et al. 2019, arXiv 1906.07413, section 3.2); float32, (C,)."""
    found = np.maximum(np.asarray(counts_real, dtype=np.float64), 1.0) ** -0.25
    return torch.from_numpy(found / found.max() * largest).to(torch.float32)


class Objective:
    """The loss of one fit.

    - ``cross_entropy``.
    - ``focal``: (1 - p)^gamma times the cross-entropy -log p (Lin et al. 2017, arXiv 1708.02002, equation 4).
    - ``focal_alpha``: the same, weighted by ``inverse_frequency_weights`` (equation 5).
    - ``class_balanced_focal``: the same, weighted by ``effective_number_weights`` (Cui et al. 2019).
    - ``ldam_drw``: cross-entropy after the true species' logit has lost its margin; near the end ``effective_number_weights`` too
      (Cao et al. 2019, sections 3.2 and 3.3). For logits that are scaled cosines.
    - ``logit_adjustment``: cross-entropy of logits + tau log prior (Menon et al. 2021, arXiv 2007.07314, equation 10).
    - ``balanced_softmax``: -log(n_y exp(z_y) / sum_j n_j exp(z_j)) (Ren et al. 2020, arXiv 2007.10740, equation 4): the same with tau 1.

    Priors and weights are those of the images that the sampler shows, as ``log_prior`` says; ldam_margins come from the images that there are.

    Args:
        name: which.
        config: its settings.
        counts_real: *real* training images a species, int, shape (C,); one that has only synthetic images counts as one.
        power: of the sampler, see ``log_prior``.
        scale: of the cosines, where the logits are cosines; ldam_margins are multiplied by it.
        device: where the logits will be.
    """

    def __init__(
        self, name: Loss, config: LossConfig, counts_real: np.ndarray, power: float = 1.0, scale: float = 1.0, device: torch.device | str = "cpu"
    ) -> None:
        prior = log_prior(counts_real, power)
        seen = prior.double().exp().numpy() * np.maximum(counts_real, 1).sum()
        shift, margin, weights = None, None, None
        if name == "balanced_softmax":
            shift = prior
        elif name == "logit_adjustment":
            shift = config.tau * prior
        elif name == "focal_alpha":
            weights = inverse_frequency_weights(seen)
        elif name in ("class_balanced_focal", "ldam_drw"):
            weights = effective_number_weights(seen, config.beta)
        if name == "ldam_drw":
            margin = scale * ldam_margins(counts_real, config.margin)
        self.shift, self.margins, self.weights = (None if values is None else values.to(device) for values in (shift, margin, weights))
        self.drw_start = config.drw_start if name == "ldam_drw" else 0.0
        self.gamma = config.gamma if "focal" in name else 0.0

    def __call__(self, logits: Tensor, targets: Targets, weights: Tensor | None = None, progress: float = 1.0) -> Tensor:
        """The loss of a batch, a scalar: its (weighted) mean. Of a mixed image, each label's loss counts by its share.

        Args:
            logits: float, shape (N, C).
            targets: what the images show.
            weights: float, shape (N,), how much each image counts; None for all the same.
            progress: share of the training that is over, 0..1.
        """
        logits = logits.float()
        losses = self._each(logits, targets.labels, progress)
        if targets.partners is not None and targets.share is not None:
            losses = torch.lerp(self._each(logits, targets.partners, progress), losses, targets.share)
        return losses.mean() if weights is None else (losses * weights).sum() / weights.sum().clamp_min(torch.finfo(torch.float32).tiny)

    def _each(self, logits: Tensor, labels: Tensor, progress: float) -> Tensor:
        """The loss of each image, were it of this species alone: (N,)."""
        if self.shift is not None:
            logits = logits + self.shift
        if self.margins is not None:
            logits = logits - F.one_hot(labels, logits.shape[1]) * self.margins
        losses = F.cross_entropy(logits, labels, reduction="none")
        if self.gamma:
            losses = (-torch.expm1(-losses)).clamp_min(torch.finfo(torch.float32).tiny) ** self.gamma * losses
        if self.weights is not None and progress >= self.drw_start:
            losses = losses * self.weights[labels]
        return losses

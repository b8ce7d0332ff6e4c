"""Losses for long-tailed classification. Each takes unadjusted logits, so that prediction needs the logits only.

They differ in four components: a term added to the logits (the log prior), a margin for the true species, a lower weight for images that are
already classified well (focal), and a weight for each species.
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

__all__ = ["Loss", "LossConfig", "Objective", "effective_number_weights", "inverse_frequency_weights", "ldam_margins", "log_prior"]

Loss = Literal["cross_entropy", "focal", "focal_alpha", "class_balanced_focal", "ldam_drw", "logit_adjustment", "balanced_softmax"]


class LossConfig(Settings):
    """Settings of the losses."""

    gamma: float = Field(default=2.0, ge=0)
    """Focal losses: the exponent gamma. Higher values give less weight to images that are classified well."""
    beta: float = Field(default=0.999, ge=0, lt=1)
    """``class_balanced_focal`` and ``ldam_drw``: beta of the effective number of samples, which approaches 1 / (1 - beta) for common species."""
    tau: float = Field(default=1.0, ge=0)
    """``logit_adjustment``: factor on the log prior. 1 is the same as ``balanced_softmax``."""
    margin: float = Field(default=0.5, gt=0, le=2)
    """``ldam_drw``: margin of the rarest species, as a difference of cosines."""
    drw_start: float = Field(default=0.8, ge=0, le=1)
    """``ldam_drw``: fraction of the steps after which the deferred re-weighting (DRW) of species starts."""


def log_prior(counts_real: np.ndarray, power: float = 1.0, synthetic: np.ndarray | None = None) -> Tensor:
    """Log prior of the species, as training presents them.

    A sampler that draws species c with probability proportional to n_c^power presents the prior n_c^power / sum. This is the prior to
    correct for. Correcting balanced sampling with the full counts would balance twice (Ren et al. 2020, section 3.3, "over-balance"), and so would
    the prior of the real images alone where synthetic images of the rare species are added to the batches.

    Args:
        counts_real: Number of *real* training images per species, shape (C,). A species without real images counts as having one.
        power: 1 for natural, 0.5 for square-root, 0 for balanced sampling.
        synthetic: Synthetic images of each species as a share of all images presented, float, shape (C,), sum in [0, 1]; None for no such images.

    Returns:
        float32, shape (C,); the exponentials sum to 1.
    """
    weights = np.maximum(np.asarray(counts_real, dtype=np.float64), 1.0) ** power
    frequencies = weights / weights.sum()
    if synthetic is not None:
        # a species that is never presented would have the prior 0: it keeps at least a thousandth of that of its photographs
        frequencies = np.maximum((1 - synthetic.sum()) * frequencies + synthetic, 1e-3 * frequencies)
        frequencies /= frequencies.sum()
    return torch.from_numpy(np.log(frequencies)).to(torch.float32)


def inverse_frequency_weights(counts_seen: np.ndarray) -> Tensor:
    """Class weights (alpha) of the focal loss: log(1 + N / (n_c C)), scaled to mean 1; float32, shape (C,)."""
    counts = np.asarray(counts_seen, dtype=np.float64)
    weights = np.log1p(counts.sum() / (counts * len(counts)))
    return torch.from_numpy(weights / weights.mean()).to(torch.float32)


def effective_number_weights(counts_seen: np.ndarray, beta: float) -> Tensor:
    """Class weights (1 - beta) / (1 - beta^n_c), scaled to mean 1; float32, shape (C,) (Cui et al. 2019, arXiv 1901.05555, section 4)."""
    weights = (1 - beta) / -np.expm1(np.asarray(counts_seen, dtype=np.float64) * np.log(beta)) if beta > 0 else np.ones(len(counts_seen))
    return torch.from_numpy(weights / weights.mean()).to(torch.float32)


def ldam_margins(counts_real: np.ndarray, largest: float) -> Tensor:
    """LDAM margins, proportional to n_c^(-1/4), with maximum ``largest`` (Cao et al. 2019, arXiv 1906.07413, section 3.2); float32, (C,)."""
    found = np.maximum(np.asarray(counts_real, dtype=np.float64), 1.0) ** -0.25
    return torch.from_numpy(found / found.max() * largest).to(torch.float32)


class Objective:
    """The loss function of one training run.

    - ``cross_entropy``.
    - ``focal``: (1 - p)^gamma times the cross-entropy -log p (Lin et al. 2017, arXiv 1708.02002, equation 4).
    - ``focal_alpha``: the same, weighted by ``inverse_frequency_weights`` (equation 5).
    - ``class_balanced_focal``: the same, weighted by ``effective_number_weights`` (Cui et al. 2019).
    - ``ldam_drw``: cross-entropy with a margin subtracted from the true species' logit; near the end of training also weighted by
      ``effective_number_weights`` (Cao et al. 2019, sections 3.2 and 3.3). For logits that are scaled cosines.
    - ``logit_adjustment``: cross-entropy of logits + tau log prior (Menon et al. 2021, arXiv 2007.07314, equation 10).
    - ``balanced_softmax``: -log(n_y exp(z_y) / sum_j n_j exp(z_j)) (Ren et al. 2020, arXiv 2007.10740, equation 4): logit adjustment with tau 1.

    Priors and weights are computed from the class frequencies that training presents (see ``log_prior``), margins from the number of images.

    Args:
        name: The loss.
        config: Settings of the loss.
        counts_real: Number of *real* training images per species, int, shape (C,). A species without real images counts as having one.
        power: Power of the sampler, see ``log_prior``.
        scale: Factor on the cosines of a cosine head; margins are multiplied by it.
        device: Device of the logits.
        synthetic: As for ``log_prior``.
    """

    def __init__(self, name: Loss, config: LossConfig, counts_real: np.ndarray, power: float = 1.0, scale: float = 1.0,
                 device: torch.device | str = "cpu", synthetic: np.ndarray | None = None) -> None:  # fmt: skip
        prior = log_prior(counts_real, power, synthetic)
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

    def __call__(self, logits: Tensor, targets: Targets, progress: float = 1.0) -> Tensor:
        """The mean loss of a batch over its images and their labels, weighted by the shares of the labels: a scalar.

        A smoothed label has 1 - epsilon of its loss, and epsilon times the mean over all species, each as the label (without margin, focal factor
        and weight of the species).

        Args:
            logits: float, shape (N, C).
            targets: Target labels.
            progress: Fraction of the training that is done, in [0, 1].
        """
        logits = logits.float()
        losses = torch.stack([self._each(logits, labels, progress) for labels in targets.labels.unbind(dim=1)], dim=1)
        if targets.smoothing is not None:
            shifted = logits if self.shift is None else logits + self.shift
            losses = torch.lerp(losses, -F.log_softmax(shifted, dim=1).mean(dim=1, keepdim=True), targets.smoothing)
        return (losses * targets.shares).sum() / targets.shares.sum().clamp_min(torch.finfo(torch.float32).tiny)

    def _each(self, logits: Tensor, labels: Tensor, progress: float) -> Tensor:
        """Loss of each image for one label per image, without mixing: shape (N,)."""
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

"""Mixing of training images: mixup (Zhang et al. 2018, arXiv 1710.09412) and CutMix (Yun et al. 2019, arXiv 1905.04899)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

__all__ = ["Mix", "Targets", "cutmix", "mixup"]

Mix = Literal["none", "mixup", "cutmix"]


@dataclass(frozen=True)
class Targets:
    """Target labels of a batch: K labels for each image, each with a share of the image's loss.

    Attributes:
        labels: int64, shape (N, K).
        shares: Share of each label times the weight of its image, float32, shape (N, K), at least 0.
        smoothing: Label smoothing of each label (epsilon of Szegedy et al. 2016, arXiv 1512.00567, section 7), float32, shape (N, K), in [0, 1];
            None for none.
    """

    labels: Tensor
    shares: Tensor
    smoothing: Tensor | None = None

    def mixed_with(self, partners: Targets, share: Tensor) -> Targets:
        """Targets of images that were mixed.

        Args:
            partners: Targets of the images that were mixed in.
            share: Fraction of each image that remains (lambda in the papers), float32, shape (N,), in [0, 1].
        """
        remaining = share[:, None]
        smoothing = None
        if self.smoothing is not None and partners.smoothing is not None:
            smoothing = torch.cat([self.smoothing, partners.smoothing], dim=1)
        shares = torch.cat([self.shares * remaining, partners.shares * (1 - remaining)], dim=1)
        return Targets(torch.cat([self.labels, partners.labels], dim=1), shares, smoothing)

    def to(self, device: torch.device) -> Targets:
        """The targets on a device."""
        return Targets(self.labels.to(device), self.shares.to(device), None if self.smoothing is None else self.smoothing.to(device))

    def rows(self, chosen: Tensor) -> Targets:
        """The targets of the images at the positions ``chosen``, int64, shape (M,)."""
        return Targets(self.labels[chosen], self.shares[chosen], None if self.smoothing is None else self.smoothing[chosen])


def mixup(values: Tensor, partners: Tensor, share: Tensor) -> Tensor:
    """Interpolate linearly: ``share * values + (1 - share) * partners``.

    Args:
        values: Images or features, shape (N, ...).
        partners: Shape of ``values``.
        share: Shape (N,), in [0, 1].
    """
    weight = share.to(values).view(-1, *[1] * (values.ndim - 1))
    return values * weight + partners * (1 - weight)


def cutmix(images_NCHW: Tensor, partners_NCHW: Tensor, share: np.ndarray, centre: np.ndarray) -> tuple[Tensor, Tensor]:
    """Paste a rectangle of each partner image into the image.

    Args:
        images_NCHW: Shape (N, C, H, W).
        partners_NCHW: Same shape.
        share: Intended fraction of the image's area that remains, float, shape (N,). The rectangle has the image's aspect ratio.
        centre: Centre of the rectangle (y, x), as a fraction of the sides, shape (N, 2), in [0, 1). The rectangle is clipped at the borders.

    Returns:
        The mixed images, and the fraction of the area that did remain, float32, shape (N,).
    """
    height, width = images_NCHW.shape[-2:]
    half = np.sqrt(1 - share) / 2
    low = np.clip(np.rint((centre - half[:, None]) * (height, width)), 0, (height, width))
    high = np.clip(np.rint((centre + half[:, None]) * (height, width)), 0, (height, width))
    inside_y = (np.arange(height) >= low[:, :1]) & (np.arange(height) < high[:, :1])
    inside_x = (np.arange(width) >= low[:, 1:]) & (np.arange(width) < high[:, 1:])
    mask = torch.from_numpy(inside_y[:, None, :, None] & inside_x[:, None, None, :]).to(images_NCHW.device)
    kept = 1 - (high - low).prod(axis=1) / (height * width)
    return torch.where(mask, partners_NCHW, images_NCHW), torch.from_numpy(kept.astype(np.float32))

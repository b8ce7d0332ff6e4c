"""Mixed training examples: mixup (Zhang et al. 2018, arXiv 1710.09412) and CutMix (Yun et al. 2019, arXiv 1905.04899)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Mix", "cutmix", "mixup", "soft_targets"]

Mix = Literal["none", "mixup", "cutmix"]


def mixup(values: Tensor, partners: Tensor, share: Tensor) -> Tensor:
    """``share`` of each value and the rest of its partner; values: (N, ...), images or features; share: (N,) in [0, 1]."""
    weight = share.to(values).view(-1, *[1] * (values.ndim - 1))
    return values * weight + partners * (1 - weight)


def cutmix(images_NCHW: Tensor, partners_NCHW: Tensor, share: np.ndarray, centre: np.ndarray) -> tuple[Tensor, Tensor]:
    """Paste a rectangle of each partner into the image.

    Args:
        share: float, shape (N,), area that should remain of the image; the rectangle has its proportions.
        centre: float in [0, 1), shape (N, 2), middle of the rectangle (y, x); what lies outside the image is cut off.

    Returns:
        the images and the area that did remain, float32, shape (N,).
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


def soft_targets(labels: Tensor, partners: Tensor, share: Tensor, num_species: int) -> Tensor:
    """Targets of mixed examples: float32, shape (N, num_species), ``share`` for the label and the rest for its partner's."""
    own, other = F.one_hot(labels, num_species).float(), F.one_hot(partners, num_species).float()
    return mixup(own, other, share)

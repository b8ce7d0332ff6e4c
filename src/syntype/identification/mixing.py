"""Mixed training examples: mixup (Zhang et al. 2018, arXiv 1710.09412) and CutMix (Yun et al. 2019, arXiv 1905.04899)."""

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
    """What the images of a batch show.

    Attributes:
        labels: int64, shape (N,).
        partners: int64, shape (N,), what was mixed into them; None where nothing was.
        share: float32, shape (N,), how much of each image is still its label's.
    """

    labels: Tensor
    partners: Tensor | None = None
    share: Tensor | None = None


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

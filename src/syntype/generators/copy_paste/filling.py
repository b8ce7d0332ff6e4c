"""Filling holes smoothly, and joining what fills them to what lies around."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["blend_seamlessly", "pull_push"]


def pull_push(images: Tensor, weights: Tensor) -> Tensor:
    """Fill what has little weight smoothly from what has much (Gortler et al. 1996, pull-push).

    Args:
        images: float32, NCHW.
        weights: float32, (N, 1, H, W), in [0, 1]; where 1, the image is kept.

    Returns:
        float32, the shape of ``images``.
    """
    height, width = images.shape[2:]
    if min(height, width) < 2:
        return images
    odd = (0, width % 2, 0, height % 2)  # an odd side grows by a pixel without weight
    weighted = functional.pad(images * weights, odd)
    mass = functional.avg_pool2d(functional.pad(weights, odd), 2)
    coarse = functional.avg_pool2d(weighted, 2) / mass.clamp(min=1e-6)
    coarse = pull_push(coarse, (4 * mass).clamp(max=1))
    smooth = functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
    return smooth + weights * (images - smooth)


def blend_seamlessly(drawn_NCHW: Tensor, images_NCHW: Tensor, masks_N1HW: Tensor) -> Tensor:
    """Photographs whose masked part is drawn, without a seam: float32, shape (N, 3, H, W), in [-1, 1]; what is not masked is the photograph.

    By how much the drawing misses the photograph around the hole is carried smoothly across it and taken away: the membrane of Poisson image
    editing (Pérez, Gangnet & Blake 2003, eq. 6), which is how Yeh et al. 2017 (arXiv 1607.07539, section 3.3) finish too; interpolated
    by pull-push instead of solved for.

    Args:
        drawn_NCHW: whole drawings.
        images_NCHW: the photographs, in [-1, 1]; what lies under the mask is not looked at.
        masks_N1HW: bool, shape (N, 1, H, W).
    """
    missed = (images_NCHW - drawn_NCHW).masked_fill(masks_N1HW, 0.0)
    blended = (drawn_NCHW + pull_push(missed, (~masks_N1HW).float())).clamp(-1, 1)
    return torch.where(masks_N1HW, blended, images_NCHW)

"""Smooth filling of holes in images, and seamless blending of what fills them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["blend_seamlessly", "pull_push"]


def pull_push(images: Tensor, weights: Tensor) -> Tensor:
    """Fill pixels of low weight by smooth interpolation from those of high weight (Gortler et al. 1996, pull-push).

    Args:
        images: float32, NCHW.
        weights: float32, (N, 1, H, W), in [0, 1]; where 1, the image is kept.

    Returns:
        float32, the shape of ``images``.
    """
    height, width = images.shape[2:]
    if min(height, width) < 2:
        return images
    odd = (0, width % 2, 0, height % 2)  # pad odd sides by a pixel of weight 0
    weighted = functional.pad(images * weights, odd)
    mass = functional.avg_pool2d(functional.pad(weights, odd), 2)
    coarse = functional.avg_pool2d(weighted, 2) / mass.clamp(min=1e-6)
    coarse = pull_push(coarse, (4 * mass).clamp(max=1))
    smooth = functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
    return smooth + weights * (images - smooth)


def blend_seamlessly(generated_NCHW: Tensor, images_NCHW: Tensor, masks_N1HW: Tensor) -> Tensor:
    """Photographs whose masked part comes from generated images, without a visible seam: float32, shape (N, 3, H, W), in [-1, 1].

    Pixels outside the mask are the photograph's. The difference between photograph and generated image around the mask is interpolated smoothly
    across the mask and added: the membrane of Poisson image editing (Pérez, Gangnet & Blake 2003, eq. 6), as in Yeh et al. 2017 (arXiv 1607.07539,
    section 3.3), but interpolated by pull-push where they solve the equation.

    Args:
        generated_NCHW: generated images.
        images_NCHW: the photographs, in [-1, 1]; pixels under the mask are ignored.
        masks_N1HW: bool, shape (N, 1, H, W), true where the generated image is to be shown.
    """
    missed = (images_NCHW - generated_NCHW).masked_fill(masks_N1HW, 0.0)
    blended = (generated_NCHW + pull_push(missed, (~masks_N1HW).float())).clamp(-1, 1)
    return torch.where(masks_N1HW, blended, images_NCHW)

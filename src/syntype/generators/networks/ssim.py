"""Structural similarity of images: part of the reconstruction losses of FastGAN's discriminator and of the autoencoder."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["structural_dissimilarity"]

WINDOW = 7
"""Side of the windows, in pixels; the smallest reconstructed image has 8."""


def structural_dissimilarity(first_NCHW: Tensor, second_NCHW: Tensor) -> Tensor:
    """1 - SSIM (Wang et al. 2004, eq. 13), over all 7x7 windows of images in [-1, 1]: from 0 for equal images to 2. A scalar."""

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, WINDOW, stride=1)

    steady_light, steady_contrast = (0.01 * 2) ** 2, (0.03 * 2) ** 2  # K1, K2 and the range of the pixels
    mean_a, mean_b = mean(first_NCHW), mean(second_NCHW)
    var_a = mean(first_NCHW.square()) - mean_a.square()
    var_b = mean(second_NCHW.square()) - mean_b.square()
    covariance = mean(first_NCHW * second_NCHW) - mean_a * mean_b
    light = (2 * mean_a * mean_b + steady_light) / (mean_a.square() + mean_b.square() + steady_light)
    structure = (2 * covariance + steady_contrast) / (var_a + var_b + steady_contrast)
    return 1 - (light * structure).mean()

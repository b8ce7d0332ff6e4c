"""Augmentation of batches: one affine transform and one colour change per image, computed for the whole batch at once."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from syntype.recipe import Settings

__all__ = ["AugmentConfig", "augment"]


class AugmentConfig(Settings):
    """Strength of the augmentation of training images. 0 or False switches a change off."""

    flip: bool = True
    """Flip horizontally with probability 1/2."""
    vertical_flip: bool = False
    """Flip vertically with probability 1/2."""
    shift: float = Field(default=0.1, ge=0, le=1)
    """Largest shift along each axis, as a fraction of the side."""
    zoom: float = Field(default=0.2, ge=0, lt=1)
    """Largest change of scale: 0.2 means 80 % to 125 % of the original size."""
    rotation: float = Field(default=15.0, ge=0, le=180)
    """Largest rotation, in degrees."""
    brightness: float = Field(default=0.3, ge=0, lt=1)
    """Largest relative change of brightness."""
    contrast: float = Field(default=0.3, ge=0, lt=1)
    """Largest relative change of contrast."""
    saturation: float = Field(default=0.3, ge=0, lt=1)
    """Largest relative change of saturation."""
    tint: float = Field(default=0.1, ge=0, lt=1)
    """Largest relative change of each colour channel. Water causes such colour casts."""
    sharpness: float = Field(default=0.0, ge=0, le=1)
    """Largest change of sharpness: 1 reaches from fully smoothed to sharpened by the same amount."""

    @property
    def num_uniform(self) -> int:
        """Number of uniform random numbers that ``augment`` uses per image."""
        return 13 if self.sharpness else 12


def augment(images_NCHW: Tensor, uniform: Tensor, config: AugmentConfig) -> Tensor:
    """Augment each image with its own random numbers. The result depends on nothing else.

    Args:
        images_NCHW: float, shape (N, 3, S, S), in [-1, 1].
        uniform: Uniform random numbers, float, shape (N, config.num_uniform), in [0, 1).
        config: Strength of each change.

    Returns:
        float, shape of the input, in [-1, 1]. Areas uncovered by a shift or rotation repeat the nearest border pixel.
    """
    signed = uniform.to(images_NCHW) * 2 - 1
    changed = _recolour(_warp(images_NCHW, signed, config), signed, config)
    return _sharpen(changed, signed[:, 12], config.sharpness) if config.sharpness else changed


def _warp(images: Tensor, signed: Tensor, config: AugmentConfig) -> Tensor:
    angle = signed[:, 0] * math.radians(config.rotation)
    scale = torch.exp(signed[:, 1] * -math.log1p(-config.zoom))
    mirror_x = torch.where(signed[:, 2] < 0, -1.0, 1.0) if config.flip else torch.ones_like(scale)
    mirror_y = torch.where(signed[:, 3] < 0, -1.0, 1.0) if config.vertical_flip else torch.ones_like(scale)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    # affine_grid uses coordinates in [-1, 1]: a shift by the fraction s of the side is 2 s.
    row_x = torch.stack([cos * mirror_x, -sin * mirror_y, 2 * config.shift * signed[:, 4]], dim=1)
    row_y = torch.stack([sin * mirror_x, cos * mirror_y, 2 * config.shift * signed[:, 5]], dim=1)
    grid = F.affine_grid(torch.stack([row_x, row_y], dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _recolour(images: Tensor, signed: Tensor, config: AugmentConfig) -> Tensor:
    def factor(column: int, strength: float) -> Tensor:
        return (1 + strength * signed[:, column]).view(-1, 1, 1, 1)

    light = (images + 1) / 2
    light = light * factor(6, config.brightness) * (1 + config.tint * signed[:, 9:12]).view(-1, 3, 1, 1)
    mean = light.mean(dim=(1, 2, 3), keepdim=True)
    light = (light - mean) * factor(7, config.contrast) + mean
    grey = light.mean(dim=1, keepdim=True)
    light = (light - grey) * factor(8, config.saturation) + grey
    return light.clamp(0, 1) * 2 - 1


def _sharpen(images: Tensor, signed: Tensor, strength: float) -> Tensor:
    """Interpolate or extrapolate from the smoothed image, as Pillow's ``ImageEnhance.Sharpness`` does.

    The smoothing kernel is 3 x 3: 5/13 in the centre, 1/13 elsewhere.
    """
    kernel = torch.ones(3, 1, 3, 3).to(images) / 13
    kernel[:, :, 1, 1] *= 5
    smooth = F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    return torch.lerp(smooth, images, (1 + strength * signed).view(-1, 1, 1, 1)).clamp(-1, 1)

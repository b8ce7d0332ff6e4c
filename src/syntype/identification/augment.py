"""Augmentation of whole batches: one warp and one colour change an image, computed for all images at once."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from syntype.recipe import Settings

__all__ = ["AugmentConfig", "augment"]


class AugmentConfig(Settings):
    """How far a training image may be changed. 0 (or False) switches a change off."""

    flip: bool = True
    """Mirror left and right."""
    vertical_flip: bool = False
    """Mirror up and down."""
    shift: float = Field(default=0.1, ge=0, le=1)
    """Largest shift along each axis, as a share of the side."""
    zoom: float = Field(default=0.2, ge=0, lt=1)
    """Largest change of scale: 0.2 shows the subject at 80 to 125 % of its size."""
    rotation: float = Field(default=15.0, ge=0, le=180)
    """Largest rotation, in degrees."""
    brightness: float = Field(default=0.3, ge=0, lt=1)
    contrast: float = Field(default=0.3, ge=0, lt=1)
    saturation: float = Field(default=0.3, ge=0, lt=1)
    tint: float = Field(default=0.1, ge=0, lt=1)
    """Largest change of one colour channel against the others (water colours everything it covers)."""
    sharpness: float = Field(default=0.0, ge=0, le=1)
    """Largest change of sharpness: 1 reaches from smoothed to as much sharper."""

    @property
    def num_uniform(self) -> int:
        """Random numbers that ``augment`` uses for each image."""
        return 13 if self.sharpness else 12


def augment(images_NCHW: Tensor, uniform: Tensor, config: AugmentConfig) -> Tensor:
    """Change each image by its own random numbers.

    Args:
        images_NCHW: float in [-1, 1], square.
        uniform: float in [0, 1), shape (N, config.num_uniform); equal numbers give equal images.

    Returns:
        float in [-1, 1], the shape of the input. What a shift or rotation uncovers repeats the nearest border pixel.
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
    # affine_grid runs over [-1, 1]: a shift by a share s of the side is 2 s.
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
    """Away from, or towards, the image smoothed by the usual kernel of 3 x 3 (1 but for 5 in the middle, over 13)."""
    kernel = torch.ones(3, 1, 3, 3).to(images) / 13
    kernel[:, :, 1, 1] *= 5
    smooth = F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    return torch.lerp(smooth, images, (1 + strength * signed).view(-1, 1, 1, 1)).clamp(-1, 1)

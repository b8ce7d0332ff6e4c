"""Collage: copy-paste of one photograph's animal onto another's background. Needs no training. For any species; the simple baseline of studies.

The animal is mirrored, rotated, scaled, shifted, warped, and changed in brightness and contrast at random. The background is a random crop of any
other photograph of the collection. ``copy_paste/pasting.py`` describes the method.

Paper: Dwibedi, Misra and Hebert 2017, "Cut, paste and learn: surprisingly easy synthesis for instance detection".
Code: written for Syntype from the papers.
Weights: none; the generator's file contains photographs and masks.
"""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from syntype.generators.copy_paste.pasting import CopyPasteModel, PasteConfig, PasteParameters, pixel_coordinates, random_warp

__all__ = ["Collage", "CollageConfig"]

_PURPOSE = 23  # separates this family's random numbers from those of other purposes


class CollageConfig(PasteConfig):
    """Settings of ``collage``: how much an image may differ from its photographs."""

    rotation: float = Field(8.0, ge=0)
    """Standard deviation of the animal's rotation, in degrees; limited to twice that."""
    scale: float = Field(1.2, ge=1)
    """The animal is scaled by a factor between 1/scale and scale, uniform in its logarithm."""
    shift: float = Field(0.08, ge=0, le=0.5)
    """Largest shift of the animal along each axis, as a share of the side."""
    background_zoom: float = Field(1.25, ge=1)
    """Largest enlargement of the background, of which a crop is shown."""


class Collage(CopyPasteModel):
    """Pastes animals of the requested species onto backgrounds of any photographs."""

    Config = CollageConfig
    config: CollageConfig

    def paste_parameters(self, seed: int, row: int) -> PasteParameters:
        """See ``CopyPasteModel``. The background is that of any other photograph, of any species."""
        return _PasteParameters(seed, row, len(self.generator.pixels), self.config)


class _PasteParameters(PasteParameters):
    def __init__(self, seed: int, row: int, total: int, config: CollageConfig) -> None:
        rng = np.random.default_rng([abs(seed), int(seed < 0), _PURPOSE])
        self.background = (row + 1 + int(rng.integers(total - 1))) % total if total > 1 else row  # never the animal's own photograph
        self.contrast, self.brightness = (float(1 + config.lighting * value) for value in rng.uniform(-1, 1, 2))
        self._mirror, self._background_mirror = rng.choice([-1.0, 1.0], 2)
        self._angle = math.radians(config.rotation) * float(np.clip(rng.normal(), -2, 2))
        self._scale = config.scale ** float(rng.uniform(-1, 1))
        self._shift = 2 * config.shift * rng.uniform(-1, 1, 2)  # grid_sample's image is 2 wide
        self.warp_nodes = random_warp(rng, config.warp)
        self._zoom = config.background_zoom ** float(rng.uniform(0, 1))
        self._corner = rng.uniform(-1, 1, 2)

    def animal_grid(self, size: int) -> np.ndarray:
        x, y = pixel_coordinates(size)
        x, y = x - self._shift[0], y - self._shift[1]
        cosine, sine = math.cos(self._angle), math.sin(self._angle)
        return self.warped(np.stack([self._mirror * (cosine * x + sine * y), cosine * y - sine * x], 2) / self._scale)

    def background_grid(self, size: int) -> np.ndarray:
        """A crop within the photograph, mirrored at random."""
        x, y = pixel_coordinates(size)
        room = 1 - 1 / self._zoom
        return np.stack([self._background_mirror * x / self._zoom + room * self._corner[0], y / self._zoom + room * self._corner[1]], 2).astype(
            np.float32
        )

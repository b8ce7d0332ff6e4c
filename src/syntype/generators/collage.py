"""``collage``: the animal of one training photograph on the background of another. The honest competitor without learning.

Cut, paste and learn (Dwibedi, Misra and Hebert 2017, "Cut, paste and learn: surprisingly easy synthesis for instance
detection"): real animals in new places, with the edges blended so that a classifier does not learn the seam. The animal
is found once, in ``prepare`` (see ``_segmentation``, after GrabCut), then mirrored, turned, scaled, shifted, bent and lit
anew for every image. The background loses its own animal by pull-push interpolation (Gortler et al. 1996, "The
lumigraph", section 3.4.2), and the pasted animal takes on part of its light (a von Kries gain a channel).

Origin: Syntype, written from the papers. Nothing is learnt; there are no weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from syntype.errors import UnsupportedError
from syntype.generators._filling import pull_push
from syntype.generators._images import ImageStore
from syntype.generators._segmentation import segment
from syntype.generators.contract import Batch, GenerativeModel, GeneratorConfig, TrainingData
from syntype.generators.runtime import Runtime

__all__ = ["Collage", "CollageConfig"]

_PURPOSE = 23  # this family's stream of random numbers, apart from those of other purposes
_NODES = 4  # a side, of the grid that bends the animal


class CollageConfig(GeneratorConfig):
    """How far a collage may stray from its photographs."""

    rotation: float = Field(8.0, ge=0)
    """Standard deviation of the animal's turn, in degrees; at most twice that."""
    scale: float = Field(1.2, ge=1)
    """The animal is scaled by a factor between 1/scale and scale, evenly in its logarithm."""
    shift: float = Field(0.08, ge=0, le=0.5)
    """Largest shift of the animal along each axis, as a share of the side."""
    bend: float = Field(0.012, ge=0, le=0.1)
    """Standard deviation of the smooth warp, as a share of the side."""
    light: float = Field(0.12, ge=0, lt=1)
    """Largest relative change of the animal's brightness and contrast."""
    harmony: float = Field(0.4, ge=0, le=1)
    """How far the animal takes on the light of its new place: 0 not at all, 1 wholly."""
    zoom: float = Field(1.25, ge=1)
    """Largest enlargement of the background (a crop of it is then shown)."""


class Collage(GenerativeModel):
    """Pastes training animals onto training backgrounds.

    ``generator`` is an ``ImageStore``: uint8 pixels and masks, sorted by species.
    """

    Config = CollageConfig
    learns: ClassVar[bool] = False
    digital_source_type: ClassVar[str] = "compositeCapture"
    """IPTC: mix or composite of several elements that are all captures of real life."""

    config: CollageConfig
    generator: ImageStore

    def __init__(self, config: CollageConfig, species: Sequence[str]) -> None:
        super().__init__(config, species)
        self.generator = ImageStore(len(self.species), config.size)

    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Keep the training photographs and find the animal in each (about 10 ms an image)."""
        self.generator.fill(data, segment(data.images))
        self.generator.to(runtime.device)

    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """There is nothing to learn: raises ``UnsupportedError``."""
        raise UnsupportedError("collage: has no training steps; prepare does all.")

    @torch.no_grad()
    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """One collage for each (species, seed): float32, shape (N, 3, size, size), in [-1, 1].

        The animal is that of training photograph number ``seed`` (modulo their number) of the species; the background that of any
        photograph, of any species.

        Raises:
            UnknownNameError: a species that the generator does not know.
            UnsupportedError: a species without a training photograph.
        """
        store, size = self.generator, self.config.size
        device = store.pixels.device
        chosen = store.choose(self.labels_of(species), seeds, self.species)
        if not chosen:
            return torch.empty((0, 3, size, size), device=device)
        draws = [_Draw(int(seed), row, len(store.pixels), self.config) for seed, row in zip(seeds, chosen, strict=True)]

        animals, masks = _unit(store.pixels[chosen]), _unit(store.masks[chosen])
        grounds = [draw.ground for draw in draws]
        scene, scene_masks = _unit(store.pixels[grounds]), _unit(store.masks[grounds])

        water = pull_push(animals, 1 - _grow(masks, size))  # what the animal's own photograph looks like without it
        scene = pull_push(scene, 1 - _grow(scene_masks, size))
        # a blend, not a power: vectorised pow rounds differently at the end of a batch, and an image must not depend on its batch
        gains = 1 + self.config.harmony * (((_mean(scene) + 0.05) / (_mean(water) + 0.05)).clamp(0.5, 2) - 1)

        animals = pull_push(animals, _shrink(masks, size))  # the animal's own colours reach beyond its edge: no rim of old water
        contrast, brightness = (
            torch.tensor([getattr(draw, name) for draw in draws], device=device).view(-1, 1, 1, 1) for name in ("contrast", "brightness")
        )
        middle = _mean(animals, masks)
        animals = ((animals - middle) * contrast + middle) * brightness * gains

        warp = torch.from_numpy(np.stack([draw.animal_grid(size) for draw in draws])).to(device)
        crop = torch.from_numpy(np.stack([draw.ground_grid(size) for draw in draws])).to(device)
        animals = functional.grid_sample(animals, warp, mode="bilinear", padding_mode="border", align_corners=False)
        masks = functional.grid_sample(_feather(masks), warp, mode="bilinear", padding_mode="zeros", align_corners=False)
        scene = functional.grid_sample(scene, crop, mode="bilinear", padding_mode="reflection", align_corners=False)
        return (scene + masks * (animals - scene)).clamp(0, 1) * 2 - 1


class _Draw:
    """The random numbers of one collage: a function of its seed alone.

    Args:
        row: position of the animal's photograph among ``total``.
    """

    def __init__(self, seed: int, row: int, total: int, config: CollageConfig) -> None:
        rng = np.random.default_rng([abs(seed), int(seed < 0), _PURPOSE])
        self.ground = (row + 1 + int(rng.integers(total - 1))) % total if total > 1 else row  # any photograph but the animal's own
        self.contrast, self.brightness = (float(1 + config.light * value) for value in rng.uniform(-1, 1, 2))
        self._mirror, self._ground_mirror = rng.choice([-1.0, 1.0], 2)
        self._angle = math.radians(config.rotation) * float(np.clip(rng.normal(), -2, 2))
        self._scale = config.scale ** float(rng.uniform(-1, 1))
        self._shift = 2 * config.shift * rng.uniform(-1, 1, 2)  # grid_sample's image is 2 wide
        self._bend = 2 * config.bend * np.clip(rng.normal(size=(_NODES, _NODES, 2)), -2, 2)
        self._zoom = config.zoom ** float(rng.uniform(0, 1))
        self._corner = rng.uniform(-1, 1, 2)

    def animal_grid(self, size: int) -> np.ndarray:
        """For each pixel, where in the animal's photograph it comes from: float32, (size, size, 2), x then y, in -1..1."""
        x, y = _axes(size)
        x, y = x - self._shift[0], y - self._shift[1]
        cosine, sine = math.cos(self._angle), math.sin(self._angle)
        grid = np.stack([self._mirror * (cosine * x + sine * y), cosine * y - sine * x], 2) / self._scale
        weights = _bernstein(size)
        return (grid + np.einsum("yi,xj,ijc->yxc", weights, weights, self._bend)).astype(np.float32)

    def ground_grid(self, size: int) -> np.ndarray:
        """The same for the background: a mirrored or plain crop that stays within the photograph."""
        x, y = _axes(size)
        room = 1 - 1 / self._zoom
        return np.stack([self._ground_mirror * x / self._zoom + room * self._corner[0], y / self._zoom + room * self._corner[1]], 2).astype(
            np.float32
        )


def _axes(size: int) -> tuple[np.ndarray, np.ndarray]:
    line = (np.arange(size) + 0.5) * 2 / size - 1
    x, y = np.meshgrid(line, line)
    return x, y


def _bernstein(size: int) -> np.ndarray:
    """Cubic Bernstein polynomials along a side: (size, 4). A smooth surface over 4 by 4 nodes (free-form deformation)."""
    t = ((np.arange(size) + 0.5) / size)[:, None]
    degree = np.arange(_NODES)
    choose = np.array([math.comb(_NODES - 1, k) for k in degree])
    return choose * t**degree * (1 - t) ** (_NODES - 1 - degree)


def _unit(pixels: Tensor) -> Tensor:
    return pixels.to(torch.float32) / 255


def _mean(images: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean colour of each image, weighted: (N, 3, 1, 1)."""
    if weights is None:
        return images.mean((2, 3), keepdim=True)
    return (images * weights).sum((2, 3), keepdim=True) / weights.sum((2, 3), keepdim=True).clamp(min=1e-6)


def _grow(masks: Tensor, size: int) -> Tensor:
    """Masks widened by 8 % of the side, so that no rim, fin or shadow of the animal remains in the background."""
    radius = max(1, round(size * 0.08))
    return functional.max_pool2d(masks, 2 * radius + 1, 1, radius)


def _shrink(masks: Tensor, size: int) -> Tensor:
    """Masks narrowed by 1.5 % of the side: surely the animal."""
    radius = max(1, round(size * 0.015))
    masks = _steep(masks)
    narrow = 1 - functional.max_pool2d(1 - masks, 2 * radius + 1, 1, radius)
    # a thin animal would vanish: then it is taken as it is
    return torch.where(narrow.amax((2, 3), keepdim=True) > 0.5, narrow, masks)


def _steep(masks: Tensor) -> Tensor:
    """The same edge, four times as steep."""
    return ((masks - 0.5) * 4 + 0.5).clamp(0, 1)


def _feather(masks: Tensor) -> Tensor:
    """A steep edge, then about one pixel of softness (bilinear sampling adds another)."""
    steep = _steep(masks)
    return 0.5 * steep + 0.5 * functional.avg_pool2d(steep, 3, 1, 1, count_include_pad=False)

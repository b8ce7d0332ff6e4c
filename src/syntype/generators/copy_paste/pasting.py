"""Cut, paste and learn: the animal of one photograph before the background of another. What ``collage`` and ``pose_transfer`` share.

Dwibedi, Misra and Hebert 2017, "Cut, paste and learn: surprisingly easy synthesis for instance detection": real animals in new places, with the
edges blended so that a classifier does not learn the seam. The animal is found once, in ``prepare`` (see ``_segmentation``, after GrabCut), and
moved, warped and lit anew for every image. The background loses its own animal by pull-push interpolation (Gortler et al. 1996, "The lumigraph",
section 3.4.2), and the pasted animal takes on part of its light (a von Kries gain a channel).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from syntype.compute.runtime import Runtime
from syntype.errors import UnsupportedError
from syntype.generators.contract import Batch, GenerativeModel, GeneratorConfig, TrainingData
from syntype.generators.copy_paste.filling import pull_push
from syntype.generators.copy_paste.image_store import ImageStore
from syntype.generators.copy_paste.segmentation import segment

__all__ = ["CopyPasteModel", "PasteConfig", "PasteParameters", "mean_colour", "pixel_coordinates", "random_warp", "remove_animals", "to_unit_range"]

_NODES = 4  # a side, of the grid that warp_nodes the animal


class PasteConfig(GeneratorConfig):
    """How far a pasted animal may stray from its photograph, wherever it goes."""

    warp: float = Field(0.012, ge=0, le=0.1)
    """Standard deviation of the smooth warp, as a share of the side."""
    lighting: float = Field(0.12, ge=0, lt=1)
    """Largest relative change of the animal's brightness and contrast."""
    harmonisation: float = Field(0.4, ge=0, le=1)
    """How far the animal takes on the light of its new place: 0 not at all, 1 wholly."""


class PasteParameters(ABC):
    """The random numbers of one image: a function of its seed alone.

    Attributes:
        background: position of the photograph whose background is taken.
        contrast, brightness: factors.
        gain: further factors on the animal's three channels.
        warp_nodes: see ``warped``.
    """

    background: int
    contrast: float
    brightness: float
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    warp_nodes: np.ndarray

    @abstractmethod
    def animal_grid(self, size: int) -> np.ndarray:
        """For each pixel, where in the animal's photograph it comes from: float32, (size, size, 2), x then y, in -1..1."""

    @abstractmethod
    def background_grid(self, size: int) -> np.ndarray:
        """The same for the background."""

    def warped(self, grid: np.ndarray) -> np.ndarray:
        """A grid, warped by ``warp_nodes``: displacements of 4 by 4 nodes, shape (4, 4, 2)."""
        weights = _bernstein(len(grid))
        return (grid + np.einsum("yi,xj,ijc->yxc", weights, weights, self.warp_nodes, optimize=True)).astype(np.float32)


def random_warp(random: np.random.Generator, std: float) -> np.ndarray:
    """Displacements for ``PasteParameters.warp_nodes``; grid_sample's image is 2 wide."""
    return 2 * std * np.clip(random.normal(size=(_NODES, _NODES, 2)), -2, 2)


class CopyPasteModel(GenerativeModel):
    """Pastes training animals onto training backgrounds, as a ``PasteParameters`` for each image says.

    ``generator`` is an ``ImageStore``: uint8 pixels and masks, sorted by species.
    """

    learns: ClassVar[bool] = False
    digital_source_type: ClassVar[str] = "compositeCapture"
    """IPTC: mix or composite of several elements that are all captures of real life."""
    by_group: ClassVar[bool] = False
    """Has every individual of a species the same share of its images, however often it was photographed?"""

    config: PasteConfig
    generator: ImageStore

    def __init__(self, config: PasteConfig, species: Sequence[str]) -> None:
        super().__init__(config, species)
        self.generator = ImageStore(len(self.species), config.size)

    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Keep the training photographs and find the animal in each."""
        self.generator.fill(data, self.segment_animals(data.images, runtime.device))
        self.generator.to(runtime.device)

    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """There is nothing to learn: raises ``UnsupportedError``."""
        raise UnsupportedError(f"{type(self).__name__.lower()}: has no training steps; prepare does all.")

    def segment_animals(self, images: np.ndarray, device: torch.device) -> Tensor:
        """Masks of the animals in photographs, as ``segment`` gives them (about 10 ms an image)."""
        return segment(images)

    @abstractmethod
    def paste_parameters(self, seed: int, row: int) -> PasteParameters:
        """How the animal of the photograph at ``row`` is pasted, for a seed."""

    @torch.no_grad()
    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """One image for each (species, seed): float32, shape (N, 3, size, size), in [-1, 1].

        Consecutive seeds walk through the species' training photographs (``by_group``: through its individuals).

        Raises:
            UnknownNameError: a species that the generator does not know.
            UnsupportedError: a species without a training photograph.
        """
        store, size = self.generator, self.config.size
        device = store.pixels.device
        chosen = store.choose(self.labels_of(species), seeds, self.species, by_group=self.by_group)
        if not chosen:
            return torch.empty((0, 3, size, size), device=device)
        draws = [self.paste_parameters(int(seed), row) for seed, row in zip(seeds, chosen, strict=True)]

        animals, masks = to_unit_range(store.pixels[chosen]), to_unit_range(store.masks[chosen])
        backgrounds = [draw.background for draw in draws]
        surroundings = remove_animals(animals, masks)
        scene = remove_animals(to_unit_range(store.pixels[backgrounds]), to_unit_range(store.masks[backgrounds]))
        # a blend, not a power: vectorised pow rounds differently at the end of a batch, and an image must not depend on its batch
        gains = 1 + self.config.harmonisation * (((mean_colour(scene) + 0.05) / (mean_colour(surroundings) + 0.05)).clamp(0.5, 2) - 1)
        gains = gains * torch.tensor([draw.gain for draw in draws], device=device)[:, :, None, None]

        animals = pull_push(animals, _erode(masks, size))  # the animal's own colours reach beyond its edge: no rim of old surroundings
        contrast, brightness = (
            torch.tensor([getattr(draw, name) for draw in draws], device=device).view(-1, 1, 1, 1) for name in ("contrast", "brightness")
        )
        centre = mean_colour(animals, masks)
        animals = ((animals - centre) * contrast + centre) * brightness * gains

        warp = torch.from_numpy(np.stack([draw.animal_grid(size) for draw in draws])).to(device)
        crop = torch.from_numpy(np.stack([draw.background_grid(size) for draw in draws])).to(device)
        animals = functional.grid_sample(animals, warp, mode="bilinear", padding_mode="border", align_corners=False)
        masks = functional.grid_sample(_feather(masks), warp, mode="bilinear", padding_mode="zeros", align_corners=False)
        scene = functional.grid_sample(scene, crop, mode="bilinear", padding_mode="reflection", align_corners=False)
        return (scene + masks * (animals - scene)).clamp(0, 1) * 2 - 1


def remove_animals(pixels: Tensor, masks: Tensor) -> Tensor:
    """What photographs look like without their animals: pixels in [0, 1], (N, 3, S, S), and masks (N, 1, S, S)."""
    return pull_push(pixels, 1 - _dilate(masks, pixels.shape[-1]))


def pixel_coordinates(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Middles of pixels, x and y, in -1..1."""
    line = (np.arange(size) + 0.5) * 2 / size - 1
    x, y = np.meshgrid(line, line)
    return x, y


def _bernstein(size: int) -> np.ndarray:
    """Cubic Bernstein polynomials along a side: (size, 4). A smooth surface over 4 by 4 nodes (free-form deformation)."""
    t = ((np.arange(size) + 0.5) / size)[:, None]
    degree = np.arange(_NODES)
    choose = np.array([math.comb(_NODES - 1, k) for k in degree])
    return choose * t**degree * (1 - t) ** (_NODES - 1 - degree)


def to_unit_range(pixels: Tensor) -> Tensor:
    """Bytes as float32 in [0, 1]."""
    return pixels.to(torch.float32) / 255


def mean_colour(images: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean colour of each image, weighted: (N, 3, 1, 1)."""
    if weights is None:
        return images.mean((2, 3), keepdim=True)
    return (images * weights).sum((2, 3), keepdim=True) / weights.sum((2, 3), keepdim=True).clamp(min=1e-6)


def _dilate(masks: Tensor, size: int) -> Tensor:
    """Masks widened by 8 % of the side, so that no rim, fin or shadow of the animal remains in the background."""
    radius = max(1, round(size * 0.08))
    return functional.max_pool2d(masks, 2 * radius + 1, 1, radius)


def _erode(masks: Tensor, size: int) -> Tensor:
    """Masks narrowed by 1.5 % of the side: surely the animal."""
    radius = max(1, round(size * 0.015))
    masks = _sharpen_edge(masks)
    narrow = 1 - functional.max_pool2d(1 - masks, 2 * radius + 1, 1, radius)
    # a thin animal would vanish: then it is taken as it is
    return torch.where(narrow.amax((2, 3), keepdim=True) > 0.5, narrow, masks)


def _sharpen_edge(masks: Tensor) -> Tensor:
    """The same edge, four times as steep."""
    return ((masks - 0.5) * 4 + 0.5).clamp(0, 1)


def _feather(masks: Tensor) -> Tensor:
    """A steep edge, then about one pixel of softness (bilinear sampling adds another)."""
    steep = _sharpen_edge(masks)
    return 0.5 * steep + 0.5 * functional.avg_pool2d(steep, 3, 1, 1, count_include_pad=False)

"""Copy-paste augmentation: an animal is cut out of one photograph and pasted onto the background of another.

Base of the families ``collage`` and ``pose_transfer``. Dwibedi, Misra and Hebert 2017, "Cut, paste and learn: surprisingly easy synthesis for
instance detection": real animals on new backgrounds, with blended edges, so that a classifier does not learn the seam. The animal is segmented once,
in ``prepare`` (``segmentation.py``, after GrabCut). For every image it is moved, warped, and changed in brightness and contrast. The background's own
animal is removed by pull-push interpolation (Gortler et al. 1996, "The lumigraph", section 3.4.2), and the pasted animal is partly adjusted to the
background's light (one von Kries gain a channel).
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

_NODES = 4  # control points of the warp, along each side


class PasteConfig(GeneratorConfig):
    """Settings of both copy-paste families: how much a pasted animal may differ from its photograph."""

    warp: float = Field(0.012, ge=0, le=0.1)
    """Standard deviation of the smooth warp of the animal, as a share of the image's side."""
    lighting: float = Field(0.12, ge=0, lt=1)
    """Largest relative change of the animal's brightness and contrast."""
    harmonisation: float = Field(0.4, ge=0, le=1)
    """How far the animal's colours are adjusted to the light of the new background: 0 not at all, 1 fully."""


class PasteParameters(ABC):
    """The random parameters of one image; they depend on the seed and on the photographs alone.

    Attributes:
        background: index of the photograph whose background is used.
        contrast, brightness: factors.
        gain: further factors on the animal's three colour channels.
        warp_nodes: displacements of the warp's 4x4 control points, shape (4, 4, 2); see ``warped``.
    """

    background: int
    contrast: float
    brightness: float
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    warp_nodes: np.ndarray

    @abstractmethod
    def animal_grid(self, size: int) -> np.ndarray:
        """For each pixel of the image, the point of the animal's photograph shown there: float32, shape (size, size, 2), x then y, in [-1, 1]."""

    @abstractmethod
    def background_grid(self, size: int) -> np.ndarray:
        """The same for the photograph that gives the background."""

    def warped(self, grid: np.ndarray) -> np.ndarray:
        """``grid`` plus the smooth displacement given by ``warp_nodes`` (free-form deformation)."""
        weights = _bernstein(len(grid))
        return (grid + np.einsum("yi,xj,ijc->yxc", weights, weights, self.warp_nodes, optimize=True)).astype(np.float32)


def random_warp(random: np.random.Generator, std: float) -> np.ndarray:
    """Random values for ``PasteParameters.warp_nodes``.

    Args:
        std: standard deviation as a share of the side; values beyond two standard deviations are clipped. (In ``grid_sample`` an image is 2 wide.)
    """
    return 2 * std * np.clip(random.normal(size=(_NODES, _NODES, 2)), -2, 2)


class CopyPasteModel(GenerativeModel):
    """Base class of the copy-paste families. A subclass draws a ``PasteParameters`` for each image.

    ``generator`` is an ``ImageStore``: uint8 photographs and segmentation masks, sorted by species.
    """

    learns: ClassVar[bool] = False
    digital_source_type: ClassVar[str] = "compositeCapture"
    """IPTC: mix or composite of several elements that are all captures of real life."""
    by_group: ClassVar[bool] = False
    """Whether seeds cycle through a species' individuals, so that each has the same share of the images, and not through its photographs."""

    config: PasteConfig
    generator: ImageStore

    def __init__(self, config: PasteConfig, species: Sequence[str]) -> None:
        super().__init__(config, species)
        self.generator = ImageStore(len(self.species), config.size)

    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Store the training photographs and segment the animal in each."""
        self.generator.fill(data, self.segment_animals(data.images, runtime.device))
        self.generator.to(runtime.device)

    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """Not available, as there is nothing to train.

        Raises:
            UnsupportedError: always.
        """
        raise UnsupportedError(f"{type(self).__name__.lower()}: has no training steps; use prepare alone.")

    def segment_animals(self, images: np.ndarray, device: torch.device) -> Tensor:
        """Segmentation masks of photographs, as ``segment`` returns them (about 10 ms an image)."""
        return segment(images)

    @abstractmethod
    def paste_parameters(self, seed: int, row: int) -> PasteParameters:
        """Random parameters for one image.

        Args:
            seed: of the image.
            row: index of the animal's photograph in the ``ImageStore``.
        """

    @torch.no_grad()
    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """One image for each (species, seed): float32, shape (N, 3, size, size), in [-1, 1].

        Consecutive seeds cycle through the species' training photographs (with ``by_group``: through its individuals).

        Raises:
            UnknownNameError: a species that is not in the generator's vocabulary.
            UnsupportedError: a species without a training photograph.
        """
        store, size = self.generator, self.config.size
        device = store.pixels.device
        chosen = store.choose(self.labels_of(species), seeds, self.species, by_group=self.by_group)
        if not chosen:
            return torch.empty((0, 3, size, size), device=device)
        parameters = [self.paste_parameters(int(seed), row) for seed, row in zip(seeds, chosen, strict=True)]

        animals, masks = to_unit_range(store.pixels[chosen]), to_unit_range(store.masks[chosen])
        backgrounds = [one.background for one in parameters]
        surroundings = remove_animals(animals, masks)
        scene = remove_animals(to_unit_range(store.pixels[backgrounds]), to_unit_range(store.masks[backgrounds]))
        # a linear mix, not a power: vectorised pow rounds differently at the end of a batch, and an image must not depend on its batch
        gains = 1 + self.config.harmonisation * (((mean_colour(scene) + 0.05) / (mean_colour(surroundings) + 0.05)).clamp(0.5, 2) - 1)
        gains = gains * torch.tensor([one.gain for one in parameters], device=device)[:, :, None, None]

        animals = pull_push(animals, _erode(masks, size))  # extend the animal's colours beyond its edge, against a rim of old background
        contrast, brightness = (
            torch.tensor([getattr(one, name) for one in parameters], device=device).view(-1, 1, 1, 1) for name in ("contrast", "brightness")
        )
        centre = mean_colour(animals, masks)
        animals = ((animals - centre) * contrast + centre) * brightness * gains

        warp = torch.from_numpy(np.stack([one.animal_grid(size) for one in parameters])).to(device)
        crop = torch.from_numpy(np.stack([one.background_grid(size) for one in parameters])).to(device)
        animals = functional.grid_sample(animals, warp, mode="bilinear", padding_mode="border", align_corners=False)
        masks = functional.grid_sample(_feather(masks), warp, mode="bilinear", padding_mode="zeros", align_corners=False)
        scene = functional.grid_sample(scene, crop, mode="bilinear", padding_mode="reflection", align_corners=False)
        return (scene + masks * (animals - scene)).clamp(0, 1) * 2 - 1


def remove_animals(pixels: Tensor, masks: Tensor) -> Tensor:
    """Photographs with their animals replaced by interpolated background: float32, shape (N, 3, S, S).

    Args:
        pixels: in [0, 1], shape (N, 3, S, S).
        masks: in [0, 1], shape (N, 1, S, S).
    """
    return pull_push(pixels, 1 - _dilate(masks, pixels.shape[-1]))


def pixel_coordinates(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates x and y of pixel centres, in [-1, 1]: each of shape (size, size)."""
    line = (np.arange(size) + 0.5) * 2 / size - 1
    x, y = np.meshgrid(line, line)
    return x, y


def _bernstein(size: int) -> np.ndarray:
    """Cubic Bernstein polynomials along a side: shape (size, 4)."""
    t = ((np.arange(size) + 0.5) / size)[:, None]
    degree = np.arange(_NODES)
    choose = np.array([math.comb(_NODES - 1, k) for k in degree])
    return choose * t**degree * (1 - t) ** (_NODES - 1 - degree)


def to_unit_range(pixels: Tensor) -> Tensor:
    """uint8 as float32 in [0, 1]."""
    return pixels.to(torch.float32) / 255


def mean_colour(images: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean colour of each image, weighted by ``weights`` if given: shape (N, 3, 1, 1)."""
    if weights is None:
        return images.mean((2, 3), keepdim=True)
    return (images * weights).sum((2, 3), keepdim=True) / weights.sum((2, 3), keepdim=True).clamp(min=1e-6)


def _dilate(masks: Tensor, size: int) -> Tensor:
    """Masks widened by 8 % of the side, so that no rim, fin or shadow of the animal remains in the background."""
    radius = max(1, round(size * 0.08))
    return functional.max_pool2d(masks, 2 * radius + 1, 1, radius)


def _erode(masks: Tensor, size: int) -> Tensor:
    """Masks narrowed by 1.5 % of the side, so that they hold pixels of the animal only."""
    radius = max(1, round(size * 0.015))
    masks = _sharpen_edge(masks)
    narrow = 1 - functional.max_pool2d(1 - masks, 2 * radius + 1, 1, radius)
    # a thin animal would vanish: then its mask is not narrowed
    return torch.where(narrow.amax((2, 3), keepdim=True) > 0.5, narrow, masks)


def _sharpen_edge(masks: Tensor) -> Tensor:
    """The same edge, four times as steep."""
    return ((masks - 0.5) * 4 + 0.5).clamp(0, 1)


def _feather(masks: Tensor) -> Tensor:
    """A sharpened edge with about one pixel of blur (bilinear sampling adds another)."""
    steep = _sharpen_edge(masks)
    return 0.5 * steep + 0.5 * functional.avg_pool2d(steep, 3, 1, 1, count_include_pad=False)

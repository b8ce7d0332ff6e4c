"""Copy-paste augmentation: an animal is cut out of one photograph and pasted onto the background of another.

Base of the families ``collage`` and ``pose_transfer``. Dwibedi, Misra and Hebert 2017, "Cut, paste and learn: surprisingly easy synthesis for
instance detection": real animals on new backgrounds, with blended edges, so that a classifier does not learn the seam. The animal is segmented once,
in ``prepare`` (``segmentation.py``, after GrabCut). For every image the place is emptied of its own animal (``emptying.py``). The animal is moved,
warped, changed in brightness and contrast, and partly adjusted to the light of the place (``light.py``). Its soft edges show its own colours and not
those of its old background (``matting.py``).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from syntype.compute.runtime import Runtime
from syntype.errors import UnsupportedError
from syntype.generators.contract import Batch, GenerativeModel, GeneratorConfig, TrainingData
from syntype.generators.copy_paste.emptying import empty_place
from syntype.generators.copy_paste.image_store import ImageStore
from syntype.generators.copy_paste.light import in_light, measure_light
from syntype.generators.copy_paste.matting import foreground_colours
from syntype.generators.copy_paste.segmentation import Outlines, segment

__all__ = ["CopyPasteModel", "PasteConfig", "PasteParameters", "pixel_coordinates", "random_warp", "shown_at"]

_NODES = 4  # control points of the warp, along each side


class PasteConfig(GeneratorConfig):
    """Settings of both copy-paste families: how much a pasted animal may differ from its photograph."""

    warp: float = Field(0.012, ge=0, le=0.1)
    """Standard deviation of the smooth warp of the animal, as a share of the image's side."""
    lighting: float = Field(0.12, ge=0, lt=1)
    """Largest relative change of the animal's brightness and contrast."""
    harmonisation: float = Field(0.5, ge=0, le=1)
    """How far the animal's colours are adjusted to the light of the new background: 0 not at all, 1 fully. The change is bounded in any case."""


class PasteParameters(ABC):
    """The random parameters of one image; they depend on the seed and on the photographs alone.

    Attributes:
        background: index of the photograph whose background is used.
        contrast, brightness: factors.
        warp_nodes: displacements of the warp's 4x4 control points, shape (4, 4, 2); see ``warped``.
    """

    background: int
    contrast: float
    brightness: float
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
        std: standard deviation as a share of the side; values beyond two standard deviations are clipped. (The image is 2 wide.)
    """
    return 2 * std * np.clip(random.normal(size=(_NODES, _NODES, 2)), -2, 2)


class CopyPasteModel(GenerativeModel):
    """Base class of the copy-paste families. A subclass draws a ``PasteParameters`` for each image.

    ``generator`` is an ``ImageStore``: uint8 photographs, segmentation masks and areas to be emptied, sorted by species.
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

    def segment_animals(self, images: np.ndarray, device: torch.device) -> Outlines:
        """Outlines of the animals in photographs, as ``segment`` returns them (about 10 ms an image)."""
        return segment(images)

    @abstractmethod
    def paste_parameters(self, seed: int, row: int) -> PasteParameters:
        """Random parameters for one image.

        Args:
            seed: of the image.
            row: index of the animal's photograph in the ``ImageStore``.
        """

    def parents(self, species: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, ...]]:
        """See ``KnowsParents``: the animal's photograph and the place's."""
        return [
            tuple(dict.fromkeys(self.generator.image_ids[place] for place in (row, self.paste_parameters(int(seed), row).background)))
            for seed, row in zip(seeds, self._chosen(species, seeds), strict=True)
        ]

    @torch.no_grad()
    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """One image for each (species, seed): float32, shape (N, 3, size, size), in [-1, 1].

        Consecutive seeds cycle through the species' training photographs (with ``by_group``: through its individuals).

        Raises:
            UnknownNameError: a species that is not in the generator's vocabulary.
            UnsupportedError: a species without a training photograph.
        """
        size, device = self.config.size, self.generator.pixels.device
        chosen = self._chosen(species, seeds)
        if not chosen:
            return torch.empty((0, 3, size, size), device=device)
        images = np.stack([self._paste(row, self.paste_parameters(int(seed), row)) for seed, row in zip(seeds, chosen, strict=True)])
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(device) * 2 - 1

    def _chosen(self, species: Sequence[str], seeds: Sequence[int]) -> list[int]:
        return self.generator.choose(self.labels_of(species), seeds, self.species, by_group=self.by_group)

    def _paste(self, row: int, parameters: PasteParameters) -> np.ndarray:
        """One image: float32, shape (size, size, 3), in [0, 1]. Computed one by one, so that an image does not depend on its batch."""
        size = self.config.size
        photograph, alpha, cleared = self.generator.photograph(row)
        ground, _, hole = self.generator.photograph(parameters.background)
        light, there = measure_light(photograph, ~cleared), measure_light(ground, ~hole)

        animal = foreground_colours(photograph, alpha, (max(1, size // 10), max(1, size // 64)))
        centre = (animal * alpha[..., None]).sum((0, 1)) / max(float(alpha.sum()), 1e-6)
        animal = np.clip(((animal - centre) * parameters.contrast + centre) * parameters.brightness, 0, 1).astype(np.float32)
        animal = in_light(animal, alpha, light, there, self.config.harmonisation)

        grid = parameters.animal_grid(size)
        animal = np.clip(shown_at(animal, grid, cv2.BORDER_REPLICATE, cv2.INTER_CUBIC), 0, 1)
        share = shown_at(alpha, grid, cv2.BORDER_CONSTANT)[..., None]
        scene = shown_at(empty_place(ground, hole), parameters.background_grid(size), cv2.BORDER_REFLECT)
        return np.asarray(scene + share * (animal - scene), np.float32)


def shown_at(image: np.ndarray, grid: np.ndarray, border: int, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """An image or mask seen through a grid: float32, shape (H, W) or (H, W, channels) with H and W of the grid.

    Args:
        image: float32, shape (size, size) or (size, size, channels).
        grid: points of the image, shape (H, W, 2), x then y, in [-1, 1] from edge to edge.
        border: what is seen outside the image: one of OpenCV's ``BORDER_`` numbers.
        interpolation: one of OpenCV's ``INTER_`` numbers.
    """
    points = ((grid + 1) * (len(image) / 2) - 0.5).astype(np.float32)
    return np.asarray(cv2.remap(image, points[..., 0], points[..., 1], interpolation, borderMode=border), np.float32)


def pixel_coordinates(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates x and y of pixel centres, in [-1, 1]: each of shape (size, size)."""
    line = (np.arange(size) + 0.5) * 2 / size - 1
    x, y = np.meshgrid(line, line)
    return x, y


@cache
def _bernstein(size: int) -> np.ndarray:
    """Cubic Bernstein polynomials along a side: shape (size, 4)."""
    t = ((np.arange(size) + 0.5) / size)[:, None]
    degree = np.arange(_NODES)
    choose = np.array([math.comb(_NODES - 1, k) for k in degree])
    return choose * t**degree * (1 - t) ** (_NODES - 1 - degree)

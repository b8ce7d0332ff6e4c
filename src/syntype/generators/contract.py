"""The contract of a generator family: one file in this folder, one ``Config``, one ``GenerativeModel``.

A family's file defines exactly one public subclass of ``GenerativeModel``, named as it likes, with its ``Config``.
The file name is the family's name. Nothing else in the project needs to know of it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np
import torch
from pydantic import field_validator
from torch import Tensor, nn

from syntype.compute.ema import warmed_up
from syntype.compute.runtime import Runtime
from syntype.errors import UnknownNameError
from syntype.recipe import Settings

__all__ = [
    "Adapts",
    "Batch",
    "BlendOf",
    "Blends",
    "GenerativeModel",
    "GeneratorConfig",
    "Inpaints",
    "ShowsProcess",
    "TrainingData",
    "UsesRelative",
    "Varies",
    "seeded_normal",
    "slerp",
    "to_tensor",
    "to_uint8",
]

BlendOf = Literal["latent", "species", "both"]
"""What a blend moves: the latent (the individual), the species, or both together."""

PIXELS_TOGETHER = 2**19
"""Pixels that are drawn at a time at most."""


@dataclass(frozen=True)
class TrainingData:
    """What a family may learn from: images of the training split, decoded.

    Attributes:
        images: uint8, shape (N, height, width, 3), RGB.
        labels: int64, shape (N,), positions in ``species``.
        groups: int64, shape (N,); images with the same number show the same individual, track or specimen.
        species: names, in the order of the labels.
    """

    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    species: tuple[str, ...]

    @property
    def counts(self) -> np.ndarray:
        """Number of images a species: int64, shape (len(species),)."""
        return np.bincount(self.labels, minlength=len(self.species))


@dataclass(frozen=True)
class Batch:
    """One step's real images.

    Attributes:
        images_NCHW: float32 in [-1, 1], channels-last in memory.
        labels: int64, shape (N,).
        rows: int64, shape (N,): which of the training images they are.
        step: number of this step, counted from 0.
    """

    images_NCHW: Tensor
    labels: Tensor
    rows: Tensor
    step: int


class GeneratorConfig(Settings):
    """What every family's settings have."""

    size: int = 64
    """Side of the square images, in pixels."""

    @field_validator("size")
    @classmethod
    def check_size(cls, size: int) -> int:
        """Refuse what the family cannot draw."""
        if size & (size - 1):
            raise ValueError(f"size must be a power of two, not {size}")
        return size

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images, in pixels."""
        return self.size, self.size

    @classmethod
    def tiny(cls, size: int = 32) -> Self:
        """The smallest settings that still train: for tests."""
        return cls(size=size)


class GenerativeModel(nn.Module, ABC):
    """A generator family.

    The loop in ``training.py`` builds the model, calls ``prepare`` once, then ``training_step`` for every batch.
    It keeps a moving average of ``generator``'s weights, and that average is what a checkpoint holds and ``sample`` uses.

    Args:
        config: the family's own settings.
        species: vocabulary; labels are positions in it.

    Attributes:
        optimisers: by name; filled by ``prepare``.
    """

    Config: ClassVar[type[GeneratorConfig]]
    learns: ClassVar[bool] = True
    """False for families without a training loop: ``prepare`` does all."""
    digital_source_type: ClassVar[str] = "trainedAlgorithmicMedia"
    """How the images came about, a term of IPTC's Digital Source Type vocabulary."""

    Controls: ClassVar[type[Settings]] = Settings
    """Further keyword arguments of ``sample`` and of the abilities, with their defaults; the base class has none. ``Generator`` checks them."""

    quick_controls: ClassVar[dict[str, Any]] = {}
    """Controls with which ``inpaint``, if the family has it, is quick enough to be measured now and then while training."""

    generator: nn.Module
    """Everything that ``sample`` and the abilities need, and nothing else."""

    def __init__(self, config: GeneratorConfig, species: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.species = tuple(species)
        self._position = {name: position for position, name in enumerate(self.species)}
        self.optimisers: dict[str, torch.optim.Optimizer] = {}

    @property
    def drawn_together(self) -> int:
        """Images that it draws at a time at most, so that memory stays bounded."""
        return max(1, min(32, PIXELS_TOGETHER // math.prod(self.config.shape)))

    @property
    def is_conditional(self) -> bool:
        """Whether species are told apart. If not, an image shows any of them, whatever name it was asked for by."""
        return True

    @abstractmethod
    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Get ready to train: optimisers, statistics of the training data. Called before a state is restored."""

    @abstractmethod
    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """One step: losses, backward passes and optimiser steps. Returns scalars for the progress log.

        Randomness comes from torch's global generator, which the loop seeds from (seed, step): a step is a pure
        function of the weights, the optimiser state and the step's number. What is drawn for each image comes from ``torch.rand`` or
        ``torch.randn`` with the batch as first dimension; so several processes, each with its share, draw as one with all of it.
        """

    @abstractmethod
    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Draw one image for each (species, seed) pair.

        One seed, one image: the same species, seed and controls give the same image whatever else is in the call.

        Args:
            controls: the fields of ``Controls``, all of them.

        Returns:
            float32, shape (N, 3, size, size), in [-1, 1].

        Raises:
            UnknownNameError: a species that the generator does not know.
        """

    def average_decay(self, step: int, limit: float | None) -> float:
        """Decay with which the moving average takes in the weights after ``step``: a limit that is reached after a warm-up.

        Args:
            limit: what the user asked for; None leaves it to the family.
        """
        return warmed_up(step, 0.999 if limit is None else limit)

    def labels_of(self, species: Sequence[str]) -> Tensor:
        """Positions of the named species: int64, shape (N,)."""
        for name in species:
            if name not in self._position:
                raise UnknownNameError("species of this generator", name, self.species)
        return torch.tensor([self._position[name] for name in species], dtype=torch.int64)

    def training_state(self) -> dict[str, Any]:
        """What an exact resume needs besides ``state_dict()``, as tensors and plain values.

        The state of the ``optimisers``; a family that needs more gives more.
        """
        return {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Restore what ``training_state`` gave."""
        for name, saved in state.items():
            self.optimisers[name].load_state_dict(saved)


@runtime_checkable
class Blends(Protocol):
    """A family that draws what lies between two images."""

    def blend(
        self, species: Sequence[tuple[str, str]], seeds: Sequence[tuple[int, int]], amounts: Sequence[float], of: BlendOf, **controls: Any
    ) -> Tensor:
        """Draw one image for each pair of (species, seed): float32, shape (N, 3, size, size), in [-1, 1].

        Args:
            amounts: 0 draws the first of the pair as ``sample`` does, 1 the second; in [0, 1].
            of: ``latent`` keeps the first's species, ``species`` keeps the first's latent, ``both`` moves both.
        """


@runtime_checkable
class Varies(Protocol):
    """A family that starts from a photograph."""

    def vary(self, images_NCHW: Tensor, species: Sequence[str], seeds: Sequence[int], strength: float, **controls: Any) -> Tensor:
        """Draw one variation of each photograph, as the species named: float32, shape (N, 3, size, size), in [-1, 1].

        One photograph, species, seed and strength give one image whatever else is in the call.

        Args:
            images_NCHW: photographs, shape (N, 3, size, size), in [-1, 1].
            strength: 0 draws the photograph again as nearly as the family can, 1 owes it nothing but what the family says; in [0, 1].
        """


@runtime_checkable
class Inpaints(Protocol):
    """A family that fills in a part of a photograph."""

    def inpaint(self, images_NCHW: Tensor, masks_N1HW: Tensor, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Draw what is masked, to go with the rest: float32, shape (N, 3, size, size), in [-1, 1]; what is not masked comes back unchanged.

        Args:
            images_NCHW: photographs, shape (N, 3, size, size), in [-1, 1]; what lies under the mask is not looked at.
            masks_N1HW: bool, shape (N, 1, size, size), true where to draw.
        """


@runtime_checkable
class ShowsProcess(Protocol):
    """A family that makes images step by step, of which a picture can be drawn."""

    def process_strip(self, images_NCHW: Tensor, species: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """Two rows for each photograph: it dissolves into noise, and noise becomes an image of its species.

        Args:
            images_NCHW: photographs, shape (N, 3, height, width), in [-1, 1].

        Returns:
            uint8, shape (2 * N * height, stages * width, 3).
        """


@runtime_checkable
class Adapts(Protocol):
    """A family whose trained generator can learn one more species from a few photographs."""

    def add_species(self, name: str, relative: str | None) -> None:
        """Add a species at the end of the vocabulary, before ``prepare``.

        What ``generator`` holds for each species (its embedding) gains one row, a copy of ``relative``'s or the mean of all.
        """

    def restore_critic(self, state: dict[str, Tensor], relative: str | None) -> None:
        """After ``prepare``: take over from a training state of the base (``state_dict()`` of the model before the species was
        added) what judged its images, with the new species starting as ``relative``."""

    def scale_rates(self, factor: float) -> None:
        """After ``prepare``: multiply all learning rates."""

    def adaptable_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters that a few-shot adapter may change, by their name in ``generator.state_dict()``."""

    def lower_critic(self) -> list[nn.Parameter]:
        """After ``prepare``: the trained layers of the discriminators that lie nearest to the image, which may be frozen."""

    def draw(self, species: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """What ``sample`` draws, differentiable in the parameters of ``generator``; not clamped, and on the generator's device."""

    def log_likelihood(self, images_NCHW: Tensor, species: Sequence[str]) -> Tensor:
        """After ``restore_critic``: how real the discriminators find these images, shape (N,), at most 0; differentiable in them.

        N is even, and images 2i and 2i + 1 are of one species, as in training: discriminators may compare the images of a batch.
        """


@runtime_checkable
class UsesRelative(Protocol):
    """A family that can show a new species in what its relative's photographs hold besides the species: poses, places, light."""

    def use_relative(self, share: float) -> None:
        """After ``prepare``, in adaptation: draw this share of the training's images, in [0, 1], from what the relative lends."""


ABILITIES: dict[str, type] = {"adapt": Adapts, "blend": Blends, "vary": Varies, "inpaint": Inpaints}
"""What a family may be able to do besides sampling, by the name of the command that does it."""


def seeded_normal(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Standard normal numbers, one independent draw a seed: float32, shape (len(seeds), *shape), on the CPU."""
    rows = []
    for seed in seeds:
        source = torch.Generator().manual_seed(int(seed))
        rows.append(torch.randn(tuple(shape), generator=source))
    return torch.stack(rows) if rows else torch.empty((0, *shape))


def slerp(first: Tensor, second: Tensor, amounts: Tensor) -> Tensor:
    """Spherical interpolation of the rows of two tensors, shape (N, ...), float32; exactly ``first`` at 0 and ``second`` at 1.

    Shoemake 1985, "Animating Rotation with Quaternion Curves", section 3.3, between the directions; lengths are interpolated
    linearly. A straight line between two normal draws of many dimensions passes points shorter than any draw; the great circle does not.

    Args:
        amounts: shape (N,), in [0, 1].
    """
    a, b = first.flatten(1), second.flatten(1)
    t = amounts.to(a)[:, None]
    length_a, length_b = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    cosine = ((a * b).sum(1, keepdim=True) / (length_a * length_b).clamp(min=1e-12)).clamp(-1, 1)
    angle = torch.arccos(cosine)
    sine = torch.sin(angle)
    straight = sine < 1e-4  # the same direction or opposite ones: no great circle, or every one
    safe = torch.where(straight, torch.ones_like(sine), sine)
    weight_a = torch.where(straight, 1 - t, torch.sin((1 - t) * angle) / safe)
    weight_b = torch.where(straight, t, torch.sin(t * angle) / safe)
    unit = weight_a * a / length_a.clamp(min=1e-12) + weight_b * b / length_b.clamp(min=1e-12)
    mixed = unit * ((1 - t) * length_a + t * length_b)
    mixed = torch.where(t == 0, a, torch.where(t == 1, b, mixed))
    return mixed.view_as(first)


def to_tensor(images: np.ndarray) -> Tensor:
    """uint8 NHWC -> float32 NCHW in [-1, 1], channels-last in memory (no copy of the layout)."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    return tensor.to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images_NCHW: Tensor) -> np.ndarray:
    """[-1, 1] NCHW -> uint8 NHWC, rounded to the nearest level."""
    return images_NCHW.detach().float().clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()

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

from syntype.compute.ema import warmup_decay
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
]

BlendOf = Literal["latent", "species", "both"]
"""What a blend moves: the latent (the individual), the species, or both together."""

MAX_PIXELS_PER_BATCH = 2**19
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
        indices: int64, shape (N,): which of the training images they are.
        step: number of this step, counted from 0.
    """

    images_NCHW: Tensor
    labels: Tensor
    indices: Tensor
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

    validation_controls: ClassVar[dict[str, Any]] = {}
    """Controls with which ``inpaint``, if the family has it, is quick enough to be measured now and then while training."""

    generator: nn.Module
    """Everything that ``sample`` and the abilities need, and nothing else."""

    def __init__(self, config: GeneratorConfig, species: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.species = tuple(species)
        self._label_of = {name: position for position, name in enumerate(self.species)}
        self.optimisers: dict[str, torch.optim.Optimizer] = {}

    @property
    def sampling_batch_size(self) -> int:
        """Images that it draws at a time at most, so that memory stays bounded."""
        return max(1, min(32, MAX_PIXELS_PER_BATCH // math.prod(self.config.shape)))

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

    def ema_decay(self, step: int, limit: float | None) -> float:
        """Decay with which the moving average takes in the weights after ``step``: a limit that is reached after a warm-up.

        Args:
            limit: what the user asked for; None leaves it to the family.
        """
        return warmup_decay(step, 0.999 if limit is None else limit)

    def labels_of(self, species: Sequence[str]) -> Tensor:
        """Positions of the named species: int64, shape (N,)."""
        for name in species:
            if name not in self._label_of:
                raise UnknownNameError("species of this generator", name, self.species)
        return torch.tensor([self._label_of[name] for name in species], dtype=torch.int64)

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

    def restore_discriminator(self, state: dict[str, Tensor], relative: str | None) -> None:
        """After ``prepare``: take over from a training state of the base (``state_dict()`` of the model before the species was
        added) what judged its images, with the new species starting as ``relative``."""

    def scale_learning_rates(self, factor: float) -> None:
        """After ``prepare``: multiply all learning rates."""

    def adaptable_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters that a few-shot adapter may change, by their name in ``generator.state_dict()``."""

    def lower_discriminator_parameters(self) -> list[nn.Parameter]:
        """After ``prepare``: the trained layers of the discriminators that lie nearest to the image, which may be frozen."""

    def generate(self, species: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """What ``sample`` draws, differentiable in the parameters of ``generator``; not clamped, and on the generator's device."""

    def log_likelihood(self, images_NCHW: Tensor, species: Sequence[str]) -> Tensor:
        """After ``restore_discriminator``: how real the discriminators find these images, shape (N,), at most 0; differentiable in them.

        N is even, and images 2i and 2i + 1 are of one species, as in training: discriminators may compare the images of a batch.
        """


@runtime_checkable
class UsesRelative(Protocol):
    """A family that can show a new species in the poses, places and light of its nearest relative's photographs."""

    def use_relative(self, share: float) -> None:
        """After ``prepare``, in adaptation: draw this share of the training's images, in [0, 1], with the relative's poses, places and light."""


ABILITIES: dict[str, type] = {"adapt": Adapts, "blend": Blends, "vary": Varies, "inpaint": Inpaints}
"""What a family may be able to do besides sampling, by the name of the command that does it."""

"""The contract of a generator family: settings (``Config``), a model (``GenerativeModel``), and optional abilities (protocols).

A family's file in ``families/`` defines exactly one public subclass of ``GenerativeModel``, of any name, with its ``Config``. The file's name is the
family's name. Nothing else has to be registered.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from syntype.compute.ema import warmup_decay
from syntype.compute.runtime import Runtime
from syntype.errors import UnknownNameError
from syntype.recipe import Settings

__all__ = [
    "Adapts",
    "AdaptsAdversarially",
    "Batch",
    "BlendOf",
    "Blends",
    "DescribesSpecies",
    "Encodes",
    "GenerativeModel",
    "GeneratorConfig",
    "Inpaints",
    "KnowsParents",
    "OblongConfig",
    "Plans",
    "ShowsProcess",
    "TrainingData",
    "UsesRelative",
    "Varies",
]

BlendOf = Literal["latent", "species", "both"]
"""What a blend interpolates: the latent (the individual), the species, or both."""

MAX_PIXELS_PER_BATCH = 2**19
"""Pixels, at most, that are generated at a time."""


@dataclass(frozen=True)
class TrainingData:
    """Decoded images of the training split.

    Attributes:
        images: uint8, shape (N, height, width, 3), RGB.
        labels: int64, shape (N,), indices into ``species``.
        groups: int64, shape (N,); images with the same number show the same individual, track or specimen.
        species: names, in the order of the labels.
        taxa: genus, family and order of the species, as far as the collection says; as from ``collection.relatives.taxa_of``.
        image_ids: of the images; empty where nobody needs to know.
        captions: what else each image shows, in words; None where nobody said. Empty if there are none.
        common_names: of the species, as far as the collection says.
    """

    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    species: tuple[str, ...]
    taxa: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    image_ids: tuple[str, ...] = ()
    captions: tuple[str | None, ...] = ()
    common_names: Mapping[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> np.ndarray:
        """Number of images of each species: int64, shape (len(species),)."""
        return np.bincount(self.labels, minlength=len(self.species))


@dataclass(frozen=True)
class Batch:
    """The photographs of one training step.

    Attributes:
        images_NCHW: float32 in [-1, 1], in channels-last memory format.
        labels: int64, shape (N,).
        indices: int64, shape (N,), into the training images.
        step: number of this step, from 0.
    """

    images_NCHW: Tensor
    labels: Tensor
    indices: Tensor
    step: int


class GeneratorConfig(Settings):
    """Settings common to all families."""

    size: int = 64
    """Side of the square images, in pixels."""

    @field_validator("size")
    @classmethod
    def check_size(cls, size: int) -> int:
        """Refuse sizes that the family cannot generate."""
        if size & (size - 1):
            raise ValueError(f"size must be a power of two, not {size}")
        return size

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images, in pixels."""
        return self.size, self.size

    @classmethod
    def tiny(cls, size: int = 32) -> Self:
        """The smallest settings that can be trained, for tests."""
        return cls(size=size)


class OblongConfig(GeneratorConfig):
    """Settings common to families whose images need not be square, nor have a power of two as their side."""

    image_width: int | None = Field(None, ge=16, le=2048)
    """Width of the images in pixels, if they are not square; ``size`` is then their height."""

    @field_validator("size")
    @classmethod
    def check_size(cls, size: int) -> int:
        """Accept any size: the divisor depends on the autoencoder, and is checked when the model is built."""
        return size

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images, in pixels."""
        return self.size, self.image_width or self.size


class GenerativeModel(nn.Module, ABC):
    """Base class of the generator families.

    The training loop (``engine/training.py``) builds the model, calls ``prepare`` once, then ``training_step`` for every batch. It keeps a moving
    average of the weights of ``generator``. Checkpoints contain this average, and ``sample`` is called with it.

    Args:
        config: the family's settings.
        species: vocabulary; labels are indices into it.

    Attributes:
        optimisers: by name; filled by ``prepare``.
        remarks: sentences on what ``prepare`` decided, which ``train`` tells the user.
        licences: of pre-trained weights that others made; the generator has them besides those of its photographs.
        built_on: the pre-trained model with these weights, for the record, as from ``pretrained.bases.Base.record``; None without one.
    """

    Config: ClassVar[type[GeneratorConfig]]
    learns: ClassVar[bool] = True
    """False for families without training steps: ``prepare`` does everything."""
    digital_source_type: ClassVar[str] = "trainedAlgorithmicMedia"
    """Origin of the images, a term of IPTC's Digital Source Type vocabulary."""

    Controls: ClassVar[type[Settings]] = Settings
    """Further keyword arguments of ``sample`` and of the abilities, with their defaults; none in the base class. ``Generator`` checks them."""

    validation_controls: ClassVar[dict[str, Any]] = {}
    """Controls for ``inpaint`` in the validation during training, which has to be quick."""

    generator: nn.Module
    """All parameters and buffers that ``sample`` and the abilities need, and nothing else."""

    def __init__(self, config: GeneratorConfig, species: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.species = tuple(species)
        self._label_of = {name: position for position, name in enumerate(self.species)}
        self.optimisers: dict[str, torch.optim.Optimizer] = {}
        self.remarks: tuple[str, ...] = ()
        self.licences: tuple[str, ...] = ()
        self.built_on: dict[str, Any] | None = None

    @property
    def sampling_batch_size(self) -> int:
        """Images, at most, that are generated at a time, to limit memory."""
        return max(1, min(32, MAX_PIXELS_PER_BATCH // math.prod(self.config.shape)))

    @property
    def is_conditional(self) -> bool:
        """Whether images can be generated by species. If not, an image shows any of the species, whatever name is given."""
        return True

    @property
    def trained_with(self) -> str | None:
        """Name of the frozen encoder that its training uses, which must not judge or choose its images (``encoders/duties.py``); None without one."""
        return None

    @abstractmethod
    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Prepare training: optimisers, statistics of the training data. Called before a training state is restored."""

    @abstractmethod
    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """One training step: losses, backward passes and optimiser steps.

        Random numbers come from torch's global generator, which the loop seeds from (seed, step), so that a step is a function of the weights, the
        optimiser state and the step's number. Random numbers for single images must come from ``torch.rand`` or ``torch.randn`` with the batch as
        first dimension; then several processes compute the same as one.

        Returns:
            scalars for the progress log. ``skipped`` is 1 if an optimiser step was skipped.
        """

    @abstractmethod
    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Generate one image for each (species, seed) pair.

        The same species, seed and controls give the same image whatever else is in the call.

        Args:
            controls: all fields of ``Controls``.

        Returns:
            float32, shape (N, 3, height, width), in [-1, 1].

        Raises:
            UnknownNameError: a species that is not in the vocabulary.
        """

    def in_chunks(self, generate: Callable[[list[int]], Tensor], number: int) -> Tensor:
        """Images of ``number`` rows, on the CPU, generated at most ``sampling_batch_size`` at a time to limit memory.

        Args:
            generate: numbers of rows -> their images.
        """
        self.eval()
        rows, chunk = list(range(number)), self.sampling_batch_size
        parts = [generate(rows[start : start + chunk]).float().cpu() for start in range(0, number, chunk)]
        return torch.cat(parts) if parts else torch.empty(0, 3, *self.config.shape)

    def ema_decay(self, step: int, limit: float | None) -> float:
        """Decay of the moving average after ``step``: by default a limit that is reached after a warm-up.

        Args:
            limit: set by the user; None leaves it to the family.
        """
        return warmup_decay(step, 0.999 if limit is None else limit)

    def labels_of(self, species: Sequence[str]) -> Tensor:
        """Labels of the named species: int64, shape (N,).

        Raises:
            UnknownNameError: a species that is not in the vocabulary.
        """
        for name in species:
            if name not in self._label_of:
                raise UnknownNameError("species of this generator", name, self.species)
        return torch.tensor([self._label_of[name] for name in species], dtype=torch.int64)

    def training_state(self) -> dict[str, Any]:
        """What an exact resume needs besides ``state_dict()``, as tensors and plain values: the state of the ``optimisers``, unless a family adds
        more."""
        return {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Restore what ``training_state`` returned."""
        for name, saved in state.items():
            self.optimisers[name].load_state_dict(saved)


@runtime_checkable
class Blends(Protocol):
    """A family that interpolates between two images."""

    def blend(
        self, species: Sequence[tuple[str, str]], seeds: Sequence[tuple[int, int]], amounts: Sequence[float], of: BlendOf, **controls: Any
    ) -> Tensor:
        """Generate one interpolated image for each pair of (species, seed): float32, shape (N, 3, height, width), in [-1, 1].

        Args:
            amounts: position between the two, in [0, 1]; 0 gives the first as ``sample`` does, 1 the second.
            of: ``latent`` keeps the first's species, ``species`` keeps the first's latent, ``both`` interpolates both.

        A family that can interpolate species and latent by different amounts has one argument more, ``individuals: Sequence[float] | None = None``:
        with ``both``, the positions between the two latents, in [0, 1], while ``amounts`` are those between the species.
        """


@runtime_checkable
class Varies(Protocol):
    """A family that generates variations of a photograph."""

    def vary(self, images_NCHW: Tensor, species: Sequence[str], seeds: Sequence[int], strength: float, **controls: Any) -> Tensor:
        """Generate one variation of each photograph, as the species named: float32, shape (N, 3, height, width), in [-1, 1].

        The same photograph, species, seed and strength give the same image whatever else is in the call.

        Args:
            images_NCHW: photographs, shape (N, 3, height, width), in [-1, 1].
            strength: from 0, a reconstruction of the photograph, to 1, least similar to it.
        """


@runtime_checkable
class Inpaints(Protocol):
    """A family that fills in a masked part of a photograph."""

    def inpaint(self, images_NCHW: Tensor, masks_N1HW: Tensor, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Inpaint photographs: float32, shape (N, 3, height, width), in [-1, 1]; pixels outside the mask are returned unchanged.

        Args:
            images_NCHW: photographs, shape (N, 3, height, width), in [-1, 1]; pixels under the mask are ignored.
            masks_N1HW: bool, shape (N, 1, height, width), true where to inpaint.
        """


@runtime_checkable
class ShowsProcess(Protocol):
    """A family that generates images step by step and can show the steps."""

    def process_strip(self, images_NCHW: Tensor, species: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """Two rows for each photograph: noise is added to it step by step, and noise is denoised to an image of its species.

        Args:
            images_NCHW: photographs, shape (N, 3, height, width), in [-1, 1].

        Returns:
            uint8, shape (2 * N * height, stages * width, 3).
        """


@runtime_checkable
class Adapts(Protocol):
    """A family whose trained generator can be adapted to a new species with few photographs."""

    def add_species(self, name: str, relative: str | None) -> None:
        """Add a species at the end of the vocabulary, before ``prepare``.

        Tensors of ``generator`` with one row a species (the embedding) get one more row, a copy of the relative's or the mean of all. A family may
        also add tensors to ``generator``, with values that leave the images of all other species as they are.
        """

    def scale_learning_rates(self, factor: float) -> None:
        """Multiply all learning rates, after ``prepare``."""

    def adaptable_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters that a few-shot adapter may change, by their name in ``generator.state_dict()``."""


@runtime_checkable
class AdaptsAdversarially(Adapts, Protocol):
    """A family that is adapted against its discriminators: all methods of adaptation can be used, not only ``finetune``."""

    def restore_discriminator(self, state: dict[str, Tensor], relative: str | None) -> None:
        """Load the trained discriminators, after ``prepare``.

        Args:
            state: ``state_dict()`` of the base generator's model, from before the species was added.
            relative: the new species starts with the relative's rows; None uses the mean of all.
        """

    def lower_discriminator_parameters(self) -> list[nn.Parameter]:
        """Parameters of the discriminators' layers nearest to the image, which adaptation may freeze; after ``prepare``."""

    def generate(self, species: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """The images of ``sample``, differentiable in the parameters of ``generator``; not clamped, and on the generator's device."""

    def log_likelihood(self, images_NCHW: Tensor, species: Sequence[str]) -> Tensor:
        """Log-probability of "real" according to the discriminators, shape (N,), at most 0; differentiable in the images. After
        ``restore_discriminator``.

        N is even, and images 2i and 2i + 1 are of one species, as in training, since discriminators may compare the two.
        """


@runtime_checkable
class DescribesSpecies(Protocol):
    """A family that can be adapted and needs more than weights to generate the new species, such as its names."""

    def describe_species(self, data: TrainingData) -> None:
        """Take over what a collection says of the species of its photographs; ``prepare`` does it too."""

    def description_of(self, species: str) -> dict[str, str]:
        """What ``generator.json`` remembers of a species to which the generator was adapted; after ``prepare`` or ``describe_species``."""

    def restore_description(self, species: str, description: Mapping[str, str]) -> None:
        """Take over what ``description_of`` returned, after ``add_species``."""


@runtime_checkable
class Plans(Protocol):
    """A family that can tell what training needs before anything is downloaded or built, for ``syntype train --dry-run``."""

    @classmethod
    def plan(cls, config: Any, batch_size: int) -> dict[str, Any]:
        """Names and values to print, such as the pre-trained model, its licence, and the memory that training needs.

        Args:
            config: the family's settings.
            batch_size: photographs in each training step.
        """


@runtime_checkable
class Encodes(Protocol):
    """A family that can add a species without training: what its generator needs to know of the species is computed from photographs."""

    def encode_species(self, images_NCHW: Tensor) -> tuple[str, dict[str, Tensor]]:
        """Compute what distinguishes a species from its photographs; the generator does not change.

        Args:
            images_NCHW: at least one photograph of the species, shape (N, 3, height, width), in [-1, 1].

        Returns:
            the known species that is most similar to it, and the rows that ``restore_species`` adds.

        Raises:
            UnsupportedError: the generator lacks what encodes photographs.
        """

    def restore_species(self, name: str, rows: Mapping[str, Tensor], changed: Collection[str]) -> None:
        """Add a species whose rows were computed or learnt before.

        Args:
            name: of the species.
            rows: by the name of a tensor of ``generator.state_dict()``, the rows that the species added to it.
            changed: names of the other tensors that the species has changed.
        """


@runtime_checkable
class KnowsParents(Protocol):
    """A family whose images show parts of photographs, and that knows of which."""

    def parents(self, species: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, ...]]:
        """For each (species, seed) the image_ids of the training photographs of which ``sample`` shows parts, that of the animal first."""


@runtime_checkable
class UsesRelative(Protocol):
    """A family that can generate a new species in the poses, places and light of its nearest relative's photographs."""

    def use_relative(self, share: float) -> None:
        """Set the share of images, in [0, 1], that are generated with the relative's poses, places and light in adaptation. After ``prepare``."""


ABILITIES: dict[str, type] = {"adapt": Adapts, "blend": Blends, "vary": Varies, "inpaint": Inpaints}
"""Abilities besides sampling, by the name of the command that uses them."""

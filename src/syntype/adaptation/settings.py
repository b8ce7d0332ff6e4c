"""Settings of few-shot adaptation: to one species, and to many."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from syntype.compute.runtime import Precision
from syntype.recipe import Seed, Settings

__all__ = ["AdaptConfig", "AdaptManyConfig"]


class _AdaptSettings(Settings):
    """What both kinds of adaptation have in common."""

    method: str | None = None
    """One of ``METHODS``. If left out, ``finetune`` for families without discriminators, and ``modulate`` for the others: in a benchmark with six
    species it kept the variety of the images, was closest to the photographs (KID), and took 40 kB per species (docs/benchmarks/adaptation.md).
    ``encode`` trains nothing: of the settings below, only ``shots`` and ``seed`` apply to it."""
    ewc_weight: float = Field(1.0, gt=0)
    """Weight of the EWC penalty (method ``ewc``). The Fisher information is scaled to mean 1."""
    relative_share: float | None = Field(None, ge=0, le=1)
    """Fraction of the training images that show the new species in the poses, places and light of the most similar known species. Default: 0.5 for
    families that support it, otherwise 0."""
    shots: int = Field(6, ge=1)
    """Number of photographs to learn from."""
    steps: int = Field(300, ge=1)
    """Number of training steps."""
    batch_size: int = Field(8, ge=2)
    """Images per step."""
    learning_rate_factor: float = Field(1.0, gt=0)
    """Factor on the learning rates of the base generator's training."""
    ema: float = Field(0.99, ge=0, lt=1)
    """Decay of the exponential moving average of the weights."""
    seed: Seed = 0
    """Seed of the choice of photographs and of the training."""
    precision: Precision = "auto"
    """``fp32``, ``bf16`` or ``auto``."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""

    may_change: ClassVar[frozenset[str]] = frozenset({"precision", "device", "steps"})

    @property
    def training_steps(self) -> int:
        """Number of training steps of the method: ``steps``, or 0 if it trains nothing."""
        return 0 if self.method == "encode" else self.steps


class AdaptConfig(_AdaptSettings):
    """Settings of ``adapt``."""

    species: str
    """Species to learn."""


class AdaptManyConfig(_AdaptSettings):
    """Settings of ``adapt_many``. Each species is learnt as ``adapt`` would learn it with the same settings."""

    species: tuple[str, ...] = ()
    """Species to learn; empty for all of which the collection has training photographs and which the generator does not know."""
    species_per_task: int = Field(32, ge=1, le=10_000)
    """Species that one job learns, one after another, with the base loaded once. Their adapters become one file."""

    may_change: ClassVar[frozenset[str]] = frozenset({"precision", "device", "species", "species_per_task"})

"""Settings of a study."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from syntype.curation import CurateConfig
from syntype.identification import ClassifierConfig
from syntype.recipe import Settings

__all__ = ["StudyConfig"]


class StudyConfig(Settings):
    """Settings of a study. Everything that could sway the verdict is fixed here before a test image is read."""

    generator: str = "projected"
    """Folder of a trained generator, or the name of a family to train on this collection's training images."""
    synthetic: str | None = None
    """Folder of a ready synthetic collection, from anywhere, to be judged in place of a generator's images."""
    minutes: float = Field(20.0, gt=0)
    """Time for each training of the generator, when a family is named."""
    generator_seeds: int = Field(1, ge=1)
    """How many times the family is trained. With 1, the luck of that training is not part of the interval, and the report says so."""
    seeds: int = Field(5, ge=1)
    """Paired repetitions: each with its own classifier seed and fresh synthetic images."""
    fill_to: int = Field(60, ge=1)
    """Species with fewer real training images are filled up to this number with synthetic ones; the others get none."""
    ratios: tuple[Annotated[float, Field(gt=0, le=100)], ...] = ()
    """Synthetic images for each real one of those species, to choose from on the validation photographs, before the test photographs are
    read. Empty: the species are filled up to ``fill_to``."""
    size: int = Field(64, ge=8)
    """Side of the images, in pixels."""
    classifier: ClassifierConfig = ClassifierConfig()
    """Of every arm; ``size``, ``device`` and ``seed`` are set by the study."""
    curate: CurateConfig = CurateConfig()
    """How synthetic images are curated; a ready synthetic collection that carries verdicts keeps them."""
    arms: tuple[str, ...] | None = None
    """Names of the arms; by default all that make sense."""
    worthwhile: float = Field(0.01, ge=0, lt=1)
    """Smallest gain in macro recall worth having (0.01 is one percentage point)."""
    head_tolerance: float = Field(0.02, ge=0, lt=1)
    """Largest loss of macro recall on the other species that is put up with."""
    head_above: int = Field(100, ge=0)
    """The other species: those with more real training images than this, and those without synthetic images."""
    draws: int = Field(4000, ge=100)
    """Bootstrap replicates."""
    seed: int = Field(0, ge=0)
    device: str = "auto"
    processes: int = Field(1, ge=1)
    """Arms that are trained at a time, each in a process with its share of the cores. Figures stay the same but for rounding. A script that
    asks for more than one needs ``if __name__ == "__main__":`` around what it does."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.synthetic is not None and self.model_fields_set & {"generator", "minutes", "generator_seeds"}:
            raise ValueError("give either a generator (or family) or a ready synthetic collection, not both")
        return self

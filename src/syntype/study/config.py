"""Settings of a study."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from syntype.curation import CurateConfig
from syntype.identification import ClassifierConfig
from syntype.recipe import Settings

__all__ = ["StudyConfig"]


class StudyConfig(Settings):
    """Settings of a study. Everything that can change the verdict is fixed here, before a test photograph is read."""

    generator: str = "projected"
    """Folder of a trained generator, or the name of a family to train on this collection's training images."""
    synthetic: str | None = None
    """Folder of an existing synthetic collection, made by any software, to be studied instead of a generator's images."""
    minutes: float = Field(30.0, gt=0)
    """Time for each training of the generator, when a family is named."""
    generator_seeds: int = Field(1, ge=1)
    """How many times the family is trained. With 1, the interval leaves out the variation between trainings, and the report says so."""
    seeds: int = Field(5, ge=1)
    """Paired repetitions: each with its own classifier seed and fresh synthetic images."""
    fill_to: int = Field(60, ge=1)
    """Species with fewer real training images are filled up to this number with synthetic ones; the others get none."""
    ratios: tuple[Annotated[float, Field(gt=0, le=100)], ...] = ()
    """Numbers of synthetic images for each real one of those species, of which the best is chosen on the validation photographs, before
    the test photographs are read. Empty: the species are filled up to ``fill_to``."""
    size: int = Field(64, ge=8)
    """Side of the images, in pixels."""
    classifier: ClassifierConfig = ClassifierConfig()
    """Settings of the classifier, the same in every arm; ``size``, ``device`` and ``seed`` are set by the study."""
    curate: CurateConfig = CurateConfig()
    """How synthetic images are curated; an existing synthetic collection that carries verdicts keeps them."""
    arms: tuple[str, ...] | None = None
    """Names of the arms; by default all that apply to the collection and the generator."""
    minimum_effect: float = Field(0.01, ge=0, lt=1)
    """Smallest gain in macro recall that matters to you (0.01 is one percentage point). Where even the upper end of the interval is below
    it, the verdict is ``do not add``."""
    max_head_loss: float = Field(0.02, ge=0, lt=1)
    """Largest accepted loss of macro recall on the other species. A larger one, beyond chance, makes the verdict ``do not add``."""
    head_above: int = Field(100, ge=0)
    """The other species: those with more real training images than this, and those without synthetic images."""
    num_bootstrap: int = Field(4000, ge=100)
    """Number of bootstrap samples behind each interval."""
    seed: int = Field(0, ge=0)
    device: str = "auto"
    processes: int = Field(1, ge=1)
    """Arms that are trained at the same time, each in a process with its share of the cores. Figures stay the same but for rounding. A
    script that asks for more than one needs ``if __name__ == "__main__":`` around what it does."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.synthetic is not None and self.model_fields_set & {"generator", "minutes", "generator_seeds"}:
            raise ValueError("give either a generator (or family) or an existing synthetic collection, not both")
        return self

    def seed_of(self, repetition: int) -> int:
        """The seed of all random numbers of a repetition (0..seeds-1)."""
        return self.seed * 1000 + repetition

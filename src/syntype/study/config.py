"""Settings of a study."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from syntype.curation import CurateConfig
from syntype.identification import ClassifierConfig
from syntype.recipe import Seed, Settings

__all__ = ["StudyConfig"]


class StudyConfig(Settings):
    """Settings of a study. All settings that can change the verdict are fixed before a test photograph is read."""

    generator: str = "projected"
    """Folder of a trained generator, or the name of a family to train on this collection's training images."""
    synthetic: str | None = None
    """Folder of an existing synthetic collection, made with any software. It is studied instead of images of ``generator``."""
    minutes: float = Field(30.0, gt=0)
    """Minutes for each training of the generator, if ``generator`` is the name of a family."""
    generator_seeds: int = Field(1, ge=1)
    """How many times the family is trained. With 1, the interval leaves out the variation between trainings, and the report says so."""
    seeds: int = Field(5, ge=1)
    """Number of repetitions. Each has its own classifier seed, the same in all arms, and new synthetic images."""
    draws: int = Field(1, ge=1)
    """Number of draws of the few training photographs of the rare species, over which the repetitions are divided; best as many as ``seeds``.
    With 1, all photographs are used in every repetition. With more, a draw is a bootstrap sample of each rare species' individuals, tracks or
    specimens: of six about four are used, some twice, in all arms alike, and the family is trained anew on each draw. Not with a generator or
    synthetic images that exist already, which were made from all photographs."""
    fill_to: int = Field(60, ge=1)
    """Species with fewer real training images than this get synthetic images up to this number. The other species get none."""
    ratios: tuple[Annotated[float, Field(gt=0, le=100)], ...] = ()
    """Numbers of synthetic images per real training image to try for these species. The best is chosen on the validation photographs, before
    the test photographs are read. Empty: the species are filled up to ``fill_to``."""
    size: int = Field(64, ge=8)
    """Side of the images, in pixels."""
    classifier: ClassifierConfig = ClassifierConfig()
    """Settings of the classifier, the same in every arm; ``size``, ``device`` and ``seed`` are set by the study."""
    curate: CurateConfig = CurateConfig()
    """Settings of curation. An existing synthetic collection that was already curated against these photographs is not curated again."""
    arms: tuple[str, ...] | None = None
    """Names of the arms. Default: all that can be used with the collection and the generator."""
    minimum_effect: float = Field(0.01, ge=0, lt=1)
    """Smallest gain in macro recall that matters to you (0.01 is one percentage point). If the upper end of the interval is below
    this, the verdict is ``do not add``."""
    max_head_loss: float = Field(0.02, ge=0, lt=1)
    """Largest accepted loss of macro recall on the other species. If the loss is larger and the
    interval lies below 0, the verdict is ``do not add`` instead of ``add``."""
    head_above: int = Field(100, ge=0)
    """The other species: those with more real training images than this, and those without synthetic images."""
    num_bootstrap: int = Field(4000, ge=100)
    """Number of bootstrap samples for each interval."""
    seed: Seed = 0
    device: str = "auto"
    processes: int = Field(1, ge=1)
    """Number of arms that are trained at the same time, each in its own process with an equal part of the cores. Figures stay the same except
    for rounding. With more than one, a script needs ``if __name__ == "__main__":`` around its calls."""

    may_change: ClassVar[frozenset[str]] = frozenset({"processes", "generator", "synthetic"})  # the last two by place; ``study`` compares content

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.synthetic is not None and self.model_fields_set & {"generator", "minutes", "generator_seeds"}:
            raise ValueError("give either a generator (or family) or an existing synthetic collection, not both")
        if self.draws > self.seeds:
            raise ValueError(f"draws: {self.draws} are more than the {self.seeds} repetitions (seeds) over which they are divided")
        if self.draws > 1 and self.generator_seeds > 1:
            raise ValueError("generator_seeds: the family is trained once on each draw; leave it out, or leave draws out")
        return self

    @property
    def num_trainings(self) -> int:
        """Number of trainings of a family: one a draw, or ``generator_seeds``."""
        return max(self.draws, min(self.generator_seeds, self.seeds))

    def draw_seed(self, repetition: int) -> int | None:
        """The random seed of the draw of photographs in repetition ``repetition`` (0..seeds-1); None if all photographs are used."""
        return self.seed_of(repetition % self.draws) if self.draws > 1 else None

    def seed_of(self, repetition: int) -> int:
        """The random seed of repetition ``repetition`` (0..seeds-1)."""
        return (self.seed * 1000 + repetition) % 2**63

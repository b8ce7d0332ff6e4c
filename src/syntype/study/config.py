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
    worth: bool = False
    """Measure what the synthetic images are worth in photographs: train the best method that uses the photographs alone with 1, 2, 3, 6, 12 ...
    photographs of each rare species too, and find the number at which it is as good as with synthetic images."""
    more_photographs: str | None = None
    """Folder of a collection, or what ``collect`` reads: further photographs of these species, which are in no split. For ``worth``, which it
    switches on; no other method sees them."""
    retrieve_from: str | None = None
    """The same: photographs of any content. The arm ``retrieved`` takes from it those that look most like the rare species."""
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

    may_change: ClassVar[frozenset[str]] = frozenset({"processes", "generator", "synthetic", "retrieve_from", "worth", "more_photographs"})
    """``generator``, ``synthetic`` and ``retrieve_from`` by place: ``study`` compares their content. What synthetic images are worth can be
    measured when the study is finished."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.synthetic is not None and self.model_fields_set & {"generator", "minutes", "generator_seeds"}:
            raise ValueError("give either a generator (or family) or an existing synthetic collection, not both")
        return self

    @property
    def measures_worth(self) -> bool:
        """Whether the study measures what the synthetic images are worth in photographs."""
        return self.worth or self.more_photographs is not None

    def seed_of(self, repetition: int) -> int:
        """The random seed of repetition ``repetition`` (0..seeds-1)."""
        return (self.seed * 1000 + repetition) % 2**63

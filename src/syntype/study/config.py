"""Settings of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from syntype.cluster import Cluster
from syntype.collection import Collection
from syntype.collection.sides import usual_side
from syntype.curation import CurateConfig
from syntype.encoders import is_zero_shot
from syntype.identification import ClassifierConfig
from syntype.recipe import Seed, Settings

__all__ = ["LARGEST_SIZE", "StudyConfig", "TuningConfig"]

LARGEST_SIZE = 224
"""Side in pixels above which a study scales photographs down, unless ``size`` says otherwise."""
_TUNED: dict[str, Any] = {"tune": "last", "steps": 600, "batch_size": 32}
"""Settings of the classifier in a study, where they differ from those of ``ClassifierConfig``."""
_QUICK_SIZE = 128


class TuningConfig(Settings):
    """Settings of the classifier among which a study chooses, on the validation photographs and for each arm by itself, before test photographs are
    read. Each is a group of settings of ``ClassifierConfig``; an empty group stands for the settings of the study."""

    photographs: tuple[dict[str, Any], ...] = ({}, {"learning_rate": 3e-4}, {"learning_rate": 3e-3})
    """For the arms without a generator."""
    synthetic: tuple[dict[str, Any], ...] = ({}, {"synthetic_share": 0.2}, {"mix": "mixup"})
    """For the arm with curated synthetic images; the control arms with other added images take over its choice. As many as ``photographs``. Here
    ``ratio`` is a setting too: the number of synthetic images per real training image, instead of filling up to ``fill_to``."""

    @model_validator(mode="after")
    def _equal(self) -> Self:
        if len(self.photographs) != len(self.synthetic) or not self.synthetic:
            raise ValueError(
                f"the arms have to choose among equally many settings: there are {len(self.photographs)} for photographs and {len(self.synthetic)} "
                "for synthetic. Give as many of both, or set tuning to null"
            )
        with_ratio = [setting["ratio"] for setting in self.synthetic if "ratio" in setting]
        if with_ratio and len(with_ratio) < len(self.synthetic):
            raise ValueError("give ratio in all settings of synthetic, or in none")
        if not all(isinstance(ratio, (int, float)) and 0 < ratio <= 100 for ratio in with_ratio):
            raise ValueError("ratio is a number above 0 and up to 100")
        for setting in (*self.photographs, *self.synthetic):
            known = set(ClassifierConfig.model_fields) - {"size", "seed", "device"} | ({"ratio"} if setting in self.synthetic else set())
            if unknown := sorted(setting.keys() - known):
                raise ValueError(f"{unknown[0]!r} is no setting of the classifier that can be chosen. There are {', '.join(sorted(known))}")
        return self


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
    quick: bool = False
    """A quick look: only the head of the classifier is trained, on images of 128 pixels, and no settings are chosen (``tuning``). It identifies
    less well than one whose last layers are trained too, and its verdict may be another."""
    size: int = Field(0, ge=0, le=1024)
    """Side of the images, in pixels. 0: that of the photographs (median of the longer side, a multiple of 32), from 64 to 224; 128 with ``quick``."""
    classifier: ClassifierConfig = ClassifierConfig(**_TUNED)
    """Settings of the classifier in every arm; ``size``, ``device`` and ``seed`` are set by the study. Unless given here, the last quarter
    of the layers is trained (``tune`` "last") for 600 steps of 32 images, and with ``quick`` the defaults of ``ClassifierConfig`` hold. With a GPU,
    ``tune`` "all" trains all layers."""
    tuning: TuningConfig | None = TuningConfig()
    """Settings of the classifier among which every arm chooses. None: all arms have those of ``classifier``, as with ``quick``."""
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
    zero_shot: str | None = None
    """An encoder with texts, ``open_clip:NAME[:FILE]``. The arm ``zero-shot`` names the test photographs with it, without any training. It has no
    part in the verdict, as it may have seen them."""
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
    cluster: Cluster | None = None
    """Where the arms are trained, each arm and repetition in a job of its own, instead of in ``processes`` here. The rest of the study is computed
    here. The folder of the study must then lie on a disk that all machines share. Figures stay the same except for rounding."""

    may_change: ClassVar[frozenset[str]] = frozenset(
        {"processes", "cluster", "generator", "synthetic", "retrieve_from", "worth", "more_photographs", "zero_shot"}
    )
    """``generator``, ``synthetic`` and ``retrieve_from`` by place: ``study`` compares their content. What synthetic images are worth, and
    ``zero_shot``, can be measured when the study is finished."""

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        """Fill in what depends on ``quick``. Settings of the classifier that are given as a whole stay as they are."""
        if not isinstance(values, Mapping):
            return values
        quick, given = values.get("quick") is True, values.get("classifier", {})
        filled = {**({"size": _QUICK_SIZE, "tuning": None} if quick else {}), **values}
        return {**filled, "classifier": {**({} if quick else _TUNED), **given}} if isinstance(given, Mapping) else filled

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        if self.zero_shot is not None and not is_zero_shot(self.zero_shot):
            raise ValueError(f"zero_shot: {self.zero_shot!r} cannot name species by texts. Give open_clip:NAME, such as open_clip:ViT-B-16-SigLIP2")
        if 0 < self.size < 8:
            raise ValueError("size: images have a side of at least 8 pixels; 0 stands for that of the photographs")
        for setting in ({}, *(() if self.tuning is None else (*self.tuning.photographs, *self.tuning.synthetic))):
            chosen = {name: value for name, value in setting.items() if name != "ratio"}
            if ClassifierConfig.parse({**self.classifier.model_dump(), **chosen}).head == "tip_adapter":
                raise ValueError("head 'tip_adapter' needs the embedded names of the species, which a study does not compute. Set head to 'linear'")
        return self

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.synthetic is not None and self.model_fields_set & {"generator", "minutes", "generator_seeds"}:
            raise ValueError("give either a generator (or family) or an existing synthetic collection, not both")
        if self.draws > self.seeds:
            raise ValueError(f"draws: {self.draws} are more than the {self.seeds} repetitions (seeds) over which they are divided")
        if self.draws > 1 and self.generator_seeds > 1:
            raise ValueError("generator_seeds: the family is trained once on each draw; leave it out, or leave draws out")
        if self.draws > 1 and self.measures_worth:
            raise ValueError("worth draws photographs by itself; leave draws out, or measure what the images are worth in a second study")
        return self

    @property
    def ratios(self) -> tuple[float, ...]:
        """The numbers of synthetic images per real training image that are tried; empty if the species are filled up to ``fill_to``."""
        return () if self.tuning is None else tuple(float(setting["ratio"]) for setting in self.tuning.synthetic if "ratio" in setting)

    @property
    def measures_worth(self) -> bool:
        """Whether the study measures what the synthetic images are worth in photographs."""
        return self.worth or self.more_photographs is not None

    def for_photographs(self, collection: Collection) -> Self:
        """The same settings, with the ``size`` of the photographs in place of 0."""
        if self.size:
            return self
        return self.model_copy(update={"size": usual_side(collection, most=LARGEST_SIZE)})

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

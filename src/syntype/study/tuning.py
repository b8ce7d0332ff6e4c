"""Chooses the classifier's settings for the arms of a study, on the validation photographs, among as many settings for every arm.

Without an equal choice for the competitors, a gain of the synthetic images could be a gain of the settings. The arms without a generator choose among
one list of settings, and the arm with curated synthetic images among another list of the same length. The other arms that add images (controls)
are trained with the settings of the curated arm, so that they differ from it in their images alone.

OUT/tuning/   predictions of the validation photographs, one folder for each setting
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from syntype.collection import Collection
from syntype.errors import CollectionError
from syntype.run import Run
from syntype.study.arms import ARMS, CURATED, Arm
from syntype.study.config import StudyConfig
from syntype.study.photographs import Split
from syntype.study.running import run_arms
from syntype.study.statistics import mean_recall, species_recall
from syntype.study.synthetic import SyntheticSets

__all__ = ["Tuned", "num_tuning_classifiers", "tune_arms"]


@dataclass(frozen=True)
class Tuned:
    """The arms with the settings that were chosen.

    Attributes:
        arms: the arms, each with its settings in ``classifier``.
        synthetic: the synthetic images, as many of each species as was chosen.
        record: the values for ``results.json``: by name of arm the settings that were tried, their recall on the validation photographs over the
            species that get synthetic images and over the others, and the position of the chosen one; None if nothing was tried.
    """

    arms: tuple[Arm, ...]
    synthetic: SyntheticSets
    record: dict[str, Any] | None


def num_tuning_classifiers(arms: Sequence[Arm], config: StudyConfig) -> int:
    """Number of classifiers that ``tune_arms`` trains."""
    return 0 if config.tuning is None else len(config.tuning.synthetic) * sum(arm.competitor or arm.name == CURATED for arm in arms)


def tune_arms(real: Collection, synthetic: SyntheticSets, arms: Sequence[Arm], config: StudyConfig, out: Path, run: Run) -> Tuned:
    """Train every competitor and the curated arm once with each of its settings, and choose the best of each: the highest mean of the recall of the
    species that get synthetic images and the recall of the others. If several are best, the first.

    Without validation photographs of the species that get synthetic images, nothing is chosen, and all arms have the settings of the study.

    Raises:
        CollectionError: there are no such validation photographs, and the settings are to choose the number of synthetic images.
    """
    if config.tuning is None:
        return Tuned(tuple(arms), synthetic, None)
    target, labels = np.flatnonzero(synthetic.num_planned), Split.of(real, "val").labels
    others = np.flatnonzero(synthetic.num_planned == 0)
    if not np.isin(target, labels).any():
        if config.ratios:
            raise CollectionError(
                f"{real.root}: ratios are chosen on validation photographs, and the species that would get synthetic images have none. "
                "Leave ratio out of the settings of tuning.synthetic."
            )
        run.say("No validation photographs of the species that get synthetic images: no settings are chosen, all arms have those of the study.")
        return Tuned(tuple(arms), synthetic, None)
    once, found = config.model_copy(update={"seeds": 1}), dict[str, dict[str, Any]]()

    def tried(some: Sequence[Arm], settings: Sequence[Mapping[str, Any]], kind: str) -> None:
        """Train ``some`` arms with each of the settings, and note the recall and the choice."""
        recall: dict[str, list[tuple[float | None, float | None]]] = {arm.name: [] for arm in some}
        for number, setting in enumerate(settings):
            changed = [_with(arm, setting) for arm in some]
            images = _at_ratio(synthetic, setting, real)
            for name, outcome in run_arms(real, images, changed, once, out, run, folder=f"tuning/{kind}-{number + 1}", splits=("val",)).items():
                each = species_recall(outcome.val == labels, labels, len(real.species))
                rare, common = mean_recall(each, target), mean_recall(each, others)
                recall[name].append((rare, common))
        for name, values in recall.items():
            chosen = max(range(len(values)), key=lambda number: _score(*values[number]))  # of equal values ``max`` returns the first
            listed = [
                {"settings": dict(setting), "recall_on_val": rare, "recall_others_on_val": common}
                for setting, (rare, common) in zip(settings, values, strict=True)
            ]
            found[name] = {"tried": listed, "chosen": chosen}
            run.event("tuned", arm=name, chosen=chosen)

    tried([arm for arm in arms if arm.name == CURATED], config.tuning.synthetic, "synthetic")
    best = config.tuning.synthetic[found[CURATED]["chosen"]]
    synthetic = _at_ratio(synthetic, best, real)  # before the competitors, as there are as many collages as synthetic images
    tried([arm for arm in arms if arm.competitor], config.tuning.photographs, "photographs")
    chosen = {name: entry["tried"][entry["chosen"]]["settings"] for name, entry in found.items()}
    return Tuned(tuple(_with(arm, chosen.get(arm.name, best)) for arm in arms), synthetic, {"arms": found})


def _score(rare: float | None, common: float | None) -> float:
    """The value by which settings are compared: the mean of both recalls. With that of the rare species alone, settings that name rare species too
    often would win at the cost of all others."""
    known = [value for value in (rare, common) if value is not None]
    return sum(known) / len(known) if known else 0.0


def _with(arm: Arm, setting: Mapping[str, Any]) -> Arm:
    """The arm with other settings of the classifier; those that make the arm what it is stay."""
    return replace(arm, classifier={**{name: value for name, value in setting.items() if name != "ratio"}, **ARMS[arm.name].classifier})


def _at_ratio(synthetic: SyntheticSets, setting: Mapping[str, Any], real: Collection) -> SyntheticSets:
    return synthetic.at_ratio(float(setting["ratio"]), real) if "ratio" in setting else synthetic

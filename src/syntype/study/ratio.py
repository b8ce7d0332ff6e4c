"""Chooses the number of synthetic images per real training image, on the validation photographs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from syntype.collection import Collection
from syntype.errors import CollectionError
from syntype.run import Run
from syntype.study.arms import ARMS, CURATED
from syntype.study.config import StudyConfig
from syntype.study.photographs import Split
from syntype.study.running import run_arms
from syntype.study.statistics import mean_recall, species_recall
from syntype.study.synthetic import SyntheticSets

__all__ = ["RatioChoice", "choose_ratio"]


@dataclass(frozen=True)
class RatioChoice:
    """The ratio of synthetic to real training images that a study uses.

    Attributes:
        chosen: the ratio with the highest recall.
        recall_on_val: for every ratio that was tried, the macro recall on the validation photographs over the species that get synthetic images.
    """

    chosen: float
    recall_on_val: dict[float, float | None]

    def to_json(self) -> dict[str, Any]:
        """The values for ``results.json``."""
        return {"chosen": self.chosen, "recall_on_val": {f"{ratio:g}": value for ratio, value in self.recall_on_val.items()}}


def choose_ratio(real: Collection, synthetic: SyntheticSets, config: StudyConfig, out: Path, run: Run) -> RatioChoice:
    """Train the arm with curated synthetic images with every ratio of ``config.ratios``, and choose the best. If several are best, the smallest.

    Raises:
        CollectionError: the species that would get synthetic images have no validation photographs.
    """
    target, labels = np.flatnonzero(synthetic.num_planned), Split.of(real, "val").labels
    if not np.isin(target, labels).any():
        raise CollectionError(
            f"{real.root}: ratios are chosen on validation photographs, and the species that would get synthetic images have none. Leave ratios out."
        )
    recall = {}
    for ratio in sorted(set(config.ratios)):
        folder = f"ratios/{ratio:g}"
        outcome = run_arms(real, synthetic.at_ratio(ratio, real), [ARMS[CURATED]], config, out, run, folder=folder, splits=("val",))[CURATED]
        recall[ratio] = mean_recall(species_recall(outcome.val == labels, labels, len(real.species)), target)
    chosen = max(recall, key=lambda ratio: recall[ratio] or 0.0)  # of equal values ``max`` returns the first, which has the smallest ratio
    run.event("ratio", chosen=chosen)
    return RatioChoice(chosen, recall)

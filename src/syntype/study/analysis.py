"""From the predictions of all arms to the figures of the study: one JSON-able dictionary, from which the report is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from syntype.collection.bins import BINS, bins_of
from syntype.study.arms import ARMS, CURATED, Arm
from syntype.study.statistics import Effect, mean_recall, paired_effect, species_recall
from syntype.study.verdict import Rules, explain

__all__ = ["Outcome", "Split", "analyse", "choose_competitor"]


@dataclass(frozen=True)
class Split:
    """What is known of the images of one split.

    Attributes:
        labels: int64, shape (N,).
        groups: int64, shape (N,); images with the same number are not independent.
    """

    labels: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """What one arm did, over all seeds.

    Attributes:
        test: int64, shape (S, N_test), predicted species.
        val: int64, shape (S, N_val).
        num_added: images it added, one number a seed.
        steps: gradient steps, one number a seed.
        seconds: of training and predicting, summed over the seeds.
    """

    test: np.ndarray
    val: np.ndarray
    num_added: tuple[int, ...]
    steps: tuple[int, ...]
    seconds: float


def choose_competitor(
    outcomes: Mapping[str, Outcome], arms: Sequence[Arm], test: Split, val: Split, target: np.ndarray
) -> tuple[str, str, dict[str, float]]:
    """The best arm that needs no generator: highest macro recall over the target species.

    Validation images decide where at least half of the target species that are tested have some; else the test images,
    which favours the competitor, as the maximum of several noisy figures is too high.

    Returns:
        its name; ``val`` or ``test``; the recall of every competitor there.
    """
    tested = target[np.isin(target, test.labels)]
    on_val = len(tested) > 0 and np.isin(tested, val.labels).mean() >= 0.5
    split = val if on_val else test
    recall = {}
    for arm in arms:
        if arm.competitor:
            outcome = outcomes[arm.name]
            hits = (outcome.val if on_val else outcome.test) == split.labels
            recall[arm.name] = mean_recall(species_recall(hits, split.labels, _width(split, target)), target) or 0.0
    return max(recall, key=lambda name: recall[name]), "val" if on_val else "test", recall


def analyse(outcomes: Mapping[str, Outcome], arms: Sequence[Arm], test: Split, val: Split, *, species: Sequence[str], counts_real: np.ndarray,
            offered: np.ndarray, accepted: np.ndarray, rules: Rules, head_above: int, draws: int, seed: int,
            generator_varies: bool) -> dict[str, Any]:  # fmt: skip
    """All figures of a study.

    Args:
        outcomes: by name of arm.
        species: names, in the order of the labels.
        counts_real: int64, shape (K,), real training images.
        offered: int64, shape (K,), synthetic images made, summed over seeds; the target species are those with some.
        accepted: int64, shape (K,), those that passed curation.
        rules: of the verdict.
        head_above: species with more real training images, and those without synthetic images, are the "others" that must not suffer.
        draws: bootstrap replicates.
        seed: of the bootstrap.
        generator_varies: was the generator trained more than once?
    """
    target = np.flatnonzero(offered > 0)
    others = np.flatnonzero((counts_real > head_above) | (offered == 0))
    everything = np.arange(len(species))
    competitor, chosen_on, choice = choose_competitor(outcomes, arms, test, val, target)

    hits = {arm.name: outcomes[arm.name].test == test.labels for arm in arms}

    def effect(a: str, b: str, chosen: np.ndarray, level: float = 0.95) -> Effect | None:
        return paired_effect(hits[a], hits[b], test.labels, test.groups, chosen, seed=seed, draws=draws, level=level)

    primary, on_others = effect(CURATED, competitor, target), effect(CURATED, competitor, others)
    verdict = explain(
        primary,
        on_others,
        int(accepted.sum()),
        rules,
        competitor=competitor,
        competitor_words=ARMS[competitor].words,
        chosen_on=chosen_on,
        num_offered=int(offered.sum()),
        num_target=len(target),
        num_seeds=len(outcomes[CURATED].test),
        generator_varies=generator_varies,
    )
    positions = bins_of(counts_real)
    recall = {name: species_recall(right, test.labels, len(species)) for name, right in hits.items()}
    rivals = [arm.name for arm in arms if arm.name != CURATED]
    together = 1 - 0.05 / len(rivals)  # Bonferroni: all of these intervals hold at once in 95 % of studies
    alone = {int(label): effect(CURATED, competitor, np.array([label])) for label in target}
    bins = {name: effect(CURATED, competitor, np.flatnonzero(positions == number)) for number, name in enumerate(BINS)}
    return {
        "verdict": asdict(verdict),
        "rules": asdict(rules),
        "competitor": {"name": competitor, "chosen_on": chosen_on, "recall_there": choice},
        "effects": {
            "primary": _json(primary),
            "others": _json(on_others),
            "all": _json(effect(CURATED, competitor, everything)),
            "bins": {name: _json(found) for name, found in bins.items()},
            "against": {name: _json(effect(CURATED, name, target, together)) for name in rivals},
        },
        "arms": {
            arm.name: {
                "words": ARMS[arm.name].words,
                "recall_rare": mean_recall(recall[arm.name], target),
                "recall_others": mean_recall(recall[arm.name], others),
                "macro_recall": mean_recall(recall[arm.name], everything),
                "accuracy": float(hits[arm.name].mean()),
                "bins": {name: mean_recall(recall[arm.name], np.flatnonzero(positions == number)) for number, name in enumerate(BINS)},
                "per_seed": [mean_recall(row[None], target) for row in recall[arm.name]],
                "num_added": list(outcomes[arm.name].num_added),
                "steps": list(outcomes[arm.name].steps),
                "minutes": outcomes[arm.name].seconds / 60,
            }
            for arm in arms
        },
        "species": [
            {
                "name": name,
                "num_train": int(counts_real[label]),
                "bin": BINS[positions[label]],
                "offered": int(offered[label]),
                "accepted": int(accepted[label]),
                "num_test": int((test.labels == label).sum()),
                "num_test_groups": len(np.unique(test.groups[test.labels == label])),
                "effect": _json(alone.get(label)),
                "recall": {arm.name: mean_recall(recall[arm.name], [label]) for arm in arms},
            }
            for label, name in enumerate(species)
        ],
    }  # fmt: skip


def _width(split: Split, target: np.ndarray) -> int:
    return int(max(split.labels.max(initial=0), target.max(initial=0))) + 1


def _json(effect: Effect | None) -> dict[str, Any] | None:
    return None if effect is None else effect.to_json()

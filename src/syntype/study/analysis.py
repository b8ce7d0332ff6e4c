"""Computes the figures of a study from the predictions of all arms, as one dictionary of JSON values. The report is written from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from syntype.collection.bins import BINS, bins_of
from syntype.identification.calibration import confidence_error
from syntype.study.arms import ARMS, CURATED, ZERO_SHOT
from syntype.study.doubts import no_better_than_chance
from syntype.study.photographs import Split
from syntype.study.sensitivity import Removal, decisive_removals, sensitivity_sentence
from syntype.study.statistics import Effect, mean_recall, paired_effect, species_recall, worst_recall
from syntype.study.verdict import Comparison, DecisionRule, Word, decide, explain

__all__ = ["AnalysisSettings", "Measurements", "Outcome", "analyse", "choose_competitor"]


@dataclass(frozen=True)
class Outcome:
    """Predictions of one arm, for all seeds.

    Attributes:
        test: int64, shape (S, N_test), predicted species of the test photographs, for each of S seeds.
        val: int64, shape (S, N_val), the same for the validation photographs.
        confidence: float32, shape (S, N_test), calibrated probability of the predicted species of the test photographs.
        num_added: number of images that the arm added, for each seed.
        steps: number of gradient steps, for each seed.
        seconds: time for training and predicting, summed over the seeds.
    """

    test: np.ndarray
    val: np.ndarray
    confidence: np.ndarray
    num_added: tuple[int, ...]
    steps: tuple[int, ...]
    seconds: float


@dataclass(frozen=True)
class Measurements:
    """The data that a study's figures are computed from.

    Attributes:
        outcomes: predictions by name of arm, in the order of the tables.
        test: labels and groups of the test photographs.
        val: labels and groups of the validation photographs.
        species: names of the K species, in the order of the labels.
        counts_real: int64, shape (K,), number of real training images.
        offered: float64, shape (K,), number of synthetic images made, summed over seeds; images between two species count for both by their weights.
            Species with any are the target species.
        accepted: float64, shape (K,), number of synthetic images that passed curation, summed over seeds, counted likewise.
        units: int64, shape (S,); repetitions with the same number share a training of the generator or a draw of photographs.
        generator_varies: True if the generator was trained more than once.
        photographs_vary: True if the repetitions were trained on several draws of the few photographs.
        doubts: as in ``Comparison``, those found before the arms were trained.
    """

    outcomes: Mapping[str, Outcome]
    test: Split
    val: Split
    species: Sequence[str]
    counts_real: np.ndarray
    offered: np.ndarray
    accepted: np.ndarray
    units: np.ndarray
    generator_varies: bool
    photographs_vary: bool = False
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class AnalysisSettings:
    """How a study is analysed.

    Attributes:
        rule: decision rule of the verdict.
        head_above: the other species are those with more real training images than this, and those without synthetic images.
        num_bootstrap: number of bootstrap samples for each interval.
        seed: random seed of the bootstrap.
    """

    rule: DecisionRule = field(default_factory=DecisionRule)
    head_above: int = 100
    num_bootstrap: int = 4000
    seed: int = 0


def choose_competitor(measured: Measurements, target: np.ndarray) -> tuple[str, str, dict[str, float]]:
    """Choose the best arm without a generator: the one with the highest macro recall over the target species.

    Validation photographs are used if at least half of the target species with test photographs have validation photographs too. Otherwise
    test photographs are used. This favours the competitor, because the maximum of several noisy figures is biased upwards.

    Args:
        target: int64, labels of the species that synthetic images were made for.

    Returns:
        name of the arm; split that was used, ``val`` or ``test``; recall of every competitor on that split.
    """
    tested = target[np.isin(target, measured.test.labels)]
    on_val = len(tested) > 0 and np.isin(tested, measured.val.labels).mean() >= 0.5
    labels = measured.val.labels if on_val else measured.test.labels
    recall = {}
    for name, outcome in measured.outcomes.items():
        if ARMS[name].competitor:
            hits = (outcome.val if on_val else outcome.test) == labels
            recall[name] = mean_recall(species_recall(hits, labels, len(measured.species)), target) or 0.0
    return max(recall, key=lambda name: recall[name]), "val" if on_val else "test", recall


def analyse(measured: Measurements, settings: AnalysisSettings) -> dict[str, Any]:
    """Compute all figures of a study, as JSON values."""
    outcomes, test, counts_real, offered, accepted = (
        measured.outcomes, measured.test, measured.counts_real, measured.offered, measured.accepted,
    )  # fmt: skip
    target = np.flatnonzero(offered > 0)
    others = np.flatnonzero((counts_real > settings.head_above) | (offered == 0))
    everything = np.arange(len(measured.species))
    competitor, chosen_on, choice = choose_competitor(measured, target)

    hits = {name: outcome.test == test.labels for name, outcome in outcomes.items()}

    def effect(a: str, b: str, chosen: np.ndarray, level: float = 0.95, among: np.ndarray | slice = slice(None)) -> Effect | None:
        return paired_effect(
            hits[a][:, among], hits[b][:, among], test.labels[among], test.groups[among], chosen, seed=settings.seed,
            num_bootstrap=settings.num_bootstrap, level=level, minimum=settings.rule.minimum_effect, units=measured.units,
        )  # fmt: skip

    primary, on_others = effect(CURATED, competitor, target), effect(CURATED, competitor, others)
    chance = no_better_than_chance(outcomes["real"].test, test.labels, test.groups, len(measured.species), seed=settings.seed)
    doubts = measured.doubts + (() if chance is None else (chance,))
    comparison = Comparison(
        primary,
        on_others,
        competitor=competitor,
        description=ARMS[competitor].description,
        chosen_on=chosen_on,
        num_made=round(offered.sum()),
        num_accepted=round(accepted.sum()),
        num_target=len(target),
        num_seeds=len(outcomes[CURATED].test),
        generator_varies=measured.generator_varies,
        photographs_vary=measured.photographs_vary,
        doubts=doubts,
    )
    verdict, removals = explain(comparison, settings.rule), list[Removal]()
    if not doubts and primary is not None and comparison.num_accepted:

        def judge(among: np.ndarray) -> Word:
            return decide(effect(CURATED, competitor, target, among=among), on_others, comparison.num_accepted, settings.rule)

        difference = hits[CURATED].astype(np.float64) - hits[competitor]
        removals = decisive_removals(difference, test, target, tuple(measured.species), verdict.word, judge)
        if sentence := sensitivity_sentence(removals, verdict.word):
            verdict = replace(verdict, reasons=(*verdict.reasons, sentence))
    positions = bins_of(counts_real)
    recall = {name: species_recall(right, test.labels, len(measured.species)) for name, right in hits.items()}
    other_arms = [name for name in outcomes if name != CURATED and ARMS[name].is_trained]
    together = 1 - 0.05 / len(other_arms)  # Bonferroni correction: in at least 95 % of studies all of these intervals contain their true value
    alone = {int(label): effect(CURATED, competitor, np.array([label])) for label in target}
    bins = {name: effect(CURATED, competitor, np.flatnonzero(positions == number)) for number, name in enumerate(BINS)}
    return {
        "verdict": asdict(verdict),
        "sensitivity": [asdict(one) for one in removals],
        "varies": {"classifier": comparison.num_seeds > 1, "generator": measured.generator_varies, "photographs": measured.photographs_vary},
        "rules": asdict(settings.rule),
        "doubts": list(doubts),
        "competitor": {"name": competitor, "chosen_on": chosen_on, "recall_there": choice},
        "effects": {
            "primary": _json(primary),
            "others": _json(on_others),
            "all": _json(effect(CURATED, competitor, everything)),
            "bins": {name: _json(found) for name, found in bins.items()},
            "zero_shot": _json(effect(CURATED, ZERO_SHOT, target)) if ZERO_SHOT in outcomes else None,
            "against": {name: _json(effect(CURATED, name, target, together)) for name in other_arms},
        },
        "arms": {
            name: {
                "description": ARMS[name].description,
                "recall_rare": mean_recall(recall[name], target),
                "recall_others": mean_recall(recall[name], others),
                "macro_recall": mean_recall(recall[name], everything),
                "accuracy": float(hits[name].mean()),
                "worst_rare": worst_recall(recall[name], target),
                "calibration_error": _calibration_error(outcome.confidence, hits[name], test.labels),
                "bins": {bin: mean_recall(recall[name], np.flatnonzero(positions == number)) for number, bin in enumerate(BINS)},
                "per_seed": [mean_recall(row[None], target) for row in recall[name]],
                "num_added": list(outcome.num_added),
                "steps": list(outcome.steps),
                "minutes": outcome.seconds / 60,
            }
            for name, outcome in outcomes.items()
        },
        "species": [
            {
                "name": name,
                "num_train": int(counts_real[label]),
                "bin": BINS[positions[label]],
                "offered": _whole(offered[label]),
                "accepted": _whole(accepted[label]),
                "num_test": int((test.labels == label).sum()),
                "num_test_groups": len(np.unique(test.groups[test.labels == label])),
                "effect": _json(alone.get(label)),
                "recall": {arm: mean_recall(recall[arm], [label]) for arm in outcomes},
            }
            for label, name in enumerate(measured.species)
        ],
    }  # fmt: skip


def _whole(number: float) -> int:
    """The nearest whole number, but 1 at least of anything."""
    return max(round(number), int(number > 0))


def _calibration_error(confidence: np.ndarray, right: np.ndarray, labels: np.ndarray) -> float | None:
    """Expected calibration error over all test photographs, every species with the same weight: mean of the seeds. None without test photographs.

    Not over the rare species alone: a photograph is chosen by its true species then, and even right probabilities are off.
    """
    if not len(labels):
        return None
    return float(np.mean([confidence_error(sure, hit, labels, balanced=True) for sure, hit in zip(confidence, right, strict=True)]))


def _json(effect: Effect | None) -> dict[str, Any] | None:
    return None if effect is None else effect.to_json()

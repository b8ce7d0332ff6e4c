"""Derives the verdict from the measured effects, and the sentences that explain it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from syntype.errors import percent, plural
from syntype.study.statistics import FEW_SPECIES, Effect

__all__ = ["Comparison", "DecisionRule", "Verdict", "Word", "damaged", "decide", "explain", "points"]

Word = Literal["add", "do not add", "not enough evidence"]


@dataclass(frozen=True)
class DecisionRule:
    """The effects that matter. They are fixed before any test photograph is read.

    Attributes:
        minimum_effect: smallest gain in macro recall that matters, as a fraction.
        max_head_loss: largest accepted loss of macro recall on the other species, as a fraction.
    """

    minimum_effect: float = 0.01
    max_head_loss: float = 0.02


@dataclass(frozen=True)
class Comparison:
    """Comparison of curated synthetic images with the best arm without a generator.

    Attributes:
        primary: difference in macro recall, over the species that synthetic images were made for; None if none of them has a test photograph.
        others: the same over the other species; None if there are none with test photographs.
        competitor: name of the best arm without a generator.
        description: what that arm does.
        chosen_on: split on which that arm was chosen, ``val`` or ``test``.
        num_made: number of synthetic images, summed over all seeds.
        num_accepted: number of those that passed curation, summed over all seeds.
        num_target: number of species that synthetic images were made for.
        num_seeds: number of repetitions.
        generator_varies: True if the generator was trained more than once.
        photographs_vary: True if the repetitions were trained on several draws of the few photographs.
        doubts: why no verdict is possible, whatever the figures; one sentence each, without a capital letter.
    """

    primary: Effect | None
    others: Effect | None
    competitor: str
    description: str
    chosen_on: str
    num_made: int
    num_accepted: int
    num_target: int
    num_seeds: int
    generator_varies: bool
    photographs_vary: bool = False
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The verdict and its explanation.

    Attributes:
        word: ``add``, ``do not add`` or ``not enough evidence``.
        sentence: the verdict in one sentence.
        reasons: what was compared and what led to the verdict, one sentence each.
        would_change: what could lead to another verdict, one sentence each.
    """

    word: Word
    sentence: str
    reasons: tuple[str, ...]
    would_change: tuple[str, ...]


VISIBLE = 0.05
"""An effect, as a fraction of recall, for which reports say how many photographs would be needed to detect it."""

_MEND = "The same study after that is mended: other settings of the classifier or more photographs, or the right species of the images."

_LEAD: dict[Word, str] = {
    "add": "Add these synthetic images",
    "do not add": "Do not add these synthetic images",
    "not enough evidence": "Not enough evidence to add these synthetic images",
}


def damages_others(others: Effect | None, rule: DecisionRule) -> bool:
    """True if the other species lose more than ``max_head_loss`` and the interval of the loss lies below 0."""
    return others is not None and damaged(others.value, others.high, rule.max_head_loss)


def damaged(value: float, high: float, max_head_loss: float) -> bool:
    """The same, from the effect on the other species and the upper end of its interval, as fractions."""
    return value < -max_head_loss and high < 0


def decide(primary: Effect | None, others: Effect | None, num_accepted: int, rule: DecisionRule) -> Word:
    """The verdict as ``add``, ``do not add`` or ``not enough evidence``; arguments as in ``Comparison``."""
    if num_accepted == 0 or primary is None:
        return "not enough evidence"
    if primary.high < rule.minimum_effect:
        return "do not add"
    if primary.low > 0:
        return "do not add" if damages_others(others, rule) else "add"
    return "not enough evidence"


def points(fraction: float, *, signed: bool = True) -> str:
    """Text of a fraction in percentage points, with the minus sign U+2212: ``0.034`` -> ``+3.4``."""
    rounded = round(100 * fraction, 1) + 0.0  # + 0.0 turns -0.0 into 0.0
    text = f"{rounded:+.1f}" if signed and rounded else f"{rounded:.1f}"
    return text.replace("-", "−")


def explain(found: Comparison, rule: DecisionRule) -> Verdict:
    """The verdict on a comparison, in words for a biologist."""
    if found.doubts:
        measured = () if found.primary is None else _reasons(found, found.primary, rule)
        reasons = tuple(doubt[0].upper() + doubt[1:] for doubt in found.doubts)
        return Verdict("not enough evidence", f"{_LEAD['not enough evidence']}: {found.doubts[0]}", reasons + measured, (_MEND,))
    word = decide(found.primary, found.others, found.num_accepted, rule)
    if found.primary is None:
        core, change = _unmeasured(found)
        return Verdict(word, f"{_LEAD[word]}: {core}", (core[0].upper() + core[1:],), (change,))
    core, change = _answer(found, found.primary, word, rule)
    changes = [change]
    if not found.generator_varies:
        changes.append("Another training of the generator: it was trained once, so the interval leaves out the variation between trainings.")
    return Verdict(word, f"{_LEAD[word]}: {core}", _reasons(found, found.primary, rule), tuple(changes))


def _unmeasured(found: Comparison) -> tuple[str, str]:
    """Explanation and what could change it, if no species with synthetic images has a test photograph."""
    if found.num_accepted == 0:
        return _none_accepted(found)
    return (
        f"none of the {found.num_target} species with synthetic images has a test photograph, so no effect could be measured.",
        "Test photographs of these species, of individuals, tracks or specimens that are not among the training photographs.",
    )


def _none_accepted(found: Comparison) -> tuple[str, str]:
    return f"curation refused all {found.num_made} of them, so nothing could be measured.", "A generator whose images pass curation."


def _answer(found: Comparison, primary: Effect, word: Word, rule: DecisionRule) -> tuple[str, str]:
    """Explanation and what could change it."""
    size, competitor = _size(primary), found.competitor
    if found.num_accepted == 0:
        return _none_accepted(found)
    if word == "add":
        core = f"the recall of the rare species changes by {size} compared with “{competitor}”, the best method without a generator."
        return core, "A new set of test photographs in which the gain does not appear."
    if word == "do not add" and primary.high >= rule.minimum_effect:
        lost = points(abs(found.others.value) if found.others else 0, signed=False)
        core = f"the recall of the rare species changes by {size}, but the other species lose {lost} percentage points."
        return core, "Fewer synthetic images, or a classifier that separates the common species better."
    if word == "do not add":
        core = f"a gain of {points(rule.minimum_effect, signed=False)} percentage points or more over “{competitor}” is ruled out: {size}."
        return core, "A better generator, or more synthetic images that pass curation."
    core = f"these test photographs neither show nor rule out a gain over “{competitor}”: {size}."
    return core, "Test photographs of more individuals of the rare species (the most reliable way), more seeds, or better synthetic images."


def _reasons(found: Comparison, primary: Effect, rule: DecisionRule) -> tuple[str, ...]:
    chosen = {
        "val": "It was chosen on the validation photographs, before the test photographs were read.",
        "test": "It was chosen on the test photographs, because too few of these species have validation photographs; "
        "this makes the competitor look better than it is.",
    }
    reasons = [
        f"{found.num_target} rare species got synthetic images; {primary.num_species} of them have test photographs: "
        f"{primary.num_images} photographs of {primary.num_groups} independent individuals, tracks or specimens. "
        f"Every method was trained with the same {plural(found.num_seeds, 'random seed')}.",
        f"The competitor is the best method without a generator: “{found.competitor}” ({found.description}). {chosen[found.chosen_on]}",
        f"Recall of the rare species with curated synthetic images minus recall with “{found.competitor}”: {_size(primary)}.",
        _chance(primary, rule),
        _varied(found),
    ]
    if found.others is not None:
        reasons.append(
            f"Recall of the other species ({found.others.num_species} with test photographs) changes by {_size(found.others)}. "
            f"{_judge_others(found.others, rule)} (accepted loss: {points(rule.max_head_loss, signed=False)})."
        )
    unseen = points(primary.half_width, signed=False)
    undetected = f"Effects smaller than about {unseen} percentage points cannot be detected with these {primary.num_images} test photographs."
    reasons.append(f"{undetected} {_needed(primary)}".strip())
    return tuple(reasons)


def _chance(primary: Effect, rule: DecisionRule) -> str:
    """Sentence on the share of the bootstrap samples above the minimum effect."""
    return (
        f"In {percent(primary.above_minimum)} of the bootstrap samples, from which the interval comes, "
        f"the gain is larger than the minimum effect of {points(rule.minimum_effect, signed=False)} percentage points."
    )


def _varied(found: Comparison) -> str:
    """Sentence on what differs between the repetitions and what does not."""
    if found.num_seeds == 1:
        return "There is one repetition, so the interval leaves out the variation between trainings of the classifier."
    varies, same = ["random numbers of the classifier"], list[str]()
    (varies if found.generator_varies else same).append("training of the generator")
    (varies if found.photographs_vary else same).append("choice of the few training photographs")
    told = f"What varies between the repetitions, and is covered by the interval: {', '.join(varies)}."
    fixed = f"The same in all of them: {', '.join(same)}." if same else ""
    return f"{told} {fixed}".strip()


def _size(effect: Effect) -> str:
    return f"{points(effect.value)} percentage points (95 % interval {points(effect.low)} to {points(effect.high)})"


def _needed(primary: Effect) -> str:
    """Sentence on the number of species or groups needed to detect an effect of ``VISIBLE``.

    The width of the interval is inversely proportional to the square root of the number of units that were resampled.
    """
    if primary.half_width <= VISIBLE:
        return ""
    times, visible = (primary.half_width / VISIBLE) ** 2, points(VISIBLE, signed=False)
    if primary.over_species:
        return (
            f"To detect an effect of {visible} percentage points, about {math.ceil(primary.num_species * times)} rare species, tested with as many "
            f"photographs each, would be needed; this study has {primary.num_species}. More individuals of the same species help where chance, and "
            "not the species itself, makes their effects differ."
        )
    return (
        f"To detect an effect of {visible} percentage points, about {math.ceil(primary.num_groups * times)} individuals, tracks or specimens would "
        f"be needed; this study has {primary.num_groups}. With fewer than {FEW_SPECIES} species the interval holds for these species only, not for "
        "similar ones."
    )


def _judge_others(others: Effect, rule: DecisionRule) -> str:
    if damages_others(others, rule):
        return "This loss is larger than accepted"
    if others.value < -rule.max_head_loss:
        return "This loss is larger than accepted, but chance alone could explain it"
    words = "This loss is smaller than accepted" if others.value < 0 else "This is no loss"
    if others.low >= -rule.max_head_loss:
        return words
    return f"{words}, but a loss of {points(-others.low, signed=False)} percentage points cannot be ruled out"

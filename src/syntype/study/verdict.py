"""From effects to a word and the sentences that stand behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from syntype.study.statistics import Effect

__all__ = ["Rules", "Verdict", "Word", "decide", "explain", "points"]

Word = Literal["add", "do not add", "not enough evidence"]


@dataclass(frozen=True)
class Rules:
    """What counts as worth having, fixed before any test image is read.

    Attributes:
        worthwhile: smallest gain in macro recall that would be worth the trouble, as a fraction.
        head_tolerance: largest loss of macro recall on the other species that is put up with, as a fraction.
    """

    worthwhile: float = 0.01
    head_tolerance: float = 0.02


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Attributes:
        word: ``add``, ``do not add`` or ``not enough evidence``.
        sentence: the answer in one sentence.
        reasons: what was compared and what decided, a sentence each.
        would_change: what could lead to another answer, a sentence each.
    """

    word: Word
    sentence: str
    reasons: tuple[str, ...]
    would_change: tuple[str, ...]


VISIBLE = 0.05
"""An effect, as a fraction of recall, that reports use as the example of one worth seeing."""

_LEAD: dict[Word, str] = {
    "add": "Add these synthetic images",
    "do not add": "Do not add these synthetic images",
    "not enough evidence": "Not enough evidence to add these synthetic images",
}


def damages_others(others: Effect | None, rules: Rules) -> bool:
    """Are the other species worse off by more than is tolerated, and beyond chance?"""
    return others is not None and others.value < -rules.head_tolerance and others.high < 0


def decide(primary: Effect | None, others: Effect | None, num_accepted: int, rules: Rules) -> Word:
    """The verdict's word.

    Args:
        primary: curated synthetic images minus the best arm without a generator, over the species that synthetic images
            were made for; None when none of them has a test image.
        others: the same difference over the species that synthetic images were not made for, or that need none; None without any.
        num_accepted: synthetic images that curation let through, over all seeds.
    """
    if num_accepted == 0:
        return "do not add"
    if primary is None:
        return "not enough evidence"
    if primary.high < rules.worthwhile:
        return "do not add"
    if primary.low > 0:
        return "do not add" if damages_others(others, rules) else "add"
    return "not enough evidence"


def points(fraction: float, *, signed: bool = True) -> str:
    """A fraction in percentage points, with a true minus sign: ``0.034`` -> ``+3.4``."""
    rounded = round(100 * fraction, 1) + 0.0  # + 0.0 turns -0.0 into 0.0
    text = f"{rounded:+.1f}" if signed and rounded else f"{rounded:.1f}"
    return text.replace("-", "−")


def explain(primary: Effect | None, others: Effect | None, num_accepted: int, rules: Rules, *, competitor: str, competitor_words: str, chosen_on: str,
            num_offered: int, num_target: int, num_seeds: int, generator_varies: bool) -> Verdict:  # fmt: skip
    """Say the verdict for a biologist.

    Args:
        competitor: name of the best arm without a generator, and ``competitor_words`` what it does.
        chosen_on: ``val`` or ``test``: where it was found to be the best.
        num_offered: synthetic images made, over all seeds.
        num_target: species that synthetic images were made for.
        num_seeds: repetitions.
        generator_varies: was the generator itself trained more than once?
    """
    word = decide(primary, others, num_accepted, rules)
    if primary is None:
        if num_accepted == 0:
            core, change = _none_accepted(num_offered), "A generator whose images pass the curation filters."
        else:
            core = f"none of the {num_target} species that they were made for has a test photograph, so nothing could be measured."
            change = "Photographs of these species from a further individual, track or specimen, kept for testing."
        return Verdict(word, f"{_LEAD[word]}: {core}", (core[0].upper() + core[1:],), (change,))

    size = f"{points(primary.value)} points of recall (95 % interval {points(primary.low)} to {points(primary.high)})"
    chosen = {
        "val": "It was chosen on the validation photographs, before the test photographs were read.",
        "test": "It was chosen on the test photographs themselves, for want of validation photographs of these species: that favours the competitor.",
    }
    reasons = [
        f"{num_target} rare species were given synthetic images; {primary.num_species} of them have test photographs: "
        f"{primary.num_images} photographs of {primary.num_groups} independent individuals, tracks or specimens. "
        f"Everything was repeated with {num_seeds} seed{'s' * (num_seeds > 1)}, in pairs.",
        f"The competitor is the best way without a generator: “{competitor}” ({competitor_words}). {chosen[chosen_on]}",
        f"Recall of the rare species with curated synthetic images, minus their recall with “{competitor}”: {size}.",
    ]
    if others is not None:
        hurt = _judge_others(others, rules)
        reasons.append(
            f"The {others.num_species} other species changed by {points(others.value)} points ({points(others.low)} to {points(others.high)}): "
            f"{hurt} (limit {points(-rules.head_tolerance)})."
        )
    unseen = points(primary.half_width, signed=False)
    reasons.append(f"Effects smaller than about {unseen} points cannot be seen with these {primary.num_images} test photographs.{_needed(primary)}")

    if num_accepted == 0:
        core, change = _none_accepted(num_offered), "A generator whose images pass the curation filters."
    elif word == "add":
        core = f"they raise the recall of the rare species by {size} over the best way without a generator, “{competitor}”."
        change = "A new set of test photographs in which the gain is not found again."
    elif word == "do not add" and primary.high >= rules.worthwhile:
        core = f"the rare species gain {size}, but the other species lose {points(abs(others.value) if others else 0, signed=False)} points."
        change = "Fewer synthetic images, or a classifier that keeps the common species apart better."
    elif word == "do not add":
        core = f"a gain of {points(rules.worthwhile, signed=False)} point or more over “{competitor}” can be ruled out: {size}."
        change = "A better generator, or more synthetic images of the kind that curation accepts; the present ones do not earn their place."
    else:
        core = f"these test photographs can tell neither help nor harm: {size} against “{competitor}”."
        change = "Test photographs of more individuals of the rare species (the surest way), more seeds, or better synthetic images."
    luck = () if generator_varies else ("Another training of the generator: it was trained once, so its luck is not part of the interval.",)
    return Verdict(word, f"{_LEAD[word]}: {core}", tuple(reasons), (change, *luck))


def _needed(primary: Effect) -> str:
    """How much more would show an effect of ``VISIBLE``; the interval narrows with the root of the number of what was resampled."""
    if primary.half_width <= VISIBLE:
        return ""
    times, wanted = (primary.half_width / VISIBLE) ** 2, f" To see one of {points(VISIBLE, signed=False)} points"
    if primary.over_species:
        return (
            f"{wanted}, about {math.ceil(primary.num_species * times)} rare species tested as these are would be needed; there are "
            f"{primary.num_species}. More individuals of these help where it is chance, and not the species, that makes them differ."
        )
    return (
        f"{wanted}, about {math.ceil(primary.num_groups * times)} individuals, tracks or specimens would be needed; there are {primary.num_groups}. "
        "With so few species the interval speaks of these alone, not of others like them."
    )


def _judge_others(others: Effect, rules: Rules) -> str:
    if damages_others(others, rules):
        return "more than is put up with"
    if others.value < -rules.head_tolerance:
        return "more than is put up with, but chance alone could explain it"
    words = "less than is put up with" if others.value < 0 else "no damage seen"
    if others.low >= -rules.head_tolerance:
        return words
    return f"{words}, but a loss of {points(-others.low, signed=False)} points cannot be ruled out"


def _none_accepted(num_offered: int) -> str:
    return f"curation refused every one of the {num_offered} synthetic images, so there is nothing that could be added."

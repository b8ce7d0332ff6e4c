from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from syntype.study.statistics import Effect
from syntype.study.verdict import Comparison, DecisionRule, decide, explain, points


def effect(value: float, low: float, high: float) -> Effect:
    return Effect(value, low, high, num_species=8, num_groups=90, num_images=120, resolution=0.01, above_minimum=0.9)


def comparison(primary: Effect | None, others: Effect | None = None, accepted: int = 9, **changes: Any) -> Comparison:
    found = Comparison(primary, others, competitor="real", description="the real images only", chosen_on="val", num_made=9, num_accepted=accepted,
                       num_target=2, num_seeds=1, generator_varies=True)  # fmt: skip
    return replace(found, **changes)


GAIN, LOSS, UNSURE = effect(0.05, 0.02, 0.08), effect(-0.05, -0.08, -0.02), effect(0.02, -0.03, 0.07)


@pytest.mark.parametrize(
    ("primary", "others", "accepted", "word"),
    [
        (GAIN, None, 50, "add"),
        (GAIN, effect(-0.01, -0.015, -0.005), 50, "add"),  # a small loss is accepted
        (GAIN, effect(-0.04, -0.09, 0.01), 50, "add"),  # a loss that chance explains
        (GAIN, LOSS, 50, "do not add"),
        (LOSS, None, 50, "do not add"),
        (effect(0.0, -0.005, 0.005), None, 50, "do not add"),
        (effect(0.004, 0.001, 0.007), None, 50, "do not add"),  # real, but below the minimum effect
        (UNSURE, None, 50, "not enough evidence"),
        (UNSURE, LOSS, 50, "not enough evidence"),
        (effect(-0.02, -0.07, 0.03), None, 50, "not enough evidence"),
        (None, None, 50, "not enough evidence"),
        (GAIN, None, 0, "not enough evidence"),
    ],
)
def test_decision_rule(primary: Effect | None, others: Effect | None, accepted: int, word: str) -> None:
    assert decide(primary, others, accepted, DecisionRule()) == word


@pytest.mark.parametrize("primary", [GAIN, LOSS, UNSURE, effect(0.004, 0.001, 0.007), None])
@pytest.mark.parametrize("others", [None, LOSS, GAIN])
@pytest.mark.parametrize("accepted", [0, 50])
def test_every_verdict_has_its_words(primary: Effect | None, others: Effect | None, accepted: int) -> None:
    found = comparison(primary, others, accepted, competitor="oversample", num_made=100, num_target=9, num_seeds=5, generator_varies=False)
    verdict = explain(found, DecisionRule())
    assert verdict.word == decide(primary, others, accepted, DecisionRule())
    assert verdict.sentence.lower().startswith(verdict.word)
    assert verdict.reasons and verdict.would_change
    if primary is not None:
        text = " ".join(verdict.reasons)
        assert "oversample" in text
        assert points(primary.value) in text and points(primary.low) in text and "120 photographs" in text
        assert any("trained once" in sentence for sentence in verdict.would_change)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        (effect(0.04, -0.255, 0.339), "This is no loss, but a loss of 25.5 percentage points cannot be ruled out (accepted"),
        (effect(0.04, -0.01, 0.09), "This is no loss (accepted loss: 2.0)"),
        (effect(-0.01, -0.06, 0.04), "This loss is smaller than accepted, but a loss of 6.0 percentage points cannot be ruled out"),
        (effect(-0.05, -0.11, 0.01), "This loss is larger than accepted, but chance alone could explain it"),
        (LOSS, "This loss is larger than accepted (accepted"),
    ],
)
def test_what_the_other_species_may_lose_is_said(others: Effect, words: str) -> None:
    verdict = explain(comparison(GAIN, others), DecisionRule())
    assert any(words in reason for reason in verdict.reasons)


def test_what_would_show_an_effect_is_said() -> None:
    def words(half_width: float, num_species: int = 8) -> str:
        primary = replace(effect(0.0, -half_width, half_width), num_species=num_species)
        verdict = explain(comparison(primary, None), DecisionRule())
        return " ".join(verdict.reasons)

    assert "about 32 rare species, tested with as many photographs each, would be needed; this study has 8." in words(0.10)
    assert "about 360 individuals, tracks or specimens would be needed; this study has 90." in words(0.10, num_species=2)
    assert "these species only" in words(0.10, num_species=2) and "these species only" not in words(0.10)
    assert "would be needed" not in words(0.04)


def test_a_competitor_chosen_on_the_test_photographs_is_said() -> None:
    verdict = explain(comparison(GAIN, None, chosen_on="test"), DecisionRule())
    assert "this makes the competitor look better than it is" in " ".join(verdict.reasons)
    assert not any("trained once" in sentence for sentence in verdict.would_change)


@pytest.mark.parametrize(("fraction", "text"), [(0.034, "+3.4"), (-0.034, "−3.4"), (0.0001, "0.0"), (-0.0001, "0.0"), (0.5, "+50.0")])
def test_points(fraction: float, text: str) -> None:
    assert points(fraction) == text


def test_a_doubt_stands_above_every_figure() -> None:
    found = Comparison(GAIN, None, competitor="real", description="the real images only", chosen_on="val", num_made=9, num_accepted=9,
                       num_target=3, num_seeds=3, generator_varies=True, doubts=("the labels are exchanged.",))  # fmt: skip
    verdict = explain(found, DecisionRule())
    assert verdict.word == "not enough evidence"
    assert verdict.sentence.endswith("the labels are exchanged.") and verdict.reasons[0] == "The labels are exchanged."

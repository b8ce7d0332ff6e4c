"""The result of a study in words for people who know no statistics: all cases, each computed from the results."""

from __future__ import annotations

from typing import Any

import pytest

from syntype.study.plain_words import in_plain_words


def results(curated: float, before: float, low: float, high: float, *, competitor: str = "collage", **changes: Any) -> dict[str, Any]:
    primary = {"value": curated - before, "interval": [low, high], "num_species": 5, "num_images": 34}
    return {
        "effects": {"primary": primary, "others": None},
        "arms": {"synthetic+curated": {"recall_rare": curated}, competitor: {"recall_rare": before}},
        "competitor": {"name": competitor},
        "curation": {"offered": 60, "accepted": 40},
        "rules": {"minimum_effect": 0.01, "max_head_loss": 0.02},
        "doubts": [],
        **changes,
    }


LOSS = {"value": -0.05, "interval": [-0.08, -0.02]}


@pytest.mark.parametrize(
    ("found", "end"),
    [
        (results(0.63, 0.70, -0.1, -0.04), "named 63 of 100 photographs of rare species rightly, with simple cut-outs on other backgrounds 70: "
         "7 fewer. Chance alone hardly explains that."),
        (results(0.71, 0.66, 0.02, 0.08, competitor="real"), "with the photographs alone 66: 5 more. Chance alone hardly explains that."),
        (results(0.68, 0.66, -0.03, 0.07), "2 more. Chance alone could explain that: the true difference may be anything from 3 fewer to 7 more."),
        (results(0.652, 0.648, -0.02, 0.001), "as many. Chance alone could explain that: the true difference may be anything from 2 fewer to none."),
        (results(0.652, 0.648, -0.004, 0.004), "as many. The difference, if there is one, is less than one photograph in 100."),
        (results(0.652, 0.648, 0.001, 0.007), "by less than one photograph in 100 (more), but chance alone hardly explains it. "
         "That is too little to matter: the study asked for at least 1 more of 100."),
        (results(0.5, 0.4, 0.05, 0.15, effects={"primary": {"interval": [0.05, 0.15], "num_species": 1, "num_images": 1}, "others": LOSS}),
         "10 more. Chance alone hardly explains that. But of 100 photographs of the other species it named 5 fewer rightly."),
    ],
)  # fmt: skip
def test_a_difference_is_said_as_photographs_of_a_hundred(found: dict[str, Any], end: str) -> None:
    said = in_plain_words(found)
    assert said.sentence.startswith("With the synthetic images the identifier named ") and said.sentence.endswith(end)
    assert [number for _, number in said.shares] == [round(100 * arm["recall_rare"]) for arm in found["arms"].values()]
    number = found["effects"]["primary"]["num_images"]
    assert said.tested.startswith(f"Measured on {number} test photograph")
    leaked = in_plain_words({**found, "leakage": {"left_out": ["a", "b"]}})
    assert leaked.sentence == said.sentence
    assert leaked.tested == f"{said.tested} 2 photographs were left out, because the identifier would have seen almost the same picture before."


def test_rounded_numbers_differ_by_what_was_measured() -> None:
    said = in_plain_words(results(0.804, 0.816, -0.038, 0.015))
    assert "named 81 of 100 photographs of rare species rightly, with simple cut-outs on other backgrounds 82: 1 fewer." in said.sentence
    assert [number for _, number in said.shares] == [81, 82]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"doubts": ["the classifier trained on photographs alone is no better than chance."]}, "alone is no better than chance."),
        ({"curation": {"offered": 60, "accepted": 0}}, "none of the 60 images was good enough to be used."),
        ({"effects": {"primary": None, "others": None}}, "there is no photograph of the rare species to test with."),
    ],
)
def test_where_nothing_could_be_compared_no_number_is_shown(changes: dict[str, Any], why: str) -> None:
    said = in_plain_words(results(0.7, 0.6, 0.05, 0.15, **changes))
    assert said.sentence.startswith("This study cannot say whether the synthetic images help: ") and said.sentence.endswith(why)
    assert (said.shares, said.tested) == ((), "")

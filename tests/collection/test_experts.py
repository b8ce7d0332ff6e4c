"""Experts' decisions: how several are combined, what they do to a table, and that undoing them leaves no trace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made import make_collection
from sklearn.metrics import cohen_kappa_score

from syntype.collection import Collection
from syntype.collection.experts import DECISIONS, Decision, Vote, apply_votes, cohen_kappa, combine


@pytest.fixture
def drawn(tmp_path: Path) -> Collection:
    """Six synthetic images: two as drawn, then refused as a copy, for the species, for the distribution, and one accepted."""
    made = make_collection(tmp_path / "drawn", {"Aus primus": 6})
    table = made.table.assign(
        origin="synthetic",
        split=None,
        verdict=pd.array([None, None, "refused", "refused", "refused", "accepted"], dtype="string"),
        reason=pd.array([None, None, "copy", "species", "distribution", None], dtype="string"),
    )
    return Collection.create(made.root, table, species=made.species)


def vote(image: int, decision: Decision, reviewer: str = "Ada") -> Vote:
    return Vote(f"0-{image}", None, reviewer, decision)


@pytest.mark.parametrize(
    ("decisions", "verdict"),
    [
        ([], None),
        (["unsure"], None),
        (["accept"], "accepted"),
        (["reject", "unsure"], "refused"),
        (["accept", "reject"], "refused"),
        (["accept", "accept", "reject"], "accepted"),
    ],
)
def test_a_tie_refuses_and_the_unsure_do_not_count(decisions: list[Decision], verdict: str | None) -> None:
    assert combine(decisions) == verdict


def test_experts_overrule_filters_but_not_copies(drawn: Collection) -> None:
    result = apply_votes(drawn, [vote(0, "reject"), vote(2, "accept"), vote(3, "accept"), vote(5, "reject"), vote(5, "reject", "Bo")])
    table = Collection.open(drawn.root).table.set_index("image_id")
    assert table.loc["0-0", ["verdict", "reason", "reviewer"]].tolist() == ["refused", "expert", "Ada"]
    assert table.loc["0-2", ["verdict", "reason"]].tolist() == ["refused", "copy"]
    assert table.loc["0-3", "verdict"] == "accepted" and pd.isna(table.loc["0-3", "reason"])
    assert table.loc["0-5", "reviewer"] == "Ada; Bo"
    assert pd.isna(table.loc["0-1", "verdict"])
    assert result.summary() == {"num_accepted": 1, "num_refused": 2, "num_open": 1, "num_changed": 3}


def test_what_is_undone_leaves_no_trace(drawn: Collection) -> None:
    votes = [vote(image, decision) for image, decision in enumerate(["reject", "accept", "reject", "accept", "unsure", "reject"])]
    judged = apply_votes(drawn, votes).collection
    again = apply_votes(judged, votes)
    assert again.num_changed == 0
    restored = apply_votes(again.collection, [], withdrawn=[f"0-{image}" for image in range(6)]).collection
    pd.testing.assert_frame_equal(restored.table[drawn.table.columns], drawn.table)


def test_a_file_that_has_changed_since_and_a_photograph_are_not_judged(drawn: Collection) -> None:
    assert apply_votes(drawn, [Vote("0-0", "another", "Ada", "reject")]).num_changed == 0
    photographs = Collection.create(drawn.root, drawn.table.assign(origin="real"), species=drawn.species)
    assert apply_votes(photographs, [vote(0, "reject")]).num_changed == 0


def test_kappa_follows_cohens_equation() -> None:
    random = np.random.default_rng(3)
    for share in (0.0, 0.3, 0.9):
        first = random.choice(DECISIONS, 60)
        second = np.where(random.random(60) < share, first, random.choice(DECISIONS, 60))
        ours = cohen_kappa({str(image): word for image, word in enumerate(first)}, {str(image): word for image, word in enumerate(second)})
        chance = sum(np.mean(first == word) * np.mean(second == word) for word in DECISIONS)
        np.testing.assert_allclose(ours, (np.mean(first == second) - chance) / (1 - chance))
        np.testing.assert_allclose(ours, cohen_kappa_score(first, second))
    assert cohen_kappa({"a": "accept"}, {"b": "accept"}) is None
    assert cohen_kappa({"a": "accept"}, {"a": "accept", "b": "reject"}) == 1
    assert cohen_kappa({"a": "accept", "b": "accept"}, {"a": "reject", "b": "reject"}) == 0

from __future__ import annotations

import numpy as np

from syntype.study.photographs import Split
from syntype.study.sensitivity import Removal, decisive_removals, sensitivity_sentence
from syntype.study.statistics import paired_effect
from syntype.study.verdict import DecisionRule, Word, decide

NAMES = ("Aba aba", "Bab bab", "Cac cac", "Dad dad", "Eae eae", "Faf faf")


def removals(difference: np.ndarray, groups_each: int) -> tuple[Word, list[Removal], str]:
    """Two photographs a group; the verdict, what decides it, and the sentence."""
    labels = np.repeat(np.arange(len(NAMES)), 2 * groups_each)
    test = Split(labels, np.arange(len(labels)) // 2, tuple(f"track {number // 2}" for number in range(len(labels))))

    def judge(among: np.ndarray) -> Word:
        part = difference[:, among]
        effect = paired_effect(part > 0, part < 0, labels[among], test.groups[among], range(len(NAMES)), seed=0, num_bootstrap=500)
        return decide(effect, None, 1, DecisionRule())

    word = judge(np.ones(len(labels), bool))
    found = decisive_removals(difference, test, np.arange(len(NAMES)), NAMES, word, judge)
    return word, found, sensitivity_sentence(found, word)


def test_a_verdict_that_all_species_carry_rests_on_none() -> None:
    difference = np.tile([1.0, 1.0, 0.0, 0.0, 1.0, 1.0], (3, 6))
    word, found, sentence = removals(difference, 3)
    assert word == "add" and found == [] and sentence.startswith("No single species")


def test_the_species_and_the_track_that_keep_a_verdict_from_add_are_named() -> None:
    difference = np.tile([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], (3, 6))
    difference[:, -6:] = [-1, -1, 0, 0, 0, 0]  # of the last species, one track is lost
    word, found, sentence = removals(difference, 3)
    assert word != "add"
    assert [(one.kind, one.species, one.group, one.num_images, one.word) for one in found] == [
        ("species", "Faf faf", None, 6, "add"), ("group", "Faf faf", "track 15", 2, "add"),
    ]  # fmt: skip
    assert "Faf faf (individual, track or specimen track 15): 2 photographs, “add”" in sentence


def test_one_species_alone_is_not_taken_away() -> None:
    labels = np.zeros(4, np.int64)
    test = Split(labels, np.zeros(4, np.int64))
    assert decisive_removals(np.ones((2, 4)), test, np.array([0]), NAMES, "add", lambda among: "not enough evidence") == []

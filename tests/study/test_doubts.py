from __future__ import annotations

from dataclasses import replace

import numpy as np

from syntype.collection import Collection
from syntype.study.doubts import _rings, exchanged_species, no_better_than_chance


def test_a_classifier_that_guesses_is_told_from_one_that_knows() -> None:
    labels, groups = np.repeat(np.arange(4), 20), np.arange(80)
    guesses = np.random.default_rng(0).integers(0, 4, (3, 80))
    assert "no better than chance" in str(no_better_than_chance(guesses, labels, groups, 4))
    assert "no better than chance" in str(no_better_than_chance(np.zeros((3, 80), np.int64), labels, groups, 4))
    assert no_better_than_chance(np.where(np.arange(80) % 3 == 0, labels, guesses), labels, groups, 4) is None


def test_only_rings_count_as_exchanged() -> None:
    assert _rings({0: 0, 1: 0, 2: 1}) == []  # everything looks like species 0: poor images, but no exchange
    assert _rings({0: 1, 1: 0, 2: 2}) == [[0, 1]]
    assert _rings({3: 5, 5: 4, 4: 3, 1: 3}) == [[3, 5, 4]]


def test_synthetic_images_that_bear_each_others_names_are_noticed(reef: Collection) -> None:
    made = reef.training()
    assert exchanged_species(reef, made, 32) is None
    names = reef.species
    moved = dict(zip(names, (*names[1:], names[0]), strict=True))
    sentence = exchanged_species(reef, replace(made, table=made.table.assign(species=made.table["species"].map(moved))), 32)
    assert sentence and "each other's names" in sentence

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syntype.collection.splits import join_groups, make_splits

# species -> sizes of its groups
TAILS = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=25), min_size=1, max_size=12)


def rows(tail: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    species, units = [], []
    for label, sizes in enumerate(tail):
        for size in sizes:
            unit = max(units, default=-1) + 1
            species += [f"s{label}"] * size
            units += [unit] * size
    return np.array(species), np.array(units)


@settings(max_examples=80, deadline=None)
@given(tail=TAILS, seed=st.integers(0, 1000))
def test_invariants_of_every_tail(tail: list[list[int]], seed: int) -> None:
    species, units = rows(tail)
    splits = make_splits(species, units, seed=seed)
    for unit in np.unique(units):
        assert len(set(splits[units == unit])) == 1
    for label, sizes in enumerate(tail):
        mine = species == f"s{label}"
        total, test, val = sum(sizes), (splits[mine] == "test").sum(), (splits[mine] == "val").sum()
        groups = {split: len(set(units[mine & (splits == split)])) for split in ("train", "val", "test")}
        assert groups["train"] >= 1
        assert (groups["test"] >= 1) == (len(sizes) >= 2)
        assert test <= max(np.floor(0.25 * total + 0.5), min(sizes))
        assert val <= np.floor(0.15 * total + 0.5)
        if groups["val"]:
            assert len(sizes) >= 4 and groups["train"] >= 2


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 15)), min_size=1, max_size=80), seed=st.integers(0, 99))
def test_groups_that_span_species_stay_whole_and_every_species_keeps_training_images(pairs: list[tuple[int, int]], seed: int) -> None:
    species, units = np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])
    splits = make_splits(species, units, seed=seed)
    for unit in np.unique(units):
        assert len(set(splits[units == unit])) == 1
    for label in np.unique(species):
        assert "train" in splits[species == label]


def test_the_same_seed_gives_the_same_splits_and_another_seed_others() -> None:
    species, units = rows([[2, 3, 1] * 20, [1] * 30])
    np.testing.assert_array_equal(make_splits(species, units, seed=3), make_splits(species, units, seed=3))
    assert (make_splits(species, units, seed=3) != make_splits(species, units, seed=4)).any()


def test_large_species_meet_the_fractions() -> None:
    species, units = rows([[3] * 300, [1, 2, 3] * 100])
    splits = make_splits(species, units, seed=0)
    for label in ("s0", "s1"):
        mine = splits[species == label]
        assert abs((mine == "test").mean() - 0.25) < 0.01 and abs((mine == "val").mean() - 0.15) < 0.01


@pytest.mark.parametrize("seed", range(50))
def test_eleven_images_in_eight_tracks_leave_six_to_train_on(seed: int) -> None:
    species, units = rows([[1, 1, 1, 1, 1, 1, 2, 3]])
    splits = make_splits(species, units, seed=seed)
    assert (splits == "train").sum() >= 6 and (splits == "test").sum() >= 1


def test_no_fraction_no_split_and_nothing_gives_nothing() -> None:
    species, units = rows([[1] * 10])
    assert set(make_splits(species, units, seed=0, test_fraction=0, val_fraction=0)) == {"train"}
    assert make_splits(np.array([]), np.array([]), seed=0).shape == (0,)


def test_joined_groups_are_one_unit() -> None:
    groups, species = np.array([7, 7, 3, 4, 5]), np.array(list("aaaaa"))
    np.testing.assert_array_equal(join_groups(groups, species, []), [0, 0, 1, 2, 3])
    np.testing.assert_array_equal(join_groups(groups, species, [(4, 0)]), [0, 0, 1, 2, 0])
    np.testing.assert_array_equal(join_groups(groups, species, [(4, 0), (2, 3), (3, 1)]), [0, 0, 0, 0, 0])


def test_near_duplicates_never_chain_a_species_into_one_unit() -> None:
    groups, species = np.arange(20), np.array(["a"] * 20)
    chain = [(row, row + 1) for row in range(19)]
    assert len(set(join_groups(groups, species, chain))) == 1  # the same bytes: always
    units = join_groups(groups, species, [], chain)
    assert np.bincount(units).max() == 10 and len(set(units)) >= 2
    two = join_groups(np.arange(2), np.array(["a", "a"]), [], [(0, 1)])
    assert len(set(two)) == 2  # or it could not be tested at all


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 14), st.integers(0, 4)), min_size=1, max_size=40),
    same=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=4),
    near=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=40),
)
def test_units_are_those_that_sets_of_groups_give(rows: list[tuple[int, int]], same: list[tuple[int, int]], near: list[tuple[int, int]]) -> None:
    groups, species = np.array(rows).T
    same, near = ([(a % len(rows), b % len(rows)) for a, b in pairs] for pairs in (same, near))
    holds = {label: {group for group, other in rows if other == label} for label in set(species)}
    units = [{group} for group in set(groups)]
    for pairs, bounded in ((same, False), (near, True)):
        for a, b in pairs:
            one, other = (next(unit for unit in units if groups[row] in unit) for row in (a, b))
            both = one | other
            if one is not other and not (bounded and any(len(both & mine) > len(mine) // 2 for mine in holds.values())):
                units = [unit for unit in units if unit is not one and unit is not other] + [both]
    found = join_groups(groups, species, same, near)
    assert {frozenset(groups[found == unit]) for unit in set(found)} == {frozenset(unit) for unit in units}


def test_a_chain_through_thousands_of_species_is_joined_in_seconds() -> None:
    groups = np.arange(30_000)
    species = groups // 2
    units = join_groups(groups, species, [], [(int(row), int(row) + 2) for row in groups[:-2:2]])
    assert len(set(units)) == 15_001
    splits = make_splits(species, units, seed=0)
    assert len(set(splits[::2])) == 1 and all("train" in splits[2 * label : 2 * label + 2] for label in range(15_000))


def test_many_images_are_split_in_seconds() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 8_000, 20_000)
    species = groups % 400
    units = join_groups(groups, species, [], [(int(a), int(b)) for a, b in rng.integers(0, 20_000, (400, 2))])
    assert len(make_splits(species, units, seed=0)) == 20_000

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from syntype.study.statistics import mean_recall, paired_effect, species_recall, worst_recall


def test_species_recall_by_hand() -> None:
    labels = np.array([0, 0, 1, 1, 1, 3])
    hits = np.array([[1, 0, 1, 1, 0, 1], [1, 1, 0, 0, 0, 0]], dtype=bool)
    recall = species_recall(hits, labels, 4)
    np.testing.assert_allclose(recall[:, [0, 1, 3]], [[0.5, 2 / 3, 1], [1, 0, 0]])
    assert np.isnan(recall[:, 2]).all()
    assert mean_recall(recall, [0, 1, 2]) == pytest.approx((0.5 + 2 / 3 + 1 + 0) / 4)
    assert mean_recall(recall, [2]) is None


def test_effect_is_the_mean_over_species_not_over_images() -> None:
    labels = np.array([0] * 2 + [1] * 8)
    a = np.ones((1, 10), dtype=bool)
    b = a.copy()
    b[0, 0] = False  # half of the first species is lost, none of the second
    effect = paired_effect(a, b, labels, np.arange(10), [0, 1], seed=0)
    assert effect is not None
    assert effect.value == pytest.approx(0.25)
    assert (effect.num_species, effect.num_groups, effect.num_images) == (2, 10, 10)


def test_swapping_the_arms_turns_the_effect_round() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 12)
    a, b = random.random((5, 60)) < 0.7, random.random((5, 60)) < 0.5
    there = paired_effect(a, b, labels, np.arange(60), range(5), seed=1)
    back = paired_effect(b, a, labels, np.arange(60), range(5), seed=1)
    assert there is not None and back is not None
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low), abs=1e-3)


def test_same_seed_same_interval() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 10)
    a, b = random.random((3, 40)) < 0.7, random.random((3, 40)) < 0.5
    assert paired_effect(a, b, labels, np.arange(40), range(4), seed=1) == paired_effect(a, b, labels, np.arange(40), range(4), seed=1)


def test_frames_of_one_track_count_once() -> None:
    """Ten frames a track are no more evidence than one frame a track."""
    random = np.random.default_rng(3)
    labels = np.repeat(np.arange(6), 8)
    a, b = random.random((5, 48)) < 0.8, random.random((5, 48)) < 0.5
    once = paired_effect(a, b, labels, np.arange(48), range(6), seed=0)
    often = paired_effect(a.repeat(10, 1), b.repeat(10, 1), labels.repeat(10), np.arange(48).repeat(10), range(6), seed=0)
    assert once is not None and often is not None
    assert (often.value, often.low, often.high) == pytest.approx((once.value, once.low, once.high))


def test_few_photographs_that_never_change_are_not_certainty() -> None:
    labels = np.array([0, 0, 1, 1])
    same = np.ones((5, 4), dtype=bool)
    effect = paired_effect(same, same, labels, np.arange(4), [0, 1], seed=0)
    assert effect is not None
    assert (effect.value, effect.low, effect.high) == pytest.approx((0, -0.25, 0.25))


def test_species_without_test_images_are_passed_over() -> None:
    labels, hits = np.zeros(6, dtype=np.int64), np.ones((2, 6), dtype=bool)
    assert paired_effect(hits, hits, labels, np.arange(6), [3], seed=0) is None
    effect = paired_effect(hits, hits, labels, np.arange(6), [0, 3], seed=0)
    assert effect is not None and effect.num_species == 1


def test_the_interval_over_species_is_students_and_that_of_one_species_is_students_over_its_groups() -> None:
    random = np.random.default_rng(5)
    labels = np.repeat(np.arange(30), 20)
    a = random.random((1, 600)) < random.uniform(0.2, 0.9, 30)[labels]
    b = random.random((1, 600)) < 0.5
    for groups, chosen, units in (
        (np.arange(600), range(30), (a[0] * 1.0 - b[0]).reshape(30, 20).mean(1)),
        (np.arange(600) // 2, [7], (a[0] * 1.0 - b[0])[labels == 7].reshape(10, 2).mean(1)),
    ):
        found = paired_effect(a, b, labels, groups, chosen, seed=0)
        expected = ttest_1samp(units, 0).confidence_interval()
        assert found is not None and found.over_species == (len(chosen) > 1)
        assert found.value == pytest.approx(units.mean())
        assert found.half_width == pytest.approx((expected.high - expected.low) / 2, rel=0.1)


@pytest.mark.parametrize(
    ("species", "seeds", "both"), [(0.4, 0.1, 0.5), (0.0, 0.0, 1.0), (0.1, 0.4, 0.6)], ids=["species differ", "nothing but chance", "seeds differ"]
)
@pytest.mark.parametrize(("num_species", "num_groups"), [(5, 4), (10, 3), (24, 6)])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(num_species: int, num_groups: int, species: float, seeds: float, both: float) -> None:
    """300 simulated studies whose arms differ in truth; within 92 to 98 %, and 2 for chance.

    Args:
        species, seeds, both: how much of a difference belongs to a species, to a seed, and to the two together.
    """
    random = np.random.default_rng([num_species, num_groups, 1])

    def differences(shape: tuple[int, int, int]) -> np.ndarray:  # of arms: -1, 0 or 1
        num_seeds, num_species, num_groups = shape
        own = 0.1 + species * random.normal(size=(1, num_species, 1)) + 2 * species * random.normal(size=(1, num_species, num_groups))
        luck = seeds * random.normal(size=(num_seeds, 1, 1)) + both * random.normal(size=shape)
        return np.where(own + luck > 1, 1, np.where(own + luck < -1, -1, 0)).reshape(num_seeds, -1)

    truth = float(np.mean([differences((500, 200, 4)).mean() for _ in range(8)]))
    labels = np.repeat(np.arange(num_species), num_groups)
    held = 0
    for _ in range(300):
        found = differences((5, num_species, num_groups))
        effect = paired_effect(found > 0, found < 0, labels, np.arange(len(labels)), range(num_species), seed=0, num_bootstrap=300)
        assert effect is not None
        held += effect.low <= truth <= effect.high
    assert 0.90 <= held / 300 <= 0.995


@pytest.mark.parametrize(("num_species", "num_groups", "spread"), [(6, 2, 0.0), (8, 5, 0.6)])
def test_no_effect_is_seldom_called_a_gain(num_species: int, num_groups: int, spread: float) -> None:
    """200 simulated studies of two equal arms: the interval lies wholly above zero in at most 6 % of them."""
    random = np.random.default_rng([num_species, num_groups])
    labels = np.repeat(np.arange(num_species), 2 * num_groups)
    groups = np.repeat(np.arange(num_species * num_groups), 2)

    def arm(base: np.ndarray) -> np.ndarray:
        shift = random.normal(0, spread, num_species)[labels] + random.normal(0, 0.5, len(set(groups)))[groups]
        return base + shift + random.normal(0, 0.3, (5, num_species))[:, labels] + random.normal(0, 0.3, (5, len(labels))) > 0

    false_gains = 0
    for _ in range(200):
        base = random.normal(0, 1.2, num_species)[labels] + random.normal(0, 1, len(set(groups)))[groups]
        effect = paired_effect(arm(base), arm(base), labels, groups, range(num_species), seed=0, num_bootstrap=400)
        assert effect is not None
        false_gains += effect.low > 0
    assert false_gains <= 12


def test_the_share_above_the_minimum_agrees_with_the_interval() -> None:
    random = np.random.default_rng(2)
    labels = np.repeat(np.arange(12), 15)
    a, b = random.random((5, 180)) < 0.6, random.random((5, 180)) < 0.5

    def share(minimum: float, right_a: np.ndarray = a, right_b: np.ndarray = b) -> float:
        effect = paired_effect(right_a, right_b, labels, np.arange(180), range(12), seed=0, minimum=minimum)
        assert effect is not None
        return effect.above_minimum

    found = paired_effect(a, b, labels, np.arange(180), range(12), seed=0)
    assert found is not None
    assert share(found.low) == pytest.approx(0.975, abs=0.002) and share(found.high) == pytest.approx(0.025, abs=0.002)
    assert share(found.value) == pytest.approx(0.5, abs=0.05)
    assert share(-1.0) == 1.0 and share(1.0) == 0.0
    assert share(0.0, a, a) == pytest.approx(0.5)  # arms that agree on every photograph leave the width of the resolution


def test_repetitions_that_share_a_generator_count_as_one() -> None:
    """Three repetitions a generator that never differ are no more evidence than one."""
    random = np.random.default_rng(4)
    labels = np.repeat(np.arange(8), 10)
    a, b = random.random((3, 80)) < 0.7, random.random((3, 80)) < 0.5
    once = paired_effect(a, b, labels, np.arange(80), range(8), seed=0)
    thrice = paired_effect(a.repeat(3, 0), b.repeat(3, 0), labels, np.arange(80), range(8), seed=0, units=np.repeat(np.arange(3), 3))
    assert once == thrice


def test_the_worst_tenth_of_the_species() -> None:
    recall = np.vstack([np.linspace(0, 1, 20), np.linspace(0, 1, 20)])
    assert worst_recall(recall, range(20)) == pytest.approx((0 + 1 / 19) / 2)
    assert worst_recall(recall, [5, 9]) == pytest.approx(5 / 19)
    assert worst_recall(np.full((1, 2), np.nan), [0]) is None


def test_a_large_gain_is_seen() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 15)
    a, b = random.random((5, 150)) < 0.8, random.random((5, 150)) < 0.5
    effect = paired_effect(a, b, labels, np.arange(150), range(10), seed=0)
    assert effect is not None and effect.low > 0.1 and effect.low < 0.3 < effect.high

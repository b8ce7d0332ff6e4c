from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu

from syntype.study.chance import Memorising, kid_chance, memorising, nearness
from syntype.study.distances import kid


def drawn(seed: int, number: int, dim: int = 12, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng([seed, 6]).normal(size=(number, dim)) + shift).astype(np.float32)


def names(kind: str, number: int, each: int = 1) -> np.ndarray:
    return np.array([f"{kind}{row // each}" for row in range(number)])


def judged(fake: np.ndarray, held: np.ndarray, train: np.ndarray, groups: tuple[np.ndarray, np.ndarray, np.ndarray], seed: int = 0) -> Memorising:
    near = [nearness(side, train, groups[2]) for side in (fake, held)]
    return memorising(near[0], near[1], groups[0], groups[1], seed=seed)


def test_nearness_is_that_of_mannwhitneyu_and_authenticity_that_of_its_definition() -> None:
    fake, held, train = drawn(0, 40), drawn(1, 50, shift=0.1), drawn(2, 70)
    train_groups = names("t", 70, 2)
    found = judged(fake, held, train, (names("f", 40), names("h", 50), train_groups))
    to_train = [cdist(side.astype(np.float64), train.astype(np.float64)) for side in (fake, held)]
    u, p = mannwhitneyu(to_train[0].min(1), to_train[1].min(1), alternative="less", method="asymptotic", use_continuity=False)
    assert found.nearer == pytest.approx(1 - u / (40 * 50))
    assert found.z == pytest.approx((u - 1000) / np.sqrt(40 * 50 * 91 / 12))
    assert min(1, 2 * p) * 0.5 < found.p_value < max(0.02, 2 * p) * 2 + 0.05
    assert found.ratio == pytest.approx(np.exp(np.log(to_train[0].min(1)).mean() - np.log(to_train[1].min(1)).mean()))
    within = cdist(train.astype(np.float64), train.astype(np.float64))
    within[train_groups[:, None] == train_groups[None]] = np.inf
    authentic = [np.mean([row.min() >= within[row.argmin()].min() for row in side]) for side in to_train]
    assert (found.authenticity, found.authenticity_held) == pytest.approx(tuple(authentic))


def test_other_photographs_give_no_alarm_in_95_percent_even_if_tracks_are_alike() -> None:
    alarms = 0
    for seed in range(200):
        centres = drawn(seed, 60, 6)
        rows = np.repeat(centres, 4, axis=0) + 0.1 * drawn(seed + 1000, 240, 6)  # four frames of each of 60 animals
        groups = names("g", 240, 4)
        alarms += judged(rows[:80], rows[80:160], rows[160:], (groups[:80], groups[80:160], groups[160:]), seed).alarm
    assert alarms / 200 <= 0.075  # 5 % and 1.6 standard errors


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_images_that_repeat_training_photographs_are_found_even_if_they_are_a_part_and_the_rest_is_poor(share: float) -> None:
    train, held = drawn(3, 80), drawn(4, 80)
    fake = train + 0.5 * drawn(5, 80)
    fake[: round((1 - share) * 80)] = drawn(6, round((1 - share) * 80), shift=0.8)
    found = judged(fake, held, train, (names("f", 80), names("h", 80), names("t", 80)))
    assert found.alarm and found.nearest_tenth > 0.7
    assert (found.z < -3 and found.ratio < 0.8) == (share == 1)
    poor = judged(drawn(6, 80, shift=0.8), held, train, (names("f", 80), names("h", 80), names("t", 80)))
    assert not poor.alarm and poor.ratio > 1


def kid_pair_by_pair(x: np.ndarray, y: np.ndarray) -> float:
    """Torch-fidelity's formula, with all pairs: polynomial kernel of degree 3, gamma 1 / D, coefficient 1."""
    xx, yy, xy = ((a.astype(np.float64) @ b.T.astype(np.float64) / a.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    return float((xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1)) - 2 * xy.mean())


def test_the_interval_of_kid_is_the_jackknife_over_groups() -> None:
    x, y = drawn(7, 30, shift=0.3), drawn(8, 24)
    groups, single = names("g", 30, 3), names("f", 24)
    found = kid_chance(x, y, groups, single, kid=kid(x, y))
    variance = 0.0
    for side, code in ((0, groups), (1, single)):
        left = [kid_pair_by_pair(x[code != one] if side == 0 else x, y if side == 0 else y[code != one]) for one in np.unique(code)]
        variance += (len(left) - 1) * np.var(left)
    assert found.low == pytest.approx(kid_pair_by_pair(x, y) - 1.959964 * np.sqrt(variance), rel=1e-6)
    assert (found.low + found.high) / 2 == pytest.approx(kid(x, y))


def test_p_of_kid_is_even_without_a_difference_and_small_with_one() -> None:
    found = np.array(
        [kid_chance(drawn(seed, 20, 5), drawn(seed + 500, 20, 5), names("g", 20), names("f", 20), kid=0.0).p_value for seed in range(200)]
    )
    assert 0.01 <= (found <= 0.05).mean() <= 0.09 and 0.4 < found.mean() < 0.6
    assert kid_chance(drawn(0, 20, 5), drawn(1, 20, 5, shift=1.0), names("g", 20), names("f", 20), kid=0.0).p_value <= 0.002


def test_one_group_gives_no_interval() -> None:
    assert np.isnan(kid_chance(drawn(0, 5), drawn(1, 5), names("g", 5, 5), names("f", 5), kid=0.0).low)

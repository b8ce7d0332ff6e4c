from __future__ import annotations

import numpy as np
import pytest

from syntype.identification.sampling import Sampler, sample_batches, synthetic_frequencies

LABELS = np.repeat([0, 1, 2], [900, 90, 10])
REAL = np.zeros(1000, bool)


def test_the_natural_sampler_shows_every_image_equally_often() -> None:
    rows = sample_batches(LABELS, REAL, steps=100, batch_size=20, sampler="natural", max_synthetic=0.5, seed=0)
    np.testing.assert_array_equal(np.bincount(rows.ravel(), minlength=1000), np.full(1000, 2))


@pytest.mark.parametrize(("sampler", "power"), [("square_root", 0.5), ("balanced", 0.0)])
def test_the_other_samplers_draw_species_by_a_power_of_their_count(sampler: Sampler, power: float) -> None:
    rows = sample_batches(LABELS, REAL, steps=1000, batch_size=50, sampler=sampler, max_synthetic=0.5, seed=0)
    expected = np.array([900, 90, 10]) ** power
    np.testing.assert_allclose(np.bincount(LABELS[rows.ravel()]) / rows.size, expected / expected.sum(), atol=0.01)


@pytest.mark.parametrize(
    ("num_synthetic", "cap", "expected"), [(3000, 0.5, 8), (3000, 0.25, 4), (3000, 0.0, 0), (3000, 1.0, 12), (10, 0.5, 1), (0, 0.5, 0)]
)
def test_every_batch_holds_the_same_share_of_synthetic_images(num_synthetic: int, cap: float, expected: int) -> None:
    labels = np.concatenate([LABELS, np.full(num_synthetic, 2)])
    synthetic = np.arange(len(labels)) >= 1000
    rows = sample_batches(labels, synthetic, steps=50, batch_size=16, sampler="natural", max_synthetic=cap, seed=0)
    assert rows.shape == (50, 16)
    np.testing.assert_array_equal(synthetic[rows].sum(axis=1), np.full(50, expected))


def test_equal_seeds_draw_equal_batches_and_others_do_not() -> None:
    first, again, other = (
        sample_batches(LABELS, REAL, steps=5, batch_size=8, sampler="balanced", max_synthetic=0.5, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_synthetic_images_end_where_they_are_told_to() -> None:
    synthetic = np.arange(1000) % 2 == 1
    rows = sample_batches(LABELS, synthetic, steps=30, batch_size=16, sampler="natural", max_synthetic=0.25, seed=0, synthetic_until=0.67)
    np.testing.assert_array_equal(synthetic[rows].sum(axis=1), np.repeat([4, 0], [20, 10]))
    shown = np.bincount(rows.ravel(), minlength=1000)[~synthetic]
    assert shown.min() == 0 and shown.max() == 1  # 400 of 500 photographs, each once
    alone = sample_batches(LABELS, np.ones(1000, bool), steps=4, batch_size=16, sampler="natural", max_synthetic=0.25, seed=0, synthetic_until=0.5)
    assert alone.shape == (4, 16)


@pytest.mark.parametrize(("sampler", "until"), [("natural", 1.0), ("square_root", 1.0), ("balanced", 0.5)])
def test_the_share_of_synthetic_images_is_that_of_the_batches(sampler: Sampler, until: float) -> None:
    labels, synthetic = (
        np.repeat([0, 1, 1, 2, 0, 2], [30, 5, 10, 4, 3, 20]),
        np.repeat([False, False, True, False, True, True], [30, 5, 10, 4, 3, 20]),
    )
    settings = {"batch_size": 10, "sampler": sampler, "max_synthetic": 0.3, "synthetic_until": until}
    batches = sample_batches(labels, synthetic, steps=4000, seed=0, **settings)
    drawn = np.bincount(labels[batches[synthetic[batches]]], minlength=4) / batches.size
    np.testing.assert_allclose(synthetic_frequencies(labels, synthetic, num_species=4, **settings), drawn, atol=5e-3)
    assert synthetic_frequencies(labels, np.zeros_like(synthetic), num_species=4, **settings) is None
    half = synthetic_frequencies(labels, synthetic, num_species=4, weight=0.5, **{**settings, "synthetic_until": 1.0})
    assert half is not None and half.sum() == pytest.approx(0.15 / (0.7 + 0.15))


@pytest.mark.parametrize("sampler", ["natural", "balanced"])
def test_images_between_two_species_count_for_both_by_their_weights(sampler: Sampler) -> None:
    labels, synthetic = np.repeat([0, 1, 0, 1], [30, 10, 12, 4]), np.repeat([False, True], [40, 16])
    seconds, shares = np.full(56, -1), np.zeros(56, np.float32)
    seconds[40:46], shares[40:46] = 2, 0.25
    settings = {"batch_size": 10, "sampler": sampler, "max_synthetic": 0.3}
    batches = sample_batches(labels, synthetic, steps=4000, seed=0, **settings)
    drawn = batches[synthetic[batches]]
    expected = np.bincount(labels[drawn], 1 - shares[drawn], minlength=3) + np.bincount(np.maximum(seconds[drawn], 0), shares[drawn], minlength=3)
    found = synthetic_frequencies(labels, synthetic, num_species=3, seconds=seconds, second_shares=shares, **settings)
    np.testing.assert_allclose(found, expected / batches.size, atol=5e-3)

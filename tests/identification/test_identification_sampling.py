from __future__ import annotations

import numpy as np
import pytest

from syntype.identification.sampling import Sampler, sample_batches

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

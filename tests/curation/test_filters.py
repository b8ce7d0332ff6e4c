from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from syntype.curation.filters import SpeciesMargin, Typicality
from syntype.encoders import ZeroShot
from syntype.errors import CollectionError


def clusters(counts: list[int], spread: float = 1.0, dim: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and groups (two images a group) of species that lie apart."""
    centres = np.random.default_rng([7, 1]).normal(size=(len(counts), dim)) * 2
    rng = np.random.default_rng([seed, 2])
    labels = np.repeat(np.arange(len(counts)), counts)
    features = centres[labels] + spread * rng.normal(size=(len(labels), dim)) + 3
    groups = np.array([f"{label}-{number // 2}" for label, count in enumerate(counts) for number in range(count)])
    return features.astype(np.float32), labels, groups


def test_own_species_pass_and_others_do_not() -> None:
    margin = SpeciesMargin(*clusters([60, 40, 30]))
    features, labels, _ = clusters([200, 200, 200], seed=5)
    accepted = margin.accepts(features, labels)
    assert 0.8 < accepted.mean() <= 1
    assert margin.accepts(features, (labels + 1) % 3).mean() < 0.02


def test_nine_in_ten_held_out_photographs_pass_by_construction() -> None:
    features, labels, groups = clusters([300, 300, 300], spread=4.0)
    margin = SpeciesMargin(features, labels, groups, quantile=0.1)
    fresh, fresh_labels, _ = clusters([2000, 2000, 2000], spread=4.0, seed=9)
    accepted = margin.accepts(fresh, fresh_labels)
    assert accepted.mean() == pytest.approx(0.9, abs=0.06)
    for label in range(3):  # a species that is hard to tell apart takes the pooled threshold, so fewer of it pass
        assert 0.75 < accepted[fresh_labels == label].mean() < 0.97


def test_a_species_with_six_photographs_is_recognised_and_judged_among_its_like() -> None:
    margin = SpeciesMargin(*clusters([80, 80, 6]))
    assert margin.thresholds[2] == margin.rare <= margin.pooled
    features, labels, _ = clusters([0, 0, 100], seed=3)
    assert margin.accepts(features, labels).mean() > 0.8
    assert margin.accepts(features, np.zeros_like(labels)).mean() < 0.05


def test_most_real_photographs_of_rare_species_pass() -> None:
    """Where species overlap, margins of those known from six photographs lie far below the others': they have a threshold of their own."""
    counts = [150] * 8 + [6] * 4
    margin = SpeciesMargin(*clusters(counts, spread=5.0))
    fresh, labels, _ = clusters([0] * 8 + [500] * 4, spread=5.0, seed=9)
    assert margin.accepts(fresh, labels).mean() > 0.75
    assert margin.accepts(fresh, labels - 8).mean() < 0.25


def test_margins_are_log_odds() -> None:
    """Two species of one feature each: the margin of one is minus that of the other, and zero half-way."""
    features, labels, groups = clusters([40, 40])
    margin = SpeciesMargin(features, labels, groups)
    a, b = margin.margin(features, np.zeros(80, dtype=np.int64)), margin.margin(features, np.ones(80, dtype=np.int64))
    np.testing.assert_allclose(a, -b, atol=1e-9)
    middle = (features[labels == 0].mean(0) + features[labels == 1].mean(0))[None] / 2
    assert abs(margin.margin(middle, np.zeros(1, dtype=np.int64))[0]) < 0.1 * np.abs(a).mean()


def test_one_species_alone_accepts_everything() -> None:
    features, labels, groups = clusters([12])
    assert SpeciesMargin(features, labels, groups).accepts(features, labels).all()


def test_species_of_one_group_each_still_have_a_threshold() -> None:
    features, labels, _ = clusters([4, 4, 4])
    margin = SpeciesMargin(features, labels, labels.astype(str))
    assert set(margin.thresholds.values()) == {0.0}
    assert margin.accepts(features, labels).all()


def test_the_same_seed_gives_the_same_thresholds() -> None:
    data = clusters([30, 20, 10], spread=3.0)
    assert SpeciesMargin(*data, seed=4).thresholds == SpeciesMargin(*data, seed=4).thresholds


def test_an_unknown_label_and_no_photographs_are_errors() -> None:
    features, labels, groups = clusters([12, 12])
    with pytest.raises(CollectionError, match="no training photograph"):
        SpeciesMargin(features, labels, groups).margin(features[:1], np.array([5]))
    with pytest.raises(CollectionError, match="no training photographs"):
        SpeciesMargin(features[:0], labels[:0], groups[:0])
    with pytest.raises(CollectionError, match="no training photographs"):
        Typicality(features[:0], labels[:0], groups[:0])


def test_typicality_is_the_mean_cosine_to_three_neighbours_of_the_species() -> None:
    data = clusters([20, 20])
    queries, labels, _ = clusters([5, 5], seed=8)
    unit = [x.astype(np.float64) / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, data[0])]
    similar = np.where(labels[:, None] == data[1][None], unit[0] @ unit[1].T, -1)
    np.testing.assert_allclose(Typicality(*data).typicality(queries, labels), np.sort(similar, axis=1)[:, -3:].mean(1), atol=1e-5)


def test_typical_images_pass_and_far_ones_do_not() -> None:
    typical = Typicality(*clusters([150, 150]), quantile=0.02)
    fresh, labels, _ = clusters([500, 500], seed=6)
    assert typical.accepts(fresh, labels).mean() > 0.95
    assert not typical.accepts(-fresh, labels).any()
    assert not typical.accepts(np.random.default_rng(0).normal(size=fresh.shape).astype(np.float32) * 5, labels).any()
    assert typical.accepts(fresh, 1 - labels).mean() < 0.05, "a photograph of another species is not typical of this one"


def test_own_group_does_not_make_a_photograph_typical() -> None:
    """Two equal frames a group: their mutual similarity of 1 must not push the threshold up."""
    features, labels, groups = clusters([60, 60], spread=2.0)
    fresh, fresh_labels, _ = clusters([500, 500], spread=2.0, seed=6)
    doubled = Typicality(*(np.repeat(x, 2, axis=0) for x in (features, labels, groups)))
    assert doubled.accepts(fresh, fresh_labels).mean() > 0.9


def test_rare_species_share_a_threshold_that_lets_their_photographs_pass() -> None:
    typical = Typicality(*clusters([150, 150, 6, 6, 6], spread=2.0))
    assert typical.thresholds[2] == typical.thresholds[3] == typical.thresholds[4] < typical.thresholds[0]
    fresh, labels, _ = clusters([0, 0, 300, 300, 300], spread=2.0, seed=6)
    assert typical.accepts(fresh, labels).mean() > 0.85


def test_typicality_of_one_photograph_one_group_and_an_unknown_species() -> None:
    features, labels, groups = clusters([6])
    assert Typicality(features[:1], labels[:1], groups[:1]).accepts(features[:1], labels[:1]).all()
    assert Typicality(features, labels, np.array(["same"] * 6)).thresholds[0] < 1
    with pytest.raises(CollectionError, match="no training photograph"):
        Typicality(features, labels, groups).typicality(features, labels + 1)


def test_the_margin_to_the_nearest_mean_is_a_difference_of_cosines() -> None:
    train, test = clusters([30, 20, 6]), clusters([100, 100, 100], seed=5)
    margin = SpeciesMargin(*train, by="nearest_mean")
    unit = train[0] / np.linalg.norm(train[0], axis=1, keepdims=True)
    means = np.stack([unit[train[1] == label].mean(0) for label in range(3)])
    queries = test[0] / np.linalg.norm(test[0], axis=1, keepdims=True) - means.mean(0)
    cosine = cosine_similarity(queries, means - means.mean(0))
    expected = [row[label] - np.delete(row, label).max() for row, label in zip(cosine, test[1], strict=True)]
    np.testing.assert_allclose(margin.margin(test[0], test[1]), expected, atol=1e-5)
    assert margin.accepts(test[0], test[1]).mean() > 0.8 and margin.accepts(test[0], (test[1] + 1) % 3).mean() < 0.05


def test_the_margin_by_names_is_the_difference_of_their_logits_and_photographs_set_its_threshold() -> None:
    features, labels, groups = clusters([40, 40, 6])
    texts = np.random.default_rng(0).normal(size=(4, features.shape[1])).astype(np.float32)  # the fourth species has no photographs
    namer = ZeroShot(None, ("a", "b", "c", "d"), texts, scale=10.0, bias=-2.0, is_sigmoid=True)  # type: ignore[arg-type]
    margin = SpeciesMargin(features, labels, groups, by="zero_shot", namer=namer)
    logits = namer.logits(features)[:, :3]
    expected = np.array([row[label] - np.delete(row, label).max() for row, label in zip(logits, labels, strict=True)])
    np.testing.assert_allclose(margin.margin(features, labels), expected, atol=1e-4)
    assert 0.7 < margin.accepts(features, labels).mean() < 1


def test_an_image_between_two_species_is_judged_against_both() -> None:
    train = clusters([60, 60, 60])
    margin, typical = SpeciesMargin(*train, by="nearest_mean"), Typicality(*train)
    test, labels, _ = clusters([60, 60, 60], seed=5)
    between = (test[labels == 0] + test[labels == 1]) / 2
    first, second = np.zeros(60, np.int64), np.ones(60, np.int64)
    each = [margin.margin(between, np.full(60, label)) for label in (0, 1)]
    cosines = margin._model.scores(between)
    np.testing.assert_allclose(margin.margin(between, first, second), cosines[:, :2].max(1) - cosines[:, 2])
    assert margin.accepts(between, first, second).mean() > 0.95
    assert max((one >= margin.thresholds[label]).mean() for label, one in enumerate(each)) < 0.7, "as images of one of them fewer would pass"
    third = test[labels == 2]
    assert margin.accepts(third, first, second).mean() < 0.05
    # typical of one of the two is enough
    own = test[labels == 1]
    np.testing.assert_allclose(typical.typicality(own, first, second), typical.typicality(own, second), atol=1e-6)
    assert typical.accepts(own, first, second).mean() > 0.8 and not typical.accepts(own, first).any()
    none = np.full(len(labels), -1)
    for judge in (margin, typical):
        np.testing.assert_array_equal(judge.accepts(test, labels, none), judge.accepts(test, labels))
    two = SpeciesMargin(*clusters([60, 60]))
    assert np.isinf(two.margin(between, first, second)).all() and two.accepts(between, first, second).all(), "there is no third species"

from __future__ import annotations

import numpy as np
import pytest

from syntype.errors import RecipeError, UnknownNameError
from syntype.identification import LabelledImages
from syntype.study.arms import ARMS, COMPETITORS, CURATED, Pool, added_images, choose_arms


@pytest.fixture
def pool() -> Pool:
    labels = np.array([1] * 10 + [2] * 6)
    images = np.broadcast_to(np.arange(100, 116, dtype=np.uint8)[:, None, None, None], (16, 4, 4, 3))
    accepted = np.array([True, False] * 5 + [True] * 2 + [False] * 4)
    made = LabelledImages(images, labels, np.ones(16, bool))
    return Pool(made, accepted, collage=made.rows(np.arange(2)), oracle=made.rows(np.arange(3)))


REAL = LabelledImages(np.broadcast_to(np.arange(9, dtype=np.uint8)[:, None, None, None], (9, 4, 4, 3)), np.array([0, 0, 0, 0, 1, 1, 1, 2, 2]))


def counts(labels: np.ndarray) -> list[int]:
    return np.bincount(labels, minlength=3).tolist()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("real", [0, 0, 0]), ("oversample", [0, 0, 0]), ("mixup", [0, 0, 0]), ("copies", [0, 10, 6]), ("collage", [0, 2, 0]), ("oracle", [0, 3, 0]),
     ("synthetic", [0, 10, 6]), ("synthetic+curated", [0, 5, 2]), ("synthetic, same count at random", [0, 5, 2])],
)  # fmt: skip
def test_what_each_arm_adds(pool: Pool, name: str, expected: list[int]) -> None:
    added = added_images(ARMS[name], pool, REAL, seed=0)
    assert counts(added.labels) == expected and added.synthetic.all()


def test_copies_repeat_every_photograph_equally_often(pool: Pool) -> None:
    added = added_images(ARMS["copies"], pool, REAL, seed=0)
    used = added.images[added.labels == 2][:, 0, 0, 0]
    assert sorted(used.tolist()) == [7, 7, 7, 8, 8, 8]


def test_the_random_arm_draws_without_repeats_and_differs_by_seed(pool: Pool) -> None:
    first, second = (added_images(ARMS["synthetic, same count at random"], pool, REAL, seed=seed).images[:, 0, 0, 0] for seed in (0, 1))
    assert len(set(first.tolist())) == 7
    assert first.tolist() != second.tolist()


def test_default_arms() -> None:
    names = [arm.name for arm in choose_arms(None, on_reef=False, is_collage=False)]
    assert {"real", "oversample", "mixup", "cutmix", "collage", "copies", "synthetic", "synthetic+curated", "synthetic, same count at random"} == set(
        names
    )
    assert "oracle" in {arm.name for arm in choose_arms(None, on_reef=True, is_collage=False)}
    assert "collage" not in {arm.name for arm in choose_arms(None, on_reef=True, is_collage=True)}
    assert set(COMPETITORS) == {"real", "oversample", "mixup", "cutmix", "collage"}


def test_an_arm_that_trains_nothing_needs_a_model_and_is_no_competitor() -> None:
    assert "zero-shot" not in [arm.name for arm in choose_arms(None, on_reef=True, is_collage=False)]
    arm = choose_arms(None, on_reef=False, is_collage=False, names=True)[-1]
    assert arm.name == "zero-shot" and not arm.is_trained and not arm.competitor
    with pytest.raises(RecipeError, match="--zero-shot"):
        choose_arms(("real", CURATED, "zero-shot"), on_reef=False, is_collage=False)


def test_arms_that_cannot_be() -> None:
    with pytest.raises(UnknownNameError, match="oversampel"):
        choose_arms(["real", "synthetic+curated", "oversampel"], on_reef=False, is_collage=False)
    with pytest.raises(RecipeError, match="synthetic\\+curated"):
        choose_arms(["real"], on_reef=False, is_collage=False)
    with pytest.raises(RecipeError, match="reef"):
        choose_arms(["real", "synthetic+curated", "oracle"], on_reef=False, is_collage=False)

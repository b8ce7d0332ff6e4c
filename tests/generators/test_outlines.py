"""Outlines that photographs teach together: better than colours alone, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from syntype.collection.reef_drawing import draw_individual, draw_mask
from syntype.generators.copy_paste import outlines as _outlines
from syntype.generators.copy_paste.outlines import MIN_PHOTOGRAPHS, self_trained_masks
from syntype.generators.copy_paste.segmentation import PLAUSIBLE_AREA, segment

CPU = torch.device("cpu")


def drawn(count: int, size: int, num_species: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Individuals of a drawn reef's species in turn, uint8 (count, size, size, 3), and where they are, bool (count, size, size)."""
    which = [(7, 11, number % num_species, number, 0, size) for number in range(count)]
    return np.stack([draw_individual(*one) for one in which]), np.stack([draw_mask(*one) for one in which])


def overlap(masks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of each image."""
    return (masks & truth).sum((1, 2)) / np.maximum((masks | truth).sum((1, 2)), 1)


def test_together_they_know_more_than_their_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_outlines, "_STEPS", 30)
    monkeypatch.setattr(_outlines, "_MAX_TRAINING_PHOTOGRAPHS", 60)  # the last ten did not teach
    images, truth = drawn(70, 64, 8)
    alone, together = (overlap(found.masks.numpy() > 127, truth) for found in (segment(images), self_trained_masks(images, CPU)))
    print(f"alone {alone.mean():.3f}, together {together.mean():.3f}")
    assert together.mean() > alone.mean() + 0.02
    assert np.quantile(together, 0.1) > np.quantile(alone, 0.1)


def test_the_same_photographs_give_the_same_masks_in_their_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_outlines, "_STEPS", 3)
    monkeypatch.setattr(_outlines, "MIN_PHOTOGRAPHS", 12)
    images, _ = drawn(12, 96)
    found = self_trained_masks(images, CPU)
    assert all(part.shape == (12, 96, 96) and part.dtype == torch.uint8 for part in found)
    state = torch.get_rng_state()
    for part, again in zip(found, self_trained_masks(images, CPU), strict=True):
        assert torch.equal(part, again)
    assert torch.equal(torch.get_rng_state(), state)  # other random numbers are not touched


def test_of_few_photographs_colours_alone_tell() -> None:
    images, _ = drawn(6, 64)
    assert torch.equal(self_trained_masks(images, CPU).masks, segment(images).masks)
    assert len(self_trained_masks(images[:0], CPU).masks) == 0


def test_photographs_without_an_animal_teach_nothing_and_break_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_outlines, "_STEPS", 2)
    masks = self_trained_masks(np.full((MIN_PHOTOGRAPHS, 32, 32, 3), 90, np.uint8), CPU).masks
    assert masks.shape == (MIN_PHOTOGRAPHS, 32, 32) and torch.equal(masks, masks[:1].expand_as(masks))  # the same photograph again and again
    mask = masks[0].float() / 255
    assert PLAUSIBLE_AREA[0] <= float(mask.mean()) <= PLAUSIBLE_AREA[1]
    assert mask[8:24, 8:24].sum() > 0.7 * mask.sum()  # the middle, as colours alone say it; a quarter of the picture

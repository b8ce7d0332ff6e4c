"""Outlines that photographs teach together: better than colours alone, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from syntype.collection import reef_drawing
from syntype.generators import _outlines
from syntype.generators._outlines import LEAST, learnt_masks
from syntype.generators._segmentation import segment

CPU = torch.device("cpu")


def drawn(count: int, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Individuals of eight species of a reef, and where they are: where the picture differs from the same one without its fish."""
    images = [reef_drawing.draw_individual(5, 11, number % 8, number, 0, size) for number in range(count)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reef_drawing, "_paint_fish", lambda *arguments: None)
        empty = [reef_drawing.draw_individual(5, 11, number % 8, number, 0, size) for number in range(count)]
    difference = np.abs(np.stack(images).astype(int) - np.stack(empty)).max(axis=3)
    return np.stack(images), difference > 25  # compression and noise stay below


def overlap(masks: torch.Tensor, truth: np.ndarray) -> np.ndarray:
    """Intersection over union, an image."""
    found = masks.numpy() > 127
    return (found & truth).sum((1, 2)) / (found | truth).sum((1, 2))


def test_together_they_know_more_than_their_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_outlines, "_STEPS", 50)
    monkeypatch.setattr(_outlines, "_MOST", 100)  # the last twenty did not teach
    images, truth = drawn(120)
    alone, together = overlap(segment(images), truth), overlap(learnt_masks(images, CPU), truth)
    print(f"alone {alone.mean():.3f}, together {together.mean():.3f}")
    assert together.mean() > alone.mean() + 0.04
    assert np.quantile(together, 0.1) > np.quantile(alone, 0.1)


def test_the_same_photographs_give_the_same_masks_in_their_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_outlines, "_STEPS", 3)
    images, _ = drawn(LEAST, 96)
    masks = learnt_masks(images, CPU)
    assert masks.shape == (LEAST, 96, 96) and masks.dtype == torch.uint8
    state = torch.get_rng_state()
    torch.testing.assert_close(learnt_masks(images, CPU), masks, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)  # other random numbers are not touched


def test_of_few_photographs_colours_alone_tell() -> None:
    images, _ = drawn(6)
    assert torch.equal(learnt_masks(images, CPU), segment(images))
    assert len(learnt_masks(images[:0], CPU)) == 0


def test_photographs_without_an_animal_teach_nothing_and_break_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_outlines, "_STEPS", 2)
    masks = learnt_masks(np.full((LEAST, 32, 32, 3), 90, np.uint8), CPU)
    assert masks.shape == (LEAST, 32, 32) and bool((masks.float().mean((1, 2)) > 0).all())

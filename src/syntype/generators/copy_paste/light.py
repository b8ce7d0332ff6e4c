"""The light of a place, and an animal's colours in it."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["Light", "in_light", "measure_light"]

_LARGEST_SHIFT = np.array([12.0, 5.0, 5.0], np.float32)
"""Largest change of an animal's mean lightness (0 to 100) and of its two opponent colours: more could make another species of it."""
_LARGEST_RATIO = 1.25
"""Largest change of the contrast of lightness, up or down."""

Light = tuple[np.ndarray, float]
"""Mean colour in CIELAB, shape (3,), and standard deviation of the lightness."""


def measure_light(image: np.ndarray, where: np.ndarray) -> Light:
    """The light of a photograph's background.

    Args:
        image: float32, shape (H, W, 3), RGB in [0, 1].
        where: bool, shape (H, W): the background; where it is empty, the whole photograph counts.
    """
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2Lab)[where if where.any() else np.ones_like(where)]
    return colours.mean(0), float(colours[:, 0].std())


def in_light(animal: np.ndarray, alpha: np.ndarray, before: Light, after: Light, amount: float) -> np.ndarray:
    """An animal's colours, moved as the background's light changes from its own photograph's to the new place's.

    Reinhard, Ashikhmin, Gooch and Shirley 2001, "Color transfer between images", eqs 10 and 11, in CIELAB, with two differences: means and deviations
    are those of the two backgrounds, so that a white animal stays white before leaves, and the change is bounded.

    Args:
        animal: float32, shape (H, W, 3), RGB in [0, 1].
        alpha: float32, shape (H, W): where the animal is.
        before, after: as ``measure_light`` returns them.
        amount: how much of the change is made, in [0, 1].

    Returns:
        float32, shape (H, W, 3), RGB in [0, 1].
    """
    colours = cv2.cvtColor(animal, cv2.COLOR_RGB2Lab)
    middle = (colours[..., 0] * alpha).sum() / max(float(alpha.sum()), 1e-6)
    ratio = float(np.clip((after[1] + 2) / (before[1] + 2), 1 / _LARGEST_RATIO, _LARGEST_RATIO)) ** amount
    colours[..., 0] = middle + (colours[..., 0] - middle) * ratio
    colours += amount * np.clip(after[0] - before[0], -_LARGEST_SHIFT, _LARGEST_SHIFT)
    return np.clip(cv2.cvtColor(colours, cv2.COLOR_Lab2RGB), 0, 1)

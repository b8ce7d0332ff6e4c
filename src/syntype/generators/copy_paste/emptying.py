"""Places for pasted animals: a photograph without its own animal, the hole filled with its background."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from scipy import ndimage

from syntype.generators.copy_paste.filling import pull_push

__all__ = ["empty_place"]

_TEXTURE = 0.04
"""Structures smaller than this share of the side are texture, which is mirrored; larger ones are interpolated."""


def empty_place(image: np.ndarray, cleared: np.ndarray) -> np.ndarray:
    """A photograph whose animal is replaced by background: float32, shape (S, S, 3), in [0, 1].

    Colours are interpolated across the hole (``pull_push``). The texture that this lacks is mirrored into it from the background.

    Args:
        image: float32, shape (S, S, 3), in [0, 1].
        cleared: bool, shape (S, S): the hole.
    """
    free = ~cleared
    if not free.any():  # nothing of the background is known: the mean colour
        return np.broadcast_to(image.mean((0, 1)), image.shape).astype(np.float32)
    known = free.astype(np.float32)
    smooth = pull_push(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()), torch.from_numpy(known)[None, None])[0].permute(1, 2, 0).numpy()
    sigma = _TEXTURE * len(image)
    weight = cv2.GaussianBlur(known, (0, 0), sigma)[..., None]
    texture = image - cv2.GaussianBlur(image * known[..., None], (0, 0), sigma) / np.maximum(weight, 1e-3)
    # For each pixel of the hole the nearest pixel outside it, and the pixel as far beyond that.
    nearest = ndimage.distance_transform_edt(cleared, return_distances=False, return_indices=True)
    y, x = np.abs(2 * nearest - np.indices(cleared.shape))
    y, x = (len(image) - 1 - np.abs(len(image) - 1 - line) for line in (y, x))  # beyond the photograph's edge it is mirrored again
    mirrored = np.where(free[y, x][..., None], texture[y, x], 0)
    return np.where(cleared[..., None], np.clip(smooth + mirrored, 0, 1), image).astype(np.float32)

"""Diversity of generated images of one species, as a figure for the progress log."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["pair_distance"]


def pair_distance(images_NCHW: Tensor) -> Tensor:
    """Mean absolute difference of images 2i and 2i + 1, which show one species, at an eighth of their side (layout and light). A scalar."""
    small = F.avg_pool2d(images_NCHW, 8)
    return (small[::2] - small[1::2]).abs().mean()

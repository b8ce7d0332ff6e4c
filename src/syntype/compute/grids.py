"""Grids of images."""

from __future__ import annotations

import numpy as np

__all__ = ["ROWS", "tile"]

ROWS = "rows"
"""Text of a PNG file with a grid: what its rows show, from the top, as a JSON list."""


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Arrange images in a grid, row by row.

    Args:
        images: uint8, shape (rows * columns, height, width, 3).

    Returns:
        uint8, shape (rows * height, columns * width, 3).
    """
    height, width = images.shape[1:3]
    return images.reshape(-1, columns, height, width, 3).swapaxes(1, 2).reshape(-1, columns * width, 3)

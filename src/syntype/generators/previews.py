"""Preview grids: one species a row, one seed a column, the same seeds throughout training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from syntype.generators.contract import GenerativeModel, to_uint8

__all__ = ["preview_species", "save_grid", "tile"]


def preview_species(species: tuple[str, ...], counts: np.ndarray, rows: int = 12) -> list[str]:
    """Species for a preview, commonest first: all if they are few, otherwise spread evenly over the long tail, ends included."""
    order = np.argsort(-counts, kind="stable")
    chosen = order if len(order) <= rows else order[np.linspace(0, len(order) - 1, rows).round().astype(int)]
    return [species[index] for index in chosen]


def save_grid(model: GenerativeModel, species: list[str], path: Path, columns: int = 8) -> None:
    """Draw and save a grid of ``len(species)`` rows and ``columns`` seeds."""
    names = [name for name in species for _ in range(columns)]
    images = to_uint8(model.sample(names, list(range(columns)) * len(species)))
    Image.fromarray(tile(images, columns)).save(path)


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Images, uint8, shape (rows * columns, height, width, 3), put together row by row: shape (rows * height, columns * width, 3)."""
    height, width = images.shape[1:3]
    return images.reshape(-1, columns, height, width, 3).swapaxes(1, 2).reshape(-1, columns * width, 3)

"""Masked patches: validation of a generator in training by inpainting photographs that it is not trained on.

The validation of a few-shot study of fishes: a patch of a real photograph is masked, and the model inpaints it. The photographs are from the split
``val``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from syntype.collection.table import Collection
from syntype.compute.tensors import to_tensor
from syntype.generators.contract import GenerativeModel, Inpaints

__all__ = ["MaskedPatches"]

NUM_PHOTOGRAPHS = 4
"""Enough to see a trend; more would slow down training."""


class MaskedPatches:
    """A few fixed photographs, each with a masked square of a third of its side at a fixed random place.

    Args:
        images: uint8, shape (N, height, width, 3).
        species: of each photograph.
    """

    def __init__(self, images: np.ndarray, species: Sequence[str]) -> None:
        self.images_NCHW, self.species = to_tensor(images), list(species)
        height, width = images.shape[1:3]
        side = min(height, width) // 3
        self.masks_N1HW = torch.zeros(len(images), 1, height, width, dtype=torch.bool)
        for number, mask in enumerate(self.masks_N1HW):
            top, left = np.random.default_rng([0, number]).integers(0, [height - side + 1, width - side + 1])
            mask[:, top : top + side, left : left + side] = True

    @classmethod
    def from_collection(cls, collection: Collection, model: GenerativeModel) -> MaskedPatches | None:
        """Patches of validation photographs of the model's species; None if there are none, or if the model cannot inpaint."""
        held = collection.select(split="val", usable=True)
        rows = np.flatnonzero(held.table["species"].isin(model.species))
        if not isinstance(model, Inpaints) or not len(rows):
            return None
        chosen = np.zeros(len(held), dtype=bool)
        chosen[rows[np.linspace(0, len(rows) - 1, min(len(rows), NUM_PHOTOGRAPHS)).round().astype(int)]] = True
        photographs = held.where(chosen)
        return cls(photographs.pixels(model.config.shape), photographs.table["species"].tolist())

    def error(self, model: GenerativeModel) -> float:
        """Mean absolute error of the inpainted pixels, for values in [-1, 1], with seeds 0, 1, ..."""
        assert isinstance(model, Inpaints)
        controls = {**model.Controls().model_dump(), **model.validation_controls}
        filled = model.inpaint(self.images_NCHW, self.masks_N1HW, self.species, range(len(self.species)), **controls)
        return float((filled - self.images_NCHW).abs()[self.masks_N1HW.expand_as(filled)].mean())

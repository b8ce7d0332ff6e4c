"""Decoding of training images, and the choice of each step's batch, which is a function of (seed, step), so that training can be resumed exactly."""

from __future__ import annotations

import numpy as np

from syntype.collection.prompts import captions_of, common_names_of
from syntype.collection.relatives import taxa_of
from syntype.collection.table import Collection
from syntype.errors import CollectionError
from syntype.generators.contract import TrainingData

__all__ = ["BatchSampler", "training_data"]


def training_data(collection: Collection, size: int | tuple[int, int]) -> TrainingData:
    """Decode the images of a collection (or of a view of it). The species are those with at least one image, in the vocabulary's order.

    Args:
        size: side of square images, or height and width, in pixels.

    Raises:
        CollectionError: no image has a species.
    """
    named = collection.where(collection.table["species"].notna())
    present = np.array([count > 0 for count in named.counts().values()], dtype=bool)
    if not present.any():
        raise CollectionError(f"{collection.root}: no training image has a species. Import it again with --species-column.")
    species = tuple(name for name, there in zip(named.species, present, strict=True) if there)
    labels = (np.cumsum(present) - 1)[named.labels()].astype(np.int64)
    table = named.table
    return TrainingData(
        named.pixels(size),
        labels,
        named.groups(),
        species,
        taxa_of(table, species),
        tuple(table["image_id"].astype(str)),
        captions_of(table),
        common_names_of(table),
    )


class BatchSampler:
    """Chooses batches of pairs: a species with probability proportional to count ** balance, and two different images of it if it has two.

    Args:
        balance: 1 for probabilities proportional to the counts, 0.5 to their square roots, 0 for equal ones.
    """

    def __init__(self, data: TrainingData, balance: float) -> None:
        self.order, self.counts = np.argsort(data.labels, kind="stable"), data.counts
        self.starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        chance = np.where(self.counts > 0, np.maximum(self.counts, 1).astype(float) ** balance, 0.0)
        self.cumulative = np.cumsum(chance / chance.sum())

    def indices(self, seed: int, step: int, batch_size: int) -> np.ndarray:
        """Indices of the images of a step's batch: int64, shape (batch_size,); images 2i and 2i + 1 are of one species."""
        random = np.random.default_rng([seed, step])
        species = np.searchsorted(self.cumulative, random.random(batch_size // 2) * self.cumulative[-1], side="right")
        count, start = self.counts[species], self.starts[species]
        first = random.integers(0, count)
        second = (first + random.integers(1, np.maximum(count, 2))) % count
        return self.order[np.stack([start + first, start + second], axis=1).reshape(-1)]

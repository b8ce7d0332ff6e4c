"""Which known species is most similar to a new one: by genus, family or order, and by the look of the photographs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from syntype.collection.relatives import nearest_relatives, taxa_of
from syntype.collection.table import Collection
from syntype.encoders import encode_collection, load_encoder

__all__ = ["Relatives", "nearest_relative"]

MAX_COMPARED = 4000
"""Largest number of photographs of known species that are compared to find the most similar species (at least one per species)."""


class Relatives:
    """Finds the most similar known species of new ones. What is computed for one species is kept for the next.

    Args:
        collection: With training photographs of known species, if it has any.
        known: Names of the known species.
    """

    def __init__(self, collection: Collection, known: Sequence[str]) -> None:
        self._every = collection.training()
        self._known = self._every.where(self._every.table["species"].isin(known))
        self._names = sorted(set(self._known.table["species"]))
        self._rows: dict[str, np.ndarray] = {}

    def features(self, photographs: Collection) -> np.ndarray:
        """Lite2 features of photographs, float32, shape (N, D). Call it for many photographs first if they are going to be asked for one by one."""
        table = photographs.hashed().table
        keys = (table["sha256"].astype(str) + table["box"].fillna("").astype(str)).tolist()
        if any(key not in self._rows for key in keys):
            self._rows |= dict(zip(keys, encode_collection(load_encoder("lite2"), photographs, pixels=64), strict=True))
        return np.stack([self._rows[key] for key in keys])

    def most_similar(self, photographs: Collection) -> tuple[str | None, str | None]:
        """The known species whose photographs are most similar to the new species', and the rank that both share.

        Species of the same genus come first, then those of the same family, then of the same order, where the collection's columns say so. None if
        the collection has no photographs of known species; the rank is None if none is known or shared.
        """
        names = [str(photographs.table["species"].iloc[0]), *self._names]
        taxa = taxa_of(self._every.table, names)
        rank, same = nearest_relatives(taxa, 0, range(1, len(names)))
        known = self._known
        if rank is not None:
            known = known.where(known.table["species"].isin([names[place] for place in same]))
        known = _evenly_sampled(known, MAX_COMPARED)
        if not len(known):
            return None, None
        return nearest_relative(self.features(known), known.table["species"].tolist(), self.features(photographs).mean(0)), rank


def nearest_relative(features: np.ndarray, species: Sequence[str], target: np.ndarray) -> str:
    """The species with the most similar mean features, by the cosine after subtracting the overall mean.

    Args:
        features: Features of photographs of the species to choose from, float32, shape (N, D), N >= 1.
        species: Species of each photograph.
        target: Mean features of photographs of another species, shape (D,).
    """
    middle = features.mean(0)  # what all photographs have in common does not tell species apart
    numbers, names = pd.factorize(np.asarray(species, dtype=object))
    means = np.zeros((len(names), features.shape[1]), np.float32)
    np.add.at(means, numbers, features)
    means = means / np.bincount(numbers)[:, None] - middle
    similarity = means @ (target - middle) / np.maximum(np.linalg.norm(means, axis=1), 1e-12)
    return str(names[similarity.argmax()])


def _evenly_sampled(collection: Collection, number: int) -> Collection:
    """At most about ``number`` images, evenly spaced and equally many per species, but at least one per species."""
    labels = collection.labels()
    counts = np.bincount(labels, minlength=len(collection.species))
    most = max(1, number // max(1, int(np.count_nonzero(counts))))
    place = np.empty(len(labels), np.int64)  # position of each image among those of its species
    place[np.argsort(labels, kind="stable")] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept, of = np.minimum(most, counts)[labels], counts[labels]
    return collection.where((place + 1) * kept // of > place * kept // of)

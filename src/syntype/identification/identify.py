"""One photograph and what a classifier says of it: the species, the lowest rank of which it is sure, none of these, and the nearest photographs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from syntype.collection.pixels import crop_square
from syntype.collection.table import Collection
from syntype.identification.calibration import STRANGE
from syntype.identification.features import FeatureCache
from syntype.identification.ranks import Answer, Ranks, lowest_sure
from syntype.identification.storage import Classifier

__all__ = ["Identification", "Nearest", "NearestPhotographs", "identify"]

NUM_SPECIES = 5
NUM_NEAREST = 6
OF_EACH = 100
"""Training photographs of a species that are compared, at most."""
KEPT = 200
"""Species whose features stay in memory: with 1,280 features of each photograph 100 MB."""


@dataclass(frozen=True)
class Nearest:
    """A training photograph that looks like the one to identify.

    Attributes:
        image_id: of the training photograph.
        species: its name in the collection.
        similarity: cosine of the two photographs' features, at most 1.
    """

    image_id: str
    species: str
    similarity: float


@dataclass(frozen=True)
class Identification:
    """What a classifier says of a photograph.

    Attributes:
        species: the most probable species with their calibrated probabilities, at most ``NUM_SPECIES``, the most probable first.
        answer: the lowest rank of which it is sure.
        strangeness: out-of-distribution score in [0, 1]; None if there were no validation photographs to compare with.
        nearest: the training photographs that look most like it, the most similar first.
    """

    species: tuple[tuple[str, float], ...]
    answer: Answer
    strangeness: float | None
    nearest: tuple[Nearest, ...] = ()

    @property
    def none_of_these(self) -> bool:
        """Whether the photograph may show none of the species: it is stranger than 95 % of the validation photographs."""
        return self.strangeness is not None and self.strangeness >= STRANGE


class NearestPhotographs:
    """Finds the training photographs that look most like a photograph, in the features of a classifier's backbone.

    Compared are the training photographs of the most probable species, at most ``OF_EACH`` of each, evenly spread. Features are computed when a
    species is first asked for: about a hundred photographs a second on two cores.

    Args:
        classifier: whose features are compared.
        collection: the photographs; only the split ``train`` is read.
        cache: folder in which features are kept; None keeps them in memory.
    """

    def __init__(self, classifier: Classifier, collection: Collection, cache: Path | None = None) -> None:
        self._classifier, self._photographs = classifier, collection.training()
        self._names = self._photographs.table["species"].to_numpy()
        self._cache = FeatureCache(cache)
        self._known: dict[str, tuple[list[str], np.ndarray]] = {}

    def find(self, image: np.ndarray, species: tuple[str, ...], number: int = NUM_NEAREST) -> tuple[Nearest, ...]:
        """The nearest photographs.

        Args:
            image: uint8, shape (size, size, 3), RGB.
            species: those whose photographs are compared.
            number: how many to find, at most.
        """
        own = self._features(image[None], FeatureCache())[0]
        found = []
        for name in species:
            image_ids, features = self._of(name)
            found += [Nearest(one, name, float(similarity)) for one, similarity in zip(image_ids, features @ own, strict=True)]
        return tuple(sorted(found, key=lambda one: -one.similarity)[:number])

    def _of(self, species: str) -> tuple[list[str], np.ndarray]:
        """The photographs of a species that are compared: their image_id, and their features, float32, shape (N, num_features)."""
        if species not in self._known:
            rows = _spread(np.flatnonzero(self._names == species))
            chosen = np.zeros(len(self._names), bool)
            chosen[rows] = True
            photographs = self._photographs.where(chosen)
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[species] = (
                [str(one) for one in photographs.table["image_id"]],
                self._features(photographs.pixels(self._classifier.size), self._cache),
            )
        return self._known[species]

    def _features(self, images: np.ndarray, cache: FeatureCache) -> np.ndarray:
        """Features of length 1: float32, shape (N, num_features)."""
        fitted = self._classifier.fitted
        settings: dict[str, Any] = {"size": fitted.config.input_size, "config": fitted.config.augment, "runtime": fitted.runtime}
        found = cache.features(fitted.backbone, images, 0, **settings).astype(np.float32)
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12))


def identify(classifier: Classifier, pixels: np.ndarray, nearest: NearestPhotographs | None = None) -> Identification:
    """Say what a photograph shows.

    Args:
        classifier: as ``load_classifier`` returns it.
        pixels: the whole photograph, uint8, shape (height, width, 3), RGB.
        nearest: finds similar training photographs; None leaves them out.
    """
    image = crop_square(pixels, classifier.size).copy()  # PyTorch warns of arrays that cannot be written
    probabilities, scores = classifier.identify(image[None])
    answer = lowest_sure(probabilities, classifier.species, classifier.ranks or Ranks({}), classifier.fitted.config.sure)[0]
    order = np.argsort(-probabilities[0], kind="stable")[:NUM_SPECIES]
    species = tuple((classifier.species[place], float(probabilities[0][place])) for place in order)
    strangeness = None if np.isnan(scores[0]) else float(scores[0])
    found = () if nearest is None else nearest.find(image, tuple(name for name, _ in species))
    return Identification(species, answer, strangeness, found)


def _spread(rows: np.ndarray) -> np.ndarray:
    """At most ``OF_EACH`` of some rows, at even intervals."""
    return rows if len(rows) <= OF_EACH else rows[np.linspace(0, len(rows) - 1, OF_EACH).astype(np.int64)]

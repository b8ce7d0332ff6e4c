"""Two filters on encoder features: species classification, and out-of-distribution detection.

Both are fitted to real training photographs, and their thresholds are set on held-out photographs. Whole groups (video tracks, specimens) are
held out, not single images, because images of one group are nearly equal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from syntype.encoders import ZeroShot
from syntype.errors import CollectionError

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

__all__ = ["Margin", "SpeciesMargin", "Typicality"]

Margin = Literal["classifier", "nearest_mean", "zero_shot"]
"""How the species margin is computed; see ``SpeciesMargin``."""

NUM_FOLDS = 5
MIN_GROUPS, MIN_IMAGES = 3, 10
"""Groups and images that a species needs for a threshold of its own."""
MAX_IMAGES = 150
"""Largest number of photographs per species that the classifier is fitted to. More take time and change little, as species have equal weight."""
NUM_NEIGHBOURS = 3
CHUNK = 1024


class SpeciesMargin:
    """Species filter: how much more the intended species is favoured than the most favoured other species.

    By ``classifier`` the margin is the log-odds of a multinomial logistic regression on standardised features, strongly regularised, with equal
    weight for every species. By ``nearest_mean`` it is the difference of cosines between the image and the mean features of the species' photographs
    (with the mean of these means subtracted). By ``zero_shot`` it is the log-odds by the species' names; photographs then set the thresholds only.

    An image between two species is judged against both: the more favoured of the two counts, against the most favoured of all others, and the
    threshold is 0, or the lower of the two if that is negative. It may show either of the two in any degree, as no photograph says what lies
    between them; a third species it must not show.

    Args:
        features: Features of real training photographs, float32, shape (N, D).
        labels: Positions in a vocabulary, int64, shape (N,).
        groups: Group of each photograph, N names; a group is held out as a whole.
        quantile: Fraction of held-out photographs that the threshold may reject, in [0, 1).
        seed: Seed of the cross-validation folds.
        by: ``classifier``, ``nearest_mean`` or ``zero_shot``.
        namer: Names the species of the vocabulary, in its order; needed for ``zero_shot``.

    Attributes:
        thresholds: Smallest accepted margin of each label: the species' own threshold, but at least ``pooled``. Species with fewer
            than three groups or ten photographs have the threshold ``rare``.
        pooled: Threshold for all held-out photographs together, with equal weight for every species. It may be negative. It is 0 if no photographs
            could be held out.
        rare: Threshold for the held-out photographs of those rare species, if it is lower than ``pooled``. Margins are smaller with fewer
            photographs, and a filter that rejects most real photographs of a rare species would reject good synthetic ones too.
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, quantile: float = 0.1, seed: int = 0,
                 by: Margin = "classifier", namer: ZeroShot | None = None) -> None:  # fmt: skip
        if not len(features):
            raise CollectionError("species margin: there are no training photographs to learn from. Give a collection that has a split 'train'.")
        groups = np.asarray(groups, dtype=str)
        if by == "zero_shot":
            if namer is None:
                raise ValueError("zero_shot needs a namer")
            self._model: _Scores = _ByName(namer, labels)
            held_out = self._model.margins(features, labels)[0]  # it has learnt from no photograph
            held_out[np.isinf(held_out)] = np.nan
        else:
            kind = _Classifier if by == "classifier" else _NearestMean
            held_out = _held_out_margins(kind, features, labels, groups, seed)
            self._model = kind(features, labels, seed)
        measured = np.isfinite(held_out)
        self.pooled = _balanced_quantile(held_out[measured], labels[measured], quantile)
        rich = _rich(labels[measured], groups[measured])
        few = measured & ~np.isin(labels, rich)
        self.rare = min(self.pooled, _balanced_quantile(held_out[few], labels[few], quantile)) if few.any() else self.pooled
        self.thresholds: dict[int, float] = dict.fromkeys(np.unique(labels).tolist(), self.rare)
        for label in rich:
            self.thresholds[label] = max(float(np.quantile(held_out[(labels == label) & measured], quantile)), self.pooled)

    def margin(self, features: np.ndarray, labels: np.ndarray, seconds: np.ndarray | None = None) -> np.ndarray:
        """Margins of images for the species ``labels``: float64, shape (N,), in nats (``nearest_mean``: from -2 to 2); infinite if there is no other
        species.

        Args:
            features: Features of the images, float32, shape (N, D).
            labels: Positions in the vocabulary, int64, shape (N,).
            seconds: The second species of images between two, -1 for the others: int64, shape (N,); None if there are no such images.

        Raises:
            CollectionError: There was no training photograph of a label.
        """
        return self._model.margins(features, labels, seconds)[0]

    def rivals(self, features: np.ndarray, labels: np.ndarray, seconds: np.ndarray | None = None) -> np.ndarray:
        """The other species that each image fits best, against which its margin is measured: positions in the vocabulary, int64, shape (N,); -1 if
        there is no other species. Arguments and errors as for ``margin``."""
        return self._model.margins(features, labels, seconds)[1]

    def accepts(self, features: np.ndarray, labels: np.ndarray, seconds: np.ndarray | None = None) -> np.ndarray:
        """Whether the margins reach the thresholds of their species: bool, shape (N,). Arguments as for ``margin``."""
        lowest = _thresholds(self.thresholds, labels)
        if seconds is not None:
            lower = np.minimum(lowest, _thresholds(self.thresholds, np.where(seconds >= 0, seconds, labels)))
            lowest = np.where(seconds >= 0, np.minimum(lower, 0), lowest)
        return self.margin(features, labels, seconds) >= lowest


class Typicality:
    """Out-of-distribution filter: mean cosine similarity to the three nearest real photographs of the species.

    Only photographs of the same species are compared, because blurred and empty images are similar to some photograph of some species. On
    underwater photographs, with thresholds that reject 5 % of the real photographs, this rejected 1.5 times as many images of a
    briefly trained generator as a comparison with all species. An image between two species is compared with the photographs of each, and the
    comparison in which it does better counts, measured from the threshold.

    Args:
        features: Features of real training photographs, float32, shape (N, D).
        labels: Positions in a vocabulary, int64, shape (N,).
        groups: Group of each photograph, N names. For the thresholds a photograph is not compared with its own group.
        quantile: Fraction of the real photographs that a threshold may reject, in [0, 1).

    Attributes:
        thresholds: Smallest accepted cosine similarity of each label. Species with fewer than three groups or ten photographs share one
            threshold, which is set on all their photographs.
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, quantile: float = 0.05) -> None:
        if not len(features):
            raise CollectionError("typicality: there are no training photographs to compare with. Give a collection that has a split 'train'.")
        self._reference, self._labels = _unit(features), np.asarray(labels)
        groups = np.asarray(groups, dtype=str)
        held_out = self._similarity(self._reference, self._labels, groups)
        if not np.isfinite(held_out).any():  # only one group per species: compare within the group
            held_out = self._similarity(self._reference, self._labels, np.arange(len(features)))
        measured = np.isfinite(held_out)
        rich = _rich(self._labels[measured], groups[measured])
        few = measured & ~np.isin(self._labels, rich)
        common = few if few.any() else measured
        shared = _balanced_quantile(held_out[common], self._labels[common], quantile)
        self.thresholds: dict[int, float] = dict.fromkeys(np.unique(self._labels).tolist(), shared)
        for label in rich:
            self.thresholds[label] = float(np.quantile(held_out[(self._labels == label) & measured], quantile))

    def typicality(self, features: np.ndarray, labels: np.ndarray, seconds: np.ndarray | None = None) -> np.ndarray:
        """Mean cosine similarity of each image to the three nearest photographs of its species: float64, shape (N,), in [-1, 1].

        Arguments as for ``SpeciesMargin.margin``.

        Raises:
            CollectionError: There was no training photograph of a label.
        """
        return self._judged(features, labels, seconds)[0]

    def accepts(self, features: np.ndarray, labels: np.ndarray, seconds: np.ndarray | None = None) -> np.ndarray:
        """Whether the typicalities reach the thresholds of their species: bool, shape (N,). Arguments as for ``SpeciesMargin.margin``."""
        found, lowest = self._judged(features, labels, seconds)
        return found >= lowest

    def _judged(self, features: np.ndarray, labels: np.ndarray, seconds: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Typicality of each image, and the threshold that it has to reach."""
        unknown = sorted(set(np.unique(labels).tolist()) - self.thresholds.keys())
        if unknown:
            raise CollectionError(f"typicality: no training photograph of label(s) {unknown}.")
        found, lowest = self._similarity(_unit(features), np.asarray(labels), None), _thresholds(self.thresholds, labels)
        if seconds is None or not (mixed := seconds >= 0).any():
            return found, lowest
        other, least = found.copy(), lowest.copy()
        other[mixed], least[mixed] = self._judged(features[mixed], seconds[mixed], None)
        better = other - least > found - lowest
        return np.where(better, other, found), np.where(better, least, lowest)

    def _similarity(self, queries: np.ndarray, labels: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
        """Similarity to the photographs of the species. With ``groups`` (of the reference as queries), only to other groups; NaN without any."""
        result = np.full(len(queries), np.nan)
        for label in np.unique(labels):
            rows, own = np.flatnonzero(labels == label), np.flatnonzero(self._labels == label)
            for start in range(0, len(rows), CHUNK):
                part = rows[start : start + CHUNK]
                cosine = (queries[part] @ self._reference[own].T).astype(np.float64)
                if groups is not None:
                    cosine[groups[part, None] == groups[own][None]] = -np.inf
                nearest = np.partition(cosine, -min(NUM_NEIGHBOURS, cosine.shape[1]), axis=1)[:, -NUM_NEIGHBOURS:]
                known = np.isfinite(nearest)
                total, number = np.where(known, nearest, 0).sum(1), known.sum(1)
                result[part] = np.where(number > 0, total / np.maximum(number, 1), np.nan)
        return result


class _Scores(ABC):
    """Scores of the species that occur.

    Attributes:
        classes: their labels, sorted.
    """

    classes: np.ndarray

    @abstractmethod
    def scores(self, features: np.ndarray) -> np.ndarray:
        """The higher, the more probable: float64, shape (N, len(classes))."""

    def margins(self, features: np.ndarray, labels: np.ndarray, seconds: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Margin of each image, and the label of the species against which it is measured (-1 if there is no other)."""
        own_places = [self._positions(labels)]
        if len(self.classes) == 1:
            return np.full(len(features), np.inf), np.full(len(features), -1)
        if seconds is not None:
            own_places.append(self._positions(np.where(seconds >= 0, seconds, labels)))
        scores, every = self.scores(features), np.arange(len(features))
        own = np.max([scores[every, places] for places in own_places], axis=0)
        for places in own_places:
            scores[every, places] = -np.inf
        best = scores.argmax(1)
        found = np.isfinite(scores[every, best])  # with two species, an image between them has no other
        return own - scores[every, best], np.where(found, self.classes[best], -1)

    def _positions(self, labels: np.ndarray) -> np.ndarray:
        """Position of each label in ``classes``."""
        positions = np.searchsorted(self.classes, labels)
        known = self.classes[np.minimum(positions, len(self.classes) - 1)] == labels
        if not known.all():
            raise CollectionError(
                f"species margin: no training photograph of label(s) {sorted({int(label) for label in np.asarray(labels)[~known]})}."
            )
        return positions


class _Classifier(_Scores):
    """Logistic regression."""

    def __init__(self, features: np.ndarray, labels: np.ndarray, seed: int) -> None:
        rows = _at_most(labels, MAX_IMAGES, seed)
        chosen, targets = features[rows].astype(np.float64), labels[rows]
        self._mean, self._scale = chosen.mean(0), chosen.std(0) + 1e-3
        self.classes, codes = np.unique(targets, return_inverse=True)
        self._model: LogisticRegression | None = None
        if len(self.classes) > 1:
            from sklearn.linear_model import LogisticRegression  # slow to import

            self._model = LogisticRegression(C=1e-3, class_weight="balanced", max_iter=2000, tol=1e-3)
            self._model.fit((chosen - self._mean) / self._scale, codes)

    def scores(self, features: np.ndarray) -> np.ndarray:
        assert self._model is not None  # ``margin`` asks for no scores of a single species
        scores: np.ndarray = self._model.decision_function((features - self._mean) / self._scale)
        if scores.ndim == 1:  # two species: scikit-learn returns one log-odds
            scores = np.stack([-scores / 2, scores / 2], 1)
        return scores


class _NearestMean(_Scores):
    """Cosine to the mean features of each species."""

    def __init__(self, features: np.ndarray, labels: np.ndarray, seed: int) -> None:
        self.classes = np.unique(labels)
        unit = _unit(features.astype(np.float64))
        means = np.stack([unit[labels == label].mean(0) for label in self.classes])
        self._middle = means.mean(0)  # what all photographs have in common does not tell species apart
        self._means = _unit(means - self._middle)

    def scores(self, features: np.ndarray) -> np.ndarray:
        scores: np.ndarray = _unit(_unit(features.astype(np.float64)) - self._middle) @ self._means.T
        return scores


class _ByName(_Scores):
    """Logits of the names of the species that have photographs."""

    def __init__(self, namer: ZeroShot, labels: np.ndarray) -> None:
        self.classes, self._namer = np.unique(labels), namer

    def scores(self, features: np.ndarray) -> np.ndarray:
        return self._namer.logits(features)[:, self.classes].astype(np.float64)


def _thresholds(of_label: Mapping[int, float], labels: np.ndarray) -> np.ndarray:
    return np.array([of_label[int(label)] for label in labels], dtype=np.float64)


def _rich(labels: np.ndarray, groups: np.ndarray) -> list[int]:
    """Labels with enough photographs and groups for a threshold of their own."""
    return [
        int(label) for label in np.unique(labels) if (labels == label).sum() >= MIN_IMAGES and len(np.unique(groups[labels == label])) >= MIN_GROUPS
    ]


def _held_out_margins(kind: type[_Classifier | _NearestMean], features: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Margin of every photograph from a classifier that was fitted without its group; NaN if this left no photograph of its species."""
    folds = _folds(labels, groups, seed)
    margins = np.full(len(features), np.nan)
    for fold in range(NUM_FOLDS):
        learn = folds != fold
        test = ~learn & np.isin(labels, labels[learn])
        if test.any():
            margins[test] = kind(features[learn], labels[learn], seed).margins(features[test], labels[test])[0]
    return margins


def _folds(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Cross-validation fold of each photograph. The groups of each species are distributed evenly over the folds."""
    rng = np.random.default_rng([seed, 0xF01D])
    names, codes = np.unique(groups, return_inverse=True)
    fold_of, turn = np.full(len(names), -1), 0
    for label in np.unique(labels):
        for code in rng.permutation(np.unique(codes[labels == label])):
            if fold_of[code] < 0:
                fold_of[code], turn = turn % NUM_FOLDS, turn + 1
    return fold_of[codes]


def _at_most(labels: np.ndarray, number: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, 0xCAB5])
    return np.sort(np.concatenate([rng.permutation(np.flatnonzero(labels == label))[:number] for label in np.unique(labels)]))


def _balanced_quantile(values: np.ndarray, labels: np.ndarray, quantile: float) -> float:
    """Quantile with equal total weight for every label; 0 if there are no values."""
    if not len(values):
        return 0.0
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights = 1 / counts[codes]
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order]) / weights.sum()
    position = min(int(np.searchsorted(cumulative, quantile, side="right")), len(values) - 1)
    return float(values[order[position]])


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)

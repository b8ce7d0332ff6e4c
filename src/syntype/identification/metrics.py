"""Metrics of a classifier: accuracy, macro recall, macro F1, and recall per bin (by number of training images)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from syntype.collection.bins import BINS, bins_of

__all__ = ["Metrics", "measure"]


@dataclass(frozen=True)
class Metrics:
    """Metrics of a classifier on a set of images.

    Attributes:
        confusion: Confusion matrix, int64, shape (C, C); row: true species, column: predicted species.
        counts_real: Number of real training images per species, int64, shape (C,); it defines the bins.
        accuracy: Fraction of correctly identified images; NaN without images.
        recall: float64, shape (C,); NaN for a species without test images.
        f1: float64, shape (C,); NaN for a species without test images.
    """

    confusion: np.ndarray
    counts_real: np.ndarray
    accuracy: float
    recall: np.ndarray
    f1: np.ndarray

    @property
    def macro_recall(self) -> float:
        """Mean recall over the species with test images; NaN without any."""
        return _mean(self.recall)

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the species with test images; NaN without any."""
        return _mean(self.f1)

    def bins(self) -> dict[str, dict[str, Any]]:
        """Per bin: mean recall over its species with test images (None without any), number of these species, and number of their test images."""
        position, tested = bins_of(self.counts_real), self.confusion.sum(axis=1)
        result = {}
        for number, name in enumerate(BINS):
            inside = (position == number) & (tested > 0)
            recall = float(self.recall[inside].mean()) if inside.any() else None
            result[name] = {"recall": recall, "num_species": int(inside.sum()), "num_images": int(tested[inside].sum())}
        return result

    def worst_pairs(self, limit: int = 50) -> list[tuple[int, int, int, float]]:
        """The most frequent confusions, sorted by the fraction of the true species' images that they concern.

        Args:
            limit: Number of confusions to return.

        Returns:
            Tuples (true species, predicted species, number of images, fraction of the true species' images).
        """
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        share = wrong / np.maximum(self.confusion.sum(axis=1, keepdims=True), 1)
        rows, columns = np.nonzero(wrong)
        order = np.lexsort((columns, rows, -wrong[rows, columns], -share[rows, columns]))[:limit]
        return [(int(rows[i]), int(columns[i]), int(wrong[rows[i], columns[i]]), float(share[rows[i], columns[i]])) for i in order]

    def summary(self) -> dict[str, Any]:
        """Values for ``--json``; None without test images."""
        figures = {"accuracy": self.accuracy, "macro_recall": self.macro_recall, "macro_f1": self.macro_f1}
        return {**{name: None if np.isnan(value) else float(value) for name, value in figures.items()}, "bins": self.bins()}


def measure(labels: np.ndarray, predicted: np.ndarray, counts_real: np.ndarray) -> Metrics:
    """Compare predicted with true species.

    Args:
        labels: True species, int64, shape (N,).
        predicted: Predicted species, int64, shape (N,).
        counts_real: Number of real training images per species, int64, shape (C,).
    """
    num_species = len(counts_real)
    confusion = np.zeros((num_species, num_species), np.int64)
    if len(labels):  # scikit-learn refuses empty input
        from sklearn.metrics import confusion_matrix  # slow to import

        confusion = confusion_matrix(labels, predicted, labels=np.arange(num_species))
    correct, true, claimed = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    # scikit-learn's recall and F1 would count the confusions a second time, and give 0, not NaN, as F1 of an untested species that was predicted
    tested = true > 0
    recall = np.where(tested, correct / np.maximum(true, 1), np.nan)
    f1 = np.where(tested, 2 * correct / np.maximum(true + claimed, 1), np.nan)
    accuracy = float(correct.sum() / len(labels)) if len(labels) else float("nan")
    return Metrics(confusion, np.asarray(counts_real, np.int64), accuracy, recall, f1)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")

"""Calibration of a classifier: temperature scaling, expected calibration error, and an out-of-distribution score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

__all__ = ["STRANGE", "Calibration", "calibrate", "calibration_error", "confidence_error", "energy_score", "temperature"]

STRANGE = 0.95
"""Out-of-distribution score from which an image may show none of the species."""


@dataclass(frozen=True)
class Calibration:
    """Calibration of a classifier's logits on its validation photographs.

    Attributes:
        temperature: Logits are divided by it before the softmax.
        energy_quantiles: Quantiles 0, 0.01, ..., 1 of the validation photographs' energy scores; empty without validation photographs.
    """

    temperature: float = 1.0
    energy_quantiles: tuple[float, ...] = ()

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities of logits, shape (N, C): float32, same shape; each row sums to 1."""
        return softmax(logits / self.temperature, axis=1).astype(np.float32)

    def out_of_distribution_score(self, logits: np.ndarray) -> np.ndarray:
        """Fraction of the validation photographs with a lower energy score than each image.

        From about 0.95 on, the image may show none of the species: 5 % of the photographs of known species score that high.

        Args:
            logits: Shape (N, C).

        Returns:
            float64, shape (N,), in [0, 1]; NaN without validation photographs.
        """
        if not self.energy_quantiles:
            return np.full(len(logits), np.nan)
        return np.interp(energy_score(logits, self.temperature), self.energy_quantiles, np.linspace(0, 1, len(self.energy_quantiles)))


def calibrate(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    """Calibrate on photographs that were not used for training.

    Args:
        logits: float, shape (N, C).
        labels: int64, shape (N,).
    """
    found = temperature(logits, labels)
    return Calibration(found, tuple(np.quantile(energy_score(logits, found), np.linspace(0, 1, 101)).tolist()))


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Fit the temperature of temperature scaling (Guo et al. 2017, arXiv 1706.04599, section 4.2).

    It minimises the negative log-likelihood with equal weight for every species, because the logits contain no class prior. With equal weight
    for every image, the missing prior of the common species would make the temperature too high, which flattens correct probabilities of
    rare species.

    Args:
        logits: float, shape (N, C), of images that were not used for training.
        labels: int64, shape (N,).

    Returns:
        The temperature, in [0.05, 20].
    """
    weights = _balanced(labels)

    def negative_log_likelihood(log_temperature: float) -> float:
        return -float((weights * log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(labels)), labels]).sum())

    from scipy.optimize import minimize_scalar  # slow to import

    return float(np.exp(minimize_scalar(negative_log_likelihood, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15, balanced: bool = False) -> float:
    """Expected calibration error of the most probable species (Guo et al. 2017, equation 3).

    The images are binned by their highest probability, in bins of equal width. The error is the mean over the bins of
    |accuracy - mean probability|, weighted by the number of images in each bin.

    Args:
        probabilities: float, shape (N, C); each row sums to 1.
        labels: int64, shape (N,).
        bins: Number of bins.
        balanced: Weight every species equally instead of every image.

    Returns:
        The error, in [0, 1].
    """
    return confidence_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, labels, bins, balanced)


def confidence_error(confidence: np.ndarray, right: np.ndarray, labels: np.ndarray, bins: int = 15, balanced: bool = False) -> float:
    """``calibration_error`` from what it depends on.

    Args:
        confidence: float, shape (N,), highest probability of each image.
        right: bool, shape (N,), True where the most probable species is the true one.
        labels: as there, and so are the others.
    """
    weights = _balanced(labels) if balanced else np.full(len(labels), 1 / len(labels))
    bin_index = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(bin_index, weights * (right - confidence), bins)
    return float(np.abs(gaps).sum())


def energy_score(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Energy score -T log sum exp(z / T) of logits z (Liu et al. 2020, arXiv 2010.03759, equation 4).

    Args:
        logits: float, shape (N, C).
        temperature: T.

    Returns:
        float, shape (N,). Higher means less like any of the species. It has no absolute scale: compare it with the scores of photographs of
        known species.
    """
    return -temperature * logsumexp(logits / temperature, axis=1)


def _balanced(labels: np.ndarray) -> np.ndarray:
    """Weights that sum to 1, with an equal sum for every species that occurs."""
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return 1 / (counts[inverse] * len(counts))

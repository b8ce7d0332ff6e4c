"""Do probabilities mean what they say? Temperature, calibration error, and a score for "none of these species"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax

__all__ = ["Calibration", "calibrate", "calibration_error", "energy_score", "temperature"]


@dataclass(frozen=True)
class Calibration:
    """What photographs of known species, which trained nothing, say about a classifier's logits.

    Attributes:
        temperature: logits are divided by it before they become probabilities.
        known: energy_score of those photographs: its quantiles 0, 0.01, ..., 1; empty where there were none.
    """

    temperature: float = 1.0
    known: tuple[float, ...] = ()

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """float32, the shape of the logits (N, C), rows that sum to 1."""
        return softmax(logits / self.temperature, axis=1).astype(np.float32)

    def unlike(self, logits: np.ndarray) -> np.ndarray:
        """Share of the known photographs that were less strange than each image: float, shape (N,), 0..1; NaN where there were none.

        About 0.95 or more: perhaps none of these species. 5 % of photographs of known species have as much.
        """
        if not self.known:
            return np.full(len(logits), np.nan)
        return np.interp(energy_score(logits, self.temperature), self.known, np.linspace(0, 1, len(self.known)))


def calibrate(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    """Calibrate on photographs that trained nothing; see ``temperature`` for the arguments."""
    found = temperature(logits, labels)
    return Calibration(found, tuple(np.quantile(energy_score(logits, found), np.linspace(0, 1, 101)).tolist()))


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """What logits are to be divided by before the softmax (Guo et al. 2017, arXiv 1706.04599, section 4.2), in [0.05, 20].

    It minimises the negative log-likelihood with every species counting the same, as the logits hold no prior: with each image counting the
    same, logits that are right about rare species would be made flat because common ones expect a prior.

    Args:
        logits: float, shape (N, C), of images that did not train them.
        labels: int64, shape (N,).
    """
    weights = _balanced(labels)

    def surprise(log_temperature: float) -> float:
        return -float((weights * log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(labels)), labels]).sum())

    return float(np.exp(minimize_scalar(surprise, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15, balanced: bool = False) -> float:
    """Expected calibration error of the likeliest species: mean over equally wide bins of |share that is right - mean probability| (Guo et al.,
    equation 3), weighted by the images in them; in [0, 1].

    Args:
        probabilities: shape (N, C), rows that sum to 1.
        labels: int64, shape (N,).
        balanced: every species counts the same instead of every image.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    weights = _balanced(labels) if balanced else np.full(len(labels), 1 / len(labels))
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, weights * (right - confidence), bins)
    return float(np.abs(gaps).sum())


def energy_score(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """How little an image looks like any of the species: the free energy -T log sum exp(z / T) (Liu et al. 2020, arXiv 2010.03759, equation 4).

    Args:
        logits: float, shape (N, C).

    Returns:
        float, shape (N,); the higher the stranger. On no scale of its own: compare it with that of known photographs.
    """
    return -temperature * logsumexp(logits / temperature, axis=1)


def _balanced(labels: np.ndarray) -> np.ndarray:
    """Weights that sum to 1, with the same sum for every species that occurs."""
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return 1 / (counts[inverse] * len(counts))

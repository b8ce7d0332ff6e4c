"""Numbers that tell photographs of a wrong name: out-of-fold probabilities, confident learning, distances to others of the species.

Confident learning: Northcutt, Jiang & Chuang 2021, "Confident learning: estimating uncertainty in dataset labels", JAIR 70, 1373-1411. Written from
the paper: the library of its authors, cleanlab, is AGPL.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

__all__ = ["distance_to_species", "nearest_in_species", "num_label_errors", "out_of_fold", "reduced", "robust_deviations", "suggestions"]

_CHUNK = 1024
_DIMENSIONS = 256
_INVERSE_PENALTY = 30.0  # chosen on Fish4Knowledge and the butterflies, see docs/benchmarks/label_noise.md; 30 to 100 differ little


def reduced(features: np.ndarray, dimensions: int = _DIMENSIONS) -> np.ndarray:
    """Features of length 1, centred, on their first principal components: float32, shape (N, at most ``dimensions``)."""
    unit = features.astype(np.float64) / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    unit -= unit.mean(axis=0)
    values, vectors = np.linalg.eigh(unit.T @ unit)
    kept = vectors[:, np.argsort(-values)[: min(dimensions, len(unit))]]
    return (unit @ kept).astype(np.float32)


def out_of_fold(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, num_species: int, *, folds: int, seed: int, progress: Callable[[], None]
) -> np.ndarray:
    """Probability of every species for each photograph, by a classifier that has seen no photograph of its group.

    The classifier is a multinomial logistic regression.

    Args:
        features: float32, shape (N, D).
        labels: positions in the list of species, int64, shape (N,); there are at least two species.
        groups: group of each photograph, int64, shape (N,).
        folds: number of parts, each of whole groups; every part is predicted by a classifier fitted to the others.
        progress: called after each fold.

    Returns:
        float64, shape (N, num_species); rows add up to 1.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    result = np.zeros((len(labels), num_species))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)  # these are told as too few to judge
        parts = list(splitter.split(features, labels, groups))
        for train, held_out in parts:
            present = np.unique(labels[train])
            if len(present) == 1:
                result[held_out, present[0]] = 1.0
            else:
                model = LogisticRegression(C=_INVERSE_PENALTY, max_iter=300).fit(features[train], labels[train])
                result[np.ix_(held_out, model.classes_)] = model.predict_proba(features[held_out])
            progress()
    return result


def num_label_errors(probabilities: np.ndarray, labels: np.ndarray) -> int:
    """How many labels are probably wrong: the off-diagonal sum of the confident joint (equations 1 and 2 of the paper).

    A photograph counts for the most probable of the species whose probability reaches the mean probability that photographs named so are given.

    Args:
        probabilities: shape (N, K), out of fold.
        labels: int64, shape (N,).
    """
    num = probabilities.shape[1]
    thresholds = np.array([probabilities[labels == one, one].mean() if (labels == one).any() else np.inf for one in range(num)])
    reached = np.where(probabilities >= thresholds - 1e-9, probabilities, -1.0)
    return int(((reached.max(axis=1) >= 0) & (reached.argmax(axis=1) != labels)).sum())


def suggestions(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most probable other species of each photograph, and the log-odds of its own against that one: int64 and float64, both of shape (N,).

    The lower the log-odds, the more probably the name is wrong.
    """
    rows = np.arange(len(labels))
    own = probabilities[rows, labels]
    others = probabilities.copy()
    others[rows, labels] = -1.0
    best = others.argmax(axis=1)
    return best, np.log(own + 1e-6) - np.log(others[rows, best].clip(0) + 1e-6)


def distance_to_species(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, neighbours: int) -> np.ndarray:
    """Mean distance of each photograph to its nearest ``neighbours`` of the same species in other groups.

    Args:
        features: shape (N, D).

    Returns:
        float64, shape (N,); NaN where no other group of the species exists.
    """
    result = np.full(len(labels), np.nan)
    for species in np.unique(labels):
        rows = np.flatnonzero(labels == species)
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            distance = _distances(features[part], features[rows])
            distance[groups[part][:, None] == groups[rows][None]] = np.inf
            nearest = np.sort(distance, axis=1)[:, :neighbours]
            there = np.isfinite(nearest)
            count = there.sum(axis=1)
            total = np.where(there, nearest, 0).sum(axis=1)
            result[part] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return result


def robust_deviations(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How far each value lies above the median of its species, in robust standard deviations (1.4826 times the median absolute deviation).

    Returns:
        float64, shape (N,); NaN where the value is NaN.
    """
    result = np.full(len(values), np.nan)
    for species in np.unique(labels):
        rows = np.flatnonzero((labels == species) & np.isfinite(values))
        if len(rows):
            centred = values[rows] - np.median(values[rows])
            result[rows] = centred / max(1.4826 * float(np.median(np.abs(centred))), 1e-9)
    return result


def nearest_in_species(features: np.ndarray, row: int, candidates: np.ndarray) -> int | None:
    """The one of ``candidates`` (rows) that is most like a photograph; None if there are none."""
    if not len(candidates):
        return None
    return int(candidates[int(_distances(features[[row]], features[candidates])[0].argmin())])


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Euclidean distances: float64, shape (n, m)."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None] - 2 * first @ second.T
    distances: np.ndarray = np.sqrt(squares.clip(0))
    return distances

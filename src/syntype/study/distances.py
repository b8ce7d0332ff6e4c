"""Distances between two sets of images, and the variety of one, from features.

    kid                    Bińkowski et al. 2018 (arXiv 1801.01401), section 4: unbiased squared MMD, cubic kernel
    precision, recall      Kynkäänniemi et al. 2019 (arXiv 1904.06991), equations 1 and 2
    density, coverage      Naeem et al. 2020 (arXiv 2002.09797), equations 5 and 7
    vendi_ratio            Vendi score, Friedman & Dieng 2023 (arXiv 2210.02410), definition 3.1: synthetic over real
    frechet_distance       Heusel et al. 2017 (arXiv 1706.08500), equation 6, in the features of any encoder
    cmmd                   Jayasumana et al. 2024 (arXiv 2401.09603), section 4: unbiased squared MMD, Gaussian kernel

All pairs of images are compared, in blocks, so that memory stays bounded and time grows with the square of their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "Advance", "Likeness", "cmmd", "compare", "density_coverage", "frechet_distance", "kid", "num_pairs", "precision_recall", "vendi_ratio",
    "vendi_score",
]  # fmt: skip

BLOCK = 2048
"""Images on each side of a block of pairs; a block of numbers takes 34 MB."""

_CMMD_SIGMA = 10.0

Advance = Callable[[int], None]


class Likeness(NamedTuple):
    """How like two sets of features are; see ``EvaluateResult``."""

    kid: float
    precision: float
    recall: float
    density: float
    coverage: float


def compare(real: np.ndarray, fake: np.ndarray, k: int, progress: Advance | None = None) -> Likeness:
    """KID, precision, recall, density and coverage, from one pass over all pairs.

    Args:
        real, fake: features, shapes (N, D) and (M, D), N and M larger than ``k``.
        k: number of neighbours, at least 1. The manifold of a set is the union of balls around its rows that reach to their k-th neighbour.
        progress: Called with a number of pairs after each block; ``num_pairs`` in all.
    """
    x, y = torch.from_numpy(real), torch.from_numpy(fake)
    real_kernel, real_radii = _within(x, k, progress)
    fake_kernel, fake_radii = _within(y, k, progress)
    among_real = torch.zeros(len(y), dtype=torch.int64)  # for each synthetic image, the number of real neighbourhoods that it lies in
    among_fake = torch.zeros(len(x), dtype=torch.bool)
    nearest = torch.full((len(x),), torch.inf, dtype=torch.float64)
    kernels = []
    for rows, columns in _blocks(len(x), len(y)):
        kernel, squared = _compare_rows(x[rows], y[columns])
        kernels.append(float(kernel.sum()))
        among_real[columns] += (squared < real_radii[rows, None]).sum(0)
        among_fake[rows] |= (squared < fake_radii[None, columns]).any(1)
        nearest[rows] = torch.minimum(nearest[rows], squared.amin(1))
        if progress is not None:
            progress(squared.numel())
    return Likeness(
        kid=real_kernel + fake_kernel - 2 * math.fsum(kernels) / (len(x) * len(y)),
        precision=float((among_real > 0).double().mean()),
        recall=float(among_fake.double().mean()),
        density=float(among_real.double().mean() / k),
        coverage=float((nearest < real_radii).double().mean()),
    )


def num_pairs(num_real: int, num_fake: int) -> int:
    """Pairs that ``compare`` goes through: the total for a progress bar."""
    within = sum((rows.stop - rows.start) * (columns.stop - columns.start) for n in (num_real, num_fake) for rows, columns in _triangle(n))
    return within + num_real * num_fake


def kid(x: np.ndarray, y: np.ndarray) -> float:
    """Kernel inception distance: the unbiased estimate of the squared MMD with k(a, b) = (a.b / D + 1)^3.

    Args:
        x, y: features, shapes (N, D) and (M, D), N and M at least 2. All pairs are used, not subsets, which gives the lowest variance.
    """
    return compare(x, y, 1).kid


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float]:
    """Improved precision and recall: fractions of ``fake`` within the manifold of ``real``, and of ``real`` within the manifold of ``fake``.

    Args:
        real, fake, k: As in ``compare``.
    """
    likeness = compare(real, fake, k)
    return likeness.precision, likeness.recall


def density_coverage(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float]:
    """Density and coverage; arguments as in ``compare``."""
    likeness = compare(real, fake, k)
    return likeness.density, likeness.coverage


def vendi_score(features: np.ndarray) -> float:
    """Effective number of different images: exp of the entropy of the eigenvalues of K / N, where K are the cosine similarities.

    Args:
        features: shape (N, D), without rows of zeros.

    Returns:
        between 1 (all the same) and N (all orthogonal).
    """
    unit = features.astype(np.float64) / np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    gram = unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit  # both have the same eigenvalues except for zeros
    values = np.linalg.eigvalsh(gram / len(unit))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def vendi_ratio(real: np.ndarray, real_species: np.ndarray, fake: np.ndarray, fake_species: np.ndarray) -> float | None:
    """Variety within species: the geometric mean over species of the ratio of Vendi scores, synthetic divided by real.

    Args:
        real, fake: features, shapes (N, D) and (M, D).
        real_species, fake_species: name of each row, shapes (N,) and (M,). Each species needs the same number of rows in both,
            because the score grows with the number.

    Returns:
        the ratio, 1 for the same variety; None if no species has two images.
    """
    logs = []
    for species in np.unique(real_species):
        a, b = real[real_species == species], fake[fake_species == species]
        if len(a) >= 2:
            logs.append(np.log(vendi_score(b) / vendi_score(a)))
    return float(np.exp(np.mean(logs))) if logs else None


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Fréchet distance of two sets of features, each taken as a normal distribution: |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2)).

    This is the plain form, with means m and covariances S (divided by N - 1) of the samples as they are. It is too large for few images: even two
    samples of one distribution are far apart if they have fewer rows than columns (Chong & Forsyth 2020, arXiv 1911.07023).

    Args:
        x, y: features, shapes (N, D) and (M, D), N and M at least 2.

    Returns:
        the distance, 0 or more. The last term is twice the sum of the singular values of A1 A2^T, where A^T A = S, so that no root of a matrix is
        taken.
    """
    means, roots = [], []
    for side in (x, y):
        features = torch.from_numpy(side).double()
        means.append(features.mean(0))
        root = (features - means[-1]) / math.sqrt(len(features) - 1)
        roots.append(torch.linalg.qr(root, mode="r").R if len(root) > root.shape[1] else root)
    between = float((means[0] - means[1]).square().sum())
    spread = sum(float(root.square().sum()) for root in roots)
    return max(0.0, between + spread - 2 * float(torch.linalg.svdvals(roots[0] @ roots[1].T).sum()))


def cmmd(x: np.ndarray, y: np.ndarray) -> float:
    """CMMD: 1000 times the unbiased estimate of the squared MMD with k(a, b) = exp(-|a - b|^2 / (2 * 10^2)), of vectors scaled to length 1.

    The unbiased estimate leaves out the pairs of an image with itself. The code published with the paper keeps them, which adds more the fewer the
    images are.

    Args:
        x, y: image embeddings of a CLIP model, shapes (N, D) and (M, D), N and M at least 2.

    Returns:
        0 on average for two samples of one distribution (so it may be slightly negative).
    """
    a, b = (F.normalize(torch.from_numpy(side).double()) for side in (x, y))

    def total(first: Tensor, second: Tensor) -> float:
        """Sum of k - 1 over all pairs: k is nearly 1 everywhere, so the ones are left out, which cancel in the end. The diagonal gives 0."""
        parts = (torch.expm1((first[rows] @ second[columns].T - 1) / _CMMD_SIGMA**2) for rows, columns in _blocks(len(first), len(second)))
        return math.fsum(float(part.sum()) for part in parts)

    own = [total(side, side) / (len(side) * (len(side) - 1)) for side in (a, b)]
    return 1000 * (sum(own) - 2 * total(a, b) / (len(a) * len(b)))


def _blocks(num_rows: int, num_columns: int) -> Iterator[tuple[slice, slice]]:
    """Parts of a matrix of all pairs, row by row, each of at most ``BLOCK`` x ``BLOCK``: the whole matrix may not fit into memory."""
    for row in range(0, num_rows, BLOCK):
        for column in range(0, num_columns, BLOCK):
            yield slice(row, min(row + BLOCK, num_rows)), slice(column, min(column + BLOCK, num_columns))


def _triangle(num: int) -> Iterator[tuple[slice, slice]]:
    """The blocks on and above the diagonal."""
    return ((rows, columns) for rows, columns in _blocks(num, num) if rows.start <= columns.start)


def _compare_rows(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Kernels and squared Euclidean distances of all pairs of rows: float64, shape (len(x), len(y)) each."""
    x, y = x.double(), y.double()
    product = x @ y.T
    kernel = product / x.shape[1] + 1
    kernel *= kernel * kernel
    squared = product.mul_(-2).add_(x.square().sum(1)[:, None]).add_(y.square().sum(1)[None]).clamp_(min=0)
    return kernel, squared


def _within(x: Tensor, k: int, progress: Advance | None) -> tuple[float, Tensor]:
    """Mean kernel of pairs of different rows, and the squared distance from each row to its k-th neighbour: float64, shape (len(x),)."""
    nearest = torch.full((len(x), k), torch.inf, dtype=torch.float64)
    kernels = []

    def keep(rows: slice, squared: Tensor) -> None:
        found = squared.topk(min(k, squared.shape[1]), dim=1, largest=False).values
        nearest[rows] = torch.cat([nearest[rows], found], dim=1).topk(k, dim=1, largest=False).values

    for rows, columns in _triangle(len(x)):
        kernel, squared = _compare_rows(x[rows], x[columns])
        if rows == columns:
            kernels.append(float(kernel.sum() - kernel.trace()))
            squared.fill_diagonal_(torch.inf)
        else:
            kernels.append(2 * float(kernel.sum()))
            keep(columns, squared.T)
        keep(rows, squared)
        if progress is not None:
            progress(squared.numel())
    return math.fsum(kernels) / (len(x) * (len(x) - 1)), nearest.amax(1)

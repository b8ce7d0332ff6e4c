"""Fidelity: how similar to photographs the synthetic images are, how varied they are, and how many of them are copies.

The measures are computed from features of EfficientNet-Lite0. This network is not used for training, curation or classification. Both sides
have the same number of images of each species, so that a different mix of species does not look like a difference between the images.

    kid                    Bińkowski et al. 2018 (arXiv 1801.01401), section 4: unbiased squared MMD, cubic kernel
    precision, recall      Kynkäänniemi et al. 2019 (arXiv 1904.06991), equations 1 and 2
    density, coverage      Naeem et al. 2020 (arXiv 2002.09797), equations 5 and 7
    vendi_ratio            Vendi score, Friedman & Dieng 2023 (arXiv 2210.02410), definition 3.1: synthetic over real
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from syntype.collection.table import Collection
from syntype.curation.curate import copy_detector
from syntype.curation.leaks import held_back_apart
from syntype.encoders import encode_collection, load_encoder
from syntype.errors import CollectionError
from syntype.recipe import Settings
from syntype.run import OWN_RUN, Run

__all__ = ["EvaluateConfig", "EvaluateResult", "density_coverage", "evaluate", "kid", "precision_recall", "vendi_ratio", "vendi_score"]

ENCODER = "lite0"


class EvaluateConfig(Settings):
    """Settings of ``evaluate``."""

    split: Literal["train", "val", "test"] = "test"
    """Split whose photographs are compared with the synthetic images."""
    size: int = Field(64, ge=32)
    """Side in pixels at which images are compared (the encoder sees them enlarged to 128)."""
    neighbours: int = Field(5, ge=1)
    """Number of neighbours k in precision, recall, density and coverage. If there are too few images, it is one less than their number."""
    copy_quantile: float = Field(0.015, gt=0, lt=0.5)
    """As in ``CurateConfig``."""
    seed: int = 0
    """Random seed of the draw that gives both sides the same mix of species."""


@dataclass(frozen=True)
class EvaluateResult:
    """Fidelity of a synthetic collection.

    Attributes:
        encoder: name of the encoder and its weights.
        kid: unbiased squared MMD; 0 on average for two samples of one distribution (so it may be slightly negative).
        precision: in [0, 1]: fraction of synthetic images that lie among the real ones.
        recall: in [0, 1]: fraction of real images that lie among the synthetic ones.
        density: mean number of real neighbourhoods that contain a synthetic image, divided by k; about 1 for one distribution, may exceed 1.
        coverage: in [0, 1]: fraction of real images that have a synthetic image in their neighbourhood.
        vendi_ratio: variety within species, synthetic divided by real (1: the same); None if no species has two images on both sides.
        copy_rate: in [0, 1]: fraction of all usable synthetic images that are copies of training photographs.
        num_synthetic: number of synthetic images compared.
        num_real: number of photographs compared.
        species: names of the species compared.
        left_out: species of the synthetic collection without photographs in the split.
        num_left_out: number of validation and test photographs left out, because training photographs or synthetic images repeat them.
    """

    encoder: str
    kid: float
    precision: float
    recall: float
    density: float
    coverage: float
    vendi_ratio: float | None
    copy_rate: float
    num_synthetic: int
    num_real: int
    species: tuple[str, ...]
    left_out: tuple[str, ...]
    num_left_out: int = 0

    def summary(self) -> dict[str, Any]:
        """The values that ``--json`` prints."""
        names = (
            "encoder",
            "kid",
            "precision",
            "recall",
            "density",
            "coverage",
            "copy_rate",
            "vendi_ratio",
            "num_synthetic",
            "num_real",
            "num_left_out",
        )
        return {**{name: getattr(self, name) for name in names}, "num_species": len(self.species), "left_out": list(self.left_out)}


def evaluate(synthetic: Collection, real: Collection, config: EvaluateConfig, run: Run = OWN_RUN) -> EvaluateResult:
    """Compare synthetic images (the usable ones) with the photographs of a split.

    For each species that both collections have, the same number of images is drawn from both: the smaller of the two numbers. For copies,
    synthetic images are always compared with the training photographs.

    Args:
        synthetic: images with species; refused ones are left out.
        real: photographs with splits.
        config: which split to compare with, size, number of neighbours.
        run: Records progress and messages. Default: standard error.

    Returns:
        KID, precision, recall, density, coverage, Vendi ratio and fraction of copies; see ``EvaluateResult``.

    Raises:
        LeakageError: with split ``val`` or ``test``: the images repeat more photographs of it than chance explains.
        CollectionError: fewer than two images could be compared.

    Example:
        >>> import syntype
        >>> synthetic, reef = syntype.Collection.open("out/synthetic"), syntype.Collection.open("out/reef")
        >>> result = syntype.evaluate(synthetic, reef, syntype.EvaluateConfig(size=32))
        >>> result.kid > 0.05 and 0 <= result.coverage <= 1
        True
    """
    usable, num_left_out = synthetic.select(usable=True), 0
    if config.split != "train":
        real, leaks = held_back_apart(real, [usable], size=config.size, run=run, seed=config.seed, quantile=config.copy_quantile)
        num_left_out = len(leaks.left_out)
    reference = real.select(split=config.split)
    ours, theirs = _same_mix(usable, reference, config.seed)
    if len(ours) < 2:
        raise CollectionError(
            f"{synthetic.root}: only {len(ours)} image(s) can be compared with the split {config.split!r} of {real.root}: fidelity needs at least 2. "
            "Draw more images of species that the split has, or choose another --split."
        )
    fake, photographs = usable.where(_mask(len(usable), ours)), reference.where(_mask(len(reference), theirs))
    left_out = tuple(sorted(set(usable.table["species"].dropna()) - set(photographs.table["species"])))
    if left_out:
        run.say(f"Not compared, as the split {config.split!r} has no photograph of them: {', '.join(left_out)}")
    encoder = load_encoder(ENCODER)
    with run.progress("Encoding images", len(fake) + len(photographs)) as bar:
        x = encode_collection(encoder, photographs, pixels=config.size, progress=bar.advance)
        y = encode_collection(encoder, fake, pixels=config.size, progress=bar.advance)
    k = min(config.neighbours, len(x) - 1)
    precision, recall = precision_recall(x, y, k)
    density, coverage = density_coverage(x, y, k)
    detector = copy_detector(real.training(), config.size, config.copy_quantile, config.seed, run)
    with run.progress("Looking for copies", len(usable)) as bar:
        copies = detector.nearest(usable.pixels(config.size), progress=bar.advance).is_copy
    return EvaluateResult(
        encoder=f"{encoder.name}: {encoder.backbone.weights}",
        kid=kid(x, y),
        precision=precision,
        recall=recall,
        density=density,
        coverage=coverage,
        vendi_ratio=vendi_ratio(x, photographs.table["species"].to_numpy(), y, fake.table["species"].to_numpy()),
        copy_rate=float(copies.mean()),
        num_synthetic=len(fake),
        num_real=len(photographs),
        species=tuple(sorted(photographs.table["species"].unique())),
        left_out=left_out,
        num_left_out=num_left_out,
    )


def kid(x: np.ndarray, y: np.ndarray) -> float:
    """Kernel inception distance: the unbiased estimate of the squared MMD with k(a, b) = (a.b / D + 1)^3.

    Args:
        x, y: features, shapes (N, D) and (M, D), N and M at least 2. All pairs are used, not subsets, which gives the lowest variance.
    """
    n, m, dim = len(x), len(y), x.shape[1]
    x, y = x.astype(np.float64), y.astype(np.float64)
    xx, yy, xy = (((a @ b.T) / dim + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * xy.mean())


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float]:
    """Improved precision and recall: fractions of ``fake`` within the manifold of ``real``, and of ``real`` within the manifold of ``fake``.

    Args:
        real, fake: features, shapes (N, D) and (M, D), N and M larger than ``k``.
        k: number of neighbours. The manifold is the union of balls around the rows that reach to their k-th neighbour.
    """
    distances = _distances(real, fake)
    precision = (distances < _radii(real, k)[:, None]).any(0).mean()
    recall = (distances < _radii(fake, k)[None]).any(1).mean()
    return float(precision), float(recall)


def density_coverage(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float]:
    """Density and coverage; arguments as in ``precision_recall``."""
    distances, radii = _distances(real, fake), _radii(real, k)
    inside = distances < radii[:, None]
    return float(inside.sum(0).mean() / k), float((distances.min(1) < radii).mean())


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


def _mask(length: int, rows: np.ndarray) -> np.ndarray:
    """Bool mask, shape (length,), true at ``rows``."""
    mask = np.zeros(length, dtype=bool)
    mask[rows] = True
    return mask


def _same_mix(first: Collection, second: Collection, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of both collections, with the same number for each species: the smaller of the two numbers."""
    rows: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    names = [np.array(collection.table["species"].fillna("").tolist(), dtype=object) for collection in (first, second)]
    for number, species in enumerate(sorted(set(names[0]) & set(names[1]) - {""})):
        found = [np.flatnonzero(column == species) for column in names]
        count = min(len(rows_of) for rows_of in found)
        for side, rows_of in enumerate(found):
            rows[side].append(np.random.default_rng([seed, side, number]).permutation(rows_of)[:count])
    empty = np.empty(0, dtype=np.int64)
    return np.sort(np.concatenate([empty, *rows[0]])), np.sort(np.concatenate([empty, *rows[1]]))


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Euclidean distances, float64, shape (len(x), len(y))."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    squared = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T
    return np.sqrt(np.maximum(squared, 0))


def _radii(x: np.ndarray, k: int) -> np.ndarray:
    """Distance from each row to its k-th neighbour (itself not counted)."""
    distances = _distances(x, x)
    np.fill_diagonal(distances, 0)
    return np.partition(distances, k, axis=1)[:, k]

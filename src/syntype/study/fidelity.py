"""Fidelity: how similar to photographs the synthetic images are, how varied they are, and how many of them are copies.

For few images it also says what chance alone explains (``chance``): an interval of KID, and whether images lie nearer to training photographs
than photographs that no training has seen.

The measures are computed from features of EfficientNet-Lite0. This network is not used for training, curation or classification. Both sides
have the same number of images of each species, so that a different mix of species does not look like a difference between the images.

    kid                    Bińkowski et al. 2018 (arXiv 1801.01401), section 4: unbiased squared MMD, cubic kernel
    precision, recall      Kynkäänniemi et al. 2019 (arXiv 1904.06991), equations 1 and 2
    density, coverage      Naeem et al. 2020 (arXiv 2002.09797), equations 5 and 7
    vendi_ratio            Vendi score, Friedman & Dieng 2023 (arXiv 2210.02410), definition 3.1: synthetic over real

All pairs of images are compared, in blocks, so that memory stays bounded and time grows with the square of their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from syntype.collection.names import count_unknown
from syntype.collection.table import Collection
from syntype.curation.curate import copies_of, copy_detector, group_names
from syntype.curation.leaks import held_back_apart
from syntype.encoders import encode_collection, load_encoder
from syntype.errors import CollectionError, checks_arguments
from syntype.recipe import Seed, Settings
from syntype.run import OWN_RUN, Run
from syntype.study.chance import ALARM, KidChance, Memorising, kid_chance, memorising, nearness

__all__ = [
    "EvaluateConfig", "EvaluateResult", "Likeness", "compare", "density_coverage", "evaluate", "kid", "num_pairs", "precision_recall", "vendi_ratio",
    "vendi_score",
]  # fmt: skip

ENCODER = "lite0"
FEWEST = 50
"""Images on each side below which the figures mean nothing: the five neighbours of an image are then a tenth of all images, and KID differs
between two draws from one distribution by as much as between good and bad generators."""
BLOCK = 2048
"""Images on each side of a block of pairs; a block of numbers takes 34 MB."""

Advance = Callable[[int], None]


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
    seed: Seed = 0
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
        kid_chance: 95 % interval of ``kid``, and the p value of the test whether it is more than chance; see ``chance.KidChance``.
        memorising: whether images are nearer to training photographs than held-back photographs are; see ``chance.Memorising``. None with the split
            ``train``, which holds nothing back.
        note: what to know before the figures are used: that there are too few images; None if there are enough.
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
    kid_chance: KidChance
    memorising: Memorising | None
    num_left_out: int = 0
    note: str | None = None

    def in_words(self) -> list[str]:
        """What the figures that chance could explain say, in sentences."""
        low, high, p_value = self.kid_chance
        sentences = [
            f"KID is {self.kid:.3f} (95 % interval {low:.3f} to {high:.3f}). "
            + (
                f"Chance does not explain that: the images differ from photographs (p = {p_value:.3f})."
                if p_value <= ALARM
                else f"So many photographs could differ as much by chance (p = {p_value:.2f}): no difference was shown."
            )
        ]
        if self.memorising is not None:
            found = self.memorising
            if found.alarm:
                start = (
                    "The images lie nearer to training photographs than photographs do that no training has seen: the generator repeats its training"
                )
            else:
                start = "No sign that the images repeat training photographs"
            sentences.append(
                f"{start} (an image is nearer in {found.nearer:.0%} of the comparisons, and {found.nearest_tenth:.0%} of the nearest tenth are "
                f"images; chance gives 50 % of both; p = {found.p_value:.3f})."
            )
        return sentences

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
        low, high, p_value = self.kid_chance
        return {
            **{name: getattr(self, name) for name in names},
            "kid_interval": None if math.isnan(low) else [low, high],
            "kid_p": p_value,
            "memorising": None if self.memorising is None else {**self.memorising._asdict(), "alarm": self.memorising.alarm},
            "num_species": len(self.species),
            "left_out": list(self.left_out),
            "in_words": self.in_words(),
            "note": self.note,
        }


@checks_arguments
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
        KID with its interval, precision, recall, density, coverage, Vendi ratio, fraction of copies, and whether images repeat training photographs;
        see ``EvaluateResult``.

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
        told = count_unknown(usable.table["species"].value_counts().to_dict(), photographs.table["species"].unique())
        run.say(f"Not compared, as the split {config.split!r} has no photograph of their species: {told}")
    note = None
    if len(fake) < FEWEST:
        note = (
            f"Only {len(fake)} images on each side could be compared: with so few the figures mean nothing. At least {FEWEST} are needed, and some "
            "hundreds to tell two generators apart."
        )
        run.say(note)
    encoder, train = load_encoder(ENCODER), None
    if config.split != "train":
        train = real.training()
        train = train.where(train.table["species"].isin(photographs.table["species"].unique()).to_numpy(dtype=bool))
    with run.progress("Encoding images", len(fake) + len(photographs) + (0 if train is None else len(train))) as bar:
        x = encode_collection(encoder, photographs, pixels=config.size, progress=bar.advance)
        y = encode_collection(encoder, fake, pixels=config.size, progress=bar.advance)
        z = None if train is None or not len(train) else encode_collection(encoder, train, pixels=config.size, progress=bar.advance)
    k = min(config.neighbours, len(x) - 1)
    with run.progress("Comparing pairs of images", num_pairs(len(x), len(y))) as bar:
        likeness = compare(x, y, k, bar.advance)
    groups, fake_groups = group_names(photographs), group_names(fake)
    found = None
    if train is not None and z is not None:
        own, others = (nearness(side, z, group_names(train)) for side in (y, x))
        found = memorising(own, others, fake_groups, groups, seed=config.seed)
    detector = copy_detector(real.training(), config.size, config.copy_quantile, config.seed, run)
    with run.progress("Looking for copies", len(usable)) as bar:
        copies = copies_of(detector, usable, config.size, bar.advance).is_copy
    return EvaluateResult(
        encoder=f"{encoder.name}: {encoder.backbone.weights}",
        **likeness._asdict(),
        vendi_ratio=vendi_ratio(x, photographs.table["species"].to_numpy(), y, fake.table["species"].to_numpy()),
        kid_chance=kid_chance(x, y, groups, fake_groups, kid=likeness.kid, seed=config.seed),
        memorising=found,
        copy_rate=float(copies.mean()),
        num_synthetic=len(fake),
        num_real=len(photographs),
        species=tuple(sorted(photographs.table["species"].unique())),
        left_out=left_out,
        num_left_out=num_left_out,
        note=note,
    )


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

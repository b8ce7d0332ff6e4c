"""What chance alone explains, where images are few: of the distance KID, and of the nearness to training photographs.

Both tests compare synthetic images with photographs that no training has seen, and ask how often a difference as large would be found if the
two were alike: in that case it is mere chance which side each of them is on, so the sides are drawn again at random, many times. Photographs
of one group (video track, specimen) are alike and change sides together.

    kid_chance     test: Gretton et al. 2012, "A kernel two-sample test", section 8 (permutation in place of their bootstrap); kernel as in
                   Bińkowski et al. 2018 (arXiv 1801.01401). Interval: jackknife (Efron & Tibshirani 1993, equation 11.5)
    memorising     Meehan et al. 2020 (arXiv 2004.05675), section 2: are synthetic images nearer to training photographs than held-back
                   photographs are? Authenticity: Alaa et al. 2022 (arXiv 2102.08921), section 4
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

__all__ = ["ALARM", "KidChance", "Memorising", "Nearness", "kid_chance", "memorising", "nearness"]

ALARM = 0.05
"""Largest p value of ``memorising`` that is an alarm."""
NUM_PERMUTATIONS = 999
MOST = 1000
"""Largest number of images on each side in ``kid_chance``; of more, so many are drawn at random."""
NEAREST = 0.1
"""Share of all images that count as the nearest ones."""
_ROWS = 512


class KidChance(NamedTuple):
    """How sure a KID is.

    Attributes:
        low, high: 95 % interval of the value; NaN if a side has one group only.
        p_value: share of the permutations in which KID is at least as large, in (0, 1]: small if the images are certainly unlike photographs.
    """

    low: float
    high: float
    p_value: float


class Nearness(NamedTuple):
    """How near images are to training photographs.

    Attributes:
        distances: from each to its nearest training photograph, float64, shape (N,).
        authentic: whether that photograph is no further from another group's training photographs, bool, shape (N,).
    """

    distances: np.ndarray
    authentic: np.ndarray


class Memorising(NamedTuple):
    """Whether images are nearer to training photographs than photographs are that no training has seen.

    Attributes:
        ratio: geometric mean distance of the images from their nearest training photograph, divided by that of the held-back photographs. 1: the
            same; below 1: nearer.
        nearer: in [0, 1]: how often an image is nearer to its training photograph than a held-back photograph to its own, over all pairs of them;
            0.5 if there is no difference.
        z: the same as Mann-Whitney's z, without correction for continuity; below 0 if the images are nearer.
        nearest_tenth: in [0, 1]: share of images among the tenth of both that is nearest to training photographs; 0.5 if there is no difference.
        authenticity: in [0, 1]: share of images that are no nearer to a training photograph than another group's training photographs are to it.
        authenticity_held: the same share of the held-back photographs: what to expect without memorising.
        p_value: chance of images so near, or so many in the nearest tenth, without memorising, in (0, 1].
    """

    ratio: float
    nearer: float
    z: float
    nearest_tenth: float
    authenticity: float
    authenticity_held: float
    p_value: float

    @property
    def alarm(self) -> bool:
        """Whether the images repeat training photographs more than chance explains."""
        return self.p_value <= ALARM


def kid_chance(real: np.ndarray, fake: np.ndarray, real_groups: np.ndarray, fake_groups: np.ndarray, *, kid: float, seed: int = 0) -> KidChance:
    """Interval of a KID, and a test whether it is more than chance.

    Args:
        real, fake: features, shapes (N, D) and (M, D).
        real_groups, fake_groups: group of each row, shapes (N,) and (M,). A group is on one side only.
        kid: the KID of all rows; the middle of the interval.
        seed: seed of the permutations and of the choice of rows.
    """
    rng = np.random.default_rng([seed, 0x41D])
    rows = [np.sort(rng.permutation(len(side))[:MOST]) for side in (real, fake)]
    x = torch.from_numpy(np.concatenate([real[rows[0]], fake[rows[1]]])).double()
    kernel = (x @ x.T / x.shape[1] + 1) ** 3
    kernel.fill_diagonal_(0)  # no image is compared with itself
    codes, on_real = _units(real_groups[rows[0]], fake_groups[rows[1]])
    member = torch.zeros((len(on_real), len(x)), dtype=torch.float64)
    member[torch.from_numpy(codes), torch.arange(len(x))] = 1
    between, sizes = member @ kernel @ member.T, member.sum(1)  # sums over pairs of groups
    own = torch.from_numpy(on_real)[None].double()
    found = _kids(between, sizes, own, 1 - own)
    drawn = torch.from_numpy(rng.permuted(np.broadcast_to(on_real, (NUM_PERMUTATIONS, len(on_real))), axis=1)).double()
    permuted = _kids(between, sizes, drawn, 1 - drawn)
    p_value = float((1 + (permuted >= found).sum()) / (1 + NUM_PERMUTATIONS))
    variance = sum(_jackknife(between, sizes, torch.from_numpy(on_real), side) for side in (True, False))
    half = 1.959964 * variance**0.5
    return KidChance(kid - half, kid + half, p_value)


def nearness(images: np.ndarray, train: np.ndarray, train_groups: np.ndarray) -> Nearness:
    """How near each image is to training photographs.

    Args:
        images, train: features, shapes (N, D) and (T, D).
        train_groups: group of each training photograph, shape (T,).
    """
    bank = torch.from_numpy(train).double()
    distances, rows = _nearest(torch.from_numpy(images).double(), bank)
    codes = torch.from_numpy(np.unique(train_groups.astype(str), return_inverse=True)[1])
    others, _ = _nearest(bank[rows], bank, codes[rows, None] == codes[None])  # from these training photographs to those of other groups
    return Nearness(distances, distances >= others)


def memorising(fake: Nearness, held: Nearness, fake_groups: np.ndarray, held_groups: np.ndarray, *, seed: int = 0) -> Memorising:
    """Test whether images are nearer to training photographs than held-back photographs are.

    Args:
        fake, held: ``nearness`` of the images, M of them, and of N held-back photographs with the same mix of species.
        fake_groups, held_groups: group of each of them; a group is in one of the two only.
        seed: seed of the permutations.
    """
    fake_distances, held_distances = fake.distances, held.distances
    both = np.concatenate([held_distances, fake_distances])
    ranks = rankdata(both)
    units, on_held = _units(held_groups, fake_groups)
    rng = np.random.default_rng([seed, 0x4E4])
    sides = np.concatenate([on_held[None], rng.permuted(np.broadcast_to(on_held, (NUM_PERMUTATIONS, len(on_held))), axis=1)])
    nearest = ranks <= max(1.0, NEAREST * len(both))
    p_values = []
    for values in (-ranks, nearest.astype(np.float64)):  # large where near
        excess = _excess(values, units, sides)
        p_values.append((1 + (excess[1:] >= excess[0] - 1e-12).sum()) / (1 + NUM_PERMUTATIONS))
    n, m = len(held_distances), len(fake_distances)
    above = float(ranks[n:].sum() - m * (m + 1) / 2)  # Mann-Whitney's U of the images
    ties = np.unique(both, return_counts=True)[1].astype(np.float64)
    spread = np.sqrt(n * m / 12 * (n + m + 1 - (ties**3 - ties).sum() / ((n + m) * (n + m - 1))))
    logs = [float(np.log(np.maximum(distances, 1e-9)).mean()) for distances in (fake_distances, held_distances)]
    return Memorising(
        ratio=float(np.exp(logs[0] - logs[1])),
        nearer=1 - above / (n * m),
        z=float((above - n * m / 2) / spread) if spread > 0 else 0.0,
        nearest_tenth=float(nearest[n:].sum() / max(1, nearest.sum())),
        authenticity=float(fake.authentic.mean()),
        authenticity_held=float(held.authentic.mean()),
        p_value=float(min(1.0, 2 * min(p_values))),  # two statistics
    )


def _units(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of the group of each row of both sides, one after the other, and whether each group is on the first side."""
    one, other = (np.unique(side.astype(str), return_inverse=True)[1] for side in (first, second))
    num = int(one.max()) + 1
    codes = np.concatenate([one, num + other])
    return codes, np.arange(int(codes.max()) + 1) < num


def _kids(between: Tensor, sizes: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Unbiased squared MMD for each row of ``first`` and ``second`` (P, groups), 1 where a group is on that side: shape (P,)."""
    n, m = first @ sizes, second @ sizes
    left, right = first @ between, second @ between
    return (left * first).sum(1) / (n * (n - 1)) + (right * second).sum(1) / (m * (m - 1)) - 2 * (left * second).sum(1) / (n * m)


def _jackknife(between: Tensor, sizes: Tensor, on_first: Tensor, side: bool) -> float:
    """Variance of KID from the choice of the groups of one side: each is left out in turn."""
    chosen = torch.nonzero(on_first == side)[:, 0]
    if len(chosen) < 2:
        return float("nan")
    first, second = on_first.double(), 1 - on_first.double()
    keep = torch.ones((len(chosen), len(on_first)), dtype=torch.float64)
    keep[torch.arange(len(chosen)), chosen] = 0
    kids = _kids(between, sizes, keep * first, keep * second)
    return float((len(chosen) - 1) * kids.var(correction=0))


def _excess(values: np.ndarray, codes: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Mean value of the second side minus that of the first, for each row of ``sides`` (P, groups; true: first): shape (P,)."""
    sums, sizes = np.bincount(codes, weights=values), np.bincount(codes).astype(np.float64)
    first, second = sides.astype(np.float64), (~sides).astype(np.float64)
    return np.asarray((second @ sums) / (second @ sizes) - (first @ sums) / (first @ sizes))


def _nearest(rows: Tensor, bank: Tensor, barred: Tensor | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Distance to, and position of, the nearest row of the bank that is not ``barred`` (bool, shape (len(rows), len(bank)))."""
    distances, positions = [], []
    lengths = bank.square().sum(1)
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        squared = (lengths - 2 * part @ bank.T).add_(part.square().sum(1)[:, None])
        if barred is not None:
            squared = squared.masked_fill(barred[start : start + _ROWS], torch.inf)
        best = squared.min(1)
        distances.append(best.values.clamp_min(0).sqrt())
        positions.append(best.indices)
    return torch.cat(distances).numpy(), torch.cat(positions).numpy()

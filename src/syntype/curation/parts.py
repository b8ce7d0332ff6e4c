"""Which photograph an image took its animal or its place from, if it is no copy of it as a whole.

*Animal*: every square of 8 pixels of an image votes for the photograph of its species that has the most similar square anywhere, with the square
of its lead over the next photograph. Squares of plain water lead nowhere and hardly count.
*Piece*: the middle of a photograph, pixel by pixel, found in an image (``pieces``): animals that were cut out and pasted elsewhere.
*Place*: the rims of the images, without the middle, are compared with those of all photographs.

Whether held-back photographs were used is told by a permutation test. If the images were made without them, the held-back photographs are as
good as drawn at random from all photographs, group by group; images made from training photographs resemble those more, which makes the test
only more cautious. Many images that resemble one photograph count together under every permutation, so that a generator that always draws the
same is not taken for a leak.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from syntype.curation.alignment import downscale
from syntype.curation.pieces import piece_similarity
from syntype.encoders import load_encoder

__all__ = ["Origins", "nearest_animals", "nearest_pieces", "nearest_places"]

ENCODER = "lite2"
MOST_PER_SPECIES = 80
"""Largest number of photographs of a species with which an image is compared; of more, so many are drawn at random."""
MOST_IMAGES = 300
"""Largest number of images that are compared; of more, so many are drawn at random."""
NUM_PERMUTATIONS = 9999
_RIM_SIDE, _RIM_INNER = 24, 0.6  # side in pixels at which rims are compared, and where they begin (0: the middle, 1: the edge)
_NUM_FITTED = 200  # photographs whose squares the whitening is fitted to


_Choice = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Images, rows of the photographs and these photographs' groups -> for each image the group chosen, its lead and the photograph chosen."""


@dataclass(frozen=True)
class Origins:
    """The photograph that each image resembles most, in its animal or in its place.

    Attributes:
        rows: positions of the images compared, int64, shape (M,).
        nearest: position of the most similar photograph, int64, shape (M,).
        leads: how sure that is, only for ordering: float32, shape (M,).
        hits: number of images whose nearest photograph is held back.
        expected: the same number if held-back photographs were no nearer than others.
        p_value: share of the permutations with at least as many hits, in (0, 1].
    """

    rows: np.ndarray
    nearest: np.ndarray
    leads: np.ndarray
    hits: int
    expected: float
    p_value: float


def nearest_animals(images: np.ndarray, labels: np.ndarray, photographs: np.ndarray, species: np.ndarray, groups: np.ndarray, held: np.ndarray, *,
                     seed: int = 0, progress: Callable[[int], None] | None = None) -> Origins:  # fmt: skip
    """Find the photograph of the same species that shares most parts with each image, and test whether these are held-back ones too often.

    Images of species without held-back photographs, or with these alone, say nothing and are left out.

    Args:
        images: uint8, shape (N, size, size, 3).
        labels: species of the images, int64, shape (N,).
        photographs: uint8, shape (P, size, size, 3).
        species: species of the photographs, int64, shape (P,).
        groups: group of each photograph, int64, shape (P,); a group is held back as a whole.
        held: whether the photograph is held back, bool, shape (P,).
        seed: seed of all draws.
        progress: called with the number of images after each species.
    """
    rng = np.random.default_rng([seed, 0x9A27])
    squares = _Squares(photographs, np.sort(rng.permutation(len(photographs))[:_NUM_FITTED]))
    return _nearest(images, labels, species, groups, held, lambda chosen, bank, code: _vote(chosen, bank, code, squares), rng, progress)


def nearest_pieces(images: np.ndarray, labels: np.ndarray, photographs: np.ndarray, species: np.ndarray, groups: np.ndarray, held: np.ndarray, *,
                   seed: int = 0, progress: Callable[[int], None] | None = None) -> Origins:  # fmt: skip
    """Find the photograph of the same species whose middle fits best into each image, and test whether these are held-back ones too often.

    Args:
        images, labels, photographs, species, groups, held, seed, progress: as for ``nearest_animals``.
    """
    rng = np.random.default_rng([seed, 0x91EC])
    return _nearest(images, labels, species, groups, held, lambda chosen, bank, code: _fit(chosen, photographs[bank], code), rng, progress)


def _nearest(images: np.ndarray, labels: np.ndarray, species: np.ndarray, groups: np.ndarray, held: np.ndarray, choose: _Choice,
             rng: np.random.Generator, progress: Callable[[int], None] | None) -> Origins:  # fmt: skip
    """Species by species: the photograph that ``choose`` gives for each image, and how often held-back ones would be chosen by chance."""
    telling = [label for label in np.unique(labels) if 0 < held[species == label].sum() < (species == label).sum()]
    rows = np.flatnonzero(np.isin(labels, telling))
    rows = np.sort(rng.permutation(rows)[:MOST_IMAGES])
    if not len(rows):
        return Origins(rows, np.empty(0, np.int64), np.empty(0, np.float32), 0, 0.0, 1.0)
    nearest, leads = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.float32)
    hits, expected, permuted = 0, 0.0, np.zeros(NUM_PERMUTATIONS, np.int64)
    for label in telling:
        place = np.flatnonzero(labels[rows] == label)
        if not len(place):
            continue
        bank = np.sort(rng.permutation(np.flatnonzero(species == label))[:MOST_PER_SPECIES])
        names, code = np.unique(groups[bank], return_inverse=True)
        winner, leads[place], photograph = choose(images[rows[place]], bank, code)
        nearest[place] = bank[photograph]
        counts = np.bincount(winner, minlength=len(names))
        back = np.zeros(len(names), dtype=bool)
        back[code] = held[bank]
        hits += int(counts[back].sum())
        expected += float(len(place) * back.mean())
        order = rng.permuted(np.broadcast_to(back, (NUM_PERMUTATIONS, len(back))), axis=1)
        permuted += order @ counts
        if progress is not None:
            progress(len(place))
    return Origins(rows, nearest, leads, hits, expected, float((1 + (permuted >= hits).sum()) / (1 + NUM_PERMUTATIONS)))


@torch.inference_mode()
def nearest_places(images: np.ndarray, photographs: np.ndarray, groups: np.ndarray, held: np.ndarray, *, seed: int = 0) -> Origins:
    """Find the photograph whose rim is most similar to that of each image, and test whether these are held-back ones too often.

    Args:
        images, photographs, groups, held, seed: as for ``nearest_animals``.
    """
    rng = np.random.default_rng([seed, 0x91AC])
    rows = np.sort(rng.permutation(len(images))[:MOST_IMAGES])
    bank, chosen = _rims(photographs), images[rows]
    either = torch.maximum(_rims(chosen) @ bank.T, _rims(chosen[:, :, ::-1]) @ bank.T)
    best = either.max(1)
    names, code = np.unique(groups, return_inverse=True)
    counts, back = np.bincount(code[best.indices.numpy()], minlength=len(names)), np.zeros(len(names), dtype=bool)
    back[code] = held
    permuted = np.array([counts[rng.permutation(len(names))[: back.sum()]].sum() for _ in range(NUM_PERMUTATIONS)])
    hits = int(counts[back].sum())
    p_value = float((1 + (permuted >= hits).sum()) / (1 + NUM_PERMUTATIONS))
    return Origins(rows, best.indices.numpy(), best.values.numpy(), hits, float(len(rows) * back.mean()), p_value)


def _rims(images: np.ndarray) -> Tensor:
    """The rims of uint8 images (N, size, size, 3): their high and middle spatial frequencies, centred, as vectors of length 1."""
    small = downscale(images, _RIM_SIDE)
    axis = (torch.arange(_RIM_SIDE) + 0.5) / _RIM_SIDE * 2 - 1
    weights = (torch.maximum(axis[:, None].abs(), axis[None].abs()) > _RIM_INNER).float()
    smooth = F.avg_pool2d(F.pad(small, (2,) * 4, mode="replicate"), 5, 1)
    bands = (small - smooth, smooth - F.avg_pool2d(F.pad(smooth, (4,) * 4, mode="replicate"), 9, 1))
    vectors = []
    for band in bands:
        centred = band - (band * weights).sum((2, 3), keepdim=True) / weights.sum()
        vectors.append(F.normalize((centred * weights).flatten(1), dim=1, eps=1e-3))
    return torch.cat(vectors, 1) / len(bands) ** 0.5


@torch.inference_mode()
def _vote(images: np.ndarray, photographs: np.ndarray, groups: np.ndarray, squares: _Squares) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Group with the most votes, its lead, and the photograph of it with the most similar squares: shape (N,) each.

    Args:
        photographs: rows of the photographs in ``squares``, int64, shape (P,).
        groups: number of each photograph's group, 0..G-1, int64, shape (P,).
    """
    bank, code = squares.of_photographs(photographs), torch.from_numpy(groups)
    num_groups = int(code.max()) + 1
    queries = torch.cat([squares(images), squares(np.ascontiguousarray(images[:, :, ::-1]))], 1)  # an image and its mirror image vote together
    winners, leads, found = [], [], []
    for query in queries:
        similar = torch.stack([(photograph @ query.T).amax(0) for photograph in bank])  # (P, squares)
        by_group = similar.new_full((num_groups, similar.shape[1]), -1.0).scatter_reduce(0, code[:, None].expand_as(similar), similar, "amax")
        votes = similar.new_zeros(num_groups)
        if num_groups > 1:
            first = by_group.topk(2, 0)
            votes.index_add_(0, first.indices[0], (first.values[0] - first.values[1]) ** 2)
        best = votes.topk(min(2, num_groups)).values
        winner = int(votes.argmax())
        winners.append(winner)
        leads.append(float(best[0] - best[-1]))
        found.append(int(similar.mean(1).masked_fill(code != winner, -2.0).argmax()))
    return np.array(winners, np.int64), np.array(leads, np.float32), np.array(found, np.int64)


def _fit(images: np.ndarray, photographs: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Group whose photograph's middle fits best, its lead over the next group, and the photograph: shape (N,) each."""
    similar = piece_similarity(images, photographs)
    by_group = np.stack([similar[:, groups == number].max(1) for number in range(int(groups.max()) + 1)], axis=1)
    order = np.sort(by_group, axis=1)
    winner = by_group.argmax(1)
    lead = order[:, -1] - order[:, -2] if by_group.shape[1] > 1 else np.zeros(len(images), np.float32)
    chosen = np.where(groups[None] == winner[:, None], similar, -2).argmax(1)
    return winner.astype(np.int64), lead.astype(np.float32), chosen.astype(np.int64)


class _Squares:
    """Vectors of the squares of images, centred, whitened and of length 1, so that common textures do not make all squares alike."""

    def __init__(self, photographs: np.ndarray, fitted: np.ndarray) -> None:
        """``fitted``: rows of the photographs to which the whitening is fitted; their squares are kept, so that they are not computed again."""
        self._encoder, self._photographs = load_encoder(ENCODER), photographs
        found = self._encoder.local_features(photographs[fitted])
        self._kept = dict(zip(fitted.tolist(), found, strict=True))
        squares = found.float().flatten(0, 1)
        self._mean = squares.mean(0)
        variances, axes = torch.linalg.eigh(torch.cov((squares - self._mean).T))
        self._axes = axes / (variances.clamp_min(0) + 1e-3 * variances.max()).sqrt()

    def __call__(self, images: np.ndarray) -> Tensor:
        """uint8 (N, size, size, 3) -> float32 (N, squares, channels)."""
        return self._whitened(self._encoder.local_features(images))

    def of_photographs(self, rows: np.ndarray) -> Tensor:
        """The same of the photographs in these rows."""
        missing = [row for row in rows.tolist() if row not in self._kept]
        found = dict(zip(missing, self._encoder.local_features(self._photographs[missing]), strict=True)) if missing else {}
        return self._whitened(torch.stack([self._kept[row] if row in self._kept else found[row] for row in rows.tolist()]))

    def _whitened(self, squares: Tensor) -> Tensor:
        return F.normalize((squares.float() - self._mean) @ self._axes, dim=2)

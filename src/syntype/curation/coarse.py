"""First stage of copy detection: find training photographs with a window that is similar to the query at 12 px.

Every photograph is represented by its windows (``alignment.windows``), every query by itself and its mirror image. ``ExactSearch`` compares
every query with every window. ``ApproximateSearch`` uses an inverted file of compressed window vectors (Jégou, Douze & Schmid 2011) and
searches only cells near the query, so that its cost hardly grows with the number of photographs.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from syntype.curation.alignment import NUM_WINDOWS, downscale, unit_vectors, window_vectors, windows

__all__ = ["REAL_CHUNK", "SIDE", "Candidates", "CoarseSearch", "ExactSearch", "query_vectors", "shares", "window_poses"]

SIDE = 12
"""Side in pixels at which windows are compared."""
REAL_CHUNK, QUERY_CHUNK = 512, 64


class Candidates(NamedTuple):
    """The most similar photographs of each of M queries, best first; one for the query and one for its mirror image, as animals are symmetrical.

    Attributes:
        scores: Correlation at 12 px, shape (M, K); -2 or less for an empty entry.
        rows: Positions of the photographs, int64, shape (M, K).
        mirrored: Whether it is the mirror image of the query that is similar, bool, shape (M, K).
        poses: Poses of the similar windows (``alignment.windows``), shape (M, K, 2, 3).
    """

    scores: Tensor
    rows: Tensor
    mirrored: Tensor
    poses: Tensor


class CoarseSearch(Protocol):
    """A searchable set of photographs."""

    def nearest(self, images: np.ndarray, keep: int, allowed: np.ndarray | None = None) -> Candidates:
        """The ``keep`` most similar photographs of each image, among those ``allowed``.

        Args:
            images: uint8, shape (M, size, size, 3).
            keep: Number of candidates; at most twice the number of photographs.
            allowed: bool, shape (M, N); None for all.
        """


class ExactSearch:
    """Compares every query with every window of every photograph, by one matrix product. It takes 3.5 kB of memory per photograph."""

    def __init__(self, images: np.ndarray, parts: np.ndarray | None = None) -> None:
        self._pictures, self._shapes = downscale(images, 2 * SIDE, parts).half(), shares(images, parts)

    def nearest(self, images: np.ndarray, keep: int, allowed: np.ndarray | None = None) -> Candidates:
        """See ``CoarseSearch.nearest``."""
        queries = query_vectors(images)
        scores = torch.full((len(images), keep), -3.0)
        rows, codes = torch.zeros((2, len(images), keep), dtype=torch.int64)
        for first in range(0, len(self._pictures), REAL_CHUNK):
            bank = window_vectors(self._pictures[first : first + REAL_CHUNK].float(), self._shapes[first : first + REAL_CHUNK], SIDE)
            num_real, flat = len(bank), bank.flatten(0, 1).T
            for start in range(0, len(images), QUERY_CHUNK):
                part = slice(start, start + QUERY_CHUNK)
                similar = (queries[part].flatten(0, 1) @ flat).view(-1, 2, num_real, NUM_WINDOWS)
                score, code = similar.max(3)
                code[:, 1] += NUM_WINDOWS  # code = mirrored * NUM_WINDOWS + window
                if allowed is not None:
                    score = score.masked_fill(torch.from_numpy(~allowed[part, None, first : first + num_real]), -2.0)
                score, code = score.flatten(1), code.flatten(1)
                joined = torch.cat([scores[part], score], 1)
                scores[part], order = joined.topk(keep, 1)
                codes[part] = torch.cat([codes[part], code], 1).gather(1, order)
                rows[part] = torch.cat([rows[part], torch.arange(first, first + num_real).repeat(2).expand(len(score), -1)], 1).gather(1, order)
        return Candidates(scores, rows, codes >= NUM_WINDOWS, window_poses(self._shapes[rows], codes % NUM_WINDOWS))


def query_vectors(images: np.ndarray) -> Tensor:
    """Vectors of the images and their mirror images, shape (M, 2, 3 * SIDE * SIDE)."""
    small = downscale(images, SIDE)
    return torch.stack([unit_vectors(small), unit_vectors(small.flip(3))], 1)


def shares(images: np.ndarray, parts: np.ndarray | None) -> Tensor:
    """Shares of the width and height of each image that its part fills: float32, shape (N, 2)."""
    if parts is None:
        return torch.ones((len(images), 2))
    height, width = images.shape[1:3]
    return torch.from_numpy((parts[:, 2:] - parts[:, :2]) / np.array([width, height])).float()


def window_poses(shapes: Tensor, numbers: Tensor) -> Tensor:
    """The poses of windows with these numbers, shape (M, K), of photographs of these shapes, (M, K, 2): (M, K, 2, 3)."""
    every = windows(shapes.flatten(0, 1))
    return every[torch.arange(len(every)), numbers.flatten()].view(*numbers.shape, 2, 3)

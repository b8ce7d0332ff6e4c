"""Approximate search of many photographs' windows: an inverted file (Jégou, Douze & Schmid 2011) of shortened window vectors.

A bank of 100,000 photographs has three million windows of 432 values. Here each is projected onto the principal components of all, kept in
one byte a component, and filed under the nearest of some thousand centres; a query looks only into the cells nearest to it. That finds
what the exact search finds because a copy has not one window near it but many, in several cells.
"""

from __future__ import annotations

from collections.abc import Iterator

import faiss
import numpy as np
import torch
from torch import Tensor

from syntype.curation.alignment import WINDOWS, downscale, window_vectors
from syntype.curation.coarse import REAL_CHUNK, SIDE, Candidates, query_vectors

__all__ = ["ApproximateSearch"]

DIMENSIONS = 64
"""Length of a shortened window vector; each value takes one byte."""
NUM_CELLS, NUM_VISITED = 2048, 32
"""Cells of the inverted file, and those that a query looks into."""
NUM_HITS = 256
"""Windows that are asked for: a copy's own 30 windows, and those of its look-alikes, come before other photographs."""
NUM_SAMPLED = 4000
"""Photographs on whose windows projection and cells are learnt."""


class ApproximateSearch:
    """An inverted file of the windows, shortened to their principal components and stored in one byte a component.

    It keeps 2.2 kB a photograph. Nothing in it is random: the sample it learns from is evenly spaced, the cells start from a fixed seed.
    """

    def __init__(self, images: np.ndarray) -> None:
        step = -(-len(images) // NUM_SAMPLED)
        sample = torch.cat([windows.flatten(0, 1) for windows in _windows(images[::step])])
        # Not centred: it is the inner product that has to survive.
        self._axes = torch.linalg.eigh(sample.T @ sample).eigenvectors[:, -DIMENSIONS:]
        shortened = (sample @ self._axes).numpy()
        cells = faiss.IndexFlatIP(DIMENSIONS)
        # Half as many cells for a bank so small that they could not be learnt (faiss asks for 39 examples a cell)
        number = min(NUM_CELLS, 2 ** int(np.log2(len(shortened) / 40)))
        self._index = faiss.IndexIVFScalarQuantizer(cells, DIMENSIONS, number, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        self._index.train(shortened)
        for windows in _windows(images):
            self._index.add((windows.flatten(0, 1) @ self._axes).numpy())

    def nearest(self, images: np.ndarray, keep: int, allowed: np.ndarray | None = None) -> Candidates:
        """See ``CoarseSearch.nearest``."""
        queries = (query_vectors(images) @ self._axes).numpy()  # (M, 2, DIMENSIONS)
        if allowed is None:
            scores, hits = self._hits(queries)
        else:
            parts = [self._hits(query[None], only) for query, only in zip(queries, allowed, strict=True)]
            scores, hits = (np.concatenate(part) for part in zip(*parts, strict=True))
        rows, windows = np.divmod(hits, len(WINDOWS))
        found, order = torch.from_numpy(np.where(_first_of_each(scores, rows) & (hits >= 0), scores, -2)).topk(keep, 1)
        taken = order.numpy()
        poses = WINDOWS[torch.from_numpy(np.take_along_axis(windows, taken, 1))]
        return Candidates(found, torch.from_numpy(np.take_along_axis(rows, taken, 1)), order >= NUM_HITS, poses)

    def _hits(self, queries: np.ndarray, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Scores and numbers of the best windows of queries (M, 2, D), both (M, 2 * NUM_HITS): upright, then mirrored."""
        parameters = faiss.SearchParametersIVF()
        parameters.nprobe = NUM_VISITED
        if allowed is not None:
            bits = np.packbits(np.repeat(allowed, len(WINDOWS)), bitorder="little")
            parameters.sel = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]  # the stub shows C++'s
        scores, hits = self._index.search(queries.reshape(-1, DIMENSIONS), NUM_HITS, params=parameters)
        return scores.reshape(len(queries), -1), hits.reshape(len(queries), -1)


def _windows(images: np.ndarray) -> Iterator[Tensor]:
    """Window vectors of the photographs, ``REAL_CHUNK`` at a time: (n, len(WINDOWS), 3 * SIDE * SIDE)."""
    for first in range(0, len(images), REAL_CHUNK):
        yield window_vectors(downscale(images[first : first + REAL_CHUNK], 2 * SIDE), SIDE)


def _first_of_each(scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Which hits are the best of their photograph: bool, shape of ``rows`` (M, H)."""
    order = np.lexsort((-scores, rows), axis=1)
    sorted_rows = np.take_along_axis(rows, order, 1)
    first = np.ones_like(rows, dtype=bool)
    first[:, 1:] = sorted_rows[:, 1:] != sorted_rows[:, :-1]
    result = np.empty_like(first)
    np.put_along_axis(result, order, first, 1)
    return result

"""Approximate search among the windows of many photographs: an inverted file (Jégou, Douze & Schmid 2011) of compressed window vectors.

100,000 photographs have eight million windows of 432 values. Each is projected onto the principal components, stored in one byte per
component, and assigned to the nearest of some thousand cells. A query is compared only with the nearest cells. This finds the results of
the exact search, because a copy is similar to many windows, in several cells.
"""

from __future__ import annotations

from collections.abc import Iterator

import faiss
import numpy as np
import torch
from torch import Tensor

from syntype.curation.alignment import NUM_WINDOWS, downscale, window_vectors
from syntype.curation.coarse import REAL_CHUNK, SIDE, Candidates, query_vectors, shares, window_poses

__all__ = ["ApproximateSearch"]

DIMENSIONS = 64
"""Length of a compressed window vector; each value takes one byte."""
NUM_CELLS, NUM_VISITED = 2048, 32
"""Number of cells of the inverted file, and number of cells that a query searches."""
NUM_HITS = 512
"""Number of windows to retrieve per query: enough for the windows of a copied photograph and those of similar photographs."""
NUM_SAMPLED = 4000
"""Number of photographs whose windows the projection and the cells are fitted to."""


class ApproximateSearch:
    """An inverted file of the windows, projected onto their principal components and stored in one byte per component.

    It takes 5.9 kB of memory per photograph. It is deterministic: the sample it is fitted to is evenly spaced, and the clustering has a fixed
    seed.
    """

    def __init__(self, images: np.ndarray, parts: np.ndarray | None = None) -> None:
        self._shapes = shares(images, parts)
        step = -(-len(images) // NUM_SAMPLED)
        sample = torch.cat([windows.flatten(0, 1) for windows in _windows(images[::step], None if parts is None else parts[::step])])
        # Not centred, because the inner product must be preserved.
        self._axes = torch.linalg.eigh(sample.T @ sample).eigenvectors[:, -DIMENSIONS:]
        shortened = (sample @ self._axes).numpy()
        cells = faiss.IndexFlatIP(DIMENSIONS)
        # Fewer cells for few photographs: faiss needs 39 examples a cell, and the visited cells should hold windows of most photographs.
        number = min(NUM_CELLS, 2 ** int(np.log2(len(shortened) / 100)))
        self._index = faiss.IndexIVFScalarQuantizer(cells, DIMENSIONS, number, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        self._index.train(shortened)
        for windows in _windows(images, parts):
            self._index.add((windows.flatten(0, 1) @ self._axes).numpy())

    def nearest(self, images: np.ndarray, keep: int, allowed: np.ndarray | None = None) -> Candidates:
        """See ``CoarseSearch.nearest``."""
        queries = (query_vectors(images) @ self._axes).numpy()  # (M, 2, DIMENSIONS)
        if allowed is None:
            scores, hits = self._hits(queries)
        else:
            each = [self._hits(query[None], only) for query, only in zip(queries, allowed, strict=True)]
            scores, hits = (np.concatenate(found) for found in zip(*each, strict=True))
        rows, windows = np.divmod(hits, NUM_WINDOWS)
        oriented = 2 * rows + (np.arange(rows.shape[1]) >= NUM_HITS)  # an image and its mirror image are found apart
        best_scores, order = torch.from_numpy(np.where(_first_of_each(scores, oriented) & (hits >= 0), scores, -2)).topk(keep, 1)
        taken = order.numpy()
        best, window = (torch.from_numpy(np.take_along_axis(each, taken, 1)) for each in (rows, windows))
        return Candidates(best_scores, best, order >= NUM_HITS, window_poses(self._shapes[best], window))

    def _hits(self, queries: np.ndarray, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Scores and numbers of the best windows of queries (M, 2, D), shape (M, 2 * NUM_HITS) each: first of the image, then of its mirror image."""
        parameters = faiss.SearchParametersIVF()
        parameters.nprobe = NUM_VISITED
        if allowed is not None:
            bits = np.packbits(np.repeat(allowed, NUM_WINDOWS), bitorder="little")
            parameters.sel = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]  # the type stub has the signature of C++
        scores, hits = self._index.search(queries.reshape(-1, DIMENSIONS), NUM_HITS, params=parameters)
        return scores.reshape(len(queries), -1), hits.reshape(len(queries), -1)


def _windows(images: np.ndarray, parts: np.ndarray | None) -> Iterator[Tensor]:
    """Window vectors of the photographs, ``REAL_CHUNK`` at a time: (n, NUM_WINDOWS, 3 * SIDE * SIDE)."""
    for first in range(0, len(images), REAL_CHUNK):
        chunk, own = images[first : first + REAL_CHUNK], None if parts is None else parts[first : first + REAL_CHUNK]
        yield window_vectors(downscale(chunk, 2 * SIDE, own), shares(chunk, own), SIDE)


def _first_of_each(scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Whether each hit is the best of its photograph: bool, shape (M, H) of ``rows``."""
    order = np.lexsort((-scores, rows), axis=1)
    sorted_rows = np.take_along_axis(rows, order, 1)
    first = np.ones_like(rows, dtype=bool)
    first[:, 1:] = sorted_rows[:, 1:] != sorted_rows[:, :-1]
    result = np.empty_like(first)
    np.put_along_axis(result, order, first, 1)
    return result

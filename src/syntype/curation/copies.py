"""Copy detection: is a synthetic image a copy of a training photograph, possibly transformed?

All stages compare pixels, so that no learnt features can fail in the same way as the generator's discriminator. First every window of every
training photograph (crops, rotations, parts of another format, see ``alignment.windows``) is compared at 12 px with the query and its mirror
image, by one matrix product. Then the nearest candidates are aligned at 12, 16 and 32 px, as long as they may be copies, and compared neighbourhood
by neighbourhood. The threshold is calibrated on the collection: pairs of photographs of one species from different groups are examples of images
that are *not* copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from syntype.collection.pixels import digest_images
from syntype.curation.alignment import align, downscale, evened_corners, usable_pixels
from syntype.curation.coarse import SIDE, Candidates, CoarseSearch, ExactSearch
from syntype.errors import CollectionError

__all__ = ["EXACT_LIMIT", "NUM_CANDIDATES", "CopyDetector", "NearestReal", "coarse_search"]

Advance = Callable[[int], None]


class Stage(NamedTuple):
    """One stage of the detailed comparison.

    Attributes:
        side, real_side: Sides in pixels of the images and of the photographs. In the last stages the photographs are larger than the images, because
            a crop shows only a part of one.
        keep: Largest number of candidates that are aligned.
        iterations: Gauss-Newton steps.
        gap, least: Candidates that agreed less than the least in the stage before, or less than the best candidate by more than the gap, are passed
            over. Disguised copies of photographs agreed with their originals by 0.7 and more, and by no more than 0.07 less than with the
            best candidate.
    """

    side: int
    real_side: int
    keep: int
    iterations: int
    gap: float
    least: float


STAGES = (Stage(12, 24, 64, 2, 0.08, 0.5), Stage(16, 24, 12, 3, 0.08, 0.7), Stage(32, 48, 4, 1, 0.08, 0.7), Stage(32, 48, 3, 3, 0.1, 0.7))
NUM_CANDIDATES = STAGES[0].keep
"""Number of candidates of the coarse search."""
STRICTEST, LAXEST = 0.05, 0.075
"""Range of the calibrated threshold. The lower limit makes sure that copies are found in a collection with many near duplicates, the upper limit
that not everything is called a copy if all photographs differ widely."""
SAME = 0.02
"""Photographs at most this far apart are taken for one photograph under two names, and not for examples of what is no copy."""
QUERY_CHUNK = 64
EXACT_LIMIT = 10_000
"""Largest number of photographs among which candidates are searched exactly."""


@dataclass(frozen=True)
class NearestReal:
    """The nearest training photograph of each image.

    Attributes:
        ids: image_id of the photograph, object, shape (N,).
        distances: 1 minus the mean correlation of small neighbourhoods after alignment (``alignment.align``), float32, shape (N,), in [0, 2]: 0
            for equal images, about 1 for unrelated ones.
        is_copy: Whether the distance is at or below the threshold, bool, shape (N,).
    """

    ids: np.ndarray
    distances: np.ndarray
    is_copy: np.ndarray


def coarse_search(images: np.ndarray, parts: np.ndarray | None = None) -> CoarseSearch:
    """A search of the photographs ``images`` (uint8, shape (N, size, size, 3)), or of these parts of them: exact up to ``EXACT_LIMIT`` of them."""
    if len(images) <= EXACT_LIMIT:
        return ExactSearch(images, parts)
    from syntype.curation.approximate import ApproximateSearch  # a small bank does without loading faiss

    return ApproximateSearch(images, parts)


class CopyDetector:
    """Detects copies of training photographs, also after mirroring, cropping, stretching, rotations, changes of light, blur and compression.

    Args:
        images: Training photographs, uint8, shape (N, size, size, 3), RGB.
        image_ids: Their image_ids, N names.
        groups: Their groups, N names. Calibration does not compare photographs of one group (video track, specimen), which may be nearly equal.
        labels: Their species, int64, shape (N,).
        quantile: Fraction of photographs that the threshold would call a copy of a different photograph, in (0, 1).
        seed: Seed of the choice of photographs for calibration, if there are more than ``num_calibration``.
        num_calibration: Largest number of photographs for calibration.
        progress: Called with the number of photographs after each batch of the calibration.
        threshold: A threshold that is known already; nothing is calibrated.
        parts: Left, top, right, bottom of the part of each square that shows the photograph, int64, shape (N, 4); the rest is padding
            (``collection.pixels.photograph_parts``). None: the photographs fill their squares.

    Attributes:
        threshold: Images at or below this distance are copies.
        chance: Number of photographs of the calibration that pass the threshold, though they are no copies, and number of pairs that were compared.
        coarse: Search for candidates; approximate if there are more than ``EXACT_LIMIT`` photographs.

    Raises:
        CollectionError: There are no photographs.
    """

    def __init__(self, images: np.ndarray, image_ids: Sequence[str], groups: Sequence[str] | np.ndarray, labels: np.ndarray, *,
                 quantile: float = 0.015, seed: int = 0, num_calibration: int = 500, progress: Advance | None = None,
                 threshold: float | None = None, parts: np.ndarray | None = None) -> None:  # fmt: skip
        if not len(images):
            raise CollectionError("copy detection: there are no training photographs to compare with. Give a collection that has a split 'train'.")
        self._ids = np.asarray(image_ids, dtype=object)
        self.coarse = coarse_search(images, parts)
        bank = {side: _bytes(downscale(images, side, parts)) for side in {stage.real_side for stage in STAGES}}
        self._reals = [bank[stage.real_side] for stage in STAGES]
        self._same: dict[str, list[int]] = {}
        for row, digest in enumerate(digest_images(images)):
            self._same.setdefault(digest, []).append(row)
        self.threshold, self.chance = LAXEST if threshold is None else threshold, (0, 0)
        if threshold is None:
            codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
            self._calibrate(images, parts, codes, labels, quantile, seed, num_calibration, progress)

    @staticmethod
    def num_calibrating(num_images: int, num_calibration: int = 500) -> int:
        """Number of photographs used for calibration: the total for a progress bar."""
        return min(num_images, num_calibration)

    def nearest(
        self, images: np.ndarray, *, parts: np.ndarray | None = None, allowed: np.ndarray | None = None, progress: Advance | None = None
    ) -> NearestReal:
        """Find the nearest training photograph of each image.

        Args:
            images: uint8, shape (M, size, size, 3), RGB, of any size.
            parts: As in the constructor, for these images, shape (M, 4).
            allowed: Which photographs may be found for each image: bool, shape (M, N); None for all. Where none may, the distance is 2.
            progress: Called with the number of images after each batch.
        """
        distances, rows = self._search(images, parts, allowed, progress)
        return NearestReal(self._ids[rows], distances, distances <= self.threshold)

    def _calibrate(
        self,
        images: np.ndarray,
        parts: np.ndarray | None,
        groups: np.ndarray,
        labels: np.ndarray,
        quantile: float,
        seed: int,
        number: int,
        progress: Advance | None,
    ) -> None:
        chosen = np.sort(np.random.default_rng([seed, 0xC0B1]).permutation(len(images))[:number])
        # Compare with other groups of the same species. Photographs without any are not used.
        allowed = (groups[chosen, None] != groups[None]) & (labels[chosen, None] == labels[None])
        chosen, allowed = chosen[allowed.any(1)], allowed[allowed.any(1)]
        if not len(chosen):
            return
        distances, _ = self._search(images[chosen], None if parts is None else parts[chosen], allowed, progress)
        others = distances > SAME
        if others.any():
            self.threshold = float(np.clip(float(np.quantile(distances[others], quantile)), STRICTEST, LAXEST))
        self.chance = int((others & (distances <= self.threshold)).sum()), int(allowed.sum())

    def _search(
        self, images: np.ndarray, parts: np.ndarray | None, allowed: np.ndarray | None, progress: Advance | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Distances and positions of the nearest photographs, shape (M,) each, among those ``allowed`` (bool, shape (M, N); None for all)."""
        if not len(images):
            return np.empty(0, np.float32), np.empty(0, np.int64)
        with torch.inference_mode():
            found = self._candidates(images, parts, allowed)
            distances, nearest = [], []
            for start in range(0, len(images), QUERY_CHUNK):
                part = slice(start, start + QUERY_CHUNK)
                distance, row = self._compare(images[part], None if parts is None else parts[part], *(values[part] for values in found))
                distances.append(distance)
                nearest.append(row)
                if progress is not None:
                    progress(len(distance))
        return self._with_equal(images, allowed, torch.cat(distances).numpy(), torch.cat(nearest).numpy())

    def _with_equal(self, images: np.ndarray, allowed: np.ndarray | None, distances: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same, with distance 0 where an image or its mirror image has the very pixels of a photograph: among photographs without texture, the
        alignment fits many to each other, and need not find the equal one."""
        for number, (own, mirrored) in enumerate(zip(digest_images(images), digest_images(images[:, :, ::-1]), strict=True)):
            equal = [*self._same.get(own, []), *self._same.get(mirrored, [])]
            found = next((row for row in equal if allowed is None or allowed[number, row]), None)
            if found is not None:
                distances[number], rows[number] = 0.0, found
        return distances, rows

    def _candidates(self, images: np.ndarray, parts: np.ndarray | None, allowed: np.ndarray | None) -> Candidates:
        """Candidates for each image; half of them, if its corners are empty, for the image with these in the colour of the rest."""
        number = min(NUM_CANDIDATES, 2 * len(self._ids))
        rows, evened = evened_corners(images, 2 * SIDE, parts)
        small = torch.cat([downscale(images, 2 * SIDE, parts), evened])
        queries = _bytes(small).permute(0, 2, 3, 1).contiguous().numpy()
        found = self.coarse.nearest(queries, number, None if allowed is None else np.concatenate([allowed, allowed[rows.numpy()]]))
        for values in found:
            values[rows, number - number // 2 :] = values[len(images) :, : number // 2]
        # Scores of the image as it is and with other corners are not comparable: none of these candidates is passed over.
        found.scores[rows] = found.scores[rows].masked_fill(found.scores[rows] > -2, 1.0)
        return Candidates(*(values[: len(images)] for values in found))

    def _compare(
        self, images: np.ndarray, parts: np.ndarray | None, scores: Tensor, rows: Tensor, mirrored: Tensor, poses: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Align the candidates, and at each stage the best of them more finely. Returns distance and position of the nearest."""
        allowed, last = scores > -2, 0
        sides = [stage.side for stage in STAGES]
        for stage, usable, reals in zip(STAGES, usable_pixels(images, *sides, parts=parts), self._reals, strict=True):
            best = scores.max(1, keepdim=True).values
            top = torch.zeros_like(allowed).scatter_(1, scores.topk(min(stage.keep, scores.shape[1]), 1).indices, True)
            hopeful = allowed & top & (scores >= best - stage.gap) & (scores >= stage.least)
            if stage.side != last:  # what was compared at another side is not comparable, so that every image keeps one candidate
                hopeful |= allowed & (scores == best)
                scores = torch.full_like(scores, -2.0)
            last = stage.side
            pictures, usable = (torch.cat([each, each.flip(3)]) for each in (downscale(images, stage.side, parts), usable))
            owners = hopeful.nonzero(as_tuple=True)[0] + len(images) * mirrored[hopeful]
            chosen = reals[rows[hopeful]].float() / 255
            refined, agreement = align(pictures, chosen, poses[hopeful], usable, owners=owners, iterations=stage.iterations)
            scores = scores.masked_scatter(hopeful, agreement)
            poses = poses.masked_scatter(hopeful[..., None, None].expand_as(poses), refined)
        best, position = scores.max(1)
        return (1 - best).clamp(0, 2), rows.gather(1, position[:, None])[:, 0]


def _bytes(images: Tensor) -> Tensor:
    """float32 in [0, 1] -> uint8, which takes a quarter of the memory."""
    return (images * 255).round_().clamp_(0, 255).byte()

"""Pose transfer: copy-paste with pose, place and light of common species' photographs. Needs no training. For rare species among common ones.

Common species show how individuals of one species vary (delta encoder, Schwartz et al. 2018, arXiv 1806.04734; data augmentation GAN, Antoniou et al.
2017, arXiv 1711.04340). Here this variation is not learned in feature space but measured on photographs: the animal's position and angle, and by how
much it is longer and higher than its species' mean. A rare species' animal takes over these deviations from an animal of a common species (the
donor) and is pasted in its place. Its pixels stay those of a photograph, and so do stripes and spots. Segmentation masks are learned from all
species' photographs together (``copy_paste/outlines.py``). Photographs in which something of their own animal would be left are no donors
(``copy_paste/places.py``). Of several donors drawn at random, the one is taken whose animal the pasted one replaces best. Where the collection has
the columns ``genus``, ``family`` or ``order``, donors are of the same genus if there are common species in it, else of the same family, else of the
same order; relatives resemble each other in build and habit.

Paper: none; ``copy_paste/pasting.py`` cites those on copy-paste augmentation.
Code: written for Syntype.
Weights: EfficientNet-Lite1 (ImageNet, Apache-2.0), bundled, to learn masks and choose donors. The generator's file contains photographs and
masks, and no weights.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from syntype.collection.relatives import RANKS, nearest_relatives
from syntype.compute.runtime import Runtime
from syntype.generators.contract import TrainingData
from syntype.generators.copy_paste.outlines import self_trained_masks
from syntype.generators.copy_paste.pasting import CopyPasteModel, PasteConfig, PasteParameters, pixel_coordinates, random_warp, shown_at
from syntype.generators.copy_paste.places import emptied_well
from syntype.generators.copy_paste.segmentation import Outlines

__all__ = ["PoseTransfer", "PoseTransferConfig"]

_PURPOSE = 31  # separates this family's random numbers from those of other purposes
_CHUNK = 256
_SMALL = 32  # px, size at which the donors of an image are compared
_MAX_LOG_CHANGE = 0.7
"""Largest change of the logarithm of a size: an animal is at most doubled or halved."""
_MIN_ELONGATION = 1.5
"""Ratio of the variances along the principal axes below which a mask counts as round, with angle 0."""


class PoseTransferConfig(PasteConfig):
    """Settings of ``pose_transfer``."""

    min_donor_images: int = Field(30, ge=1)
    """Species with at least this many training photographs are donors; if there are none, all species are. Of these, relatives are preferred."""
    num_places: int = Field(8, ge=1)
    """Donors drawn for each image; of these, the one is taken into whose place the pasted animal fits best."""


class PoseTransfer(CopyPasteModel):
    """Pastes animals of the requested species with the pose, light and place of a donor."""

    Config = PoseTransferConfig
    config: PoseTransferConfig
    by_group = True

    def segment_animals(self, images: np.ndarray, device: torch.device) -> Outlines:
        """Outlines learned from all photographs together: see ``self_trained_masks``."""
        return self_trained_masks(images, device)

    @cached_property
    def measurements(self) -> AnimalMeasurements:
        """Measurements of the animals in the training photographs."""
        store = self.generator
        counts = np.diff(store.offsets.cpu().numpy())
        lists = None if store.taxa is None else _related_donors(counts, store.taxa.cpu().numpy(), self.config.min_donor_images)[0]
        return AnimalMeasurements.measure(store.masks.cpu(), store.places.cpu().numpy(), counts, self.config.min_donor_images, lists)

    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Store the training photographs, and segment the animal in each; remember genus, family and order, if relatives can be donors."""
        super().prepare(data, runtime)
        self._choose_places(runtime.device)
        numbers = [pd.factorize(np.array(data.taxa.get(rank, [None] * len(data.species)), dtype=object))[0] for rank in RANKS]
        taxa = np.stack(numbers, 1).astype(np.int64)
        shared = Counter(_related_donors(data.counts, taxa, self.config.min_donor_images)[1])
        if shared.keys() <= {None}:
            return
        self.generator.taxa = torch.from_numpy(taxa).to(self.generator.pixels.device)
        told = [*(f"{shared[rank]:,} from their {rank}" for rank in RANKS if shared[rank]), *([f"{shared[None]:,} from any"] if shared[None] else [])]
        self.remarks = (f"Species that take pose, place and light from common species: {', '.join(told)}.",)

    def _choose_places(self, device: torch.device) -> None:
        """Mark the donors' photographs in which something of the animal is left once the place is emptied."""
        store = self.generator
        counts = np.diff(store.offsets.cpu().numpy())
        species = np.repeat(np.arange(len(counts)), counts)
        donors = np.flatnonzero(counts[species] >= self.config.min_donor_images)
        if len(donors):
            images = store.pixels[donors].cpu().permute(0, 2, 3, 1).numpy()
            good = emptied_well(images, store.cleared[donors, 0].cpu(), species[donors], device)
            store.places[donors] = torch.from_numpy(good).to(store.places.device)

    def paste_parameters(self, seed: int, row: int) -> PasteParameters:
        """See ``CopyPasteModel``. The background is that of the donor."""
        rng = np.random.default_rng([abs(seed), int(seed < 0), _PURPOSE])
        donors = rng.choice(self.measurements.donors_of(row), self.config.num_places)
        random = _Randomness.draw(rng, self.config)
        places = [_PasteParameters(row, int(donor), random, self.measurements) for donor in donors]
        return min(places, key=lambda place: place.flaws)


@dataclass(frozen=True)
class AnimalMeasurements:
    """Pose and size of the animals in N photographs. Image coordinates run from -1 to 1.

    Attributes:
        centre: x and y of each animal's centre, shape (N, 2).
        angle: of the principal axis nearest to the horizontal, in radians, shape (N,); 0 for a round mask.
        traits: logarithms of length and height, shape (N, 2).
        species_mean: mean of ``traits`` over the animal's species, shape (N, 2).
        masks: small masks of the animals, float32, shape (N, s, s), in [0, 1].
        donors: indices of the donors' photographs.
        species: of each photograph, as a number, shape (N,).
        own_donors: for each species the indices of its donors' photographs; None if all species have the same donors.
    """

    centre: np.ndarray
    angle: np.ndarray
    traits: np.ndarray
    species_mean: np.ndarray
    masks: np.ndarray
    donors: np.ndarray
    species: np.ndarray
    own_donors: tuple[np.ndarray, ...] | None = None

    def donors_of(self, row: int) -> np.ndarray:
        """Indices of the photographs that may be the donor of the animal in photograph ``row``."""
        return self.donors if self.own_donors is None else self.own_donors[self.species[row]]

    @classmethod
    def measure(
        cls, masks: Tensor, places: np.ndarray, counts: np.ndarray, min_donor_images: int, own_donors: Sequence[Sequence[int]] | None = None
    ) -> AnimalMeasurements:
        """Measure the animals in photographs.

        Args:
            masks: uint8, shape (N, 1, S, S), sorted by species.
            places: bool, shape (N,): the photographs that are good places. Where there is none of a species' donors, all count.
            counts: number of photographs of each species.
            min_donor_images: species with at least this many photographs are donors.
            own_donors: for each species the numbers of those that are its donors; None: the same for all.
        """
        parts = [_measure(masks[at : at + _CHUNK, 0]) for at in range(0, len(masks), _CHUNK)]
        small = F.interpolate(masks.float() / 255, size=(_SMALL, _SMALL), mode="area")[:, 0].numpy()
        centre, angle, traits = (np.concatenate(part) for part in zip(*parts, strict=True))
        species = np.repeat(np.arange(len(counts)), counts)
        species_mean = np.stack([np.bincount(species, column, len(counts)) for column in traits.T], 1) / np.maximum(counts, 1)[:, None]
        is_donor = counts[species] >= min_donor_images
        donors = _good(np.flatnonzero(is_donor if is_donor.any() else ~is_donor), places)
        photographs = None
        if own_donors is not None:  # many species have the same donors
            by_donors = {tuple(some): _good(np.flatnonzero(np.isin(species, some)), places) for some in own_donors}
            photographs = tuple(by_donors[tuple(some)] for some in own_donors)
        return cls(centre, angle, traits, species_mean[species], small, donors, species, photographs)


def _good(donors: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Those of the donors that are good places; all if none is."""
    return donors[places[donors]] if places[donors].any() else donors


def _related_donors(counts: np.ndarray, taxa: np.ndarray, min_donor_images: int) -> tuple[list[tuple[int, ...]], list[str | None]]:
    """The donors of each species, and the rank that it shares with them (None: there is no common relative, so all donors).

    Args:
        counts: number of photographs of each species.
        taxa: numbers of genus, family and order of each species, shape (len(counts), len(RANKS)); -1 where unknown.
        min_donor_images: as in ``PoseTransferConfig``.
    """
    donors = np.flatnonzero(counts >= min_donor_images)
    donors = donors if len(donors) else np.flatnonzero(counts)
    names = {rank: [None if number < 0 else str(number) for number in column] for rank, column in zip(RANKS, taxa.T.tolist(), strict=True)}
    lists: list[tuple[int, ...]] = []
    ranks = []
    for place in range(len(counts)):
        rank, same = nearest_relatives(names, place, donors.tolist())
        own = [place] if place in donors else []
        lists.append(tuple(donors.tolist() if rank is None else sorted([*same, *own])))
        ranks.append(rank)
    return lists, ranks


def _measure(masks: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre, angle and traits: see ``AnimalMeasurements``."""
    x, y = pixel_coordinates(masks.shape[-1])
    weights = masks.double().numpy()
    weights = weights / np.maximum(weights.sum((1, 2), keepdims=True), 1e-6)
    centre = np.stack([(weights * x).sum((1, 2)), (weights * y).sum((1, 2))], 1)
    dx, dy = x - centre[:, 0, None, None], y - centre[:, 1, None, None]
    xx, yy, xy = (1e-5 + (weights * dx * dx).sum((1, 2)), 1e-5 + (weights * dy * dy).sum((1, 2)), (weights * dx * dy).sum((1, 2)))
    root = np.hypot((xx - yy) / 2, xy)  # half the difference of the variances along the mask's principal axes
    long, short = (xx + yy) / 2 + root, np.maximum((xx + yy) / 2 - root, 1e-5)
    angle = np.where(long < _MIN_ELONGATION * short, 0.0, np.arctan2(2 * xy, xx - yy) / 2)
    upright = np.abs(angle) > math.pi / 4
    sizes = np.log([np.where(upright, short, long), np.where(upright, long, short)]) / 2
    return centre, np.where(upright, angle - np.sign(angle) * math.pi / 2, angle), sizes.T


@dataclass(frozen=True)
class _Randomness:
    """What is drawn for an image besides the donors, for the sake of which all donors are compared alike."""

    contrast: float
    brightness: float
    mirror: float
    background_mirror: float
    warp_nodes: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, config: PoseTransferConfig) -> _Randomness:
        contrast, brightness = (float(1 + config.lighting * value) for value in rng.uniform(-1, 1, 2))
        mirror, background_mirror = rng.choice([-1.0, 1.0], 2)
        return cls(contrast, brightness, float(mirror), float(background_mirror), random_warp(rng, config.warp))


class _PasteParameters(PasteParameters):
    def __init__(self, row: int, donor: int, random: _Randomness, measurements: AnimalMeasurements) -> None:
        self.background, self.warp_nodes = donor, random.warp_nodes
        self.contrast, self.brightness = random.contrast, random.brightness
        self._mirror, self._background_mirror = random.mirror, random.background_mirror
        mean = measurements.species_mean
        change = mean[row] + measurements.traits[donor] - mean[donor] - measurements.traits[row]
        self._scale = np.exp(np.clip(change, -_MAX_LOG_CHANGE, _MAX_LOG_CHANGE))
        self._from, self._angle = measurements.centre[row], measurements.angle[row]
        self._to = measurements.centre[donor] * (self._background_mirror, 1.0)
        self._angle_there = measurements.angle[donor] * self._background_mirror
        self._measurements, self._row = measurements, row

    @property
    def flaws(self) -> float:
        """How little the animal fits into the place, 0 for a perfect fit: the donor's animal is not covered, cut edges show, parts are missing.

        An animal much larger than the donor's is a misfit too: the donor's outline may have missed parts, which would show beside it.
        """
        mask = self._measurements.masks[self._row]
        before = shown_at(self._measurements.masks[self.background], self.background_grid(_SMALL), cv2.BORDER_REFLECT)
        grid = self.animal_grid(_SMALL)
        shown = shown_at(mask, grid, cv2.BORDER_CONSTANT)
        misfit = 1 - float(np.minimum(shown, before).sum()) / max(float(np.maximum(shown, before).sum()), 1e-6)
        cut = np.zeros_like(mask)
        for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
            cut[edge] = mask[edge]
        ragged = shown_at(cut, grid, cv2.BORDER_CONSTANT)[1:-1, 1:-1].sum() / _SMALL
        whole = mask.sum() * self._scale.prod()
        missing = max(0.0, 1 - float(shown.sum()) / max(float(whole), 1e-6))
        return misfit + float(ragged) + missing

    def animal_grid(self, size: int) -> np.ndarray:
        x, y = pixel_coordinates(size)
        along, across = _rotated(x - self._to[0], y - self._to[1], self._angle_there)
        x, y = _rotated(self._mirror * along / self._scale[0], across / self._scale[1], -self._angle)
        return self.warped(np.stack([x + self._from[0], y + self._from[1]], 2))

    def background_grid(self, size: int) -> np.ndarray:
        """The photograph, mirrored at random."""
        x, y = pixel_coordinates(size)
        return np.stack([self._background_mirror * x, y], 2).astype(np.float32)


def _rotated(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of points in axes rotated by an angle."""
    return math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x

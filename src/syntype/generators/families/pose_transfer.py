"""``pose_transfer``: a species' own photographs, in the poses, places and light that individuals of common species lend. There is no training.

What within-species variation is, common species show (delta encoder, Schwartz et al. 2018, arXiv 1806.04734; data augmentation GAN, Antoniou et
al. 2017, arXiv 1711.04340). Here it is not learnt in features but measured on photographs: where the animal is, at which angle, and by how much it
is longer, higher and lighter than its species is on average. A rare species' animal takes over the deviations of a common one and goes to its place
(cut and pasted as ``_pasting`` has it). Its pixels stay those of a photograph, and with them the stripes and spots that tell the species. What
belongs to an animal, common species teach as well: ``prepare`` learns the outlines of all photographs together (see ``_outlines``).

Origin: Syntype. The generator's file holds photographs and outlines, and no weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from syntype.generators.copy_paste.outlines import learnt_masks
from syntype.generators.copy_paste.pasting import Draw, PasteConfig, Paster, axes, drawn_bends, mean_colour, unit, without_animals

__all__ = ["PoseTransfer", "PoseTransferConfig"]

_PURPOSE = 31  # this family's stream of random numbers, apart from those of other purposes
_CHUNK = 256
_MOST = 0.7
"""Largest change of a logarithm: an animal is at most doubled or halved."""
_ROUND = 1.5
"""An outline whose moments along its axes differ by less has no angle."""


class PoseTransferConfig(PasteConfig):
    """Who lends, and how far an animal may stray from its photograph besides."""

    common: int = Field(30, ge=1)
    """Species with at least so many training photographs lend; where none has, all do."""
    harmony: float = Field(0.6, ge=0, le=1)
    """How far the animal takes on the light of its new place: further than a collage's, since it takes on its donor's light, too."""


class PoseTransfer(Paster):
    """Pastes a species' animals as an individual of a common species lends its pose, its light and its place."""

    Config = PoseTransferConfig
    config: PoseTransferConfig
    by_group = True

    def cut_out(self, images: np.ndarray, device: torch.device) -> Tensor:
        """Outlines that all photographs teach together, common species the rare ones: see ``learnt_masks``."""
        return learnt_masks(images, device)

    @cached_property
    def animals(self) -> Animals:
        """Those of the training photographs."""
        store = self.generator
        return Animals.of(store.pixels.cpu(), store.masks.cpu(), np.diff(store.offsets.cpu().numpy()), self.config.common)

    def draw(self, seed: int, row: int) -> Draw:
        """See ``Paster``; the background is that of the donor."""
        return _Draw(seed, row, self.animals, self.config)


@dataclass(frozen=True)
class Animals:
    """What is known of the animals of N photographs. Axes run from -1 to 1.

    Attributes:
        middle: x and y of each, shape (N, 2).
        angle: of the axis nearest to the horizontal, in radians, shape (N,); 0 for a round outline.
        traits: logarithms of length and height, and of the three colours over those of the surroundings, shape (N, 5).
        usual: mean of ``traits`` over the animal's species.
        donors: positions of those that lend.
    """

    middle: np.ndarray
    angle: np.ndarray
    traits: np.ndarray
    usual: np.ndarray
    donors: np.ndarray

    @classmethod
    def of(cls, pixels: Tensor, masks: Tensor, counts: np.ndarray, common: int) -> Animals:
        """Measure photographs that are sorted by species: uint8, shape (N, 3, S, S), with masks (N, 1, S, S), so many of each species."""
        parts = [_measured(unit(pixels[at : at + _CHUNK]), unit(masks[at : at + _CHUNK])) for at in range(0, len(pixels), _CHUNK)]
        middle, angle, traits = (np.concatenate(part) for part in zip(*parts, strict=True))
        species = np.repeat(np.arange(len(counts)), counts)
        usual = np.stack([np.bincount(species, column, len(counts)) for column in traits.T], 1) / np.maximum(counts, 1)[:, None]
        lends = counts[species] >= common
        return cls(middle, angle, traits, usual[species], np.flatnonzero(lends if lends.any() else ~lends))


def _measured(pixels: Tensor, masks: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middle, angle and traits: see ``Animals``."""
    x, y = axes(pixels.shape[-1])
    weights = masks[:, 0].double().numpy()
    weights = weights / np.maximum(weights.sum((1, 2), keepdims=True), 1e-6)
    middle = np.stack([(weights * x).sum((1, 2)), (weights * y).sum((1, 2))], 1)
    dx, dy = x - middle[:, 0, None, None], y - middle[:, 1, None, None]
    xx, yy, xy = (1e-5 + (weights * dx * dx).sum((1, 2)), 1e-5 + (weights * dy * dy).sum((1, 2)), (weights * dx * dy).sum((1, 2)))
    root = np.hypot((xx - yy) / 2, xy)  # principal axes of the outline
    long, short = (xx + yy) / 2 + root, np.maximum((xx + yy) / 2 - root, 1e-5)
    angle = np.where(long < _ROUND * short, 0.0, np.arctan2(2 * xy, xx - yy) / 2)
    upright = np.abs(angle) > math.pi / 4
    sizes = np.log([np.where(upright, short, long), np.where(upright, long, short)]) / 2
    light = torch.log((mean_colour(pixels, masks) + 0.05) / (mean_colour(without_animals(pixels, masks)) + 0.05))[:, :, 0, 0].double().numpy()
    return middle, np.where(upright, angle - np.sign(angle) * math.pi / 2, angle), np.concatenate([sizes.T, light], 1)


class _Draw(Draw):
    def __init__(self, seed: int, row: int, animals: Animals, config: PoseTransferConfig) -> None:
        rng = np.random.default_rng([abs(seed), int(seed < 0), _PURPOSE])
        self.ground = int(rng.choice(animals.donors))
        self.contrast, self.brightness = (float(1 + config.light * value) for value in rng.uniform(-1, 1, 2))
        self._mirror, self._turn, self._ground_mirror = rng.choice([-1.0, 1.0], 3)
        self.bends = drawn_bends(rng, config.bend)
        change = animals.usual[row] + animals.traits[self.ground] - animals.usual[self.ground] - animals.traits[row]
        self._scale = np.exp(np.clip(change[:2], -_MOST, _MOST))
        red, green, blue = (float(value) for value in np.exp(np.clip(change[2:] / 2, -_MOST, _MOST)))  # half: the place's light is taken on too
        self.gain = (red, green, blue)
        self._from, self._angle = animals.middle[row], animals.angle[row]
        self._to, self._angle_there = animals.middle[self.ground] * (self._ground_mirror, 1.0), animals.angle[self.ground] * self._turn

    def animal_grid(self, size: int) -> np.ndarray:
        x, y = axes(size)
        along, across = _turned(x - self._to[0], y - self._to[1], self._angle_there)
        x, y = _turned(self._mirror * along / self._scale[0], across / self._scale[1], -self._angle)
        return self.bent(np.stack([x + self._from[0], y + self._from[1]], 2))

    def ground_grid(self, size: int) -> np.ndarray:
        """The photograph, mirrored or plain."""
        x, y = axes(size)
        return np.stack([self._ground_mirror * x, y], 2).astype(np.float32)


def _turned(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Points as seen from axes that are turned by an angle."""
    return math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x

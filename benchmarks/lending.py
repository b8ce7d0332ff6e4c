"""What individuals of common species differ in, carried over to a rare one, on pixels: a step beyond ``collage`` that trains nothing either.

After the delta encoder (Schwartz et al. 2018, arXiv 1806.04734), but that the differences are those of outlines and light and not of features: an
animal takes the place of a common species' animal, at its angle; it is longer, higher and lighter than its own species is on average by as much as
that one is than its own; before that one's background, which loses its animal. So stripes and spots stay those of a photograph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from syntype.generators._filling import pull_push
from syntype.generators._segmentation import segment
from syntype.generators.collage import _bernstein, _feather, _grow, _mean, _shrink

COMMON = 30
"""Species with at least so many photographs lend."""
HARMONY, CONTRAST, BEND = 0.6, 0.12, 0.024
CHUNK = 64


@dataclass(frozen=True)
class Animals:
    """The animals of photographs: what they look like and where they are. Axes run from -1 to 1.

    Attributes:
        pixels: float32 in [0, 1], shape (N, 3, S, S), ``masks``: (N, 1, S, S), and ``water``: the photographs without the animals.
        middle: of each animal, x and y, shape (N, 2); ``angle``: of its axis nearest to the horizontal, in radians.
        traits: logarithms of its length and height, and of its colour over that of its surroundings, float64, shape (N, 5).
        usual: the mean of ``traits`` over the animal's species.
    """

    pixels: Tensor
    masks: Tensor
    water: Tensor
    middle: Tensor
    angle: Tensor
    traits: Tensor
    usual: Tensor

    @classmethod
    def of(cls, images: np.ndarray, labels: np.ndarray) -> Self:
        """Find the animals of photographs: uint8, shape (N, S, S, 3), and int64 species."""
        pixels, masks = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, segment(images)[:, None].float() / 255
        water = pull_push(pixels, 1 - _grow(masks, images.shape[1]))
        line = (torch.arange(images.shape[1]) + 0.5) * 2 / images.shape[1] - 1
        weights = masks[:, 0].double() / masks.double().sum((1, 2, 3)).clamp_min(1e-6)[:, None, None]
        middle = torch.stack([(weights * line).sum((1, 2)), (weights * line[:, None]).sum((1, 2))], dim=1)
        dx, dy = line - middle[:, 0, None, None], line[:, None] - middle[:, 1, None, None]
        xx, yy, xy = ((weights * product).sum((1, 2)) for product in (dx * dx + 1e-5, dy * dy + 1e-5, dx * dy))
        root = torch.sqrt(((xx - yy) / 2) ** 2 + xy**2)  # principal axes of the outline
        long, short = (xx + yy) / 2 + root, ((xx + yy) / 2 - root).clamp_min(1e-5)
        angle = torch.where(long < 1.5 * short, 0.0, 0.5 * torch.atan2(2 * xy, xx - yy))  # a round outline has none
        upright = angle.abs() > math.pi / 4
        length, height = torch.where(upright, short, long).log() / 2, torch.where(upright, long, short).log() / 2
        light = ((_mean(pixels, masks) + 0.05) / (_mean(water) + 0.05)).log()[:, :, 0, 0].double()
        traits, species = torch.cat([torch.stack([length, height], dim=1), light], dim=1), torch.from_numpy(labels)
        sums = torch.zeros(int(species.max()) + 1, traits.shape[1], dtype=torch.float64).index_add_(0, species, traits)
        usual = (sums / torch.bincount(species).clamp_min(1)[:, None])[species]
        return cls(pixels, masks, water, middle, torch.where(upright, angle - torch.sign(angle) * math.pi / 2, angle), traits, usual)


def lend(images: np.ndarray, labels: np.ndarray, rows: np.ndarray, seed: int = 5) -> np.ndarray:
    """An image of the animal in each of ``rows``, as a common species' individual lends its differences.

    Args:
        images: the training photographs, uint8, shape (N, S, S, 3); ``labels``: their species, int64, shape (N,).
        rows: int64, shape (M,).

    Returns:
        uint8, shape (M, S, S, 3).
    """
    animals, random = Animals.of(images, labels), np.random.default_rng(seed)
    lenders = np.flatnonzero(np.bincount(labels)[labels] >= COMMON)
    parts = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
    return np.concatenate([_place(animals, torch.from_numpy(part), torch.from_numpy(random.choice(lenders, len(part))), random) for part in parts])


def _place(animals: Animals, own: Tensor, other: Tensor, random: np.random.Generator) -> np.ndarray:
    count, size = len(own), animals.pixels.shape[-1]
    change = animals.usual[own] + animals.traits[other] - animals.usual[other] - animals.traits[own]
    mirror, turn, scene_mirror = (torch.from_numpy(random.choice([-1.0, 1.0], count)) for _ in range(3))
    scene = torch.where(scene_mirror[:, None, None, None] < 0, animals.water[other].flip(3), animals.water[other])
    warp = _warp(animals, own, other, change[:, :2].clamp(-0.7, 0.7).exp(), mirror, turn, scene_mirror, random)

    cut = pull_push(animals.pixels[own], _shrink(animals.masks[own], size))
    gain = HARMONY * ((_mean(scene) + 0.05) / (_mean(animals.water[own]) + 0.05)).log() + 0.5 * change[:, 2:, None, None].float()
    middle, contrast = _mean(cut, animals.masks[own]), torch.from_numpy(1 + CONTRAST * random.uniform(-1, 1, (count, 1, 1, 1))).float()
    cut = ((cut - middle) * contrast + middle) * gain.clamp(-0.7, 0.7).exp()
    cut = F.grid_sample(cut, warp, mode="bilinear", padding_mode="border", align_corners=False)
    mask = F.grid_sample(_feather(animals.masks[own]), warp, mode="bilinear", padding_mode="zeros", align_corners=False)
    return (torch.lerp(scene, cut, mask).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _warp(animals: Animals, own: Tensor, other: Tensor, scale: Tensor, mirror: Tensor, turn: Tensor, scene_mirror: Tensor,
          random: np.random.Generator) -> Tensor:  # fmt: skip
    """Where each pixel of the image comes from in the animal's own photograph: float32, shape (M, S, S, 2), x then y."""
    size = animals.pixels.shape[-1]
    line = (torch.arange(size).double() + 0.5) * 2 / size - 1
    place = torch.stack([animals.middle[other, 0] * scene_mirror, animals.middle[other, 1]], dim=1)
    away = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1) - place[:, None, None]
    along = _rotated(away, animals.angle[other] * turn) / scale[:, None, None]
    along = along * torch.stack([mirror, torch.ones_like(mirror)], dim=1)[:, None, None]
    found = _rotated(along, -animals.angle[own]) + animals.middle[own][:, None, None]
    weights, nodes = torch.from_numpy(_bernstein(size)), torch.from_numpy(np.clip(random.normal(size=(len(own), 4, 4, 2)), -2, 2) * BEND)
    return (found + torch.einsum("yi,xj,nijc->nyxc", weights, weights, nodes)).float()


def _rotated(points: Tensor, angle: Tensor) -> Tensor:
    """Points as seen from axes that are turned by an angle each."""
    cosine, sine = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    return torch.stack([cosine * points[..., 0] + sine * points[..., 1], cosine * points[..., 1] - sine * points[..., 0]], dim=-1)

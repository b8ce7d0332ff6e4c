"""Segmentation masks by self-training: a small network learns from the masks of all photographs together.

``segmentation.py`` uses the colours of one photograph only: it misses fins and tails of another colour, and animals that fill the picture. Such
errors differ from photograph to photograph, so a small network trained on many masks learns what they have in common. In each round, the network's
prediction initialises the colour models of each photograph, and the resulting masks are the next round's targets (self-training with noisy labels, as
Khoreva et al. 2017, "Simple does it: weakly supervised instance and semantic segmentation", arXiv 1603.07485, section 3, do with GrabCut). Features:
a frozen EfficientNet-Lite1 at four resolutions (hypercolumns: Hariharan et al. 2015, arXiv 1411.5752).

Code: written for Syntype. Weights: EfficientNet-Lite1 (ImageNet, Apache-2.0), bundled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syntype.encoders import build_backbone
from syntype.generators.copy_paste.segmentation import (
    PLAUSIBLE_AREA,
    Outlines,
    colour_probabilities,
    full_size_outlines,
    largest_component,
    segment,
    to_working_size,
    unsupervised_probabilities,
)
from syntype.generators.networks.projection import FrozenFeatures

__all__ = ["self_trained_masks"]

MIN_PHOTOGRAPHS = 50
"""With fewer photographs no network is trained; ``segment`` is used alone."""
_MAX_TRAINING_PHOTOGRAPHS = 1024
_BACKBONE_SIZE = 128  # px, input size of the frozen network
_ROUNDS, _STEPS, _BATCH = 3, 60, 16
_LEARNING_RATE = 2e-3
_WIDTH = 24
_CHUNK = 64


def self_trained_masks(images: np.ndarray, device: torch.device) -> Outlines:
    """Segment the animal in each photograph. The result depends on the photographs alone (up to the machine's rounding).

    Takes a minute for a thousand photographs on two processor cores, and about 40 ms for each further photograph.

    Args:
        images: uint8, shape (N, size, size, 3), RGB.

    Returns:
        the outlines, as ``segment`` returns them.
    """
    if len(images) < MIN_PHOTOGRAPHS:
        return segment(images)
    random, small = np.random.default_rng(0), to_working_size(images)
    chosen = np.sort(random.choice(len(images), min(_MAX_TRAINING_PHOTOGRAPHS, len(images)), replace=False))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        features = FrozenFeatures(build_backbone("lite1"), _BACKBONE_SIZE, 1, 0).to(device)
        features.standardise(_signed(to_working_size(images[chosen[:_CHUNK]], _BACKBONE_SIZE), device))
        network = _MaskNetwork(features.widths).to(device).to(memory_format=torch.channels_last)
    photographs = small[chosen]
    coarse = _coarse(photographs)
    maps = [
        torch.cat(part)
        for part in zip(*([x.half().cpu() for x in _maps(features, images[chosen[at : at + _CHUNK]])] for at in _chunks(photographs)), strict=True)
    ]
    soft = unsupervised_probabilities(photographs)
    for _ in range(_ROUNDS):
        masks = torch.stack([largest_component(one) for one in soft])
        _train_round(network, coarse, maps, masks, random, device)
        predicted = torch.cat([_predict(network, photographs, [x[at : at + _CHUNK] for x in maps], at) for at in _chunks(photographs)])
        soft = colour_probabilities(photographs, predicted)
    found, likely = (torch.empty(len(small), *small.shape[2:]) for _ in range(2))
    others = np.setdiff1d(np.arange(len(images)), chosen)
    found[chosen], likely[chosen] = soft, predicted
    if len(others):
        rest = small[others]
        likely[others] = torch.cat([_predict(network, rest, _maps(features, images[others[at : at + _CHUNK]]), at) for at in _chunks(rest)])
        found[others] = colour_probabilities(rest, likely[others])
    return full_size_outlines(images, found, likely)


class _MaskNetwork(nn.Module):
    """Frozen feature maps (hypercolumns), pixels and their coordinates -> one logit for each position of the finest map.

    That is a quarter of the backbone's side. The colour models start from the result and find the edges at working size; a network at working size
    took four times as long and gave no better masks.

    Args:
        widths: channels of the frozen maps, finest first.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.squeeze = nn.ModuleList(nn.Conv2d(width, _WIDTH, 1) for width in widths)
        self.middle = nn.Sequential(
            nn.BatchNorm2d(_WIDTH * len(widths)), nn.ReLU(), nn.Conv2d(_WIDTH * len(widths), _WIDTH, 3, padding=1), nn.BatchNorm2d(_WIDTH), nn.ReLU()
        )
        self.fine = nn.Sequential(nn.Conv2d(5, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.last = nn.Sequential(nn.Conv2d(_WIDTH + 16, _WIDTH, 3, padding=1), nn.BatchNorm2d(_WIDTH), nn.ReLU(), nn.Conv2d(_WIDTH, 1, 3, padding=1))

    def forward(self, images_NCHW: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Images in [-1, 1] at the finest map's size, and their frozen maps -> logits, shape (N, size, size)."""
        count, _, height, width = images_NCHW.shape
        squeezed = [
            F.interpolate(squeeze(x), size=(height, width), mode="bilinear", align_corners=False)
            for squeeze, x in zip(self.squeeze, maps, strict=True)
        ]
        line = torch.linspace(-1, 1, height).to(images_NCHW)
        place = torch.stack([line.expand(height, width), line[:, None].expand(height, width)]).expand(count, -1, -1, -1)
        fine = self.fine(torch.cat([images_NCHW - images_NCHW.mean((2, 3), keepdim=True), place], 1))
        return self.last(torch.cat([fine, self.middle(torch.cat(squeezed, 1))], 1)).squeeze(1)


def _train_round(
    network: _MaskNetwork, photographs: Tensor, maps: Sequence[Tensor], masks: Tensor, random: np.random.Generator, device: torch.device
) -> None:
    """One round of training: cross-entropy with soft masks, mirrored half of the time. Implausible masks are left out."""
    area, masks = masks.mean((1, 2)), _coarse(masks[:, None])[:, 0]
    usable = np.flatnonzero(((area >= PLAUSIBLE_AREA[0]) & (area <= PLAUSIBLE_AREA[1])).numpy())
    if not len(usable):
        return
    optimiser = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _LEARNING_RATE, total_steps=_STEPS)
    network.train()
    for _ in range(_STEPS):
        rows, mirrored = np.sort(random.choice(usable, _BATCH)), random.random() < 0.5
        inputs, features, target = _signed(photographs[rows], device), [_floats(x[rows], device) for x in maps], masks[rows].to(device)
        if mirrored:
            inputs, features, target = inputs.flip(-1), [x.flip(-1) for x in features], target.flip(-1)
        loss = F.binary_cross_entropy_with_logits(network(inputs, features), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval()


@torch.no_grad()
def _predict(network: _MaskNetwork, small: Tensor, maps: Sequence[Tensor], at: int) -> Tensor:
    """Probabilities for one chunk of photographs, from index ``at`` on, given their frozen maps: shape (chunk, S, S), on the CPU."""
    device = next(network.parameters()).device
    logits = network(_signed(_coarse(small[at : at + _CHUNK]), device), [_floats(x, device) for x in maps])
    return torch.sigmoid(F.interpolate(logits[:, None], size=small.shape[-2:], mode="bilinear", align_corners=False))[:, 0].cpu()


@torch.no_grad()
def _maps(features: FrozenFeatures, images: np.ndarray) -> list[Tensor]:
    """Frozen maps of some photographs, uint8, shape (n, size, size, 3)."""
    return features(_signed(to_working_size(images, _BACKBONE_SIZE), features.gain.device))


def _coarse(images: Tensor) -> Tensor:
    """Images or masks (NCHW) at the size of the finest map."""
    return F.interpolate(images, size=(_BACKBONE_SIZE // 4, _BACKBONE_SIZE // 4), mode="area")


def _signed(small: Tensor, device: torch.device) -> Tensor:
    """From [0, 1] to [-1, 1], on the networks' device, with the channels of a pixel side by side, which a processor convolves a third faster."""
    return (small.to(device) * 2 - 1).contiguous(memory_format=torch.channels_last)


def _floats(maps: Tensor, device: torch.device) -> Tensor:
    """Maps that were kept in half precision, as the network takes them."""
    return maps.to(device, torch.float32).contiguous(memory_format=torch.channels_last)


def _chunks(small: Tensor) -> range:
    return range(0, len(small), _CHUNK)

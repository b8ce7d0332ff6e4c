"""Instance codes: what a photograph shows besides its species, as a few numbers that generator and discriminators are told.

Casanova et al. 2021, "Instance-Conditioned GAN" (arXiv 2109.05070): the generator draws the neighbourhood of a photograph, given by its
frozen features, and the discriminators see photograph and drawing together with them; so what is drawn is as varied as the photographs
are, where a species alone was seen to settle on one pose before one background. Here the code is what is left of the features
after the mean of the species is taken away (the differences that Schwartz et al. 2018, arXiv 1806.04734, carry from one species to
another): pose, place and light of one species can be lent to another. The neighbourhood is normal noise on the code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["CodeBank", "InstanceEncoder", "pool_features"]

MAX_FIT_IMAGES = 4096
"""Photographs from which the principal directions are found."""
COLOURS = 3 * 8 * 8
COLOUR_SQUARE = 0.3
"""About the mean square of the pixels of photographs."""
MAX_CODES_PER_SPECIES = 64
"""Photographs a species whose codes a generator remembers."""


def pool_features(maps: Sequence[Tensor], images_NCHW: Tensor) -> Tensor:
    """What codes are made of: the maps of strides 8, 16 and 32 pooled to 2x2, and the colours at 8x8. The squares of each of the four
    sum to about 1 or less.

    Args:
        maps: of the images, finest first, of unit mean square, as ``FrozenFeatures`` gives them.
        images_NCHW: in [-1, 1].

    Returns:
        shape (N, 4 * channels of those maps + COLOURS).
    """
    layouts = [F.adaptive_avg_pool2d(x, 2).flatten(1) / (2 * x.shape[1] ** 0.5) for x in maps[1:]]
    colours = F.adaptive_avg_pool2d(images_NCHW, 8).flatten(1) / (COLOUR_SQUARE * COLOURS) ** 0.5
    return torch.cat([*layouts, colours], dim=1)


class InstanceEncoder(nn.Module):
    """Pooled features -> codes: principal directions of the differences within species, each to unit variance.

    Args:
        widths: channels of the maps that ``pool_features`` is given, finest first.
        num_species: rows of the species' means.
        code_dim: directions kept.
    """

    def __init__(self, widths: Sequence[int], num_species: int, code_dim: int) -> None:
        super().__init__()
        self.projection: Tensor
        self.mean: Tensor
        self.register_buffer("projection", torch.zeros(4 * sum(widths[1:]) + COLOURS, code_dim))
        self.register_buffer("mean", torch.zeros(num_species, code_dim))

    @torch.no_grad()
    def fit(self, features: Tensor, labels: Tensor) -> None:
        """Find the directions. Species weigh by the square root of their photographs' number, or the commonest would decide alone.

        Args:
            features: pooled, of photographs, shape (N, features).
            labels: int64, shape (N,).
        """
        counts = torch.bincount(labels).clamp(min=1).to(features.dtype)
        mean = features.new_zeros(len(counts), features.shape[1]).index_add_(0, labels, features) / counts[:, None]
        within = features - mean[labels]
        _, values, directions = torch.linalg.svd(within * counts[labels, None] ** -0.25, full_matrices=False)
        number = min(int((values > 1e-4 * values[0]).sum()), self.projection.shape[1])  # six photographs have few directions
        projection = directions[:number].T
        self.projection.zero_()
        self.projection[:, :number] = projection / (within @ projection).square().mean(0).sqrt()

    @torch.no_grad()
    def centre(self, raw: Tensor, labels: Tensor) -> None:
        """Take the species' means from projected features; species without a photograph among them keep theirs."""
        counts = torch.bincount(labels, minlength=len(self.mean))
        there = counts > 0
        total = torch.zeros_like(self.mean).index_add_(0, labels, raw)
        self.mean[there] = total[there] / counts[there, None]

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Codes, shape (N, code_dim): over a species' photographs, mean 0 and a variance of about 1."""
        return features @ self.projection - self.mean[labels]


class CodeBank(nn.Module):
    """Codes of photographs that a generator starts its drawings from, and what it takes to work out that of a further photograph (for
    96 directions of EfficientNet-Lite1's maps 0.8 MB, however many species there are); part of its weights.

    Args:
        num_species: rows of the spans.
        code_dim: length of a code.

    Attributes:
        codes: shape (any number, code_dim).
        spans: int64, shape (num_species, 2): first row and number of rows that a species draws from.
        gain, projection, mean: of ``FrozenFeatures`` and ``InstanceEncoder``, whose codes these are; the first two empty until they are known.
    """

    def __init__(self, num_species: int, code_dim: int) -> None:
        super().__init__()
        self.codes: Tensor
        self.spans: Tensor
        self.gain: Tensor
        self.projection: Tensor
        self.mean: Tensor
        self.register_buffer("codes", torch.zeros(0, code_dim))
        self.register_buffer("spans", torch.zeros(num_species, 2, dtype=torch.int64))
        self.register_buffer("gain", torch.zeros(0))
        self.register_buffer("projection", torch.zeros(0, code_dim))
        self.register_buffer("mean", torch.zeros(num_species, code_dim))

    def store(self, codes: Tensor, labels: np.ndarray) -> None:
        """Remember up to ``MAX_CODES_PER_SPECIES`` photographs a species, evenly spaced among its own.

        Args:
            codes: shape (N, ways, code_dim): of every photograph as it is and, if that is allowed, mirrored.
            labels: int64, shape (N,).
        """
        order = np.argsort(labels, kind="stable")
        bounds = np.searchsorted(labels[order], np.arange(len(self.spans) + 1))
        rows: list[np.ndarray] = []
        first = 0
        for species in range(len(self.spans)):
            own = order[bounds[species] : bounds[species + 1]]
            if len(own) > MAX_CODES_PER_SPECIES:
                own = own[np.linspace(0, len(own) - 1, MAX_CODES_PER_SPECIES).astype(int)]
            rows.append(own)
            number = len(own) * codes.shape[1]
            self.spans[species] = torch.tensor([first, number])
            first += number
        self.codes = codes[torch.from_numpy(np.concatenate(rows))].flatten(0, 1).contiguous()

    def add_species(self, relative: int | None) -> None:
        """A new species draws from its relative's codes, or from all."""
        span = self.spans.new_tensor([0, len(self.codes)]) if relative is None else self.spans[relative]
        self.spans = torch.cat([self.spans, span[None]])
        self.mean = torch.cat([self.mean, (self.mean.mean(0) if relative is None else self.mean[relative])[None]])

    def seeded_codes(self, labels: Tensor, seeds: Sequence[int]) -> Tensor:
        """One remembered code for each (species, seed) pair, shape (N, code_dim); zeros for a species that has none."""
        result = self.codes.new_zeros(len(labels), self.codes.shape[1])
        for index, (label, seed) in enumerate(zip(labels.tolist(), seeds, strict=True)):
            first, number = self.spans[label].tolist()
            if number:
                result[index] = self.codes[first + int(np.random.default_rng(seed).integers(number))]
        return result

    def random_codes(self, labels: Tensor) -> Tensor:
        """A remembered code for each label, drawn by torch's global generator: shape (N, code_dim). Each of these species must have one."""
        first, number = self.spans[labels].unbind(1)
        place = (torch.rand(len(labels), device=labels.device) * number).long()
        return self.codes[first + torch.minimum(place, number - 1)]

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *others: object) -> None:
        """Make room for as many codes as there are. Weights from before photographs could be varied keep what is known here of the rest."""
        for name in ("codes", "gain", "projection", "mean"):
            own = getattr(self, name)
            saved = state_dict.setdefault(prefix + name, own)
            if name != "mean":
                setattr(self, name, own.new_zeros(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *others)  # type: ignore[arg-type]

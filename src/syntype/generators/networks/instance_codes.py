"""Instance codes: short vectors that describe a photograph apart from its species (pose, place, light).

Casanova et al. 2021, "Instance-Conditioned GAN" (arXiv 2109.05070): the generator is conditioned on the frozen features of a photograph and generates
images like it; the discriminators get the same features with photograph and generated image. This keeps generated images as varied as the
photographs, where a generator conditioned on the species alone was observed to settle on one pose and one background. Here the code is what remains
of the features after the species' mean is subtracted (the differences that Schwartz et al. 2018, arXiv 1806.04734, transfer from one species to
another), so that the code of one species' photograph can be used for another species. Normal noise is added to the code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["CodeBank", "InstanceEncoder", "pool_features"]

MAX_FIT_IMAGES = 4096
"""Photographs, at most, from which the principal directions are computed."""
COLOURS = 3 * 8 * 8
"""Length of the colour features: three channels at 8x8."""
COLOUR_SQUARE = 0.3
"""Typical mean square of the pixels of photographs."""
MAX_CODES_PER_SPECIES = 64
"""Photographs a species, at most, whose codes are stored with a generator."""


def pool_features(maps: Sequence[Tensor], images_NCHW: Tensor) -> Tensor:
    """Features of photographs for instance codes: the maps of strides 8, 16 and 32 pooled to 2x2, and the colours at 8x8.

    Each of the four parts is scaled so that its squares sum to about 1 or less.

    Args:
        maps: of the images, finest first, of unit mean square, as ``FrozenFeatures`` returns them.
        images_NCHW: in [-1, 1].

    Returns:
        shape (N, 4 * channels of those maps + COLOURS).
    """
    layouts = [F.adaptive_avg_pool2d(x, 2).flatten(1) / (2 * x.shape[1] ** 0.5) for x in maps[1:]]
    colours = F.adaptive_avg_pool2d(images_NCHW, 8).flatten(1) / (COLOUR_SQUARE * COLOURS) ** 0.5
    return torch.cat([*layouts, colours], dim=1)


class InstanceEncoder(nn.Module):
    """Pooled features -> instance codes, by principal component analysis of the differences within species, scaled to unit variance.

    Args:
        widths: channels of the maps given to ``pool_features``, finest first.
        num_species: number of species.
        code_dim: number of principal directions.
    """

    def __init__(self, widths: Sequence[int], num_species: int, code_dim: int) -> None:
        super().__init__()
        self.projection: Tensor
        self.mean: Tensor
        self.register_buffer("projection", torch.zeros(4 * sum(widths[1:]) + COLOURS, code_dim))
        self.register_buffer("mean", torch.zeros(num_species, code_dim))

    @torch.no_grad()
    def fit(self, features: Tensor, labels: Tensor) -> None:
        """Compute the principal directions. Species are weighted by the square root of their number of photographs, so that the commonest do not
        dominate.

        Args:
            features: pooled features of photographs, shape (N, features).
            labels: int64, shape (N,).
        """
        counts = torch.bincount(labels).clamp(min=1).to(features.dtype)
        mean = features.new_zeros(len(counts), features.shape[1]).index_add_(0, labels, features) / counts[:, None]
        within = features - mean[labels]
        _, values, directions = torch.linalg.svd(within * counts[labels, None] ** -0.25, full_matrices=False)
        number = min(int((values > 1e-4 * values[0]).sum()), self.projection.shape[1])  # few photographs have fewer directions than code_dim
        projection = directions[:number].T
        self.projection.zero_()
        self.projection[:, :number] = projection / (within @ projection).square().mean(0).sqrt()

    @torch.no_grad()
    def centre(self, raw: Tensor, labels: Tensor) -> None:
        """Set the species' means from projected features; a species without a photograph among them keeps its mean."""
        counts = torch.bincount(labels, minlength=len(self.mean))
        there = counts > 0
        total = torch.zeros_like(self.mean).index_add_(0, labels, raw)
        self.mean[there] = total[there] / counts[there, None]

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Instance codes, shape (N, code_dim): over a species' photographs, mean 0 and variance about 1."""
        return features @ self.projection - self.mean[labels]


class CodeBank(nn.Module):
    """Instance codes of training photographs, stored with a generator's weights, and what is needed to encode further photographs.

    (The latter takes 0.8 MB for 96 directions of EfficientNet-Lite1's maps, whatever the number of species.)

    Args:
        num_species: number of species.
        code_dim: length of a code.

    Attributes:
        codes: shape (any number, code_dim).
        spans: int64, shape (num_species, 2): index of a species' first code, and number of its codes.
        gain, projection, mean: of ``FrozenFeatures`` and ``InstanceEncoder``; the first two are empty before the first training.
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
        """Store the codes of up to ``MAX_CODES_PER_SPECIES`` photographs a species, evenly spaced among its own.

        Args:
            codes: shape (N, 1 or 2, code_dim): of every photograph and, with ``flip``, of its mirror image.
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
        """Add a species that uses the codes of ``relative`` (its label), or all codes if None."""
        span = self.spans.new_tensor([0, len(self.codes)]) if relative is None else self.spans[relative]
        self.spans = torch.cat([self.spans, span[None]])
        self.mean = torch.cat([self.mean, (self.mean.mean(0) if relative is None else self.mean[relative])[None]])

    def own_codes(self, codes: Tensor) -> None:
        """Give the species added last codes of its own, shape (N, code_dim), in place of those of another species."""
        self.spans[-1] = self.spans.new_tensor([len(self.codes), len(codes)])
        self.codes = torch.cat([self.codes, codes.to(self.codes)])

    def moved_codes(self, label: int, difference: Tensor, num_photographs: int, number: int) -> Tensor:
        """Codes of a species, evenly spaced among its own and moved towards the mean of another: shape (at most ``number``, code_dim).

        The mean of few photographs is uncertain, so they are not moved the whole way but by the share 1 - noise / |difference|^2, at least 0, where
        noise is the variance of such a mean (James & Stein 1961, "Estimation with Quadratic Loss", for many dimensions; the positive part). Without
        this, species that look like their relative were observed to be drawn worse than with the relative's own codes.

        Args:
            label: of the species whose codes are moved.
            difference: mean of the other species less that of this one, shape (code_dim,), of codes before a mean is subtracted.
            num_photographs: from which the other mean was computed.
            number: of codes.
        """
        first, stored = self.spans[label].tolist()
        noise = self.codes.square().sum(1).mean() / num_photographs
        share = (1 - noise / difference.square().sum().clamp(min=1e-12)).clamp(min=0)
        return self.codes[first + torch.linspace(0, stored - 1, min(number, stored)).long()] + share * difference

    def seeded_codes(self, labels: Tensor, seeds: Sequence[int]) -> Tensor:
        """One stored code for each (label, seed), shape (N, code_dim); zeros for a species without codes."""
        result = self.codes.new_zeros(len(labels), self.codes.shape[1])
        for index, (label, seed) in enumerate(zip(labels.tolist(), seeds, strict=True)):
            first, number = self.spans[label].tolist()
            if number:
                result[index] = self.codes[first + int(np.random.default_rng(seed).integers(number))]
        return result

    def random_codes(self, labels: Tensor) -> Tensor:
        """One stored code for each label, chosen by torch's global generator: shape (N, code_dim). Each label must have codes."""
        first, number = self.spans[labels].unbind(1)
        place = (torch.rand(len(labels), device=labels.device) * number).long()
        return self.codes[first + torch.minimum(place, number - 1)]

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *others: object) -> None:
        """Resize the buffers to the saved ones. Buffers that an older file does not contain keep their present values."""
        for name in ("codes", "gain", "projection", "mean"):
            own = getattr(self, name)
            saved = state_dict.setdefault(prefix + name, own)
            if name != "mean":
                setattr(self, name, own.new_zeros(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *others)  # type: ignore[arg-type]

"""FastGAN's generator, conditioned on species: up-sampling blocks with skip-layer excitation.

Liu et al. 2021, "Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image Synthesis" (arXiv 2101.04775): gated linear units, and
feature maps of low resolution that gate those of high resolution (eq. 1).

Differences from the paper: the latent enters at 4x4 only. The species enters as scale and shift of every normalisation layer (conditional batch
normalisation, Dumoulin et al. 2017). When the latent also set scales and shifts, images of one species were observed to differ in brightness and
contrast only. There is no per-pixel noise: an image is a function of latent and species. There is no final tanh: its gradient vanishes where it
saturates, and colours were observed to stay at black, white and cyan.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FastGANGenerator", "SkipExcitation", "channels_at", "gated_linear_unit"]

_MULTIPLES = {4: 16.0, 8: 8.0, 16: 4.0, 32: 2.0, 64: 1.0, 128: 1.0, 256: 0.5, 512: 0.25, 1024: 0.125}


def channels_at(resolution: int, width: int) -> int:
    """Channels of the feature maps at a resolution."""
    return max(8, int(_MULTIPLES[resolution] * width))


def gated_linear_unit(x: Tensor) -> Tensor:
    """Gated linear unit over channels, equal to ``F.glu``; on channels-last tensors its backward pass is several times faster."""
    value, gate = x.chunk(2, dim=1)
    return value * torch.sigmoid(gate)


class _ConditionalNorm(nn.Module):
    """Batch normalisation whose scale and shift are linear functions of the condition vector."""

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.affine = nn.Linear(condition_dim, 2 * channels)
        nn.init.normal_(self.affine.weight, std=0.15 / condition_dim**0.5)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.affine(condition)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, self.norm(x), 1 + scale)


class _Block(nn.Module):
    """Doubles the resolution, then applies one or two gated 3x3 convolutions."""

    def __init__(self, channels_in: int, channels_out: int, condition_dim: int, convolutions: int) -> None:
        super().__init__()
        sizes = [channels_in, *[channels_out] * convolutions]
        self.convs = nn.ModuleList(nn.Conv2d(a, 2 * b, 3, padding=1, bias=False) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(_ConditionalNorm(2 * b, condition_dim) for b in sizes[1:])

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = gated_linear_unit(norm(conv(x), condition))
        return x


class SkipExcitation(nn.Module):
    """Skip-layer excitation, Liu et al. 2021 eq. 1: one map, pooled to 4x4, gates the channels of another of much different resolution.

    Args:
        channels_from: channels of the gating map, shape (N, channels_from, any, any).
        channels_to: channels of the gated map, shape (N, channels_to, any, any).
    """

    def __init__(self, channels_from: int, channels_to: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), nn.Conv2d(channels_from, channels_to, 4), nn.LeakyReLU(0.1), nn.Conv2d(channels_to, channels_to, 1), nn.Sigmoid()
        )

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """``target`` with each channel multiplied by a number in (0, 1) computed from ``source``."""
        return target * self.gate(source)


class FastGANGenerator(nn.Module):
    """Latent and species -> image.

    Args:
        size: side of the images, a power of two from 16 to 1024.
        num_species: number of species embeddings.
        latent_dim: length of the latent vector, drawn from a standard normal distribution.
        embedding_dim: length of a species' embedding.
        width: channels at 64 px; all others follow.
    """

    def __init__(self, size: int, num_species: int, latent_dim: int, embedding_dim: int, width: int) -> None:
        super().__init__()
        self.size, self.latent_dim = size, latent_dim
        self.embedding = nn.Embedding(num_species, embedding_dim)
        self.start = nn.Linear(latent_dim, 2 * channels_at(4, width) * 16, bias=False)
        self.start_norm = _ConditionalNorm(2 * channels_at(4, width), embedding_dim)
        resolutions = [r for r in _MULTIPLES if 8 <= r <= size]
        self.blocks = nn.ModuleList(
            _Block(channels_at(r // 2, width), channels_at(r, width), embedding_dim, 2 if r in (16, 32, 128, 512) else 1) for r in resolutions
        )
        # 4 -> 64, 8 -> 128, 16 -> 256, 32 -> 512 as in the paper; smaller images gate their last block
        skips = {min(low * 16, size): low for low in (32, 16, 8, 4) if low * 4 <= size}
        self.skips = nn.ModuleDict({str(high): SkipExcitation(channels_at(low, width), channels_at(high, width)) for high, low in skips.items()})
        self._skip_from = skips
        self.to_rgb = nn.Conv2d(channels_at(size, width), 3, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=1.0)
        self.to_rgb.weight.data.mul_(0.3)  # so that the first images are near grey, within the range of photographs

    def condition_vectors(self, labels: Tensor) -> Tensor:
        """Species embeddings scaled to unit mean square: shape (N, embedding_dim)."""
        embeddings = self.embedding(labels)
        return F.normalize(embeddings, dim=1) * embeddings.shape[1] ** 0.5

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Images, shape (N, 3, size, size); mostly in [-1, 1], not clamped."""
        return self.synthesise(latents, self.condition_vectors(labels))

    def synthesise(self, latents: Tensor, condition: Tensor) -> Tensor:
        """Images from latents, shape (N, latent_dim), and condition vectors as ``condition_vectors`` returns them, or interpolations of these."""
        x = self.start(latents).view(len(latents), -1, 4, 4).to(memory_format=torch.channels_last)
        x = gated_linear_unit(self.start_norm(x, condition))
        maps = {4: x}
        for block in self.blocks:
            x = block(x, condition)
            resolution = x.shape[-1]
            if str(resolution) in self.skips:
                x = self.skips[str(resolution)](maps[self._skip_from[resolution]], x)
            maps[resolution] = x
        return self.to_rgb(x)

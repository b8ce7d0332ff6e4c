"""A U-Net for diffusion in pixels, conditioned on noise level and species, with self-attention at low resolutions.

Ronneberger et al. 2015 (arXiv 1505.04597) as used by Ho et al. 2020 (arXiv 2006.11239, appendix B). Noise level and species scale and shift the
second normalisation of each block (Dhariwal & Nichol 2021, arXiv 2105.05233, section 3.1). Designed for few multiplications and little memory
traffic: tensors stay channels-last; 1x1 and 2x2 convolutions change the number of channels at the lower resolution; and one skip connection a
resolution is added (Long et al. 2015, arXiv 1411.4038), as concatenating several costs half as much again in the following blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["CHANNELS_PER_GROUP", "UNet"]

CHANNELS_PER_GROUP = 16
"""Channels in a group of group normalisation."""
CHANNELS_PER_HEAD = 64
"""Channels of an attention head, where the number of channels is a multiple of it."""
MAX_ATTENTION_SIDE = 16
"""Largest side, in pixels, of maps with self-attention: its cost grows with the side's fourth power."""


class _Block(nn.Module):
    """A residual block of two 3x3 convolutions; the condition vector sets scale and shift between them."""

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(channels // CHANNELS_PER_GROUP, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(channels // CHANNELS_PER_GROUP, channels, affine=False)
        self.affine = nn.Linear(condition_dim, 2 * channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.zeros_(self.conv2.weight)  # each block starts as the identity

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.affine(condition)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale)))
        return x + h


class _Attention(nn.Module):
    """Residual self-attention over all positions (Vaswani et al. 2017, arXiv 1706.03762)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = channels // CHANNELS_PER_HEAD if channels % CHANNELS_PER_HEAD == 0 else 1
        self.norm = nn.GroupNorm(channels // CHANNELS_PER_GROUP, channels)
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        count, channels, height, width = x.shape
        positions = self.norm(x).permute(0, 2, 3, 1).reshape(count, height * width, channels)  # a view: channels are last in memory
        qkv = self.to_qkv(positions).view(count, height * width, 3, self.heads, -1)
        seen = F.scaled_dot_product_attention(*(part.transpose(1, 2) for part in qkv.unbind(2)))
        h = self.out(seen.transpose(1, 2).reshape(positions.shape))
        return x + h.view(count, height, width, channels).permute(0, 3, 1, 2)


class _Stage(nn.Module):
    """The blocks of one resolution, followed by self-attention where the resolution is low."""

    def __init__(self, channels: int, blocks: int, condition_dim: int, side: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(channels, condition_dim) for _ in range(blocks))
        self.attention = _Attention(channels) if side <= MAX_ATTENTION_SIDE else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, condition)
        return self.attention(x)


class UNet(nn.Module):
    """Noisy images, noise levels and condition vectors -> prediction, of the images' shape.

    Args:
        size: side of the images, in pixels.
        num_species: number of species embeddings; 0 for an unconditional network.
        width: channels at full resolution, a multiple of ``CHANNELS_PER_GROUP``.
        channel_multipliers: channels of each resolution as multiples of ``width``, from ``size`` downwards, each half the side of the one before.
        blocks: residual blocks of each resolution in the encoder and again in the decoder; at the lowest resolution, once.
    """

    def __init__(self, size: int, num_species: int, width: int, channel_multipliers: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        channels = [width * multiplier for multiplier in channel_multipliers]
        sides = [size >> level for level in range(len(channels))]
        condition_dim, low = 4 * width, len(channels) - 1
        self.width = width
        self.embedding = nn.Embedding(num_species, condition_dim)
        self.null = nn.Parameter(torch.zeros(1, condition_dim))  # embedding for "no species given"
        self.level = nn.Sequential(nn.Linear(width, condition_dim), nn.SiLU(), nn.Linear(condition_dim, condition_dim))
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.ModuleList(_Stage(channels[i], blocks[i], condition_dim, sides[i]) for i in range(low))
        self.halve = nn.ModuleList(nn.Conv2d(channels[i], channels[i + 1], 2, stride=2) for i in range(low))
        self.middle = _Stage(channels[low], blocks[low], condition_dim, sides[low])
        self.narrow = nn.ModuleList(nn.Conv2d(channels[i + 1], channels[i], 1) for i in range(low))
        self.up = nn.ModuleList(_Stage(channels[i], blocks[i], condition_dim, sides[i]) for i in range(low))
        self.norm = nn.GroupNorm(width // CHANNELS_PER_GROUP, width)
        self.out = nn.Conv2d(width, 3, 3, padding=1)
        nn.init.zeros_(self.out.weight)

    def condition_vectors(self, labels: Tensor | None, count: int) -> Tensor:
        """Embeddings of the species: shape (count, condition_dim). Without labels, the embedding for "no species given"."""
        return self.null.expand(count, -1) if labels is None else self.embedding(labels)

    def forward(self, x: Tensor, levels: Tensor, conditions: Tensor) -> Tensor:
        """Predict from noisy images, shape (N, 3, size, size), noise levels, shape (N,), and condition vectors, shape (N, condition_dim)."""
        condition = F.silu(self.level(sinusoidal_embedding(levels, self.width)) + conditions)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 is too coarse for the noise of the lowest levels
            x = self.stem(x.float().contiguous(memory_format=torch.channels_last))
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))  # otherwise every sum with it would be float32 again
        skips = []
        for stage, halve in zip(self.down, self.halve, strict=True):
            x = stage(x, condition)
            skips.append(x)
            x = halve(x)
        x = self.middle(x, condition)
        for stage, narrow, skip in zip(reversed(self.up), reversed(self.narrow), reversed(skips), strict=True):
            x = stage(F.interpolate(narrow(x), scale_factor=2, mode="nearest") + skip, condition)
        return self.out(F.silu(self.norm(x))).float()


def sinusoidal_embedding(levels: Tensor, number: int) -> Tensor:
    """Sines and cosines of the levels at ``number`` / 2 frequencies from 1 to 1e-4 (Vaswani et al. 2017, section 3.5): shape (N, number)."""
    frequencies = torch.exp(torch.linspace(0, -math.log(1e4), number // 2, device=levels.device))
    angles = levels[:, None].float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)

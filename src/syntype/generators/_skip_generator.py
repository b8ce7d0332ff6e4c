"""FastGAN's generator, conditioned on species: up-sampling blocks with skip-layer excitation.

Liu et al. 2021, "Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image Synthesis"
(arXiv 2101.04775): gated linear units, and feature maps of low resolution that gate those of high resolution (eq. 1).
Latent and species embedding are joined and modulate every convolution (Karras et al. 2020, arXiv 1912.04958), so that the latent
reaches every resolution. This replaces the original's batch normalisation: an image then depends on no other in its batch, neither in training
nor afterwards, which six photographs of one species would upset.
The per-pixel noise of the original is left out: an image is a function of its latent and species alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SkipGenerator", "channels_at"]

_MULTIPLES = {4: 16.0, 8: 8.0, 16: 4.0, 32: 2.0, 64: 1.0, 128: 1.0, 256: 0.5, 512: 0.25, 1024: 0.125}


def channels_at(resolution: int, width: int) -> int:
    """Channels of the feature maps at a resolution."""
    return max(8, int(_MULTIPLES[resolution] * width))


class _ModulatedConv(nn.Module):
    """3x3 convolution whose input channels are scaled by the condition and whose output keeps unit variance.

    Karras et al. 2020 (arXiv 1912.04958), eq. 1 and 3, with the scales applied to the feature maps instead of the weights, so that
    one convolution serves the whole batch. Unlike batch normalisation it treats every image alone.
    """

    def __init__(self, channels_in: int, channels_out: int, condition_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, 3, 3) / (9 * channels_in) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.style = nn.Linear(condition_dim, channels_in)
        nn.init.normal_(self.style.weight, std=0.5 / condition_dim**0.5)
        nn.init.ones_(self.style.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        style = self.style(condition)
        x = F.conv2d(x * style[:, :, None, None], self.weight, padding=1)
        scale = torch.rsqrt(style.square() @ self.weight.square().sum((2, 3)).T + 1e-8)
        return torch.addcmul(self.bias[None, :, None, None], x, scale[:, :, None, None])


def _gated(x: Tensor) -> Tensor:
    """Gated linear unit that keeps unit variance: E[(a sigmoid(b))^2] = 0.293 for standard normal a and b."""
    return F.glu(x, dim=1) * 1.85


class _Block(nn.Module):
    """Twice the resolution, then one or two gated 3x3 convolutions."""

    def __init__(self, channels_in: int, channels_out: int, condition_dim: int, convolutions: int) -> None:
        super().__init__()
        sizes = [channels_in, *[channels_out] * convolutions]
        self.convs = nn.ModuleList(_ModulatedConv(a, 2 * b, condition_dim) for a, b in zip(sizes, sizes[1:], strict=False))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        for conv in self.convs:
            x = _gated(conv(x, condition))
        return x


class _SkipExcitation(nn.Module):
    """Skip-layer excitation, Liu et al. 2021 eq. 1: a low-resolution map gates the channels of a high-resolution one."""

    def __init__(self, channels_low: int, channels_high: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), nn.Conv2d(channels_low, channels_high, 4), nn.LeakyReLU(0.1), nn.Conv2d(channels_high, channels_high, 1)
        )

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return high * (2 * torch.sigmoid(self.gate(low)))


class SkipGenerator(nn.Module):
    """Latent and species -> image.

    Args:
        size: side of the images, a power of two from 16 to 1024.
        num_species: rows of the embedding.
        latent_dim: length of the latent vector, drawn from a standard normal distribution.
        embedding_dim: length of a species' embedding.
        width: channels at 64 px; all others follow.
    """

    def __init__(self, size: int, num_species: int, latent_dim: int, embedding_dim: int, width: int) -> None:
        super().__init__()
        self.size, self.latent_dim = size, latent_dim
        self.embedding = nn.Embedding(num_species, embedding_dim)
        condition = latent_dim + embedding_dim
        self.start = nn.Linear(condition, 2 * channels_at(4, width) * 16)
        resolutions = [r for r in _MULTIPLES if 8 <= r <= size]
        self.blocks = nn.ModuleList(
            _Block(channels_at(r // 2, width), channels_at(r, width), condition, 2 if r in (16, 32, 128, 512) else 1) for r in resolutions
        )
        # 4 -> 64, 8 -> 128, 16 -> 256, 32 -> 512 as in the paper; smaller images gate their last block
        skips = {min(low * 16, size): low for low in (32, 16, 8, 4) if low * 4 <= size}
        self.skips = nn.ModuleDict({str(high): _SkipExcitation(channels_at(low, width), channels_at(high, width)) for high, low in skips.items()})
        self._skip_from = skips
        self.to_rgb = nn.Conv2d(channels_at(size, width), 3, 3, padding=1)
        nn.init.normal_(self.start.weight, std=condition**-0.5)
        nn.init.kaiming_normal_(self.to_rgb.weight, a=1.0)

    def condition(self, latents: Tensor, embeddings: Tensor) -> Tensor:
        """Join latents (N, latent_dim) and species embeddings (N, embedding_dim), both brought to unit mean square."""
        return torch.cat([latents, F.normalize(embeddings, dim=1) * embeddings.shape[1] ** 0.5], dim=1)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Images, shape (N, 3, size, size), in [-1, 1]."""
        return self.synthesise(self.condition(latents, self.embedding(labels)))

    def synthesise(self, condition: Tensor) -> Tensor:
        """Images from conditions as ``condition`` makes them."""
        x = self.start(condition).view(len(condition), -1, 4, 4).to(memory_format=torch.channels_last)
        x = _gated(x)
        maps = {4: x}
        for block in self.blocks:
            x = block(x, condition)
            resolution = x.shape[-1]
            if str(resolution) in self.skips:
                x = self.skips[str(resolution)](maps[self._skip_from[resolution]], x)
            maps[resolution] = x
        return torch.tanh(self.to_rgb(x))

"""FastGAN's discriminator: it classifies images as real or generated, and reconstructs the real ones from its feature maps.

Liu et al. 2021, "Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image Synthesis" (arXiv 2101.04775), section 3.2:
down-sampling blocks of two branches, skip-layer excitation from fine to coarse maps, a map of logits, and two small decoders. The reconstruction
forces the feature maps to describe the whole photograph, so that a discriminator trained on few photographs does not rely on few details. The species
enters by projection (Miyato & Koyama 2018, arXiv 1802.05637, eq. 3).

Differences from the paper: its perceptual distance (LPIPS) needs a VGG network. Here a reconstruction is compared by mean absolute error and
structural similarity (Wang et al. 2004), the mixture recommended by Zhao et al. 2017 (arXiv 1511.08861) for errors that people look at. The decoders
have no tanh, as an augmented photograph may lie outside [-1, 1].
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from syntype.generators.networks.fastgan_generator import SkipExcitation, channels_at, gated_linear_unit
from syntype.generators.networks.ssim import structural_dissimilarity

__all__ = ["FastGANDiscriminator", "reconstruction_loss"]

MAX_RECONSTRUCTION_SIDE = 128
"""Largest side of a reconstructed image, in pixels (as in the paper)."""


class _Norm(nn.BatchNorm2d):
    """Batch normalisation without running statistics: the discriminator always sees batches."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, track_running_stats=False)


class _Down(nn.Module):
    """Halves the resolution in two branches, averaged: strided convolutions, and average pooling with a 1x1 convolution."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.convolved = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 4, stride=2, padding=1, bias=False),
            _Norm(channels_out),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            _Norm(channels_out),
            nn.LeakyReLU(0.2),
        )
        self.pooled = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(channels_in, channels_out, 1, bias=False), _Norm(channels_out), nn.LeakyReLU(0.2))

    def forward(self, x: Tensor) -> Tensor:
        return (self.convolved(x) + self.pooled(x)) * 0.5


class _Up(nn.Module):
    """Doubles the resolution, then applies a gated 3x3 convolution."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, 2 * channels_out, 3, padding=1, bias=False)
        self.norm = _Norm(2 * channels_out)

    def forward(self, x: Tensor) -> Tensor:
        return gated_linear_unit(self.norm(self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))))


def _decoder(channels: int, width: int, side: int) -> nn.Sequential:
    """From an 8x8 map to an image of the given side."""
    widths = [channels, *(max(8, 2 * width >> step) for step in range((side // 8).bit_length() - 1))]
    return nn.Sequential(*(_Up(a, b) for a, b in pairwise(widths)), nn.Conv2d(widths[-1], 3, 3, padding=1))


class FastGANDiscriminator(nn.Module):
    """Images and species -> logits and feature maps, from which it reconstructs the images.

    Convolutions followed by batch normalisation have no spectral normalisation, as their scale has no effect. The last ones have it.

    Args:
        size: side of the images, a power of two from 16 to 1024.
        num_species: number of species embeddings.
        width: channels at 64 px; all others follow as in the generator.
    """

    def __init__(self, size: int, num_species: int, width: int) -> None:
        super().__init__()
        # images above 256 px are scaled down to 256 px by strided convolutions
        sides = [side for side in (512, 256) if side < size] or [size]
        kernel, stride = (4, 2) if size > 256 else (3, 1)
        widths = [3, *(channels_at(side, width) for side in sides)]
        stem = [(nn.Conv2d(a, b, kernel, stride=stride, padding=1), nn.LeakyReLU(0.2)) for a, b in pairwise(widths)]
        self.stem = nn.Sequential(*(layer for pair in stem for layer in pair))
        resolutions = [side for side in (256, 128, 64, 32, 16, 8) if side <= sides[-1]]
        self.blocks = nn.ModuleList(_Down(channels_at(a, width), channels_at(b, width)) for a, b in pairwise(resolutions))
        # 256 -> 32, 128 -> 16, 64 -> 8, where the image has them
        self.gates = nn.ModuleDict(
            {str(side): SkipExcitation(channels_at(8 * side, width), channels_at(side, width)) for side in (32, 16, 8) if 8 * side in resolutions}
        )
        channels = channels_at(8, width)
        self.mix = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), _Norm(channels), nn.LeakyReLU(0.2))
        self.logit = spectral_norm(nn.Conv2d(channels, 1, 4))
        self.species = spectral_norm(nn.Embedding(num_species, channels))
        self.decoder = _decoder(channels, width, min(size, MAX_RECONSTRUCTION_SIDE))
        self.crop_decoder = _decoder(channels_at(16, width), width, min(size // 2, MAX_RECONSTRUCTION_SIDE))

    def lower_parameters(self) -> list[nn.Parameter]:
        """Parameters of the layers from the image to the 16x16 map."""
        return [*self.stem.parameters(), *(parameter for block in list(self.blocks)[:-1] for parameter in block.parameters())]

    def forward(self, images_NCHW: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, and the feature maps for ``reconstruct``.

        Args:
            images_NCHW: in [-1, 1], or slightly outside after augmentation.
            labels: int64, shape (N,).

        Returns:
            logits, shape (N, 25), one for each overlapping half of the image; positive means real; feature maps of shapes (N, C, 16, 16) and (N, C',
            8, 8).
        """
        x = self.stem(images_NCHW.contiguous(memory_format=torch.channels_last))
        maps = {x.shape[-1]: x}
        for block in self.blocks:
            x = block(x)
            side = x.shape[-1]
            if str(side) in self.gates:
                x = self.gates[str(side)](maps[8 * side], x)
            maps[side] = x
        x = self.mix(x)
        match = torch.einsum("nchw,nc->nhw", x, self.species(labels)).unsqueeze(1)
        logits = self.logit(x) + F.avg_pool2d(match, 4, stride=1)  # the windows of the 4x4 convolution
        return logits.flatten(1), maps[16], maps[8]

    def reconstruct(self, fine: Tensor, coarse: Tensor, corner: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Reconstruct images from their feature maps.

        Args:
            fine, coarse: as ``forward`` returns them.
            corner: row and column, 0 to 8, of the 8x8 crop of ``fine`` that is decoded.

        Returns:
            the whole images, side at most 128; the crop of half the side that begins at ``corner``, side at most 128.
        """
        row, column = corner
        return self.decoder(coarse), self.crop_decoder(fine[:, :, row : row + 8, column : column + 8])


def reconstruction_loss(images_NCHW: Tensor, whole: Tensor, part: Tensor, corner: tuple[int, int]) -> Tensor:
    """Reconstruction loss (Liu et al. 2021 eq. 2): mean absolute error plus structural dissimilarity. A scalar.

    Args:
        images_NCHW: the images as the discriminator saw them, augmentation included.
        whole, part: as ``reconstruct`` returns them for this ``corner``.
    """
    side = images_NCHW.shape[-1]
    top, left = (position * side // 16 for position in corner)
    quarter = images_NCHW[:, :, top : top + side // 2, left : left + side // 2]
    terms = []
    for image, reconstructed in ((images_NCHW, whole), (quarter, part)):
        target = F.interpolate(image, size=reconstructed.shape[-2:], mode="area")
        terms.append(F.l1_loss(reconstructed, target) + structural_dissimilarity(reconstructed, target))
    return torch.stack(terms).sum()

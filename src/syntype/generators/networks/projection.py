"""The projected discriminator: small trained heads on randomly mixed features of a frozen network.

Sauer et al. 2021, "Projected GANs Converge Faster" (arXiv 2111.01007): feature maps of four resolutions of a pre-trained network are mixed across
channels by random 1x1 convolutions (CCM, section 3.2) and across scales by random 3x3 convolutions with up-sampling (CSM); these are not trained. One
small discriminator is trained on each resolution. Species and instance codes enter by projection (Miyato & Koyama 2018, arXiv 1802.05637, eq. 3).

Two additions to the paper. Every head also gets the local difference between the two images of a pair (minibatch standard deviation of Karras et al.
2018, arXiv 1710.10196, section 3, in groups of two images of one species): without it, the images of each species were observed to have one and the
same background. One more head sees the image itself at 32 px: a network trained to recognise objects is insensitive to colour, and without this head
colours drift.

The frozen network of Syntype's generators is EfficientNet-Lite1. Lite2 is for classifiers and filters, Lite0 for the study's fidelity figures only.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from syntype.encoders import Backbone, fold_batch_norm

__all__ = ["FrozenFeatures", "ProjectedHeads"]

IMAGE_HEAD_SIDE = 32
"""Side of the images for the head on images, in pixels: enough for colours and their places; texture is left to the frozen network."""


class FrozenFeatures(nn.Module):
    """Four feature maps (strides 4, 8, 16, 32) of an EfficientNet, and their random mixing across channels and scales; nothing is trained.

    Args:
        backbone: an EfficientNet as timm builds it.
        size: side to which images are scaled for the backbone, in pixels.
        channels: of every mixed map.
        seed: of the random mixing.
    """

    def __init__(self, backbone: Backbone, size: int, channels: int, seed: int) -> None:
        super().__init__()
        self.size = size
        network: Any = backbone.network  # an EfficientNet, whose parts timm does not type
        fold_batch_norm(network)
        self.stem = nn.Sequential(network.conv_stem, network.bn1)
        self.blocks = network.blocks
        self._taps = {info["module"].rpartition(".")[2]: info["num_chs"] for info in network.feature_info if info["reduction"] >= 4}
        self._mean = backbone.mean
        self._std = backbone.std
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            widths = list(self._taps.values())
            self.mix_channels = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
            self.mix_scales = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in widths)
            for conv in [*self.mix_channels, *self.mix_scales]:
                nn.init.kaiming_normal_(conv.weight, a=1.0)
                nn.init.zeros_(conv.bias)
        self.gain: Tensor
        self.register_buffer("gain", torch.ones(len(widths)))
        self.requires_grad_(False)
        self.eval()

    @torch.no_grad()
    def standardise(self, images_NCHW: Tensor) -> None:
        """Scale each map to unit mean square over these photographs, so that all resolutions have the same weight.

        There is one factor a map, not one a channel: scaling up weak channels would amplify their noise.
        """
        self.gain.copy_(torch.stack([tap.square().mean().rsqrt() for tap in self._taps_of(images_NCHW)]))

    def train(self, mode: bool = True) -> FrozenFeatures:
        """Stay in evaluation mode whatever the mode asked for."""
        return super().train(False)

    @property
    def widths(self) -> list[int]:
        """Channels of the network's own maps, finest first."""
        return list(self._taps.values())

    def _taps_of(self, images_NCHW: Tensor) -> list[Tensor]:
        x = F.interpolate(images_NCHW, size=(self.size, self.size), mode="bilinear", align_corners=False)
        x = (x * 0.5 + 0.5 - x.new_tensor(self._mean).view(1, 3, 1, 1)) / x.new_tensor(self._std).view(1, 3, 1, 1)
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        taps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if str(index) in self._taps:
                taps.append(x)
            if len(taps) == len(self._taps):
                break
        return taps

    def forward(self, images_NCHW: Tensor) -> list[Tensor]:
        """The network's own maps, of unit mean square, finest first: shape (N, its channels, size/4, size/4) down to size/32."""
        return [tap * gain for tap, gain in zip(self._taps_of(images_NCHW), self.gain, strict=True)]

    def mix(self, maps: list[Tensor]) -> list[Tensor]:
        """Mixed maps, coarsest first: shape (N, channels, size/32, size/32) up to (N, channels, size/4, size/4)."""
        mixed: list[Tensor] = []
        for index in reversed(range(len(maps))):
            across, scales = self.mix_channels[index], self.mix_scales[index]
            y = across(maps[index])
            if mixed:
                y = (y + F.interpolate(mixed[-1], size=y.shape[-2:], mode="bilinear", align_corners=False)) * 0.5**0.5
            mixed.append(scales(y))
        return mixed


class _Head(nn.Module):
    """A small discriminator: strided convolutions, the difference within pairs as one more channel, then a logit for each position."""

    def __init__(self, widths: list[int], num_species: int, code_dim: int) -> None:
        super().__init__()
        body: list[nn.Module] = []
        for a, b in pairwise(widths):
            body += [spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        channels = widths[-1]
        self.body = nn.Sequential(*body, spectral_norm(nn.Conv2d(channels, channels, 3, padding=1)), nn.LeakyReLU(0.2))
        self.last = nn.Sequential(spectral_norm(nn.Conv2d(channels + 1, channels, 3, padding=1)), nn.LeakyReLU(0.2))
        self.logit = spectral_norm(nn.Conv2d(channels, 1, 1))
        self.species = spectral_norm(nn.Embedding(num_species, channels))
        self.code = spectral_norm(nn.Linear(code_dim, channels, bias=False))

    def forward(self, x: Tensor, labels: Tensor, codes: Tensor) -> Tensor:
        x = self.body(x)
        difference = (x[::2] - x[1::2]).abs().mean(dim=1, keepdim=True).repeat_interleave(2, dim=0)
        x = self.last(torch.cat([x, difference], dim=1))
        match = torch.einsum("nchw,nc->nhw", x, self.species(labels) + self.code(codes)).unsqueeze(1)
        return (self.logit(x) + match).flatten(1)


class ProjectedHeads(nn.Module):
    """One trained discriminator for each resolution, and one on the image.

    Args:
        num_maps: number of maps, coarsest first, as ``FrozenFeatures.mix`` returns them.
        channels: of each map.
        num_species: number of species embeddings.
        code_dim: length of the instance codes.
    """

    def __init__(self, num_maps: int, channels: int, num_species: int, code_dim: int) -> None:
        super().__init__()
        widths = [[channels] * (index + 1) for index in range(num_maps)]
        self.heads = nn.ModuleList(_Head(each, num_species, code_dim) for each in [*widths, [3, channels // 2, channels, channels]])

    def lower_parameters(self) -> list[nn.Parameter]:
        """Parameters of each head before the difference within pairs."""
        return [parameter for head in self.heads if isinstance(head, _Head) for parameter in head.body.parameters()]

    def forward(self, maps: list[Tensor], images_NCHW: Tensor, labels: Tensor, codes: Tensor) -> list[Tensor]:
        """Logits of each head, shape (N, positions); positive means real.

        Args:
            maps: of the images, as ``FrozenFeatures.mix`` returns them.
            images_NCHW: the images, in [-1, 1].
            labels: int64, shape (N,); N is even, and images 2i and 2i + 1 are of one species.
            codes: instance codes, shape (N, code_dim).
        """
        small = F.avg_pool2d(images_NCHW, max(1, images_NCHW.shape[-1] // IMAGE_HEAD_SIDE))
        return [head(x, labels, codes) for head, x in zip(self.heads, [*maps, small], strict=True)]

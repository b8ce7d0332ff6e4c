"""Generators and critics of plain convolutions, told the species at their input or not at all.

Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks" (arXiv 1511.06434), section 3:
a latent becomes a map of 4x4, every layer doubles its side and halves its channels, and the critic is the reverse. Up-sampling followed by a
convolution leaves no grid, as transposed convolutions do where their windows overlap unevenly (Odena et al. 2016, "Deconvolution and Checkerboard
Artifacts"). The species joins the input of both networks (Mirza & Osindero 2014, arXiv 1411.1784, section 3.2): numbers beside the latent, and
constant planes beside the image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ConditionedConv", "ConvDiscriminator", "ConvGenerator", "NoCondition", "OneHot", "initialise_weights"]


class NoCondition(nn.Module):
    """Tells a network nothing of the species: labels, shape (N,) -> shape (N, 0)."""

    def forward(self, labels: Tensor) -> Tensor:
        """No numbers at all."""
        return labels.new_zeros((len(labels), 0), dtype=torch.float32)


class OneHot(nn.Module):
    """The label itself: labels, shape (N,) -> shape (N, num_species), 1 at the label and 0 elsewhere."""

    def __init__(self, num_species: int) -> None:
        super().__init__()
        self.num_species = num_species

    def forward(self, labels: Tensor) -> Tensor:
        """One number a species."""
        return F.one_hot(labels, self.num_species).float()


def _channels(size: int, width: int) -> dict[int, int]:
    """Channels of the map of each side, from 4 to half the images': ``width`` at half the side, twice that at a quarter, at most eight times."""
    sides = [4 * 2**i for i in range((size // 8).bit_length())]
    return {side: width * min(8, size // 2 // side) for side in sides}


class ConvGenerator(nn.Module):
    """Latent and species -> image.

    Args:
        size: side of the images, a power of two, 32 or more.
        latent_dim: length of the latent vector, drawn from a standard normal distribution.
        width: channels at half the side.
        species: labels, shape (N,) -> what the network is told of them, shape (N, condition_dim).
        condition_dim: length of that.
        transposed: double the side by transposed convolutions, not by up-sampling and convolution.
    """

    def __init__(self, size: int, latent_dim: int, width: int, species_encoder: nn.Module, condition_dim: int, *, transposed: bool) -> None:
        super().__init__()
        self.latent_dim, self.species_encoder = latent_dim, species_encoder
        channels = _channels(size, width)
        self.start = nn.Linear(latent_dim + condition_dim, channels[4] * 16, bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(channels[4]), nn.ReLU()]
        for side in list(channels)[1:]:
            before, after = channels[side // 2], channels[side]
            if transposed:
                layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)]
            else:
                layers += [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(after), nn.ReLU()]
        if transposed:
            self.to_rgb: nn.Conv2d | nn.ConvTranspose2d = nn.ConvTranspose2d(width, 3, 4, stride=2, padding=1)
        else:  # one more convolution: enlarged maps seen once would keep blocks of two
            fine = max(4, width // 2)
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(width, fine, 3, padding=1, bias=False), nn.BatchNorm2d(fine), nn.ReLU()]
            self.to_rgb = nn.Conv2d(fine, 3, 3, padding=1)
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor, conditions: Tensor) -> Tensor:
        """Images in [-1, 1], shape (N, 3, size, size).

        Args:
            latents: shape (N, latent_dim).
            conditions: what ``species`` makes of the labels, or a mixture of such, shape (N, condition_dim).
        """
        x = self.start(torch.cat([latents, conditions], dim=1)).view(len(latents), -1, 4, 4)
        return torch.tanh(self.to_rgb(self.layers(x.contiguous(memory_format=torch.channels_last))))


class ConditionedConv(nn.Module):
    """A 4x4 convolution that halves an image joined by one constant plane for every number of the condition.

    A plane that is constant in itself gives the same at every place but for the border, so none is built: the condition is
    multiplied into one kernel an image, and that kernel is laid over ones. Ten thousand species cost no more than ten.

    Args:
        condition_dim: planes; may be 0.
        channels: of the result.
    """

    def __init__(self, condition_dim: int, channels: int) -> None:
        super().__init__()
        self.image = nn.Conv2d(3, channels, 4, stride=2, padding=1)
        self.planes = nn.Parameter(torch.zeros(condition_dim, channels, 4, 4))

    def forward(self, images_NCHW: Tensor, conditions: Tensor) -> Tensor:
        """shape (N, channels, size/2, size/2), from images, shape (N, 3, size, size), and conditions, shape (N, condition_dim)."""
        x = self.image(images_NCHW)
        if not len(self.planes):
            return x
        kernels = (conditions @ self.planes.flatten(1)).view(-1, 1, 4, 4)
        ones = images_NCHW.new_ones((1, 1, *images_NCHW.shape[2:]))
        return x + F.conv2d(ones, kernels, stride=2, padding=1).view(x.shape).contiguous(memory_format=torch.channels_last)


class ConvDiscriminator(nn.Module):
    """Image and species -> one number: the larger, the more it looks like a photograph of that species.

    Args:
        size, width: as for ``ConvGenerator``.
        species, condition_dim: as for ``ConvGenerator``.
        normalised: with batch normalisation in all layers but the first and the last.
    """

    def __init__(self, size: int, width: int, species_encoder: nn.Module, condition_dim: int, *, normalised: bool) -> None:
        super().__init__()
        self.species_encoder = species_encoder
        self.input_conv = ConditionedConv(condition_dim, width)
        channels = _channels(size, width)
        layers: list[nn.Module] = [nn.LeakyReLU(0.2)]
        for side in list(channels)[-2::-1]:
            layers += [nn.Conv2d(channels[2 * side], channels[side], 4, stride=2, padding=1, bias=not normalised)]
            layers += [nn.BatchNorm2d(channels[side]), nn.LeakyReLU(0.2)] if normalised else [nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels[4], 1, 4))

    def forward(self, images_NCHW: Tensor, labels: Tensor) -> Tensor:
        """shape (N,), from images in [-1, 1], shape (N, 3, size, size), and labels, shape (N,)."""
        return self.layers(self.input_conv(images_NCHW, self.species_encoder(labels))).flatten()


def initialise_weights(network: nn.Module, std: float | None) -> None:
    """Draw the weights of all layers from normal distributions around 0.

    Args:
        std: their standard deviation; None makes it sqrt(2 / inputs) for each layer (He et al. 2015, arXiv 1502.01852, eq. 12).
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            if std is None:
                nn.init.kaiming_normal_(module.weight)
            else:
                nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, ConditionedConv):
            nn.init.normal_(module.planes, std=(2 / max(1, 16 * len(module.planes))) ** 0.5 if std is None else std)

"""Plain convolutional generator and discriminator, with or without the species as input.

Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks" (arXiv 1511.06434), section 3: the
latent becomes a 4x4 map, each layer doubles the side and halves the channels, and the discriminator is the reverse. Up-sampling followed by a
convolution avoids the checkerboard pattern of transposed convolutions (Odena et al. 2016, "Deconvolution and Checkerboard Artifacts"). A condition
vector for the species is concatenated to the input of both networks (Mirza & Osindero 2014, arXiv 1411.1784, section 3.2): to the latent, and as
constant planes to the image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ConditionedConv", "ConvDiscriminator", "ConvGenerator", "NoCondition", "OneHot", "initialise_weights"]


class NoCondition(nn.Module):
    """Condition vector of an unconditional network: labels, shape (N,) -> shape (N, 0)."""

    def forward(self, labels: Tensor) -> Tensor:
        """An empty condition vector for each label."""
        return labels.new_zeros((len(labels), 0), dtype=torch.float32)


class OneHot(nn.Module):
    """One-hot condition vector: labels, shape (N,) -> shape (N, num_species)."""

    def __init__(self, num_species: int) -> None:
        super().__init__()
        self.num_species = num_species

    def forward(self, labels: Tensor) -> Tensor:
        """1 at the label and 0 elsewhere, float32."""
        return F.one_hot(labels, self.num_species).float()


def _channels(size: int, width: int) -> dict[int, int]:
    """Channels by the map's side, from 4 to half the images' side: ``width`` at half, doubled at each lower resolution up to 8 * ``width``."""
    sides = [4 * 2**i for i in range((size // 8).bit_length())]
    return {side: width * min(8, size // 2 // side) for side in sides}


class ConvGenerator(nn.Module):
    """Latent and condition vector -> image.

    Args:
        size: side of the images, a power of two, 32 or more.
        latent_dim: length of the latent vector, drawn from a standard normal distribution.
        width: channels at half the side.
        species_encoder: labels, shape (N,) -> condition vectors, shape (N, condition_dim).
        condition_dim: length of the condition vector; 0 for an unconditional network.
        transposed: up-sample by transposed convolutions; otherwise by nearest-neighbour up-sampling and a convolution.
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
        else:  # one more convolution, as a single one leaves blocks of 2x2 pixels
            fine = max(4, width // 2)
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(width, fine, 3, padding=1, bias=False), nn.BatchNorm2d(fine), nn.ReLU()]
            self.to_rgb = nn.Conv2d(fine, 3, 3, padding=1)
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor, conditions: Tensor) -> Tensor:
        """Images in [-1, 1], shape (N, 3, size, size).

        Args:
            latents: shape (N, latent_dim).
            conditions: condition vectors from ``species_encoder``, or mixtures of them, shape (N, condition_dim).
        """
        x = self.start(torch.cat([latents, conditions], dim=1)).view(len(latents), -1, 4, 4)
        return torch.tanh(self.to_rgb(self.layers(x.contiguous(memory_format=torch.channels_last))))


class ConditionedConv(nn.Module):
    """A 4x4 convolution of stride 2 on an image with one constant plane for each number of the condition vector.

    The convolution of a constant plane is the same at every place except at the border, so the planes are not built: the condition vector is
    multiplied into one kernel an image, which is convolved with a plane of ones. The cost does not grow with the number of species.

    Args:
        condition_dim: number of planes; may be 0.
        channels: output channels.
    """

    def __init__(self, condition_dim: int, channels: int) -> None:
        super().__init__()
        self.image = nn.Conv2d(3, channels, 4, stride=2, padding=1)
        self.planes = nn.Parameter(torch.zeros(condition_dim, channels, 4, 4))

    def forward(self, images_NCHW: Tensor, conditions: Tensor) -> Tensor:
        """Images, shape (N, 3, size, size), and condition vectors, shape (N, condition_dim) -> shape (N, channels, size/2, size/2)."""
        x = self.image(images_NCHW)
        if not len(self.planes):
            return x
        kernels = (conditions @ self.planes.flatten(1)).view(-1, 1, 4, 4)
        ones = images_NCHW.new_ones((1, 1, *images_NCHW.shape[2:]))
        return x + F.conv2d(ones, kernels, stride=2, padding=1).view(x.shape).contiguous(memory_format=torch.channels_last)


class ConvDiscriminator(nn.Module):
    """Image and species -> one number an image: a logit in a GAN with discriminator, a score in a Wasserstein GAN (then called the critic).

    Args:
        size, width: as for ``ConvGenerator``.
        species_encoder, condition_dim: as for ``ConvGenerator``.
        normalised: use batch normalisation in all layers but the first and the last.
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
        """Images in [-1, 1], shape (N, 3, size, size), and labels, shape (N,) -> shape (N,); larger means more likely real."""
        return self.layers(self.input_conv(images_NCHW, self.species_encoder(labels))).flatten()


def initialise_weights(network: nn.Module, std: float | None) -> None:
    """Draw the weights of all layers from normal distributions of mean 0.

    Args:
        std: their standard deviation; None uses sqrt(2 / inputs) for each layer (He et al. 2015, arXiv 1502.01852, eq. 12).
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

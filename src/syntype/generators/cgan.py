"""Conditional GAN: DCGAN's networks with the label joined to the input of both.

Paper: Mirza & Osindero 2014, "Conditional Generative Adversarial Nets" (arXiv 1411.1784); networks: Radford et al. 2016 (arXiv 1511.06434).
Code: written for Syntype from the papers; ``dcgan.py`` says where the networks differ. It needs no pre-trained weights.
"""

from __future__ import annotations

from pydantic import Field
from torch import nn

from syntype.generators._conv_gan import ConvGANConfig
from syntype.generators._conv_networks import OneHot
from syntype.generators._minimax import MinimaxGAN

__all__ = ["ConditionalGAN", "ConditionalGANConfig"]


class ConditionalGANConfig(ConvGANConfig):
    """Settings of ``cgan``."""

    latent_dim: int = Field(100, ge=1)
    """Length of the latent vector."""
    width: int = Field(64, ge=4)
    """Channels of both networks at half the images' side; twice that at a quarter, at most eight times."""


class ConditionalGAN(MinimaxGAN):
    """Class-conditional deep convolutional GAN."""

    Config = ConditionalGANConfig
    config: ConditionalGANConfig

    def join_species(self) -> tuple[nn.Module, int]:
        """The label, one number a species."""
        return OneHot(len(self.species)), len(self.species)

"""Conditional GAN: DCGAN's networks with the label joined to the input of both.

Paper: Mirza & Osindero 2014, "Conditional Generative Adversarial Nets" (arXiv 1411.1784); networks: Radford et al. 2016 (arXiv 1511.06434).
Code: written for Syntype from the papers; ``dcgan.py`` says where the networks differ. It needs no pre-trained weights.
"""

from __future__ import annotations

from torch import nn

from syntype.generators._conv_networks import OneHot
from syntype.generators._minimax import MinimaxConfig, MinimaxGAN

__all__ = ["ConditionalGAN", "ConditionalGANConfig"]


class ConditionalGANConfig(MinimaxConfig):
    """Settings of ``cgan``."""


class ConditionalGAN(MinimaxGAN):
    """Class-conditional deep convolutional GAN."""

    Config = ConditionalGANConfig
    config: ConditionalGANConfig

    def join_species(self) -> tuple[nn.Module, int]:
        """The label, one number a species."""
        return OneHot(len(self.species)), len(self.species)

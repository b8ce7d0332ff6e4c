"""Conditional GAN: DCGAN with the species as a further input. Needs no pre-trained weights. For several species; a published baseline.

Paper: Mirza & Osindero 2014, "Conditional Generative Adversarial Nets" (arXiv 1411.1784); networks: Radford et al. 2016 (arXiv 1511.06434).
Code: written for Syntype from the papers; ``dcgan.py`` lists the differences of the networks.
Weights: none.
"""

from __future__ import annotations

from torch import nn

from syntype.generators.gans.non_saturating import NonSaturatingConfig, NonSaturatingGAN
from syntype.generators.networks.conv import OneHot

__all__ = ["ConditionalGAN", "ConditionalGANConfig"]


class ConditionalGANConfig(NonSaturatingConfig):
    """Settings of ``cgan``."""


class ConditionalGAN(NonSaturatingGAN):
    """Class-conditional deep convolutional GAN."""

    Config = ConditionalGANConfig
    config: ConditionalGANConfig

    def build_condition(self) -> tuple[nn.Module, int]:
        """A one-hot vector of the species."""
        return OneHot(len(self.species)), len(self.species)

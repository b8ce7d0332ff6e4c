"""Conditional WGAN-GP: Wasserstein loss with gradient penalty, and an embedding of the species in both networks.

Paper: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs" (arXiv 1704.00028); the embedding joins the input as the label does in
Mirza & Osindero 2014 (arXiv 1411.1784).
Code: written for Syntype from the papers; ``gans/wasserstein.py`` says where it differs. It needs no pre-trained weights.
"""

from __future__ import annotations

from pydantic import Field
from torch import nn

from syntype.generators.gans.wasserstein import WassersteinConfig, WassersteinGAN

__all__ = ["ConditionalWGANGP", "ConditionalWGANGPConfig"]


class ConditionalWGANGPConfig(WassersteinConfig):
    """Settings of ``cwgan_gp``."""

    embedding_dim: int = Field(32, ge=1)
    """Length of a species' embedding; each network has its own."""


class ConditionalWGANGP(WassersteinGAN):
    """Class-conditional Wasserstein GAN."""

    Config = ConditionalWGANGPConfig
    config: ConditionalWGANGPConfig

    def join_species(self) -> tuple[nn.Module, int]:
        """A learnt embedding."""
        return nn.Embedding(len(self.species), self.config.embedding_dim), self.config.embedding_dim

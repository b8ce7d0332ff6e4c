"""Conditional WGAN-GP: Wasserstein loss with gradient penalty, and an embedding of the species in both networks.

Paper: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs" (arXiv 1704.00028); the embedding joins the input as the label does in
Mirza & Osindero 2014 (arXiv 1411.1784).
Code: written for Syntype from the papers; ``gans/wasserstein.py`` says where it differs. It needs no pre-trained weights.
"""

from __future__ import annotations

from syntype.generators.gans.wasserstein import ConditionalWassersteinConfig, ConditionalWassersteinGAN

__all__ = ["ConditionalWGANGP", "ConditionalWGANGPConfig"]


class ConditionalWGANGPConfig(ConditionalWassersteinConfig):
    """Settings of ``cwgan_gp``."""


class ConditionalWGANGP(ConditionalWassersteinGAN):
    """Class-conditional Wasserstein GAN."""

    Config = ConditionalWGANGPConfig
    config: ConditionalWGANGPConfig

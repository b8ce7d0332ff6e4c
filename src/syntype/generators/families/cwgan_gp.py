"""Conditional WGAN-GP: WGAN-GP with the species as a further input. Needs no pre-trained weights. For several species; a published baseline.

Paper: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs" (arXiv 1704.00028); a species' embedding is added to the input of both networks,
as the label is in Mirza & Osindero 2014 (arXiv 1411.1784).
Code: written for Syntype from the papers; ``gans/wasserstein.py`` says where it differs.
Weights: none.
"""

from __future__ import annotations

from syntype.generators.gans.wasserstein import ConditionalWassersteinConfig, ConditionalWassersteinGAN

__all__ = ["ConditionalWGANGP", "ConditionalWGANGPConfig"]


class ConditionalWGANGPConfig(ConditionalWassersteinConfig):
    """Settings of ``cwgan_gp``."""


class ConditionalWGANGP(ConditionalWassersteinGAN):
    """Class-conditional Wasserstein GAN with gradient penalty."""

    Config = ConditionalWGANGPConfig
    config: ConditionalWGANGPConfig

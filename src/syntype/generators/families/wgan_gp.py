"""WGAN-GP: a Wasserstein GAN without species as input. Needs no pre-trained weights. For one species at a time; a published baseline.

Paper: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs" (arXiv 1704.00028).
Code: written for Syntype from the paper; ``gans/wasserstein.py`` says where it differs.
Weights: none.
"""

from __future__ import annotations

from syntype.generators.gans.wasserstein import WassersteinConfig, WassersteinGAN

__all__ = ["WGANGP", "WGANGPConfig"]


class WGANGPConfig(WassersteinConfig):
    """Settings of ``wgan_gp``."""


class WGANGP(WassersteinGAN):
    """Unconditional Wasserstein GAN with gradient penalty."""

    Config = WGANGPConfig
    config: WGANGPConfig

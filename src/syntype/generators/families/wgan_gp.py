"""WGAN-GP: Wasserstein loss with gradient penalty; does not tell species apart (``cwgan_gp`` is the same with species).

Paper: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs" (arXiv 1704.00028).
Code: written for Syntype from the paper; ``gans/wasserstein.py`` says where it differs. It needs no pre-trained weights.
"""

from __future__ import annotations

from syntype.generators.gans.wasserstein import WassersteinConfig, WassersteinGAN

__all__ = ["WGANGP", "WGANGPConfig"]


class WGANGPConfig(WassersteinConfig):
    """Settings of ``wgan_gp``."""


class WGANGP(WassersteinGAN):
    """Wasserstein GAN of any of the species."""

    Config = WGANGPConfig
    config: WGANGPConfig

"""DCGAN: transposed convolutions and batch normalisation; does not tell species apart (``cgan`` is the same with species).

Paper: Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks" (arXiv 1511.06434).
Code: written for Syntype from the paper, with windows of 4x4 where the paper has 5x5 (a multiple of the stride covers every pixel alike), and normal
latents where it has uniform ones (so that blends may follow great circles). It needs no pre-trained weights.
"""

from __future__ import annotations

from syntype.generators.gans.non_saturating import NonSaturatingConfig, NonSaturatingGAN

__all__ = ["DCGAN", "DCGANConfig"]


class DCGANConfig(NonSaturatingConfig):
    """Settings of ``dcgan``."""


class DCGAN(NonSaturatingGAN):
    """Deep convolutional GAN of any of the species."""

    Config = DCGANConfig
    config: DCGANConfig

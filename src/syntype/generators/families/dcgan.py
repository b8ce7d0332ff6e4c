"""DCGAN: a convolutional GAN without species as input. Needs no pre-trained weights. For one species at a time; a published baseline.

Paper: Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks" (arXiv 1511.06434).
Code: written for Syntype from the paper, with two differences. Kernels are 4x4 where the paper has 5x5: a multiple of the stride covers all pixels
equally. Latents are normal where the paper has uniform ones, so that blends can interpolate spherically.
Weights: none.
"""

from __future__ import annotations

from syntype.generators.gans.non_saturating import NonSaturatingConfig, NonSaturatingGAN

__all__ = ["DCGAN", "DCGANConfig"]


class DCGANConfig(NonSaturatingConfig):
    """Settings of ``dcgan``."""


class DCGAN(NonSaturatingGAN):
    """Unconditional deep convolutional GAN."""

    Config = DCGANConfig
    config: DCGANConfig

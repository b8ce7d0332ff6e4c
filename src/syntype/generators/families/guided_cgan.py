"""Guided conditional GAN: cwgan_gp plus the loss of a frozen classifier. Needs bundled ImageNet weights. For species that the GAN confuses.

Paper: none; the method of a coursework on birds and butterflies (recipe ``birds-butterflies-guided-cgan``). Odena et al. 2017, "Conditional Image
Synthesis with Auxiliary Classifier GANs" (arXiv 1610.09585), use such a loss, but train the classifier with the generator. GAN loss: Gulrajani et al.
2017 (arXiv 1704.00028).
Code: written for Syntype; ``gans/wasserstein.py`` says where it differs from the paper.
Weights: EfficientNet-Lite1 (ImageNet, Apache-2.0), bundled, unless another network or a trained classifier is given.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator
from torch import Tensor

from syntype.compute.runtime import Runtime
from syntype.encoders import is_backbone, may_generate
from syntype.generators.augmentation import augment
from syntype.generators.contract import TrainingData
from syntype.generators.gans.classifier_guidance import build_guidance_classifier
from syntype.generators.gans.wasserstein import ConditionalWassersteinConfig, ConditionalWassersteinGAN

__all__ = ["GuidedGAN", "GuidedGANConfig"]


class GuidedGANConfig(ConditionalWassersteinConfig):
    """Settings of ``guided_cgan``."""

    guidance_weight: float = Field(0.05, ge=0)
    """Weight of the cross-entropy of the requested species according to the guidance classifier. For an untrained generator its gradient was measured
    to be about 30 times as long as the critic's (whose length the gradient penalty holds at 1); with a weight of 1, images were noise. 0 trains
    without a guidance classifier, the same as ``cwgan_gp``."""
    guidance_classifier: str = "lite1"
    """``lite1``, ``timm:NAME`` or ``timm:NAME:FILE``: a linear layer on this frozen network, fitted to the training photographs before
    training. Or the folder of a classifier from ``syntype classify train`` whose species include all of the generator's."""
    guidance_size: int = Field(96, ge=32)
    """Side to which images are scaled for the guidance classifier, in pixels; a trained classifier has its own."""

    _has_no_other_duty = field_validator("guidance_classifier")(may_generate)

    @classmethod
    def tiny(cls, size: int = 32) -> GuidedGANConfig:
        """A model that trains in seconds."""
        return cls(size=size, latent_dim=16, width=8, guidance_size=32)


class GuidedGAN(ConditionalWassersteinGAN):
    """Class-conditional Wasserstein GAN, guided by a frozen classifier."""

    Config = GuidedGANConfig
    config: GuidedGANConfig

    @property
    def trained_with(self) -> str | None:
        """The network under the guidance classifier's linear layer."""
        return self.config.guidance_classifier if self.config.guidance_weight and is_backbone(self.config.guidance_classifier) else None

    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Build the critic and the optimisers, and fit or read the guidance classifier."""
        super().prepare(data, runtime)
        if self.config.guidance_weight:
            c = self.config
            self.guidance_classifier = build_guidance_classifier(c.guidance_classifier, c.guidance_size, data, c.flip, runtime.device)

    def extra_generator_loss(self, fake: Tensor, labels: Tensor) -> tuple[Tensor | float, dict[str, Any]]:
        """Weighted cross-entropy of the requested species.

        The images are augmented first, which prevents solutions that satisfy the classifier by single pixels (adversarial examples).
        """
        if not self.config.guidance_weight:
            return 0.0, {}
        log_probability = self.guidance_classifier.log_probability(augment(fake, cutout=0.0, probability=0.5), labels)
        return -self.config.guidance_weight * log_probability.mean(), {"guidance_probability": log_probability.detach().exp().mean()}

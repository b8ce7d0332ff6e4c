"""Wasserstein GAN with gradient penalty: the critic's gradient is held near length 1, and the critic takes more steps than the generator.

Gulrajani et al. 2017, "Improved Training of Wasserstein GANs" (arXiv 1704.00028): the critic's loss (eq. 3) and algorithm 1. Different from the
paper, all critic steps of one training step use the same photographs, each time mirrored at random and compared with new generated images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from syntype.compute.runtime import Runtime
from syntype.generators.augmentation import mirror
from syntype.generators.contract import Batch, TrainingData
from syntype.generators.gans.conv_gan import ConvGAN, ConvGANConfig
from syntype.generators.gans.diversity import pair_distance
from syntype.generators.networks.conv import ConvDiscriminator

__all__ = ["ConditionalWassersteinConfig", "ConditionalWassersteinGAN", "WassersteinConfig", "WassersteinGAN", "gradient_penalty"]


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, weights: Tensor) -> Tensor:
    """Mean of (|gradient of the critic| - 1)^2 at points between real and generated images (Gulrajani et al. 2017, eq. 3). A scalar.

    Differentiable in the critic's weights (double backward).

    Args:
        critic: images, shape (N, 3, S, S) -> one score each, shape (N,).
        real, fake: shape (N, 3, S, S).
        weights: share of the real image in each point, shape (N, 1, 1, 1), in [0, 1].
    """
    points = torch.lerp(fake.detach(), real, weights).requires_grad_()
    (gradients,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    return (gradients.flatten(1).norm(dim=1) - 1).square().mean()


class WassersteinConfig(ConvGANConfig):
    """Settings of every GAN with a gradient penalty."""

    critic_steps: int = Field(2, ge=1)
    """Critic steps for each generator step. The paper has 5; on two processor cores, more generator steps give better images in the same time."""
    critic_learning_rate: float = Field(2e-4, gt=0)
    """Adam's learning rate of the critic."""
    gradient_penalty_weight: float = Field(10.0, ge=0)
    """Weight of the gradient penalty."""


class WassersteinGAN(ConvGAN):
    """A convolutional GAN with the training of WGAN-GP: up-sampling and convolution, and no batch normalisation in the critic.

    (With batch normalisation the score of one image depends on the others, while the penalty is on the gradient of single images; section 4.)
    """

    config: WassersteinConfig
    transposed, normalised = False, False
    initial_std = None
    betas = (0.0, 0.9)
    critic: ConvDiscriminator

    def __init__(self, config: WassersteinConfig, species: Sequence[str]) -> None:
        super().__init__(config, species)
        with torch.no_grad():
            self.generator.to_rgb.weight.mul_(0.3)  # so that the first images are near grey, where tanh does not saturate

    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Build the critic and the optimisers."""
        self.critic = self.build_discriminator()
        self.build_optimisers(runtime, {"generator": self.config.generator_learning_rate, "critic": self.config.critic_learning_rate})

    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """``critic_steps`` steps of the critic, then one of the generator."""
        stepped, labels = True, batch.labels
        for _ in range(self.config.critic_steps):
            real, _ = mirror(batch.images_NCHW, self.config.flip)
            with torch.no_grad():
                fake = self.generate_fakes(labels)
            with self.runtime.autocast():
                scores_real, scores_fake = self.critic(torch.cat([real, fake]), labels.repeat(2)).float().chunk(2)
            weights = torch.rand(len(real), 1, 1, 1, device=real.device)
            # always in float32: the squared length of a gradient is a sum of thousands of small numbers
            penalty = gradient_penalty(lambda images: self.critic(images, labels), real, fake, weights)
            distance = scores_real.mean() - scores_fake.mean()
            stepped &= self.runtime.backward_and_step(
                self.config.gradient_penalty_weight * penalty - distance, self.critic.parameters(), self.optimisers["critic"]
            )
        fake = self.generate_fakes(labels)
        with self.runtime.autocast():
            loss_g = -self.critic(fake, labels).float().mean()
        extra_loss, figures = self.extra_generator_loss(fake, labels)
        stepped &= self.runtime.backward_and_step(loss_g + extra_loss, self.generator.parameters(), self.optimisers["generator"])
        return {
            "wasserstein_distance": distance.detach(),
            "gradient_penalty": penalty.detach(),
            "loss_generator": loss_g.detach(),
            "diversity": (pair_distance(fake) / pair_distance(real)).detach(),
            **figures,
            "skipped": float(not stepped),
        }

    def extra_generator_loss(self, fake: Tensor, labels: Tensor) -> tuple[Tensor | float, dict[str, Tensor]]:
        """An additional loss of the generator, and figures for the progress log; none by default."""
        return 0.0, {}


class ConditionalWassersteinConfig(WassersteinConfig):
    """Settings of the class-conditional Wasserstein GANs."""

    embedding_dim: int = Field(32, ge=1)
    """Length of a species' embedding; generator and critic have their own."""


class ConditionalWassersteinGAN(WassersteinGAN):
    """A Wasserstein GAN in which both networks get an embedding of the species."""

    config: ConditionalWassersteinConfig

    def build_condition(self) -> tuple[nn.Module, int]:
        """A learned embedding of the species."""
        return nn.Embedding(len(self.species), self.config.embedding_dim), self.config.embedding_dim

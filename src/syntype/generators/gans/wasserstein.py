"""The Wasserstein loss with gradient penalty: a critic whose slope is held at 1, trained further than the generator.

Gulrajani et al. 2017, "Improved Training of Wasserstein GANs" (arXiv 1704.00028): the critic's loss (eq. 3) and algorithm 1. Where that draws new
photographs for every step of the critic, here all steps of the critic in one training step see the batch's photographs, each time mirrored,
mixed and compared with new images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from pydantic import Field
from torch import Tensor

from syntype.generators.augmentation import mirror
from syntype.generators.contract import Batch
from syntype.generators.gans.conv_gan import ConvGAN, ConvGANConfig
from syntype.generators.gans.diversity import pair_distance

__all__ = ["WassersteinConfig", "WassersteinGAN", "gradient_penalty"]


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, shares: Tensor) -> Tensor:
    """Mean of (|gradient of the critic| - 1)^2 at points between photographs and images (Gulrajani et al. 2017, eq. 3); a scalar.

    Exact, and differentiable in the critic's weights: the gradient is itself kept as a graph.

    Args:
        critic: images, shape (N, 3, S, S) -> one number each, shape (N,).
        real, fake: shape (N, 3, S, S).
        shares: how much of each point is the photograph, shape (N, 1, 1, 1), in [0, 1].
    """
    between = torch.lerp(fake.detach(), real, shares).requires_grad_()
    (slopes,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slopes.flatten(1).norm(dim=1) - 1).square().mean()


class WassersteinConfig(ConvGANConfig):
    """Settings of every GAN with a gradient penalty."""

    critic_steps: int = Field(2, ge=1)
    """Steps of the critic for one of the generator. The paper has 5; on two processor cores, more steps of the generator are worth more."""
    penalty: float = Field(10.0, ge=0)
    """Weight of the gradient penalty."""


class WassersteinGAN(ConvGAN):
    """A convolutional GAN that is trained as WGAN-GP was: up-sampling and convolution, no batch normalisation in the critic.

    (Under batch normalisation a judgement depends on the other images too, and the penalty is on the slope of one image's; section 4.)
    """

    config: WassersteinConfig
    transposed, normalised = False, False
    initial_std = None
    betas = (0.0, 0.9)

    def __init__(self, config: WassersteinConfig, species: Sequence[str]) -> None:
        super().__init__(config, species)
        with torch.no_grad():
            self.generator.to_rgb.weight.mul_(0.3)  # the first images are near grey, where no tanh saturates

    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """``critic_steps`` steps of the critic, then one of the generator."""
        stepped, labels = True, batch.labels
        for _ in range(self.config.critic_steps):
            real, _ = mirror(batch.images_NCHW, self.config.flip)
            with torch.no_grad():
                fake = self.generate_fakes(labels)
            with self.runtime.autocast():
                on_real, on_fake = self.critic(torch.cat([real, fake]), labels.repeat(2)).float().chunk(2)
            shares = torch.rand(len(real), 1, 1, 1, device=real.device)
            # in float32 whatever the precision: a gradient's length is the sum of thousands of small squares
            slope = gradient_penalty(lambda images: self.critic(images, labels), real, fake, shares)
            distance = on_real.mean() - on_fake.mean()
            stepped &= self.runtime.update(self.config.penalty * slope - distance, self.critic.parameters(), self.optimisers["critic"])
        fake = self.generate_fakes(labels)
        with self.runtime.autocast():
            loss_g = -self.critic(fake, labels).float().mean()
        further, figures = self.further_loss(fake, labels)
        stepped &= self.runtime.update(loss_g + further, self.generator.parameters(), self.optimisers["generator"])
        return {
            "distance": distance.detach(),
            "penalty": slope.detach(),
            "loss_generator": loss_g.detach(),
            "spread": (pair_distance(fake) / pair_distance(real)).detach(),
            **figures,
            "skipped": float(not stepped),
        }

    def further_loss(self, fake: Tensor, labels: Tensor) -> tuple[Tensor | float, dict[str, Tensor]]:
        """What else the generator is to lower, and figures of it for the progress log: nothing, unless the family says otherwise."""
        return 0.0, {}

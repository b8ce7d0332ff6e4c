"""The original GAN loss: the discriminator classifies images as real or generated; the generator maximises the probability of "real".

Goodfellow et al. 2014, "Generative Adversarial Nets" (arXiv 1406.2661), algorithm 1 with one step of the discriminator, and the generator's
non-saturating loss -log D(G(z)) of section 3, whose gradient does not vanish where the discriminator is certain.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from syntype.compute.runtime import Runtime
from syntype.generators.augmentation import mirror
from syntype.generators.contract import Batch, TrainingData
from syntype.generators.gans.conv_gan import ConvGAN, ConvGANConfig
from syntype.generators.gans.diversity import pair_distance
from syntype.generators.networks.conv import ConvDiscriminator

__all__ = ["NonSaturatingConfig", "NonSaturatingGAN"]


class NonSaturatingConfig(ConvGANConfig):
    """Settings of the GANs with the non-saturating loss: ``dcgan`` and ``cgan``."""

    latent_dim: int = Field(100, ge=1)
    """Length of the latent vector, as in the paper."""
    width: int = Field(64, ge=4)
    """Channels of both networks at half the images' side; doubled at each lower resolution, up to eight times. The paper has 128."""
    discriminator_learning_rate: float = Field(2e-4, gt=0)
    """Adam's learning rate of the discriminator."""


class NonSaturatingGAN(ConvGAN):
    """A convolutional GAN with the networks and training of DCGAN."""

    transposed, normalised = True, True
    initial_std = 0.02  # Radford et al. 2016, section 4
    betas = (0.5, 0.999)  # likewise
    config: NonSaturatingConfig
    discriminator: ConvDiscriminator

    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Build the discriminator and the optimisers."""
        self.discriminator = self.build_discriminator()
        rates = {"generator": self.config.generator_learning_rate, "discriminator": self.config.discriminator_learning_rate}
        self.build_optimisers(runtime, rates)

    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """One step of the discriminator, then one of the generator on the same generated images.

        Real and generated images pass the discriminator in separate batches, so that each is normalised by its own statistics.
        """
        (real, _), fake = mirror(batch.images_NCHW, self.config.flip), self.generate_fakes(batch.labels)
        with self.runtime.autocast():
            logits_real, logits_fake = self.discriminator(real, batch.labels).float(), self.discriminator(fake.detach(), batch.labels).float()
        loss_d = F.softplus(-logits_real).mean() + F.softplus(logits_fake).mean()
        stepped = self.runtime.backward_and_step(loss_d, self.discriminator.parameters(), self.optimisers["discriminator"])
        with self.runtime.autocast():
            logits = self.discriminator(fake, batch.labels).float()
        loss_g = F.softplus(-logits).mean()
        stepped &= self.runtime.backward_and_step(loss_g, self.generator.parameters(), self.optimisers["generator"])
        return {
            "loss_discriminator": loss_d.detach(),
            "loss_generator": loss_g.detach(),
            "logit_real": logits_real.mean().detach(),
            "logit_fake": logits_fake.mean().detach(),
            "diversity": (pair_distance(fake) / pair_distance(real)).detach(),
            "skipped": float(not stepped),
        }

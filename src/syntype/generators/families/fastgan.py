"""FastGAN: skip-layer excitation against a discriminator that must reconstruct what it sees. Conditional or not; adapts to new species.

Paper: Liu et al. 2021, "Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image Synthesis" (arXiv 2101.04775).
Code: written for Syntype from the paper; ``networks/fastgan_generator.py`` and ``networks/fastgan_discriminator.py`` say where it differs.
Weights: needs none that were trained before.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from syntype.compute.runtime import Runtime
from syntype.generators.augmentation import augment
from syntype.generators.contract import Batch, TrainingData
from syntype.generators.gans.fastgan import FastGANBase, FastGANBaseConfig
from syntype.generators.networks.fastgan_discriminator import FastGANDiscriminator, reconstruction_loss

__all__ = ["FastGAN", "FastGANConfig"]


class FastGANConfig(FastGANBaseConfig):
    """Settings of ``fastgan``."""

    conditional: bool = True
    """Whether the generator knows species apart. If not, all share one embedding, and a species' name decides nothing until it is adapted to."""
    latent_dim: int = 256
    """Length of the latent vector."""
    width: int = 32
    """Channels of generator and discriminator at 64 px; all others follow. The paper has 64."""
    learning_rate: float = Field(2e-4, gt=0)
    """Adam's learning rate of both networks, as in the paper."""
    augmentation: float = Field(0.4, ge=0, lt=1)
    """Probability with which the discriminator sees an image with other colours, shifted, or with a part blanked (each of the three). Below one
    half nothing of that can leak into generated images, and 1 is refused; see ``augment``."""

    @classmethod
    def tiny(cls, size: int = 32) -> FastGANConfig:
        """A model that trains in seconds."""
        return cls(size=size, latent_dim=16, embedding_dim=8, width=4)


class FastGAN(FastGANBase):
    """FastGAN, class-conditional or not."""

    Config = FastGANConfig
    config: FastGANConfig

    @property
    def is_conditional(self) -> bool:
        """As the settings say."""
        return self.config.conditional

    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Build the discriminator."""
        c = self.config
        self.runtime = runtime
        self.discriminator = FastGANDiscriminator(c.size, self.num_embeddings, c.width)
        self.to(runtime.device).to(memory_format=torch.channels_last)
        self.optimisers = {
            name: torch.optim.Adam(network.parameters(), lr=c.learning_rate, betas=(0.5, 0.999), fused=True)
            for name, network in (("generator", self.generator), ("discriminator", self.discriminator))
        }

    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """One step of generator and discriminator on the same images (hinge loss and reconstruction, Liu et al. 2021 eq. 2 to 4).

        Real and generated images pass the discriminator apart, each normalised by its own statistics.
        """
        real, fake = self.real_and_fake(batch)
        rows = self.embedding_indices(batch.labels)
        top, left = torch.randint(0, 9, (2,)).tolist()
        seen_real = augment(real, probability=self.config.augmentation)
        seen_fake = augment(fake, probability=self.config.augmentation)
        with self.runtime.autocast():
            logits_real, fine, coarse = self.discriminator(seen_real, rows)
            logits_fake, _, _ = self.discriminator(seen_fake, rows)
            whole, part = self.discriminator.reconstruct(fine, coarse, (top, left))
        reconstruction = reconstruction_loss(seen_real, whole.float(), part.float(), (top, left))
        figures = self.hinge_step(real, fake, [logits_real.float()], [logits_fake.float()], "discriminator", extra_discriminator_loss=reconstruction)
        return {**figures, "reconstruction": reconstruction.detach()}

    def restore_discriminator(self, state: dict[str, Tensor], relative: str | None) -> None:
        """Take over the trained discriminator."""
        self.restore_submodule("discriminator", state, relative)

    def lower_discriminator_parameters(self) -> list[nn.Parameter]:
        """The discriminator down to its 16x16 map: all but the last halving, what judges, and what redraws."""
        return self.discriminator.lower_parameters()

    def log_likelihood(self, images_NCHW: Tensor, species: Sequence[str]) -> Tensor:
        """Binary cross-entropy's log D(x): mean over the positions."""
        self.discriminator.eval()  # or its running statistics would move
        rows = self.embedding_indices(self.labels_of(species)).to(images_NCHW.device)
        return F.logsigmoid(self.discriminator(images_NCHW, rows)[0]).mean(1)

"""FastGAN: skip-layer excitation against a discriminator that must redraw what it sees. Conditional or not; adapts to new species.

Paper: Liu et al. 2021, "Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image Synthesis" (arXiv 2101.04775).
Code: written for Syntype from the paper; ``_skip_generator.py`` and ``_autoencoding.py`` say where it differs. It needs no pre-trained weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from syntype.generators._autoencoding import AutoencodingDiscriminator, reconstruction_loss
from syntype.generators._skip_generator import SkipGenerator
from syntype.generators.augment import augment
from syntype.generators.contract import Batch, GenerativeModel, GeneratorConfig, TrainingData, seeded_normal
from syntype.generators.runtime import Runtime

__all__ = ["FastGAN", "FastGANConfig"]

OUTSIDE_WEIGHT = 10.0
"""Weight of the mean square by which pixels lie outside [-1, 1]: enough to keep nearly all of them inside."""


class FastGANConfig(GeneratorConfig):
    """Settings of ``fastgan``."""

    conditional: bool = True
    """Whether the generator knows species apart. If not, all share one embedding, and a species' name decides nothing until it is adapted to."""
    latent_dim: int = 256
    """Length of the latent vector."""
    embedding_dim: int = 64
    """Length of a species' embedding."""
    width: int = 32
    """Channels of generator and discriminator at 64 px; all others follow. The paper has 64."""
    learning_rate: float = Field(2e-4, gt=0)
    """Adam's learning rate of both networks, as in the paper."""
    augmentation: float = Field(0.4, ge=0, lt=1)
    """Probability with which the discriminator sees an image with other colours, shifted, or with a part blanked (each of the three). Below one
    half nothing of that can leak into generated images, and 1 is refused; see ``augment``."""
    flip: bool = True
    """Mirror photographs at random (switch off for taxa whose sides differ, such as flatfish)."""

    @classmethod
    def tiny(cls, size: int = 32) -> FastGANConfig:
        """A model that trains in seconds."""
        return cls(size=size, latent_dim=16, embedding_dim=8, width=4)


class FastGAN(GenerativeModel):
    """FastGAN, class-conditional or not."""

    Config = FastGANConfig
    config: FastGANConfig
    generator: SkipGenerator

    def __init__(self, config: FastGANConfig, species: Sequence[str]) -> None:
        super().__init__(config, species)
        self.generator = SkipGenerator(config.size, self._num_rows, config.latent_dim, config.embedding_dim, config.width)

    @property
    def _num_rows(self) -> int:
        """Rows of the species' embeddings."""
        return len(self.species) if self.config.conditional else 1

    def _rows(self, labels: Tensor) -> Tensor:
        """The row of each label in the embeddings."""
        return labels if self.config.conditional else torch.zeros_like(labels)

    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Build the discriminator."""
        c = self.config
        self.runtime = runtime
        self.discriminator = AutoencodingDiscriminator(c.size, self._num_rows, c.width)
        self.to(runtime.device).to(memory_format=torch.channels_last)
        self.optimisers = {
            name: torch.optim.Adam(network.parameters(), lr=c.learning_rate, betas=(0.5, 0.999), fused=True)
            for name, network in (("generator", self.generator), ("discriminator", self.discriminator))
        }

    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """One step of generator and discriminator on the same images (hinge loss and reconstruction, Liu et al. 2021 eq. 2 to 4).

        Real and generated images pass the discriminator apart, each normalised by its own statistics. Both networks are judged once and
        step from there (simultaneous, not alternating, gradients): a pass through the discriminator less.
        """
        c, rows, real = self.config, self._rows(batch.labels), batch.images_NCHW
        if c.flip:
            mirrored = torch.rand(len(real), 1, 1, 1, device=real.device) < 0.5
            real = torch.where(mirrored, real.flip(3), real)
        latents = torch.randn(len(rows), c.latent_dim, device=real.device)
        top, left = torch.randint(0, 9, (2,)).tolist()
        with self.runtime.autocast():
            fake = self.generator(latents, rows).float()
        seen_real = augment(real, probability=c.augmentation)
        seen_fake = augment(fake, probability=c.augmentation)
        with self.runtime.autocast():
            on_real, fine, coarse = self.discriminator(seen_real, rows)
            on_fake, _, _ = self.discriminator(seen_fake, rows)
            whole, part = self.discriminator.redraw(fine, coarse, (top, left))
        on_real, on_fake = on_real.float(), on_fake.float()

        reconstruction = reconstruction_loss(seen_real, whole.float(), part.float(), (top, left))
        loss_d = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()
        loss_g = -on_fake.mean()
        outside = F.relu(fake.abs() - 1).square().mean()
        # the generator first: its gradient runs through the discriminator's weights, which must still be those that judged
        stepped = self.runtime.update(loss_g + OUTSIDE_WEIGHT * outside, self.generator.parameters(), self.optimisers["generator"], keep_graph=True)
        stepped &= self.runtime.update(loss_d + reconstruction, self.discriminator.parameters(), self.optimisers["discriminator"])
        return {
            "loss_discriminator": loss_d.detach(),
            "loss_generator": loss_g.detach(),
            "reconstruction": reconstruction.detach(),
            "logit_real": on_real.mean().detach(),
            "logit_fake": on_fake.mean().detach(),
            "spread": (pair_distance(fake) / pair_distance(real)).detach(),
            "skipped": float(not stepped),
        }

    @torch.inference_mode()
    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Draw images; the latent of an image is a function of its seed alone."""
        return self.draw(species, seeds).clamp_(-1, 1).cpu()

    def training_state(self) -> dict[str, Any]:
        """State of both optimisers."""
        return {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Restore both optimisers."""
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state[name])

    def add_species(self, name: str, relative: str | None) -> None:
        """Add a species whose embedding starts as its relative's (or the mean of all); an unconditional generator has one for all."""
        if self.config.conditional:
            old = self.generator.embedding.weight.data
            row = old.mean(0) if relative is None else old[self._position[relative]]
            self.generator.embedding = nn.Embedding.from_pretrained(torch.cat([old, row[None]]), freeze=False)
        self._position[name] = len(self.species)
        self.species = (*self.species, name)

    def restore_critic(self, state: dict[str, Tensor], relative: str | None) -> None:
        """Take over a trained discriminator; tensors with a row a species gain one for the species added last."""
        for name, tensor in self.discriminator.state_dict().items():
            trained = state[f"discriminator.{name}"]
            if trained.shape != tensor.shape:
                row = trained.mean(0, keepdim=True) if relative is None else trained[self._position[relative]][None]
                trained = torch.cat([trained, row])
            tensor.copy_(trained)

    def adaptable_parameters(self) -> dict[str, nn.Parameter]:
        """Everything that the generator learns."""
        return dict(self.generator.named_parameters())

    def draw(self, species: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """The images of ``sample``, neither clamped nor cut off from the weights."""
        labels = self.labels_of(species)
        self.generator.eval()
        device = next(self.generator.parameters()).device
        latents = seeded_normal(seeds, (self.config.latent_dim,))
        return self.generator(latents.to(device), self._rows(labels).to(device)).float()

    def lower_critic(self) -> list[nn.Parameter]:
        """The discriminator down to its 16x16 map: all but the last halving, what judges, and what redraws."""
        return self.discriminator.lower_parameters()

    def log_likelihood(self, images_NCHW: Tensor, species: Sequence[str]) -> Tensor:
        """Binary cross-entropy's log D(x): mean over the positions."""
        self.discriminator.eval()  # or its running statistics would move
        rows = self._rows(self.labels_of(species)).to(images_NCHW.device)
        return F.logsigmoid(self.discriminator(images_NCHW, rows)[0]).mean(1)


def pair_distance(images_NCHW: Tensor) -> Tensor:
    """Mean absolute difference of the images 2i and 2i + 1, which show one species, at an eighth of their side: layout and light."""
    small = F.avg_pool2d(images_NCHW, 8)
    return (small[::2] - small[1::2]).abs().mean()

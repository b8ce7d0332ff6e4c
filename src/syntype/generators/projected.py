"""Projected GAN: FastGAN's generator against small discriminators on frozen, randomly mixed features. Adapts to new species.

Paper: Sauer et al. 2021, "Projected GANs Converge Faster" (arXiv 2111.01007); generator: Liu et al. 2021 (arXiv 2101.04775).
Code: written for Syntype from the papers. Weights: EfficientNet-Lite1 (ImageNet, Apache-2.0), which nothing else in Syntype uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syntype.encoders import build_backbone
from syntype.generators._projection import FrozenFeatures, ProjectedHeads
from syntype.generators._skip_generator import SkipGenerator
from syntype.generators.augment import augment
from syntype.generators.contract import Batch, GenerativeModel, GeneratorConfig, TrainingData, seeded_normal, to_tensor
from syntype.generators.runtime import Runtime

__all__ = ["ProjectedConfig", "ProjectedGAN"]

OUTSIDE_WEIGHT = 10.0
"""Weight of the mean square by which pixels lie outside [-1, 1]: enough to keep nearly all of them inside."""


class ProjectedConfig(GeneratorConfig):
    """Settings of ``projected``."""

    latent_dim: int = 128
    """Length of the latent vector."""
    embedding_dim: int = 64
    """Length of a species' embedding."""
    width: int = 24
    """Channels of the generator at 64 px; all others follow."""
    backbone: str = "lite1"
    """Frozen network behind the discriminator (an EfficientNet)."""
    backbone_size: int = 96
    """Side to which images are scaled for it, in pixels."""
    head_channels: int = 64
    """Channels of the mixed feature maps and of the discriminators on them."""
    generator_rate: float = 6e-4
    """Adam's learning rate of the generator."""
    discriminator_rate: float = 2e-4
    """Adam's learning rate of the discriminators. At the generator's own rate they win within fifty steps, and little is learnt."""
    augmentation: float = 0.5
    """Probability with which the discriminators see an image with other colours, shifted, or with a part blanked (each of the three).
    At 1 no image shows its true colours, and generated ones were seen to be too saturated (Karras et al. 2020, arXiv 2006.06676, section 2.2)."""
    flip: bool = True
    """Mirror photographs at random (switch off for taxa whose sides differ, such as flatfish)."""
    mixing_seed: int = 0
    """Seed of the frozen random mixing."""

    @classmethod
    def tiny(cls, size: int = 32) -> ProjectedConfig:
        """A model that trains in seconds."""
        return cls(size=size, latent_dim=16, embedding_dim=8, width=4, backbone_size=64, head_channels=16)


class ProjectedGAN(GenerativeModel):
    """Class-conditional projected GAN."""

    Config = ProjectedConfig
    config: ProjectedConfig
    generator: SkipGenerator

    def __init__(self, config: ProjectedConfig, species: Sequence[str]) -> None:
        super().__init__(config, species)
        self.generator = SkipGenerator(config.size, len(self.species), config.latent_dim, config.embedding_dim, config.width)

    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Build the discriminators."""
        c = self.config
        self.runtime = runtime
        self.features = FrozenFeatures(build_backbone(c.backbone), c.backbone_size, c.head_channels, c.mixing_seed)
        self.heads = ProjectedHeads(4, c.head_channels, len(self.species))
        self.to(runtime.device).to(memory_format=torch.channels_last)
        rows = np.random.default_rng([c.mixing_seed, len(data.images)]).choice(len(data.images), min(256, len(data.images)), replace=False)
        self.features.standardise(to_tensor(data.images[np.sort(rows)]).to(runtime.device))
        self.optimisers = {
            "generator": torch.optim.Adam(self.generator.parameters(), lr=c.generator_rate, betas=(0.0, 0.99), fused=True),
            "heads": torch.optim.Adam(self.heads.parameters(), lr=c.discriminator_rate, betas=(0.0, 0.99), fused=True),
        }

    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """One step of generator and discriminators on the same images (hinge loss, Sauer et al. 2021 eq. 4).

        Both are judged once and step from there (simultaneous, not alternating, gradients): a pass through the discriminators less.
        """
        c, labels, real = self.config, batch.labels, batch.images_NCHW
        if c.flip:
            mirrored = torch.rand(len(real), 1, 1, 1, device=real.device) < 0.5
            real = torch.where(mirrored, real.flip(3), real)
        latents = torch.randn(len(labels), c.latent_dim, device=real.device)
        with self.runtime.autocast():
            fake = self.generator(latents, labels).float()
        seen_real = augment(real, probability=c.augmentation)
        seen_fake = augment(fake, probability=c.augmentation)
        with torch.no_grad():
            real_maps = self.features(seen_real)
        fake_maps = self.features(seen_fake)
        with self.runtime.autocast():
            maps = [torch.cat(pair) for pair in zip(real_maps, fake_maps, strict=True)]
            judged = self.heads(maps, torch.cat([seen_real, seen_fake]), labels.repeat(2))
        on_real, on_fake = zip(*(x.float().chunk(2) for x in judged), strict=True)

        loss_d = total(F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(on_real, on_fake, strict=True))
        loss_g = -total(x.mean() for x in on_fake)
        outside = F.relu(fake.abs() - 1).square().mean()
        # the generator first: its gradient runs through the discriminators' weights, which must still be those that judged
        stepped = self.runtime.update(loss_g + OUTSIDE_WEIGHT * outside, self.generator.parameters(), self.optimisers["generator"], keep_graph=True)
        stepped &= self.runtime.update(loss_d, self.heads.parameters(), self.optimisers["heads"])
        return {
            "loss_discriminator": loss_d.detach(),
            "loss_generator": loss_g.detach(),
            "logit_real": total(x.mean() for x in on_real).detach() / len(on_real),
            "logit_fake": total(x.mean() for x in on_fake).detach() / len(on_fake),
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
        """Add a species whose embedding starts as its relative's (or the mean of all)."""
        old = self.generator.embedding.weight.data
        row = old.mean(0) if relative is None else old[self._position[relative]]
        self.generator.embedding = nn.Embedding.from_pretrained(torch.cat([old, row[None]]), freeze=False)
        self._position[name] = len(self.species)
        self.species = (*self.species, name)

    def restore_critic(self, state: dict[str, Tensor], relative: str | None) -> None:
        """Take over trained discriminators; tensors with a row a species gain one for the species added last."""
        self.features.gain.copy_(state["features.gain"])
        own = self.heads.state_dict()
        for name, tensor in own.items():
            trained = state[f"heads.{name}"]
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
        return self.generator(latents.to(device), labels.to(device)).float()

    def lower_critic(self) -> list[nn.Parameter]:
        """The lower part of each head; the network below is frozen anyway."""
        return self.heads.lower_parameters()

    def log_likelihood(self, images_NCHW: Tensor, species: Sequence[str]) -> Tensor:
        """Binary cross-entropy's log D(x): mean over the positions of a head, sum over the heads, as in the loss."""
        self.heads.eval()  # or its spectral norms would move
        logits = self.heads(self.features(images_NCHW), images_NCHW, self.labels_of(species).to(images_NCHW.device))
        return torch.stack([F.logsigmoid(x).mean(1) for x in logits]).sum(0)


def total(terms: Iterable[Tensor]) -> Tensor:
    """Sum of scalars."""
    return torch.stack(list(terms)).sum()


def pair_distance(images_NCHW: Tensor) -> Tensor:
    """Mean absolute difference of the images 2i and 2i + 1, which show one species, at an eighth of their side: layout and light."""
    small = F.avg_pool2d(images_NCHW, 8)
    return (small[::2] - small[1::2]).abs().mean()

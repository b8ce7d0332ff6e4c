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
    generator_rate: float = 2e-4
    """Adam's learning rate of the generator."""
    discriminator_rate: float = 2e-4
    """Adam's learning rate of the discriminators."""
    spread_weight: float = 0.0
    """Weight of a term that pulls two images of a species as far apart as its photographs are. The progress log shows the ratio (``spread``);
    raise the weight only where it stays far below 1: at 2 it was seen to saturate colours."""
    pair_statistics: bool = True
    """Let the discriminators see how much two images of one species differ."""
    augmentation: float = 0.5
    """Probability with which the discriminators see an image with other colours, shifted, or with a part blanked (each of the three)."""
    flip: bool = True
    """Mirror photographs at random (switch off for taxa whose sides differ, such as flatfish)."""
    species_from: int = 200
    """Until this step all species are learnt as one, so that the latent has to matter (Shahbazi et al. 2022, arXiv 2201.06578)."""
    species_full: int = 800
    """From this step on the species counts fully; in between it comes in linearly."""
    mixing_seed: int = 0
    """Seed of the frozen random mixing."""

    @classmethod
    def tiny(cls, size: int = 32) -> ProjectedConfig:
        """A model that trains in seconds."""
        return cls(size=size, latent_dim=16, embedding_dim=8, width=4, backbone_size=64, head_channels=16, species_from=0, species_full=1)


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
        self.heads = ProjectedHeads(4, c.head_channels, len(self.species), c.pair_statistics)
        self.spread = SpreadTarget(len(self.species), 6)
        self.to(runtime.device).to(memory_format=torch.channels_last)
        rows = np.random.default_rng([c.mixing_seed, len(data.images)]).choice(len(data.images), min(256, len(data.images)), replace=False)
        self.features.standardise(to_tensor(data.images[np.sort(rows)]).to(runtime.device))
        self.optimisers = {
            "generator": torch.optim.Adam(self.generator.parameters(), lr=c.generator_rate, betas=(0.0, 0.99), fused=True),
            "heads": torch.optim.Adam(self.heads.parameters(), lr=c.discriminator_rate, betas=(0.0, 0.99), fused=True),
        }

    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """One step of the discriminators, one of the generator, on the same generated images (hinge loss, Sauer et al. 2021 eq. 4)."""
        c, labels, real = self.config, batch.labels, batch.images_NCHW
        ramp = (batch.step - c.species_from) / max(1, c.species_full - c.species_from)
        strength = self.generator.strength.clamp_(min=min(ramp, 1.0))  # never falls: an adapted generator has it from its base
        if c.flip:
            mirrored = torch.rand(len(real), 1, 1, 1, device=real.device) < 0.5
            real = torch.where(mirrored, real.flip(3), real)
        latents = torch.randn(len(labels), c.latent_dim, device=real.device)
        with self.runtime.autocast():
            fake = self.generator(latents, labels).float()
        with torch.no_grad():
            real_maps = self.features(augment(real, probability=c.augmentation))
        fake_maps = self.features(augment(fake, probability=c.augmentation))

        with self.runtime.autocast():
            on_real = self.heads(real_maps, labels, strength)
            on_fake = self.heads([x.detach() for x in fake_maps], labels, strength)
        loss_d = total(F.relu(1 - r.float()).mean() + F.relu(1 + f.float()).mean() for r, f in zip(on_real, on_fake, strict=True))
        stepped = self.runtime.update(loss_d, self.heads.parameters(), self.optimisers["heads"])

        with self.runtime.autocast():
            judged = self.heads(fake_maps, labels, strength)
        loss_g = -total(x.float().mean() for x in judged)
        with torch.set_grad_enabled(c.spread_weight > 0):
            spread = self.spread(pair_distance([*coarse(fake), *fake_maps]), pair_distance([*coarse(real), *real_maps]), labels[::2])
            missing = c.spread_weight * F.relu(1 - spread).mean()
        stepped &= self.runtime.update(loss_g + missing, self.generator.parameters(), self.optimisers["generator"])
        return {
            "loss_discriminator": loss_d.detach(),
            "loss_generator": loss_g.detach(),
            "logit_real": total(x.float().mean() for x in on_real).detach() / len(on_real),
            "logit_fake": total(x.float().mean() for x in on_fake).detach() / len(on_fake),
            "spread": spread.mean().detach(),
            "skipped": float(not stepped),
        }

    @torch.inference_mode()
    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Draw images; the latent of an image is a function of its seed alone."""
        labels = self.labels_of(species)
        self.generator.eval()
        device = next(self.generator.parameters()).device
        latents = seeded_normal(seeds, (self.config.latent_dim,))
        return self.generator(latents.to(device), labels.to(device)).float().cpu()

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


def total(terms: Iterable[Tensor]) -> Tensor:
    """Sum of scalars."""
    return torch.stack(list(terms)).sum()


def coarse(images_NCHW: Tensor) -> list[Tensor]:
    """The images at a quarter and an eighth of their side: where things are and how light, without texture."""
    return [F.avg_pool2d(images_NCHW, 4), F.avg_pool2d(images_NCHW, 8)]


def pair_distance(maps: list[Tensor]) -> Tensor:
    """Mean absolute difference between the feature maps of the images 2i and 2i + 1 of a batch: shape (N / 2, len(maps))."""
    return torch.stack([(x[::2] - x[1::2]).abs().mean(dim=(1, 2, 3)) for x in maps], dim=1)


class SpreadTarget(nn.Module):
    """How far apart two images of a species are, relative to two of its photographs, in coarse pixels and in the frozen features.

    Photographs and generated images go through the same random augmentation, so that the ratio is 1 when they vary alike. Coarse pixels
    alone can be satisfied by light and background, features alone by texture: each counts for itself.
    The distance between photographs is a running mean a species; a species with few of them leans on the mean of all.

    Args:
        num_species: rows.
        num_maps: feature maps compared.
        weight_of_all: how many pairs of photographs the mean of all species counts for.
    """

    def __init__(self, num_species: int, num_maps: int, weight_of_all: float = 10.0) -> None:
        super().__init__()
        self.total: Tensor
        self.count: Tensor
        self.register_buffer("total", torch.zeros(num_species, num_maps))
        self.register_buffer("count", torch.zeros(num_species, 1))
        self.weight_of_all = weight_of_all

    def forward(self, generated: Tensor, photographed: Tensor, labels: Tensor) -> Tensor:
        """Ratio of distances; both, and the result, have shape (pairs, num_maps)."""
        with torch.no_grad():
            self.total.index_add_(0, labels, photographed)
            self.count.index_add_(0, labels, torch.ones_like(photographed[:, :1]))
            of_all = self.total.sum(0) / self.count.sum()
            target = (self.total[labels] + self.weight_of_all * of_all) / (self.count[labels] + self.weight_of_all)
        return generated / target

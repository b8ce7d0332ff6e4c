"""Projected GAN: FastGAN's generator against small discriminators on frozen, randomly mixed features. Adapts to new species.

Paper: Sauer et al. 2021, "Projected GANs Converge Faster" (arXiv 2111.01007); generator: Liu et al. 2021 (arXiv 2101.04775).
Code: written for Syntype from the papers. Weights: EfficientNet-Lite1 (ImageNet, Apache-2.0), which nothing else in Syntype uses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syntype.encoders import build_backbone
from syntype.generators._projection import FrozenFeatures, ProjectedHeads
from syntype.generators._skip_gan import SkipGAN, SkipGANConfig
from syntype.generators.augment import augment
from syntype.generators.contract import Batch, TrainingData, to_tensor
from syntype.generators.runtime import Runtime

__all__ = ["ProjectedConfig", "ProjectedGAN"]


class ProjectedConfig(SkipGANConfig):
    """Settings of ``projected``."""

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
    mixing_seed: int = 0
    """Seed of the frozen random mixing."""

    @classmethod
    def tiny(cls, size: int = 32) -> ProjectedConfig:
        """A model that trains in seconds."""
        return cls(size=size, latent_dim=16, embedding_dim=8, width=4, backbone_size=64, head_channels=16)


class ProjectedGAN(SkipGAN):
    """Class-conditional projected GAN."""

    Config = ProjectedConfig
    config: ProjectedConfig

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
        """One step of generator and discriminators on the same images (hinge loss, Sauer et al. 2021 eq. 4)."""
        real, fake = self.real_and_fake(batch)
        seen_real = augment(real, probability=self.config.augmentation)
        seen_fake = augment(fake, probability=self.config.augmentation)
        with torch.no_grad():
            real_maps = self.features(seen_real)
        fake_maps = self.features(seen_fake)
        with self.runtime.autocast():
            maps = [torch.cat(pair) for pair in zip(real_maps, fake_maps, strict=True)]
            judged = self.heads(maps, torch.cat([seen_real, seen_fake]), batch.labels.repeat(2))
        on_real, on_fake = zip(*(x.float().chunk(2) for x in judged), strict=True)
        return self.hinge_step(real, fake, on_real, on_fake, "heads")

    def restore_critic(self, state: dict[str, Tensor], relative: str | None) -> None:
        """Take over the trained heads and the scale of the maps that they look at."""
        self.features.gain.copy_(state["features.gain"])
        self.restore_part("heads", state, relative)

    def lower_critic(self) -> list[nn.Parameter]:
        """The lower part of each head; the network below is frozen anyway."""
        return self.heads.lower_parameters()

    def log_likelihood(self, images_NCHW: Tensor, species: Sequence[str]) -> Tensor:
        """Binary cross-entropy's log D(x): mean over the positions of a head, sum over the heads, as in the loss."""
        self.heads.eval()  # or its spectral norms would move
        logits = self.heads(self.features(images_NCHW), images_NCHW, self.labels_of(species).to(images_NCHW.device))
        return torch.stack([F.logsigmoid(x).mean(1) for x in logits]).sum(0)

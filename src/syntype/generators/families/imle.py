"""IMLE: a generator trained without a discriminator. Needs bundled ImageNet weights. For few photographs, where a GAN loses part of the variety.

Paper: Li & Malik 2018, "Implicit Maximum Likelihood Estimation" (arXiv 1809.09087), conditional as in Li et al. 2020 (arXiv 2004.03590). For each
photograph several candidates are generated, and the nearest is moved closer. Every photograph thus has a generated image near it (no mode collapse).
The distance is that of a frozen network's feature maps (perceptual loss, Johnson et al. 2016, arXiv 1603.08155, eq. 2) plus that of the pixels.
Code: written for Syntype from the papers. They generate one large pool of candidates every few epochs; here each batch generates its own. The
generator is FastGAN's.
Weights: EfficientNet-Lite1 (ImageNet, Apache-2.0), bundled.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from syntype.compute.runtime import Runtime
from syntype.compute.tensors import to_tensor
from syntype.encoders import build_backbone
from syntype.generators.augmentation import mirror
from syntype.generators.contract import Batch, TrainingData
from syntype.generators.gans.diversity import pair_distance
from syntype.generators.gans.fastgan import RANGE_PENALTY_WEIGHT, FastGANBase, FastGANBaseConfig
from syntype.generators.networks.projection import FrozenFeatures

__all__ = ["IMLE", "IMLEConfig", "nearest_candidates"]

COMPARISON_SIDE = 16
"""Side at which candidates are compared with photographs, in pixels: layout and colour decide which is nearest."""


class IMLEConfig(FastGANBaseConfig):
    """Settings of ``imle``."""

    backbone: str = "lite1"
    """Frozen network for the perceptual loss (an EfficientNet)."""
    backbone_size: int = 96
    """Side to which images are scaled for it, in pixels."""
    candidates: int = Field(5, ge=1)
    """Images generated for each photograph of a batch; photographs of one species share their candidates."""
    learning_rate: float = Field(1e-3, gt=0)
    """Adam's learning rate."""
    pixel_loss_weight: float = Field(1.0, ge=0)
    """Weight of the pixels' mean absolute error, relative to the perceptual loss."""

    @classmethod
    def tiny(cls, size: int = 32) -> IMLEConfig:
        """A model that trains in seconds."""
        return cls(size=size, latent_dim=16, embedding_dim=8, width=4, backbone_size=64, candidates=2)


class IMLE(FastGANBase):
    """Conditional implicit maximum likelihood estimation."""

    Config = IMLEConfig
    config: IMLEConfig

    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Build the frozen network for the perceptual loss, and the optimiser."""
        c = self.config
        self.runtime = runtime
        self.features = FrozenFeatures(build_backbone(c.backbone), c.backbone_size, 1, 0)  # only the network's own maps are used, not their mixtures
        self.to(runtime.device).to(memory_format=torch.channels_last)
        some = torch.linspace(0, len(data.images) - 1, min(256, len(data.images))).long().numpy()
        self.features.standardise(to_tensor(data.images[some]).to(runtime.device))
        self.optimisers = {"generator": torch.optim.Adam(self.generator.parameters(), lr=c.learning_rate, betas=(0.0, 0.99), fused=True)}

    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """Find the nearest candidate for each photograph, and move it closer (Li & Malik 2018, algorithm 1)."""
        c = self.config
        real, _ = mirror(batch.images_NCHW, c.flip)
        labels = self.embedding_indices(batch.labels)
        with torch.no_grad(), self.runtime.autocast():
            latents = torch.randn(len(real) * c.candidates, c.latent_dim, device=real.device)
            owners = labels.repeat_interleave(c.candidates)
            generated = torch.cat([self.generator(*part) for part in zip(latents.split(len(real)), owners.split(len(real)), strict=True)])
        chosen = nearest_candidates(real, labels, generated.float(), owners)
        with self.runtime.autocast():
            fake = self.generator(latents[chosen], labels).float()
            maps = zip(self.features(fake), self.features(real), strict=True)
            loss_features = torch.stack([F.mse_loss(fake_map, real_map) for fake_map, real_map in maps]).float().sum()
        loss = loss_features + c.pixel_loss_weight * F.l1_loss(fake, real) + RANGE_PENALTY_WEIGHT * F.relu(fake.abs() - 1).square().mean()
        stepped = self.runtime.backward_and_step(loss, self.generator.parameters(), self.optimisers["generator"])
        diversity = pair_distance(generated.float()[:: c.candidates]) / pair_distance(real)
        return {"loss": loss.detach(), "loss_features": loss_features.detach(), "diversity": diversity, "skipped": float(not stepped)}


def nearest_candidates(photographs_NCHW: Tensor, labels: Tensor, candidates_MCHW: Tensor, owners: Tensor) -> Tensor:
    """For each photograph, the index of the nearest candidate of its species, by mean squared error at ``COMPARISON_SIDE`` pixels: int64, shape (N,).

    Args:
        photographs_NCHW, candidates_MCHW: images in [-1, 1].
        labels, owners: labels of photographs and candidates; each photograph's species has at least one candidate.
    """
    small, others = (F.adaptive_avg_pool2d(images, COMPARISON_SIDE).flatten(1) for images in (photographs_NCHW, candidates_MCHW))
    distances = torch.cdist(small, others)
    return distances.masked_fill(labels[:, None] != owners, torch.inf).argmin(dim=1)

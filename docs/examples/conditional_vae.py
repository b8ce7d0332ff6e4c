"""Conditional VAE: an encoder and a decoder, trained together on one stable loss. Covers all species from the first minutes; its images are blurred.

Papers: Kingma & Welling 2014, "Auto-Encoding Variational Bayes" (arXiv 1312.6114); told the species as in Sohn et al. 2015, "Learning Structured
Output Representation using Deep Conditional Generative Models".
Code: written for Syntype from the papers, under Apache-2.0. It needs no pre-trained weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from syntype.compute.runtime import Runtime
from syntype.compute.tensors import seeded_normal, slerp
from syntype.generators.contract import Batch, BlendOf, GenerativeModel, GeneratorConfig, TrainingData

__all__ = ["ConditionalVAE", "ConditionalVAEConfig"]


class ConditionalVAEConfig(GeneratorConfig):
    """Settings of ``conditional_vae``."""

    latent_dim: int = Field(64, ge=1)
    """Numbers that describe an individual: pose, light, background."""
    width: int = Field(16, ge=1)
    """Channels at half the side; they double with every halving of the side, up to eight times."""
    kl_weight: float = Field(1.0, gt=0)
    """Weight of the Kullback-Leibler divergence. Smaller: sharper reconstructions, but samples that look like no photograph."""
    pixel_std: float = Field(0.3, gt=0)
    """Standard deviation of a pixel around its reconstruction, in [-1, 1]: how much a wrong pixel counts."""
    learning_rate: float = Field(1e-3, gt=0)
    """Adam's learning rate."""

    @classmethod
    def tiny(cls, size: int = 32) -> ConditionalVAEConfig:
        """A model that trains in seconds."""
        return cls(size=size, latent_dim=8, width=4)


class Decoder(nn.Module):
    """Latent and species -> image, shape (N, 3, size, size), from a map of 4x4 that doubles its side at every step."""

    def __init__(self, config: ConditionalVAEConfig, num_species: int) -> None:
        super().__init__()
        channels = widths(config)[::-1]
        self.species = nn.Embedding(num_species, config.latent_dim)
        self.start = nn.Linear(2 * config.latent_dim, channels[0] * 16)
        self.steps = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(channels, [*channels[1:], channels[-1]], strict=True))
        self.end = nn.Conv2d(channels[-1], 3, 3, padding=1)

    def forward(self, latents: Tensor, species: Tensor) -> Tensor:
        """Images of latents, shape (N, latent_dim), and embedded species of the same shape."""
        maps = self.start(torch.cat([latents, species], 1)).unflatten(1, (-1, 4, 4))
        for step in self.steps:
            maps = F.silu(step(F.interpolate(maps, scale_factor=2)))
        return self.end(maps)


class ConditionalVAE(GenerativeModel):
    """Conditional variational autoencoder."""

    Config = ConditionalVAEConfig
    config: ConditionalVAEConfig
    generator: Decoder

    def __init__(self, config: ConditionalVAEConfig, species: Sequence[str]) -> None:
        super().__init__(config, species)
        self.generator = Decoder(config, len(self.species))

    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Build what only training needs: the encoder and the optimiser."""
        c, channels = self.config, widths(self.config)
        self.runtime = runtime
        steps = [nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), nn.SiLU()) for a, b in zip([3, *channels], channels, strict=False)]
        self.encoder = nn.Sequential(*steps, nn.Flatten(), nn.Linear(channels[-1] * 16, 2 * c.latent_dim))
        self.to(runtime.device)
        self.optimisers = {"vae": torch.optim.Adam(self.parameters(), lr=c.learning_rate, fused=True)}

    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """One step on the negative evidence lower bound (Kingma & Welling 2014, eq. 3 and appendix B), per pixel value."""
        c, images = self.config, batch.images_NCHW
        with self.runtime.autocast():
            mean, log_variance = self.encoder(images).float().chunk(2, dim=1)
            latents = mean + torch.exp(0.5 * log_variance) * torch.randn(len(images), c.latent_dim, device=images.device)
            drawn = self.generator(latents, self.generator.species(batch.labels)).float()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        reconstruction = F.mse_loss(drawn, images) / (2 * c.pixel_std**2)
        loss = reconstruction + c.kl_weight * kl / images[0].numel()
        stepped = self.runtime.update(loss, self.parameters(), self.optimisers["vae"])
        return {"loss": loss.detach(), "reconstruction": reconstruction.detach(), "kl": kl.detach(), "skipped": float(not stepped)}

    @torch.inference_mode()
    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Draw images; the latent of an image is a function of its seed alone."""
        return self._draw(self._latents(seeds), self._embedded(species))

    @torch.inference_mode()
    def blend(
        self, species: Sequence[tuple[str, str]], seeds: Sequence[tuple[int, int]], amounts: Sequence[float], of: BlendOf, **controls: Any
    ) -> Tensor:
        """Draw between two images: latents move on a great circle, species in a straight line between their embeddings."""
        latents, embedded = self._latents([pair[0] for pair in seeds]), self._embedded([pair[0] for pair in species])
        parts = torch.tensor(amounts, dtype=torch.float32, device=latents.device)
        if of in ("latent", "both"):
            latents = slerp(latents, self._latents([pair[1] for pair in seeds]), parts)
        if of in ("species", "both"):
            embedded = torch.lerp(embedded, self._embedded([pair[1] for pair in species]), parts[:, None])
        return self._draw(latents, embedded)

    def _latents(self, seeds: Sequence[int]) -> Tensor:
        return seeded_normal(seeds, (self.config.latent_dim,)).to(self.generator.start.weight.device)

    def _embedded(self, species: Sequence[str]) -> Tensor:
        return self.generator.species(self.labels_of(species).to(self.generator.start.weight.device))

    def _draw(self, latents: Tensor, embedded: Tensor) -> Tensor:
        return self.generator(latents, embedded).float().clamp(-1, 1).cpu()


def widths(config: ConditionalVAEConfig) -> list[int]:
    """Channels of the maps of half the side, a quarter, ... down to 4x4."""
    return [config.width * min(8, 2**halving) for halving in range(int(math.log2(config.size)) - 2)]

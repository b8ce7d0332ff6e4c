"""Projected GAN: FastGAN's generator, discriminators on a frozen network. Needs bundled ImageNet weights. For most uses; adapts to rare species.

Paper: Sauer et al. 2021, "Projected GANs Converge Faster" (arXiv 2111.01007); generator: Liu et al. 2021 (arXiv 2101.04775); conditioning on instance
codes: Casanova et al. 2021, "Instance-Conditioned GAN" (arXiv 2109.05070).
Code: written for Syntype from the papers.
Weights: EfficientNet-Lite1 (ImageNet, Apache-2.0), bundled; in Syntype it is used to train generators only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from syntype.compute.runtime import Runtime
from syntype.compute.tensors import seeded_normal, slerp, to_tensor
from syntype.encoders import build_backbone, may_generate
from syntype.errors import UnsupportedError
from syntype.generators.augmentation import augment, mirror
from syntype.generators.contract import Batch, TrainingData
from syntype.generators.gans.fastgan import FastGANBase, FastGANBaseConfig
from syntype.generators.networks.fastgan_generator import FastGANGenerator
from syntype.generators.networks.instance_codes import MAX_FIT_IMAGES, CodeBank, InstanceEncoder, pool_features
from syntype.generators.networks.projection import FrozenFeatures, ProjectedHeads
from syntype.recipe import Seed

__all__ = ["ProjectedConfig", "ProjectedGAN"]

ENCODING_BATCH = 64
"""Photographs encoded at a time."""


class ProjectedConfig(FastGANBaseConfig):
    """Settings of ``projected``."""

    backbone: str = "lite1"
    """Frozen network of the discriminators (an EfficientNet): not the one that curates, identifies or judges (``encoders/duties.py``)."""
    backbone_size: int = 96
    """Side to which images are scaled for it, in pixels."""
    head_channels: int = 64
    """Channels of the mixed feature maps and of the discriminators on them."""
    generator_learning_rate: float = 6e-4
    """Adam's learning rate of the generator."""
    discriminator_learning_rate: float = 2e-4
    """Adam's learning rate of the discriminators. At the generator's rate they become too strong within fifty steps, and training stalls."""
    augmentation: float = 0.5
    """Probability of each of three augmentations of the discriminators' input: colour change, translation, cut-out. At 1 no image has its true
    colours, and generated images were observed to be too saturated (Karras et al. 2020, arXiv 2006.06676, section 2.2)."""
    mixing_seed: Seed = 0
    """Seed of the fixed random mixing of feature maps."""
    code_dim: int = Field(96, ge=1)
    """Length of the instance code, which describes a photograph apart from its species (pose, place, light)."""
    code_noise: float = Field(0.3, ge=0)
    """Standard deviation of the noise added to instance codes, whose own is 1; more gives images that differ more from single photographs."""
    feature_matching_weight: float = Field(4.0, ge=0)
    """Weight of the squared distance between the features of a generated image and of the photograph whose instance code it has."""

    _has_no_other_duty = field_validator("backbone")(may_generate)

    @classmethod
    def tiny(cls, size: int = 32) -> ProjectedConfig:
        """A model that trains in seconds."""
        return cls(size=size, latent_dim=16, embedding_dim=8, width=4, backbone_size=64, head_channels=16, code_dim=8)


class _Generator(FastGANGenerator):
    """Latent with instance code, and species -> image. The code enters with the latent at 4x4, and with the species in every normalisation layer."""

    def __init__(self, config: ProjectedConfig, num_species: int) -> None:
        super().__init__(config.size, num_species, config.latent_dim + config.code_dim, config.embedding_dim, config.width)
        self.code = nn.Linear(config.code_dim, config.embedding_dim, bias=False)
        nn.init.normal_(self.code.weight, std=config.code_dim**-0.5)
        self.bank = CodeBank(num_species, config.code_dim)

    def synthesise(self, latents: Tensor, condition: Tensor) -> Tensor:
        """Images from latents, shape (N, latent_dim + code_dim), whose last numbers are the instance code, and condition vectors of the species."""
        return super().synthesise(latents, condition + self.code(latents[:, -self.code.in_features :]))


class ProjectedGAN(FastGANBase):
    """Projected GAN, conditioned on species and instance codes."""

    Config = ProjectedConfig
    config: ProjectedConfig
    generator: _Generator
    relative_share = 0.0
    """Share of the generated images in training with instance codes of the relative's photographs."""

    @property
    def trained_with(self) -> str:
        """The discriminators' frozen network."""
        return self.config.backbone

    def build_generator(self) -> _Generator:
        """The generator with its initial weights."""
        return _Generator(self.config, self.num_embeddings)

    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Build the discriminators and the optimisers, and encode the photographs."""
        c = self.config
        self.runtime = runtime
        self.features = self.frozen_features()
        self.heads = ProjectedHeads(4, c.head_channels, len(self.species), c.code_dim)
        self.instances = InstanceEncoder(self.features.widths, len(self.species), c.code_dim)
        self.to(runtime.device).to(memory_format=torch.channels_last)
        self.photographs, bank = data, self.generator.bank
        if len(bank.projection):  # a trained generator: keep the encoder for which its codes were computed
            self.features.gain.copy_(bank.gain)
            self.instances.projection.copy_(bank.projection)
        else:
            self.fit_codes()
        is_new = not len(bank.codes)
        if is_new:
            bank.gain, bank.projection = self.features.gain.clone(), self.instances.projection.clone()
        self.encode_photographs()
        if is_new:
            bank.store(self.codes, data.labels)
        self.optimisers = {
            "generator": torch.optim.Adam(self.generator.parameters(), lr=c.generator_learning_rate, betas=(0.0, 0.99), fused=True),
            "heads": torch.optim.Adam(self.heads.parameters(), lr=c.discriminator_learning_rate, betas=(0.0, 0.99), fused=True),
        }

    def fit_codes(self) -> None:
        """Fit the instance encoder: the scale of the frozen maps, and the principal directions."""
        data, device = self.photographs, self.runtime.device
        order = np.random.default_rng([self.config.mixing_seed, len(data.images)]).permutation(len(data.images))
        self.features.standardise(to_tensor(data.images[np.sort(order[:256])], device))
        some = np.sort(order[:MAX_FIT_IMAGES])
        features = self.encode(data.images[some])
        self.instances.fit(features.flatten(0, 1), torch.from_numpy(data.labels[some]).to(device).repeat_interleave(features.shape[1]))

    @torch.no_grad()
    def encode(self, images: np.ndarray, project: bool = False) -> Tensor:
        """Pooled features of photographs and, with ``flip``, of their mirror images: shape (N, 1 or 2, num_features).

        Args:
            images: uint8, shape (N, size, size, 3).
            project: return their projections on the principal directions instead: shape (N, 1 or 2, code_dim).
        """
        parts = []
        for start in range(0, len(images), ENCODING_BATCH):
            photographs = to_tensor(images[start : start + ENCODING_BATCH], self.runtime.device)
            views = [photographs, photographs.flip(3)] if self.config.flip else [photographs]
            features = torch.stack([pool_features(self.features(way), way) for way in views], dim=1)
            parts.append(features @ self.instances.projection if project else features)
        return torch.cat(parts)

    def encode_photographs(self) -> None:
        """Compute the instance codes of all training photographs: ``codes``, shape (N, 1 or 2, code_dim)."""
        raw = self.encode(self.photographs.images, project=True)
        labels = torch.from_numpy(self.photographs.labels).to(raw.device)
        self.instances.centre(raw.mean(1), labels)
        self.codes = raw - self.instances.mean[labels][:, None]
        if len(self.generator.bank.projection):
            self.generator.bank.mean[labels] = self.instances.mean[labels]

    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """One step of generator and discriminators on the same images (hinge loss, Sauer et al. 2021 eq. 4).

        A photograph and the image generated from its code are augmented alike, so that their features can be compared. There is no such comparison
        for images with codes of the relative's photographs: only the discriminators compare them with species and code.
        """
        c = self.config
        real, mirrored = mirror(batch.images_NCHW, c.flip)
        codes = own = self.codes[batch.indices, mirrored]
        matched = torch.ones(len(real), device=real.device)
        if self.relative_share:
            borrowed = torch.rand(len(real), device=real.device) < self.relative_share
            codes, matched = torch.where(borrowed[:, None], self.generator.bank.random_codes(batch.labels), own), (~borrowed).float()
        noise = c.code_noise * torch.randn(codes.shape, device=codes.device)
        own, codes = own + noise, codes + noise
        latents = torch.cat([torch.randn(len(real), c.latent_dim, device=real.device), codes], dim=1)
        with self.runtime.autocast():
            fake = self.generator(latents, batch.labels).float()
        seen = augment(torch.cat([real, fake]), probability=c.augmentation, versions=2)
        seen_real, seen_fake = seen.chunk(2)
        with torch.no_grad():
            real_maps = self.features(seen_real)
            mixed_real = self.features.mix(real_maps)
        fake_maps = self.features(seen_fake)
        mixed = [torch.cat(pair) for pair in zip(mixed_real, self.features.mix(fake_maps), strict=True)]
        with self.runtime.autocast():
            logits = self.heads(mixed, seen, batch.labels.repeat(2), torch.cat([own, codes]))
        logits_real, logits_fake = zip(*(x.float().chunk(2) for x in logits), strict=True)
        mismatch = (matched * (pool_features(fake_maps, seen_fake) - pool_features(real_maps, seen_real)).square().sum(1)).mean()
        figures = self.hinge_step(real, fake, logits_real, logits_fake, "heads", extra_generator_loss=c.feature_matching_weight * mismatch)
        return {**figures, "loss_feature_matching": mismatch.detach()}

    def seeded_latents(self, labels: Tensor, seeds: Sequence[int]) -> Tensor:
        """A random latent and a stored instance code plus noise, as a function of species and seed."""
        normal = seeded_normal(seeds, (self.generator.latent_dim,)).to(self.generator.bank.codes.device)
        latents, noise = normal.split([self.config.latent_dim, self.config.code_dim], dim=1)
        return torch.cat([latents, self.generator.bank.seeded_codes(labels, seeds) + self.config.code_noise * noise], dim=1)

    def interpolate_latents(self, first: Tensor, second: Tensor, amounts: Tensor) -> Tensor:
        """Interpolate latents and instance codes separately and spherically, as their lengths differ."""
        sizes = [self.config.latent_dim, self.config.code_dim]
        parts = zip(first.split(sizes, dim=1), second.split(sizes, dim=1), strict=True)
        return torch.cat([slerp(a, b, amounts) for a, b in parts], dim=1)

    @torch.no_grad()
    def find_latents(self, images_NCHW: Tensor, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """The photographs' own instance codes (pose, place, light), computed without a search, and the seeds' latents.

        Raises:
            UnsupportedError: the saved weights lack what encodes photographs.
        """
        start, rows = self.generator_inputs(species, seeds)
        return torch.cat([start[:, : self.config.latent_dim], self.codes_of(images_NCHW, rows)], dim=1)

    def codes_of(self, images_NCHW: Tensor, labels: Tensor) -> Tensor:
        """Instance codes of photographs, shape (N, code_dim), on the generator's device."""
        return self.projected_features(images_NCHW) - self.generator.bank.mean[labels.to(self.generator.bank.mean.device)]

    def projected_features(self, images_NCHW: Tensor) -> Tensor:
        """Instance codes of photographs before a species' mean is subtracted, shape (N, code_dim). Loads the frozen network at the first call.

        Raises:
            UnsupportedError: the saved weights lack what encodes photographs.
        """
        bank = self.generator.bank
        if not len(bank.projection):
            raise UnsupportedError(
                "this generator was saved by an older version, without what encodes photographs. "
                "Run the same syntype train again with --resume, or train a new one."
            )
        if not hasattr(self, "features"):
            self.features = self.frozen_features().to(bank.gain.device).to(memory_format=torch.channels_last)
            self.features.gain.copy_(bank.gain)
        images = images_NCHW.to(bank.gain.device)
        return pool_features(self.features(images), images) @ bank.projection

    def frozen_features(self) -> FrozenFeatures:
        """The frozen network; ``standardise`` has not yet been called."""
        c = self.config
        return FrozenFeatures(build_backbone(c.backbone), c.backbone_size, c.head_channels, c.mixing_seed)

    def add_species(self, name: str, relative: str | None) -> None:
        """Add a species, with the relative's instance codes (or all codes) besides the relative's embedding."""
        self.generator.bank.add_species(None if relative is None else self._label_of[relative])
        super().add_species(name, relative)

    @torch.no_grad()
    def encode_species(self, images_NCHW: Tensor) -> tuple[str, dict[str, Tensor]]:
        """Rows of a species: the embedding of the known species whose mean is nearest (the relative), and codes measured from that mean.

        The generator has learnt to draw what a code says; these codes also say what distinguishes the new species from the relative. Half are those
        of the photographs, half those of the relative's photographs moved to the new mean: poses, places and light of others. See ``Encodes``.
        """
        views = [images_NCHW, images_NCHW.flip(3)] if self.config.flip else [images_NCHW]
        found = torch.cat([self.projected_features(view) for view in views])
        bank = self.generator.bank
        relative = int((bank.mean - found.mean(0)).square().sum(1).argmin())
        own = found - bank.mean[relative]
        codes = torch.cat([own, bank.moved_codes(relative, own.mean(0), len(images_NCHW), len(own))])
        state = self.generator.state_dict()
        rows = {part: state[part][relative : relative + 1].clone() for part in ("bank.mean", "embedding.weight")}
        return self.species[relative], {**rows, "bank.codes": codes, "bank.spans": bank.spans.new_tensor([[len(bank.codes), len(codes)]])}

    def restore_species(self, name: str, rows: Mapping[str, Tensor], changed: Collection[str]) -> None:
        """Add a species with rows that an adapter file holds, and with codes of its own if it holds any. See ``Encodes``."""
        self.add_species(name, None)
        if "bank.codes" in rows:
            self.generator.bank.own_codes(rows["bank.codes"])
        state = self.generator.state_dict()
        for part in rows.keys() - ({"bank.codes", "bank.spans"} if "bank.codes" in rows else set()):  # where the codes lie has just been decided
            state[part][-1:] = rows[part]

    def use_relative(self, share: float) -> None:
        """In adaptation, generate this share of the training images with instance codes of the relative's photographs. See ``UsesRelative``."""
        self.relative_share = share

    def restore_discriminator(self, state: dict[str, Tensor], relative: str | None) -> None:
        """Load the trained discriminator heads, the scale of their feature maps, and the instance encoder."""
        self.features.gain.copy_(state["features.gain"])
        self.restore_submodule("heads", state, relative)
        self.restore_submodule("instances", state, relative)
        self.encode_photographs()

    def lower_discriminator_parameters(self) -> list[nn.Parameter]:
        """Parameters of the lower part of each head; the network below is frozen in any case."""
        return self.heads.lower_parameters()

    def log_likelihood(self, images_NCHW: Tensor, species: Sequence[str]) -> Tensor:
        """Log of the probability of "real": mean over a head's positions, sum over heads, as in the loss: shape (N,). Uses the images' own instance
        codes."""
        self.heads.eval()  # do not change the spectral norms' estimates
        maps, labels = self.features(images_NCHW), self.labels_of(species).to(images_NCHW.device)
        logits = self.heads(self.features.mix(maps), images_NCHW, labels, self.instances(pool_features(maps, images_NCHW), labels))
        return torch.stack([F.logsigmoid(x).mean(1) for x in logits]).sum(0)

"""Latent diffusion: an autoencoder's latents, preconditioned by the magnitude-preserving U-Net; from 64 px to non-square pictures of a megapixel.

Papers: Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models" (arXiv 2112.10752); Karras et al. 2022, "Elucidating
the Design Space of Diffusion-Based Generative Models" (EDM, arXiv 2206.00364); Karras et al. 2023, "Analyzing and Improving the Training Dynamics
of Diffusion Models" (EDM2, arXiv 2312.02696). Code: written for Syntype from the papers; the autoencoder's layers and DPM-Solver++ are
diffusers' (Apache-2.0). Weights: none; or those of the autoencoder that ``autoencoder`` names, under its own licence.

Training has two phases. In the first ``autoencoder_steps`` steps an autoencoder learns to reconstruct the photographs (none where a
trained one is named). Then it stays as it is, every photograph is encoded once, mirrored too, and the denoiser learns on the latents.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from syntype.compute.ema import power_decay, power_exponent, warmup_decay
from syntype.compute.grids import tile
from syntype.compute.runtime import Runtime
from syntype.compute.tensors import seeded_normal, slerp, to_tensor, to_uint8
from syntype.errors import RecipeError
from syntype.generators.augmentation import mirror
from syntype.generators.contract import Batch, BlendOf, GenerativeModel, GeneratorConfig, TrainingData
from syntype.generators.diffusion.edm import (
    SIGMA_DATA,
    SIGMA_MAX,
    Denoiser,
    Uncertainty,
    denoising_loss,
    dpm_solver,
    heun,
    preconditioned,
    sigma_at,
    sigma_schedule,
)
from syntype.generators.diffusion.latent_space import LatentSpace, architecture_of, autoencoder_loss, load_autoencoder, small_architecture
from syntype.generators.networks.magnitude_preserving_unet import MagnitudePreservingUNet, force_unit_weights
from syntype.recipe import Settings

__all__ = ["LatentDiffusion", "LatentDiffusionConfig", "LatentDiffusionControls"]

STRIP_COLUMNS = 8
"""Columns of the picture of the process."""


class LatentDiffusionConfig(GeneratorConfig):
    """Settings of ``latent_diffusion``."""

    image_width: int | None = Field(None, ge=16, le=2048)
    """Width of the images in pixels where they are not square; ``size`` is their height."""
    conditional: bool = True
    """Learn what species look like. If not, images show any of them."""
    flip: bool = True
    """Mirror photographs at random (switch off for taxa whose sides differ, such as flatfish)."""

    autoencoder: str | None = None
    """A trained autoencoder: its name on the Hugging Face hub, or its folder in diffusers' architecture. None: one is trained on the collection."""
    autoencoder_architecture: dict[str, Any] | None = None
    """What the autoencoder is built from; filled in from the trained one, so that a generator loads without it."""
    autoencoder_steps: int = Field(1500, ge=1)
    """The first steps, which train the autoencoder where none is named."""
    autoencoder_width: int = Field(8, ge=8, multiple_of=8)
    """Its channels at the images' own resolution. Few, for small machines: in the first minutes many small steps teach more than few large
    ones (docs/benchmarks/tried.md)."""
    autoencoder_learning_rate: float = Field(2e-3, gt=0)
    """Adam's learning rate of the autoencoder, falling to 0 along a cosine."""
    autoencoder_crop: int = Field(256, ge=32, multiple_of=32)
    """It learns on parts of the photographs that are no larger than this, in pixels."""
    kl_weight: float = Field(1e-4, ge=0)
    """Weight of the latents' divergence from the standard normal distribution."""

    channels: int = Field(64, ge=8)
    """Of the denoiser at the latents' own resolution."""
    channel_multipliers: tuple[int, ...] = (1, 2, 3)
    """Its channels at each resolution, from the finest to the coarsest, in multiples of ``channels``."""
    residual_blocks: int = Field(2, ge=1)
    """Its residual blocks at each resolution."""
    attention_levels: int = Field(2, ge=0)
    """So many of the coarsest resolutions have attention."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Part of each residual branch that is blanked in training: with few photographs, the denoiser learns them by heart later."""
    learning_rate: float = Field(5e-3, gt=0)
    """Adam's learning rate of the denoiser. As its weights have unit magnitude, this is how far a step turns them."""
    constant_learning_rate_steps: int = Field(2000, ge=1)
    """Steps of the denoiser after which its rate falls with the root of their number (EDM2 section 2.3)."""
    label_dropout: float = Field(0.1, ge=0, lt=1)
    """Part of the images whose species is dropped, so that guidance has something to lead away from."""
    log_noise_mean: float = -0.4
    """Mean of the logarithm of the noise levels that are trained."""
    log_noise_std: float = Field(1.0, gt=0)
    """Its standard std."""
    ema_relative_width: float = Field(0.1, gt=0, le=0.28)
    """Standard std of the weights' power-function average, as a share of the denoiser's training (EDM2 section 3.1)."""

    @classmethod
    def tiny(cls, size: int = 32) -> LatentDiffusionConfig:
        """A model that trains in seconds."""
        return cls(
            size=size,
            autoencoder_steps=3,
            autoencoder_width=8,
            autoencoder_crop=32,
            channels=16,
            channel_multipliers=(1, 2),
            residual_blocks=1,
            attention_levels=1,
        )

    @field_validator("size")
    @classmethod
    def check_size(cls, size: int) -> int:
        """Any: what sides must divide by depends on the autoencoder and the resolutions, and is checked when the model is built."""
        return size

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images, in pixels."""
        return self.size, self.image_width or self.size


class LatentDiffusionControls(Settings):
    """What ``sample`` and the abilities may be told."""

    sampler: Literal["dpmsolver++", "heun"] = "dpmsolver++"
    """DPM-Solver++ looks at the image once a step, Heun's method twice; both agree where steps are many."""
    steps: int = Field(20, ge=1, le=1000)
    """Of the sampler."""
    guidance: float = Field(1.5, ge=0)
    """1 follows the species as learnt, 0 ignores it, more exaggerates what sets it apart. No effect where there is one, or none is told apart."""


class _Generator(nn.Module):
    """Denoiser and autoencoder."""

    def __init__(self, unet: MagnitudePreservingUNet, latents: LatentSpace) -> None:
        super().__init__()
        self.unet, self.latents = unet, latents

    def denoise(self, x: Tensor, sigma: Tensor, vectors: Tensor | None) -> Tensor:
        """D(x; sigma), for the vectors that stand for species."""
        return preconditioned(lambda images, levels: self.unet(images, levels, vectors), x, sigma)


class LatentDiffusion(GenerativeModel):
    """Diffusion in the latents of an autoencoder; blends, varies and inpaints."""

    Config = LatentDiffusionConfig
    Controls = LatentDiffusionControls
    config: LatentDiffusionConfig
    generator: _Generator

    def __init__(self, config: LatentDiffusionConfig, species: Sequence[str]) -> None:
        super().__init__(config, species)
        trained = load_autoencoder(config.autoencoder) if config.autoencoder and config.autoencoder_architecture is None else None
        architecture = config.autoencoder_architecture or (
            architecture_of(trained) if trained is not None else small_architecture(config.autoencoder_width)
        )
        if config.autoencoder:
            self.config = config.model_copy(update={"autoencoder_architecture": architecture})
        latents = LatentSpace(architecture, trained, shortcut=config.autoencoder is None)
        unit = latents.downsampling * 2 ** (len(config.channel_multipliers) - 1)
        if any(side % unit for side in config.shape):
            height, width = config.shape
            raise RecipeError(f"settings of latent_diffusion: images of {height}x{width} pixels, but each side must be a multiple of {unit}.")
        self.latent_shape = (latents.channels, *(side // latents.downsampling for side in config.shape))
        rows = len(self.species) + 1 if config.conditional else 0  # the last stands for no species in particular
        c = config
        unet = MagnitudePreservingUNet(latents.channels, rows, c.channels, c.channel_multipliers, c.residual_blocks, c.attention_levels, c.dropout)
        force_unit_weights(unet)
        self.generator = _Generator(unet, latents)
        self.uncertainty = Uncertainty()
        self.to(memory_format=torch.channels_last)

    @property
    def is_conditional(self) -> bool:
        """Whether species are told apart."""
        return self.config.conditional

    @property
    def autoencoder_phase_steps(self) -> int:
        """Steps that train the autoencoder."""
        return 0 if self.config.autoencoder else self.config.autoencoder_steps

    # training

    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Keep the photographs until they are encoded; build the optimisers."""
        self.runtime, self.data = runtime, data
        self._encoded: Tensor | None = None  # every photograph's latents, float16, shape (N, 1 or 2, *latent_shape)
        self.to(runtime.device)
        denoiser = [*self.generator.unet.parameters(), *self.uncertainty.parameters()]
        self.optimisers = {"denoiser": torch.optim.Adam(denoiser, lr=self.config.learning_rate, betas=(0.9, 0.99), fused=True)}
        if self.autoencoder_phase_steps:
            autoencoder = self.generator.latents.parameters()
            self.optimisers["autoencoder"] = torch.optim.Adam(autoencoder, lr=self.config.autoencoder_learning_rate, betas=(0.9, 0.99), fused=True)
        else:
            self.generator.latents.requires_grad_(False)

    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """One step of the autoencoder, or of the denoiser."""
        return self._autoencoder_step(batch) if batch.step < self.autoencoder_phase_steps else self._denoiser_step(batch)

    def _autoencoder_step(self, batch: Batch) -> dict[str, float | Tensor]:
        c, latents = self.config, self.generator.latents
        images, _ = mirror(batch.images_NCHW, c.flip)
        sides = [min(side, c.autoencoder_crop) for side in images.shape[2:]]
        top, left = (int(torch.rand(1).item() * (full - side + 1)) for full, side in zip(images.shape[2:], sides, strict=True))
        images = images[:, :, top : top + sides[0], left : left + sides[1]].contiguous(memory_format=torch.channels_last)
        with self.runtime.autocast():
            mean, std = latents.posterior(images)
            reconstructed = latents.decode_unscaled(mean + std * torch.randn(mean.shape, device=mean.device))
        loss, distance, divergence = autoencoder_loss(images, reconstructed.float(), mean.float(), std.float(), c.kl_weight)
        optimiser = self.optimisers["autoencoder"]
        _set_learning_rate(optimiser, c.autoencoder_learning_rate * (1 + math.cos(math.pi * batch.step / c.autoencoder_steps)) / 2)
        stepped = self.runtime.backward_and_step(loss, latents.parameters(), optimiser)
        return {"loss_autoencoder": distance, "kl_divergence": divergence, "skipped": float(not stepped)}

    def _denoiser_step(self, batch: Batch) -> dict[str, float | Tensor]:
        c = self.config
        if self._encoded is None:
            self._encoded = self._encode_photographs()
        n, device = len(batch.indices), batch.indices.device
        mirrored = (torch.rand(n, device=device) < 0.5).long() if c.flip else torch.zeros_like(batch.indices)
        clean = self._encoded[batch.indices, mirrored].float()
        sigma = (c.log_noise_mean + c.log_noise_std * torch.randn(n, device=device)).exp()
        noisy = clean + sigma[:, None, None, None] * torch.randn(clean.shape, device=device)
        dropped = torch.rand(n, device=device) < c.label_dropout
        vectors = self._vectors(torch.where(dropped, len(self.species), batch.labels))
        with self.runtime.autocast():
            guess = self.generator.denoise(noisy.contiguous(memory_format=torch.channels_last), sigma, vectors)
        loss, plain = denoising_loss(clean, guess, sigma, self.uncertainty(sigma))
        optimiser, taken = self.optimisers["denoiser"], batch.step - self.autoencoder_phase_steps + 1
        _set_learning_rate(optimiser, c.learning_rate / max(1.0, taken / c.constant_learning_rate_steps) ** 0.5)
        stepped = self.runtime.backward_and_step(loss, [*self.generator.unet.parameters(), *self.uncertainty.parameters()], optimiser)
        force_unit_weights(self.generator.unet)
        return {"loss": loss.detach(), "loss_denoiser": plain, "skipped": float(not stepped)}

    @torch.no_grad()
    def _encode_photographs(self) -> Tensor:
        """Encode every photograph, mirrored too."""
        latents, device = self.generator.latents, self.runtime.device
        latents.requires_grad_(False)
        self.optimisers.pop("autoencoder", None)
        chunk, parts = self.sampling_batch_size, []
        for start in range(0, len(self.data.images), chunk):
            images = to_tensor(self.data.images[start : start + chunk]).to(device)
            ways = [images, images.flip(3)] if self.config.flip else [images]
            parts.append(torch.stack([latents.posterior(way)[0] for way in ways], dim=1))
        raw = torch.cat(parts)
        if not latents.fitted:
            latents.fit_scale(raw.flatten(0, 1))
        return latents.normalise(raw).half()

    def ema_decay(self, step: int, limit: float | None) -> float:
        """The power-function average of EDM2, from the denoiser's first step; the autoencoder is taken as it is, since latents depend on it."""
        taken = step - self.autoencoder_phase_steps + 1
        if taken <= 1:
            return 0.0
        return power_decay(taken, power_exponent(self.config.ema_relative_width)) if limit is None else warmup_decay(taken, limit)

    # drawing

    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Draw images; the noise that an image starts from is a function of its seed alone."""
        return self.blend([(name, name) for name in species], [(seed, seed) for seed in seeds], [0.0] * len(seeds), "latent", **controls)

    @torch.inference_mode()
    def blend(
        self, species: Sequence[tuple[str, str]], seeds: Sequence[tuple[int, int]], amounts: Sequence[float], of: BlendOf, **controls: Any
    ) -> Tensor:
        """Draw what lies between, on the great circles between the two noises and the two species' vectors."""
        labels = [self.labels_of([pair[end] for pair in species]) for end in (0, 1)]

        def generate(rows: list[int]) -> Tensor:
            amount = torch.tensor([amounts[row] for row in rows])
            noise = [self._noise([seeds[row][end] for row in rows]) for end in (0, 1)]
            vectors = [self._vectors(labels[end][rows].to(self._device)) for end in (0, 1)]
            start = noise[0] if of == "species" else slerp(noise[0], noise[1], amount)
            vector = vectors[0] if of == "latent" or vectors[0] is None or vectors[1] is None else slerp(vectors[0], vectors[1], amount)
            return self._decode(self._solve(self._denoiser(vector, controls), SIGMA_MAX * start, 1.0, controls))

        return self._in_chunks(generate, len(species))

    @torch.inference_mode()
    def vary(self, images_NCHW: Tensor, species: Sequence[str], seeds: Sequence[int], strength: float, **controls: Any) -> Tensor:
        """Draw variations: the photograph's latents under as much noise as the strength says, preconditioned (Meng et al. 2022, arXiv 2108.01073).

        Strength 0 redraws the photograph by the autoencoder alone; strength 1 is ``sample``.
        """
        if strength == 1:
            return self.sample(species, seeds, **controls)
        labels = self.labels_of(species)

        def generate(rows: list[int]) -> Tensor:
            x = self.generator.latents.encode(images_NCHW[rows].to(self._device))
            if strength > 0:
                x = x + sigma_at(strength) * self._noise([seeds[row] for row in rows])
                x = self._solve(self._denoiser(self._vectors(labels[rows].to(self._device)), controls), x, strength, controls)
            return self._decode(x)

        return self._in_chunks(generate, len(species))

    @torch.inference_mode()
    def inpaint(self, images_NCHW: Tensor, masks_N1HW: Tensor, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Fill in by the masked reverse process: at every noise level, latents outside the mask are the photograph's under the noise drawn
        (Lugmayr et al. 2022, arXiv 2201.09865, eq. 8). That is to say, the denoiser answers there with the photograph.

        Latents whose pixels or neighbours are masked are drawn; the image is then put behind the mask, pixel by pixel.
        """
        labels, factor = self.labels_of(species), self.generator.latents.downsampling

        def generate(rows: list[int]) -> Tensor:
            images, masks = images_NCHW[rows].to(self._device), masks_N1HW[rows].to(self._device)
            # the mean of what is known, image by image: sums over a batch are taken in an order that depends on its other images
            colours = [image[:, ~mask[0]].mean(1).nan_to_num() for image, mask in zip(images, masks, strict=True)]
            photograph = self.generator.latents.encode(torch.where(masks, torch.stack(colours)[:, :, None, None], images))
            free = nn.functional.max_pool2d(masks.float(), factor)
            free = nn.functional.max_pool2d(free, 3, stride=1, padding=1) > 0
            denoise = self._denoiser(self._vectors(labels[rows].to(self._device)), controls)
            x = photograph + SIGMA_MAX * self._noise([seeds[row] for row in rows])
            x = self._solve(lambda noisy, sigma: torch.where(free, denoise(noisy, sigma), photograph), x, 1.0, controls)
            return torch.where(masks, self._decode(x), images)

        return self._in_chunks(generate, len(species))

    @torch.inference_mode()
    def process_strip(self, images_NCHW: Tensor, species: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """How photographs dissolve into noise, and noise becomes images; see ``ShowsProcess``.

        Noisy latents are scaled to the spread that clean ones have, and decoded.
        """
        self.eval()
        controls, noise = self.Controls().model_dump(), self._noise(seeds)
        denoise, seen = self._denoiser(self._vectors(self.labels_of(species).to(self._device)), controls), []

        def watched(x: Tensor, sigma: float) -> Tensor:
            seen.append((x, sigma))
            return denoise(x, sigma)

        last = self._solve(watched, SIGMA_MAX * noise, 1.0, controls)
        stages = [seen[place] for place in np.linspace(0, len(seen) - 1, STRIP_COLUMNS - 1).round().astype(int)] + [(last, 0.0)]
        photograph = self.generator.latents.encode(images_NCHW.to(self._device))
        forward = [(photograph + sigma * noise, sigma) for _, sigma in reversed(stages)]
        pictures = [[self._decode(x * SIGMA_DATA / math.hypot(sigma, SIGMA_DATA)).float().cpu() for x, sigma in way] for way in (forward, stages)]
        rows = torch.stack([torch.stack(way, dim=1) for way in pictures], dim=1)  # (N, 2, STRIP_COLUMNS, 3, height, width)
        return tile(to_uint8(rows.flatten(0, 2)), STRIP_COLUMNS)

    @property
    def _device(self) -> torch.device:
        return self.uncertainty.weight.weight.device

    def _noise(self, seeds: Sequence[int]) -> Tensor:
        return seeded_normal(seeds, self.latent_shape).to(self._device)

    def _vectors(self, labels: Tensor) -> Tensor | None:
        labels_layer = self.generator.unet.labels
        return None if labels_layer is None else labels_layer(labels)

    def _denoiser(self, vectors: Tensor | None, controls: dict[str, Any]) -> Denoiser:
        """The denoiser guided by the species: D_none + guidance * (D_species - D_none) (Ho & Salimans 2022, arXiv 2207.12598; EDM2 eq. 4)."""
        guidance = self.Controls.parse(controls, "controls of latent_diffusion").guidance
        network = self.generator
        if vectors is None or guidance == 1 or len(self.species) == 1:
            return lambda x, sigma: network.denoise(x, torch.full((len(x),), sigma, device=x.device), vectors)
        unconditional = self._vectors(torch.full((len(vectors),), len(self.species), device=vectors.device))

        def guided(x: Tensor, sigma: float) -> Tensor:
            level = torch.full((len(x),), sigma, device=x.device)
            without = network.denoise(x, level, unconditional)
            return without if guidance == 0 else torch.lerp(without, network.denoise(x, level, vectors), guidance)

        return guided

    def _solve(self, denoise: Denoiser, x: Tensor, strength: float, controls: dict[str, Any]) -> Tensor:
        """From noise as the strength says to none, in as many steps as that part of the way takes."""
        chosen = self.Controls.parse(controls, "controls of latent_diffusion")
        steps, start = max(1, round(chosen.steps * strength)), sigma_at(strength)
        x = x.contiguous(memory_format=torch.channels_last)
        return heun(denoise, x, sigma_schedule(steps, start)) if chosen.sampler == "heun" else dpm_solver(denoise, x, steps, start)

    def _decode(self, x: Tensor) -> Tensor:
        return self.generator.latents.decode(x)

    def _in_chunks(self, generate: Callable[[list[int]], Tensor], number: int) -> Tensor:
        """Images of all rows, on the CPU, in parts of bounded memory."""
        self.eval()
        rows, chunk = list(range(number)), self.sampling_batch_size
        parts = [generate(rows[start : start + chunk]).float().cpu() for start in range(0, number, chunk)]
        return torch.cat(parts) if parts else torch.empty(0, 3, *self.config.shape)


def _set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate

"""Denoising diffusion in pixels: a U-Net takes noise off an image step by step, kept the species, with guidance.

Paper: Ho et al. 2020, "Denoising Diffusion Probabilistic Models" (arXiv 2006.11239); what it predicts, how errors are weighed, guidance and the
samplers are cited in ``diffusion/gaussian.py``. Varying a photograph: SDEdit (Meng et al. 2022, arXiv 2108.01073).
Code: written for Syntype from the papers; diffusers' scheduler (Apache-2.0) does the steps of sampling. Weights: none but those trained here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from syntype.compute.runtime import Runtime
from syntype.compute.tensors import slerp
from syntype.errors import UnsupportedError
from syntype.generators.augmentation import mirror
from syntype.generators.contract import Batch, BlendOf, GenerativeModel, GeneratorConfig, TrainingData
from syntype.generators.diffusion.gaussian import (
    NUM_LEVELS,
    GaussianDiffusion,
    NoiseSource,
    Prediction,
    ReverseProcess,
    SamplerName,
    classifier_free_guidance,
    diffusion_strip,
    noise_streams,
)
from syntype.generators.networks.unet import CHANNELS_PER_GROUP, UNet
from syntype.recipe import Settings

__all__ = ["DDPM", "DDPMConfig", "DDPMControls"]


class DDPMConfig(GeneratorConfig):
    """Settings of ``ddpm``."""

    prediction: Prediction = "v"
    """What the U-Net predicts: ``eps``, the noise (Ho et al.), or ``v``. At the noisiest levels the image is the noise's small difference from what
    is seen, and an error in ``eps`` is an error 150 times as large in the image: short trainings then show wrong colours."""
    min_snr: float | None = Field(5.0, gt=0)
    """Cap of the signal-to-noise ratio in the loss weights; null weighs errors of the prediction alike at all levels (Ho et al.)."""
    conditional: bool = True
    """Tell species apart."""
    label_dropout: float = Field(0.1, ge=0, lt=1)
    """Chance with which a photograph's species is kept from the network, so that it learns to draw without too: guidance needs both."""
    width: int = Field(16, ge=CHANNELS_PER_GROUP, multiple_of=CHANNELS_PER_GROUP)
    """Channels at full resolution. Few, for small machines: in the first minutes many small steps teach more than few large ones
    (docs/benchmarks/tried.md); with a GPU or a day take 48 or more."""
    channel_multipliers: tuple[int, ...] = Field((1, 2, 4, 8, 8), min_length=1)
    """Channels of each resolution, from full downwards, each half the one before, as multiples of ``width``; those below 4 pixels are left out."""
    residual_blocks: tuple[int, ...] = (1, 1, 1, 1, 1)
    """Residual blocks of each resolution, on the way down and again on the way up; at the lowest, once. They cost least where images are small."""
    learning_rate: float = Field(1e-3, gt=0)
    """Adam's learning rate."""
    flip: bool = True
    """Mirror photographs at random (switch off for taxa whose sides differ, such as flatfish)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.residual_blocks) != len(self.channel_multipliers) or min(*self.residual_blocks, *self.channel_multipliers) < 1:
            raise ValueError("residual_blocks and channel_multipliers must be of one length, and positive: one of each a resolution")
        return self

    @classmethod
    def tiny(cls, size: int = 32) -> Self:
        """The smallest settings that still train: for tests."""
        return cls(size=size, width=16, channel_multipliers=(1, 1), residual_blocks=(1, 1))


class DDPMControls(Settings):
    """Further arguments of ``sample`` and of the abilities of ``ddpm``."""

    sampler: SamplerName = "dpmsolver++"
    """``dpmsolver++`` and ``ddim`` add no noise on the way; ``ddpm`` does, and wants hundreds of steps."""
    steps: int = Field(20, ge=1, le=NUM_LEVELS)
    """Steps from noise to image."""
    guidance: float = Field(1.0, ge=0)
    """0 ignores the species, 1 draws it as it was learnt, more exaggerates what sets it apart, at twice the cost and the price of variety."""
    jump_length: int = Field(5, ge=1)
    """Inpainting: steps in a stretch that is repeated."""
    resamples: int = Field(3, ge=1)
    """Inpainting: how often each stretch is gone through; more makes the drawn part go better with the rest, and costs as much more."""


class DDPM(GenerativeModel):
    """Diffusion in pixels."""

    Config = DDPMConfig
    Controls = DDPMControls
    validation_controls: ClassVar[dict[str, Any]] = {"steps": 10, "resamples": 1}
    config: DDPMConfig
    generator: UNet

    def __init__(self, config: DDPMConfig, species: Sequence[str]) -> None:
        super().__init__(config, species)
        c = config
        depth = c.size.bit_length() - 2  # resolutions down to 4 pixels
        self.generator = UNet(c.size, len(self.species) if c.conditional else 0, c.width, c.channel_multipliers[:depth], c.residual_blocks[:depth])
        self.diffusion = GaussianDiffusion(c.prediction, c.min_snr)

    @property
    def is_conditional(self) -> bool:
        """Whether the network is kept the species, or there is only one."""
        return self.config.conditional or len(self.species) == 1

    def prepare(self, data: TrainingData, runtime: Runtime) -> None:
        """Build the optimiser."""
        self.runtime = runtime
        self.to(runtime.device).to(memory_format=torch.channels_last)
        self.optimisers = {"generator": torch.optim.Adam(self.generator.parameters(), lr=self.config.learning_rate, betas=(0.9, 0.99), fused=True)}

    def training_step(self, batch: Batch) -> dict[str, float | Tensor]:
        """One step at levels drawn evenly (Ho et al. 2020, algorithm 1)."""
        c, count = self.config, len(batch.images_NCHW)
        images, _ = mirror(batch.images_NCHW, c.flip)
        levels = (torch.rand(count, device=images.device) * NUM_LEVELS).long().clamp(max=NUM_LEVELS - 1)
        noise = torch.randn(images.shape, device=images.device)
        conditions = self.generator.condition_vectors(None, count)
        if c.conditional:
            kept = torch.rand(count, device=images.device) >= c.label_dropout
            conditions = torch.where(kept[:, None], self.generator.condition_vectors(batch.labels, count), conditions)
        with self.runtime.autocast():
            predicted = self.generator(self.diffusion.add_noise(images, noise, levels), levels, conditions)
        errors = (predicted - self.diffusion.target(images, noise, levels)).square().mean((1, 2, 3))
        loss = (self.diffusion.loss_weights(levels) * errors).mean()
        stepped = self.runtime.backward_and_step(loss, self.generator.parameters(), self.optimisers["generator"])
        return {"loss": loss.detach(), "error": errors.detach().mean(), "skipped": float(not stepped)}

    @torch.inference_mode()
    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Draw images; all noise of an image, the initial and that of the steps, comes from its own seed."""
        *_, last = self.reverse_process(species, seeds, **controls)
        return last.clamp(-1, 1)

    @torch.inference_mode()
    def reverse_process(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Iterator[Tensor]:
        """The initial noise, then the images after each step; the last are those of ``sample``."""
        settings = self._checked(controls)
        noise = self._noise(seeds)
        initial = noise()
        yield initial.cpu()
        for stage in self._process(self._conditions(species), noise, settings).run(initial, ReverseProcess.levels(settings.steps)):
            yield stage.cpu()

    def process_strip(self, images_NCHW: Tensor, species: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """How photographs dissolve into noise, and noise becomes images; see ``ShowsProcess``."""
        return diffusion_strip(self, species, seeds, images_NCHW=images_NCHW)

    def forward_process(self, images_NCHW: Tensor, seeds: Sequence[int], levels: Sequence[int]) -> list[Tensor]:
        """Images at each of the levels, with one noise an image."""
        noise = noise_streams(seeds, images_NCHW.shape[1:])()
        return [self.diffusion.add_noise(images_NCHW, noise, level) for level in levels]

    @torch.inference_mode()
    def blend(
        self, species: Sequence[tuple[str, str]], seeds: Sequence[tuple[int, int]], amounts: Sequence[float], of: BlendOf, **controls: Any
    ) -> Tensor:
        """Draw what lies between: the noise goes along the great circle, that of every step too, and the species' conditions along a line."""
        settings = self._checked(controls)
        amount = torch.tensor(amounts, dtype=torch.float32, device=self._device)
        conditions, noise = self._conditions([pair[0] for pair in species]), self._noise([pair[0] for pair in seeds])
        if of != "latent":
            conditions = torch.lerp(conditions, self._conditions([pair[1] for pair in species]), amount[:, None])
        if of != "species":
            noise = _interpolated_noise(noise, self._noise([pair[1] for pair in seeds]), amount)
        return self._last(noise(), ReverseProcess.levels(settings.steps), self._process(conditions, noise, settings))

    @torch.inference_mode()
    def vary(self, images_NCHW: Tensor, species: Sequence[str], seeds: Sequence[int], strength: float, **controls: Any) -> Tensor:
        """Bring photographs to the level ``strength`` of all levels, and draw on from there (SDEdit, algorithm 1).

        Strength 0 gives the photographs again, bit for bit; 1 starts from noise alone, so it is ``sample``. Steps are as long as those of ``sample``.
        """
        settings = self._checked(controls)
        start = round(strength * NUM_LEVELS)
        if start == 0:
            self.labels_of(species)
            return images_NCHW.clone()
        noise = self._noise(seeds)
        x = noise()
        levels = ReverseProcess.levels(max(1, round(strength * settings.steps)), start)
        if start < NUM_LEVELS:
            x = self.diffusion.add_noise(images_NCHW.to(self._device), x, levels[0])
        return self._last(x, levels, self._process(self._conditions(species), noise, settings))

    @torch.inference_mode()
    def inpaint(self, images_NCHW: Tensor, masks_N1HW: Tensor, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Draw what is masked by the masked reverse process (RePaint); what is not comes back bit for bit."""
        settings = self._checked(controls)
        noise = self._noise(seeds)
        process = self._process(self._conditions(species), noise, settings)
        images, masks = images_NCHW.to(self._device), masks_N1HW.to(self._device)
        filled = process.inpaint(noise(), ReverseProcess.levels(settings.steps), images, masks, settings.jump_length, settings.resamples)
        return torch.where(masks_N1HW, filled.clamp(-1, 1).cpu(), images_NCHW)

    @property
    def _device(self) -> torch.device:
        return self.generator.null.device

    def _checked(self, controls: dict[str, Any]) -> DDPMControls:
        """The controls, checked.

        Raises:
            RecipeError: an unknown one, or one out of range.
            UnsupportedError: guidance of a model that never learnt to draw without species.
        """
        settings = DDPMControls.parse(controls, "controls of ddpm")
        if self.config.conditional and settings.guidance != 1 and self.config.label_dropout == 0:
            raise UnsupportedError(
                f"guidance {settings.guidance:g}: this ddpm was trained with label_dropout 0 and never learnt to draw without species. "
                "Use guidance 1, or train with --set model.label_dropout=0.1."
            )
        return settings

    def _conditions(self, species: Sequence[str]) -> Tensor:
        labels = self.labels_of(species).to(self._device)
        return self.generator.condition_vectors(labels if self.config.conditional else None, len(labels))

    def _noise(self, seeds: Sequence[int]) -> NoiseSource:
        return noise_streams(seeds, (3, self.config.size, self.config.size), self._device)

    def _process(self, conditions: Tensor, noise: NoiseSource, settings: DDPMControls) -> ReverseProcess:
        self.generator.eval()
        predict = classifier_free_guidance(
            self.generator, conditions, self.generator.condition_vectors(None, len(conditions)), settings.guidance if self.config.conditional else 0
        )

        def denoise(x: Tensor, level: int) -> Tensor:
            return self.diffusion.predict_clean(x, predict(x, level), level).clamp(-1, 1)

        return ReverseProcess(self.diffusion, denoise, settings.sampler, noise)

    def _last(self, x: Tensor, levels: Sequence[int], process: ReverseProcess) -> Tensor:
        *_, last = process.run(x, levels)
        return last.clamp(-1, 1).cpu()


def _interpolated_noise(first: NoiseSource, second: NoiseSource, amounts: Tensor) -> NoiseSource:
    return lambda: slerp(first(), second(), amounts)

"""Denoising diffusion in pixels: a U-Net takes noise off an image step by step, told the species, with guidance.

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
    Diffusion,
    Noise,
    Prediction,
    ReverseProcess,
    SamplerName,
    diffusion_strip,
    guided,
    noise_streams,
)
from syntype.generators.networks.unet import GROUP, UNet
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
    width: int = Field(16, ge=GROUP, multiple_of=GROUP)
    """Channels at full resolution. Few, for small machines: in the first minutes many small steps teach more than few large ones
    (docs/benchmarks/diary.md); with a GPU or a day take 48 or more."""
    multipliers: tuple[int, ...] = Field((1, 2, 4, 8, 8), min_length=1)
    """Channels of each resolution, from full downwards, each half the one before, as multiples of ``width``; those below 4 pixels are left out."""
    blocks: tuple[int, ...] = (1, 1, 1, 1, 1)
    """Residual blocks of each resolution, on the way down and again on the way up; at the lowest, once. They cost least where images are small."""
    learning_rate: float = Field(1e-3, gt=0)
    """Adam's learning rate."""
    flip: bool = True
    """Mirror photographs at random (switch off for taxa whose sides differ, such as flatfish)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.blocks) != len(self.multipliers) or min(*self.blocks, *self.multipliers) < 1:
            raise ValueError("blocks and multipliers must be of one length, and positive: one of each a resolution")
        return self

    @classmethod
    def tiny(cls, size: int = 32) -> Self:
        """The smallest settings that still train: for tests."""
        return cls(size=size, width=16, multipliers=(1, 1), blocks=(1, 1))


class DDPMControls(Settings):
    """Further arguments of ``sample`` and of the abilities of ``ddpm``."""

    sampler: SamplerName = "dpmsolver++"
    """``dpmsolver++`` and ``ddim`` add no noise on the way; ``ddpm`` does, and wants hundreds of steps."""
    steps: int = Field(20, ge=1, le=NUM_LEVELS)
    """Steps from noise to image."""
    guidance: float = Field(1.0, ge=0)
    """0 ignores the species, 1 draws it as it was learnt, more exaggerates what sets it apart, at twice the cost and the price of variety."""
    jump: int = Field(5, ge=1)
    """Inpainting: steps in a stretch that is repeated."""
    resamples: int = Field(3, ge=1)
    """Inpainting: how often each stretch is gone through; more makes the drawn part go better with the rest, and costs as much more."""


class DDPM(GenerativeModel):
    """Diffusion in pixels."""

    Config = DDPMConfig
    Controls = DDPMControls
    quick_controls: ClassVar[dict[str, Any]] = {"steps": 10, "resamples": 1}
    config: DDPMConfig
    generator: UNet

    def __init__(self, config: DDPMConfig, species: Sequence[str]) -> None:
        super().__init__(config, species)
        c = config
        depth = c.size.bit_length() - 2  # resolutions down to 4 pixels
        self.generator = UNet(c.size, len(self.species) if c.conditional else 0, c.width, c.multipliers[:depth], c.blocks[:depth])
        self.diffusion = Diffusion(c.prediction, c.min_snr)

    @property
    def is_conditional(self) -> bool:
        """Whether the network is told the species, or there is only one."""
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
        codes = self.generator.codes(None, count)
        if c.conditional:
            told = torch.rand(count, device=images.device) >= c.label_dropout
            codes = torch.where(told[:, None], self.generator.codes(batch.labels, count), codes)
        with self.runtime.autocast():
            predicted = self.generator(self.diffusion.noised(images, noise, levels), levels, codes)
        errors = (predicted - self.diffusion.target(images, noise, levels)).square().mean((1, 2, 3))
        loss = (self.diffusion.weights(levels) * errors).mean()
        stepped = self.runtime.update(loss, self.generator.parameters(), self.optimisers["generator"])
        return {"loss": loss.detach(), "error": errors.detach().mean(), "skipped": float(not stepped)}

    @torch.inference_mode()
    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Draw images; all noise of an image, the initial and that of the steps, comes from its own seed."""
        *_, last = self.reverse_process(species, seeds, **controls)
        return last.clamp(-1, 1)

    @torch.inference_mode()
    def reverse_process(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Iterator[Tensor]:
        """The initial noise, then the images after each step; the last are those of ``sample``."""
        chosen = self._chosen(controls)
        noise = self._noise(seeds)
        initial = noise()
        yield initial.cpu()
        for stage in self._process(self._codes(species), noise, chosen).run(initial, ReverseProcess.levels(chosen.steps)):
            yield stage.cpu()

    def process_strip(self, images_NCHW: Tensor, species: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """How photographs dissolve into noise, and noise becomes images; see ``ShowsProcess``."""
        return diffusion_strip(self, species, seeds, images_NCHW=images_NCHW)

    def forward_process(self, images_NCHW: Tensor, seeds: Sequence[int], levels: Sequence[int]) -> list[Tensor]:
        """Images at each of the levels, with one noise an image."""
        noise = noise_streams(seeds, images_NCHW.shape[1:])()
        return [self.diffusion.noised(images_NCHW, noise, level) for level in levels]

    @torch.inference_mode()
    def blend(
        self, species: Sequence[tuple[str, str]], seeds: Sequence[tuple[int, int]], amounts: Sequence[float], of: BlendOf, **controls: Any
    ) -> Tensor:
        """Draw what lies between: the noise goes along the great circle, that of every step too, and the species' codes along a line."""
        chosen = self._chosen(controls)
        amount = torch.tensor(amounts, dtype=torch.float32, device=self._device)
        codes, noise = self._codes([pair[0] for pair in species]), self._noise([pair[0] for pair in seeds])
        if of != "latent":
            codes = torch.lerp(codes, self._codes([pair[1] for pair in species]), amount[:, None])
        if of != "species":
            noise = _between(noise, self._noise([pair[1] for pair in seeds]), amount)
        return self._last(noise(), ReverseProcess.levels(chosen.steps), self._process(codes, noise, chosen))

    @torch.inference_mode()
    def vary(self, images_NCHW: Tensor, species: Sequence[str], seeds: Sequence[int], strength: float, **controls: Any) -> Tensor:
        """Bring photographs to the level ``strength`` of all levels, and draw on from there (SDEdit, algorithm 1).

        Strength 0 gives the photographs again, bit for bit; 1 starts from noise alone, so it is ``sample``. Steps are as long as those of ``sample``.
        """
        chosen = self._chosen(controls)
        start = round(strength * NUM_LEVELS)
        if start == 0:
            self.labels_of(species)
            return images_NCHW.clone()
        noise = self._noise(seeds)
        x = noise()
        levels = ReverseProcess.levels(max(1, round(strength * chosen.steps)), start)
        if start < NUM_LEVELS:
            x = self.diffusion.noised(images_NCHW.to(self._device), x, levels[0])
        return self._last(x, levels, self._process(self._codes(species), noise, chosen))

    @torch.inference_mode()
    def inpaint(self, images_NCHW: Tensor, masks_N1HW: Tensor, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Draw what is masked by the masked reverse process (RePaint); what is not comes back bit for bit."""
        chosen = self._chosen(controls)
        noise = self._noise(seeds)
        process = self._process(self._codes(species), noise, chosen)
        images, masks = images_NCHW.to(self._device), masks_N1HW.to(self._device)
        filled = process.fill(noise(), ReverseProcess.levels(chosen.steps), images, masks, chosen.jump, chosen.resamples)
        return torch.where(masks_N1HW, filled.clamp(-1, 1).cpu(), images_NCHW)

    @property
    def _device(self) -> torch.device:
        return self.generator.null.device

    def _chosen(self, controls: dict[str, Any]) -> DDPMControls:
        """The controls, checked.

        Raises:
            RecipeError: an unknown one, or one out of range.
            UnsupportedError: guidance of a model that never learnt to draw without species.
        """
        chosen = DDPMControls.parse(controls, "controls of ddpm")
        if self.config.conditional and chosen.guidance != 1 and self.config.label_dropout == 0:
            raise UnsupportedError(
                f"guidance {chosen.guidance:g}: this ddpm was trained with label_dropout 0 and never learnt to draw without species. "
                "Use guidance 1, or train with --set model.label_dropout=0.1."
            )
        return chosen

    def _codes(self, species: Sequence[str]) -> Tensor:
        labels = self.labels_of(species).to(self._device)
        return self.generator.codes(labels if self.config.conditional else None, len(labels))

    def _noise(self, seeds: Sequence[int]) -> Noise:
        return noise_streams(seeds, (3, self.config.size, self.config.size), self._device)

    def _process(self, codes: Tensor, noise: Noise, chosen: DDPMControls) -> ReverseProcess:
        self.generator.eval()
        predict = guided(self.generator, codes, self.generator.codes(None, len(codes)), chosen.guidance if self.config.conditional else 0)

        def denoise(x: Tensor, level: int) -> Tensor:
            return self.diffusion.clean(x, predict(x, level), level).clamp(-1, 1)

        return ReverseProcess(self.diffusion, denoise, chosen.sampler, noise)

    def _last(self, x: Tensor, levels: Sequence[int], process: ReverseProcess) -> Tensor:
        *_, last = process.run(x, levels)
        return last.clamp(-1, 1).cpu()


def _between(first: Noise, second: Noise, amounts: Tensor) -> Noise:
    return lambda: slerp(first(), second(), amounts)

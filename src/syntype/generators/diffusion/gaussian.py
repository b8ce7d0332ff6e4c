"""Gaussian diffusion: noise levels, what a network predicts, loss weights, guidance, and the reverse process step by step.

Ho et al. 2020, "Denoising Diffusion Probabilistic Models" (arXiv 2006.11239); prediction of v: Salimans & Ho 2022 (arXiv 2202.00512);
min-SNR weights: Hang et al. 2023 (arXiv 2303.09556); guidance: Ho & Salimans 2022 (arXiv 2207.12598); steps: DDIM (Song et al. 2021, arXiv
2010.02502) and DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095); filling in: RePaint (Lugmayr et al. 2022, arXiv 2201.09865).

A noise level is a number from 0 (faint) to ``NUM_LEVELS`` - 1 (noise alone, nearly); -1 is the clean image. An image at level t is
signal[t] * image + spread[t] * noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from syntype.compute.grids import tile
from syntype.compute.tensors import to_uint8

__all__ = [
    "NUM_LEVELS",
    "Denoiser",
    "DiffusionModel",
    "GaussianDiffusion",
    "NoiseSource",
    "Prediction",
    "ReverseProcess",
    "SamplerName",
    "classifier_free_guidance",
    "diffusion_strip",
    "noise_streams",
]

NUM_LEVELS = 1000
BETAS = (1e-4, 0.02)
"""Variance of the noise that the first and the last step add; linear between (Ho et al. 2020, section 4)."""

Prediction = Literal["eps", "v"]
"""What a network predicts: the noise, or v = signal * noise - spread * image (Salimans & Ho 2022, section 4)."""
SamplerName = Literal["ddpm", "ddim", "dpmsolver++"]
"""Ancestral sampling (Ho et al. 2020, algorithm 2), and two solvers without noise of their own, of first and of second order."""
NoiseSource = Callable[[], Tensor]
"""Gives new standard normal numbers of the images' shape with every call, each image's from its own stream."""
Denoiser = Callable[[Tensor, int], Tensor]
"""(images at a level, the level) -> estimate of the clean images, in [-1, 1]."""

_SOLVERS: dict[str, tuple[str, int]] = {"ddpm": ("sde-dpmsolver++", 1), "ddim": ("dpmsolver++", 1), "dpmsolver++": ("dpmsolver++", 2)}
# Solvers of first order in the log signal-to-noise ratio are the older samplers exactly: without noise DDIM, with noise ancestral sampling
# (tests/generators/test_diffusion.py compares both with diffusers' own). So one scheduler serves all three, with any levels.


class GaussianDiffusion:
    """The forward process, and what a network learns from it.

    Args:
        prediction: what the network predicts.
        min_snr: cap of the signal-to-noise ratio in the loss weights (gamma of Hang et al. 2023); None weighs all levels alike.

    Attributes:
        signal: factor of the image at each level, float32, shape (NUM_LEVELS + 1,); the last is that of level -1.
        spread: standard deviation of the noise, likewise.
    """

    def __init__(self, prediction: Prediction, min_snr: float | None) -> None:
        self.prediction, self.min_snr = prediction, min_snr
        kept = torch.cumprod(1 - torch.linspace(*BETAS, NUM_LEVELS, dtype=torch.float64), dim=0)
        kept = torch.cat([kept, torch.ones(1, dtype=torch.float64)])
        self.signal_scale, self.noise_scale = kept.sqrt().float(), (1 - kept).sqrt().float()

    def scales_at(self, levels: Tensor | int, like: Tensor) -> tuple[Tensor, Tensor]:
        """``signal`` and ``spread`` at a level, or at one for each image, to multiply images with."""
        index = torch.as_tensor(levels, device=like.device).view(-1, 1, 1, 1)
        return self.signal_scale.to(like.device)[index], self.noise_scale.to(like.device)[index]

    def add_noise(self, images: Tensor, noise: Tensor, levels: Tensor | int) -> Tensor:
        """Clean images brought to a level (Ho et al. 2020, eq. 4)."""
        signal, spread = self.scales_at(levels, images)
        return signal * images + spread * noise

    def add_more_noise(self, x: Tensor, noise: Tensor, level: int, to: int) -> Tensor:
        """Images at one level brought to a noisier one (the product of Ho et al. 2020, eq. 2, over the steps between)."""
        ratio = self.scales_at(to, x)[0] / self.scales_at(level, x)[0]
        return ratio * x + (1 - ratio.square()).sqrt() * noise

    def target(self, images: Tensor, noise: Tensor, levels: Tensor | int) -> Tensor:
        """What the network is to predict."""
        if self.prediction == "eps":
            return noise
        signal, spread = self.scales_at(levels, images)
        return signal * noise - spread * images

    def predict_clean(self, x: Tensor, predicted: Tensor, levels: Tensor | int) -> Tensor:
        """The clean images that a prediction for images at a level amounts to."""
        signal, spread = self.scales_at(levels, x)
        if self.prediction == "eps":
            return (x - spread * predicted) / signal
        return signal * x - spread * predicted

    def loss_weights(self, levels: Tensor) -> Tensor:
        """Weight of each image's squared error, shape (N,): min(SNR, gamma) in errors of the clean image (Hang et al. 2023, section 3.4)."""
        if self.min_snr is None:
            return torch.ones(len(levels), device=levels.device)
        snr = (self.signal_scale / self.noise_scale).square().to(levels.device)[levels]
        return snr.clamp(max=self.min_snr) / (snr if self.prediction == "eps" else snr + 1)


def classifier_free_guidance(
    network: Callable[[Tensor, Tensor, Tensor], Tensor], conditions: Tensor, null: Tensor, guidance: float
) -> Callable[[Tensor, int], Tensor]:
    """A network's prediction, moved from that without species towards that of the species, or beyond it (Ho & Salimans 2022, eq. 6).

    Args:
        network: (images, levels, conditions) -> prediction.
        conditions, null: of the species, and of none in particular; both of shape (N, any).
        guidance: 0 is the prediction without species, 1 that of the species (both cost one pass), more exaggerates (two, in one batch).
            (The paper's w is ``guidance`` - 1.)
    """

    def once(x: Tensor, level: int, chosen: Tensor) -> Tensor:
        return network(x, torch.full((len(x),), level, device=x.device), chosen)

    if guidance in (0, 1):
        return lambda x, level: once(x, level, conditions if guidance else null)

    def both(x: Tensor, level: int) -> Tensor:
        unconditional, conditional = once(x.repeat(2, 1, 1, 1), level, torch.cat([null, conditions])).chunk(2)
        return unconditional + guidance * (conditional - unconditional)

    return both


def noise_streams(seeds: Sequence[int], shape: Sequence[int], device: torch.device | str = "cpu") -> NoiseSource:
    """NoiseSource of images, each from its own seed: so an image does not depend on those drawn with it. The first draw is ``seeded_normal``'s."""
    sources = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    return lambda: torch.stack([torch.randn(tuple(shape), generator=source) for source in sources]).to(device)


class ReverseProcess:
    """From noise to images, level by level; diffusers' scheduler does each step.

    Args:
        diffusion: the noise levels.
        denoise: estimates clean images.
        sampler: how to step.
        noise: of the images, for the steps of ``ddpm``; after the initial noise was taken from it.
    """

    def __init__(self, diffusion: GaussianDiffusion, denoise: Denoiser, sampler: SamplerName, noise: NoiseSource) -> None:
        from diffusers import DPMSolverMultistepScheduler  # takes seconds to import, and only drawing needs it

        self.diffusion, self.denoise, self.noise = diffusion, denoise, noise
        self.adds_noise = sampler == "ddpm"
        algorithm, order = _SOLVERS[sampler]
        self._scheduler: Any = DPMSolverMultistepScheduler(NUM_LEVELS, *BETAS, prediction_type="sample", algorithm_type=algorithm, solver_order=order)

    @staticmethod
    def levels(steps: int, start: int = NUM_LEVELS) -> list[int]:
        """Levels of ``steps`` steps, evenly spaced down from ``start`` - 1, and fewer than ``steps`` only if ``start`` is.

        The first is the noisiest of all, not one step below it (Lin et al. 2024, arXiv 2305.08891, section 3.3).
        """
        return (np.linspace(start, 0, min(steps, start) + 1)[:-1].round().astype(int) - 1).tolist()

    def run(self, x: Tensor, levels: Sequence[int]) -> Iterator[Tensor]:
        """The images after each step, from those at ``levels[0]`` to clean ones."""
        self._begin(levels)
        for level in levels:
            x = self._step(x, level)
            yield x

    def inpaint(self, x: Tensor, levels: Sequence[int], images: Tensor, masks: Tensor, jump_length: int, resamples: int) -> Tensor:
        """Draw what is masked; what is not, is the images' own at each level (RePaint, algorithm 1).

        Args:
            x: noise, of the images' shape.
            images: clean ones; shape (N, 3, H, W).
            masks: bool, shape (N, 1, H, W), true where to draw.
            jump_length: after so many steps, noise is added again and they are repeated, so that both parts come to fit.
            resamples: how often each stretch is gone through; 1 never goes back.
        """
        initial = x
        stretch = jump_length if resamples > 1 else len(levels)  # a solver of second order starts anew with each

        def joined(drawn: Tensor, level: int) -> Tensor:
            # a solver without noise of its own extrapolates from step to step, so the known part must not flicker
            noise = self.noise() if self.adds_noise and level >= 0 else initial
            return torch.where(masks, drawn, self.diffusion.add_noise(images, noise, level))

        x = joined(x, levels[0])
        for first in range(0, len(levels), stretch):
            ends = [*levels[first + 1 : first + 1 + stretch], -1][:stretch]
            for turn in range(resamples):
                if turn:
                    x = joined(self.diffusion.add_more_noise(x, self.noise(), ends[-1], levels[first]), levels[first])
                self._begin(levels[first:])
                for level, end in zip(levels[first:], ends, strict=False):
                    x = joined(self._step(x, level), end)
        return x

    def _begin(self, levels: Sequence[int]) -> None:
        self._scheduler.set_timesteps(timesteps=list(levels))

    def _step(self, x: Tensor, level: int) -> Tensor:
        noise = self.noise() if self.adds_noise else None
        stepped: Tensor = self._scheduler.step(self.denoise(x, level), level, x, variance_noise=noise).prev_sample
        return stepped


class DiffusionModel(Protocol):
    """A family whose forward and reverse process can be drawn."""

    def forward_process(self, images_NCHW: Tensor, seeds: Sequence[int], levels: Sequence[int]) -> list[Tensor]:
        """Images at each of the levels."""

    def reverse_process(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Iterator[Tensor]:
        """The initial noise, then the images after each step; the last are those of ``sample``."""


def diffusion_strip(
    model: DiffusionModel, species: Sequence[str], seeds: Sequence[int], *, images_NCHW: Tensor | None = None, columns: int = 8, **controls: Any
) -> np.ndarray:
    """Two rows for each (species, seed): an image on its way to noise, and noise on its way to an image.

    Args:
        images_NCHW: photographs to dissolve, shape (N, 3, size, size), in [-1, 1]; without them the images that are drawn.
        columns: stages to show, ends included.
        controls: of ``sample``; ``steps`` must be at least ``columns`` - 1.

    Returns:
        uint8, shape (2 * N * size, columns * size, 3); values outside [-1, 1] are cut off.
    """
    stages = list(model.reverse_process(species, seeds, **controls))
    chosen = np.linspace(0, len(stages) - 1, columns).round().astype(int)
    reverse = [stages[index] for index in chosen]
    levels = np.linspace(-1, NUM_LEVELS - 1, columns).round().astype(int).tolist()
    forward = model.forward_process(reverse[-1] if images_NCHW is None else images_NCHW, seeds, levels)
    rows = torch.stack([torch.stack(forward, dim=1), torch.stack(reverse, dim=1)], dim=1)  # (N, 2, columns, 3, size, size)
    return tile(to_uint8(rows.flatten(0, 2)), columns)

"""Gaussian diffusion (DDPM): noise levels, prediction targets, loss weights, guidance, and the reverse process.

Ho et al. 2020, "Denoising Diffusion Probabilistic Models" (arXiv 2006.11239); v-prediction: Salimans & Ho 2022 (arXiv 2202.00512); min-SNR weights:
Hang et al. 2023 (arXiv 2303.09556); classifier-free guidance: Ho & Salimans 2022 (arXiv 2207.12598); samplers: DDIM (Song et al. 2021, arXiv
2010.02502) and DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095); inpainting: RePaint (Lugmayr et al. 2022, arXiv 2201.09865).

A noise level is a number from 0 (little noise) to ``NUM_LEVELS`` - 1 (almost pure noise); -1 is the clean image. An image at level t is
signal_scale[t] * image + noise_scale[t] * noise.
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
"""Variance of the noise added by the first and the last step; linear between (Ho et al. 2020, section 4)."""

Prediction = Literal["eps", "v"]
"""What a network predicts: ``eps``, the noise, or ``v`` = signal_scale * noise - noise_scale * image (Salimans & Ho 2022, section 4)."""
SamplerName = Literal["ddpm", "ddim", "dpmsolver++"]
"""Ancestral sampling (Ho et al. 2020, algorithm 2), and two deterministic solvers, of first and of second order."""
NoiseSource = Callable[[], Tensor]
"""Returns new standard normal numbers of the images' shape at every call; each image has its own random stream."""
Denoiser = Callable[[Tensor, int], Tensor]
"""(images at a level, the level) -> estimate of the clean images, in [-1, 1]."""

_SOLVERS: dict[str, tuple[str, int]] = {"ddpm": ("sde-dpmsolver++", 1), "ddim": ("dpmsolver++", 1), "dpmsolver++": ("dpmsolver++", 2)}
# First-order solvers in the log signal-to-noise ratio equal the older samplers: DDIM without noise, ancestral sampling with noise
# (tests/generators/test_diffusion.py compares both with diffusers' own). So one scheduler serves all three, with any levels.


class GaussianDiffusion:
    """The forward process, the prediction target and the loss weights.

    Args:
        prediction: what the network predicts.
        min_snr: upper limit of the signal-to-noise ratio in the loss weights (gamma of Hang et al. 2023); None gives all levels the same weight.

    Attributes:
        signal_scale: factor of the image at each level, float32, shape (NUM_LEVELS + 1,); the last entry is that of level -1.
        noise_scale: standard deviation of the noise, likewise.
    """

    def __init__(self, prediction: Prediction, min_snr: float | None) -> None:
        self.prediction, self.min_snr = prediction, min_snr
        kept = torch.cumprod(1 - torch.linspace(*BETAS, NUM_LEVELS, dtype=torch.float64), dim=0)
        kept = torch.cat([kept, torch.ones(1, dtype=torch.float64)])
        self.signal_scale, self.noise_scale = kept.sqrt().float(), (1 - kept).sqrt().float()

    def scales_at(self, levels: Tensor | int, like: Tensor) -> tuple[Tensor, Tensor]:
        """``signal_scale`` and ``noise_scale`` at one level, or at one level an image: shape (1 or N, 1, 1, 1), on the device of ``like``."""
        index = torch.as_tensor(levels, device=like.device).view(-1, 1, 1, 1)
        return self.signal_scale.to(like.device)[index], self.noise_scale.to(like.device)[index]

    def add_noise(self, images: Tensor, noise: Tensor, levels: Tensor | int) -> Tensor:
        """Clean images brought to a level (Ho et al. 2020, eq. 4)."""
        signal, noise_scale = self.scales_at(levels, images)
        return signal * images + noise_scale * noise

    def add_more_noise(self, x: Tensor, noise: Tensor, level: int, to: int) -> Tensor:
        """Images at ``level`` brought to the noisier level ``to`` (the product of Ho et al. 2020, eq. 2, over the steps between)."""
        ratio = self.scales_at(to, x)[0] / self.scales_at(level, x)[0]
        return ratio * x + (1 - ratio.square()).sqrt() * noise

    def target(self, images: Tensor, noise: Tensor, levels: Tensor | int) -> Tensor:
        """The prediction target, of the images' shape."""
        if self.prediction == "eps":
            return noise
        signal, noise_scale = self.scales_at(levels, images)
        return signal * noise - noise_scale * images

    def predict_clean(self, x: Tensor, predicted: Tensor, levels: Tensor | int) -> Tensor:
        """Clean images computed from a network's prediction for images ``x`` at a level."""
        signal, noise_scale = self.scales_at(levels, x)
        if self.prediction == "eps":
            return (x - noise_scale * predicted) / signal
        return signal * x - noise_scale * predicted

    def loss_weights(self, levels: Tensor) -> Tensor:
        """Weight of each image's squared error, shape (N,); equals min(SNR, gamma) for errors of the clean image (Hang et al. 2023, section 3.4)."""
        if self.min_snr is None:
            return torch.ones(len(levels), device=levels.device)
        snr = (self.signal_scale / self.noise_scale).square().to(levels.device)[levels]
        return snr.clamp(max=self.min_snr) / (snr if self.prediction == "eps" else snr + 1)


def classifier_free_guidance(
    network: Callable[[Tensor, Tensor, Tensor], Tensor], conditions: Tensor, null: Tensor, guidance: float
) -> Callable[[Tensor, int], Tensor]:
    """A network's prediction, extrapolated from the unconditional to the conditional one (Ho & Salimans 2022, eq. 6).

    Args:
        network: (images, levels, condition vectors) -> prediction.
        conditions, null: condition vectors of the species, and for "no species given"; both of shape (N, any).
        guidance: 0 is the unconditional prediction, 1 the conditional one (one forward pass each); above 1 it extrapolates (two passes, in one
            batch). The paper's w is ``guidance`` - 1.
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
    """Noise for several images, each from its own seed, so that an image does not depend on the others in its batch. The first call equals
    ``seeded_normal``."""
    sources = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    return lambda: torch.stack([torch.randn(tuple(shape), generator=source) for source in sources]).to(device)


class ReverseProcess:
    """The reverse process, from noise to images; diffusers' scheduler computes each step.

    Args:
        diffusion: the noise levels.
        denoise: estimates clean images.
        sampler: solver of the steps.
        noise: source of noise for the steps of ``ddpm``; the initial noise was already taken from it.
    """

    def __init__(self, diffusion: GaussianDiffusion, denoise: Denoiser, sampler: SamplerName, noise: NoiseSource) -> None:
        from diffusers import DPMSolverMultistepScheduler  # takes seconds to import, and only sampling needs it

        self.diffusion, self.denoise, self.noise = diffusion, denoise, noise
        self.adds_noise = sampler == "ddpm"
        algorithm, order = _SOLVERS[sampler]
        self._scheduler: Any = DPMSolverMultistepScheduler(NUM_LEVELS, *BETAS, prediction_type="sample", algorithm_type=algorithm, solver_order=order)

    @staticmethod
    def levels(steps: int, start: int = NUM_LEVELS) -> list[int]:
        """Levels of ``steps`` evenly spaced steps down from ``start`` - 1; fewer than ``steps`` only if ``start`` is smaller.

        The first is the noisiest level, not one step below it (Lin et al. 2024, arXiv 2305.08891, section 3.3).
        """
        return (np.linspace(start, 0, min(steps, start) + 1)[:-1].round().astype(int) - 1).tolist()

    def run(self, x: Tensor, levels: Sequence[int]) -> Iterator[Tensor]:
        """The images after each step, from those at ``levels[0]`` to clean ones."""
        self._begin(levels)
        for level in levels:
            x = self._step(x, level)
            yield x

    def inpaint(self, x: Tensor, levels: Sequence[int], images: Tensor, masks: Tensor, jump_length: int, resamples: int) -> Tensor:
        """Inpaint: at each level, pixels outside the mask are replaced by the photograph's (RePaint, algorithm 1).

        Args:
            x: noise, of the images' shape.
            images: photographs, shape (N, 3, H, W).
            masks: bool, shape (N, 1, H, W), true where to inpaint.
            jump_length: number of steps after which noise is added again and these steps are repeated, so that both parts fit together.
            resamples: how often each group of steps is run; 1 does not repeat.
        """
        initial = x
        stretch = jump_length if resamples > 1 else len(levels)  # the second-order solver is restarted for each

        def keep_unmasked(generated: Tensor, level: int) -> Tensor:
            # a deterministic solver extrapolates from step to step, so the noise on the photograph must stay the same
            noise = self.noise() if self.adds_noise and level >= 0 else initial
            return torch.where(masks, generated, self.diffusion.add_noise(images, noise, level))

        x = keep_unmasked(x, levels[0])
        for first in range(0, len(levels), stretch):
            ends = [*levels[first + 1 : first + 1 + stretch], -1][:stretch]
            for turn in range(resamples):
                if turn:
                    x = keep_unmasked(self.diffusion.add_more_noise(x, self.noise(), ends[-1], levels[first]), levels[first])
                self._begin(levels[first:])
                for level, end in zip(levels[first:], ends, strict=False):
                    x = keep_unmasked(self._step(x, level), end)
        return x

    def _begin(self, levels: Sequence[int]) -> None:
        self._scheduler.set_timesteps(timesteps=list(levels))

    def _step(self, x: Tensor, level: int) -> Tensor:
        noise = self.noise() if self.adds_noise else None
        stepped: Tensor = self._scheduler.step(self.denoise(x, level), level, x, variance_noise=noise).prev_sample
        return stepped


class DiffusionModel(Protocol):
    """A family whose forward and reverse process can be shown."""

    def forward_process(self, images_NCHW: Tensor, seeds: Sequence[int], levels: Sequence[int]) -> list[Tensor]:
        """Images at each of the levels."""

    def reverse_process(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Iterator[Tensor]:
        """The initial noise, then the images after each step; the last are those of ``sample``."""


def diffusion_strip(
    model: DiffusionModel, species: Sequence[str], seeds: Sequence[int], *, images_NCHW: Tensor | None = None, columns: int = 8, **controls: Any
) -> np.ndarray:
    """Two rows for each (species, seed): an image to which noise is added step by step, and noise that is denoised to an image.

    Args:
        images_NCHW: photographs for the first row, shape (N, 3, size, size), in [-1, 1]; None uses the generated images.
        columns: stages to show, ends included.
        controls: of ``sample``; ``steps`` must be at least ``columns`` - 1.

    Returns:
        uint8, shape (2 * N * size, columns * size, 3); values outside [-1, 1] are clipped.
    """
    stages = list(model.reverse_process(species, seeds, **controls))
    chosen = np.linspace(0, len(stages) - 1, columns).round().astype(int)
    reverse = [stages[index] for index in chosen]
    levels = np.linspace(-1, NUM_LEVELS - 1, columns).round().astype(int).tolist()
    forward = model.forward_process(reverse[-1] if images_NCHW is None else images_NCHW, seeds, levels)
    rows = torch.stack([torch.stack(forward, dim=1), torch.stack(reverse, dim=1)], dim=1)  # (N, 2, columns, 3, size, size)
    return tile(to_uint8(rows.flatten(0, 2)), columns)

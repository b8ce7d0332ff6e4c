"""Diffusion by noise levels sigma (EDM): preconditioning, training loss, noise schedule, and two deterministic samplers.

Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models" (EDM, arXiv 2206.00364): table 1, algorithm 1. Karras et al.
2023, "Analyzing and Improving the Training Dynamics of Diffusion Models" (EDM2, arXiv 2312.02696): learned uncertainty. Lu et al. 2022,
"DPM-Solver++" (arXiv 2211.01095), in diffusers' implementation (Apache-2.0). All else was written from the papers.

A denoiser D(x; sigma) estimates the mean of the clean images that give x after noise of standard deviation sigma is added.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from syntype.generators.networks.magnitude_preserving_unet import Fourier

__all__ = [
    "RHO",
    "SIGMA_DATA",
    "SIGMA_MAX",
    "SIGMA_MIN",
    "Denoiser",
    "Uncertainty",
    "denoising_loss",
    "dpm_solver",
    "heun",
    "preconditioned",
    "preconditioning",
    "sigma_at",
    "sigma_schedule",
]

Denoiser = Callable[[Tensor, float], Tensor]
"""Noisy images, shape (N, C, H, W), and their common sigma -> estimate of the clean images, of the same shape."""

SIGMA_DATA = 0.5
"""Standard deviation to which the training data is scaled (EDM table 1)."""
SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0
"""Range of the samplers' noise levels, and the exponent of their spacing: larger RHO puts more of them at low noise (EDM table 1)."""


def preconditioning(sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in and c_noise of noise levels (EDM table 1): each of the shape of ``sigma``."""
    variance = sigma.square() + SIGMA_DATA**2
    return SIGMA_DATA**2 / variance, sigma * SIGMA_DATA / variance.sqrt(), variance.rsqrt(), sigma.log() / 4


def preconditioned(network: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigma: Tensor) -> Tensor:
    """D(x; sigma) = c_skip x + c_out F(c_in x; c_noise) (EDM eq. 7).

    Args:
        network: F: images of unit variance, shape (N, C, H, W), and one number each, shape (N,) -> shape (N, C, H, W).
        x: noisy images, shape (N, C, H, W).
        sigma: shape (N,).
    """
    skip, out, scale, level = preconditioning(sigma)
    wide = (-1, *[1] * (x.dim() - 1))
    return skip.view(wide) * x + out.view(wide) * network(scale.view(wide) * x, level).to(x.dtype)


class Uncertainty(nn.Module):
    """u(sigma): logarithm of the expected loss at a noise level, learned with the denoiser and used in training only."""

    def __init__(self, channels: int = 128) -> None:
        super().__init__()
        self.fourier = Fourier(channels)
        self.weight = nn.Linear(channels, 1)
        nn.init.zeros_(self.weight.weight)
        nn.init.zeros_(self.weight.bias)

    def forward(self, sigma: Tensor) -> Tensor:
        """u of noise levels: shape (N,) -> shape (N,)."""
        return self.weight(self.fourier(preconditioning(sigma)[3]))[:, 0]


def denoising_loss(clean: Tensor, guess: Tensor, sigma: Tensor, uncertainty: Tensor) -> tuple[Tensor, Tensor]:
    """The loss e^-u * lambda(sigma) * |D - y|^2 + u, averaged (EDM2 eq. 14 and 15), and the mean of lambda(sigma) * |D - y|^2, for the log.

    At the optimum u is the logarithm of the loss at its noise level, so that all levels have the same weight in the gradient.

    Args:
        clean, guess: y and D(y + noise; sigma), shape (N, C, H, W).
        sigma, uncertainty: shape (N,).
    """
    weight = (sigma.square() + SIGMA_DATA**2) / (sigma * SIGMA_DATA).square()
    plain = weight * (guess - clean).square().flatten(1).mean(1)
    return (plain * (-uncertainty).exp() + uncertainty).mean(), plain.detach().mean()


def sigma_at(part: float) -> float:
    """The noise level at a position in the schedule: ``SIGMA_MIN`` at 0, ``SIGMA_MAX`` at 1 (EDM eq. 5)."""
    low, high = SIGMA_MIN ** (1 / RHO), SIGMA_MAX ** (1 / RHO)
    return (low + part * (high - low)) ** RHO


def sigma_schedule(steps: int, start: float = SIGMA_MAX, stop: float = SIGMA_MIN) -> list[float]:
    """Decreasing noise levels from ``start`` to ``stop``, then 0 (EDM eq. 5): ``steps + 1`` numbers."""
    high, low = start ** (1 / RHO), stop ** (1 / RHO)
    return [(high + number / max(1, steps - 1) * (low - high)) ** RHO for number in range(steps)] + [0.0]


def heun(denoise: Denoiser, x: Tensor, sigmas: list[float]) -> Tensor:
    """Solve the probability flow equation by Heun's method (EDM algorithm 1, order 2): two evaluations of the denoiser a step.

    Args:
        x: noisy images at ``sigmas[0]``, shape (N, C, H, W).
        sigmas: decreasing noise levels.
    """
    for sigma, after in pairwise(sigmas):
        slope = (x - denoise(x, sigma)) / sigma
        ahead = x + (after - sigma) * slope
        if after:
            slope = (slope + (ahead - denoise(ahead, after)) / after) / 2
        x = x + (after - sigma) * slope
    return x


def dpm_solver(denoise: Denoiser, x: Tensor, steps: int, start: float = SIGMA_MAX, stop: float = SIGMA_MIN) -> Tensor:
    """Solve the probability flow equation by DPM-Solver++ (multistep, order 2), from ``start`` to ``stop`` and to 0: one evaluation a step.

    Args:
        x: noisy images at ``start``, shape (N, C, H, W).
    """
    from diffusers import EDMDPMSolverMultistepScheduler

    scheduler: Any = EDMDPMSolverMultistepScheduler(sigma_min=stop, sigma_max=start, sigma_data=SIGMA_DATA, rho=RHO)
    scheduler.set_timesteps(steps)
    scheduler.set_begin_index(0)
    for sigma, time in zip(scheduler.sigmas[:-1].tolist(), scheduler.timesteps, strict=True):
        # the scheduler applies the preconditioning itself, so convert the denoiser's output back to the network's output F
        skip, out = SIGMA_DATA**2 / (sigma**2 + SIGMA_DATA**2), sigma * SIGMA_DATA / math.hypot(sigma, SIGMA_DATA)
        x = scheduler.step((denoise(x, sigma) - skip * x) / out, time, x, return_dict=False)[0]
    return x

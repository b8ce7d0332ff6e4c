"""How noise is added in training and removed in sampling: noise-predicting diffusion, and rectified flow. Solvers are diffusers' (Apache-2.0).

Diffusion: Ho et al. 2020, "Denoising Diffusion Probabilistic Models" (arXiv 2006.11239); v-prediction: Salimans & Ho 2022 (arXiv 2202.00512); weights
of the noise levels: Hang et al. 2023 (arXiv 2303.09556); solver: DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095).
Rectified flow: Liu et al. 2022 (arXiv 2209.03003); distribution of the noise levels in training: Esser et al. 2024 (arXiv 2403.03206, section 3.1).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from syntype.errors import UnsupportedError
from syntype.generators.pretrained.text_to_image import TextToImage

__all__ = ["Diffusion", "Predict", "Process", "process_of"]

Predict = Callable[[Tensor, Tensor], Tensor]
"""The denoiser: (noisy latents, times of shape (N,)) -> prediction."""


class Process(ABC):
    """Adding and removing noise."""

    @abstractmethod
    def draw_times(self, like: Tensor) -> Tensor:
        """A random noise level for each image, in [0, 1), shape (N,); 1 is the noisiest."""

    @abstractmethod
    def training_pair(self, clean: Tensor, noise: Tensor, places: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Noisy latents, and what the denoiser shall predict.

        Args:
            clean, noise: shape (N, channels, height, width).
            places: as from ``draw_times``.

        Returns:
            noisy latents; times for the denoiser, shape (N,); the target; the weight of each image's squared error, shape (N,).
        """

    @abstractmethod
    def _schedule(self, steps: int, latents: Tensor) -> Any:
        """A scheduler of diffusers, ready for this number of steps."""

    @abstractmethod
    def _scales(self, sigma: float) -> tuple[float, float]:
        """Factors of the clean latents and of the noise at one of the scheduler's noise levels."""

    def noises(self, steps: int) -> int:
        """How often noise is drawn for an image of so many steps: once, unless the solver adds noise on its way."""
        return 1

    def denoise(
        self,
        predict: Predict,
        noises: Sequence[Tensor],
        steps: int,
        *,
        clean: Tensor | None = None,
        strength: float = 1.0,
        free: Tensor | None = None,
    ) -> Tensor:
        """Latents without noise.

        Args:
            predict: the denoiser.
            noises: standard normal, ``noises(steps)`` tensors of shape (N, channels, height, width); the first is where drawing begins.
            steps: from pure noise to clean latents.
            clean: latents of photographs. With ``strength`` below 1 noise is added to them, and only the last ``int(steps * strength)`` steps are
                taken (SDEdit, Meng et al. 2022, arXiv 2108.01073).
            free: where to inpaint, bool, shape (N, 1, height, width): after each step the rest is replaced by ``clean`` with as much noise
                (as RePaint without repetition, Lugmayr et al. 2022, arXiv 2201.09865, eq. 8).
        """
        taken = min(int(steps * strength), steps)
        if clean is not None and taken == 0:
            return clean
        noise, *again = noises
        scheduler = self._schedule(steps, noise)
        first = steps - taken
        x = self._begin(scheduler, noise) if clean is None or strength == 1 else self._noised(scheduler, clean, noise, first)
        if hasattr(scheduler, "set_begin_index"):  # others find the step by its time
            scheduler.set_begin_index(first)
        for place, time in enumerate(scheduler.timesteps[first:], first + 1):
            x = self._advance(scheduler, predict, x, time, again[place - first - 1 :])
            if clean is not None and free is not None:
                x = torch.where(free, x, self._noised(scheduler, clean, noise, place))
        return x

    def _begin(self, scheduler: Any, noise: Tensor) -> Tensor:
        """Latents of pure noise, on the scheduler's scale."""
        return noise

    def _noised(self, scheduler: Any, clean: Tensor, noise: Tensor, place: int) -> Tensor:
        """Clean latents with as much noise as there is before the step ``place``; after the last one there is none."""
        signal, amount = self._scales(float(scheduler.sigmas[place]))
        return signal * clean + amount * noise

    def _advance(self, scheduler: Any, predict: Predict, x: Tensor, time: Tensor, again: Sequence[Tensor]) -> Tensor:
        """One step.

        Args:
            again: the noise that may be added in this step and in those that follow.
        """
        stepped: Tensor = scheduler.step(predict(x, time.expand(len(x)).to(x.device)), time, x).prev_sample
        return stepped


class Diffusion(Process):
    """The noise schedule of a base whose U-Net predicts noise or v.

    Args:
        config: of the base's scheduler.
        min_snr: upper limit of the signal-to-noise ratio in the weights (gamma of Hang et al. 2023); None gives all levels the same weight.
    """

    def __init__(self, config: dict[str, Any], min_snr: float | None, name: str) -> None:
        from diffusers import DDPMScheduler, DPMSolverMultistepScheduler

        self.prediction, self.min_snr = config.get("prediction_type", "epsilon"), min_snr
        if self.prediction not in ("epsilon", "v_prediction") or "beta_schedule" not in config:
            raise UnsupportedError(f"{name}: its denoiser predicts neither noise nor v on a schedule of betas. Choose another base.")
        kept = DDPMScheduler.from_config(config).alphas_cumprod
        self.signal, self.amount = kept.sqrt(), (1 - kept).sqrt()
        self._solver: Any = DPMSolverMultistepScheduler.from_config(config)

    def draw_times(self, like: Tensor) -> Tensor:
        """Uniform."""
        return torch.rand(len(like), device=like.device)

    def training_pair(self, clean: Tensor, noise: Tensor, places: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See ``Process``."""
        times = (places * len(self.signal)).long()
        signal, amount = (scale.to(clean.device)[times] for scale in (self.signal, self.amount))
        snr = (signal / amount).square()
        weights = torch.ones_like(snr)
        if self.min_snr is not None:  # Hang et al. 2023, section 3.4
            weights = snr.clamp(max=self.min_snr) / (snr if self.prediction == "epsilon" else snr + 1)
        a, b = signal[:, None, None, None], amount[:, None, None, None]
        return a * clean + b * noise, times, noise if self.prediction == "epsilon" else a * noise - b * clean, weights

    def _schedule(self, steps: int, latents: Tensor) -> Any:
        scheduler = type(self._solver).from_config(self._solver.config)
        scheduler.set_timesteps(steps)
        return scheduler

    def _scales(self, sigma: float) -> tuple[float, float]:
        signal = 1 / math.hypot(1, sigma)
        return signal, sigma * signal


class _Flow(Process):
    """Rectified flow: straight lines from images to noise, x = (1 - sigma) * clean + sigma * noise; the target is their direction, noise - clean.

    Args:
        config: of the base's scheduler.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        from diffusers import FlowMatchEulerDiscreteScheduler

        self._solver: Any = FlowMatchEulerDiscreteScheduler.from_config(config)

    def draw_times(self, like: Tensor) -> Tensor:
        """Logit-normal, so that middle noise levels, the hardest ones, are the most frequent (Esser et al. 2024, eq. 19)."""
        return torch.randn(len(like), device=like.device).sigmoid()

    def training_pair(self, clean: Tensor, noise: Tensor, places: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        sigmas = self._solver.sigmas.flip(0).to(clean.device)  # of training, from the least noise to the most
        sigma = sigmas[(places * len(sigmas)).long().clamp(max=len(sigmas) - 1)]
        a = sigma[:, None, None, None]
        return (1 - a) * clean + a * noise, sigma * self._solver.config.num_train_timesteps, noise - clean, torch.ones_like(sigma)

    def _schedule(self, steps: int, latents: Tensor) -> Any:
        from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

        scheduler = type(self._solver).from_config(self._solver.config)
        shift = compute_empirical_mu(latents.shape[2] * latents.shape[3], steps)  # larger images need more steps at high noise
        scheduler.set_timesteps(sigmas=[1 - step / steps for step in range(steps)], mu=shift)
        return scheduler

    def _scales(self, sigma: float) -> tuple[float, float]:
        return 1 - sigma, sigma


def process_of(model: TextToImage, min_snr: float | None) -> Process:
    """How a base adds and removes noise.

    Args:
        min_snr: for bases that predict noise; see Hang et al. 2023. No effect on others.

    Raises:
        UnsupportedError: its denoiser predicts something else.
    """
    if model.base.kind == "flow":
        return _Flow(model.scheduler_config)
    return Diffusion(model.scheduler_config, min_snr, model.base.name)

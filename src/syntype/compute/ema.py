"""Exponential moving average (EMA) of weights, and schedules for its decay."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["MovingAverage", "power_decay", "power_exponent", "warmup_decay"]


class MovingAverage:
    """average <- decay * average + (1 - decay) * weights.

    Floating-point buffers (running statistics) are averaged too; integer buffers are copied.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.average = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Update the average with the module's present weights; a decay of 0 copies them."""
        current = self._module.state_dict()
        floating = [name for name, tensor in current.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self.average[name] for name in floating], [current[name] for name in floating], 1 - decay)
        for name, tensor in current.items():
            if not tensor.is_floating_point():
                self.average[name].copy_(tensor)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the module's weights with the average. Call again to exchange them back."""
        for name, tensor in self._module.state_dict().items():
            kept = tensor.clone()
            tensor.copy_(self.average[name])
            self.average[name].copy_(kept)

    def load(self, average: dict[str, Tensor]) -> None:
        """Restore a saved average."""
        for name, tensor in average.items():
            self.average[name].copy_(tensor)


def warmup_decay(step: int, limit: float) -> float:
    """Decay after ``step`` (counted from 0): min(limit, (1 + t) / (10 + t)), so that in short runs the initial weights are forgotten."""
    return min(limit, (1 + step) / (10 + step))


def power_decay(updates: int, exponent: float) -> float:
    """Decay at the t-th update (counted from 1) of the power-function average: (1 - 1/t) ** (exponent + 1).

    The weights of update i have a weight of about i ** exponent, so that the average covers a fixed share of a training of any length, and the
    initial weights have no influence (Karras et al. 2023, arXiv 2312.02696, section 3.1).
    """
    return (1 - 1 / updates) ** (exponent + 1)


def power_exponent(relative_width: float) -> float:
    """Exponent gamma of the power-function average with this relative width.

    Solves sqrt((gamma + 1) / ((gamma + 2)**2 * (gamma + 3))) = relative_width (Karras et al. 2023, appendix C), a cubic equation.

    Args:
        relative_width: standard deviation of the average's profile, as a share of the training's length, in (0, 1/sqrt(12)]; at the upper end all
            weights have the same weight.
    """
    # with s = relative_width**-2: (gamma + 2)**2 * (gamma + 3) - s * (gamma + 1) = 0
    s = relative_width**-2
    return float(np.roots([1.0, 7.0, 16.0 - s, 12.0 - s]).real.max())

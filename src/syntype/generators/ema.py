"""Moving average of a generator's weights, with a warm-up so that short runs do not show the initial noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["MovingAverage"]


class MovingAverage:
    """average <- decay * average + (1 - decay) * weights, with decay = min(limit, (1 + t) / (10 + t)) at step t.

    Floating-point buffers (running statistics) are averaged too, integer ones copied.
    """

    def __init__(self, module: nn.Module, limit: float) -> None:
        self._module, self._limit = module, limit
        self.average = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after ``step`` (counted from 0)."""
        decay = min(self._limit, (1 + step) / (10 + step))
        current = self._module.state_dict()
        floating = [name for name, tensor in current.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self.average[name] for name in floating], [current[name] for name in floating], 1 - decay)
        for name, tensor in current.items():
            if not tensor.is_floating_point():
                self.average[name].copy_(tensor)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the module's weights with the average: once to look through the average, once more to go back."""
        for name, tensor in self._module.state_dict().items():
            kept = tensor.clone()
            tensor.copy_(self.average[name])
            self.average[name].copy_(kept)

    def load(self, average: dict[str, Tensor]) -> None:
        """Restore a saved average."""
        for name, tensor in average.items():
            self.average[name].copy_(tensor)

"""The training loop of ``syntype train`` without its files, and the operations of one of its steps."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from syntype.generators.engine.training import TrainingLoop

__all__ = ["BATCH", "Operations", "Unsaved", "flops_of_a_step", "further", "one_step"]

BATCH = 16


class Unsaved(TrainingLoop):
    """The training loop, of which nothing is kept."""

    def checkpoint(self) -> None:
        pass


def further(loop: TrainingLoop, seconds: float) -> float:
    """Train for so many seconds more; gives images a second."""
    steps, began = loop.step, loop.seconds
    loop.config = loop.config.model_copy(update={"minutes": (began + seconds) / 60})
    loop.run_until_done()
    return (loop.step - steps) * loop.config.batch_size / (loop.seconds - began)


def one_step(loop: TrainingLoop) -> None:
    loop.config = loop.config.model_copy(update={"minutes": loop.seconds / 60 + 1e-9})
    loop.run_until_done()


class Operations(TorchDispatchMode):
    """Counts floating-point operations by PyTorch's own formulas; its ``FlopCounterMode`` also hooks modules, and fails at ``autograd.grad``."""

    total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if formula := flop_registry.get(function._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def flops_of_a_step(loop: TrainingLoop) -> int:
    """Floating-point operations of matrix products and convolutions in one step, backward passes and the frozen network included."""
    with Operations() as counter:
        one_step(loop)
    return counter.total

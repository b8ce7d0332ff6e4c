"""Device, precision, and one or several processes (through Accelerate)."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from syntype.compute.processes import WholeBatchRandom
from syntype.errors import InputError, UnsupportedError
from syntype.run import num_processes

__all__ = ["Precision", "Runtime"]

Precision = Literal["auto", "bf16", "fp32"]


class Runtime:
    """Device, precision and process group of a training run.

    Args:
        device: ``auto`` (CUDA, then MPS, then CPU), ``cpu``, ``cuda`` or ``mps``.
        precision: ``bf16`` computes matrix products and convolutions in bfloat16, ``fp32`` everything in float32; ``auto`` chooses bf16 where the
            hardware supports it (on a CPU: where it is measured to be faster).

    Raises:
        UnsupportedError: the device is missing, or several processes were started that cannot work together on it.
    """

    def __init__(self, device: str = "auto", precision: Precision = "auto") -> None:
        from accelerate import Accelerator

        if device == "cuda" and not torch.cuda.is_available():
            raise UnsupportedError("--device cuda: this machine has no CUDA device that PyTorch can use. Choose --device auto or cpu.")
        if device == "mps" and not torch.backends.mps.is_available():
            raise UnsupportedError("--device mps: this machine has no Apple GPU that PyTorch can use. Choose --device auto or cpu.")
        _keep_freed_memory()
        # Accelerate runs several processes on the CPU only if the CPU is asked for.
        on_cpu = device == "cpu" or not (torch.cuda.is_available() or torch.backends.mps.is_available())
        self.accelerator = Accelerator(cpu=on_cpu, mixed_precision="no")
        self.device: torch.device = self.accelerator.device
        if self.world_size != num_processes():
            raise UnsupportedError(
                f"{num_processes()} processes were started, but on {self.device} they cannot work together. Start one process, or add --device cpu."
            )
        self.precision: str = "fp32" if self.any_process(_resolve(precision, self.device) == "fp32") else "bf16"
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # images of one size: the fastest convolution is chosen once
            # What autocast leaves in float32 is then computed with TF32's 10 bits, as convolutions are by default: no less than bfloat16's 7.
            torch.set_float32_matmul_precision("high" if self.precision == "bf16" else "highest")

    @property
    def is_main(self) -> bool:
        """True in the process that writes files."""
        return bool(self.accelerator.is_main_process)

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return int(self.accelerator.process_index)

    @property
    def world_size(self) -> int:
        """Number of processes."""
        return int(self.accelerator.num_processes)

    @property
    def peak_gb(self) -> float | None:
        """Most memory of the graphics card that this process held at once, in GB of 2**30 bytes; None without a card."""
        return torch.cuda.max_memory_allocated(self.device) / 2**30 if self.device.type == "cuda" else None

    def wait(self) -> None:
        """Block until every process has called this."""
        self.accelerator.wait_for_everyone()

    def any_process(self, flag: bool) -> bool:
        """Whether ``flag`` is true in at least one process; the same answer in all."""
        if self.world_size == 1:
            return flag
        return bool(self.accelerator.reduce(torch.tensor(float(flag), device=self.device), "sum").item() > 0)

    def main_first(self) -> AbstractContextManager[Any]:
        """Context in which the main process runs before the others, which then find the files that it wrote."""
        return self.accelerator.main_process_first()

    def local_share(self, indices: np.ndarray) -> np.ndarray:
        """This process's share of a batch's indices. Pairs (2i, 2i + 1) stay together; the shares of all processes, concatenated by rank, are the
        batch.

        Raises:
            InputError: the pairs cannot be divided evenly.
        """
        if len(indices) % (2 * self.world_size):
            raise InputError(
                f"a batch of {len(indices)} images cannot be divided evenly, in pairs, among {self.world_size} processes",
                f"Set batch_size to a multiple of {2 * self.world_size}.",
            )
        return np.split(indices, self.world_size)[self.rank]

    def whole_batch_random(self, count: int) -> AbstractContextManager[Any]:
        """Context in which this process's ``count`` images get the random numbers of a single process. See ``WholeBatchRandom``."""
        return nullcontext() if self.world_size == 1 else WholeBatchRandom(count, self.rank, self.world_size)

    def mean(self, figures: Mapping[str, float | Tensor]) -> dict[str, float]:
        """Figures averaged over processes."""
        values = torch.stack([torch.as_tensor(value, dtype=torch.float32, device=self.device) for value in figures.values()])
        if self.world_size > 1:
            values = self.accelerator.reduce(values, "mean")
        return dict(zip(figures, values.tolist(), strict=True))

    def autocast(self) -> AbstractContextManager[Any]:
        """Context of mixed precision: bfloat16 for matrix products and convolutions if ``precision`` is ``bf16``."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def backward_and_step(
        self, loss: Tensor | Iterable[Tensor], parameters: Iterable[nn.Parameter], optimiser: torch.optim.Optimizer, *, keep_graph: bool = False
    ) -> bool:
        """Backward pass, average of the gradients over processes, and optimiser step. The step is skipped if the loss or a gradient is not finite.

        Args:
            loss: a scalar; or several whose sum is the loss, from an iterator that computes each when it is asked for, to save memory.
            parameters: for which gradients are computed; those that require no gradient are ignored.
            keep_graph: keep the graph for the backward pass of another loss.

        Returns:
            whether the step was taken.
        """
        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        total = torch.zeros((), device=self.device)
        gradients: list[Tensor | None] = [None] * len(trainable)
        for part in [loss] if isinstance(loss, Tensor) else loss:
            found = torch.autograd.grad(part, trainable, allow_unused=True, retain_graph=keep_graph)
            gradients = [new if old is None else old if new is None else old + new for old, new in zip(gradients, found, strict=True)]
            total = total + part.detach()
        norm = get_total_norm([gradient for gradient in gradients if gradient is not None])
        finite = bool((torch.isfinite(norm) & torch.isfinite(total)).item())  # one answer: each makes the processor wait for the GPU
        if self.any_process(not finite):
            return False
        for parameter, gradient in zip(trainable, gradients, strict=True):
            if gradient is not None and self.world_size > 1:
                gradient = self.accelerator.reduce(gradient, "mean")
            if gradient is not None and gradient.stride() != parameter.stride():
                # on the CPU, fused optimisers assume that gradient and parameter have the same memory layout; double backward may change it
                gradient = torch.empty_like(parameter).copy_(gradient)
            parameter.grad = gradient
        optimiser.step()
        for parameter in trainable:
            parameter.grad = None
        return True


def _resolve(precision: Precision, device: torch.device) -> str:
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if device.type == "cpu" and _bfloat16_is_faster() else "fp32"


@cache
def _bfloat16_is_faster() -> bool:
    """Time a 3x3 convolution, forward and backward, in both types: some CPUs have bfloat16 instructions that are not faster.

    All runs of a process go by one answer.
    """
    if not torch.cpu._is_avx512_bf16_supported():
        return False
    times: dict[torch.dtype, float] = {}
    for kind in (torch.float32, torch.bfloat16):
        images = torch.ones(8, 64, 32, 32, dtype=kind).to(memory_format=torch.channels_last).requires_grad_()
        weights = torch.ones(64, 64, 3, 3, dtype=kind, requires_grad=True)
        best = float("inf")
        for _ in range(6):
            began = time.perf_counter()
            nn.functional.conv2d(images, weights, padding=1).float().sum().backward()
            best = min(best, time.perf_counter() - began)
        times[kind] = best
    return times[torch.bfloat16] < 0.8 * times[torch.float32]


def _keep_freed_memory() -> None:
    """Tell glibc to keep freed memory. Tensors of the same sizes are allocated in every step, and getting their pages from the system anew was
    measured to cost a tenth of a training step."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
    except (OSError, AttributeError):  # not glibc
        return

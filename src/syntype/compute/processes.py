"""Training in several processes with the result of one process: shared batch statistics, and random numbers for the whole batch.

Each process has a share of the batch. Without these functions, batch normalisation would use the statistics of the share (Ioffe & Szegedy 2015, arXiv
1502.03167, algorithm 1), and random numbers would depend on the number of processes.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

__all__ = ["WholeBatchRandom", "synchronise_batch_norm"]


class WholeBatchRandom(TorchFunctionMode):
    """A context in which ``torch.rand`` and ``torch.randn``, called with this process's number of images as first dimension, generate numbers for the
    whole batch and return this process's rows.

    Each image so gets the random numbers that it would get in a single process. Calls with another first dimension return the same numbers in all
    processes.

    Args:
        count: images of this process.
        rank: number of this process; its images follow those of lower ranks.
        world_size: number of processes.
    """

    def __init__(self, count: int, rank: int, world_size: int) -> None:
        super().__init__()
        self.count, self.total, self.first = count, count * world_size, count * rank

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Intercepts torch's functions (see ``TorchFunctionMode``)."""
        kwargs = kwargs or {}
        if function in (torch.rand, torch.randn):
            shape = args if not args or isinstance(args[0], int) else args[0]
            if shape and shape[0] == self.count:
                return function((self.total, *shape[1:]), **kwargs)[self.first : self.first + self.count]
        return function(*args, **kwargs)


class _Sum(torch.autograd.Function):
    """Sum of a tensor over all processes; in the backward pass the gradient is summed likewise."""

    @staticmethod
    def forward(_context: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Any:
        return _Sum.apply(gradient)


def synchronise_batch_norm(model: nn.Module, world_size: int) -> None:
    """Let all batch normalisation layers of ``model`` use the statistics of the whole batch, of which each process has an equal share.

    (PyTorch's ``SyncBatchNorm`` does not run on the CPU.)
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.forward = MethodType(lambda norm, x: _normalise(norm, x, world_size), module)  # type: ignore[method-assign]


def _normalise(norm: _BatchNorm, x: Tensor, world_size: int) -> Tensor:
    """Batch normalisation of x, shape (N, C, ...), with gradients through the statistics to the images of all processes."""
    if not norm.training:
        return type(norm).forward(norm, x)
    values, others = x.float(), [0, *range(2, x.dim())]
    mean = values.mean(others)
    square = values.var(others, correction=0) + mean.square()
    mean, square = (_Sum.apply(torch.stack([mean, square])) / world_size).unbind()
    variance = square - mean.square()
    if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None and norm.momentum is not None:
        number = x.numel() // x.shape[1] * world_size
        for running, now in ((norm.running_mean, mean), (norm.running_var, variance * (number / (number - 1)))):
            running.lerp_(now.detach(), norm.momentum)
        norm.num_batches_tracked.add_(1)
    shape = [1, -1, *[1] * (x.dim() - 2)]
    values = (values - mean.view(shape)) * (variance + norm.eps).rsqrt().view(shape)
    if norm.affine:
        values = values * norm.weight.view(shape) + norm.bias.view(shape)
    return values.to(x.dtype)

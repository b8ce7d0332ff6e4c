"""Kernel modulation: few-shot adaptation of a trained generator by few parameters for each kernel.

Zhao et al. 2022, "Few-shot Image Generation via Adaptation-Aware Kernel Modulation" (arXiv 2210.16559): a convolution's kernel is not trained but
multiplied by 1 + M, where M has low rank, here one: W'[o, i] = W[o, i] * (1 + out[o] * into[i]) at every position of the kernel. Vectors (biases,
which include scales and shifts of conditional normalisation) and embeddings get an additive offset. Different from the paper, every 3x3 kernel is
modulated and none is fine-tuned, so that an adapter takes kilobytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

__all__ = ["adapter_weights", "full_weights", "modulate"]

GAIN = 8.0
"""Factor on the effective learning rate of offsets and kernels: there are few parameters, trained for few steps."""

_OUT, _INTO = "factor_out.", "factor_into."  # prefixes of a kernel's name in an adapter file
_PART = ".parametrizations."


class _Factors(nn.Module):
    """Rank-one modulation of a kernel; the identity at first, as the factor over output channels starts at zero."""

    def __init__(self, kernel: Tensor, random: torch.Generator) -> None:
        super().__init__()
        self.modulation_out = nn.Parameter(torch.zeros(kernel.shape[0]))
        # random signs: equal values would only scale the output, which the following normalisation undoes
        self.modulation_into = nn.Parameter(GAIN * torch.randn(kernel.shape[1], generator=random))

    def forward(self, kernel: Tensor) -> Tensor:
        return _modulated(kernel, self.modulation_out, self.modulation_into)


class _Offset(nn.Module):
    """An additive offset, zero at first."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.modulation_offset = nn.Parameter(torch.zeros_like(tensor))

    def forward(self, tensor: Tensor) -> Tensor:
        return tensor + GAIN * self.modulation_offset


def _modulated(kernel: Tensor, out: Tensor, into: Tensor) -> Tensor:
    return kernel * (1 + out[:, None] * into)[:, :, None, None]


def modulate(generator: nn.Module, adaptable: Collection[str], seed: int) -> set[str]:
    """Add modulation factors to a generator's 3x3 kernels and offsets to its vectors and embeddings. Its images do not change until these are
    trained.

    Args:
        generator: the network; build its optimiser afterwards.
        adaptable: names of the parameters that may be changed.
        seed: of the factors' initial values.

    Returns:
        names of the new, trainable parameters.
    """
    random = torch.Generator().manual_seed(seed)
    learn = set()
    for path, module in list(generator.named_modules()):
        for name, parameter in list(module.named_parameters(path, recurse=False)):
            change: nn.Module
            if name in adaptable and isinstance(module, nn.Conv2d) and parameter.shape[2:] == (3, 3):
                change = _Factors(parameter, random)
            elif name in adaptable and (isinstance(module, nn.Embedding) or parameter.ndim == 1):
                change = _Offset(parameter)
            else:
                continue
            part = name.rpartition(".")[2]
            parametrize.register_parametrization(module, part, change)
            learn |= {f"{path}{_PART}{part}.0.{own}" for own, _ in change.named_parameters()}
    return learn


def adapter_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a generator's ``state_dict()`` as an adapter file stores them: offsets are added to their tensors, factors are stored as they are.

    The state of a generator without modulation is returned unchanged.
    """
    kept = dict(state)
    for key in state:
        place, dot, own = key.rpartition(".0.")  # PATH.parametrizations.PART, and the parameter's name
        path, _, part = place.rpartition(_PART)
        name = f"{path}.{part}"
        if own == "modulation_offset":
            kept[name] = kept.pop(f"{place}.original") + GAIN * kept.pop(key)
        elif own == "modulation_out":
            kept[name] = kept.pop(f"{place}.original")
            kept[_OUT + name], kept[_INTO + name] = kept.pop(key), kept.pop(f"{place}{dot}modulation_into")
    return kept


def full_weights(saved: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Full weights from the content of an adapter file.

    Args:
        saved: as ``adapter_weights`` returns it, or full tensors only.
        own: ``state_dict()`` of the base generator, whose kernels the factors multiply.
    """
    plain = {name: tensor for name, tensor in saved.items() if not name.startswith((_OUT, _INTO))}
    for name, out in saved.items():
        if name.startswith(_OUT):
            kernel = own[name.removeprefix(_OUT)]
            into = saved[_INTO + name.removeprefix(_OUT)]
            plain[name.removeprefix(_OUT)] = _modulated(kernel, out.to(kernel.device), into.to(kernel.device))
    return plain

"""A few numbers for each kernel that change what a trained generator draws, for one species.

Zhao et al. 2022, "Few-shot Image Generation via Adaptation-Aware Kernel Modulation" (arXiv 2210.16559): the kernel of a
convolution is not trained but multiplied by 1 + M, and M has low rank, here one: W'[o, i] = W[o, i] * (1 + out[o] * into[i]) for every
position of the kernel. Vectors (biases, and with them the scales and shifts of conditional normalisation) and embeddings get an offset.
Unlike there, every 3x3 kernel is modulated and none is trained whole, so that a species needs kilobytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

__all__ = ["adapter_weights", "full_weights", "modulate"]

GAIN = 8.0
"""How much faster offsets and kernels move than the optimiser's rate says: there are few of them, and few steps."""

_OUT, _INTO = "factor_out.", "factor_into."  # before the name of a kernel in an adapter's file
_PART = ".parametrizations."


class _Factors(nn.Module):
    """Rank-one modulation of a kernel; at first none, as the one over output channels is zero."""

    def __init__(self, kernel: Tensor, random: torch.Generator) -> None:
        super().__init__()
        self.modulation_out = nn.Parameter(torch.zeros(kernel.shape[0]))
        # both signs: were all of them alike, the normalisation behind the convolution would undo what the other does
        self.modulation_into = nn.Parameter(GAIN * torch.randn(kernel.shape[1], generator=random))

    def forward(self, kernel: Tensor) -> Tensor:
        return _modulated(kernel, self.modulation_out, self.modulation_into)


class _Offset(nn.Module):
    """What is added to a tensor; at first nothing."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.modulation_offset = nn.Parameter(torch.zeros_like(tensor))

    def forward(self, tensor: Tensor) -> Tensor:
        return tensor + GAIN * self.modulation_offset


def _modulated(kernel: Tensor, out: Tensor, into: Tensor) -> Tensor:
    return kernel * (1 + out[:, None] * into)[:, :, None, None]


def modulate(generator: nn.Module, adaptable: Collection[str], seed: int) -> set[str]:
    """Put factors on a generator's 3x3 kernels and offsets on its vectors and embeddings; it draws as before until they learn.

    Args:
        generator: its optimiser must be built afterwards.
        adaptable: names of the parameters that may be changed.
        seed: of the factors' start.

    Returns:
        names of the new parameters, those that learn.
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
    """What an adapter's file keeps of a generator's ``state_dict()``: offsets are added to what they belong to, factors stay factors.

    The state of a generator that was not modulated comes back as it is.
    """
    kept = dict(state)
    for key in state:
        place, dot, own = key.rpartition(".0.")  # PATH.parametrizations.PART, and what is in it
        path, _, part = place.rpartition(_PART)
        name = f"{path}.{part}"
        if own == "modulation_offset":
            kept[name] = kept.pop(f"{place}.original") + GAIN * kept.pop(key)
        elif own == "modulation_out":
            kept[name] = kept.pop(f"{place}.original")
            kept[_OUT + name], kept[_INTO + name] = kept.pop(key), kept.pop(f"{place}{dot}modulation_into")
    return kept


def full_weights(saved: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that an adapter's file stands for.

    Args:
        saved: as ``adapter_weights`` gives it, or whole tensors alone.
        own: ``state_dict()`` of the base generator, whose kernels the factors multiply.
    """
    plain = {name: tensor for name, tensor in saved.items() if not name.startswith((_OUT, _INTO))}
    for name, out in saved.items():
        if name.startswith(_OUT):
            kernel = own[name.removeprefix(_OUT)]
            into = saved[_INTO + name.removeprefix(_OUT)]
            plain[name.removeprefix(_OUT)] = _modulated(kernel, out.to(kernel.device), into.to(kernel.device))
    return plain

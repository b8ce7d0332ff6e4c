"""Low-rank adapters (LoRA): Hu et al. 2021, arXiv 2106.09685, equation 3. The weights stay as they are; each layer learns a small correction.

Library: peft, Apache-2.0, of the extra ``diffusion``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from syntype.errors import UnsupportedError

__all__ = ["adapted_layers", "add_adapters", "require_peft"]


def require_peft() -> Any:
    """The package peft.

    Raises:
        UnsupportedError: It is not installed.
    """
    try:
        import peft
    except ImportError as error:
        raise UnsupportedError(
            f"tune 'lora' needs the package {error.name}. Install it: pip install 'syntype[diffusion]', or set tune to 'last' or 'all'."
        ) from None
    return peft


def add_adapters(network: nn.Module, rank: int, seed: int) -> Any:
    """Add adapters to the layers of a network, in place. Only they require gradients; at first the network's output stays the same.

    A layer's weight W becomes W + 2 B A, where A has ``rank`` rows and B as many columns.

    Args:
        network: The network.
        rank: Rank of each correction.
        seed: Seed of A; B starts at zero.

    Returns:
        peft's model around the network. Its ``merge_and_unload()`` adds the corrections to the weights and takes the adapters away.

    Raises:
        UnsupportedError: peft is not installed.
    """
    peft = require_peft()
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, bias="none", target_modules=adapted_layers(network))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return peft.get_peft_model(network, config)


def adapted_layers(network: nn.Module) -> list[str]:
    """Names of the layers that get adapters: the linear ones, those of attention, and the convolutions that mix all channels, but for the first one,
    which sees the pixels."""
    attention = tuple(f"{name}." for name, layer in network.named_modules() if isinstance(layer, nn.MultiheadAttention))
    found = []
    for name, layer in network.named_modules():
        dense = isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1 and layer.in_channels > 3)
        # an attention layer of PyTorch uses the weights of its parts without calling them, so it is adapted as a whole
        if isinstance(layer, nn.MultiheadAttention) or (dense and not name.startswith(attention)):
            found.append(name)
    return found

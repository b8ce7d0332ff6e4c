"""The layers of a pre-trained backbone, from its input to its output: which of them are trained, and how fast.

timm defines the layers of its networks. Those of open_clip's image towers are defined here, in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from syntype.encoders import SCRATCH, Backbone
from syntype.errors import UnsupportedError

__all__ = ["freeze_early_layers", "layer_numbers", "parameter_groups"]

_EARLY = 0.75
"""Part of a backbone's layers that ``tune="last"`` keeps. Of Lite2, the last quarter holds 76 % of the weights, and a step takes a half (128 px) to a
quarter (224 px) of the time of one that trains all."""
_OPEN_CLIP = {
    "stem": r"^conv1|^class_embedding|^positional_embedding|^ln_pre",
    "blocks": [(r"^transformer\.resblocks\.(\d+)", None), (r"^ln_post|^proj|^attn_pool", (99999,))],  # timm's mark for "with the block before"
}
"""Layers of an image transformer of open_clip, in timm's notation, which gives timm's transformers the same ones."""


def layer_numbers(backbone: Backbone, *, coarse: bool = False) -> dict[str, int]:
    """Number of the layer of each parameter, from 0 (next to the image).

    Args:
        backbone: A pre-trained backbone.
        coarse: Whole stages instead of blocks, where timm makes that difference.

    Raises:
        UnsupportedError: Neither timm nor this module defines the layers of the network.
    """
    from timm.models import group_parameters  # slow to import

    network: Any = backbone.network
    trunk, inner = ("trunk.", network.trunk) if hasattr(network, "trunk") else ("", network)  # open_clip puts timm's networks there
    matcher: dict[str, Any] | Callable[[str], Any]
    if hasattr(inner, "group_matcher"):
        matcher = inner.group_matcher(coarse=coarse)
    elif isinstance(getattr(inner, "transformer", None), nn.Module):
        matcher = _OPEN_CLIP
    else:
        raise UnsupportedError(
            f"backbone {backbone.name}: the order of its layers is not known. Set tune to 'all', 'lora' or 'head', and layer_decay to 1."
        )
    numbers = {trunk + name: number for name, number in group_parameters(inner, matcher, reverse=True).items()}
    last = max(numbers.values())
    return {name: numbers.get(name, last) for name, _ in network.named_parameters()}


def freeze_early_layers(backbone: Backbone) -> None:
    """Freeze the first three quarters of the layers of a pre-trained backbone. Autograd then skips them. ``scratch`` is left as it is.

    Raises:
        UnsupportedError: See ``layer_numbers``.
    """
    if backbone.name == SCRATCH:
        return
    numbers = layer_numbers(backbone, coarse=True)
    num_layers = len(set(numbers.values()))
    for name, parameter in backbone.network.named_parameters():
        parameter.requires_grad_(numbers[name] >= _EARLY * num_layers)


def parameter_groups(network: nn.Module, weight_decay: float, highest: float, scales: dict[str, float] | None = None) -> list[dict[str, Any]]:
    """Parameter groups of an optimiser, each with its highest learning rate ``highest``.

    Weight decay acts on matrices and convolution kernels only: not on biases, factors of normalisations, or what the network itself exempts (in
    transformers the embeddings of positions and of the class).

    Args:
        network: Its parameters that require gradients are grouped.
        weight_decay: Weight decay.
        highest: Highest learning rate.
        scales: Factor on the learning rate of each parameter, by name; None for 1.
    """
    exempt: set[str] = set(network.no_weight_decay()) if hasattr(network, "no_weight_decay") else set()  # type: ignore[operator]
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decay = 0.0 if parameter.ndim <= 1 or name in exempt else weight_decay
            rate = highest * (1.0 if scales is None else scales[name])
            group = groups.setdefault((decay, rate), {"params": [], "weight_decay": decay, "lr": rate, "highest": rate})
            group["params"].append(parameter)
    return list(groups.values())

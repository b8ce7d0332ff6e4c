"""What training an adapter on a base needs, before anything is downloaded: parameters, size of the adapter, memory of the graphics card.

The networks are built from their configurations without weights (torch's device ``meta``), and one step is followed without computing anything, in
order to count the tensors that the backward pass would need. Memory is an estimate and none of it is measured:

    training = weights (2 bytes a parameter) of everything that is loaded
             + 20 bytes a parameter of the adapter: itself, its gradient, two states of AdamW, its moving average, each in float32
             + the input of every block, which gradient checkpointing keeps (Chen et al. 2016, arXiv 1604.06174)
             + twice the tensors that the largest block keeps while its backward pass runs: they and their gradients
             + 1 GB for CUDA itself
    sampling = weights + what decoding the image or one block of the denoiser needs, whichever is more + 1 GB
    sampling with parts moved to the card one by one = the largest part with what it needs + 1 GB

Attention counts as computed in tiles (Dao et al. 2022, arXiv 2205.14135), which does not keep the matrix of all pairs. Decoding counts four tensors
of the image's height and width with the channels of the decoder's second block, in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

from syntype.errors import InputError, UnsupportedError, shortened
from syntype.generators.pretrained.bases import Description

__all__ = ["Estimate", "card_gb", "estimate"]

_GB = 2**30
_CUDA = 1 * _GB
"""Bytes that the driver and the libraries take on the card, roughly."""
_USABLE = 0.9
"""Share of a card's memory that is counted on; the rest is lost in gaps or used by the screen."""
_CARDS = (6, 8, 10, 12, 16, 24, 32, 40, 48, 80, 96, 141)
"""GB of the graphics cards that are common."""
_CLIP_TOKENS, _FLOW_TOKENS = 77, 512
"""Length of a text for the two kinds of base."""


@dataclass(frozen=True)
class Estimate:
    """What a base needs. Memory is in GB of 2**30 bytes, as graphics cards count it.

    Attributes:
        description: the base.
        parameters: number of each part, by its name.
        rank: of the adapter.
        adapter_parameters: number of the adapter's parameters.
        size: side of the images in pixels.
        batch_size: photographs in each step on one card.
        training_gb: memory to train.
        sampling_gb: memory to generate one image at a time with guidance.
        offloaded_gb: the same with the parts moved to the card one by one.
    """

    description: Description
    parameters: Mapping[str, int]
    rank: int
    adapter_parameters: int
    size: int
    batch_size: int
    training_gb: float
    sampling_gb: float
    offloaded_gb: float

    @property
    def adapter_mb(self) -> float:
        """Size of the adapter's file in MB (10**6 bytes): float32."""
        return 4 * self.adapter_parameters / 1e6

    def fits(self, card: float) -> bool:
        """Whether training fits on a card of so many GB."""
        return self.training_gb <= _USABLE * card

    @property
    def smallest_card(self) -> int | None:
        """GB of the smallest common card on which training fits; None if it fits on none."""
        return next((card for card in _CARDS if self.fits(card)), None)

    def plan(self, card: float | None = None) -> dict[str, Any]:
        """What ``--dry-run`` prints.

        Args:
            card: GB of the card at hand; None without one.
        """
        here = "no graphics card here" if card is None else f"{'fits' if self.fits(card) else 'does not fit'} on the card here ({card:.0f} GB)"
        need = f"a card of {self.smallest_card} GB or more" if self.smallest_card else "more than any one card has"
        return {
            "base": self.description.name,
            "base_licence": self.description.licence_words,
            "parameters": {part: f"{number / 1e6:,.0f} million" for part, number in self.parameters.items()},
            "adapter": f"rank {self.rank}, {self.adapter_parameters / 1e6:,.1f} million parameters, {self.adapter_mb:,.0f} MB",
            "memory_to_train_gb": round(self.training_gb, 1),
            "memory_to_generate_gb": round(self.sampling_gb, 1),
            "memory_to_generate_part_by_part_gb": round(self.offloaded_gb, 1),
            "card": f"needs {need} to train; {here}. Memory is estimated from the configuration, not measured",
        }


def estimate(description: Description, *, rank: int, size: int, batch_size: int = 1, adapted: Sequence[str]) -> Estimate:
    """Estimate what training an adapter needs; see the head of this module for the formula.

    Args:
        description: the base, as from ``describe_base``.
        rank: of the adapter.
        size: side of the images in pixels; what the denoiser cannot divide is rounded up.
        batch_size: photographs in each step on one card.
        adapted: ends of the names of the layers that get an adapter, such as ``to_q``.

    Raises:
        UnsupportedError: ``transformers``, which builds text encoders, is not installed, or a class in the configuration is not known to it.
        InputError: a configuration cannot be built, or no layer has such a name.
    """
    with torch.device("meta"):
        networks = {part: _build(description, part) for part in description.configs}
        denoiser = networks.get("unet") or networks.get("transformer")
        if denoiser is None:
            raise InputError("has neither a unet nor a transformer", "Copy or download the folder again.", file=description.name)
        vae = networks["vae"]
        layers = [
            layer for name, layer in denoiser.named_modules() if isinstance(layer, nn.Linear) and name.endswith(tuple(f".{end}" for end in adapted))
        ]
        if not layers:
            raise InputError(f"has no layer called {', '.join(adapted)}", "Choose other layers for the adapter.", file=description.name)
        step = _followed_step(denoiser, layers, description, size, 2 ** (len(vae.config.block_out_channels) - 1), batch_size)
        one = _followed_step(denoiser, layers, description, size, 2 ** (len(vae.config.block_out_channels) - 1), 2)
    parameters = {part: sum(parameter.numel() for parameter in network.parameters()) for part, network in networks.items()}
    adapter = rank * sum(layer.in_features + layer.out_features for layer in layers)
    weights = {part: 2 * number for part, number in parameters.items()}
    decoding = 4 * 4 * size * size * int(vae.config.block_out_channels[1])
    working = {part: decoding if part == "vae" else one.largest if part in ("unet", "transformer") else 0 for part in weights}
    return Estimate(
        description,
        parameters,
        rank,
        adapter,
        size,
        batch_size,
        (sum(weights.values()) + 20 * adapter + step.kept + 2 * step.largest + _CUDA) / _GB,
        (sum(weights.values()) + max(working.values()) + _CUDA) / _GB,
        (max(weights[part] + working[part] for part in weights) + _CUDA) / _GB,
    )


def card_gb() -> float | None:
    """Memory of the first graphics card in GB of 2**30 bytes; None without one."""
    if not torch.cuda.is_available():
        return None
    return float(torch.cuda.get_device_properties(0).total_memory / _GB)


def _build(description: Description, part: str) -> Any:
    """A part of a base without weights."""
    config = dict(description.configs[part])
    try:
        if "_class_name" in config:
            import diffusers

            return getattr(diffusers, config["_class_name"]).from_config(config)
        import transformers

        kind, settings = config["architectures"][0], {key: value for key, value in config.items() if key not in ("model_type", "architectures")}
        known = transformers.AutoConfig.for_model(config["model_type"], **settings)
        return getattr(transformers, kind)(known)
    except ModuleNotFoundError as error:
        raise UnsupportedError(f"text encoders need the package {error.name}. Install it with: pip install 'syntype[diffusion]'") from None
    except AttributeError as error:
        raise UnsupportedError(
            f"{description.name}: its {part} needs newer libraries ({error}). Install them with: pip install -U diffusers transformers"
        ) from None
    except Exception as error:  # of settings that do not fit the class
        reason = shortened(" ".join(str(error).split()), 150)
        raise InputError(
            f"the configuration of {part} cannot be used ({reason})", "Copy or download the folder again.", file=description.name
        ) from None


@dataclass
class _Step:
    """Bytes that one training step needs besides the weights: those kept until its end, and those of the largest block alone."""

    kept: int = 0
    largest: int = 0


def _followed_step(denoiser: Any, layers: Iterable[nn.Linear], description: Description, size: int, downsampling: int, batch_size: int) -> _Step:
    """Follow the forward pass of a training step with gradient checkpointing. The input of a layer with an adapter is kept, as if it were trained."""
    nn.Module.to(denoiser, torch.bfloat16)
    denoiser.requires_grad_(False).train()
    step, weights = _Step(), {_place(tensor) for tensor in (*denoiser.parameters(), *denoiser.buffers())}
    for layer in layers:
        layer.weight.requires_grad_(True)

    def checkpointed(block: Callable[..., Any], *inputs: Any) -> Any:
        for value in inputs:
            if isinstance(value, Tensor):
                outer.setdefault(_place(value), value)
        with _kept(weights) as inner:
            result = block(*inputs)
        step.largest = max(step.largest, _num_bytes(inner))
        return result

    denoiser.enable_gradient_checkpointing(checkpointed)
    with _TiledAttention(), _kept(weights) as outer:
        _call(denoiser, description, size, downsampling, batch_size)
    step.kept = _num_bytes(outer)
    return step


def _call(denoiser: Any, description: Description, size: int, downsampling: int, batch_size: int) -> Any:
    """One forward pass on tensors without content."""
    config, side = denoiser.config, math.ceil(size / downsampling)

    def empty(*shape: int) -> Tensor:
        return torch.empty(batch_size, *shape, dtype=torch.bfloat16)

    if description.kind == "flow":
        tokens = math.ceil(side / 2) ** 2  # 2 x 2 latents are one token
        return denoiser(
            hidden_states=empty(tokens, config.in_channels),
            encoder_hidden_states=empty(_FLOW_TOKENS, config.joint_attention_dim),
            timestep=empty(),
            img_ids=torch.empty(batch_size, tokens, 4),
            txt_ids=torch.empty(batch_size, _FLOW_TOKENS, 4),
        )
    side = math.ceil(side / 2 ** (len(config.block_out_channels) - 1)) * 2 ** (len(config.block_out_channels) - 1)
    more = None
    if config.addition_embed_type == "text_time":
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        more = {"text_embeds": empty(pooled), "time_ids": empty(6)}
    text = empty(_CLIP_TOKENS, config.cross_attention_dim)
    return denoiser(empty(config.in_channels, side, side), empty(), text, added_cond_kwargs=more)


@contextmanager
def _kept(weights: set[int]) -> Iterator[dict[int, Tensor]]:
    """Collect the tensors that the backward pass of what runs inside needs, without the weights; one for each memory."""
    found: dict[int, Tensor] = {}

    def keep(value: Tensor) -> Tensor:
        if _place(value) not in weights:
            found.setdefault(_place(value), value)
        return value

    with saved_tensors_hooks(keep, lambda value: value):
        yield found


def _place(value: Tensor) -> int:
    """A number for the memory of a tensor: views have that of the tensor of which they are views."""
    return int(value.untyped_storage()._cdata)


def _num_bytes(tensors: Mapping[int, Tensor]) -> int:
    return sum(value.untyped_storage().nbytes() for value in tensors.values())


class _Tiled(torch.autograd.Function):
    """The tensors that attention in tiles keeps: its inputs and its output."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """An output without content."""
        result = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, result)
        return result


class _TiledAttention(TorchFunctionMode):
    """Without content torch would follow attention that keeps the matrix of all pairs; on a graphics card it does not."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            named = dict(zip(("query", "key", "value"), args, strict=False)) | (kwargs or {})
            return _Tiled.apply(named["query"], named["key"], named["value"])
        return func(*args, **(kwargs or {}))

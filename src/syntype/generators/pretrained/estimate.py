"""What training an adapter on a base needs, before anything is downloaded: parameters, size of the adapter, memory of the graphics card.

The networks are built from their configurations without weights (torch's device ``meta``), and one step is followed without computing anything, in
order to count the tensors that the backward pass would need. Memory is an estimate and none of it is measured:

    sampling = weights of all parts + what decoding an image or one block of the denoiser needs, whichever is more + 1 GB for CUDA itself
    with offload = the largest of: the text encoders; the denoiser and one block; the autoencoder and decoding; + 1 GB
    training = 20 bytes a parameter of the adapter: itself, its gradient, two states of AdamW, its moving average, each in float32
             + the larger of: sampling, for the previews;
               and the weights of the denoiser and the autoencoder
               + the tensors that are kept for the backward pass; with gradient checkpointing the input of every block alone, and twice the
                 tensors of the largest block, which are computed again (Chen et al. 2016, arXiv 1604.06174)
               + 1 GB

A parameter takes 2 bytes in bf16 and 4 in fp32. Attention counts as computed in tiles (Dao et al. 2022, arXiv 2205.14135), which
does not keep the matrix of all pairs. Decoding counts four tensors of the image's height and width with the channels of the decoder's second block,
in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

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
_CLIP_TOKENS = 77
"""Length of a text for bases with CLIP."""


@dataclass(frozen=True)
class Estimate:
    """What a base needs. Memory is in GB of 2**30 bytes, as graphics cards count it.

    Attributes:
        description: the base.
        parameters: number of each part, by its name.
        rank: of the adapter.
        adapter_parameters: number of the adapter's parameters.
        training_gb: memory to train as asked.
        least_gb: memory to train one image at a time with gradient checkpointing.
        sampling_gb: memory to generate one image at a time, with guidance.
        offload_gb: the same with one part of the base on the card at a time.
    """

    description: Description
    parameters: Mapping[str, int]
    rank: int
    adapter_parameters: int
    training_gb: float
    least_gb: float
    sampling_gb: float
    offload_gb: float

    @property
    def adapter_mb(self) -> float:
        """Size of the adapter's file in MB (10**6 bytes): float32."""
        return 4 * self.adapter_parameters / 1e6

    def plan(self, card: float | None, less: str) -> dict[str, Any]:
        """What ``--dry-run`` prints.

        Args:
            card: GB of the card at hand; None without one.
            less: options with which training needs the least memory.
        """
        lines = {
            "base": self.description.name,
            "licence_of_base": self.description.licence_words,
            "parameters": {part: f"{number / 1e6:,.0f} million" for part, number in self.parameters.items()},
            "adapter": f"rank {self.rank}, {self.adapter_parameters / 1e6:,.1f} million parameters, {self.adapter_mb:,.0f} MB",
            "gb_to_train": round(self.training_gb, 1),
            "gb_to_generate": round(self.sampling_gb, 1),
            "gb_to_generate_with_offload": round(self.offload_gb, 1),
            "card": f"to train, {_smallest(self.training_gb)}; {_here(self.training_gb, card)}",
        }
        if _smallest(self.least_gb) != _smallest(self.training_gb):
            lines["with_less_memory"] = f"{self.least_gb:.1f} GB, {_smallest(self.least_gb)}, with {less}; {_here(self.least_gb, card)}"
        return {**lines, "memory": "estimated from the configuration, not measured"}


def _fits(need: float, card: float) -> bool:
    return need <= _USABLE * card


def _smallest(need: float) -> str:
    """The smallest common card on which so many GB fit, in words."""
    card = next((card for card in _CARDS if _fits(need, card)), None)
    return f"a card of {card} GB or more" if card else "more than one card has"


def _here(need: float, card: float | None) -> str:
    if card is None:
        return "no graphics card here"
    return f"{'fits' if _fits(need, card) else 'does not fit'} on the card here ({card:.0f} GB)"


def estimate(
    description: Description,
    *,
    adapted: Sequence[str],
    rank: int,
    shape: tuple[int, int],
    images_at_once: int,
    gradient_checkpointing: bool,
    precision: Literal["bf16", "fp32"] = "bf16",
    text_tokens: int = 512,
) -> Estimate:
    """Estimate what training an adapter needs; see the head of this module for the formula.

    Args:
        description: the base, as from ``describe_base``.
        adapted: ends of the names of the layers that get an adapter, such as ``to_q``.
        rank: of the adapter.
        shape: height and width of the images in pixels; what the denoiser cannot divide is rounded up.
        images_at_once: photographs that are computed at a time on one card.
        gradient_checkpointing: whether blocks are computed twice to save memory.
        precision: number format of the base's weights.
        text_tokens: length of a text, for bases of the kind ``flow``; 77 for the others.

    Raises:
        UnsupportedError: ``transformers``, which builds text encoders, is not installed, or the libraries do not know a class in a configuration.
        InputError: a configuration cannot be used, or no layer has such a name.
    """
    with torch.device("meta"):
        networks = {part: _build(description, part) for part in description.configs}
        denoiser, vae = networks.get("unet") or networks.get("transformer"), networks.get("vae")
        if denoiser is None or vae is None:
            raise InputError("has no unet or transformer, or no vae", "Copy or download the folder again.", file=description.name)
        ends = tuple(f".{end}" for end in adapted)
        layers = [layer for name, layer in denoiser.named_modules() if isinstance(layer, nn.Linear) and name.endswith(ends)]
        if not layers:
            raise InputError(f"has no layer called {', '.join(adapted)}", "Choose other layers for the adapter.", file=description.name)
        parameters = {part: sum(parameter.numel() for parameter in network.parameters()) for part, network in networks.items()}
        channels = vae.config.block_out_channels
        sides = (math.ceil(shape[0] / 2 ** (len(channels) - 1)), math.ceil(shape[1] / 2 ** (len(channels) - 1)))
        nn.Module.to(denoiser, torch.bfloat16)
        denoiser.requires_grad_(False).train()
        for layer in layers:
            layer.weight.requires_grad_(True)  # its input is kept, as if it were trained
        least = _follow(denoiser, description.kind, sides, text_tokens, 1, checkpointing=True)
        asked = least
        if images_at_once != 1 or not gradient_checkpointing:
            asked = _follow(denoiser, description.kind, sides, text_tokens, images_at_once, checkpointing=gradient_checkpointing)
    adapter = rank * sum(layer.in_features + layer.out_features for layer in layers)
    weights = {part: (2 if precision == "bf16" else 4) * number for part, number in parameters.items()}
    frozen = sum(number for part, number in weights.items() if not part.startswith("text_encoder"))
    decoding = 4 * 4 * shape[0] * shape[1] * int(channels[1])
    sampling = sum(weights.values()) + max(decoding, 2 * least.largest) + _CUDA  # two at a time: with and without the text

    offload = max(sum(weights.values()) - frozen, weights["vae"] + decoding, frozen - weights["vae"] + 2 * least.largest) + _CUDA

    def training(step: _Step) -> float:
        return (20 * adapter + max(sampling, frozen + step.kept + 2 * step.largest + _CUDA)) / _GB

    return Estimate(description, parameters, rank, adapter, training(asked), training(least), sampling / _GB, offload / _GB)


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
    """Bytes that one training step needs besides weights and adapter: those kept until its end, and those of the largest block that is computed
    again."""

    kept: int = 0
    largest: int = 0


def _follow(denoiser: Any, kind: str, sides: tuple[int, int], text_tokens: int, num_images: int, *, checkpointing: bool) -> _Step:
    """Follow the forward pass of a training step without computing anything.

    Args:
        sides: height and width of the latents.
    """
    step, weights = _Step(), {_place(tensor) for tensor in (*denoiser.parameters(), *denoiser.buffers())}

    def checkpointed(block: Callable[..., Any], *inputs: Any) -> Any:
        kept.update({_place(value): value for value in inputs if isinstance(value, Tensor)})
        with _kept(weights) as inner:
            result = block(*inputs)
        step.largest = max(step.largest, _num_bytes(inner))
        return result

    if checkpointing:
        denoiser.enable_gradient_checkpointing(checkpointed)
    else:
        denoiser.disable_gradient_checkpointing()
    with _TiledAttention(), _kept(weights) as kept:
        _call(denoiser, kind, sides, text_tokens, num_images)
    step.kept = _num_bytes(kept)
    return step


def _call(denoiser: Any, kind: str, sides: tuple[int, int], text_tokens: int, num_images: int) -> Any:
    """One forward pass on tensors without content."""
    config = denoiser.config

    def empty(*shape: int) -> Tensor:
        return torch.empty(num_images, *shape, dtype=torch.bfloat16)

    if kind == "flow":
        tokens = math.ceil(sides[0] / 2) * math.ceil(sides[1] / 2)  # 2 x 2 latents are one token
        return denoiser(
            hidden_states=empty(tokens, config.in_channels),
            encoder_hidden_states=empty(text_tokens, config.joint_attention_dim),
            timestep=empty(),
            img_ids=torch.empty(num_images, tokens, 4),
            txt_ids=torch.empty(num_images, text_tokens, 4),
        )
    halved = 2 ** (len(config.block_out_channels) - 1)
    height, width = (math.ceil(side / halved) * halved for side in sides)
    more = None
    if config.addition_embed_type == "text_time":
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        more = {"text_embeds": empty(pooled), "time_ids": empty(6)}
    text = empty(_CLIP_TOKENS, config.cross_attention_dim)
    return denoiser(empty(config.in_channels, height, width), empty(), text, added_cond_kwargs=more)


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

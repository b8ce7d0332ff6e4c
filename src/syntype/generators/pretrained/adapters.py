"""Low-rank adapters: two small matrices for each adapted layer, whose product is added to the layer's frozen weights.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv 2106.09685), eq. 3. The layers are peft's (Apache-2.0).

An adapter's tensors have the names that diffusers' ``load_lora_weights`` reads, and a scale of 1 (alpha equals the rank), which is what diffusers
assumes where a file says nothing else: the file ``weights.safetensors`` of a generator is an adapter that other programs load as it is.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from syntype.errors import InputError, UnsupportedError, shortened
from syntype.files import read_json_object
from syntype.generators.pretrained.few_steps import FewSteps
from syntype.generators.pretrained.species_tokens import NAME as TOKENS_NAME
from syntype.generators.pretrained.species_tokens import SpeciesTokens
from syntype.generators.pretrained.text_to_image import TextToImage

__all__ = ["adamw", "adapted_layers", "add_adapter", "add_few_steps", "read_adapter", "read_tokens", "use_few_steps"]

_FEW_STEPS = "few_steps"
"""Name of the adapter for few steps."""


def adapted_layers(model: TextToImage, rank: int) -> dict[str, int]:
    """The rank of a new adapter in each of the layers that it changes, by the layer's name in the denoiser."""
    ends = tuple(f".{end}" for end in model.adapted)
    return {name: rank for name, module in model.denoiser.named_modules() if name.endswith(ends) and isinstance(module, nn.Linear)}


def add_adapter(model: TextToImage, ranks: Mapping[str, int], name: str = "default") -> nn.Module:
    """Add a new adapter to the denoiser: the first matrix of each layer is random, the second zero, so that nothing changes yet.

    Args:
        ranks: of each layer, by its name in the denoiser.
        name: of the adapter. What adapters of several names add to a layer's output is summed.

    Returns:
        a module that holds the adapter's tensors alone, float32, by the names that diffusers reads.

    Raises:
        InputError: the denoiser has no such layer.
    """
    from peft import LoraConfig

    layers = dict(model.denoiser.named_modules())
    if unknown := [name for name in ranks if name not in layers]:
        raise InputError(f"the base {model.base.name} has no layer {shortened(unknown[0])}", "Use the base on which the adapter was trained.")
    patterns = {f"^{re.escape(name)}": rank for name, rank in ranks.items()}
    highest = max(ranks.values())
    wanted = "|".join(re.escape(name) for name in ranks)
    earlier = model.denoiser.active_adapters() if hasattr(model.denoiser, "peft_config") else []
    config = LoraConfig(r=highest, lora_alpha=highest, target_modules=wanted, rank_pattern=patterns, alpha_pattern=patterns)
    with _several_adapters():
        model.denoiser.add_adapter(config, name)
    model.denoiser.set_adapter([*([earlier] if isinstance(earlier, str) else earlier), name])
    return _tensors_of(model, name)


def read_adapter(model: TextToImage, path: str) -> tuple[nn.Module, dict[str, int], tuple[str, ...]]:
    """Add an adapter that was trained elsewhere, in the format of diffusers, peft or kohya. Its scale is multiplied into its tensors.

    Args:
        path: a .safetensors file, or a folder with one.

    Returns:
        its tensors, as from ``add_adapter``; the rank in each layer; sentences on what was left out.

    Raises:
        InputError: the file is no adapter, or one for another base.
    """
    from peft.tuners.lora import LoraLayer
    from safetensors import safe_open

    file = _file_of(path)
    another = "Give an adapter (LoRA) that was trained on this base."
    try:
        with safe_open(file, "pt") as opened:
            every = list(opened.keys())
        given = model.read_adapter(str(file))
    except Exception as error:  # diffusers and peft raise anything on files that do not fit
        reason = shortened(" ".join(str(error).split()), 200)
        raise InputError(f"cannot be read as an adapter of {model.base.name} ({reason})", another, file=path) from None
    layers: dict[str, Any] = {name: layer for name, layer in model.denoiser.named_modules() if isinstance(layer, LoraLayer)}
    with torch.no_grad():
        for layer in layers.values():
            layer.lora_B["default"].weight.mul_(layer.scaling["default"])
            layer.scaling["default"] = 1.0
    adapter = _tensors_of(model, "default")
    if not layers or len(adapter.state_dict()) != len(given):
        raise InputError(f"changes other layers than {model.base.name} has, or in another way than LoRA", another, file=path)
    others = [name for name in every if re.match(r"(lora_te|text_encoder|te[12]?[._])", name)]
    remarks = [f"{path} also changes the text encoder ({len(others)} tensors); this part is left out."] if others else []
    return adapter, {name: int(layer.r["default"]) for name, layer in layers.items()}, tuple(remarks)


def add_few_steps(model: TextToImage, few_steps: FewSteps) -> None:
    """Add an adapter for few steps beside the others; it is not used before ``use_few_steps``.

    Raises:
        InputError: the file is no adapter, or one for another base.
    """
    try:
        with _several_adapters():
            model.read_adapter(str(few_steps.path), _FEW_STEPS)
    except Exception as error:  # diffusers and peft raise anything on files that do not fit
        reason = f"cannot be read as an adapter of {model.base.name} ({shortened(' '.join(str(error).split()), 200)})"
        raise InputError(reason, "Give an adapter for few steps (LoRA) that was made for this base.", file=few_steps.name) from None
    for name, parameter in model.denoiser.named_parameters():
        if f".{_FEW_STEPS}." in name:
            parameter.data = parameter.data.to(model.dtype)
            parameter.requires_grad_(False)
    use_few_steps(model, False)


def use_few_steps(model: TextToImage, wanted: bool) -> None:
    """Use all adapters, or all but that for few steps; which of them are trained stays as it is."""
    names = [name for name in model.denoiser.peft_config if wanted or name != _FEW_STEPS]
    trained = [(parameter, parameter.requires_grad) for parameter in model.denoiser.parameters()]
    model.denoiser.set_adapter(names)
    for parameter, flag in trained:
        parameter.requires_grad_(flag)


def adamw(parameters: Iterable[nn.Parameter], rate: float, weight_decay: float, *, eight_bit: bool) -> torch.optim.Optimizer:
    """AdamW, or that of bitsandbytes whose two averages take 8 bits (Dettmers et al. 2022, arXiv 2110.02861).

    Raises:
        UnsupportedError: bitsandbytes is not installed.
    """
    if not eight_bit:
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=weight_decay, fused=True)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ModuleNotFoundError:
        raise UnsupportedError(
            "eight_bit needs the package bitsandbytes. Install it with: pip install bitsandbytes, or leave eight_bit out."
        ) from None
    found: torch.optim.Optimizer = AdamW8bit(parameters, lr=rate, weight_decay=weight_decay)
    return found


def read_tokens(tokens: SpeciesTokens | None, path: str, weights: str | None) -> tuple[str, ...]:
    """Take over how an adapter that was trained elsewhere tells species by their photographs; their rows are not needed.

    Args:
        tokens: what is to know it; None for a generator without.
        path: the adapter, as for ``read_adapter``.
        weights: source of the weights of the encoder with which ``tokens`` is to be used.

    Returns:
        sentences on what was left out.

    Raises:
        InputError: the adapter was trained with another number of tokens, or another encoder.
    """
    from safetensors.torch import load_file

    file, begin = _file_of(path), f"{TOKENS_NAME}."
    saved = {name.removeprefix(begin): tensor for name, tensor in load_file(file).items() if name.startswith(begin)}
    if not saved:
        return ()
    config = read_json_object(file.with_name("generator.json")).get("config", {})
    asked = f"--set model.species_tokens={config.get('species_tokens')} --set model.species_encoder={config.get('species_encoder')}"
    if tokens is None:
        return (f"{path} also tells species by features of their photographs; this part is left out. To keep it, train with {asked}.",)
    rows = saved.pop("rows")
    own = {name: tensor.shape for name, tensor in tokens.state_dict().items() if name != "rows"}
    if {name: tensor.shape for name, tensor in saved.items()} != own or config.get("species_weights") != weights:
        raise InputError("tells species by other tokens, or by the features of another encoder", f"Train with {asked}.", file=path)
    tokens.load_state_dict({**saved, "rows": torch.zeros_like(tokens.rows, dtype=rows.dtype)})
    return ()


@contextmanager
def _several_adapters() -> Iterator[None]:
    """Without peft's warning that there are several adapters, as is meant."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
        yield


def _file_of(path: str) -> Path:
    place = Path(path).expanduser()
    files = sorted(place.glob("*.safetensors")) if place.is_dir() else [place]
    if len(files) != 1 or not files[0].is_file():
        raise InputError("is neither a .safetensors file nor a folder with one such file", "Give the adapter's file.", file=path)
    return files[0]


def _tensors_of(model: TextToImage, adapter: str) -> nn.Module:
    """The tensors of the adapter of this name, shared with the denoiser's layers."""
    root = nn.Module()
    for name, parameter in model.denoiser.named_parameters():
        if f".{adapter}." not in name or ".lora_" not in name:
            continue
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
        *path, last = f"{model.denoiser_part}.{name.replace(f'.{adapter}.', '.')}".split(".")
        node = root
        for step in path:
            if step not in node._modules:
                node.add_module(step, nn.Module())
            node = node.get_submodule(step)
        node.register_parameter(last, parameter)
    return root

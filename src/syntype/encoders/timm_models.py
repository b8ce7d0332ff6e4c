"""Backbones from timm (DINOv3, EVA, networks trained on iNaturalist, ...): built-in names, the Hugging Face Hub, folders and files of weights.

Library: timm, Apache-2.0. Weights have licences of their own; timm's are recorded with the weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from syntype.encoders.contract import Backbone, Preprocessing, digest_weights, name_and_file
from syntype.encoders.hub import from_hub
from syntype.errors import UnknownNameError, UnsupportedError, shortened

__all__ = ["PREFIX", "build_timm_backbone", "empty_timm_network"]

PREFIX = "timm:"


def build_timm_backbone(name: str) -> Backbone:
    """Build ``timm:NAME[:FILE]``; see ``build_backbone``.

    Raises:
        UnknownNameError: timm has no such model.
        UnsupportedError: The weights cannot be downloaded or read, or do not fit the model.
    """
    import timm

    model, file = name_and_file(name.removeprefix(PREFIX))
    is_built_in = ":" not in model
    if is_built_in and not timm.is_model(model.partition(".")[0]):
        close = timm.list_models(f"*{model.partition('.')[0][:8]}*")[:20]
        raise UnknownNameError("timm model", model, close)
    with from_hub(name, PREFIX, model):
        network: Any = timm.create_model(model, pretrained=file is None, num_classes=0)
        arguments = {} if is_built_in else _arguments(model)
    if file is not None:
        _load(network, Path(file), name, model)
    config = json.loads(json.dumps(network.pretrained_cfg, default=str))
    preprocessing = _preprocessing(network)
    fixed = preprocessing.size if config.get("fixed_input_size") else None
    architecture = {"name": config["architecture"], "pretrained_cfg": config, "arguments": arguments, "fixed_size": fixed}
    licence = f", {config['license']}" if config.get("license") and file is None else ""
    weights = f"{file or 'hub'} ({digest_weights(network)}{licence})"
    num_features = int(getattr(network, "head_hidden_size", network.num_features))
    return Backbone(name, network.eval(), num_features, tuple(config["mean"]), tuple(config["std"]), weights, preprocessing, architecture)


def empty_timm_network(architecture: dict[str, Any]) -> nn.Module:
    """The network of a ``Backbone.architecture``, with random weights. Nothing is downloaded."""
    import timm

    network: nn.Module = timm.create_model(
        architecture["name"], pretrained=False, num_classes=0, pretrained_cfg=architecture["pretrained_cfg"], **architecture["arguments"]
    )
    return network


def _arguments(model: str) -> dict[str, Any]:
    """The arguments with which a model on the Hub or in a folder is built."""
    from timm.models import load_model_config_from_hf, load_model_config_from_path

    scheme, _, place = model.partition(":")
    *_, arguments = load_model_config_from_hf(place) if scheme == "hf-hub" else load_model_config_from_path(place)
    return dict(arguments or {})


def _load(network: Any, file: Path, name: str, model: str) -> None:
    import timm

    try:
        found: Any = timm.models.load_state_dict(str(file), weights_only=True)
        network.load_state_dict({key: value for key, value in found.items() if key in network.state_dict()})
    except Exception as error:  # not readable, or tensors are missing or have another shape
        reason = shortened(str(error).partition("\n")[0], 200)
        raise UnsupportedError(f"backbone {name}: {file} does not hold weights of {model} ({reason}). Check the model's name and the file.") from None


def _preprocessing(network: Any) -> Preprocessing:
    from timm.data import create_transform, resolve_model_data_config

    settings = resolve_model_data_config(network)
    return Preprocessing(create_transform(**settings, is_training=False), int(settings["input_size"][-1]), json.loads(json.dumps(settings)))

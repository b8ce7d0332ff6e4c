"""Classifiers: what they compute features with, and how a saved one is read.

A backbone is one of those of ``build_backbone``, or ``scratch``, a small residual network for which pre-trained weights are neither bundled
nor needed (He et al. 2016, arXiv 1512.03385; basic blocks), sized so that a CPU trains it on 64 px images in minutes.

FOLDER/
  weights.safetensors   the head; the backbone too, unless it is a bundled one that was left as it is
  classifier.json       species, settings, backbone, what it was trained on, figures
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from syntype.encoders.backbones import BUNDLED, Backbone, build_backbone
from syntype.errors import InputError, UnknownNameError

__all__ = ["CLASSIFIER_SCHEMA", "COSINE_SCALE", "SCRATCH", "Head", "SavedClassifier", "SmallResNet", "build_classifier_backbone", "read_classifier"]

SCRATCH = "scratch"
CLASSIFIER_SCHEMA = 1
COSINE_SCALE = 30.0
"""Logits of a cosine head are cosines times this (Cao et al. 2019, arXiv 1906.07413, have the same)."""
_LARGE = 96
"""Side from which ``SmallResNet`` halves its maps once more."""


class SmallResNet(nn.Module):
    """About 1.2 million parameters; one block at 1/4, 1/8 and 1/16 of the input's side each. Inputs of 96 pixels and more are halved once more
    after the stem, as in He et al. 2015 (arXiv 1512.03385, table 1): at 128 pixels that takes half of the time.

    Args:
        seed: of the initial weights (He et al. 2015 normal initialisation, fan-out).
        widths: channels of the stem and the blocks.
        depth: blocks at each resolution.
    """

    def __init__(self, seed: int, widths: tuple[int, ...] = (32, 64, 128, 256), depth: int = 1) -> None:
        super().__init__()
        self.num_features = widths[-1]
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 5, 2, 2, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True))
        stages = []
        for before, after in pairwise(widths):
            stages += [_Block(before, after, 2), *(_Block(after, after, 1) for _ in range(depth - 1))]
        self.stages = nn.Sequential(*stages)
        source = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.out_channels * math.prod(module.kernel_size)
                nn.init.normal_(module.weight, 0.0, math.sqrt(2 / fan_out), generator=source)
            if isinstance(module, _Block):  # each block starts as the identity (Goyal et al. 2017, section 5.1)
                nn.init.zeros_(module.norm2.weight)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S), normalised -> (N, num_features), pooled."""
        maps = self.stem(images)
        if images.shape[-1] >= _LARGE:
            maps = F.max_pool2d(maps, 3, 2, 1)
        return self.stages(maps).mean(dim=(2, 3))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            pool = nn.AvgPool2d(stride) if stride != 1 else nn.Identity()
            self.shortcut = nn.Sequential(pool, nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu_(self.norm1(self.conv1(x)))
        return torch.relu_(self.norm2(self.conv2(inner)) + self.shortcut(x))


class Head(nn.Module):
    """Features -> logits: a linear layer, or cosines.

    A linear head gives f W^T + b. A cosine head standardises the features first, (f - centre) / spread, and gives ``COSINE_SCALE`` times the
    cosine between them and each row of W (Gidaris & Komodakis 2018, arXiv 1804.09458, section 3.2); it has no b.

    Args:
        weight: W, float32, shape (num_species, num_features).
        bias: b, shape (num_species,); of a cosine head None.
        centre, spread: of a cosine head, shape (num_features,) each.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, centre: Tensor | None = None, spread: Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self.centre: Tensor | None
        self.spread: Tensor | None
        self.register_buffer("centre", None if centre is None else centre.detach().clone())
        self.register_buffer("spread", None if spread is None else spread.detach().clone())

    @property
    def is_cosine(self) -> bool:
        """Whether logits are cosines."""
        return self.centre is not None

    @property
    def scale(self) -> float:
        """What cosines are multiplied by; 1 where logits are not cosines."""
        return COSINE_SCALE if self.is_cosine else 1.0

    def forward(self, features: Tensor) -> Tensor:
        """(N, num_features) -> (N, num_species)."""
        if self.centre is None or self.spread is None:
            return F.linear(features, self.weight, self.bias)
        return self.scale * F.linear(F.normalize((features - self.centre) / self.spread), F.normalize(self.weight))


def build_classifier_backbone(name: str, seed: int = 0) -> Backbone:
    """Build a backbone that may be trained (never one that other parts of the program share).

    Args:
        name: ``scratch``, or any name of ``syntype.encoders.build_backbone``.
        seed: of the initial weights of ``scratch``.

    Raises:
        UnknownNameError: the name is not known; the message lists what is.
        UnsupportedError: the weights cannot be had.
    """
    if name == SCRATCH:
        network = SmallResNet(seed)
        return Backbone(name, network, network.num_features, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "none (trained from scratch)")
    if name not in BUNDLED and not name.startswith("timm:"):
        raise UnknownNameError("backbone", name, [*BUNDLED, SCRATCH, "timm:NAME", "timm:NAME:FILE"])
    return build_backbone(name)


@dataclass(frozen=True)
class SavedClassifier:
    """What the folder of a classifier holds.

    Attributes:
        backbone: gives the features; its weights are filled in, and it is in inference mode.
        head: features -> logits.
        species: names, in the order of the head's rows.
        config: the settings that it was trained with.
        record: what else ``classifier.json`` says (fingerprint, counts, figures).
    """

    backbone: Backbone
    head: Head
    species: tuple[str, ...]
    config: dict[str, Any]
    record: dict[str, Any]


def read_classifier(folder: Path | str) -> SavedClassifier:
    """Read a classifier that ``syntype classify train`` saved; needs neither the internet nor the training images.

    Raises:
        InputError: the folder does not hold a classifier, or its files are damaged or from a newer version.
    """
    folder = Path(folder)
    hint = "Give the --out folder of: syntype classify train"
    if not (folder / "classifier.json").is_file() or not (folder / "weights.safetensors").is_file():
        raise InputError("is not a classifier (no classifier.json and weights.safetensors)", hint, file=folder)
    try:
        record = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "weights.safetensors")
        version, species = record.pop("schema_version"), tuple(record.pop("species"))
        config, facts = record.pop("config"), record.pop("backbone")
        name = config["backbone"]
        head = Head(**{key.removeprefix("head."): tensors.pop(key) for key in list(tensors) if key.startswith("head.")})
    except (ValueError, KeyError, AttributeError, TypeError, OSError, SafetensorError) as error:
        raise InputError(f"is damaged ({type(error).__name__}: {error})", "Train the classifier again.", file=folder) from None
    if version != CLASSIFIER_SCHEMA:
        raise InputError(f"has schema version {version}, this Syntype reads {CLASSIFIER_SCHEMA}", "Update Syntype.", file=folder)
    if tensors:
        backbone = _empty_backbone(name, facts)
        try:
            backbone.network.load_state_dict({key.removeprefix("backbone."): value for key, value in tensors.items()})
        except RuntimeError as error:
            raise InputError(f"holds weights that do not fit {name} ({error})", "Train the classifier again.", file=folder) from None
    else:
        backbone = build_classifier_backbone(name)
    backbone.network.eval()
    return SavedClassifier(backbone, head.requires_grad_(False), species, config, record)


def _empty_backbone(name: str, facts: Mapping[str, Any]) -> Backbone:
    """The network of a saved classifier, its weights yet to be filled in; nothing is fetched.

    Args:
        name: as for ``build_classifier_backbone``.
        facts: ``num_features``, ``mean``, ``std`` and ``weights`` as saved.
    """
    if name == SCRATCH:
        network: nn.Module = SmallResNet(0)
    elif name in BUNDLED:
        network = build_backbone(name).network
    else:
        import timm

        network = timm.create_model(name.split(":")[1], pretrained=False, num_classes=0)
    return Backbone(name, network, facts["num_features"], tuple(facts["mean"]), tuple(facts["std"]), facts["weights"])

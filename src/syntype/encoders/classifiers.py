"""Backbone and head of classifiers, and reading of saved classifiers.

The backbone is one of ``build_backbone``, or ``scratch``: a small ResNet (He et al. 2016, arXiv 1512.03385; basic blocks) that is trained from
random weights. It is small enough to train on 64 px images in minutes on a CPU.

A saved classifier is a folder:

    FOLDER/
      weights.safetensors   weights of the head, and of the backbone unless it is a bundled one that was not trained
      classifier.json       species, settings, backbone, training data, metrics
"""

from __future__ import annotations

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

from syntype.encoders.backbones import BUNDLED, CHOICES, build_backbone, empty_backbone, is_backbone
from syntype.encoders.contract import Backbone
from syntype.errors import InputError, UnknownNameError
from syntype.files import check_keys, load_json

__all__ = [
    "CLASSIFIER_SCHEMA",
    "COSINE_SCALE",
    "SCRATCH",
    "CacheHead",
    "Head",
    "SavedClassifier",
    "SmallResNet",
    "build_classifier_backbone",
    "head_from",
    "read_classifier",
]

SCRATCH = "scratch"
"""Name of the backbone that is trained from scratch."""
CLASSIFIER_SCHEMA = 1
"""Version of ``classifier.json``."""
COSINE_SCALE = 30.0
"""Factor on the cosines of a cosine head, as in Cao et al. 2019 (arXiv 1906.07413)."""
_AGAIN = "Copy the classifier's folder again from where it came, or train it again."
_MIN_POOLED_SIZE = 96
"""Side in pixels from which ``SmallResNet`` has a pooling layer after the stem."""


class SmallResNet(nn.Module):
    """A ResNet of about 1.2 million parameters, with one block at 1/4, 1/8 and 1/16 of the input's side.

    Inputs of 96 pixels or more are max-pooled after the stem, as in He et al. 2015 (arXiv 1512.03385, table 1). At 128 pixels this halves the
    time.

    Args:
        seed: Seed of the initial weights (normal initialisation of He et al. 2015, fan-out).
        widths: Channels of the stem and of the blocks.
        depth: Number of blocks at each resolution.
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
            if isinstance(module, _Block):  # so that each block starts as the identity (Goyal et al. 2017, section 5.1)
                nn.init.zeros_(module.norm2.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images, shape (N, 3, S, S) -> pooled features, shape (N, num_features)."""
        maps = self.stem(images)
        if images.shape[-1] >= _MIN_POOLED_SIZE:
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
    """Classification layer, features -> logits: linear or cosine.

    A linear head computes f W^T + b. A cosine head standardises the features, (f - mean) / std, and computes ``COSINE_SCALE`` times their
    cosine with each row of W, without bias (Gidaris & Komodakis 2018, arXiv 1804.09458, section 3.2).

    Args:
        weight: W, float32, shape (num_species, num_features).
        bias: b, shape (num_species,); None for a cosine head.
        mean: Mean of the features, shape (num_features,); None for a linear head.
        std: Standard deviation of the features, shape (num_features,); None for a linear head.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, mean: Tensor | None = None, std: Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self.mean: Tensor | None
        self.std: Tensor | None
        self.register_buffer("mean", None if mean is None else mean.detach().clone())
        self.register_buffer("std", None if std is None else std.detach().clone())

    @property
    def is_cosine(self) -> bool:
        """Whether this is a cosine head."""
        return self.mean is not None

    @property
    def scale(self) -> float:
        """Factor on the cosines; 1 for a linear head."""
        return COSINE_SCALE if self.is_cosine else 1.0

    def forward(self, features: Tensor) -> Tensor:
        """Features, shape (N, num_features) -> logits, shape (N, num_species)."""
        if self.mean is None or self.std is None:
            return F.linear(features, self.weight, self.bias)
        return self.scale * F.linear(F.normalize((features - self.mean) / self.std), F.normalize(self.weight))


class CacheHead(Head):
    """Names of species and training photographs together: Tip-Adapter (Zhang et al. 2022, arXiv 2207.09519, section 3.1). It is not trained.

    The logits are f W^T + alpha K mean exp(-beta (1 - cos(f, key))), where f are features of length 1, the mean is over the keys of a species, and
    K is the mean number of keys of a species. The paper has the sum over the keys in place of K times the mean: the same if all species have equally
    many photographs. With species of 6 and of 40 photographs the sum nearly always names one with 40.

    Args:
        weight: W, embeddings of the species' names times the model's scale, float32, shape (num_species, num_features).
        keys: Features of the training images, of length 1, float32, shape (N, num_features).
        labels: Species of each key, int64, shape (N,).
        alpha: Weight of the keys, a tensor without dimensions; 0 uses the names alone.
        beta: How much faster near keys count than far ones, a tensor without dimensions.
    """

    def __init__(self, weight: Tensor, keys: Tensor, labels: Tensor, alpha: Tensor, beta: Tensor) -> None:
        super().__init__(weight)
        for name, value in {"keys": keys, "labels": labels, "alpha": alpha, "beta": beta}.items():
            self.register_buffer(name, value.detach().clone())
        values = F.one_hot(labels, len(weight)).float()
        counts = values.sum(dim=0).clamp_min(1)
        self.register_buffer("values", values * (len(keys) / len(weight)) / counts, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features, shape (N, num_features) -> logits, shape (N, num_species)."""
        unit = F.normalize(features)
        near = torch.exp(self.get_buffer("beta") * (F.linear(unit, self.get_buffer("keys")) - 1))
        return F.linear(unit, self.weight) + self.get_buffer("alpha") * (near @ self.get_buffer("values"))


def head_from(tensors: Mapping[str, Tensor]) -> Head:
    """The head with these tensors, by the names that its ``state_dict`` gives them.

    Raises:
        TypeError: Some are missing, or no head has them.
    """
    return (CacheHead if "keys" in tensors else Head)(**tensors)


def build_classifier_backbone(name: str, seed: int = 0) -> Backbone:
    """Build a new backbone, which the caller may train.

    Args:
        name: ``scratch``, or any name that ``build_backbone`` accepts.
        seed: Seed of the initial weights of ``scratch``.

    Raises:
        UnknownNameError: The name is not known.
        UnsupportedError: The weights are not available.
    """
    if name == SCRATCH:
        network = SmallResNet(seed)
        return Backbone(name, network, network.num_features, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "none (trained from scratch)")
    if not is_backbone(name):
        raise UnknownNameError("backbone", name, [*BUNDLED, SCRATCH, *CHOICES])
    return build_backbone(name)


@dataclass(frozen=True)
class SavedClassifier:
    """Content of a classifier's folder.

    Attributes:
        backbone: Backbone with the saved weights, in inference mode.
        head: Features -> logits.
        species: Names of the species, in the order of the head's rows.
        config: Settings of the training.
        record: The rest of ``classifier.json`` (fingerprint, numbers of images, metrics).
    """

    backbone: Backbone
    head: Head
    species: tuple[str, ...]
    config: dict[str, Any]
    record: dict[str, Any]


def read_classifier(folder: Path | str) -> SavedClassifier:
    """Read a classifier that ``syntype classify train`` saved. It needs neither the internet nor the training images.

    Raises:
        InputError: The folder holds no classifier, or its files are damaged or of a newer version.
    """
    folder = Path(folder)
    hint = "Give the folder that syntype classify train wrote (its --out)."
    if not (folder / "classifier.json").is_file() or not (folder / "weights.safetensors").is_file():
        raise InputError("is not a classifier (no classifier.json and weights.safetensors)", hint, file=folder)
    file = folder / "classifier.json"
    record = load_json(file, _AGAIN, {"schema_version": int})
    version = record.pop("schema_version")
    if version != CLASSIFIER_SCHEMA:
        raise InputError(f"has schema version {version}, but this version of Syntype reads {CLASSIFIER_SCHEMA}", "Update Syntype.", file=folder)
    optional: dict[str, type] = {"calibration": dict, "training": dict, "metrics": dict}
    check_keys(file, record, _AGAIN, {"species": list, "config": dict, "backbone": dict}, optional)
    species, config, facts = tuple(record.pop("species")), record.pop("config"), record.pop("backbone")
    try:
        tensors = load_file(folder / "weights.safetensors")
        name = str(config["backbone"])
        head = head_from({key.removeprefix("head."): tensors.pop(key) for key in list(tensors) if key.startswith("head.")})
        backbone = _empty_backbone(name, facts) if tensors else build_classifier_backbone(name)
        if tensors:
            backbone.network.load_state_dict({key.removeprefix("backbone."): value for key, value in tensors.items()})
        shape = (len(species), backbone.num_features)
        if head.weight.shape != shape or not all(isinstance(species_name, str) for species_name in species):
            raise ValueError(f"the head has the shape {tuple(head.weight.shape)}, but there are {shape[0]} species and {shape[1]} features")
    except (ValueError, KeyError, IndexError, AttributeError, TypeError, RuntimeError, OSError, SafetensorError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"is damaged, or its files do not belong together ({reason})", _AGAIN, file=folder) from None
    backbone.network.eval()
    return SavedClassifier(backbone, head.requires_grad_(False), species, config, record)


def _empty_backbone(name: str, facts: Mapping[str, Any]) -> Backbone:
    """The network of a saved classifier, before its weights are loaded; see ``empty_backbone``."""
    if name != SCRATCH:
        return empty_backbone(name, facts)
    return Backbone(name, SmallResNet(0), facts["num_features"], tuple(facts["mean"]), tuple(facts["std"]), facts["weights"])

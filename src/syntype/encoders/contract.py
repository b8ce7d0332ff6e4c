"""What every backbone gives: a network, how its input is normalised, and where its weights come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

__all__ = ["Backbone", "Preprocessing", "digest_weights", "name_and_file"]

_SCHEMES = ("hf-hub:", "local-dir:")
"""Beginnings of the names of models that are not built in: one on the Hugging Face Hub, or one in a folder of this computer."""


@dataclass(frozen=True)
class Preprocessing:
    """A model's own way from a picture to its input, as its library does it.

    Attributes:
        transform: Picture (RGB) -> normalised tensor, float32, shape (3, size, size).
        size: Side of the model's input, in pixels.
        settings: Side, mean, deviation, interpolation and crop, as JSON values: all that the transform depends on.
    """

    transform: Callable[[Image.Image], Tensor]
    size: int
    settings: dict[str, Any]

    def described(self) -> str:
        """The settings as one line, the same for equal settings."""
        return json.dumps(self.settings, sort_keys=True, default=str)


@dataclass(frozen=True)
class Backbone:
    """A network that turns images into feature vectors, with the normalisation of its input.

    Attributes:
        name: Name as given to ``build_backbone``.
        network: A model without classification layer. Its output are pooled features, shape (N, num_features).
        num_features: Length of the feature vector.
        mean: Mean of each RGB channel, for images in [0, 1].
        std: Standard deviation of each RGB channel, for images in [0, 1].
        weights: Source of the weights, for the record; it changes with the weights.
        preprocessing: The model's own preprocessing; None for the bundled ones and ``scratch``, which take images of any side.
        architecture: What ``empty_backbone`` needs to build the network again without the internet, as JSON values, and ``fixed_size``; None where
            the name is enough.
    """

    name: str
    network: nn.Module
    num_features: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights: str
    preprocessing: Preprocessing | None = None
    architecture: dict[str, Any] | None = None

    @property
    def fixed_size(self) -> int | None:
        """Side in pixels of the only images that the network takes; None if it takes others too."""
        return None if self.architecture is None else self.architecture.get("fixed_size")

    def normalise(self, images_NCHW: Tensor) -> Tensor:
        """Normalise images in [-1, 1], shape (N, 3, H, W), for the network."""
        mean = images_NCHW.new_tensor(self.mean).view(1, 3, 1, 1)
        std = images_NCHW.new_tensor(self.std).view(1, 3, 1, 1)
        return (images_NCHW * 0.5 + 0.5 - mean) / std


def name_and_file(text: str) -> tuple[str, str | None]:
    """Split ``NAME[:FILE]``, where NAME may begin with ``hf-hub:`` or be ``local-dir:FOLDER``, which takes no file.

    Example:
        >>> name_and_file("hf-hub:imageomics/bioclip-2:weights.bin"), name_and_file("ViT-B-16")
        (('hf-hub:imageomics/bioclip-2', 'weights.bin'), ('ViT-B-16', None))
    """
    if text.startswith("local-dir:"):
        return text, None
    scheme = next((one for one in _SCHEMES if text.startswith(one)), "")
    name, _, file = text.removeprefix(scheme).partition(":")
    return scheme + name, file or None


def digest_weights(network: nn.Module) -> str:
    """Changes with the weights of a network: 12 hex digits. A network of 400 million parameters takes about a second."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
    return digest.hexdigest()[:12]

"""Encoders: frozen backbones that compute one feature vector per image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from syntype.collection.decoding import DECODING
from syntype.collection.table import Collection
from syntype.encoders.backbones import BUNDLED, build_backbone, fold_batch_norm
from syntype.encoders.contract import Backbone
from syntype.files import read_npz, write_npz

__all__ = ["Encoder", "encode_collection", "load_encoder"]

_BATCH = 64
_USUAL_SIDE = 224
"""Side in pixels of the images that most models take; so many fit into memory at a time."""


class Encoder:
    """A frozen backbone that computes pooled features of images.

    Args:
        backbone: Computes the features.
        batch_size: Images per batch. It does not change the result beyond rounding.
    """

    def __init__(self, backbone: Backbone, batch_size: int = _BATCH) -> None:
        self.backbone = backbone
        self.batch_size = batch_size
        self._device = torch.device("cpu")
        if backbone.name in BUNDLED:
            fold_batch_norm(backbone.network)
        elif torch.cuda.is_available():  # the bundled ones are fast without, and their features stay the same everywhere
            self._device = torch.device("cuda")
        self._network: nn.Module = backbone.network.eval().to(device=self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def name(self) -> str:
        """The backbone's name."""
        return self.backbone.name

    @property
    def input_size(self) -> int | None:
        """Side in pixels of the images that the model was made for, to which it scales and crops others by itself; None for the bundled ones, which
        take what callers choose."""
        return None if self.backbone.preprocessing is None else self.backbone.preprocessing.size

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        return self.backbone.num_features

    @torch.inference_mode()
    def encode(self, images: np.ndarray, *, size: int | None = 128, progress: Callable[[int], None] | None = None) -> np.ndarray:
        """Compute the features of images.

        Args:
            images: uint8, shape (N, H, W, 3), RGB.
            size: Side in pixels to which the images are scaled first for a bundled backbone (bicubic, antialiased); None does not scale. The others
                have their own preprocessing, as in their library (``Backbone.preprocessing``), and do not use it.
            progress: Called after each batch with its number of images.

        Returns:
            Pooled features: float32, shape (N, dim).
        """
        rows = []
        for start in range(0, len(images), self.batch_size):
            chunk = images[start : start + self.batch_size]
            rows.append(self._network(self._input(chunk, size).to(self._device)).float().cpu().numpy())
            if progress is not None:
                progress(len(chunk))
        return np.concatenate(rows) if rows else np.empty((0, self.dim), np.float32)

    def _input(self, images: np.ndarray, size: int | None) -> torch.Tensor:
        preprocessing = self.backbone.preprocessing
        if preprocessing is None:
            return self.backbone.normalise(_scaled(images, size))
        return torch.stack([preprocessing.transform(Image.fromarray(image)) for image in images])

    @torch.inference_mode()
    def local_features(self, images: np.ndarray, *, size: int = 128, progress: Callable[[int], None] | None = None) -> torch.Tensor:
        """Compute one vector for every square of 8 pixels: the output of the third stage, which sees stripes and spots but no whole animals.

        Args:
            images: As for ``encode``.
            size: Side in pixels to which the images are scaled first.
            progress: Called after each batch with its number of images.

        Returns:
            float16, shape (N, (size / 8) ** 2, channels); 48 channels with the bundled backbones.
        """
        network: Any = self._network
        rows = []
        for start in range(0, len(images), self.batch_size):
            chunk = images[start : start + self.batch_size]
            found = network.bn1(network.conv_stem(self.backbone.normalise(_scaled(chunk, size))))
            for stage in network.blocks[:3]:
                found = stage(found)
            rows.append(found.flatten(2).transpose(1, 2).half())
            if progress is not None:
                progress(len(chunk))
        return torch.cat(rows)


def _scaled(images: np.ndarray, size: int | None) -> torch.Tensor:
    """uint8 NHWC -> float32 NCHW in [-1, 1], bicubic and antialiased."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
    if size is not None and tensor.shape[-2:] != (size, size):
        tensor = F.interpolate(tensor, size=(size, size), mode="bicubic", antialias=True, align_corners=False).clamp_(-1, 1)
    return tensor


@lru_cache(maxsize=8)
def load_encoder(name: str) -> Encoder:
    """The encoder with this backbone (see ``build_backbone``). It is loaded once per process."""
    backbone = build_backbone(name)
    side = _USUAL_SIDE if backbone.preprocessing is None else max(_USUAL_SIDE, backbone.preprocessing.size)
    return Encoder(backbone, max(1, _BATCH * _USUAL_SIDE**2 // side**2))  # larger images, fewer at a time


def encode_collection(
    encoder: Encoder, collection: Collection, *, pixels: int, size: int = 128, progress: Callable[[int], None] | None = None
) -> np.ndarray:
    """Features of a collection's images. They are cached in ``.cache`` in its folder.

    Args:
        encoder: Computes the features.
        collection: The collection.
        pixels: Side in pixels of the decoded squares (``Collection.pixels``).
        size: Side in pixels to which these are scaled for a bundled encoder; see ``Encoder.encode``.
        progress: Called after each batch with its number of images.

    Returns:
        float32, shape (num_images, dim), in the order of the table.
    """
    own = encoder.backbone.preprocessing
    scaled = str(size) if own is None else own.described()
    name = hashlib.sha256(f"{DECODING}|{encoder.name}|{encoder.backbone.weights}|{pixels}|{scaled}".encode()).hexdigest()[:12]
    file = collection.root / ".cache" / f"features-{name}.npz"
    table = collection.hashed().table
    keys = (table["sha256"].astype(str) + table["box"].fillna("").astype(str)).to_numpy(dtype=str)
    saved = read_npz(file, "keys", "features") or {"keys": np.empty(0, dtype=str), "features": np.empty((0, encoder.dim), np.float32)}
    stored = saved["features"] if saved["features"].shape == (len(saved["keys"]), encoder.dim) else np.empty((0, encoder.dim), np.float32)
    known: dict[str, int] = {str(key): row for row, key in enumerate(saved["keys"].tolist()[: len(stored)])}
    new = [row for row, key in enumerate(keys) if key not in known]
    if new:
        images = collection.pixels(pixels)
        fresh = encoder.encode(images if len(new) == len(images) else images[new], size=size, progress=progress)
        for offset, row in enumerate(new):
            known[keys[row]] = len(stored) + offset
        stored = np.concatenate([stored, fresh])
        with suppress(OSError):  # a read-only collection: the features are computed again next time
            write_npz(file, keys=np.array(list(known), dtype=str), features=stored[list(known.values())])
    return stored[[known[key] for key in keys]]

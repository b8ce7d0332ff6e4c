"""Encoders: frozen backbones that compute one feature vector per image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from syntype.collection.decoding import DECODING
from syntype.collection.table import Collection
from syntype.encoders.backbones import BUNDLED, Backbone, build_backbone, fold_batch_norm
from syntype.files import read_npz, write_npz

__all__ = ["Encoder", "encode_collection", "load_encoder"]


class Encoder:
    """A frozen backbone that computes pooled features of images.

    Args:
        backbone: Computes the features.
        batch_size: Images per batch. It does not change the result beyond rounding.
    """

    def __init__(self, backbone: Backbone, batch_size: int = 64) -> None:
        self.backbone = backbone
        self.batch_size = batch_size
        if backbone.name in BUNDLED:
            fold_batch_norm(backbone.network)
        self._network = backbone.network.eval().to(memory_format=torch.channels_last)

    @property
    def name(self) -> str:
        """The backbone's name."""
        return self.backbone.name

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        return self.backbone.num_features

    @torch.inference_mode()
    def encode(self, images: np.ndarray, *, size: int | None = 128, progress: Callable[[int], None] | None = None) -> np.ndarray:
        """Compute the features of images.

        Args:
            images: uint8, shape (N, H, W, 3), RGB.
            size: Side in pixels to which the images are scaled first (bicubic, antialiased); None does not scale.
            progress: Called after each batch with its number of images.

        Returns:
            Pooled features: float32, shape (N, dim).
        """
        rows = []
        for start in range(0, len(images), self.batch_size):
            chunk = images[start : start + self.batch_size]
            rows.append(self._network(self.backbone.normalise(_scaled(chunk, size))).float().numpy())
            if progress is not None:
                progress(len(chunk))
        return np.concatenate(rows) if rows else np.empty((0, self.dim), np.float32)

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
    return Encoder(build_backbone(name))


def encode_collection(
    encoder: Encoder, collection: Collection, *, pixels: int, size: int = 128, progress: Callable[[int], None] | None = None
) -> np.ndarray:
    """Features of a collection's images. They are cached in ``.cache`` in its folder.

    Args:
        encoder: Computes the features.
        collection: The collection.
        pixels: Side in pixels of the decoded squares (``Collection.pixels``).
        size: Side in pixels to which these are scaled for the encoder.
        progress: Called after each batch with its number of images.

    Returns:
        float32, shape (num_images, dim), in the order of the table.
    """
    name = hashlib.sha256(f"{DECODING}|{encoder.name}|{encoder.backbone.weights}|{pixels}|{size}".encode()).hexdigest()[:12]
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

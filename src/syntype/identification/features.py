"""Cache of the features of augmented images: studies with many arms and seeds use the same images again."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from syntype.collection.pixels import digest_images
from syntype.compute.runtime import Runtime
from syntype.compute.tensors import to_tensor
from syntype.encoders import Backbone
from syntype.files import read_npz, write_npz
from syntype.identification.augment import AugmentConfig, augment
from syntype.run import Run

__all__ = ["FeatureCache", "augmented_view", "embed"]

_BATCH = 64


def augmented_view(images: np.ndarray, digests: list[str], view: int, config: AugmentConfig, device: torch.device | str = "cpu") -> torch.Tensor:
    """One augmented view of each image. It depends only on the content of the image, the number of the view, and ``config``.

    Args:
        images: uint8, shape (N, S, S, 3).
        digests: Content hash of each image (``digest_images``).
        view: 0 for the image itself, 1 for its mirror image (if ``config.flip``), any other number for an augmented version.
        config: Strength of the augmentation.
        device: Where to compute.

    Returns:
        float32, shape (N, 3, S, S), in [-1, 1].
    """
    tensor = to_tensor(images, device)
    if view == 0:
        return tensor
    if view == 1 and config.flip:
        return tensor.flip(-1)
    rows = [np.random.default_rng([int(digest[:16], 16), view]).random(config.num_uniform, dtype=np.float32) for digest in digests]
    return augment(tensor, torch.from_numpy(np.stack(rows)), config)


def embed(backbone: Backbone, images_NCHW: torch.Tensor, size: int, runtime: Runtime) -> torch.Tensor:
    """Pooled features of images.

    Args:
        backbone: Computes the features.
        images_NCHW: float, shape (N, 3, S, S), in [-1, 1].
        size: Side in pixels to which the images are scaled first (bicubic); 0 does not scale. A network that takes one size only has its own.
        runtime: Device and precision.

    Returns:
        float32, shape (N, num_features), on the runtime's device.
    """
    x, size = images_NCHW.to(runtime.device), backbone.fixed_size or size
    if size and x.shape[-1] != size:
        x = F.interpolate(x, size=(size, size), mode="bicubic", antialias=x.shape[-1] > size, align_corners=False).clamp(-1, 1)
    with runtime.autocast():
        features: torch.Tensor = backbone.network(backbone.normalise(x).contiguous(memory_format=torch.channels_last))
    return features.float()


class FeatureCache:
    """Features by image content, in memory and optionally on disk.

    Args:
        folder: Where to store them between runs; it may be deleted at any time. None keeps them in memory only.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._rows: dict[str, dict[str, int]] = {}
        self._stored: dict[str, np.ndarray] = {}

    def features(self, backbone: Backbone, images: np.ndarray, view: int, *, size: int, config: AugmentConfig, runtime: Runtime,
                 run: Run | None = None) -> np.ndarray:  # fmt: skip
        """Features of one augmented view of each image.

        Args:
            backbone: Computes the features.
            images: uint8, shape (N, S, S, 3).
            view: Number of the view, see ``augmented_view``.
            size: Side in pixels to which the backbone's input is scaled; 0 does not scale.
            config: Strength of the augmentation.
            runtime: Device and precision.
            run: Shows progress.

        Returns:
            float16, shape (N, num_features).
        """
        tag = _tag(backbone, view, size, config, runtime.precision)
        rows = self._open(tag, backbone.num_features)
        digests = digest_images(images)
        new = [position for position in dict(zip(digests, range(len(digests)), strict=True)).values() if digests[position] not in rows]
        if new:
            fresh = self._compute(backbone, images, digests, new, view, size, config, runtime, run)
            self._keep(tag, [digests[position] for position in new], fresh)
        return self._stored[tag][[rows[digest] for digest in digests]]

    @torch.inference_mode()
    def _compute(self, backbone: Backbone, images: np.ndarray, digests: list[str], new: list[int], view: int, size: int,
                 config: AugmentConfig, runtime: Runtime, run: Run | None) -> np.ndarray:  # fmt: skip
        parts = []
        with (run or Run.silent()).progress(f"features, view {view}", len(new)) as bar:
            for start in range(0, len(new), _BATCH):
                chosen = new[start : start + _BATCH]
                views = augmented_view(images[chosen], [digests[position] for position in chosen], view, config, runtime.device)
                parts.append(embed(backbone, views, size, runtime).cpu().numpy().astype(np.float16))
                bar.advance(len(chosen))
        return np.concatenate(parts)

    def _open(self, tag: str, dim: int) -> dict[str, int]:
        if tag not in self._rows:
            keys, parts = [], [np.empty((0, dim), np.float16)]
            for file in sorted((self.folder / tag).glob("*.npz")) if self.folder else []:
                archive = read_npz(file, "keys", "features")
                if archive is None:  # damaged: its features are computed again
                    continue
                features = archive["features"]
                if features.shape == (len(archive["keys"]), dim):
                    keys.extend(archive["keys"].tolist())
                    parts.append(features)
            self._rows[tag] = {key: row for row, key in enumerate(keys)}
            self._stored[tag] = np.concatenate(parts)
        return self._rows[tag]

    def _keep(self, tag: str, digests: list[str], fresh: np.ndarray) -> None:
        start = len(self._stored[tag])
        self._stored[tag] = np.concatenate([self._stored[tag], fresh])
        self._rows[tag].update({digest: start + offset for offset, digest in enumerate(digests)})
        if self.folder is None:
            return
        name = hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
        with suppress(OSError):  # not writable, or disk full: the features are computed again next time
            write_npz(self.folder / tag / f"{name}.npz", keys=np.array(digests), features=fresh)


def _tag(backbone: Backbone, view: int, size: int, config: AugmentConfig, precision: str) -> str:
    changes = "" if view == 0 or (view == 1 and config.flip) else config.model_dump_json()
    text = f"{backbone.name}|{backbone.weights}|{size}|{precision}|{view}|{changes}"
    return f"{backbone.name.replace(':', '-').replace('/', '-')[:40]}-v{view}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

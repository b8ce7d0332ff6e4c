"""Conversions between arrays of images and tensors, seeded random numbers, spherical interpolation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["seeded_normal", "seeded_normals", "slerp", "to_tensor", "to_uint8"]


def seeded_normal(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Standard normal numbers, each row from its own seed: float32, shape (len(seeds), *shape), on the CPU."""
    return seeded_normals(seeds, shape, 1)[0]


def seeded_normals(seeds: Sequence[int], shape: Sequence[int], number: int) -> list[Tensor]:
    """So many tensors one after another, the first as ``seeded_normal`` gives it."""
    sources = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    drawn = [[torch.randn(tuple(shape), generator=source) for source in sources] for _ in range(number)]
    return [torch.stack(rows) if rows else torch.empty((0, *shape)) for rows in drawn]


def slerp(first: Tensor, second: Tensor, amounts: Tensor) -> Tensor:
    """Spherical interpolation of the rows of two tensors, shape (N, ...), float32; exactly ``first`` at 0 and ``second`` at 1.

    Shoemake 1985, "Animating Rotation with Quaternion Curves", section 3.3, for the directions; lengths are interpolated linearly. Linear
    interpolation of two normal vectors of many dimensions gives vectors shorter than typical ones; spherical interpolation does not.

    Args:
        amounts: shape (N,), in [0, 1].
    """
    a, b = first.flatten(1), second.flatten(1)
    t = amounts.to(a)[:, None]
    length_a, length_b = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    cosine = ((a * b).sum(1, keepdim=True) / (length_a * length_b).clamp(min=1e-12)).clamp(-1, 1)
    angle = torch.arccos(cosine)
    sine = torch.sin(angle)
    straight = sine < 1e-4  # equal or opposite directions: the great circle is undefined, so interpolate linearly
    safe = torch.where(straight, torch.ones_like(sine), sine)
    weight_a = torch.where(straight, 1 - t, torch.sin((1 - t) * angle) / safe)
    weight_b = torch.where(straight, t, torch.sin(t * angle) / safe)
    unit = weight_a * a / length_a.clamp(min=1e-12) + weight_b * b / length_b.clamp(min=1e-12)
    mixed = unit * ((1 - t) * length_a + t * length_b)
    mixed = torch.where(t == 0, a, torch.where(t == 1, b, mixed))
    return mixed.view_as(first)


def to_tensor(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 NHWC -> float32 NCHW in [-1, 1], in channels-last memory format, on a device. The bytes are moved there before they become four times as
    many."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
    return tensor.to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images_NCHW: Tensor) -> np.ndarray:
    """[-1, 1] NCHW -> uint8 NHWC, rounded to the nearest level; values outside are clipped."""
    return images_NCHW.detach().float().clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()

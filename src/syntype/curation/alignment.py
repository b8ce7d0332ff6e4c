"""Registration of pairs of small colour images, for copy detection; many pairs at a time.

A transformed copy is its original after mirroring, cropping, a small rotation, or a change of light, sharpness or compression. The two images
of a pair are aligned by a similarity transform (Gauss-Newton on the weighted squared difference, with a free gain and a free bias per channel:
Lucas & Kanade 1981; Baker & Matthews 2004, section 3.2). Then they are compared by normalised cross-correlation, which does not depend on gain
and bias. Pixels of the query that are overexposed, black, or of the colour of all four corners (as a rotation leaves them) carry no
information. They get weight 0, and are replaced by the real image, so that filters do not spread them to their neighbours.

Coordinates are those of ``torch.nn.functional.grid_sample``: [-1, 1] from edge to edge. A pose (a, b, u, v) maps the query's frame into the
real image: x' = a x - b y + u, y' = b x + a y + v, with a = scale cos(angle), b = scale sin(angle).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["WINDOWS", "align", "downscale", "frame_weights", "unit_vectors", "usable_pixels", "warp", "window_vectors"]

EPSILON = 1e-6
"""Added to every variance (pixel values in [0, 1]), so that variations below a quarter of a grey level count as none."""
REACH = 0.3
"""Largest shift, and largest change of a and b, in an alignment."""


def _windows() -> Tensor:
    poses = []
    for degrees in (-8.0, 0.0, 8.0):
        angle = np.deg2rad(degrees)
        poses.append((np.cos(angle), np.sin(angle), 0.0, 0.0))
        poses += [(0.85 * np.cos(angle), 0.85 * np.sin(angle), u, v) for u in (-0.15, 0.0, 0.15) for v in (-0.15, 0.0, 0.15)]
    return torch.tensor(poses, dtype=torch.float32)


WINDOWS: Tensor = _windows()
"""Initial poses (a, b, u, v), shape (30, 4): the whole image and nine crops of 85 %, each at three angles. At 12 px neighbouring poses differ
by less than a pixel, so one of them is close enough to any small crop and rotation."""


def _chunks(images: np.ndarray) -> Iterator[Tensor]:
    """uint8 NHWC -> float32 NCHW in [0, 255], in chunks, because float32 takes four times the memory."""
    for start in range(0, len(images), 1024):
        part = np.require(images[start : start + 1024], requirements=["C", "W"])
        yield torch.from_numpy(part).permute(0, 3, 1, 2).float()


def downscale(images: np.ndarray, side: int) -> Tensor:
    """uint8 NHWC -> float32 (N, 3, side, side) in [0, 1], antialiased."""
    parts = [torch.empty((0, 3, side, side))]
    for values in _chunks(images):
        tensor = values.div_(255)
        parts.append(F.interpolate(tensor, size=(side, side), mode="bilinear", antialias=True, align_corners=False))
    return torch.cat(parts)


def frame_weights(side: int) -> Tensor:
    """Weight of each pixel, shape (side, side): a Gaussian with a standard deviation of side / 4. Rotations and crops lose the corners."""
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    return torch.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / (2 * 0.5**2))


def usable_pixels(images: np.ndarray, side: int) -> Tensor:
    """Weight of each value of uint8 NHWC ``images``: float32, shape (N, 3, side, side), in [0, 1].

    It is 0 where the value is overexposed (>= 250), black (<= 2), or within two pixels of an area of the colour of all four corners, as a
    rotation leaves them. An image that would lose more than 95 % of its weight (a line drawing on white) has weight 1 everywhere.
    """
    parts = [torch.empty((0, 3, side, side))]
    for values in _chunks(images):
        height, width = (max(1, length - 1) for length in values.shape[2:])
        clipped = (values >= 250) | (values <= 2)
        corners = values[:, :, ::height, ::width]
        lowest, highest = corners.amin((2, 3), keepdim=True), corners.amax((2, 3), keepdim=True)
        filled = ((highest - lowest <= 1) & (values >= highest - 1) & (values <= lowest + 1)).all(1, keepdim=True) & ~clipped.all(1, keepdim=True)
        filled = -F.max_pool2d(-filled.float(), 3, 1, 1)  # removes single pixels, which may have this colour by chance
        even = F.max_pool2d(filled, 7, 1, 3)  # restores what the previous line removed, and adds the blended rim of the area
        lost = torch.maximum(clipped.float(), even)
        parts.append((1 - F.interpolate(lost, size=(side, side), mode="area")) ** 4)
    usable = torch.cat(parts)
    weights = frame_weights(side)
    enough = (usable * weights).sum((1, 2, 3), keepdim=True) > 0.05 * 3 * weights.sum()
    return torch.where(enough, usable, torch.ones_like(usable))


def warp(images: Tensor, poses: Tensor, side: int) -> Tensor:
    """Resample ``images`` (N, C, h, w) at the poses (N, 4) to ``side`` px. Border pixels repeat beyond the border."""
    a, b, u, v = poses.T
    matrices = torch.stack([torch.stack([a, -b, u], 1), torch.stack([b, a, v], 1)], 1)
    grid = F.affine_grid(matrices, [len(images), images.shape[1], side, side], align_corners=False)
    return F.grid_sample(images, grid, align_corners=False, padding_mode="border")


def unit_vectors(images: Tensor) -> Tensor:
    """Images (N, C, s, s) -> vectors (N, C*s*s) whose inner product is the weighted normalised cross-correlation, in [-1, 1]."""
    weights = frame_weights(images.shape[-1])
    weights = weights / weights.sum()
    centred = images - (images * weights).sum((2, 3), keepdim=True)
    return F.normalize((centred * weights.sqrt()).flatten(1), dim=1, eps=EPSILON**0.5)


def window_vectors(images: Tensor, side: int) -> Tensor:
    """``unit_vectors`` of every window of every image: (N, C, h, w) -> (N, len(WINDOWS), C*side*side)."""
    return torch.stack([unit_vectors(warp(images, pose.expand(len(images), 4), side)) for pose in WINDOWS], 1)


def align(queries: Tensor, reals: Tensor, poses: Tensor, usable: Tensor, *, iterations: int) -> tuple[Tensor, Tensor]:
    """Align pairs of images, and compare them.

    Args:
        queries: float32, shape (N, 3, s, s), in [0, 1].
        reals: Same shape and range; pair i is ``queries[i]``, ``reals[i]``.
        poses: Initial poses, shape (N, 4).
        usable: Weight of each value of the queries (``usable_pixels``), shape (N, 3, s, s), in [0, 1].
        iterations: Number of Gauss-Newton steps.

    Returns:
        The poses, shape (N, 4), and the correlation of each pair, in [-1, 1]: 1 for equal images, 0 for unrelated ones.
    """
    side = queries.shape[-1]
    weights = usable * frame_weights(side)
    weights = weights / weights.sum((2, 3), keepdim=True).clamp_min(EPSILON)
    smooth = _smooth(reals)
    padded = F.pad(smooth, (1, 1, 1, 1), mode="replicate")
    slope_x = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) * side / 4  # the width of a pixel is 2 / side
    slope_y = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) * side / 4
    layers = torch.cat([smooth, slope_x, slope_y], 1)
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    best_poses, best = poses, torch.full((len(poses),), -2.0)
    low, high = torch.tensor([0.7, -REACH, -REACH, -REACH]), torch.tensor([1.15, REACH, REACH, REACH])
    for iteration in range(iterations + 1):
        warped, gx, gy = warp(layers, poses, side).chunk(3, 1)
        target = _centred(_smooth(_painted(queries, warped, usable, weights)), weights)
        warped = _centred(warped, weights)
        agreement = _correlation(target, warped, weights)
        better = agreement > best
        best, best_poses = torch.where(better, agreement, best), torch.where(better[:, None], poses, best_poses)
        if iteration == iterations:
            break
        # target = gain * (warped + slopes . step): linear in (gain, gain * step)
        slopes = torch.stack([warped, *(_centred(g, weights) for g in (gx * x + gy * y, gy * x - gx * y, gx, gy))], 1)
        weighted = (slopes * weights[:, None]).flatten(2)
        normal = weighted @ slopes.flatten(2).transpose(1, 2)
        normal = normal + torch.diag_embed(1e-3 * normal.diagonal(dim1=1, dim2=2) + 1e-8)
        solution = torch.linalg.solve(normal, weighted @ target.flatten(1)[..., None])[..., 0]
        step = (solution[:, 1:] / solution[:, :1].clamp_min(0.2)).clamp(-0.1, 0.1)
        poses = (poses + step).clamp(low, high)
    warped = warp(reals, best_poses, side)
    return best_poses, _agreement(_painted(queries, warped, usable, weights), warped, weights)


def _painted(queries: Tensor, warped: Tensor, usable: Tensor, weights: Tensor) -> Tensor:
    """The queries with unusable values replaced by those of the real image, fitted to the query by least squares (one gain, one bias per channel)."""
    mean, real = (queries * weights).sum((2, 3), keepdim=True), _centred(warped, weights)
    gain = (weights * queries * real).sum((1, 2, 3), keepdim=True) / ((weights * real**2).sum((1, 2, 3), keepdim=True) + EPSILON)
    return usable * queries + (1 - usable) * (mean + gain * real)


def _agreement(queries: Tensor, warped: Tensor, weights: Tensor) -> Tensor:
    """Mean correlation of the high and middle spatial frequencies, averaged on Fisher's z scale.

    Low frequencies are left out, because they are similar for any two fish on the same background.
    """
    bands = []
    for image in (queries, warped):
        once = _smooth(image)
        bands.append((image - once, once - _smooth(_smooth(_smooth(once)))))
    correlations = [_correlation(_centred(a, weights), _centred(b, weights), weights) for a, b in zip(*bands, strict=True)]
    return torch.tanh(sum((torch.atanh(c.clamp(-0.9999, 0.9999)) for c in correlations), torch.zeros(len(queries))) / 2)


def _centred(images: Tensor, weights: Tensor) -> Tensor:
    return images - (images * weights).sum((2, 3), keepdim=True)


def _correlation(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    product, power_a, power_b = ((weights * left * right).sum((1, 2, 3)) for left, right in ((a, b), (a, a), (b, b)))
    return product / ((power_a + EPSILON) * (power_b + EPSILON)).sqrt()


def _smooth(images: Tensor) -> Tensor:
    """Binomial filter 1 4 6 4 1 in both directions. Border pixels repeat."""
    channels = images.shape[1]
    kernel = (torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16).expand(channels, 1, 1, 5)
    wide = F.conv2d(F.pad(images, (2, 2, 0, 0), mode="replicate"), kernel, groups=channels)
    return F.conv2d(F.pad(wide, (0, 0, 2, 2), mode="replicate"), kernel.transpose(2, 3), groups=channels)

"""Registration of pairs of small colour images, for copy detection; many pairs at a time.

A transformed copy is its original after mirroring, cropping, stretching, a rotation, or a change of light, sharpness or compression. The two
images of a pair are aligned by an affine transform (Gauss-Newton on the weighted squared difference, with a free gain and a free bias per
channel: Lucas & Kanade 1981; Baker & Matthews 2004, section 3.2). Then they are compared by normalised cross-correlation, which does not depend
on gain and bias. Pixels of the query that are overexposed, black, or of the colour of all four corners (as a rotation leaves them) carry no
information, nor do those that lie beyond the edge of the real image. They get weight 0, and are replaced by the real image, so that filters do
not spread them to their neighbours.

A photograph that is not square fills only a part of the square that shows it, and the rest is padding. Photographs are compared without their
padding: that part is stretched to a square. So two photographs of one format, cropped or stretched, differ as little as two squares would.

Coordinates are those of ``torch.nn.functional.grid_sample``: [-1, 1] from edge to edge. A pose is a matrix of shape (2, 3) that maps the query's
frame into the real image: (x', y') = pose (x, y, 1).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "NUM_WINDOWS",
    "align",
    "downscale",
    "evened_corners",
    "frame_weights",
    "unit_vectors",
    "usable_pixels",
    "warp",
    "window_vectors",
    "windows",
]

EPSILON = 1e-6
"""Added to every variance (pixel values in [0, 1]), so that variations below a quarter of a grey level count as none."""
_LEAST_EVEN, _MOST_EVEN = 0.03, 0.4
"""Share of an image that rotations of up to 15 degrees leave empty, with the rim; of more, the even colour is that of the background."""
REACH = 0.3
"""Largest change of each of the six numbers of a pose in an alignment."""


def _pose(width: float, height: float, u: float = 0.0, v: float = 0.0, degrees: float = 0.0) -> list[list[float]]:
    """The window with these halves of its sides and this centre, turned."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return [[width * cos, -width * sin, u], [height * sin, height * cos, v]]


def _windows() -> tuple[Tensor, Tensor]:
    thirds = [(u, v) for u in (-1, 0, 1) for v in (-1, 0, 1)]
    own = [_pose(1, 1, degrees=degrees) for degrees in (-15.0, -7.5, 0.0, 7.5, 15.0)]
    own += [_pose(scale, scale, degrees=sign * degrees) for scale, degrees in ((1.12, 8.0), (1.23, 15.0), (0.8, 15.0)) for sign in (-1, 1)]
    own += [_pose(0.86, 0.86, 0.14 * u, 0.14 * v) for u, v in thirds]
    own += [_pose(0.76, 0.76, u, v) for u in (-0.24, -0.08, 0.08, 0.24) for v in (-0.24, -0.08, 0.08, 0.24)]
    own += [_pose(0.85, 0.85, 0.15 * u, 0.15 * v, degrees) for degrees in (-8.0, 8.0) for u, v in thirds]
    for share, shifts in ((0.75, (-0.2, 0.0, 0.2)), (0.65, (-0.3, -0.1, 0.1, 0.3)), (0.56, (-0.4, -0.2, 0.0, 0.2, 0.4))):
        own += [_pose(share, 1, shift, 0) for shift in shifts] + [_pose(1, share, 0, shift) for shift in shifts]
    square = [_pose(1, 1, degrees=degrees) for degrees in (-8.0, 0.0, 8.0)] + [_pose(0.85, 0.85, 0.15 * u, 0.15 * v) for u, v in thirds]
    return torch.tensor(own, dtype=torch.float32), torch.tensor(square, dtype=torch.float32)


_OF_PHOTOGRAPH, _OF_SQUARE = _windows()
NUM_WINDOWS: int = len(_OF_PHOTOGRAPH) + len(_OF_SQUARE)
"""Number of windows of a photograph: itself turned, also within a larger frame; crops of 76 to 86 %, some turned; parts of another format; then the
square that shows it, padding included, as a generator that learnt from such squares draws it. At 12 px neighbouring windows differ by about a
pixel, so one of them is close enough to any copy."""


def windows(shapes: Tensor) -> Tensor:
    """The windows as poses: shape (N, NUM_WINDOWS, 2, 3).

    Args:
        shapes: shares of the width and height of its square that each photograph fills, in (0, 1], shape (N, 2).
    """
    of_square = _OF_SQUARE / shapes[:, None, :, None]
    return torch.cat([_OF_PHOTOGRAPH.expand(len(shapes), -1, -1, -1), of_square], 1)


def _cut(images: np.ndarray, parts: np.ndarray | None) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Rows of images with the same part, and these parts of them: uint8 NHWC -> float32 NCHW in [0, 255], few at a time, because float32 takes
    four times the memory."""
    for start in range(0, len(images), 1024):
        chunk = np.require(images[start : start + 1024], requirements=["C", "W"])
        values = torch.from_numpy(chunk).permute(0, 3, 1, 2)
        if parts is None:
            yield np.arange(start, start + len(chunk)), values.float()
            continue
        different, which = np.unique(parts[start : start + 1024], axis=0, return_inverse=True)
        for number, (left, top, right, bottom) in enumerate(different.tolist()):
            rows = np.flatnonzero(which == number)
            yield start + rows, values[torch.from_numpy(rows), :, top:bottom, left:right].float()


def downscale(images: np.ndarray, side: int, parts: np.ndarray | None = None) -> Tensor:
    """uint8 NHWC -> float32 (N, 3, side, side) in [0, 1], antialiased.

    Args:
        parts: left, top, right, bottom of the part of each image to show, int64, shape (N, 4); it is stretched to a square. None: all of it.
    """
    result = torch.empty((len(images), 3, side, side))
    for rows, values in _cut(images, parts):
        result[torch.from_numpy(rows)] = F.interpolate(values.div_(255), size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    return result


def frame_weights(side: int) -> Tensor:
    """Weight of each pixel, shape (side, side): a Gaussian with a standard deviation of side / 4. Rotations and crops lose the corners."""
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    return torch.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / (2 * 0.5**2))


def usable_pixels(images: np.ndarray, side: int, parts: np.ndarray | None = None) -> Tensor:
    """Weight of each value of uint8 NHWC ``images``: float32, shape (N, 3, side, side), in [0, 1].

    Args:
        parts: As in ``downscale``.

    It is 0 where the value is overexposed (>= 250), black (<= 2), or within two pixels of an area of the colour of all four corners, as a
    rotation leaves them. An image that would lose more than 95 % of its weight (a line drawing on white) has weight 1 everywhere.
    """
    usable = torch.empty((len(images), 3, side, side))
    for rows, values in _cut(images, parts):
        clipped, even = _even(values)
        lost = torch.maximum(clipped.float(), even)
        usable[torch.from_numpy(rows)] = (1 - F.interpolate(lost, size=(side, side), mode="area")) ** 4
    weights = frame_weights(side)
    enough = (usable * weights).sum((1, 2, 3), keepdim=True) > 0.05 * 3 * weights.sum()
    return torch.where(enough, usable, torch.ones_like(usable))


def evened_corners(images: np.ndarray, side: int, parts: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
    """The images whose four corners have one even colour, as a rotation leaves them, with the mean colour of the rest there.

    Args:
        images: uint8 NHWC.
        side: side in pixels of the result.
        parts: As in ``downscale``.

    Returns:
        Positions of these images, int64, shape (E,), and the images, float32, shape (E, 3, side, side), in [0, 1].
    """
    found, results = [torch.empty(0, dtype=torch.int64)], [torch.empty((0, 3, side, side))]
    for rows, values in _cut(images, parts):
        even = F.interpolate(_even(values)[1], size=(side, side), mode="area")
        share = even.mean((1, 2, 3))
        chosen = (share > _LEAST_EVEN) & (share < _MOST_EVEN)
        if chosen.any():
            small = F.interpolate(values[chosen] / 255, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
            rest = (even[chosen] < 0.05).float()
            mean = (small * rest).sum((2, 3), keepdim=True) / rest.sum((2, 3), keepdim=True).clamp_min(1)
            found.append(torch.from_numpy(rows)[chosen])
            results.append(torch.where(rest > 0, small, mean))
    return torch.cat(found), torch.cat(results)


def _even(values: Tensor) -> tuple[Tensor, Tensor]:
    """Which values are overexposed or black, shape (N, 3, h, w), and which pixels are in an area of the colour of all four corners, (N, 1, h, w)."""
    height, width = (max(1, length - 1) for length in values.shape[2:])
    clipped = (values >= 250) | (values <= 2)
    corners = values[:, :, ::height, ::width]
    lowest, highest = corners.amin((2, 3), keepdim=True), corners.amax((2, 3), keepdim=True)
    filled = ((highest - lowest <= 1) & (values >= highest - 1) & (values <= lowest + 1)).all(1, keepdim=True)
    filled = -F.max_pool2d(-filled.float(), 3, 1, 1)  # removes single pixels, which may have this colour by chance
    return clipped, F.max_pool2d(filled, 7, 1, 3)  # restores what the previous line removed, and adds the blended rim of the area


def warp(images: Tensor, poses: Tensor, side: int) -> Tensor:
    """Resample ``images`` (N, C, h, w) at the poses (N, 2, 3) to ``side`` px. Border pixels repeat beyond the border."""
    grid = F.affine_grid(poses, [len(images), images.shape[1], side, side], align_corners=False)
    return F.grid_sample(images, grid, align_corners=False, padding_mode="border")


def unit_vectors(images: Tensor) -> Tensor:
    """Images (N, C, s, s) -> vectors (N, C*s*s) whose inner product is the weighted normalised cross-correlation, in [-1, 1]."""
    weights = frame_weights(images.shape[-1])
    weights = weights / weights.sum()
    centred = images - (images * weights).sum((2, 3), keepdim=True)
    return F.normalize((centred * weights.sqrt()).flatten(1), dim=1, eps=EPSILON**0.5)


def window_vectors(images: Tensor, shapes: Tensor, side: int) -> Tensor:
    """``unit_vectors`` of the ``windows`` of every image: (N, C, h, w), (N, 2) -> (N, NUM_WINDOWS, C*side*side)."""
    return torch.stack([unit_vectors(warp(images, poses, side)) for poses in windows(shapes).unbind(1)], 1)


def align(queries: Tensor, reals: Tensor, poses: Tensor, usable: Tensor, *, iterations: int) -> tuple[Tensor, Tensor]:
    """Align pairs of images, and compare them.

    Args:
        queries: float32, shape (N, 3, s, s), in [0, 1].
        reals: shape (N, 3, r, r), same range; pair i is ``queries[i]``, ``reals[i]``.
        poses: Initial poses, shape (N, 2, 3).
        usable: Weight of each value of the queries (``usable_pixels``), shape (N, 3, s, s), in [0, 1].
        iterations: Number of Gauss-Newton steps.

    Returns:
        The poses, shape (N, 2, 3), and the correlation of each pair, in [-1, 1]: 1 for equal images, 0 for unrelated ones.
    """
    side = queries.shape[-1]
    believed = usable * frame_weights(side)
    smooth = _smooth(reals)
    padded = F.pad(smooth, (1, 1, 1, 1), mode="replicate")
    length = reals.shape[-1] / 4  # the width of a pixel is 2 / side of the real image
    slope_x = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) * length
    slope_y = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) * length
    layers = torch.cat([smooth, slope_x, slope_y], 1)
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    best_poses, best = poses, torch.full((len(poses),), -2.0)
    low, high = poses - REACH, poses + REACH
    for iteration in range(iterations + 1):
        warped, gx, gy = warp(layers, poses, side).chunk(3, 1)
        inside = _inside(poses, side)
        weights = _normalised(believed * inside)
        target = _centred(_smooth(_painted(queries, warped, usable * inside, weights)), weights)
        warped = _centred(warped, weights)
        agreement = _correlation(target, warped, weights)
        better = agreement > best
        best, best_poses = torch.where(better, agreement, best), torch.where(better[:, None, None], poses, best_poses)
        if iteration == iterations:
            break
        # target = gain * (warped + slopes . step): linear in (gain, gain * step)
        slopes = torch.stack([warped, *(_centred(g, weights) for g in (gx * x, gx * y, gx, gy * x, gy * y, gy))], 1)
        weighted = (slopes * weights[:, None]).flatten(2)
        normal = weighted @ slopes.flatten(2).transpose(1, 2)
        normal = normal + torch.diag_embed(1e-3 * normal.diagonal(dim1=1, dim2=2) + 1e-8)
        solution = torch.linalg.solve(normal, weighted @ target.flatten(1)[..., None])[..., 0]
        step = (solution[:, 1:] / solution[:, :1].clamp_min(0.2)).clamp(-0.1, 0.1)
        poses = (poses + step.view(-1, 2, 3)).clamp(low, high)
    warped, inside = warp(reals, best_poses, side), _inside(best_poses, side)
    weights = _normalised(believed * inside)
    return best_poses, _agreement(_painted(queries, warped, usable * inside, weights), warped, weights)


def _inside(poses: Tensor, side: int) -> Tensor:
    """How much of each pixel of the queries the real images show, shape (N, 1, side, side): 0 beyond their edges, where nothing can be compared."""
    grid = F.affine_grid(poses, [len(poses), 1, side, side], align_corners=False)
    return ((1 - grid.abs()) * side / 2 + 0.5).clamp(0, 1).prod(3)[:, None]


def _normalised(weights: Tensor) -> Tensor:
    return weights / weights.sum((2, 3), keepdim=True).clamp_min(EPSILON)


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

"""Registration of pairs of small colour images, for copy detection; many pairs at a time.

A transformed copy is its original after mirroring, cropping, stretching, a rotation, or a change of light, sharpness or compression. The two
images of a pair are aligned by an affine transform (Gauss-Newton on the weighted squared difference, with a free gain and a free bias per
channel: Lucas & Kanade 1981; Baker & Matthews 2004, section 3.2). They are compared by the mean of the normalised cross-correlations of small
neighbourhoods, which do not depend on gain and bias, nor on slow changes of light. Pixels of the query that are overexposed, black, or of the
colour of all four corners (as a rotation leaves them) carry no information, nor do those that lie beyond the edge of the real image. They get
weight 0, also in the filters of both images, so that these do not spread them to their neighbours.

A photograph that is not square fills only a part of the square that shows it, and the rest is padding. Photographs are compared without their
padding: that part is stretched to a square. So two photographs of one format, cropped or stretched, differ as little as two squares would.

Coordinates are those of ``torch.nn.functional.grid_sample``: [-1, 1] from edge to edge. A pose is a matrix of shape (2, 3) that maps the query's
frame into the real image: (x', y') = pose (x, y, 1).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

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
_LEAST_EVEN, _MOST_EVEN = 0.03, 0.4
"""Share of an image that rotations of up to 15 degrees leave empty, with the rim; of more, the even colour is that of the background."""
CONTRAST = 0.01
"""Contrast (standard deviation of a neighbourhood, pixel values in [0, 1]) whose neighbourhoods count a quarter of those of high contrast."""
NOISE = 1e-6
"""Added to the variance of every neighbourhood: a quarter of a grey level."""
PAIR_FLOATS = 1_000_000
"""Values of the queries that are aligned at a time: about what the processor's cache holds."""
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


def usable_pixels(images: np.ndarray, *sides: int, parts: np.ndarray | None = None) -> list[Tensor]:
    """Weight of each value of uint8 NHWC ``images`` in squares of these sides: for each side float32, shape (N, 3, side, side), in [0, 1].

    Args:
        parts: As in ``downscale``.

    It is 0 where the value is overexposed (>= 250), black (<= 2), or within two pixels of an area of the colour of all four corners, as a
    rotation leaves them. An image that would lose more than 95 % of its weight (a line drawing on white) has weight 1 everywhere.
    """
    results = [torch.empty((len(images), 3, side, side)) for side in sides]
    for rows, values in _cut(images, parts):
        lost = ((values >= 250) | (values <= 2)).float()
        own = _one_coloured(values)
        lost[own] = torch.maximum(lost[own], _even(values[own]))
        for side, usable in zip(sides, results, strict=True):
            usable[torch.from_numpy(rows)] = (1 - F.interpolate(lost, size=(side, side), mode="area")) ** 4
    for usable in results:
        weights = frame_weights(usable.shape[-1])
        usable[(usable * weights).sum((1, 2, 3)) <= 0.05 * 3 * weights.sum()] = 1
    return results


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
        own = _one_coloured(values)
        even = F.interpolate(_even(values[own]), size=(side, side), mode="area") if len(own) else torch.empty((0, 1, side, side))
        share = even.mean((1, 2, 3))
        chosen = (share > _LEAST_EVEN) & (share < _MOST_EVEN)
        if chosen.any():
            small = F.interpolate(values[own[chosen]] / 255, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
            rest = (even[chosen] < 0.05).float()
            mean = (small * rest).sum((2, 3), keepdim=True) / rest.sum((2, 3), keepdim=True).clamp_min(1)
            found.append(torch.from_numpy(rows)[own[chosen]])
            results.append(torch.where(rest > 0, small, mean))
    return torch.cat(found), torch.cat(results)


def _corners(values: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest and the highest value of each channel in the four corners, shape (N, 3, 1, 1)."""
    height, width = (max(1, length - 1) for length in values.shape[2:])
    corners = values[:, :, ::height, ::width]
    return corners.amin((2, 3), keepdim=True), corners.amax((2, 3), keepdim=True)


def _one_coloured(values: Tensor) -> Tensor:
    """Rows of the images (N, 3, h, w) whose corners have one colour: few photographs do, so that the others need no search for areas of it."""
    lowest, highest = _corners(values)
    return torch.nonzero((highest - lowest <= 1).all(1).flatten())[:, 0]


def _even(values: Tensor) -> Tensor:
    """Which pixels of images (N, 3, h, w) with corners of one colour are in an area of this colour: 0 or 1, shape (N, 1, h, w)."""
    lowest, highest = _corners(values)
    filled = ((values >= highest - 1) & (values <= lowest + 1)).all(1, keepdim=True)
    filled = -F.max_pool2d(-filled.float(), 3, 1, 1)  # removes single pixels, which may have this colour by chance
    return F.max_pool2d(filled, 7, 1, 3)  # restores what the previous line removed, and adds the blended rim of the area


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


def align(queries: Tensor, reals: Tensor, poses: Tensor, usable: Tensor, *, iterations: int, owners: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Align pairs of images, and compare them.

    Args:
        queries: float32, shape (M, 3, s, s), in [0, 1].
        reals: shape (N, 3, r, r), same range.
        poses: Initial poses, shape (N, 2, 3).
        usable: Weight of each value of the queries (``usable_pixels``), shape (M, 3, s, s), in [0, 1].
        iterations: Number of Gauss-Newton steps.
        owners: Pair i is ``queries[owners[i]]``, ``reals[i]``: int64, shape (N,). None: ``queries[i]``, ``reals[i]``.

    Returns:
        The poses, shape (N, 2, 3), and the agreement of each pair, in [-1, 1]: 1 for equal images, about 0 for unrelated ones.
    """
    if not len(poses):
        return poses, poses.new_empty(0)
    if owners is None:
        owners = torch.arange(len(reals))
    needed, owners = owners.unique(return_inverse=True)
    prepared = _prepared(queries[needed], usable[needed])
    results = []
    step = max(1, PAIR_FLOATS // prepared.features[0].numel())
    for start in range(0, len(poses), step):
        own = _Queries(*(values[owners[start : start + step]] for values in prepared))
        results.append(_align(own, reals[start : start + step], poses[start : start + step], iterations))
    return torch.cat([one[0] for one in results]), torch.cat([one[1] for one in results])


class _Queries(NamedTuple):
    """What alignment needs of its queries, one row each; neighbourhoods are those of ``_neighbourhoods``, h of them along an axis.

    Attributes:
        usable, believed: Weight of each value, without and with that of its place in the frame, shape (N, 3, s, s).
        amount: Smooth ``usable``.
        smooth: The smooth queries, minus 0.5.
        features: These and their changes with the six numbers of a pose, at every pixel or every second, shape (N, 7, 3, k, k).
        scale: 1 / weight of each neighbourhood, shape (N, 3, h, h).
        mean, variance, weight: Mean and variance of each neighbourhood, and how much it counts.
    """

    usable: Tensor
    believed: Tensor
    amount: Tensor
    smooth: Tensor
    features: Tensor
    scale: Tensor
    mean: Tensor
    variance: Tensor
    weight: Tensor


def _prepared(queries: Tensor, usable: Tensor) -> _Queries:
    """What is not usable does not count in the smoothing of its neighbours."""
    side = queries.shape[-1]
    believed = usable * frame_weights(side)
    amount = _filtered(usable, _binomial(side)).clamp_min(EPSILON)
    smooth = _filtered(usable * (queries - 0.5), _binomial(side)) / amount  # about 0, for the sake of precision
    padded = F.pad(smooth, (1, 1, 1, 1), mode="replicate")
    length = side / 4  # the width of a pixel is 2 / side
    slope_x = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) * length
    slope_y = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) * length
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(*2 * [axis[:: _stride(side)]], indexing="ij")
    each, slope_x, slope_y = (values[..., :: _stride(side), :: _stride(side)] for values in (smooth, slope_x, slope_y))
    features = torch.stack([each, slope_x * x, slope_x * y, slope_x, slope_y * x, slope_y * y, slope_y], 1)
    own = _filtered(torch.stack([usable, usable * smooth, usable * smooth**2], 1), _neighbourhoods(side))
    scale = 1 / own[:, 0].clamp_min(EPSILON)
    mean = own[:, 1] * scale
    variance = (own[:, 2] * scale - mean**2).clamp_min(0) + NOISE
    return _Queries(usable, believed, amount, smooth, features, scale, mean, variance, F.avg_pool2d(believed, 2))


def _align(queries: _Queries, reals: Tensor, poses: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """The poses whose agreement is best among those of all steps, and this agreement; pair i is row i of all arguments."""
    low, high, stride = poses - REACH, poses + REACH, _stride(queries.usable.shape[-1])
    real, inside = _warped(queries, reals, poses)
    best_poses, best = poses, _agreement(queries, real, inside)
    if iterations:
        # real = gain * (query + slopes . step): linear in (gain, gain * step). The slopes are those of the query, so that the normal equations are
        # the same in all steps (Baker & Matthews 2004, section 3.2).
        weights = (queries.believed * inside)[..., ::stride, ::stride]
        weights = (weights / weights.sum((2, 3), keepdim=True).clamp_min(EPSILON))[:, None]
        weighted = queries.features * weights
        mean = weighted.sum((3, 4), keepdim=True)
        normal = weighted.flatten(2) @ queries.features.flatten(2).transpose(1, 2) - mean.flatten(2) @ mean.flatten(2).transpose(1, 2)
        weighted = (weighted - mean * weights).flatten(2)
        solver = torch.linalg.inv(normal + torch.diag_embed(1e-3 * normal.diagonal(dim1=1, dim2=2) + 1e-8))
    for _ in range(iterations):
        solution = (solver @ (weighted @ real[..., ::stride, ::stride].flatten(1)[..., None]))[..., 0]
        step = (solution[:, 1:] / solution[:, :1].clamp_min(0.2)).clamp(-0.1, 0.1)
        poses = _without(poses, step.view(-1, 2, 3)).clamp(low, high)
        real, inside = _warped(queries, reals, poses)
        agreement = _agreement(queries, real, inside)
        better = agreement > best
        best, best_poses = torch.where(better, agreement, best), torch.where(better[:, None, None], poses, best_poses)
    return best_poses, best


def _warped(queries: _Queries, reals: Tensor, poses: Tensor) -> tuple[Tensor, Tensor]:
    """The photographs at these poses, as smooth as the queries, shape (N, 3, s, s), and how much of each pixel they show, (N, 1, s, s): 0 beyond
    their edges, and within a pixel of them, where nothing can be compared."""
    side = queries.usable.shape[-1]
    grid = F.affine_grid(poses, [len(poses), 3, side, side], align_corners=False)
    inside = ((1 - grid.abs()) * side / 2 - 0.5).clamp(0, 1).prod(3)[:, None]
    warped = F.grid_sample(reals, grid, align_corners=False, padding_mode="border") - 0.5
    return _filtered(queries.usable * warped, _binomial(side)) / queries.amount, inside


def _agreement(queries: _Queries, real: Tensor, inside: Tensor) -> Tensor:
    """Mean correlation of small neighbourhoods, shape (N,).

    What a picture shows is in its forms; its smooth light and colours are similar for any two fish on the same background. Neighbourhoods count by
    their contrast, as those without forms show nothing but noise.
    """
    right = queries.usable * real
    moments = _filtered(torch.stack([right, right * real, right * queries.smooth], 1), _neighbourhoods(real.shape[-1]))
    mean, square, product = (moments * queries.scale[:, None]).unbind(1)
    deviation = (((square - mean**2).clamp_min(0) + NOISE) * queries.variance).sqrt()
    contrast = deviation.sqrt()
    weights = queries.weight * F.avg_pool2d(inside, 2) * (contrast / (contrast + CONTRAST)) ** 2
    return (weights * (product - mean * queries.mean) / deviation).sum((1, 2, 3)) / weights.sum((1, 2, 3)).clamp_min(EPSILON)


def _without(poses: Tensor, steps: Tensor) -> Tensor:
    """The poses after the inverse of the maps x -> x + steps (x, y, 1), both of shape (N, 2, 3)."""
    matrix = torch.linalg.inv(torch.eye(2) + steps[:, :, :2])
    turned = poses[:, :, :2] @ matrix
    return torch.cat([turned, poses[:, :, 2:] - turned @ steps[:, :, 2:]], 2)


@functools.cache
def _binomial(side: int) -> Tensor:
    """Matrix of the binomial filter 1 4 6 4 1 along an axis of this length, (side, side). Border pixels repeat."""
    matrix = torch.zeros((side, side))
    for shift, weight in zip(range(-2, 3), (1, 4, 6, 4, 1), strict=True):
        matrix[torch.arange(side), (torch.arange(side) + shift).clamp(0, side - 1)] += weight / 16
    return matrix


@functools.cache
def _neighbourhoods(side: int) -> Tensor:
    """Matrix of the weights of neighbourhoods along an axis, (side / 2, side): about Gaussian, with a standard deviation of 1.5 px, at every second
    pixel, as they overlap."""
    return F.avg_pool1d((_binomial(side) @ _binomial(side)).T, 2).T.contiguous()


def _stride(side: int) -> int:
    """Distance in pixels of the values from which a step is computed: more than 16 along an axis make it no better."""
    return max(1, side // 16)


def _filtered(images: Tensor, matrix: Tensor) -> Tensor:
    """Images (..., s, s) after a filter along both axes: products of small matrices, which take a fraction of the time of convolutions."""
    return matrix @ (images @ matrix.T)

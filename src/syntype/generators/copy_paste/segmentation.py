"""Segmentation of the animal in a photograph: GrabCut's colour models, without user input and without graph cut.

GrabCut (Rother, Kolmogorov and Blake 2004, "GrabCut: interactive foreground extraction using iterated graph cuts") models the colours of foreground
and background by one Gaussian mixture each, and alternates between labelling pixels and fitting the mixtures. Two things differ here. The user's
rectangle is replaced by a spatial prior: first the image's centre, then the mean mask of all photographs. The graph cut is replaced by the guided
filter (``matting.py``), which aligns the mask's edge with the image's. All images of a batch are fitted at once.

Code: written for Syntype from the papers' equations.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from syntype.generators.copy_paste.matting import guided_filter, soft_outline

__all__ = [
    "PLAUSIBLE_AREA",
    "WORKING_SIZE",
    "Outlines",
    "colour_probabilities",
    "ellipse",
    "full_size_outlines",
    "largest_component",
    "segment",
    "to_working_size",
    "unsupervised_probabilities",
]


class Outlines(NamedTuple):
    """Where the animals are in N photographs.

    Attributes:
        masks: uint8, shape (N, size, size), from 0 (background) to 255 (animal), with soft edges.
        cleared: uint8, shape (N, size, size), 255 where the animal and all that may be part of it is removed from a place, 0 elsewhere.
    """

    masks: Tensor
    cleared: Tensor


PLAUSIBLE_AREA = (0.03, 0.75)
"""Smallest and largest share of the image that a mask may cover; any other counts as a failure."""

WORKING_SIZE = 64  # px; larger images are segmented at this size, and the mask is refined at full size
_COMPONENTS = 4  # Gaussians each for foreground and background; GrabCut uses 5
_ROUNDS = 3  # iterations of labelling and fitting
_UNKNOWN_LOG_DENSITY = -3.0  # log density of the animal's colours while they are unknown, in the units of _log_density
_LIMIT = 5.0  # largest evidence of a pixel's colour, in log-odds
_SUSPECTED = 0.3  # probability of animal above which an emptied place is filled
_RIM = 0.05  # width of what is removed around an animal, as a share of the side
_BATCH = 64


def ellipse(size: int, width: float = 0.36, height: float = 0.26, softness: float = 0.35) -> Tensor:
    """A soft ellipse in the image's centre: float32, shape (size, size), 1 inside, 0 outside.

    Args:
        width, height: half axes as shares of the side.
        softness: width of the transition, as a share of the half axes.
    """
    line = (torch.arange(size) + 0.5) / size - 0.5
    radius = torch.sqrt((line[None] / width) ** 2 + (line[:, None] / height) ** 2)
    return ((1 - radius) / softness + 0.5).clamp(0, 1)


def segment(images: np.ndarray) -> Outlines:
    """Segment the animal in each photograph. Assumes one animal, near the centre, in colours that differ from its surroundings.

    Args:
        images: uint8, shape (N, size, size, 3), RGB.

    Returns:
        the outlines; of a soft ellipse where no plausible mask is found.
    """
    if not len(images):
        return Outlines(*(torch.empty(images.shape[:3], dtype=torch.uint8) for _ in range(2)))
    soft = unsupervised_probabilities(to_working_size(images))
    return full_size_outlines(images, soft, soft)


def to_working_size(images: np.ndarray, side: int = WORKING_SIZE) -> Tensor:
    """Photographs scaled down for the colour models: float32, shape (N, 3, S, S), in [0, 1]; S is at most ``side``."""
    return torch.cat([_downscale(torch.from_numpy(images[at : at + _BATCH]), side) for at in range(0, len(images), _BATCH)])


def unsupervised_probabilities(small: Tensor) -> Tensor:
    """Probability that a pixel shows the animal, from colours and from the mean position of the animals in these photographs: shape (N, S, S).

    Args:
        small: as ``to_working_size`` returns them.
    """
    prior = _centre_prior(small.shape[-1])
    for _ in range(2):  # the first pass gives the second its spatial prior
        soft = colour_probabilities(small, prior)
        prior = (0.5 * prior + 0.5 * soft.mean(0)).clamp(0.01, 0.6)
    return soft


def colour_probabilities(small: Tensor, prior: Tensor) -> Tensor:
    """Probability that a pixel shows the animal: float32, shape (N, S, S).

    Args:
        small: as ``to_working_size`` returns them.
        prior: the prior probability. Shape (S, S) for one spatial prior: the animals' colours are then unknown at first. Shape (N, S, S) for one
            prior a photograph: the colour models are initialised from it.
    """
    parts = range(0, len(small), _BATCH)
    return torch.cat([_fit_colour_models(small[at : at + _BATCH], prior if prior.dim() == 2 else prior[at : at + _BATCH]) for at in parts])


def full_size_outlines(images: np.ndarray, soft: Tensor, suspected: Tensor) -> Outlines:
    """Outlines at the photographs' own size; of a soft ellipse where no plausible mask is found.

    Args:
        images: as for ``segment``.
        soft: probabilities at working size, shape (N, S, S).
        suspected: the same; an emptied place loses what is likely animal by either of the two.
    """
    found = Outlines(*(torch.empty(images.shape[:3], dtype=torch.uint8) for _ in range(2)))
    for row, one in enumerate(soft):
        mask = largest_component(one)
        if not PLAUSIBLE_AREA[0] <= float(mask.mean()) <= PLAUSIBLE_AREA[1]:
            mask = ellipse(len(mask))
        alpha = soft_outline(images[row].astype(np.float32) / 255, mask.numpy())
        found.masks[row] = torch.from_numpy(np.rint(alpha * 255).astype(np.uint8))
        found.cleared[row] = torch.from_numpy(_cleared(alpha, np.maximum(one.numpy(), suspected[row].numpy())).astype(np.uint8) * 255)
    return found


def _cleared(alpha: np.ndarray, suspected: np.ndarray) -> np.ndarray:
    """What has to be removed from a photograph to empty the place: bool, shape (size, size).

    The animal, what is connected with it and may belong to it, and a rim against soft parts and shadows.

    Args:
        alpha: the animal's mask, float32, shape (size, size).
        suspected: probability of animal at working size.
    """
    size = len(alpha)
    likely = cv2.resize(suspected, (size, size), interpolation=cv2.INTER_LINEAR) > _SUSPECTED
    animal = alpha > 0.1
    whole = ndimage.binary_propagation(animal, mask=animal | likely)
    radius = max(1, round(size * _RIM))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(whole.astype(np.uint8), kernel) > 0


def _downscale(images: Tensor, side: int) -> Tensor:
    """uint8 NHWC -> float32 NCHW in [0, 1], no larger than ``side``."""
    batch = images.permute(0, 3, 1, 2).float().div(255)
    if batch.shape[-1] > side:
        batch = functional.interpolate(batch, size=(side, side), mode="area")
    return batch


def _centre_prior(size: int) -> Tensor:
    return 0.01 + 0.59 * ellipse(size, 0.32, 0.26, 0.9)


def _fit_colour_models(images: Tensor, prior: Tensor) -> Tensor:
    """``colour_probabilities`` for one batch."""
    count, _, size, _ = images.shape
    colours = images.flatten(2)  # (N, 3, P)
    centred = colours - colours.mean(2, keepdim=True)
    features = _quadratic(centred / (centred.square().mean((1, 2), keepdim=True).sqrt() + 0.02))
    sampled = torch.arange(size * size).view(size, size)[::2, ::2].flatten()  # a quarter of the pixels is enough to fit colours
    sample = features[:, :, sampled].contiguous()
    place = torch.logit(prior, eps=0.01).flatten(-2)
    guides = images.permute(0, 2, 3, 1).contiguous().numpy()
    inside: Tensor | None = None
    outside: Tensor | None = None
    foreground = prior.flatten(1)
    if prior.dim() == 2:
        # The animal's colours are unknown at first (a flat density); the background's are measured where the prior is low.
        outside = _mixture(sample, _rim(size).flatten()[sampled].expand(count, -1), None)
    for turn in range(_ROUNDS):
        if turn or outside is None:
            inside = _mixture(sample, foreground[:, sampled], inside)
            outside = _mixture(sample, 1 - foreground[:, sampled], outside)
        known = torch.tensor(_UNKNOWN_LOG_DENSITY) if inside is None else torch.logsumexp(inside @ features, 1)
        evidence = known - torch.logsumexp(outside @ features, 1)
        foreground = torch.sigmoid(evidence.clamp(-_LIMIT, _LIMIT) + place)
        pairs = zip(guides, foreground.view(count, size, size).numpy(), strict=True)
        smooth = np.stack([guided_filter(*pair, radius=max(1, size // 32), epsilon=2e-3) for pair in pairs])
        foreground = torch.from_numpy(smooth).flatten(1).clamp(0.001, 0.999)
    return foreground.view(count, size, size)


def _rim(size: int) -> Tensor:
    """1 near the image's edge, where background is likeliest, 0 elsewhere: float32, shape (size, size)."""
    rim = torch.ones(size, size)
    width = max(1, round(size * 0.1))
    rim[width:-width, width:-width] = 0
    return rim


def _quadratic(colours: Tensor) -> Tensor:
    """Monomials up to the second degree, in which a Gaussian's log density is linear: (N, 3, P) -> (N, 10, P)."""
    r, g, b = colours.unbind(1)
    return torch.stack([torch.ones_like(r), r, g, b, r * r, g * g, b * b, r * g, r * b, g * b], 1)


def _mixture(features: Tensor, weights: Tensor, start: Tensor | None, steps: int = 2) -> Tensor:
    """Weighted expectation-maximisation of one Gaussian mixture an image.

    Args:
        features: ``_quadratic`` of the colours, shape (N, 10, P).
        weights: how much each pixel belongs to this mixture, shape (N, P).
        start: an earlier result to continue from; None initialises the components along the principal axis of the colours.

    Returns:
        coefficients, on ``features``, of each component's log density plus log weight: shape (N, components, 10).
    """
    if start is None:
        shares = _initial_components(features[:, 1:4], weights)
    else:
        shares = torch.softmax(start @ features, 1)
    coefficients = _log_density((shares * weights[:, None]) @ features.transpose(1, 2))
    for _ in range(steps - 1):
        shares = torch.softmax(coefficients @ features, 1)
        coefficients = _log_density((shares * weights[:, None]) @ features.transpose(1, 2))
    return coefficients


def _initial_components(colours: Tensor, weights: Tensor) -> Tensor:
    """Initial components: equal masses along the principal axis of the colours (after Orchard and Bouman 1991): 0 or 1, shape (N, components, P)."""
    mass = weights.sum(1)[:, None, None].clamp(min=1e-3)
    centred = colours - (colours * weights[:, None]).sum(2, keepdim=True) / mass
    axis = torch.linalg.eigh((centred * weights[:, None]) @ centred.transpose(1, 2))[1][:, :, -1]
    order = (axis[:, None] @ centred)[:, 0].argsort(1)
    below = torch.cumsum(weights.gather(1, order), 1) / mass[:, 0]
    part = (below * _COMPONENTS).long().clamp(0, _COMPONENTS - 1)
    members = torch.zeros_like(part).scatter(1, order, part)
    return functional.one_hot(members, _COMPONENTS).float().transpose(1, 2)


def _log_density(moments: Tensor) -> Tensor:
    """From weighted sums of ``_quadratic`` to coefficients of log(weight * Gaussian), without the constant 3/2 log(2 pi): (N, K, 10) to the same
    shape."""
    mass = moments[..., 0] + 1e-3
    share = mass / mass.sum(1, keepdim=True)
    means = moments[..., 1:4] / mass[..., None]
    second = moments[..., 4:] / mass[..., None]
    rows = [[0, 3, 4], [3, 1, 5], [4, 5, 2]]  # positions of rr, gg, bb, rg, rb, gb in the matrix
    covariance = torch.stack([torch.stack([second[..., index] for index in row], -1) for row in rows], -2)
    covariance = covariance - means[..., :, None] * means[..., None, :] + 0.02 * torch.eye(3)  # least variance: a photograph's noise
    precision = torch.linalg.inv(covariance)
    linear = (precision @ means[..., None])[..., 0]
    constant = torch.log(share) - 0.5 * torch.logdet(covariance) - 0.5 * (linear * means).sum(-1)
    squares = -0.5 * torch.stack([precision[..., 0, 0], precision[..., 1, 1], precision[..., 2, 2]], -1)
    crossed = -torch.stack([precision[..., 0, 1], precision[..., 0, 2], precision[..., 1, 2]], -1)
    return torch.cat([constant[..., None], linear, squares, crossed], -1)


def largest_component(probability: Tensor) -> Tensor:
    """The main connected component above one half, with holes filled and soft edges: float32, shape (size, size), in [0, 1]."""
    soft = probability.numpy()
    hard = ndimage.binary_opening(soft > 0.5, iterations=1)
    pieces, number = ndimage.label(hard)
    if not number:
        return torch.zeros_like(probability)
    # weighted by closeness to the centre, so that a large rock at the edge is not taken for the animal
    size = len(soft)
    distance = np.hypot(*(np.indices(soft.shape) + 0.5 - size / 2)) / size
    scores = ndimage.sum_labels(np.exp(-((distance / 0.25) ** 2)), pieces, range(1, number + 1))
    body = ndimage.binary_fill_holes(pieces == 1 + int(np.argmax(scores)))
    # opening removes fins and tails: restore what is connected to the body and near it
    reach = ndimage.binary_dilation(body, iterations=max(2, size // 12)) & (soft > 0.5)
    body = ndimage.binary_fill_holes(ndimage.binary_propagation(body, mask=reach | body))
    near = ndimage.binary_dilation(body)
    return torch.from_numpy(np.where(body, np.maximum(soft, 0.8), np.where(near, soft, 0)).astype(np.float32))

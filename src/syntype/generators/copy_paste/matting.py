"""Soft outlines at full size: the guided filter with a colour photograph as guide, and the animal's own colours along its edge."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["foreground_colours", "guided_filter", "soft_outline"]


def guided_filter(guide: np.ndarray, target: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """Align the edges of a mask with those of a photograph: the locally linear function of the colours that is nearest to the mask.

    He, Sun and Tang 2013, "Guided image filtering", eqs 19 to 21 (colour guide). Near edges of the photograph the result is like an alpha matte.

    Args:
        guide: float32, shape (H, W, 3), in [0, 1].
        target: float32, shape (H, W): the mask.
        radius: of the square windows, in pixels.
        epsilon: variances of colour below this are smoothed over.

    Returns:
        float32, shape (H, W).
    """
    window = (2 * radius + 1, 2 * radius + 1)
    r, g, b = (guide[..., channel] for channel in range(3))
    means = cv2.blur(np.dstack([guide, target, guide * target[..., None], r * r, g * g, b * b, r * g, r * b, g * b]), window)
    colour, mask = means[..., :3], means[..., 3]
    x, y, z = (means[..., 4 + channel] - colour[..., channel] * mask for channel in range(3))  # covariances of mask and colours
    mr, mg, mb = (colour[..., channel] for channel in range(3))
    rr, gg, bb = means[..., 7] - mr * mr + epsilon, means[..., 8] - mg * mg + epsilon, means[..., 9] - mb * mb + epsilon
    rg, rb, gb = means[..., 10] - mr * mg, means[..., 11] - mr * mb, means[..., 12] - mg * mb
    # the inverse of the symmetric 3x3 matrix, by its cofactors
    a, d, f = gg * bb - gb * gb, rr * bb - rb * rb, rr * gg - rg * rg
    h, i, j = rb * gb - rg * bb, rg * gb - rb * gg, rg * rb - rr * gb
    slope = np.dstack([a * x + h * y + i * z, h * x + d * y + j * z, i * x + j * y + f * z]) / (rr * a + rg * h + rb * i)[..., None]
    line = cv2.blur(np.dstack([slope, mask - (slope * colour).sum(2)]), window)
    return np.asarray((line[..., :3] * guide).sum(2) + line[..., 3], np.float32)


def soft_outline(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """An alpha matte at full size from a mask at working size: float32, shape (size, size), in [0, 1].

    Args:
        image: float32, shape (size, size, 3), in [0, 1].
        mask: float32, shape (S, S), in [0, 1], S at most ``size``.
    """
    size = len(image)
    large = cv2.resize(mask, (size, size), interpolation=cv2.INTER_LINEAR) if len(mask) != size else mask
    alpha = guided_filter(image, large, max(1, size // 32), 1e-3)
    # The filter also copies stripes and spots into the mask: it decides at the edge alone.
    margin = max(1, size // 32)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    hard = (large > 0.5).astype(np.uint8)
    alpha = np.clip((alpha - 0.5) * 2 + 0.5, 0, 1)
    alpha = np.where(cv2.erode(hard, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1) > 0, 1, alpha)
    return np.where(cv2.dilate(hard, kernel) > 0, alpha, 0).astype(np.float32)


def foreground_colours(image: np.ndarray, alpha: np.ndarray, radii: tuple[int, int]) -> np.ndarray:
    """The animal's own colours at its soft edge, where a pixel of the photograph mixes animal and background: float32, shape (H, W, 3).

    Forte 2021, "Approximate fast foreground colour estimation", eqs 4 to 7 (blur fusion, applied twice). Outside the animal its edge's colours go on.

    Args:
        image: float32, shape (H, W, 3), in [0, 1].
        alpha: float32, shape (H, W), in [0, 1].
        radii: of the blur the first and the second time, in pixels.
    """
    colours, background, share = image, image, alpha[..., None]
    for radius in radii:
        window = (2 * radius + 1, 2 * radius + 1)
        inside, outside = cv2.blur(alpha, window)[..., None], cv2.blur(1 - alpha, window)[..., None]
        near = cv2.blur(colours * share, window) / (inside + 1e-5)
        background = cv2.blur(background * (1 - share), window) / (outside + 1e-5)
        # where no animal is within reach the estimate stays the photograph; nothing of it is shown there
        near = np.where(inside > 1e-3, near, image)
        colours = np.clip(near + share * (image - share * near - (1 - share) * background), 0, 1)
    return np.asarray(colours, np.float32)

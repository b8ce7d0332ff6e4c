"""Which photograph an image shares its very pixels with: the middle of a photograph, moved, scaled or mirrored, before another background.

The middle of each photograph is compared with every place of an image by normalised cross-correlation (Lewis 1995, "Fast normalized
cross-correlation", equation 2, by Fourier transforms), after slow changes of light and colour are taken away. Two photographs of different
individuals agree in the outline of the animal; only the same picture agrees in its fine structure.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from syntype.curation.alignment import downscale

__all__ = ["SIDE", "piece_similarity"]

SIDE = 64
"""Side in pixels at which images are compared."""
MIDDLE = 0.35
"""Half the side of the piece that is compared, as a share of half the photograph's side. A larger piece contains more of the background, which
a cut-out animal does not bring along (44 cut-out reef fish on other backgrounds: 40 found with 0.35, 28 with 0.5, 16 with 0.75)."""
_SCALES = np.exp(np.linspace(np.log(0.7), np.log(1.25), 11))
_SIGMA = 1.5  # pixels; structure coarser than this is taken away
_PORTION = 64  # pairs correlated at a time


@torch.inference_mode()
def piece_similarity(images: np.ndarray, photographs: np.ndarray) -> np.ndarray:
    """How well the middle of each photograph fits somewhere into each image.

    Args:
        images: uint8, shape (N, height, width, 3).
        photographs: uint8, shape (P, height, width, 3).

    Returns:
        float32, shape (N, P): the largest correlation over all shifts, 11 scales from 0.7 to 1.25, and mirroring; at most 1.
    """
    queries = _fine_structure(_small(images))
    # A piece is only put where it lies in the image, so that the Fourier transforms need no room beyond it: nothing wraps around.
    spectra, energy = torch.fft.rfft2(queries), torch.fft.rfft2(queries.square().sum(1))
    pictures = _small(photographs)
    best = torch.full((len(images), len(photographs)), -1.0)
    for scale in _SCALES:
        side = round(SIDE * float(scale))
        inner = torch.nonzero(((torch.arange(side) + 0.5) / side * 2 - 1).abs() < MIDDLE)[:, 0]
        middle = slice(int(inner[0]), int(inner[-1]) + 1)
        scaled = F.interpolate(pictures, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
        pieces = _fine_structure(scaled)[:, :, middle, middle]
        own, places = pieces.square().sum((1, 2, 3)), SIDE - len(inner) + 1
        window = torch.fft.rfft2(torch.ones(len(inner), len(inner)), s=(SIDE, SIDE)).conj()
        # Energy of the image below the piece, wherever that is put.
        below = torch.fft.irfft2(energy * window, s=(SIDE, SIDE))[:, :places, :places].clamp_min(1e-6).rsqrt()
        for oriented in (pieces, pieces.flip(3)):
            transformed = torch.fft.rfft2(oriented, s=(SIDE, SIDE)).conj()
            for row in range(len(images)):
                for begin in range(0, len(photographs), _PORTION):
                    part = slice(begin, begin + _PORTION)
                    product = (spectra[row][None] * transformed[part]).sum(1)
                    fit = (torch.fft.irfft2(product, s=(SIDE, SIDE))[:, :places, :places] * below[row]).amax((1, 2))
                    best[row, part] = torch.maximum(best[row, part], fit * (own[part] + 1e-9).rsqrt())
    return best.numpy()


def _small(images: np.ndarray) -> Tensor:
    return downscale(images, SIDE)


def _fine_structure(images: Tensor) -> Tensor:
    """The images without what changes slowly: minus their Gaussian blur."""
    offsets = torch.arange(-4, 5, dtype=torch.float32)
    kernel = torch.exp(-offsets.square() / (2 * _SIGMA**2))
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 1, -1)
    padded = F.pad(images, (4, 4, 4, 4), mode="replicate")
    smooth = F.conv2d(F.conv2d(padded, kernel, groups=images.shape[1]), kernel.transpose(2, 3), groups=images.shape[1])
    return images - smooth

"""Differentiable augmentation of a discriminator's input.

Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training" (arXiv 2006.10738): real and generated images get the same kinds of
random colour change, translation and cut-out, through which gradients flow. Random numbers come from torch's global generator.

An augmentation does not leak into generated images if it is invertible as an operation on distributions of images (Karras et al. 2020, arXiv
2006.06676, section 2.2). Every augmentation applied with a probability below one half is invertible, as most images stay unchanged. With probability
1, colour change and translation (recognisable by its grey margin) are still invertible, but cut-out is not. In practice, short trainings with
probability 1 gave images with more saturated colours than the photographs.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["augment", "mirror"]


def augment(
    images_NCHW: Tensor, *, colour: float = 1.0, translation: float = 0.125, cutout: float = 0.5, probability: float = 1.0, versions: int = 1
) -> Tensor:
    """Augment a batch.

    Args:
        images_NCHW: in [-1, 1].
        colour: strength of the change of brightness, saturation and contrast (1: as in the paper; 0: none).
        translation: largest shift, as a share of the side; the margin is filled with mid-grey.
        cutout: side of the grey square, as a share of the image's side.
        probability: that an image is augmented, drawn independently for each of the three kinds.
        versions: number of versions of every image in the batch, all first versions first; the versions of one image get the same augmentation.
    """
    n = len(images_NCHW)

    def rand(*shape: int) -> Tensor:
        return torch.rand(n // versions, *shape, device=images_NCHW.device).repeat(versions, *[1] * len(shape))

    def uniform() -> Tensor:
        return rand(1, 1, 1)

    def chosen() -> Tensor:
        return (uniform() < probability).to(images_NCHW.dtype)

    x = images_NCHW
    if colour > 0:
        on = chosen() * colour
        x = x + on * (uniform() - 0.5)
        grey = x.mean(dim=1, keepdim=True)
        x = torch.lerp(grey, x, 1 + on * (2 * uniform() - 1))
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        x = torch.lerp(mean, x, 1 + on * (uniform() - 0.5))
    height, width = x.shape[-2:]
    if translation > 0:
        on = chosen().view(n)
        shift = torch.round((2 * rand(2) - 1) * on[:, None] * translation * torch.tensor([height, width], device=x.device))
        rows = torch.arange(height, device=x.device)[None] + shift[:, :1]
        columns = torch.arange(width, device=x.device)[None] + shift[:, 1:]
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None]
        index = (
            (rows.clamp(0, height - 1).long()[:, :, None] * width + columns.clamp(0, width - 1).long()[:, None])
            .view(n, 1, -1)
            .expand(-1, x.shape[1], -1)
        )
        x = (x.flatten(2).gather(2, index).view_as(x) * inside[:, None]).contiguous(memory_format=torch.channels_last)
    if cutout > 0:
        on = chosen().view(n, 1)
        side = torch.tensor([cutout * height / 2, cutout * width / 2], device=x.device)
        centre = rand(2) * torch.tensor([height, width], device=x.device)
        rows = (torch.arange(height, device=x.device)[None] + 0.5 - centre[:, :1]).abs() < side[0] * on
        columns = (torch.arange(width, device=x.device)[None] + 0.5 - centre[:, 1:]).abs() < side[1] * on
        x = x * ~(rows[:, None, :, None] & columns[:, None, None, :])
    return x


def mirror(images_NCHW: Tensor, allowed: bool) -> tuple[Tensor, Tensor]:
    """Mirror each image with probability one half, if ``allowed``.

    Returns:
        the images; and which were mirrored: int64, shape (N,), 0 or 1.
    """
    if not allowed:
        return images_NCHW, torch.zeros(len(images_NCHW), dtype=torch.int64, device=images_NCHW.device)
    mirrored = torch.rand(len(images_NCHW), device=images_NCHW.device) < 0.5
    return torch.where(mirrored[:, None, None, None], images_NCHW.flip(3), images_NCHW), mirrored.long()

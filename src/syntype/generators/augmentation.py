"""Differentiable augmentation of what a discriminator sees.

Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training" (arXiv 2006.10738): real and generated images
go through the same random colour change, translation and cut-out, through which gradients flow.
Everything is done for the whole batch at once; randomness comes from torch's global generator.

An augmentation does not leak into what is generated if it is invertible: if no two distributions of images look alike after it (Karras et al.
2020, arXiv 2006.06676, section 2.2). With a probability below one half any augmentation is, as most images pass untouched; with probability 1 the
colour change and the translation (which its grey margin betrays) still are, but the cut-out is not, as nobody then ever sees a whole image.
That is theory: in short trainings with probability 1, images with more saturated colours than any photograph were seen.
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
        translation: largest shift, as a part of the side; what comes in is mid-grey.
        cutout: side of the blanked square, as a part of the image's side.
        probability: that an image is augmented at all, drawn for each of the three kinds.
        versions: the batch holds so many versions of every image, all first versions first; the versions of one image are changed alike.
    """
    n = len(images_NCHW)

    def rand(*shape: int) -> Tensor:
        return torch.rand(n // versions, *shape, device=images_NCHW.device).repeat(versions, *[1] * len(shape))

    def draw() -> Tensor:
        return rand(1, 1, 1)

    def chosen() -> Tensor:
        return (draw() < probability).to(images_NCHW.dtype)

    x = images_NCHW
    if colour > 0:
        on = chosen() * colour
        x = x + on * (draw() - 0.5)
        grey = x.mean(dim=1, keepdim=True)
        x = torch.lerp(grey, x, 1 + on * (2 * draw() - 1))
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        x = torch.lerp(mean, x, 1 + on * (draw() - 0.5))
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
    """The images, each mirrored with a chance of one half where that is allowed; and which were: int64, shape (N,), 0 or 1."""
    if not allowed:
        return images_NCHW, torch.zeros(len(images_NCHW), dtype=torch.int64, device=images_NCHW.device)
    mirrored = torch.rand(len(images_NCHW), device=images_NCHW.device) < 0.5
    return torch.where(mirrored[:, None, None, None], images_NCHW.flip(3), images_NCHW), mirrored.long()

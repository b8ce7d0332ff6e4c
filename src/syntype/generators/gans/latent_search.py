"""The latent of a photograph, found by gradient descent: how families that generate from latents vary one and fill it in.

Yeh et al. 2017, "Semantic Image Inpainting with Deep Generative Models" (arXiv 1607.07539): look for the latent whose image agrees with what
is known of the photograph (the context loss, eq. 4) and is likely in itself; then take from that image what is not known. For the second, the
paper asks the discriminator, which a finished generator no longer has; here latents are held at the length that normal draws of many dimensions
have, outside which a generator was never trained (as in Menon et al. 2020, arXiv 2003.03808, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from syntype.generators.copy_paste.filling import blend_seamlessly
from syntype.recipe import Settings

__all__ = ["LatentSearchControls", "inpaint_by_search", "invert"]

SCALES = (1, 2, 4)
"""Images are compared at their full, half and quarter side: the smaller ones tell the latent which way a whole shape must move."""
PRIOR_WEIGHT = 0.1
"""Weight of the squared distance of a latent's mean square from 1, beside mean absolute errors of pixels in [-1, 1]."""


class LatentSearchControls(Settings):
    """Controls of families that vary photographs or fill them in by looking for their latents."""

    search_steps: int = Field(200, ge=0)
    """Steps of the search; 0 takes what the seed draws."""
    search_learning_rate: float = Field(0.05, gt=0)
    """Adam's learning learning_rate of the search at its start; it falls to 0 in a straight line."""


def invert(
    generate: Callable[[Tensor], Tensor], start: Tensor, images_NCHW: Tensor, masks_N1HW: Tensor, *, steps: int, learning_rate: float
) -> Tensor:
    """Latents whose images come near to what is known of the photographs: shape (N, latent_dim).

    Each image's loss is the sum over ``SCALES`` of the mean absolute error of its known pixels, and ``PRIOR_WEIGHT * (mean(z^2) - 1)^2``.
    No row looks at another, and nothing is generated at random. May be called with gradients switched off.

    Args:
        generate: latents, shape (N, latent_dim) -> images, shape (N, 3, size, size), differentiable, each row of its own; in [-1, 1] or a little beyond.
        start: where the search begins, float32, shape (N, latent_dim), such as standard normal draws.
        images_NCHW: photographs, shape (N, 3, size, size), in [-1, 1]; what lies under the mask is not looked at.
        masks_N1HW: bool, shape (N, 1, size, size), true where the photograph is not known.
        steps: gradient steps.
        learning_rate: Adam's learning learning_rate at the start.
    """
    with torch.inference_mode(False), torch.enable_grad():
        # clones: what was made in inference mode cannot be kept for a backward pass
        latents = start.detach().clone().requires_grad_()
        photographs, masks = (x.detach().to(start.device).clone() for x in (images_NCHW, masks_N1HW))
        known = [F.avg_pool2d((~masks).float(), scale).sum((1, 2, 3)).clamp(min=1e-6) for scale in SCALES]
        optimiser = torch.optim.Adam([latents], lr=learning_rate)
        for step in range(steps):
            difference = (generate(latents).float() - photographs).masked_fill(masks, 0.0)
            # a pooled difference is as large as its share of known pixels, so each counts by that share
            errors = [F.avg_pool2d(difference, scale).abs().mean(1).sum((1, 2)) / area for scale, area in zip(SCALES, known, strict=True)]
            prior = (latents.square().mean(1) - 1).square()
            loss = torch.stack(errors).sum() + PRIOR_WEIGHT * prior.sum()
            (latents.grad,) = torch.autograd.grad(loss, latents)
            optimiser.param_groups[0]["lr"] = learning_rate * (1 - step / steps)
            optimiser.step()
    return latents.detach()


def inpaint_by_search(
    generate: Callable[[Tensor], Tensor], start: Tensor, images_NCHW: Tensor, masks_N1HW: Tensor, *, steps: int, learning_rate: float
) -> Tensor:
    """The photographs, what is masked generated from the latents that ``invert`` finds and joined to the rest without a seam: float32, shape
    (N, 3, size, size), in [-1, 1], on the CPU.

    What is not masked comes back unchanged. The arguments are those of ``invert``.
    """
    latents = invert(generate, start, images_NCHW, masks_N1HW, steps=steps, learning_rate=learning_rate)
    with torch.no_grad():
        generated = generate(latents).float().cpu()
    return blend_seamlessly(generated, images_NCHW.cpu().float(), masks_N1HW.cpu())

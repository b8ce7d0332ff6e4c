"""GAN inversion: the latent of a photograph, found by gradient descent; used to vary and inpaint photographs.

Yeh et al. 2017, "Semantic Image Inpainting with Deep Generative Models" (arXiv 1607.07539): find the latent whose image fits the known pixels
(context loss, eq. 4) and is probable, and inpaint with that image. The paper uses the discriminator for the probability, which a saved generator does
not include. Here latents are held at the length typical of normal vectors of many dimensions, on which the generator was trained (as in Menon et al.
2020, arXiv 2003.03808, section 3.2).
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
"""Images are compared at full, half and quarter side; the small ones give a gradient for moving whole shapes."""
PRIOR_WEIGHT = 0.1
"""Weight of the squared distance of a latent's mean square from 1; the other losses are mean absolute errors of pixels in [-1, 1]."""


class LatentSearchControls(Settings):
    """Controls of families that vary or inpaint photographs by a search for their latents."""

    search_steps: int = Field(200, ge=0)
    """Gradient steps of the search; 0 uses the seed's latent."""
    search_learning_rate: float = Field(0.05, gt=0)
    """Adam's learning rate at the start of the search; it decreases linearly to 0."""


def invert(
    generate: Callable[[Tensor], Tensor], start: Tensor, images_NCHW: Tensor, masks_N1HW: Tensor, *, steps: int, learning_rate: float
) -> Tensor:
    """Latents whose images are near the photographs: shape (N, latent_dim).

    Each image's loss is the sum over ``SCALES`` of the mean absolute error of its unmasked pixels, plus ``PRIOR_WEIGHT * (mean(z^2) - 1)^2``. Rows do
    not affect each other, and there are no random numbers. May be called with gradients switched off.

    Args:
        generate: latents, shape (N, latent_dim) -> images, shape (N, 3, size, size), about in [-1, 1]; differentiable, each row independent.
        start: initial latents, float32, shape (N, latent_dim), such as standard normal numbers.
        images_NCHW: photographs, shape (N, 3, size, size), in [-1, 1]; pixels under the mask are ignored.
        masks_N1HW: bool, shape (N, 1, size, size), true where pixels are unknown.
        steps: gradient steps.
        learning_rate: Adam's, at the start.
    """
    with torch.inference_mode(False), torch.enable_grad():
        # clones, as tensors made in inference mode cannot be saved for a backward pass
        latents = start.detach().clone().requires_grad_()
        photographs, masks = (x.detach().to(start.device).clone() for x in (images_NCHW, masks_N1HW))
        known = [F.avg_pool2d((~masks).float(), scale).sum((1, 2, 3)).clamp(min=1e-6) for scale in SCALES]
        optimiser = torch.optim.Adam([latents], lr=learning_rate)
        for step in range(steps):
            difference = (generate(latents).float() - photographs).masked_fill(masks, 0.0)
            # a pooled difference is weighted by its share of known pixels
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
    """Photographs inpainted with the images of the latents that ``invert`` finds, blended without a seam: float32, shape (N, 3, size, size), in [-1,
    1], on the CPU.

    Pixels outside the mask are unchanged. The arguments are those of ``invert``.
    """
    latents = invert(generate, start, images_NCHW, masks_N1HW, steps=steps, learning_rate=learning_rate)
    with torch.no_grad():
        generated = generate(latents).float().cpu()
    return blend_seamlessly(generated, images_NCHW.cpu().float(), masks_N1HW.cpu())

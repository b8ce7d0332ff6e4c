"""What each way to adapt does to a model before it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from syntype.generators.contract import Adapts

__all__ = ["FISHER_IMAGES", "METHODS", "fisher_information", "add_ewc_penalty"]

METHODS = {
    "finetune": "every weight of the generator may change; the discriminators go on from where they stood",
    "freeze-d": "as finetune, with the lower layers of the discriminators frozen (Mo et al. 2020, arXiv 2002.10964)",
    "ewc": "as finetune, with weights that the known species need held near what they were (Li et al. 2020, arXiv 2012.02780)",
    "modulate": "factors on frozen kernels, biases and the embedding alone; kilobytes (after Zhao et al. 2022, arXiv 2210.16559)",
}
"""Ways to adapt, and what each does."""

FISHER_IMAGES = 128
"""Images from which the Fisher information is estimated."""
JUDGED_TOGETHER = 16
"""Images of them that the discriminators see at a time."""


def fisher_information(model: Adapts, generator: nn.Module, species: Sequence[str], num_images: int) -> dict[str, Tensor]:
    """Diagonal of the Fisher information of the generator's weights, estimated on images that the model itself draws.

    As Li et al. 2020 estimate it: the mean over images of the square of the gradient of the log-likelihood, which is the discriminators'
    belief that the image is real. Squares are taken image by image: the square of a batch's mean gradient would shrink with the batch.
    Discriminators may compare the images of a batch, so images are judged together; an image's gradient is what it adds to the batch's.

    Args:
        model: as it was trained, with its discriminators.
        generator: the model's own; its parameters are meant.
        species: drawn in turn, two images each; image ``i`` has seed ``i``.
        num_images: even.

    Returns:
        by name, for every parameter of ``generator`` that requires a gradient: the shape of the parameter, nowhere negative.
    """
    parameters = {name: parameter for name, parameter in generator.named_parameters() if parameter.requires_grad}
    information = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    names = [species[index // 2 % len(species)] for index in range(num_images)]
    for start in range(0, num_images, JUDGED_TOGETHER):
        seeds = range(start, min(start + JUDGED_TOGETHER, num_images))
        drawn = [names[seed] for seed in seeds]
        images = model.draw(drawn, seeds).detach().requires_grad_()
        (wanted,) = torch.autograd.grad(model.log_likelihood(images, drawn).sum(), images)
        for row, seed in enumerate(seeds):
            alone = model.draw([names[seed]], [seed])
            gradients = torch.autograd.grad(alone, list(parameters.values()), wanted[row : row + 1], allow_unused=True)
            for name, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    information[name].addcmul_(gradient, gradient, value=1 / num_images)
    return information


def add_ewc_penalty(generator: nn.Module, importance: Mapping[str, Tensor], weight: float) -> None:
    """Add the gradient of ``weight * sum(F * (p - p0)^2)`` (the penalty of Li et al. 2020) to every gradient that is taken from now on.

    ``p0`` is where the parameters are now; ``F`` is ``importance`` over its mean, so that ``weight`` means the same whatever the scale
    of the discriminators' judgement. Families own their losses, hence the gradient: its hooks fire in ``torch.autograd.grad`` too.
    """
    mean = torch.cat([tensor.flatten() for tensor in importance.values()]).mean()
    for name, parameter in generator.named_parameters():
        if name in importance:
            _pull(parameter, 2 * weight * importance[name] / mean)


def _pull(parameter: nn.Parameter, strength: Tensor) -> None:
    start = parameter.detach().clone()
    parameter.register_hook(lambda gradient: gradient + strength * (parameter.detach() - start))

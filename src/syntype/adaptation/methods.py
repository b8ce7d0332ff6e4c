"""Adaptation methods, and the penalty of elastic weight consolidation (EWC)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from syntype.generators.contract import AdaptsAdversarially

__all__ = ["FISHER_IMAGES", "METHODS", "WITHOUT_DISCRIMINATORS", "add_ewc_penalty", "fisher_information"]

METHODS = {
    "finetune": "all weights of the generator that may change are trained; discriminators, if any, continue from their trained weights",
    "freeze-d": "as finetune, with the lower layers of the discriminators frozen (Mo et al. 2020, arXiv 2002.10964)",
    "ewc": "as finetune, with a penalty on changing weights that the known species need (Li et al. 2020, arXiv 2012.02780)",
    "modulate": "only factors on the frozen kernels, biases and the species embedding are trained (after Zhao et al. 2022, arXiv 2210.16559)",
    "encode": "nothing is trained: what distinguishes the species from its nearest relative is computed from its photographs, in seconds",
}
"""Adaptation methods: name -> description."""
WITHOUT_DISCRIMINATORS = ("finetune",)
"""Methods that can be used for families without discriminators."""

FISHER_IMAGES = 128
"""Number of generated images from which the Fisher information is estimated."""
FISHER_BATCH_SIZE = 16
"""Number of these images that the discriminators see at once."""


def fisher_information(model: AdaptsAdversarially, generator: nn.Module, species: Sequence[str], num_images: int) -> dict[str, Tensor]:
    """Diagonal of the Fisher information of the generator's weights, estimated on generated images as in Li et al. 2020.

    It is the mean over images of the squared gradient of the log-likelihood, for which the discriminators' output "real" stands. The gradient is
    squared for each image, because the square of a batch's mean gradient would shrink with the batch size. Discriminators may compare the
    images of a batch, so they see the images in batches; the gradient of an image is its contribution to that of the batch.

    Args:
        model: The trained model with its discriminators.
        generator: The generator network of ``model``.
        species: Species to generate, in turn, two images each. Image ``i`` has the seed ``i``.
        num_images: Number of images; even.

    Returns:
        Parameter name -> tensor of the parameter's shape, non-negative, for every parameter that requires a gradient.
    """
    parameters = {name: parameter for name, parameter in generator.named_parameters() if parameter.requires_grad}
    information = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    names = [species[index // 2 % len(species)] for index in range(num_images)]
    for start in range(0, num_images, FISHER_BATCH_SIZE):
        seeds = range(start, min(start + FISHER_BATCH_SIZE, num_images))
        drawn = [names[seed] for seed in seeds]
        images = model.generate(drawn, seeds).detach().requires_grad_()
        (image_gradients,) = torch.autograd.grad(model.log_likelihood(images, drawn).sum(), images)
        for row, seed in enumerate(seeds):
            image = model.generate([names[seed]], [seed])
            gradients = torch.autograd.grad(image, list(parameters.values()), image_gradients[row : row + 1], allow_unused=True)
            for name, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    information[name].addcmul_(gradient, gradient, value=1 / num_images)
    return information


def add_ewc_penalty(generator: nn.Module, importance: Mapping[str, Tensor], weight: float) -> None:
    """Add the EWC penalty ``weight * sum(F * (p - p0)^2)`` (Li et al. 2020) to the loss, by gradient hooks.

    ``p`` are the parameters and ``p0`` their current values. ``F`` is ``importance`` divided by its mean, so that ``weight`` does not depend on
    the scale of the discriminators' output. The penalty acts on the gradients, because the families compute their losses themselves. The
    hooks also run in ``torch.autograd.grad``.

    Args:
        generator: The network whose parameters to penalise.
        importance: Fisher information, parameter name -> tensor of the parameter's shape.
        weight: Weight of the penalty.
    """
    mean = torch.cat([tensor.flatten() for tensor in importance.values()]).mean()
    for name, parameter in generator.named_parameters():
        if name in importance:
            _add_quadratic_penalty(parameter, 2 * weight * importance[name] / mean)


def _add_quadratic_penalty(parameter: nn.Parameter, strength: Tensor) -> None:
    start = parameter.detach().clone()
    parameter.register_hook(lambda gradient: gradient + strength * (parameter.detach() - start))

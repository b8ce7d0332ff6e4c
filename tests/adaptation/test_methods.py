"""The Fisher information and the penalty against formulas worked out by hand; the size of a modulation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syntype.adaptation.methods import add_ewc_penalty, fisher_information
from syntype.compute.runtime import Runtime
from syntype.compute.tensors import seeded_normal
from syntype.generators import family
from syntype.generators.contract import TrainingData
from syntype.generators.networks.fastgan_generator import FastGANGenerator
from syntype.generators.networks.kernel_modulation import adapter_weights, full_weights, modulate


class Believer:
    """An image is w . z, and the logit of the discriminator is the image, twice that for species b: log D = log sigmoid(scale * w . z)."""

    def __init__(self) -> None:
        self.generator = nn.Linear(3, 1, bias=False)
        self.generator.extra = nn.Parameter(torch.ones(2))  # nothing depends on it

    def generate(self, species: Sequence[str], seeds: Sequence[int]) -> Tensor:
        return self.generator(seeded_normal(seeds, (3,)))

    def log_likelihood(self, images: Tensor, species: Sequence[str]) -> Tensor:
        scale = torch.tensor([2.0 if name == "b" else 1.0 for name in species])
        return F.logsigmoid(images[:, 0] * scale)


def test_fisher_information_is_the_mean_of_the_squares_image_by_image() -> None:
    model: Any = Believer()
    found = fisher_information(model, model.generator, ["a", "b"], num_images=6)
    z = seeded_normal(range(6), (3,)).double().numpy() * np.array([1, 1, 2, 2, 1, 1])[:, None]
    w = model.generator.weight.detach().double().numpy()[0]
    gradients = z / (1 + np.exp(z @ w))[:, None]  # d/dw log sigmoid(w . z) = sigmoid(-w . z) z
    torch.testing.assert_close(found["weight"][0].double(), torch.from_numpy((gradients**2).mean(0)), rtol=1e-5, atol=1e-7)
    assert torch.equal(found["extra"], torch.zeros(2))


def test_the_penalty_reaches_the_optimiser_whatever_the_familys_loss() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 2)
    start = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
    importance = {name: torch.rand_like(parameter) for name, parameter in layer.named_parameters()}
    mean = torch.cat([tensor.flatten() for tensor in importance.values()]).mean()
    add_ewc_penalty(layer, importance, weight=0.7)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter))
    x = torch.randn(5, 4)
    plain = nn.Linear(4, 2)
    plain.load_state_dict(layer.state_dict())
    penalty = sum((importance[name] / mean * (parameter - start[name]).square()).sum() for name, parameter in plain.named_parameters())
    plain_gradients = torch.autograd.grad(plain(x).square().mean() + 0.7 * penalty, list(plain.parameters()))

    before = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
    assert Runtime("cpu", "fp32").backward_and_step(layer(x).square().mean(), layer.parameters(), torch.optim.SGD(layer.parameters(), lr=1.0))
    for (name, parameter), gradient in zip(layer.named_parameters(), plain_gradients, strict=True):
        torch.testing.assert_close(before[name] - parameter.detach(), gradient)


def test_the_information_of_a_gan_is_that_of_single_images() -> None:
    kind = family("projected")
    torch.manual_seed(0)
    model: Any = kind(kind.Config.tiny(32), ["a", "b"])
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    model.prepare(TrainingData(images, np.arange(6) % 2, np.arange(6), ("a", "b")), Runtime("cpu", "fp32"))
    names, seeds = ["a", "a", "b", "b"], [0, 1, 2, 3]
    found = fisher_information(model, model.generator, ["a", "b"], num_images=4)
    expected = torch.zeros_like(model.generator.to_rgb.weight)
    for own in seeds:  # the others cut off, all judged together
        drawn = model.generate(names, seeds)
        images = torch.stack([image if seed == own else image.detach() for seed, image in enumerate(drawn)])
        judged = model.log_likelihood(images, names)
        assert judged.shape == (4,) and bool((judged < 0).all())
        expected += torch.autograd.grad(judged.sum(), model.generator.to_rgb.weight)[0].square() / 4
    torch.testing.assert_close(found["to_rgb.weight"], expected, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("size", [64, 256, 1024])
def test_a_modulated_species_needs_less_than_a_megabyte(size: int) -> None:
    generator = FastGANGenerator(size, 5, latent_dim=128, embedding_dim=64, width=24)
    own = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    modulate(generator, {name for name, _ in generator.named_parameters()}, seed=0)
    saved = {name: tensor for name, tensor in adapter_weights(generator.state_dict()).items() if name not in own or tensor.ndim <= 1}
    assert 4 * sum(tensor.numel() for tensor in saved.values()) < 1e6


def test_a_modulated_generator_starts_as_it_was_and_its_file_stands_for_it() -> None:
    torch.manual_seed(0)
    generator = FastGANGenerator(32, 3, latent_dim=8, embedding_dim=8, width=4).eval()
    own = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    z, labels = torch.randn(4, 8), torch.tensor([0, 1, 2, 2])
    with torch.no_grad():
        before = generator(z, labels)
        learn = modulate(generator, {name for name, _ in generator.named_parameters() if "to_rgb" not in name}, seed=0)
        assert torch.equal(generator(z, labels), before)
        parameters = dict(generator.named_parameters())
        for name in learn:
            parameters[name].add_(0.01 * torch.randn_like(parameters[name]))
        after = generator(z, labels)
        assert not torch.allclose(after, before, atol=1e-3)
        saved = adapter_weights(generator.state_dict())
        plain = FastGANGenerator(32, 3, latent_dim=8, embedding_dim=8, width=4).eval()
        plain.load_state_dict(full_weights(saved, own) | {name: own[name] for name in own if "to_rgb" in name})
        torch.testing.assert_close(plain(z, labels), after)
    assert not any("to_rgb" in name for name in learn) and adapter_weights(own) == own

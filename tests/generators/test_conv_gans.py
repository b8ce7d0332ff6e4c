"""The convolutional GANs: their networks, their losses against closed forms, and blending and filling in, which they share."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

import syntype.generators.gans.wasserstein as wasserstein
from syntype.collection import Collection
from syntype.compute.runtime import Runtime
from syntype.compute.tensors import to_tensor
from syntype.errors import UnsupportedError
from syntype.generators import family, load_generator
from syntype.generators.contract import Batch, Blends, Inpaints, TrainingData
from syntype.generators.engine.training import TrainConfig, train
from syntype.generators.gans.conv_gan import ConvGAN
from syntype.generators.gans.wasserstein import gradient_penalty
from syntype.generators.networks.conv import ConditionedConv, ConvDiscriminator, ConvGenerator, NoCondition, OneHot, initialise_weights
from syntype.run import Run
from syntype.synthesis import GenerateConfig, generate

FAMILIES = ("dcgan", "wgan_gp", "cgan", "cwgan_gp", "guided_cgan")
CONDITIONAL = ("cgan", "cwgan_gp", "guided_cgan")
SPECIES = ("Aus primus", "Aus secundus", "Bus tertius")


def photographs(size: int = 32, count: int = 6) -> TrainingData:
    """Pictures of noise around one colour a species."""
    random, labels = np.random.default_rng(0), np.arange(count) // 2 % len(SPECIES)
    colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]])[labels]
    images = (colours[:, None, None] + random.integers(-40, 40, (count, size, size, 3))).clip(0, 255).astype(np.uint8)
    return TrainingData(images, labels, np.arange(count), SPECIES)


def batch(data: TrainingData, step: int = 0) -> Batch:
    return Batch(to_tensor(data.images), torch.from_numpy(data.labels), torch.arange(len(data.labels)), step)


def prepared(name: str, size: int = 32, species: tuple[str, ...] = SPECIES, **settings: object) -> ConvGAN:
    torch.manual_seed(0)
    kind = family(name)
    model = kind(kind.Config.parse({**kind.Config.tiny(size).model_dump(), **settings}), species)
    assert isinstance(model, ConvGAN)
    model.prepare(photographs(size), Runtime("cpu", "fp32"))
    return model


def stepped(model: ConvGAN, steps: int = 2) -> ConvGAN:
    for step in range(steps):
        torch.manual_seed(step)
        model.train().training_step(batch(photographs(model.config.size), step))
    return model


# networks


def test_dcgan_s_maps_are_those_of_the_paper_and_go_on_to_128_pixels() -> None:
    def maps(network: nn.Module, *inputs: Tensor) -> list[tuple[int, ...]]:
        seen: list[tuple[int, ...]] = []
        hooks = [
            module.register_forward_hook(lambda _module, _inputs, output: seen.append(tuple(output.shape[1:])))
            for module in network.modules()
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))
        ]
        network(*inputs)
        for hook in hooks:
            hook.remove()
        return seen

    def upwards(size: int, width: int) -> list[tuple[int, ...]]:
        return maps(ConvGenerator(size, 5, width, NoCondition(), 0, transposed=True), torch.randn(2, 5), torch.zeros(2, 0))

    assert upwards(64, 128) == [(512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]  # Radford et al. 2016, figure 1, after 1024 maps of 4x4
    assert upwards(128, 8) == [(64, 8, 8), (32, 16, 16), (16, 32, 32), (8, 64, 64), (3, 128, 128)]
    critic = ConvDiscriminator(128, 8, NoCondition(), 0, normalised=True)
    downwards = maps(critic, torch.zeros(2, 3, 128, 128), torch.zeros(2, dtype=torch.int64))
    assert downwards == [(8, 64, 64), (16, 32, 32), (32, 16, 16), (64, 8, 8), (64, 4, 4), (1, 1, 1)]


def discriminator(model: ConvGAN) -> nn.Module:
    return model.get_submodule("critic" if isinstance(model, wasserstein.WassersteinGAN) else "discriminator")


def test_only_dcgan_and_its_twin_have_transposed_convolutions_and_a_normalised_discriminator() -> None:
    for name in FAMILIES:
        model = prepared(name, **({"guidance_weight": 0} if name == "guided_cgan" else {}))
        transposed = any(isinstance(module, nn.ConvTranspose2d) for module in model.generator.modules())
        normalised = any(isinstance(module, nn.BatchNorm2d) for module in discriminator(model).modules())
        assert transposed == normalised == (name in ("dcgan", "cgan")), name


def test_a_joined_convolution_is_one_over_image_and_planes() -> None:
    torch.manual_seed(0)
    layer = ConditionedConv(3, 5)
    initialise_weights(layer, 0.3)
    images, conditions = torch.randn(2, 3, 8, 8), torch.randn(2, 3, requires_grad=True)
    planes = conditions[:, :, None, None].expand(-1, -1, 8, 8)
    kernel = torch.cat([layer.image.weight, layer.planes.transpose(0, 1)], dim=1)
    expected = F.conv2d(torch.cat([images, planes], dim=1), kernel, layer.image.bias, stride=2, padding=1)
    found = layer(images, conditions)
    assert_close(found, expected)
    weights = torch.randn_like(found)
    assert_close(torch.autograd.grad((found * weights).sum(), conditions), torch.autograd.grad((expected * weights).sum(), conditions))


def test_a_label_becomes_one_number_a_species() -> None:
    assert OneHot(3)(torch.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("size", [128, 256])
@pytest.mark.parametrize("name", FAMILIES)
def test_large_images_are_learnt_and_drawn(name: str, size: int) -> None:
    model = prepared(name, size, **({"critic_steps": 1} if "gp" in name or "guided" in name else {}), width=4)
    before = [parameter.detach().clone() for parameter in model.generator.parameters()]
    figures = model.train().training_step(batch(photographs(size, 2)))
    assert all(np.isfinite(float(value)) for value in figures.values()) and not figures["skipped"]
    assert all(not torch.equal(old, new) for old, new in zip(before, model.generator.parameters(), strict=True) if new.numel())
    assert model.sample(SPECIES, [0, 1, 2]).shape == (3, 3, size, size)


# losses


def test_the_gradient_penalty_of_a_linear_critic_is_its_closed_form() -> None:
    torch.manual_seed(0)
    real, fake, shares = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8), torch.rand(4, 1, 1, 1)
    weights = torch.randn(3 * 8 * 8, requires_grad=True)
    penalty = gradient_penalty(lambda images: images.flatten(1) @ weights + 7, real, fake, shares)
    length = weights.detach().norm()
    assert_close(penalty.detach(), (length - 1) ** 2)
    (gradient,) = torch.autograd.grad(penalty, weights)
    assert_close(gradient, 2 * (length - 1) * weights.detach() / length)


def test_the_gradient_penalty_is_taken_between_photograph_and_image() -> None:
    torch.manual_seed(1)
    real, fake, shares = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8), torch.rand(4, 1, 1, 1)
    factor = torch.tensor(0.3, requires_grad=True)  # D(x) = factor * |x|^2 / 2, whose gradient is factor * x
    penalty = gradient_penalty(lambda images: factor * images.square().sum((1, 2, 3)) / 2, real, fake, shares)
    lengths = (shares * real + (1 - shares) * fake).flatten(1).norm(dim=1)
    assert_close(penalty.detach(), (0.3 * lengths - 1).square().mean())
    assert_close(torch.autograd.grad(penalty, factor)[0], (2 * (0.3 * lengths - 1) * lengths).mean())


@pytest.mark.parametrize("critic_steps", [1, 4])
def test_the_critic_takes_its_steps_each_with_new_images(critic_steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = prepared("cwgan_gp", critic_steps=critic_steps)
    optimisers: list[torch.optim.Optimizer] = []
    compared: list[tuple[Tensor, Tensor, Tensor]] = []
    update, slope = model.runtime.backward_and_step, gradient_penalty
    monkeypatch.setattr(
        model.runtime, "backward_and_step", lambda loss, weights, optimiser: optimisers.append(optimiser) or update(loss, weights, optimiser)
    )
    monkeypatch.setattr(wasserstein, "gradient_penalty", lambda critic, *points: compared.append(points) or slope(critic, *points))
    stepped(model, 1)
    assert optimisers == [model.optimisers["critic"]] * critic_steps + [model.optimisers["generator"]]
    assert len(compared) == critic_steps
    for (_, first, first_weights), (_, second, second_weights) in pairwise(compared):
        assert not torch.equal(first, second) and not torch.equal(first_weights, second_weights)


def test_a_critic_trained_alone_is_brought_back_to_a_slope_near_one() -> None:
    def after(critic_steps: int) -> float:
        model = prepared("wgan_gp", critic_learning_rate=1e-3, critic_steps=critic_steps)
        with torch.no_grad():
            model.critic.layers[-1].weight.mul_(4)
        torch.manual_seed(0)
        return float(model.train().training_step(batch(photographs()))["gradient_penalty"])

    assert after(60) < 0.3 * after(1)


@pytest.mark.parametrize("fused", [False, True])
def test_a_gradient_counts_the_same_however_it_lies_in_memory(fused: bool) -> None:
    def stepped_weights(layout: torch.memory_format) -> Tensor:
        torch.manual_seed(0)
        weights = nn.Parameter(torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last))
        wanted = torch.randn(4, 3, 2, 2).contiguous(memory_format=layout)
        loss = _Layout.apply(weights, wanted).sum()
        assert Runtime("cpu", "fp32").backward_and_step(loss, [weights], torch.optim.Adam([weights], lr=0.1, fused=fused))
        return weights.detach()

    torch.manual_seed(0)
    start, gradient = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2)
    for layout in (torch.channels_last, torch.contiguous_format):
        assert_close(stepped_weights(layout), start - 0.1 * gradient.sign(), atol=1e-4, rtol=0)  # Adam's first step


class _Layout(torch.autograd.Function):
    """Hands back a gradient that lies in memory as it was given."""

    @staticmethod
    def forward(context: object, weights: Tensor, gradient: Tensor) -> Tensor:
        context.gradient = gradient  # type: ignore[attr-defined]
        return weights.clone()

    @staticmethod
    def backward(context: object, *_: Tensor) -> tuple[Tensor, None]:
        return context.gradient, None  # type: ignore[attr-defined]


def test_the_discriminator_s_and_the_generator_s_losses_are_those_of_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    model = prepared("dcgan", flip=False)
    judgements, losses = [torch.tensor([2.0, -1.0]), torch.tensor([0.5, 1.0]), torch.tensor([0.3, -0.7])], []
    turns = iter(judgements)
    model.discriminator.forward = lambda _images, _labels: next(turns)  # type: ignore[method-assign]
    monkeypatch.setattr(model.runtime, "backward_and_step", lambda loss, *_: losses.append(float(loss)) or True)
    model.train().training_step(batch(photographs(count=2)))
    real, fake, judged = (torch.sigmoid(values) for values in judgements)
    assert_close(losses[0], float(-(real.log().mean() + (1 - fake).log().mean())))
    assert_close(losses[1], float(-judged.log().mean()))


@pytest.mark.parametrize("name", ["cgan", "cwgan_gp"])
def test_both_networks_learn_in_bfloat16_too(name: str) -> None:
    model = prepared(name)
    model.runtime = Runtime("cpu", "bf16")
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    stepped(model, 1)
    still = [key for key, parameter in model.named_parameters() if torch.equal(before[key], parameter)]
    # the critic's last bias shifts photographs and images alike
    assert still == (["critic.layers.5.bias"] if name == "cwgan_gp" else [])
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


# species


def test_the_generator_s_images_and_the_discriminator_s_output_depend_on_the_species_where_they_should() -> None:
    for name in FAMILIES:
        model = stepped(prepared(name, **({"guidance_weight": 0} if name == "guided_cgan" else {})), 1)
        first, second = model.sample(SPECIES[:2], [3, 3])
        assert torch.equal(first, second) == (name not in CONDITIONAL), name
        image = torch.randn(1, 3, 32, 32).expand(2, -1, -1, -1)
        logits = discriminator(model).eval()(image, torch.tensor([0, 1]))
        assert bool(logits[0] == logits[1]) == (name not in CONDITIONAL), name


def test_a_generator_of_many_species_that_knows_none_refuses_names_and_one_of_a_single_species_draws_it(
    small_collection: Collection, tmp_path: Path
) -> None:
    def trained(name: str, **settings: object) -> Path:
        model = family("dcgan").Config.tiny().model_dump(exclude={"size"})
        fixed = {"family": "dcgan", "size": 32, "batch_size": 4, "steps": 1, "device": "cpu", "precision": "fp32", "model": model}
        config = TrainConfig.parse({**fixed, **settings})
        with Run.start(tmp_path / name, "train", config, seed=0, quiet=True) as run:
            train(small_collection, config, tmp_path / name, run)
        return tmp_path / name

    with pytest.raises(UnsupportedError, match=r"without species labels.*--only NAME.*cgan"):
        generate(load_generator(trained("many")), GenerateConfig(num=1, species=("Aus primus",)), tmp_path / "images", Run.silent())
    one = load_generator(trained("one", only=("Aus primus",)))
    result = generate(one, GenerateConfig(num=2), tmp_path / "images", Run.silent())
    assert result.collection.counts() == {"Aus primus": 2}


# abilities


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_blends_and_fills_in(name: str) -> None:
    assert issubclass(family(name), Blends) and issubclass(family(name), Inpaints)


@pytest.mark.parametrize("of", ["latent", "species", "both"])
@pytest.mark.parametrize("name", ["dcgan", "cgan", "cwgan_gp"])
def test_a_blend_begins_and_ends_with_what_is_sampled(name: str, of: str) -> None:
    model = stepped(prepared(name))
    pairs, seeds = [(SPECIES[0], SPECIES[2])] * 4, [(5, 6)] * 4
    frames = model.blend(pairs, seeds, [0.0, 0.4, 0.6, 1.0], of)
    moved_latent, moved_species = of != "species", of != "latent"
    ends = model.sample([SPECIES[0], SPECIES[2 if moved_species else 0]] * 2, [5, 6 if moved_latent else 5] * 2)
    assert torch.equal(frames[0], ends[0]) and torch.equal(frames[3], ends[1])
    if moved_latent or name != "dcgan":
        distances = [float((frame - frames[0]).square().mean()) for frame in frames]
        assert distances == sorted(distances) and len(set(distances)) == 4
    else:  # it knows no species
        assert torch.equal(frames, frames[:1].expand(4, -1, -1, -1))


@pytest.mark.parametrize("name", ["dcgan", "cwgan_gp"])
def test_filling_in_keeps_what_is_known_and_finds_an_image_of_its_own_again(name: str) -> None:
    model = prepared(name)
    initialise_weights(model.generator, None)  # dcgan's own small weights draw grey until its statistics have settled
    photographs_NCHW = model.sample(SPECIES[:2], [1, 2])
    masks = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    masks[0, :, 8:24, 8:24], masks[1, :, :16] = True, True
    hidden = photographs_NCHW.masked_fill(masks, 1.0)
    filled = model.inpaint(hidden, masks, SPECIES[:2], [7, 8], search_steps=150, search_learning_rate=0.05)
    assert filled.dtype == torch.float32 and filled.abs().max() <= 1
    assert torch.equal(filled.masked_fill(masks, 0), photographs_NCHW.masked_fill(masks, 0))
    start = model.inpaint(hidden, masks, SPECIES[:2], [7, 8], search_steps=0)

    def error(images: Tensor) -> float:
        return float((images - photographs_NCHW).abs().mean())

    assert error(filled) < 0.5 * error(start)
    assert torch.equal(filled, model.inpaint(photographs_NCHW, masks, SPECIES[:2], [7, 8], search_steps=150, search_learning_rate=0.05))
    assert_close(filled[1:], model.inpaint(hidden[1:], masks[1:], SPECIES[1:2], [8], search_steps=150, search_learning_rate=0.05), atol=1e-3, rtol=0)

"""``ddpm``: what it learns, and its abilities. What every family must keep is in ``test_contract.py``, the arithmetic in ``test_diffusion.py``."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from syntype.compute.processes import WholeBatchRandom
from syntype.compute.runtime import Runtime
from syntype.compute.tensors import seeded_normal, to_tensor, to_uint8
from syntype.errors import RecipeError, UnknownNameError, UnsupportedError
from syntype.generators.contract import Batch, Blends, Inpaints, ShowsProcess, TrainingData, Varies
from syntype.generators.diffusion.gaussian import diffusion_strip
from syntype.generators.families.ddpm import DDPM, DDPMConfig
from syntype.generators.networks.unet import UNet

SIZE = 16
SPECIES = ("Aus primus", "Aus secundus", "Bus tertius")
NAMES = ["Aus primus", "Bus tertius", "Aus primus", "Aus secundus"]
SEEDS = [7, 7, 8, 9]
FEW = {"steps": 4}


def made(**settings: object) -> DDPM:
    """A model with random weights in all layers, so that everything it is told makes a difference."""
    model = DDPM(DDPMConfig(**{**DDPMConfig.tiny(SIZE).model_dump(), **settings}), SPECIES)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter.copy_(0.15 * torch.randn(parameter.shape))
    return model.eval()


@pytest.fixture(scope="module")
def model() -> DDPM:
    return made()


def photographs(count: int = 4) -> Tensor:
    return (0.4 * seeded_normal(range(50, 50 + count), (3, SIZE, SIZE))).clamp(-1, 1)


def test_it_has_the_abilities(model: DDPM) -> None:
    assert isinstance(model, Blends) and isinstance(model, Varies) and isinstance(model, Inpaints)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmsolver++"])
def test_one_seed_is_one_image_with_every_sampler_and_ability(model: DDPM, sampler: str) -> None:
    masks = torch.zeros(4, 1, SIZE, SIZE, dtype=torch.bool)
    masks[..., 4:9] = True
    controls = {**FEW, "sampler": sampler, "guidance": 2.0, "jump_length": 2, "resamples": 2}

    def all_of(turned: list[int]) -> list[Tensor]:
        names, seeds = [NAMES[i] for i in turned], [SEEDS[i] for i in turned]
        pairs = [(NAMES[i], NAMES[i + 1]) for i in turned], [(SEEDS[i], SEEDS[i + 1]) for i in turned]
        images = photographs()[turned]
        return [
            model.sample(names, seeds, **controls),
            model.blend(*pairs, [0.3] * 3, "both", **controls),
            model.vary(images, names, seeds, 0.6, **controls),
            model.inpaint(images, masks[turned], names, seeds, **controls),
        ]

    for forwards, backwards in zip(all_of([0, 1, 2]), all_of([2, 1, 0]), strict=True):
        assert forwards.dtype == torch.float32 and forwards.abs().max() <= 1
        assert_close(forwards, backwards.flip(0), rtol=0, atol=1e-5)
        assert (forwards[0] - forwards[2]).abs().mean() > 0.01


def test_species_and_seeds_make_a_difference_and_controls_are_checked(model: DDPM) -> None:
    first, second, third = model.sample(["Aus primus", "Bus tertius", "Aus primus"], [0, 0, 1], **FEW)
    assert (first - second).abs().max() > 0.01 and (first - third).abs().mean() > 0.01
    with pytest.raises(UnknownNameError, match="Aus primus"):
        model.sample(["Aus primvs"], [0])
    for controls, message in (({"stepz": 4}, "Known settings: sampler, steps"), ({"steps": 1001}, "steps"), ({"sampler": "euler"}, "sampler")):
        with pytest.raises(RecipeError, match=message):
            model.sample(["Aus primus"], [0], **controls)


def test_guidance_0_ignores_the_species_and_needs_label_dropout(model: DDPM) -> None:
    none = model.sample(NAMES[:2], [7, 7], guidance=0, **FEW)
    assert torch.equal(none[0], none[1])
    told = model.sample(NAMES[:2], [7, 7], guidance=1, **FEW)
    nearly = model.sample(NAMES[:2], [7, 7], guidance=1 + 1e-6, **FEW)  # by way of both predictions
    assert_close(told, nearly, rtol=0, atol=1e-4)
    assert_close(none, model.sample(NAMES[:2], [7, 7], guidance=1e-6, **FEW), rtol=0, atol=1e-4)
    sure = made(label_dropout=0.0)
    assert sure.sample(["Aus primus"], [0], **FEW).shape == (1, 3, SIZE, SIZE)
    with pytest.raises(UnsupportedError, match="label_dropout"):
        sure.sample(["Aus primus"], [0], guidance=2, **FEW)


def test_a_model_that_does_not_tell_species_apart() -> None:
    model = made(conditional=False)
    assert not model.is_conditional and DDPM(model.config, SPECIES[:1]).is_conditional
    images = model.sample(NAMES[:2], [7, 7], guidance=3, **FEW)
    assert torch.equal(images[0], images[1])
    with pytest.raises(UnknownNameError):
        model.sample(["Aus primvs"], [0])


@pytest.mark.parametrize("sampler", ["ddpm", "dpmsolver++"])
def test_a_blend_ends_at_both_images_exactly(model: DDPM, sampler: str) -> None:
    species, seeds = [("Aus primus", "Bus tertius")] * 2, [(7, 8)] * 2
    controls = {**FEW, "sampler": sampler}
    for of, at_the_end in (("both", ("Bus tertius", 8)), ("species", ("Bus tertius", 7)), ("latent", ("Aus primus", 8))):
        expected = model.sample(["Aus primus", at_the_end[0]], [7, at_the_end[1]], **controls)
        assert torch.equal(model.blend(species, seeds, [0.0, 1.0], of, **controls), expected)
        between = model.blend(species, seeds, [0.5, 0.5], of, **controls)
        assert (between - expected).abs().amax((1, 2, 3)).min() > 0.01


def test_varying_leads_from_the_photograph_to_a_free_drawing(model: DDPM) -> None:
    images = photographs()
    assert torch.equal(model.vary(images, NAMES, SEEDS, 0.0), images)
    assert torch.equal(model.vary(images, NAMES, SEEDS, 1.0, **FEW), model.sample(NAMES, SEEDS, **FEW))
    away = [(model.vary(images, NAMES, SEEDS, strength) - images).abs().mean().item() for strength in (0.02, 0.2, 0.7)]
    assert away[0] < away[1] < away[2] and away[0] < 0.1
    with pytest.raises(UnknownNameError):
        model.vary(images[:1], ["Aus primvs"], [0], 0.0)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmsolver++"])
def test_inpainting_keeps_known_pixels_bit_for_bit_and_does_not_look_under_the_mask(model: DDPM, sampler: str) -> None:
    images = photographs()
    masks = seeded_normal(range(4), (1, SIZE, SIZE)) > 0.5
    controls = {**FEW, "sampler": sampler}
    filled = model.inpaint(images, masks, NAMES, SEEDS, **controls)
    assert torch.equal(torch.where(masks, torch.zeros(1), filled), torch.where(masks, torch.zeros(1), images))
    hidden = torch.where(masks, torch.full((1,), torch.nan), images)
    assert torch.equal(model.inpaint(hidden, masks, NAMES, SEEDS, **controls), filled)
    other = model.inpaint(-images, masks, NAMES, SEEDS, **controls)
    assert ((other - filled).abs() * masks).amax((1, 2, 3)).min() > 0.01, "what is drawn must depend on what is known"
    assert_close(model.inpaint(images, masks, NAMES, SEEDS, resamples=1, **controls).shape, images.shape)


def colours(precision: str, **settings: object) -> tuple[DDPM, Batch]:
    """A model ready to train, and photographs of one colour a species."""
    labels = np.arange(8) // 2 % 3
    images = np.zeros((8, SIZE, SIZE, 3), np.uint8)
    images[:] = np.array([[220, 30, 30], [30, 220, 30], [30, 30, 220]], np.uint8)[labels][:, None, None]
    torch.manual_seed(0)
    model = DDPM(DDPMConfig(**{**DDPMConfig.tiny(SIZE).model_dump(), "learning_rate": 2e-3, **settings}), SPECIES)
    model.prepare(TrainingData(images, labels, np.arange(8), SPECIES), Runtime("cpu", precision))
    return model, Batch(to_tensor(images), torch.from_numpy(labels), torch.arange(8), 0)


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_a_few_steps_lower_the_loss_on_flat_colours(prediction: str) -> None:
    model, batch = colours("fp32", prediction=prediction)
    errors = []
    for step in range(60):
        torch.manual_seed(step % 2)
        figures = model.training_step(batch)
        assert not figures["skipped"]
        errors.append(float(figures["error"]))
    if prediction == "eps":
        assert_close(errors[0], 1.0, rtol=0.05, atol=0)  # it starts by predicting nothing, and noise has variance 1
    assert sum(errors[-2:]) < 0.5 * sum(errors[:2])


def test_two_processes_learn_from_the_noise_of_one() -> None:
    def error(part: slice, draws: AbstractContextManager[object]) -> float:
        model, batch = colours("fp32")
        torch.manual_seed(5)
        with draws:
            return float(model.training_step(Batch(batch.images_NCHW[part], batch.labels[part], batch.indices[part], 0))["error"])

    whole = error(slice(0, 8), nullcontext())
    shares = [error(slice(4 * rank, 4 * rank + 4), WholeBatchRandom(4, rank, 2)) for rank in range(2)]
    assert_close(sum(shares) / 2, whole, rtol=1e-5, atol=0)


@pytest.mark.slow
def test_the_colours_of_species_are_learnt() -> None:
    model, batch = colours("fp32")
    for step in range(600):
        torch.manual_seed(step)
        model.training_step(batch)
    drawn = model.sample(SPECIES, [0, 1, 2], guidance=1.5).mean((2, 3))
    assert torch.equal(drawn.argmax(1), torch.arange(3)) and drawn.amax(1).min() > 0.4


def test_bfloat16_trains_nearly_as_float32_does() -> None:
    losses = []
    for precision in ("fp32", "bf16"):
        model, batch = colours(precision)
        torch.manual_seed(0)
        losses.append([float(model.training_step(batch)["loss"]) for _ in range(4)])
    assert_close(losses[0], losses[1], rtol=0.05, atol=0)


def test_networks_that_make_no_sense_are_explained() -> None:
    for settings, message in (
        ({"residual_blocks": (1, 1)}, "one length"),
        ({"size": 48}, "power of two"),
        ({"width": 24}, "multiple of 16"),
        ({"residual_blocks": (1, 1, 0, 1, 1)}, "positive"),
        ({"prediction": "x0"}, "prediction"),
    ):
        with pytest.raises(RecipeError, match=message):
            DDPMConfig.parse(settings)


@pytest.mark.parametrize(("size", "lowest"), [(16, 4), (32, 4), (64, 4), (128, 8)])
def test_the_default_network_suits_every_size(size: int, lowest: int) -> None:
    network = DDPM(DDPMConfig(size=size, width=16), SPECIES).generator
    sides: list[int] = []
    network.middle.register_forward_pre_hook(lambda _module, inputs: sides.append(inputs[0].shape[-1]))
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, size, size), torch.zeros(1), network.condition_vectors(None, 1)).shape == (1, 3, size, size)
    assert sides == [lowest]


def test_the_network_keeps_channels_last_and_sees_level_and_species() -> None:
    torch.manual_seed(0)
    network = UNet(16, 2, 16, (1, 2), (2, 1))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    layouts = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda _m, _i, out: layouts.append(out.is_contiguous(memory_format=torch.channels_last)))
    x = seeded_normal([0, 0, 0], (3, 16, 16))
    out = network(x, torch.tensor([10, 10, 900]), network.condition_vectors(torch.tensor([0, 1, 0]), 3))
    assert out.shape == x.shape and all(layouts)
    assert (out[0] - out[1]).abs().max() > 0.01 and (out[0] - out[2]).abs().max() > 0.01


def test_a_strip_shows_an_image_dissolve_and_another_appear(model: DDPM) -> None:
    names, seeds = NAMES[:2], SEEDS[:2]
    images = photographs(2)
    strip = diffusion_strip(model, names, seeds, images_NCHW=images, columns=5, **FEW)
    assert strip.dtype == np.uint8 and strip.shape == (4 * SIZE, 5 * SIZE, 3)
    cells = strip.reshape(4, SIZE, 5, SIZE, 3).swapaxes(1, 2)
    drawn, noise = model.sample(names, seeds, **FEW), seeded_normal(seeds, (3, SIZE, SIZE))
    np.testing.assert_array_equal(cells[[0, 2], 0], to_uint8(images))
    np.testing.assert_array_equal(cells[[1, 3], 4], to_uint8(drawn))
    np.testing.assert_array_equal(cells[[1, 3], 0], to_uint8(noise))
    np.testing.assert_allclose(cells[[0, 2], 4].astype(int), to_uint8(noise).astype(int), atol=2)
    dissolved = diffusion_strip(model, names, seeds, columns=5, **FEW).reshape(4, SIZE, 5, SIZE, 3).swapaxes(1, 2)
    np.testing.assert_array_equal(dissolved[[0, 2], 0], to_uint8(drawn))
    assert isinstance(model, ShowsProcess) and model.process_strip(images, names, seeds).shape == (4 * SIZE, 8 * SIZE, 3)

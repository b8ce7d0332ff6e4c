"""What is special in ``fastgan``: a discriminator that redraws what it sees, and augmentation that stays with the discriminator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import syntype.generators.families.fastgan as module
from syntype.adaptation import AdaptConfig, adapt
from syntype.collection import Collection
from syntype.compute.runtime import Runtime
from syntype.errors import RecipeError
from syntype.generators import TrainConfig, load_generator, train
from syntype.generators.contract import Batch, TrainingData
from syntype.generators.families.fastgan import FastGAN, FastGANConfig
from syntype.generators.networks.fastgan_discriminator import FastGANDiscriminator, reconstruction_loss
from syntype.generators.networks.ssim import structural_dissimilarity
from syntype.run import Run

SPECIES = ("Aus primus", "Aus secundus")


def prepared(size: int = 32, **settings: object) -> FastGAN:
    torch.manual_seed(0)
    config = FastGANConfig.parse({**FastGANConfig.tiny(size).model_dump(), **settings})
    model = FastGAN(config, SPECIES)
    data = TrainingData(np.zeros((4, size, size, 3), np.uint8), np.array([0, 0, 1, 1]), np.arange(4), SPECIES)
    model.prepare(data, Runtime("cpu", "fp32"))
    return model.train()


def photographs(size: int, count: int = 4) -> Tensor:
    """Smooth pictures in [-1, 1], each with a frequency of its own."""
    axis = torch.linspace(0, 3, size)
    waves = [torch.sin(axis[:, None] * (1 + i) + channel) * torch.cos(axis[None] * (2 + channel) - i) for i in range(count) for channel in range(3)]
    return torch.stack(waves).view(count, 3, size, size).contiguous(memory_format=torch.channels_last)


def batch(size: int) -> Batch:
    return Batch(photographs(size), torch.tensor([0, 0, 1, 1]), torch.arange(4), 0)


SIZES = [16, 32, 64, 128, *(pytest.param(size, marks=pytest.mark.slow) for size in (256, 512, 1024))]


@pytest.mark.parametrize("size", SIZES)
def test_every_size_trains_and_samples(size: int) -> None:
    model = prepared(size)
    metrics = model.training_step(batch(size))
    assert all(np.isfinite(float(value)) for value in metrics.values()) and not metrics["skipped"]
    assert model.sample(SPECIES, [0, 1]).shape == (2, 3, size, size)
    whole, part = model.discriminator.reconstruct(*model.discriminator(batch(size).images_NCHW, batch(size).labels)[1:], (0, 0))
    assert whole.shape[-1] == min(size, 128) and part.shape[-1] == min(size // 2, 128)


@pytest.mark.parametrize("conditional", [True, False])
def test_a_gradient_reaches_every_parameter(conditional: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = prepared(64, conditional=conditional, augmentation=0.0)
    names = {parameter: name for name, parameter in model.named_parameters()}
    reached: dict[str, float] = {}

    def record(loss: Tensor, parameters: object, optimiser: object, *, keep_graph: bool = False) -> bool:
        chosen = list(parameters)  # type: ignore[call-overload]
        for parameter, gradient in zip(chosen, torch.autograd.grad(loss, chosen, retain_graph=True, allow_unused=True), strict=True):
            reached[names[parameter]] = 0.0 if gradient is None else float(gradient.abs().max())
        return True

    monkeypatch.setattr(model.runtime, "backward_and_step", record)
    model.training_step(batch(64))
    assert set(reached) == set(names.values())
    assert [name for name, size in reached.items() if not size > 0] == []


def test_the_discriminator_learns_to_redraw_a_batch() -> None:
    torch.manual_seed(0)
    network, images, corner = FastGANDiscriminator(64, 2, 8), photographs(64), (3, 6)
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(60):
        _, fine, coarse = network(images, torch.tensor([0, 0, 1, 1]))
        loss = reconstruction_loss(images, *network.reconstruct(fine, coarse, corner), corner)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.35 * losses[0]


def test_the_redrawn_part_is_compared_with_the_same_part_of_the_image() -> None:
    images, corner = photographs(64), (2, 5)
    part = images[:, :, 8:40, 20:52]
    assert_close(reconstruction_loss(images, images, part, corner), torch.tensor(0.0), atol=1e-4, rtol=0)
    assert reconstruction_loss(images, images, part, (2, 4)) > 0.05
    assert reconstruction_loss(images, images.flip(3), part, corner) > 0.1
    large = photographs(256)  # is reconstructed at half its side
    whole = large.reshape(4, 3, 128, 2, 128, 2).mean((3, 5))
    assert_close(reconstruction_loss(large, whole, large[:, :, 128:, :128], (8, 0)), torch.tensor(0.0), atol=1e-4, rtol=0)


def test_structural_dissimilarity_equals_its_definition() -> None:
    torch.manual_seed(1)
    first = torch.rand(2, 3, 9, 11) * 2 - 1
    second = (first + 0.5 * torch.randn_like(first)).clamp(-1, 1)
    values = []
    for a, b in zip(first.flatten(0, 1).double().numpy(), second.flatten(0, 1).double().numpy(), strict=True):
        for top in range(3):
            for left in range(5):
                x, y = (image[top : top + 7, left : left + 7].ravel() for image in (a, b))
                covariance = ((x - x.mean()) * (y - y.mean())).mean()
                light = (2 * x.mean() * y.mean() + 0.02**2) / (x.mean() ** 2 + y.mean() ** 2 + 0.02**2)
                values.append(light * (2 * covariance + 0.06**2) / (x.var() + y.var() + 0.06**2))
    assert_close(structural_dissimilarity(first, second), torch.tensor(1 - np.mean(values), dtype=torch.float32))
    assert_close(structural_dissimilarity(first, first), torch.tensor(0.0), atol=1e-6, rtol=0)


def test_logits_are_a_map_with_the_species_projected_on_each_window() -> None:
    torch.manual_seed(0)
    network, images, labels = FastGANDiscriminator(32, 2, 4).eval(), photographs(32), torch.tensor([0, 1, 1, 0])  # eval: fixed spectral norms
    seen: list[Tensor] = []
    network.mix.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    logits, fine, coarse = network(images, labels)
    assert logits.shape == (4, 25) and fine.shape[-2:] == (16, 16) and coarse.shape[-2:] == (8, 8)
    windows = nn.functional.unfold(seen[0], 4).view(4, -1, 16, 25)  # (N, channels, positions in a window, windows)
    plain = torch.einsum("ncpw,cp->nw", windows, network.logit.weight[0].flatten(1)) + network.logit.bias
    match = torch.einsum("ncpw,nc->nw", windows, network.species.weight[labels]) / 16
    assert_close(logits, plain + match)


def test_without_conditions_all_species_share_one_generator() -> None:
    alike = prepared(conditional=False).sample(SPECIES, [3, 3])
    assert torch.equal(alike[0], alike[1])
    apart = prepared().sample(SPECIES, [3, 3])
    assert not torch.equal(apart[0], apart[1])


@pytest.mark.parametrize("conditional", [True, False])
def test_a_new_species_is_learnt_with_or_without_conditions(conditional: bool, small_collection: Collection, tmp_path: Path) -> None:
    model = {**FastGANConfig.tiny().model_dump(exclude={"size"}), "conditional": conditional}
    common = {"batch_size": 4, "steps": 2, "device": "cpu", "precision": "fp32"}
    config = TrainConfig.parse({"family": "fastgan", "size": 32, "model": model, "except": ("Bus quartus",), **common})
    with Run.start(tmp_path / "base", "train", config, seed=0, quiet=True) as run:
        train(small_collection, config, tmp_path / "base", run)
    base, settings = load_generator(tmp_path / "base"), AdaptConfig.parse({"species": "Bus quartus", **common})
    with Run.start(tmp_path / "adapted", "adapt", settings, seed=0, quiet=True) as run:
        adapt(base, small_collection, settings, tmp_path / "adapted", run)
    adapted, known = load_generator(tmp_path / "adapted"), base.model.species
    assert adapted.species == ((*known, "Bus quartus") if conditional else ("Bus quartus",))
    assert torch.equal(adapted.sample(known, [0, 1, 2]), base.sample(known, [0, 1, 2]))
    assert not torch.equal(adapted.sample(["Bus quartus"], [0]), adapted.sample(["Aus primus"], [0]))


def test_adaptation_goes_on_with_the_trained_discriminator() -> None:
    base = prepared()
    base.training_step(batch(32))
    new = FastGAN(base.config, SPECIES)
    new.add_species("Cus novus", "Aus secundus")
    new.prepare(TrainingData(np.zeros((2, 32, 32, 3), np.uint8), np.array([2, 2]), np.arange(2), new.species), Runtime("cpu", "fp32"))
    new.restore_discriminator(base.state_dict(), "Aus secundus")
    known = torch.tensor([0, 0, 1, 1])
    for kept, trained in zip(new.discriminator(photographs(32), known)[1:], base.discriminator(photographs(32), known)[1:], strict=True):
        assert_close(kept, trained)
    rows = new.discriminator.state_dict()["species.parametrizations.weight.original"]
    assert torch.equal(rows[2], rows[1]) and len(rows) == 3


def test_augmentation_reaches_all_that_the_discriminator_sees_and_nothing_that_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    model, augmented, judged = prepared(augmentation=0.4), [], []

    def paint(images_NCHW: Tensor, *, probability: float) -> Tensor:
        assert probability == 0.4
        augmented.append(images_NCHW * 0 + len(augmented) + 2.0 + 0.1 * images_NCHW)
        return augmented[-1]

    monkeypatch.setattr(module, "augment", paint)
    model.discriminator.register_forward_pre_hook(lambda _module, inputs: judged.append(inputs[0]))
    model.training_step(batch(32))
    assert len(judged) == 2 and all(torch.equal(seen, painted) for seen, painted in zip(judged, augmented, strict=True))
    monkeypatch.setattr(module, "augment", None)  # sampling does not know of it
    assert model.sample(SPECIES, [0, 1]).abs().max() <= 1
    assert torch.equal(prepared(augmentation=0.0).sample(SPECIES, [0, 1]), prepared(augmentation=0.9).sample(SPECIES, [0, 1]))


def test_augmentation_of_every_image_is_refused() -> None:
    with pytest.raises(RecipeError, match="augmentation"):
        FastGANConfig.parse({"augmentation": 1.0})

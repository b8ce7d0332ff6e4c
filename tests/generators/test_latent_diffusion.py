"""Latent diffusion: two phases of training, latents, abilities, a trained autoencoder from a file, images that are not square."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from syntype.collection import Collection
from syntype.compute.runtime import Runtime
from syntype.compute.tensors import to_tensor, to_uint8
from syntype.errors import InputError, RecipeError, UnknownNameError
from syntype.generators import load_generator
from syntype.generators.contract import Batch, Blends, Inpaints, TrainingData, Varies
from syntype.generators.diffusion.edm import SIGMA_DATA
from syntype.generators.engine.training import TrainConfig, train
from syntype.generators.families.latent_diffusion import LatentDiffusion, LatentDiffusionConfig
from syntype.generators.networks.magnitude_preserving_unet import WeightedLayer
from syntype.run import Run

SPECIES = ("Aus primus", "Aus secundus")
QUICK = {"steps": 3}
TINY = LatentDiffusionConfig.tiny().model_dump(exclude={"size"})


def photographs(n: int, shape: tuple[int, int]) -> TrainingData:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8).repeat(shape[0] // 4, 1).repeat(shape[1] // 4, 2)
    return TrainingData(images, np.arange(n) % 2, np.arange(n), SPECIES)


def trained(steps: int, **settings: object) -> LatentDiffusion:
    """A tiny model after some steps; the first three train its autoencoder."""
    config = LatentDiffusionConfig.tiny().model_copy(update=settings)
    torch.manual_seed(0)
    model = LatentDiffusion(config, SPECIES)
    data = photographs(8, config.shape)
    model.prepare(data, Runtime("cpu", "fp32"))
    model.train()
    for step in range(steps):
        torch.manual_seed(step)
        rows = np.arange(4) + 4 * (step % 2)
        figures = model.training_step(Batch(to_tensor(data.images[rows]), torch.from_numpy(data.labels[rows]), torch.from_numpy(rows), step))
        assert not figures["skipped"] and all(np.isfinite(float(value)) for value in figures.values())
    return model


@pytest.fixture(scope="module")
def model() -> LatentDiffusion:
    model = trained(6)
    with torch.no_grad():
        model.generator.unet.gain.fill_(0.5)  # so that the network has a say after few steps
    return model


def test_a_run_that_was_killed_in_either_phase_ends_as_an_uninterrupted_one(small_collection: Collection, tmp_path: Path) -> None:
    def run(name: str, steps: int) -> bytes:
        values = {"family": "latent_diffusion", "size": 32, "batch_size": 4, "steps": steps, "device": "cpu", "precision": "fp32", "model": TINY}
        train(small_collection, TrainConfig.parse(values), tmp_path / name, Run.silent())
        return (tmp_path / name / "weights.safetensors").read_bytes()

    whole = run("whole", 6)
    assert [run("parts", steps) for steps in (2, 4, 6)][-1] == whole
    state = torch.load(tmp_path / "parts/training/state.pt", weights_only=True)
    for name, tensor in state["average"].items():  # latents mean what this very autoencoder says: it is not averaged
        if name.startswith("latents."):
            assert torch.equal(tensor, state["model"][f"generator.{name}"]), name
    assert "autoencoder" not in state["training"]


def test_the_denoiser_learns_standardised_latents_and_leaves_the_autoencoder_alone() -> None:
    model = trained(3)
    before = {name: tensor.clone() for name, tensor in model.generator.latents.autoencoder.state_dict().items()}
    torch.manual_seed(3)
    data = photographs(8, (32, 32))
    rows = torch.arange(4)
    model.training_step(Batch(to_tensor(data.images[:4]), torch.from_numpy(data.labels[:4]), rows, 3))
    assert model._encoded is not None and model._encoded.shape == (8, 2, 4, 4, 4)
    latents = model._encoded.float().flatten(0, 1)
    assert_close(latents.mean((0, 2, 3)), torch.zeros(4), atol=5e-3, rtol=0)
    assert_close(latents.std((0, 2, 3)), torch.full((4,), SIGMA_DATA), atol=5e-3, rtol=0)
    mirrored = model.generator.latents.encode(to_tensor(data.images[:4]).flip(3))
    assert_close(model._encoded[:4, 1].float(), mirrored.detach(), atol=5e-3, rtol=1e-2)
    after = model.generator.latents.autoencoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    for layer in model.generator.unet.modules():
        if isinstance(layer, WeightedLayer):
            rows_ = layer.weight.detach().flatten(1).square().mean(1)
            assert_close(rows_, torch.ones_like(rows_), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_the_autoencoder_comes_to_redraw_the_photographs() -> None:
    first, last = (
        float(_distance(trained(steps, autoencoder_steps=400, autoencoder_learning_rate=3e-3, autoencoder_width=16))) for steps in (1, 400)
    )
    assert last < 0.75 * first


@torch.no_grad()
def _distance(model: LatentDiffusion) -> torch.Tensor:
    images = to_tensor(photographs(8, (32, 32)).images)
    return (model.generator.latents.decode(model.generator.latents.encode(images)) - images).abs().mean()


def test_guidance_of_zero_ignores_the_species_and_of_one_follows_it_as_learnt(model: LatentDiffusion) -> None:
    first, second = (model.sample([name], [7], guidance=0.0, **QUICK) for name in SPECIES)
    assert torch.equal(first, second)
    first, second = (model.sample([name], [7], guidance=1.0, **QUICK) for name in SPECIES)
    assert not torch.equal(first, second)
    x, sigma = torch.randn(1, *model.latent_shape), 0.8
    vectors = model._vectors(torch.tensor([0]))
    with torch.no_grad():
        none, plain, led = (model._denoiser(vectors, {"guidance": weight})(x, sigma) for weight in (0.0, 1.0, 2.5))
        assert_close(led, none + 2.5 * (plain - none))
        assert torch.equal(plain, model.generator.denoise(x, torch.tensor([sigma]), vectors))


def test_blends_begin_and_end_where_samples_do(model: LatentDiffusion) -> None:
    assert isinstance(model, Blends) and isinstance(model, Varies) and isinstance(model, Inpaints)
    pair, seeds = SPECIES, (3, 4)
    ends = model.sample(pair, seeds, **QUICK)
    strip = model.blend([pair] * 3, [seeds] * 3, [0.0, 0.5, 1.0], "both", **QUICK)
    assert torch.equal(strip[0], ends[0]) and torch.equal(strip[2], ends[1])
    assert not torch.equal(strip[1], ends[0]) and not torch.equal(strip[1], ends[1])
    latent = model.blend([pair], [seeds], [1.0], "latent", **QUICK)
    assert torch.equal(latent, model.sample([pair[0]], [seeds[1]], **QUICK))
    species = model.blend([pair], [seeds], [1.0], "species", **QUICK)
    assert torch.equal(species, model.sample([pair[1]], [seeds[0]], **QUICK))


def test_variations_go_from_the_photograph_to_a_sample(model: LatentDiffusion) -> None:
    images = to_tensor(photographs(2, (32, 32)).images)
    with torch.no_grad():
        reconstructed = model.generator.latents.decode(model.generator.latents.encode(images))
    assert_close(model.vary(images, SPECIES, [0, 1], 0.0), reconstructed, atol=1e-5, rtol=1e-4)
    assert torch.equal(model.vary(images, SPECIES, [0, 1], 1.0, **QUICK), model.sample(SPECIES, [0, 1], **QUICK))
    near, far = ((model.vary(images, SPECIES, [0, 1], strength, **QUICK) - reconstructed).abs().mean() for strength in (0.2, 0.8))
    assert near < far
    alone = model.vary(images[1:], SPECIES[1:], [1], 0.5, **QUICK)  # bit for bit only in batches of one size, as ``Generator`` draws
    assert_close(alone[0], model.vary(images, SPECIES, [0, 1], 0.5, **QUICK)[1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("sampler", ["dpmsolver++", "heun"])
def test_inpainting_leaves_what_is_known_and_does_not_look_behind_the_mask(model: LatentDiffusion, sampler: str) -> None:
    images = to_tensor(photographs(2, (32, 32)).images)
    masks = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    masks[:, :, 8:24, 4:20] = True
    drawn = model.inpaint(images, masks, SPECIES, [0, 1], sampler=sampler, **QUICK)
    hidden = masks.expand_as(images)
    assert torch.equal(drawn[~hidden], images[~hidden]) and not torch.equal(drawn[hidden], images[hidden])
    assert drawn.min() >= -1 and drawn.max() <= 1
    other = torch.where(masks, torch.ones_like(images), images)
    assert torch.equal(drawn, model.inpaint(other, masks, SPECIES, [0, 1], sampler=sampler, **QUICK))
    assert_close(drawn[1:], model.inpaint(other[1:], masks[1:], SPECIES[1:], [1], sampler=sampler, **QUICK), atol=1e-4, rtol=0)
    whole = model.inpaint(images, torch.ones_like(masks), SPECIES, [0, 1], sampler=sampler, **QUICK)
    assert torch.isfinite(whole).all()


def test_without_species_all_names_give_the_same_image() -> None:
    model = trained(4, conditional=False)
    assert not model.is_conditional
    images = model.sample(SPECIES, [5, 5], **QUICK)
    assert torch.equal(images[0], images[1])


def test_controls_and_sizes_that_make_no_sense_are_explained(model: LatentDiffusion) -> None:
    with pytest.raises(RecipeError, match="guidence"):
        model.sample(SPECIES, [0, 1], guidence=2.0)
    with pytest.raises(UnknownNameError, match="Aus primus"):
        model.sample(["Aus primvs"], [0])
    with pytest.raises(RecipeError, match=r"40x32 pixels.*multiple of 16"):
        LatentDiffusion(LatentDiffusionConfig.tiny(40).model_copy(update={"image_width": 32}), SPECIES)


def test_images_need_not_be_square(small_collection: Collection, tmp_path: Path) -> None:
    values = {"family": "latent_diffusion", "size": 32, "batch_size": 4, "steps": 5, "device": "cpu", "precision": "fp32"}
    train(small_collection, TrainConfig.parse({**values, "model": {**TINY, "image_width": 48}}), tmp_path / "g", Run.silent())
    generator = load_generator(tmp_path / "g")
    assert generator.sample(["Aus primus", "Bus tertius"], [0, 1]).shape == (2, 3, 32, 48)
    assert list((tmp_path / "g/previews").glob("final-*.png"))
    with Image.open(tmp_path / "g/process.png") as strip:  # two rows for each of three species
        assert strip.size == (8 * 48, 2 * 3 * 32)


def test_the_process_goes_from_photographs_to_noise_and_from_noise_to_images(model: LatentDiffusion) -> None:
    photographs = to_tensor(np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8))
    strip = model.process_strip(photographs, SPECIES, [0, 1])
    cells = strip.reshape(4, 32, 8, 32, 3).swapaxes(1, 2)
    reconstructed = to_uint8(model.vary(photographs, SPECIES, [0, 1], 0.0))
    drawn = to_uint8(model.sample(SPECIES, [0, 1]))
    np.testing.assert_allclose(cells[[0, 2], 0].astype(int), reconstructed.astype(int), atol=2)
    np.testing.assert_allclose(cells[[1, 3], -1].astype(int), drawn.astype(int), atol=2)


def _tiny_autoencoder(folder: Path) -> None:
    from diffusers import AutoencoderKL

    torch.manual_seed(5)
    autoencoder = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        latent_channels=4,
        norm_num_groups=4,
    )
    autoencoder.save_pretrained(folder)


def test_a_trained_autoencoder_is_used_as_it_is_and_needed_once(tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    _tiny_autoencoder(tmp_path / "vae")
    expected = AutoencoderKL.from_pretrained(tmp_path / "vae", low_cpu_mem_usage=False).state_dict()
    model = trained(2, autoencoder=str(tmp_path / "vae/diffusion_pytorch_model.safetensors"))
    found = model.generator.latents.autoencoder.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert model.generator.latents.fitted and model.ema_decay(0, None) == 0.0
    shutil.rmtree(tmp_path / "vae")
    again = LatentDiffusion(LatentDiffusionConfig.parse(model.config.model_dump(mode="json")), SPECIES)
    again.generator.load_state_dict(model.generator.state_dict())
    assert torch.equal(again.sample(SPECIES, [0, 1], **QUICK), model.sample(SPECIES, [0, 1], **QUICK))


def test_an_autoencoder_that_is_not_there_is_explained(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"cannot be read as an autoencoder.*diffusers' layout"):
        trained(1, autoencoder=str(tmp_path))


FULL_SIZE = """
import resource, sys
import numpy as np, torch
from syntype.generators import family
from syntype.generators.contract import Batch, TrainingData, to_tensor
from syntype.compute.runtime import Runtime
from syntype.generators.engine.training import TrainConfig
from syntype.recipe import find_recipe
config = TrainConfig.parse(find_recipe("jellyfish-latent-640x1024"))
kind = family(config.family)
settings = kind.Config.parse({**config.model, "size": config.size, "autoencoder_steps": 1})
assert settings.shape == (640, 1024)
torch.manual_seed(0)
model = kind(settings, ("Cyanea capillata",))
n = config.batch_size
images = np.random.default_rng(0).integers(0, 256, (1, 640, 1024, 3), dtype=np.uint8)
rows = np.zeros(n, dtype=np.int64)
model.prepare(TrainingData(images, rows[:1], rows[:1], model.species), Runtime("cpu", "fp32"))
def report(what):
    print(what, sum(p.numel() for p in model.generator.unet.parameters()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, flush=True)
for step, what in enumerate(("autoencoder", "denoiser")):
    model.train()
    figures = model.training_step(Batch(to_tensor(images[rows]), torch.from_numpy(rows), torch.from_numpy(rows), step))
    assert not figures["skipped"] and all(np.isfinite(float(value)) for value in figures.values())
    report(what)
drawn = model.sample(model.species, [0], steps=2)
assert drawn.shape == (1, 3, 640, 1024) and bool(torch.isfinite(drawn).all())
report("picture")
"""


@pytest.mark.slow
def test_the_full_size_model_trains_and_draws_within_20_gibibytes() -> None:
    result = subprocess.run([sys.executable, "-c", FULL_SIZE], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    parameters, gibibytes = (float(word) for word in result.stdout.split()[-2:])
    assert parameters > 40e6 and gibibytes < 20, result.stdout

"""``copies``, ``collage`` and ``pose_transfer``: families that learn nothing, and so must keep their promises exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made import make_collection
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

from syntype.compute.runtime import Runtime
from syntype.errors import CollectionError, UnknownNameError, UnsupportedError
from syntype.generators import TrainConfig, train
from syntype.generators.contract import GenerativeModel, TrainingData
from syntype.generators.copy_paste.filling import pull_push
from syntype.generators.copy_paste.segmentation import PLAUSIBLE_AREA, ellipse, segment
from syntype.generators.families.collage import Collage, CollageConfig
from syntype.generators.families.copies import Copies
from syntype.generators.families.pose_transfer import PoseTransfer
from syntype.run import Run

SPECIES = ("Chromis rubra", "Chromis nigra", "Chromis absens", "Chromis flava")  # the third has no photograph
COLOURS = {0: (210, 40, 40), 1: (20, 20, 25), 3: (240, 210, 40)}
FAMILIES = [Copies, Collage, PoseTransfer]


def draw_fish(rng: np.random.Generator, colour: tuple[int, int, int], size: int) -> tuple[np.ndarray, np.ndarray]:
    """A photograph-like picture of an ellipse with a tail in front of graded water, and its true mask."""
    large = 4 * size
    water = np.array([40, 130, 160]) + rng.uniform(-20, 20, 3)
    picture = np.broadcast_to(water + np.linspace(25, -25, large)[:, None, None], (large, large, 3))
    mask = Image.new("L", (large, large))
    x, y = (np.array([0.5, 0.5]) + rng.uniform(-0.04, 0.04, 2)) * large
    half_width, half_height = rng.uniform(0.2, 0.27) * large, rng.uniform(0.12, 0.16) * large
    brush = ImageDraw.Draw(mask)
    brush.ellipse((x - half_width, y - half_height, x + half_width, y + half_height), fill=255)
    brush.polygon([(x + half_width * 0.8, y), (x + half_width * 1.4, y - half_height * 0.8), (x + half_width * 1.4, y + half_height * 0.8)], fill=255)
    alpha = np.asarray(mask.resize((size, size), Image.Resampling.BOX), dtype=np.float64)[..., None] / 255
    ground = np.asarray(Image.fromarray(picture.clip(0, 255).astype(np.uint8)).resize((size, size), Image.Resampling.BOX))
    image = alpha * (np.array(colour) + rng.uniform(-12, 12, 3)) + (1 - alpha) * ground + rng.normal(0, 4, (size, size, 3))
    return image.clip(0, 255).round().astype(np.uint8), alpha[..., 0] > 0.5


def make_data(size: int = 32, each: int = 5) -> tuple[TrainingData, np.ndarray]:
    rng = np.random.default_rng(7)
    labels = np.repeat([3, 0, 1], each)  # not in order, so that the store has to sort
    drawn = [draw_fish(rng, COLOURS[int(label)], size) for label in labels]
    images, masks = (np.stack(part) for part in zip(*drawn, strict=True))
    return TrainingData(images, labels.astype(np.int64), np.arange(len(labels)), SPECIES), masks


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return make_data()[0]


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda kind: kind.__name__)
def model(request: pytest.FixtureRequest, data: TrainingData) -> GenerativeModel:
    built: GenerativeModel = request.param(request.param.Config.tiny(), SPECIES)
    built.prepare(data, Runtime("cpu"))
    return built


def levels(images: torch.Tensor) -> np.ndarray:
    return images.add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def test_samples_keep_the_contract(model: GenerativeModel) -> None:
    images = model.sample([SPECIES[0], SPECIES[3], SPECIES[1]], [3, 2**63 - 1, 0])
    assert images.shape == (3, 3, 32, 32)
    assert images.dtype == torch.float32
    assert -1 <= float(images.min()) < float(images.max()) <= 1
    assert model.sample([], []).shape == (0, 3, 32, 32)


def test_one_seed_one_image_whatever_the_batch_or_the_order(model: GenerativeModel) -> None:
    asked = [(SPECIES[label], seed) for label in (0, 1, 3) for seed in (0, 1, 2, 17, 2**62)]
    together = model.sample(*zip(*asked, strict=True))
    backwards = model.sample(*zip(*asked[::-1], strict=True)).flip(0)
    alone = torch.cat([model.sample([name], [seed]) for name, seed in asked])
    assert torch.equal(together, backwards)
    assert torch.equal(together, alone)


def test_checkpoints_bring_back_the_same_images(model: GenerativeModel, tmp_path: Path) -> None:
    save_file(model.generator.state_dict(), tmp_path / "generator.safetensors")
    again = type(model)(model.config, SPECIES)
    again.generator.load_state_dict(load_file(tmp_path / "generator.safetensors"))
    seeds = list(range(6))
    assert torch.equal(again.sample([SPECIES[1]] * 6, seeds), model.sample([SPECIES[1]] * 6, seeds))


def test_a_checkpoint_of_another_size_or_vocabulary_is_refused(model: GenerativeModel) -> None:
    state = model.generator.state_dict()
    with pytest.raises(RuntimeError, match="size mismatch"):
        type(model)(type(model).Config.tiny(64), SPECIES).generator.load_state_dict(state)
    with pytest.raises(RuntimeError, match="size mismatch"):
        type(model)(model.config, SPECIES[:2]).generator.load_state_dict(state)


def test_what_cannot_be_drawn_is_said_clearly(model: GenerativeModel) -> None:
    with pytest.raises(UnsupportedError, match="none of 'Chromis absens'"):
        model.sample(["Chromis absens"], [0])
    with pytest.raises(UnknownNameError, match="Did you mean 'Chromis nigra'"):
        model.sample(["Chromis nigre"], [0])


@pytest.mark.parametrize("kind", FAMILIES)
def test_no_photograph_at_all_is_an_error(kind: type[GenerativeModel]) -> None:
    empty = TrainingData(np.empty((0, 32, 32, 3), np.uint8), np.empty(0, np.int64), np.empty(0, np.int64), SPECIES)
    with pytest.raises(CollectionError, match="has none"):
        kind(kind.Config.tiny(), SPECIES).prepare(empty, Runtime("cpu"))


def test_copies_are_the_photographs_and_seeds_reach_all_of_them(data: TrainingData) -> None:
    model = Copies(Copies.Config.tiny(), SPECIES)
    model.prepare(data, Runtime("cpu"))
    for label in (0, 1, 3):
        drawn = levels(model.sample([SPECIES[label]] * 5, range(10, 15)))
        real = data.images[data.labels == label]
        assert {image.tobytes() for image in drawn} == {image.tobytes() for image in real}


def test_collages_are_new_but_show_the_species_colours(data: TrainingData) -> None:
    model = Collage(Collage.Config.tiny(), SPECIES)
    model.prepare(data, Runtime("cpu"))
    centres = {label: np.median(data.images[data.labels == label][:, 14:19, 12:21].reshape(-1, 3), axis=0) for label in COLOURS}
    for label in COLOURS:
        drawn = levels(model.sample([SPECIES[label]] * 20, range(20)))
        difference = np.abs(drawn[:, None].astype(float) - data.images[None]).mean((2, 3, 4))
        assert difference.min() > 3  # grey levels: none repeats a photograph
        assert len({image.tobytes() for image in drawn}) == 20
        middles = np.median(drawn[:, 14:19, 12:21].reshape(20, -1, 3), axis=1)
        nearest = [min(centres, key=lambda other: float(np.linalg.norm(middle - centres[other]))) for middle in middles]
        assert np.mean([found == label for found in nearest]) >= 0.95


def test_collages_leave_nothing_of_the_backgrounds_own_animal() -> None:
    """One species is bright red, the other black: on black fish's backgrounds no red may show and the other way round."""
    data, _ = make_data(64, each=8)
    model = Collage(CollageConfig(size=64), SPECIES)
    model.prepare(data, Runtime("cpu"))
    drawn = levels(model.sample([SPECIES[1]] * 24, range(24))).astype(int)
    red = (drawn[..., 0] - np.maximum(drawn[..., 1], drawn[..., 2]) > 60).mean()
    assert red < 0.002


def test_a_single_photograph_is_enough(data: TrainingData) -> None:
    one = TrainingData(data.images[:1], np.zeros(1, np.int64), np.zeros(1, np.int64), ("Chromis sola",))
    model = Collage(Collage.Config.tiny(), one.species)
    model.prepare(one, Runtime("cpu"))
    drawn = model.sample(["Chromis sola"] * 3, [0, 1, 2])
    assert bool(torch.isfinite(drawn).all())
    assert not torch.equal(drawn[0], drawn[1])


def test_settings_at_their_mildest_leave_the_animal_where_it_was(data: TrainingData) -> None:
    still = CollageConfig(size=32, rotation=0, scale=1, shift=0, warp=0, lighting=0, harmonisation=0, background_zoom=1)
    model = Collage(still, SPECIES)
    model.prepare(data, Runtime("cpu"))
    real = data.images[data.labels == 1][0].astype(float)
    drawn = [image.astype(float) for image in levels(model.sample([SPECIES[1]] * 10, range(0, 50, 5)))]  # one photograph, ten draws
    core = np.s_[15:17, 13:19]
    distance = [min(np.abs(image[core] - real[core]).max(), np.abs(image[:, ::-1][core] - real[core]).max()) for image in drawn]
    assert max(distance) <= 2


@pytest.mark.parametrize("size", [32, 48, 64, 96])
def test_masks_agree_with_the_truth(size: int) -> None:
    data, truth = make_data(size)
    found = segment(data.images).masks.numpy() > 127
    overlap = (found & truth).sum((1, 2)) / (found | truth).sum((1, 2))
    assert np.median(overlap) > 0.85
    assert overlap.min() > 0.6


def test_where_nothing_stands_out_the_middle_is_taken() -> None:
    flat = np.full((2, 48, 48, 3), 90, np.uint8)
    flat[1] = np.random.default_rng(0).integers(0, 256, (48, 48, 3))
    masks = segment(flat).masks.float() / 255
    middle = ellipse(48, 0.45, 0.4, 0.1) > 0.5
    for mask in masks:
        assert PLAUSIBLE_AREA[0] <= float(mask.mean()) <= PLAUSIBLE_AREA[1]
        assert float(mask[middle].sum() / mask.sum()) > 0.95


def test_filling_keeps_what_is_known_and_continues_it_smoothly() -> None:
    ramp = torch.linspace(0, 1, 45).expand(1, 3, 33, 45).contiguous()
    weights = torch.ones(1, 1, 33, 45)
    weights[..., 10:20, 15:28] = 0
    spoilt = torch.where(weights > 0, ramp, torch.tensor(5.0))
    filled = pull_push(spoilt, weights)
    torch.testing.assert_close(filled * weights, ramp * weights)
    assert float((filled - ramp).abs().max()) < 0.15
    assert torch.isfinite(pull_push(spoilt, torch.zeros_like(weights))).all()


@pytest.mark.slow
def test_masks_of_real_photographs_have_the_size_of_fish(fish4knowledge: Path) -> None:
    files = sorted((fish4knowledge / "images" / "Zanclus_cornutus").iterdir())[:40]
    images = np.stack([np.asarray(Image.open(file).convert("RGB").resize((64, 64))) for file in files])
    areas = segment(images).masks.float().mean((1, 2)) / 255
    assert 0.05 < float(areas.median()) < 0.4


def test_hundreds_of_species_have_a_preview_of_twelve_rows(tmp_path: Path) -> None:
    collection = make_collection(tmp_path / "collection", {f"Aus no{number}": 1 for number in range(201)}, size=16, split="train")
    train(collection, TrainConfig(family="copies", size=16, device="cpu"), tmp_path / "copies", Run.silent())
    with Image.open(tmp_path / "copies/previews/final-000000.png") as preview:
        assert preview.size == (8 * 16, 12 * 16)

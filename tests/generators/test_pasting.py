"""The parts of copy-paste: emptied places, soft outlines, light, and which photographs an image was made from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from made import make_collection

from syntype.collection.reef_drawing import draw_individual, draw_mask
from syntype.compute.runtime import Runtime
from syntype.generators import TrainConfig, load_generator, train
from syntype.generators.contract import TrainingData
from syntype.generators.copy_paste.emptying import empty_place
from syntype.generators.copy_paste.light import in_light, measure_light
from syntype.generators.copy_paste.matting import foreground_colours, soft_outline
from syntype.generators.copy_paste.places import emptied_well
from syntype.generators.families.pose_transfer import PoseTransfer, PoseTransferConfig
from syntype.run import Run
from syntype.synthesis.generate import GenerateConfig, generate


def disc(size: int, radius: float) -> np.ndarray:
    """A disc with a soft edge in the middle: float32, shape (size, size), 1 inside."""
    line = np.arange(size) + 0.5 - size / 2
    return np.clip(radius + 0.5 - np.hypot(line[None], line[:, None]), 0, 1).astype(np.float32)


def test_an_emptied_place_shows_nothing_of_the_animal_and_keeps_the_rest() -> None:
    rng, alpha = np.random.default_rng(0), disc(64, 12)[..., None]
    ground = (np.array([0.2, 0.5, 0.2]) + rng.normal(0, 0.05, (64, 64, 3))).clip(0, 1).astype(np.float32)
    hole = disc(64, 16) > 0.5
    emptied = empty_place((1 - alpha) * ground + alpha * np.float32([0.9, 0.1, 0.1]), hole)
    assert np.array_equal(emptied[~hole], ground[~hole])
    assert (emptied[hole][:, 0] < emptied[hole][:, 1]).mean() > 0.99  # green everywhere
    assert 0.5 < emptied[hole].std(0).mean() / ground.std((0, 1)).mean() < 1.5  # as rough as the background around it


def test_a_photograph_without_background_gives_its_mean_colour() -> None:
    image = np.random.default_rng(0).random((16, 16, 3), np.float32)
    np.testing.assert_allclose(empty_place(image, np.ones((16, 16), bool)), np.broadcast_to(image.mean((0, 1)), image.shape), atol=1e-6)


def test_an_outline_follows_the_photographs_edge_and_stripes_make_no_holes() -> None:
    truth = disc(128, 40)
    stripes = np.where(np.arange(128)[None, :, None] // 8 % 2, np.float32([0.9, 0.6, 0.1]), np.float32([0.05, 0.05, 0.05]))
    image = (truth[..., None] * stripes + (1 - truth[..., None]) * np.float32([0.3, 0.6, 0.3])).astype(np.float32)
    coarse = disc(64, 19)  # a pixel too narrow
    found = soft_outline(image, coarse)
    assert np.abs(found - truth).mean() < 0.02
    assert found[disc(128, 34) > 0.99].min() > 0.9


def test_soft_edges_show_the_animals_colours_and_not_its_backgrounds() -> None:
    alpha = disc(64, 15)[..., None]
    image = (alpha * np.float32([0.9, 0.2, 0.2]) + (1 - alpha) * np.float32([0.1, 0.3, 0.9])).astype(np.float32)
    edge = (alpha[..., 0] > 0.3) & (alpha[..., 0] < 0.7)
    found = foreground_colours(image, alpha[..., 0], (6, 1))
    assert np.abs(found[edge] - [0.9, 0.2, 0.2]).mean() < 0.5 * np.abs(image[edge] - [0.9, 0.2, 0.2]).mean()


def test_light_follows_the_place_within_bounds() -> None:
    everywhere = np.ones((32, 32), bool)
    animal, dark, bright = (np.full((32, 32, 3), level, np.float32) for level in (0.5, 0.02, 0.98))
    before, after = measure_light(dark, everywhere), measure_light(bright, everywhere)
    lighter = in_light(animal, everywhere.astype(np.float32), before, after, 1.0)
    assert 0.05 < float((lighter - animal).mean()) < 0.2  # much less than the place's
    np.testing.assert_allclose(in_light(animal, everywhere.astype(np.float32), before, after, 0.0), animal, atol=1e-3)


def test_a_place_in_which_the_species_is_still_seen_is_not_good() -> None:
    labels, left = np.arange(64) % 8, np.arange(64) < 32
    which = [(7, 11, int(label), number, 0, 64) for number, label in enumerate(labels)]
    images, masks = np.stack([draw_individual(*one) for one in which]), np.stack([draw_mask(*one) for one in which])
    cleared = torch.from_numpy(masks.astype(np.uint8) * 255)
    cleared[left] = 0
    cleared[left, :4, :4] = 255  # of half of the photographs a corner is removed, and the animal stays
    good = emptied_well(images, cleared, labels, torch.device("cpu"))
    assert good[~left].mean() > 0.7 and good[left].mean() < 0.4
    assert emptied_well(images, cleared, np.zeros(64, np.int64), torch.device("cpu")).all()
    assert emptied_well(images[:20], cleared[:20], labels[:20], torch.device("cpu")).all()


def test_every_pasted_image_names_the_photographs_of_the_animal_and_of_the_place(tmp_path: Path) -> None:
    collection = make_collection(tmp_path / "collection", {"Aus rarus": 2, "Aus vulgaris": 6}, size=32, split="train")
    config = TrainConfig(family="pose_transfer", size=32, device="cpu", model={"min_donor_images": 6})
    train(collection, config, tmp_path / "pasted", Run.silent())
    generator = load_generator(tmp_path / "pasted")
    table = generate(generator, GenerateConfig(species=("Aus rarus",), num=4), tmp_path / "drawn", Run.silent()).collection.table
    of = dict(zip(collection.table["image_id"], collection.table["species"], strict=True))
    for text in table["parents"]:
        assert [of[parent] for parent in json.loads(text)] == ["Aus rarus", "Aus vulgaris"]


def test_the_place_is_one_that_the_animal_covers() -> None:
    """A long animal does not take the place of a round one, whose hole it would leave half open."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    shapes = [((x / 0.6) ** 2 + (y / width) ** 2 < 1, colour) for width, colour in ((0.2, (210, 40, 40)), (0.2, (20, 20, 25)), (0.55, (20, 20, 25)))]
    images = np.stack([np.where(where[..., None], colour, (40, 130, 160)) for where, colour in shapes]).astype(np.uint8)
    model = PoseTransfer(PoseTransferConfig(size=64, min_donor_images=1, num_places=12, warp=0), ("Aus rarus", "Aus longus", "Aus rotundus"))
    model.prepare(TrainingData(images, np.array([0, 1, 2]), np.arange(3), model.species), Runtime("cpu"))
    assert 2 not in {model.paste_parameters(seed, 0).background for seed in range(20)}

"""``pose_transfer``: rare animals in the poses, places and light of common ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from syntype.compute.runtime import Runtime
from syntype.generators.contract import TrainingData
from syntype.generators.copy_paste.segmentation import segment
from syntype.generators.families.pose_transfer import AnimalMeasurements, PoseTransfer, PoseTransferConfig

SPECIES = ("Chromis rara", "Chromis vulgaris")
SIZE = 64


def fish(colour: tuple[int, int, int], x: float, y: float, length: float, height: float, angle: float = 0.0) -> np.ndarray:
    """An ellipse before water: middle and half axes as shares of the side, angle in degrees (clockwise, as y runs down)."""
    large = 4 * SIZE
    picture = Image.new("RGB", (large, large), (40, 130, 160))
    corners = np.linspace(0, 2 * np.pi, 90)
    along, across = length * np.cos(corners), height * np.sin(corners)
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    points = np.stack([x + cosine * along - sine * across, y + sine * along + cosine * across], 1) * large
    ImageDraw.Draw(picture).polygon([(px, py) for px, py in points], fill=colour)
    return np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BOX))


def model_of(common: list[np.ndarray], rare: list[np.ndarray], least: int) -> PoseTransfer:
    images, labels = np.stack([*rare, *common]), np.repeat([0, 1], [len(rare), len(common)])
    model = PoseTransfer(PoseTransferConfig(size=SIZE, min_donor_images=least, num_places=2, warp=0, lighting=0), SPECIES)
    model.prepare(TrainingData(images, labels, np.arange(len(labels)), SPECIES), Runtime("cpu"))
    return model


def red_of(model: PoseTransfer, count: int) -> np.ndarray:
    """Where the drawn rare animal, which is red, is: bool, shape (count, SIZE, SIZE)."""
    drawn = model.sample([SPECIES[0]] * count, range(count)).permute(0, 2, 3, 1).numpy()
    return drawn[..., 0] - drawn[..., 1:].max(axis=3) > 0.2


RARE = [fish((210, 40, 40), 0.5, 0.5, 0.22, 0.11), fish((210, 40, 40), 0.52, 0.48, 0.22, 0.11)]


def test_an_outline_is_measured() -> None:
    shapes = [(0.5, 0.5, 0.25, 0.1, 0.0), (0.4, 0.55, 0.24, 0.1, 25.0), (0.55, 0.45, 0.24, 0.12, -30.0)]
    images = np.stack([fish((20, 20, 25), *shape) for shape in shapes])
    outlines = segment(images)
    found = AnimalMeasurements.measure(outlines.masks[:, None], np.ones(3, bool), np.array([0, 3]), 1)
    for row, (x, y, length, height, angle) in enumerate(shapes):
        np.testing.assert_allclose(found.centre[row], [2 * x - 1, 2 * y - 1], atol=0.03)
        assert math.degrees(found.angle[row]) == pytest.approx(angle, abs=3)
        # the standard deviation of an ellipse along a half axis a is a / 2, and the side is 2 long
        np.testing.assert_allclose(np.exp(found.traits[row, :2]), [length, height], rtol=0.1)
    np.testing.assert_allclose(found.species_mean, np.repeat(found.traits.mean(0)[None], 3, 0))


def test_the_animal_goes_to_its_donors_place_and_takes_over_its_angle() -> None:
    steep = [fish((20, 20, 25), 0.5, 0.3, 0.22, 0.1, 30.0 + turn) for turn in range(6)]
    where = red_of(model_of(steep, RARE, least=5), 12)
    y, x = np.mgrid[:SIZE, :SIZE]
    for one in where:
        assert one.sum() > 60
        assert y[one].mean() / SIZE == pytest.approx(0.3, abs=0.05) and x[one].mean() / SIZE == pytest.approx(0.5, abs=0.05)
        slope = np.polyfit(x[one], y[one], 1)[0]
        assert 15 < abs(math.degrees(math.atan(slope))) < 50


def test_the_animal_is_larger_where_its_donor_is_larger_than_its_own_species() -> None:
    sizes = (0.15, 0.17, 0.2, 0.23, 0.26, 0.28)
    model = model_of([fish((20, 20, 25), 0.5, 0.5, size, size / 2) for size in sizes], RARE, least=5)
    chosen = [model.paste_parameters(seed, 0).background for seed in range(40)]
    areas, donors = red_of(model, 40).sum((1, 2)), np.array(sizes)[np.array(chosen) - len(RARE)]
    even = np.arange(40) % 2 == 0  # consecutive seeds walk through the rare photographs: the first one alone
    assert np.corrcoef(np.sqrt(areas[even]), donors[even])[0, 1] > 0.9
    assert areas[even].max() > 1.8 * areas[even].min()


def test_where_no_species_is_common_all_are_donors() -> None:
    measurements = model_of([fish((20, 20, 25), 0.5, 0.5, 0.2, 0.1)] * 3, RARE, least=30).measurements
    assert measurements.donors.tolist() == [0, 1, 2, 3, 4]


def test_every_individual_has_the_same_share_however_often_it_was_photographed() -> None:
    images = np.stack([fish((210, 40, 40), 0.5, 0.5, 0.2, 0.1)] * 5)
    model = PoseTransfer(PoseTransferConfig(size=SIZE), SPECIES[:1])
    model.prepare(TrainingData(images, np.zeros(5, np.int64), np.array([7, 7, 7, 7, 9]), SPECIES[:1]), Runtime("cpu"))
    rows = model.generator.choose(torch.zeros(16, dtype=torch.int64), range(-8, 8), SPECIES[:1], by_group=True)
    assert sorted(rows) == [0, 0, 1, 1, 2, 2, 3, 3] + [4] * 8


MANY = ("Aus rarus", "Aus vulgaris", "Bus vulgaris", "Cus solus")


def related(taxa: dict[str, tuple[str | None, ...]]) -> PoseTransfer:
    """One rare species and three common ones of three photographs each."""
    images = np.stack([fish((210, 40, 40), 0.5, 0.5, 0.2, 0.1), *[fish((20, 20, 25), 0.4, 0.5, 0.2, 0.1)] * 9])
    model = PoseTransfer(PoseTransferConfig(size=SIZE, min_donor_images=3, num_places=1), MANY)
    model.prepare(TrainingData(images, np.repeat([0, 1, 2, 3], [1, 3, 3, 3]), np.arange(10), MANY, taxa), Runtime("cpu"))
    return model


def donors_of(model: PoseTransfer, row: int) -> set[int]:
    return {model.paste_parameters(seed, row).background for seed in range(60)}


def test_donors_are_of_the_same_genus_else_family_else_any() -> None:
    genus, family = ("Aus", "Aus", "Bus", None), ("Ausidae", "Ausidae", "Ausidae", None)
    model = related({"genus": genus, "family": family})
    assert donors_of(model, 0) == {1, 2, 3}
    assert donors_of(model, 4) == {1, 2, 3, 4, 5, 6}  # of the family, and its own
    assert donors_of(model, 7) == set(range(1, 10))
    assert model.remarks == ("Species that take pose, place and light from common species: 1 from their genus, 2 from their family, 1 from any.",)
    assert donors_of(related({"family": family}), 0) == set(range(1, 7))


def test_relatives_are_saved_with_the_generator_and_without_ranks_nothing_changes() -> None:
    model, plain = related({"genus": ("Aus", "Aus", "Bus", None)}), related({})
    loaded = PoseTransfer(model.config, MANY)
    loaded.generator.load_state_dict(model.generator.state_dict())
    assert donors_of(loaded, 0) == {1, 2, 3}
    assert "taxa" not in plain.generator.state_dict() and plain.remarks == () and donors_of(plain, 0) == set(range(1, 10))
    assert related({"genus": ("Aus", "Bus", "Cus", "Dus")}).generator.taxa is None  # no relatives at all

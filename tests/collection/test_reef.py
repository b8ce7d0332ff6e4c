from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest
from PIL import Image

from syntype.collection.reef import ReefConfig, draw_images, draw_reef, reef_config, species_names, training_counts
from syntype.collection.reef_species import GENUS_SIZE, species_name, species_parameters
from syntype.collection.table import Collection
from syntype.errors import InputError, RecipeError
from syntype.run import Run

SMALL = ReefConfig(num_species=4, size=32, max_images=9, min_images=2, num_val=1, num_test=2)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return draw_reef(SMALL, tmp_path_factory.mktemp("reef") / "small", Run.silent()).collection


def pixels(collection: Collection, image_id: str) -> bytes:
    row = int(np.flatnonzero(collection.table["image_id"] == image_id)[0])
    return collection.path(row).read_bytes()


def test_drawing_is_a_function_of_the_settings(small: Collection, tmp_path) -> None:
    again = draw_reef(SMALL, tmp_path / "again", Run.silent())
    assert again.collection.fingerprint == small.fingerprint
    assert again.collection.table["sha256"].tolist() == small.table["sha256"].tolist()
    assert small.table["sha256"].is_unique
    other = draw_images(SMALL.model_copy(update={"seed": 1}), [0], [0])
    assert not np.array_equal(other, draw_images(SMALL, [0], [0]))


def test_the_files_are_what_the_table_says(small: Collection) -> None:
    for row in range(len(small)):
        assert hashlib.sha256(small.path(row).read_bytes()).hexdigest() == small.table["sha256"].iloc[row]
        with Image.open(small.path(row)) as image:
            assert image.size == (32, 32) and image.mode == "RGB"
    assert set(small.table["licence"]) == {"CC0-1.0"} and set(small.table["origin"]) == {"real"}
    assert small.table["terms"].str.contains("Not a photograph").all()


def test_a_collection_remembers_its_reef(small: Collection) -> None:
    opened = Collection.open(small.root)
    assert reef_config(opened) == SMALL
    assert opened.species == species_names(SMALL)
    assert reef_config(Collection(small.root, small.table, small.species, {"history": [{"stage": "collect"}]})) is None


def test_counts_follow_the_long_tail(small: Collection) -> None:
    counts = training_counts(SMALL)
    assert sorted(counts, reverse=True) == [9, 5, 3, 3]  # 9 / rank ** 0.9
    assert list(small.select(split="train").counts().values()) == counts.tolist()
    assert list(small.select(split="test").counts().values()) == [2, 2, 2, 2]
    assert list(small.select(split="val").counts().values()) == [1, 1, 1, 1]


def test_the_default_reef_has_rare_and_common_species() -> None:
    counts = training_counts(ReefConfig())
    assert counts.min() >= 2 and ((counts >= 2) & (counts <= 10)).sum() >= 6 and ((counts >= 11) & (counts <= 100)).sum() >= 6
    assert counts.max() > 100
    assert (training_counts(ReefConfig(tail=0)) == 120).all()
    assert training_counts(ReefConfig(num_species=300, max_images=2000, min_images=2, tail=1.2)).min() == 2


def test_groups_never_straddle_a_split_and_are_short_tracks(small: Collection) -> None:
    by_group = small.table.groupby("group")
    assert (by_group["split"].nunique() == 1).all() and (by_group["species"].nunique() == 1).all()
    assert by_group.size().between(1, 4).all()
    assert (small.select(split=["val", "test"]).table.groupby("group").size() == 1).all()


def test_frames_of_a_track_are_closer_than_individuals(tmp_path) -> None:
    config = ReefConfig(num_species=2, size=32, max_images=24, min_images=24, tail=0, num_val=0, num_test=0)
    table = (reef := draw_reef(config, tmp_path / "tracks", Run.silent()).collection).table
    images = np.stack([np.asarray(Image.open(reef.path(row)), dtype=np.float64) for row in range(len(reef))])
    distance = np.abs(images[:, None] - images[None]).mean(axis=(2, 3, 4))
    same = table["group"].to_numpy()[:, None] == table["group"].to_numpy()[None]
    different_frame = ~np.eye(len(reef), dtype=bool)
    assert distance[same & different_frame].mean() < 0.6 * distance[~same].mean()
    assert distance[same & different_frame].min() > 1


def test_a_larger_reef_holds_the_smaller_one(small: Collection, tmp_path) -> None:
    larger = draw_reef(SMALL.model_copy(update={"num_species": 5, "max_images": 20, "min_images": 9}), tmp_path / "larger", Run.silent()).collection
    assert set(small.table["image_id"]) <= set(larger.table["image_id"])
    for image_id in small.table["image_id"]:
        assert pixels(small, image_id) == pixels(larger, image_id)


def test_one_label_and_seed_one_image() -> None:
    labels, seeds = [3, 0, 2, 0, 1], [5, 1, 0, 2, 5]
    together = draw_images(SMALL, labels, seeds)
    assert together.shape == (5, 32, 32, 3) and together.dtype == np.uint8
    for position, (label, seed) in enumerate(zip(labels, seeds, strict=True)):
        assert np.array_equal(draw_images(SMALL, [label], [seed])[0], together[position])
    assert len({image.tobytes() for image in together}) == 5
    assert draw_images(SMALL, [], []).shape == (0, 32, 32, 3)


def test_fresh_individuals_are_not_in_the_collection(small: Collection) -> None:
    known = {np.asarray(Image.open(small.path(row))).tobytes() for row in range(len(small))}
    fresh = draw_images(SMALL, np.repeat(np.arange(4), 10), np.tile(np.arange(10), 4))
    assert not known & {image.tobytes() for image in fresh}


def test_size_changes_the_detail_and_not_the_picture() -> None:
    labels, seeds = np.arange(8) % 4, np.arange(8)
    small, large = draw_images(SMALL, labels, seeds, size=64), draw_images(SMALL, labels, seeds, size=192)
    reduced = large.reshape(8, 64, 3, 64, 3, 3).mean(axis=(2, 4))
    difference = np.abs(reduced - small).mean(axis=(1, 2, 3))
    unrelated = np.abs(reduced - np.roll(small, 1, axis=0)).mean(axis=(1, 2, 3))
    assert np.median(difference) < 6 and np.median(difference) < 0.25 * np.median(unrelated)
    structure = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(reduced, small, strict=True)]
    assert np.median(structure) > 0.95


def test_a_large_picture_has_detail_of_its_own() -> None:
    image = draw_images(SMALL, [0], [3], size=1024)[0]
    assert image.shape == (1024, 1024, 3)
    blocky = np.repeat(np.repeat(image.reshape(128, 8, 128, 8, 3).mean(axis=(1, 3)), 8, axis=0), 8, axis=1)
    assert np.abs(image - blocky).mean() > 0.5


def test_pictures_are_well_exposed_and_vary() -> None:
    images = draw_images(ReefConfig(), np.arange(48) % 24, np.arange(48)).astype(np.float64)
    assert 40 < images.mean() < 180
    assert (images.std(axis=(1, 2, 3)) > 8).all()  # no blank picture
    assert images.std(axis=0).mean() > 25  # no two alike


def test_species_are_derived_on_demand_and_fast() -> None:
    start = time.process_time()
    many = [species_parameters(7, number) for number in range(100_000, 102_000)]
    assert time.process_time() - start < 3
    assert len({parameters.vector().tobytes() for parameters in many}) == 2000
    assert draw_images(ReefConfig(num_species=10_000), [9_999], [0], size=32).shape == (1, 32, 32, 3)


def test_names_are_unique_binomials() -> None:
    names = [species_name(number) for number in range(20_000)]
    assert len(set(names)) == 20_000 and all(len(name.split()) == 2 for name in names)
    assert names[0].split()[0] == names[1].split()[0] != names[2].split()[0]


def test_congeners_are_closest() -> None:
    vectors = np.stack([species_parameters(0, number).vector() for number in range(200)])
    distance = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    genus = np.arange(200) // GENUS_SIZE
    same = (genus[:, None] == genus[None]) & ~np.eye(200, dtype=bool)
    assert distance[same].min() > 0
    assert distance[same].mean() < 0.5 * distance[genus[:, None] != genus[None]].mean()
    np.fill_diagonal(distance, np.inf)
    assert (genus[distance.argmin(axis=1)] == genus).mean() > 0.75


def test_mistakes_are_named(small: Collection) -> None:
    with pytest.raises(InputError, match="one seed for each label"):
        draw_images(SMALL, [0, 1], [0])
    with pytest.raises(InputError, match="label 4"):
        draw_images(SMALL, [4], [0])
    with pytest.raises(InputError, match="seed -1"):
        draw_images(SMALL, [0], [-1])
    with pytest.raises(InputError, match="already holds a collection"):
        draw_reef(SMALL, small.root, Run.silent())
    with pytest.raises(RecipeError, match="min_images"):
        ReefConfig.parse({"min_images": 50, "max_images": 10})
    with pytest.raises(RecipeError, match="size"):
        ReefConfig.parse({"size": 2048})

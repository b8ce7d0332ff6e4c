from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from syntype.collection import Collection
from syntype.collection.reef import ReefConfig, draw_images, draw_reef, species_names
from syntype.curation.leaks import find_leaks, held_back_apart
from syntype.curation.parts import nearest_animals, nearest_places
from syntype.errors import LeakageError
from syntype.run import Run

REEF = ReefConfig(num_species=3, size=48, max_images=12, min_images=6, tail=1.0, num_val=2, num_test=8)
QUIET = Run.silent()


@pytest.fixture(scope="module")
def reef(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return draw_reef(REEF, tmp_path_factory.mktemp("leaks") / "reef", QUIET).collection


def images_of(folder: Path, pictures: np.ndarray, species: list[str], reef: Collection) -> Collection:
    (folder / "images").mkdir(parents=True)
    names = [f"images/{row}.png" for row in range(len(pictures))]
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(picture).save(folder / name)
    ids = [f"made-{row}" for row in range(len(names))]
    return Collection.create(folder, pd.DataFrame({"image_id": ids, "file_name": names, "species": species}), species=reef.species)


def edited(picture: np.ndarray) -> np.ndarray:
    """Mirrored, cropped and darker."""
    size = len(picture)
    part = Image.fromarray(picture[2:-2, -3:1:-1]).resize((size, size), Image.Resampling.BICUBIC)
    return (np.asarray(part) * 0.8).astype(np.uint8)


def test_new_individuals_are_no_leak(reef: Collection, tmp_path: Path) -> None:
    names = species_names(REEF)
    labels = np.repeat(np.arange(3), 6)
    made = images_of(tmp_path / "made", draw_images(REEF, labels, [5000 + n for n in range(18)]), [names[label] for label in labels], reef)
    kept, found = held_back_apart(reef, [made], size=48, run=QUIET, out=tmp_path / "study")
    assert not found.reasons and len(kept) == len(reef) - len(found.left_out)
    assert not any(one["image"].startswith("made-") for one in found.pairs)
    assert len(found.left_out) <= 1  # two drawn individuals may be alike: few photographs calibrate roughly


def test_edited_test_photographs_are_refused_with_their_pictures(reef: Collection, tmp_path: Path) -> None:
    test = reef.select(split="test")
    made = images_of(tmp_path / "made", np.stack([edited(one) for one in test.pixels(48)]), test.table["species"].tolist(), reef)
    with pytest.raises(LeakageError, match=r"leakage\.html") as caught:
        held_back_apart(reef, [made], size=48, run=QUIET, out=tmp_path / "study")
    assert "made-" in str(caught.value) and "training photographs alone" in str(caught.value)
    saved = json.loads((tmp_path / "study" / "leakage.json").read_text(encoding="utf-8"))
    assert saved["reasons"] and saved["pairs"][0]["pictures"][0].startswith("data:image/png")
    assert "data:image/png" in (tmp_path / "study" / "leakage.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("between", [False, True], ids=["of its species", "between its species and another"])
def test_a_single_repeated_photograph_is_left_out_and_counted(between: bool, reef: Collection, tmp_path: Path) -> None:
    test = reef.select(split="test")
    own_name, other = test.table["species"].iloc[0], test.table["species"].iloc[-1]
    made = images_of(tmp_path / "made", edited(test.pixels(48)[0])[None], [other if between else own_name], reef)
    if between:
        weights = json.dumps({other: 0.75, own_name: 0.25})
        made = Collection(made.root, made.table.assign(label_weights=pd.array([weights], dtype="string")), made.species, made.info)
    kept, found = held_back_apart(reef, [made], size=48, run=QUIET, out=tmp_path / "study")
    own = next(one for one in found.pairs if one["image"] == "made-0")
    assert own["photograph"] == test.table["image_id"][0] and own["found_by"] == "copies" and own["split"] == "test"
    assert own["photograph"] in found.left_out and len(found.left_out) <= 2
    assert len(kept) == len(reef) - len(found.left_out)


def test_training_photographs_that_repeat_test_photographs_are_refused(reef: Collection, tmp_path: Path) -> None:
    table = reef.table.copy()
    test, train = (table.index[table["split"] == split] for split in ("test", "train"))
    for one, other in zip(test, train, strict=False):  # the same picture under other names, as after saving it again
        if table["species"][one] == table["species"][other]:
            table.loc[one, ["file_name", "sha256"]] = [table["file_name"][other], f"{one:064d}"]
    spoiled = replace(reef, table=table)
    assert "training photographs repeat" in " ".join(find_leaks(spoiled, [], size=48, run=QUIET).reasons)


def test_animals_moved_to_another_place_are_traced_to_held_back_photographs() -> None:
    config = ReefConfig(num_species=2, size=48)
    labels, groups = np.repeat([0, 1], 16), np.arange(32)
    bank = draw_images(config, labels, list(range(32)))
    held = np.arange(32) % 2 == 0
    rolled = np.roll(bank, (5, 4), (1, 2))
    guilty, honest = (nearest_animals(rolled[rows], labels[rows], bank, labels, groups, held) for rows in (held, ~held))
    assert guilty.hits >= 14 and guilty.p_value <= 0.001
    assert honest.hits <= 2 and honest.p_value > 0.9


def test_places_are_traced_by_the_rim_alone() -> None:
    rng = np.random.default_rng(0)
    bank = rng.integers(0, 256, (40, 48, 48, 3), dtype=np.uint8)
    held, images = np.arange(40) < 20, bank[:20, :, ::-1].copy()
    images[:, 12:36, 12:36] = 90  # another animal, in the mirror image of the place
    assert nearest_places(images, bank, np.arange(40), held).p_value <= 0.001
    assert nearest_places(bank[20:], bank, np.arange(40), held).p_value > 0.9


def test_a_generator_that_always_draws_one_test_photograph_alike_is_no_proof() -> None:
    bank = np.random.default_rng(0).integers(0, 256, (40, 48, 48, 3), dtype=np.uint8)
    assert nearest_places(np.repeat(bank[:1], 30, 0), bank, np.arange(40), np.arange(40) < 20).p_value > 0.3

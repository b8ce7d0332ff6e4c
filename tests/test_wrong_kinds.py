"""Arguments of the wrong kind get one line that says what to give, never a traceback from inside."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from made import make_collection, train_tiny
from PIL import Image

import syntype
from syntype.collection import Collection
from syntype.errors import CollectionError, RecipeError, UnknownNameError, UserError
from syntype.generators import Generator, load_generator
from syntype.synthesis.provenance import Provenance, write_animation, write_image

WRONG: tuple[Any, ...] = (None, "a text", 3, b"bytes", ["a", "list"], {"a": 1}, np.zeros((2, 2)), pd.DataFrame({"a": [1]}), object())
PROVENANCE = Provenance(generator_id="x", family="fastgan", species="Aus primus", seed=0)
STAGES = [
    name for name in syntype.__all__
    if inspect.isfunction(getattr(syntype, name)) and inspect.signature(getattr(syntype, name)).parameters and name != "draw_images"
]  # fmt: skip


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return make_collection(tmp_path_factory.mktemp("photographs") / "fish", {"Aus primus": 8, "Bus secundus": 8})


@pytest.fixture(scope="module")
def generator(photographs: Collection, tmp_path_factory: pytest.TempPathFactory) -> Generator:
    return load_generator(train_tiny("fastgan", photographs, tmp_path_factory.mktemp("trained") / "generator", steps=1).folder)


def refused(call: Callable[[], Any]) -> str:
    """The message with which a call is refused."""
    with pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value) and 20 < len(str(caught.value)) < 700
    return str(caught.value)


def test_every_stage_is_tried() -> None:
    assert {"collect", "curate", "evaluate", "export", "generate", "predict", "run_study", "train", "train_classifier", "vary"} <= set(STAGES)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_refuses_arguments_of_the_wrong_kind(name: str, tmp_path: Path) -> None:
    """Each parameter in turn is wrong; the others are wrong too, but of kinds that pass."""
    stage = getattr(syntype, name)
    parameters = [one for one in inspect.signature(stage).parameters.values() if one.default is inspect.Parameter.empty]
    for wrong in WRONG:
        told = refused(lambda wrong=wrong: stage(*[wrong] * len(parameters)))
        assert not isinstance(wrong, str) or "a text" in told
    assert list(tmp_path.iterdir()) == []


def test_settings_that_are_none_or_of_another_stage_are_refused(photographs: Collection, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for config in (None, {"size": 32}, syntype.ExportConfig()):
        assert "Give syntype.TrainConfig()" in refused(lambda config=config: syntype.train(photographs, config, out))
        assert "Give syntype.EvaluateConfig()" in refused(lambda config=config: syntype.evaluate(photographs, photographs, config))
    assert "synthetic is None" in refused(lambda: syntype.curate(None, photographs, syntype.CurateConfig(), out))
    assert "Collection.open" in refused(lambda: syntype.evaluate(photographs.root, photographs, syntype.EvaluateConfig()))
    assert "out is 3" in refused(lambda: syntype.export(photographs, syntype.ExportConfig(), 3))
    assert "run is 'quiet'" in refused(lambda: syntype.export(photographs, syntype.ExportConfig(), out, "quiet"))
    assert not out.exists()


@pytest.mark.parametrize("name", [name for name in syntype.__all__ if name.endswith("Config")])
def test_settings_of_the_wrong_kind_are_recipe_errors(name: str) -> None:
    kind = getattr(syntype, name)
    for values in ({"nonsense": 1}, {"seed": "many"}, {next(iter(kind.model_fields)): object()}):
        with pytest.raises(RecipeError):
            kind(**values)


def test_a_collection_needs_a_folder_and_a_table(tmp_path: Path) -> None:
    table = pd.DataFrame({"file_name": ["a.png"], "species": ["Aus"]})
    for wrong in (None, "table.csv", [1], {"file_name": ["a.png"]}, table["species"], np.zeros((1, 2))):
        assert "pandas.DataFrame" in refused(lambda wrong=wrong: Collection.create(tmp_path / "new", wrong))
        assert "pandas.DataFrame" in refused(lambda wrong=wrong: Collection(tmp_path / "new", wrong, ("Aus",)))
    for wrong in (None, 3, table):
        refused(lambda wrong=wrong: Collection.create(wrong, table))
        refused(lambda wrong=wrong: Collection.open(wrong))
    for species in ("Aus", 3, [3], [None], ["Aus", "Aus"], {}):
        refused(lambda species=species: Collection.create(tmp_path / "new", table, species=species))
    assert not (tmp_path / "new").exists()


def test_selections_of_the_wrong_kind(photographs: Collection) -> None:
    for wrong in (3, 0.5, object()):
        refused(lambda wrong=wrong: photographs.select(split=wrong))
        refused(lambda wrong=wrong: photographs.select(species=wrong))
    for wrong in ([3], [None], [["train"]], ("train", 5), np.array([1])):
        with pytest.raises(UnknownNameError):
            photographs.select(split=wrong)
    for wrong in (None, True, [True], np.ones(15), np.arange(16), np.ones((16, 1)), ["yes"] * 16, pd.Series([1.5] * 16), photographs.table):
        refused(lambda wrong=wrong: photographs.where(wrong))
    assert len(photographs.where([True, False] * 8)) == len(photographs.where(pd.Series([True, None] * 8, dtype="boolean"))) == 8
    for wrong in (16, -17, "0", 1.0, None, True):
        refused(lambda wrong=wrong: photographs.path(wrong))


def test_sizes_of_the_wrong_kind(photographs: Collection) -> None:
    for wrong in (0, -1, "32", 32.0, None, True, (32,), (32, 32, 3), (32, 0), ("a", "b"), 10**9, [32, -1]):
        assert "size" in refused(lambda wrong=wrong: photographs.pixels(wrong))
        refused(lambda wrong=wrong: next(photographs.iterate_pixels(wrong)))
    assert photographs.pixels(np.int64(16)).shape == photographs.pixels((16, 16)).shape == (16, 16, 16, 3)


def test_species_and_seeds_of_the_wrong_kind(generator: Generator) -> None:
    one, images = "Aus primus", torch.zeros(1, 3, 32, 32)
    for species, seeds in (
        (one, [0]), ([one], 0), ([one], [0, 1]), ([one, one], [0]), ([one], ["0"]), ([one], [0.5]), ([one], [-1]), ([one], [None]), ([one], "0"),
        (None, [0]), ([None], [0]), ([3], [0]), ([[one]], [0]), ([one], [True]), ({one}, [0]),
    ):  # fmt: skip
        refused(lambda species=species, seeds=seeds: generator.sample(species, seeds))
        refused(lambda species=species, seeds=seeds: generator.vary(images, species, seeds, 0.5))
        refused(lambda species=species, seeds=seeds: generator.blend(species, seeds, [0.5]))
    refused(lambda: generator.sample([one], [0], nonsense=1))
    refused(lambda: generator.blend([(one, one)], [(0, 1)], [0.5, 0.5]))
    refused(lambda: generator.blend([(one, one)], [(0, 1)], ["half"]))
    for wrong in (None, np.zeros((1, 3, 32, 32)), images[0], torch.zeros(2, 3, 32, 32), torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 32, 32)):
        refused(lambda wrong=wrong: generator.vary(wrong, [one], [0], 0.5))
        refused(lambda wrong=wrong: generator.inpaint(wrong, torch.zeros(1, 1, 32, 32, dtype=torch.bool), [one], [0]))
    for wrong in (None, images, torch.zeros(1, 32, 32)):
        refused(lambda wrong=wrong: generator.inpaint(images, wrong, [one], [0]))
    for wrong in ("half", None, 2, [0.5]):
        refused(lambda wrong=wrong: generator.vary(images, [one], [0], wrong))
    assert generator.sample([one, one], np.array([0, 1])).shape == (2, 3, 32, 32)


def test_images_of_the_wrong_kind_are_not_written(tmp_path: Path) -> None:
    sound = np.zeros((8, 8, 3), np.uint8)
    for wrong in (
        sound.astype(np.float32),
        sound[..., 0],
        sound[:, :0],
        np.zeros((8, 8, 4), np.uint8),
        None,
        sound.tolist(),
        Image.new("RGB", (8, 8)),
    ):
        assert "uint8" in refused(lambda wrong=wrong: write_image(wrong, tmp_path / "a.png", PROVENANCE))
        refused(lambda wrong=wrong: write_animation([wrong], tmp_path / "a.webp", PROVENANCE, milliseconds=50))
    assert list(tmp_path.iterdir()) == []


def test_evaluation_of_a_handful_says_that_its_figures_mean_nothing(photographs: Collection, capsys: pytest.CaptureFixture[str]) -> None:
    synthetic = make_collection(photographs.root.parent / "synthetic", {"Aus primus": 6, "Bus secundus": 6}, seed=7)
    synthetic = Collection.create(synthetic.root, synthetic.table.assign(origin="synthetic", split=None), species=synthetic.species)
    result = syntype.evaluate(synthetic, photographs, syntype.EvaluateConfig(size=32))
    assert result.note is not None and f"Only {result.num_real} images" in result.note and "mean nothing" in result.note
    assert json.loads(json.dumps(result.summary()))["note"] == result.note
    assert "mean nothing" in capsys.readouterr().err


def test_a_classifier_of_one_species_is_refused(tmp_path: Path) -> None:
    alone = make_collection(tmp_path / "alone", {"Aus primus": 12})
    with pytest.raises(CollectionError, match="only Aus primus has training photographs") as caught:
        syntype.train_classifier(alone, syntype.ClassifierConfig(size=32, steps=2, views=1), tmp_path / "classifier")
    assert len(str(caught.value).splitlines()) == 1


def test_drawings_of_the_wrong_kind() -> None:
    config = syntype.ReefConfig(num_species=2, size=16, max_images=6, min_images=4)
    for labels, seeds, size in (
        ("a", [0], None), ([0], "a", None), ([0, 1], [0], None), (None, [0], None), ([0.5], [0], None), ([9], [0], None), ([0], [-1], None),
        ([0], [0], 0), ([0], [0], "x"), ([0], [0], 16.0), ([[0]], [[0]], None), (0, 0, None), ([None], [0], None), ([True], [0], None),
    ):  # fmt: skip
        refused(lambda labels=labels, seeds=seeds, size=size: syntype.draw_images(config, labels, seeds, size))
    assert syntype.draw_images(config, np.array([0, 1]), [3, 4], 16).shape == (2, 16, 16, 3)

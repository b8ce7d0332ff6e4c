"""The recipes that come with Syntype: each is valid, says what it would do, and what it trains can be built and steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from syntype.adaptation import METHODS, AdaptConfig
from syntype.apps.cli import main
from syntype.collection import Collection
from syntype.generators import TrainConfig, family
from syntype.generators.contract import Batch, TrainingData, to_tensor
from syntype.generators.runtime import Runtime
from syntype.recipe import find_recipe, list_recipes

TRAINING = [name for name in list_recipes() if "family" in find_recipe(name)]
ADAPTATION = [name for name in list_recipes() if name not in TRAINING]


@pytest.mark.parametrize("name", TRAINING)
def test_every_training_recipe_is_valid(name: str) -> None:
    config = TrainConfig.parse(find_recipe(name), name)
    family(config.family).Config.parse({**config.model, "size": config.size}, name)


@pytest.mark.parametrize("name", ADAPTATION)
def test_every_adaptation_recipe_is_valid(name: str) -> None:
    assert AdaptConfig.parse({"species": "Aus primus", **find_recipe(name)}, name).method in METHODS


@pytest.mark.parametrize("name", TRAINING)
def test_every_training_recipe_can_be_planned(name: str, small_collection: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, out = find_recipe(name), tmp_path / "g"
    arguments = ["train", recipe["family"], str(small_collection.root), "--recipe", name, "--out", str(out), "--dry-run", "--json"]
    assert main(arguments) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["steps"] == recipe.get("steps") and planned["images"] == len(small_collection.training()) and not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINING)
def test_what_a_training_recipe_asks_for_is_built_steps_and_draws(name: str) -> None:
    config = TrainConfig.parse(find_recipe(name), name)
    kind, species = family(config.family), ("Aus primus", "Aus secundus")
    settings = kind.Config.parse({**config.model, "size": config.size}, name)
    model = kind(settings, species)
    images = np.random.default_rng(0).integers(0, 256, (4, *settings.shape, 3), dtype=np.uint8)
    labels = np.array([0, 0, 1, 1])
    model.prepare(TrainingData(images, labels, np.arange(4), species), Runtime("cpu", "fp32"))
    torch.manual_seed(0)
    figures = model.training_step(Batch(to_tensor(images), torch.from_numpy(labels), torch.arange(len(labels)), 0))
    assert all(np.isfinite(float(value)) for value in figures.values()) and not figures["skipped"]
    assert model.sample(species, [0, 1]).shape == (2, 3, *settings.shape)


def test_the_few_shot_fish_recipes_keep_the_settings_of_the_original() -> None:
    recipe = find_recipe("s1-fastgan-128")
    assert (recipe["size"], recipe["batch_size"], recipe["steps"]) == (128, 64, 35_000)
    assert recipe["model"] | {"latent_dim": 256, "learning_rate": 0.0002, "augmentation": 0.3} == recipe["model"]
    adaptation = find_recipe("s1-adapt-ewc")
    assert (adaptation["method"], adaptation["batch_size"], adaptation["steps"]) == ("ewc", 4, 2000)
    assert adaptation["rate"] * recipe["model"]["learning_rate"] == 1e-4

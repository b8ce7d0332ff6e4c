"""The recipes that come with Syntype: each is valid, and says what it would do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syntype.apps.cli import main
from syntype.collection import Collection
from syntype.generators import TrainConfig, family
from syntype.recipe import find_recipe, list_recipes


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_is_valid(name: str) -> None:
    config = TrainConfig.parse(find_recipe(name), name)
    family(config.family).Config.parse({**config.model, "size": config.size}, name)


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_can_be_planned(name: str, small_collection: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, out = find_recipe(name), tmp_path / "g"
    arguments = ["train", recipe["family"], str(small_collection.root), "--recipe", name, "--out", str(out), "--dry-run", "--json"]
    assert main(arguments) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["steps"] == recipe.get("steps") and planned["images"] == len(small_collection.training()) and not out.exists()


def test_the_few_shot_fish_recipe_keeps_the_settings_of_the_original() -> None:
    recipe = find_recipe("s1-fastgan-128")
    assert (recipe["size"], recipe["batch_size"], recipe["steps"]) == (128, 64, 35_000)
    assert recipe["model"] | {"latent_dim": 256, "learning_rate": 0.0002, "augmentation": 0.3} == recipe["model"]

"""The recipes that come with Syntype: each is valid, says what it would do, and what it trains can be built and steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from syntype.adaptation import METHODS, AdaptConfig
from syntype.apps.cli import main
from syntype.collection import Collection
from syntype.compute.runtime import Runtime
from syntype.compute.tensors import to_tensor
from syntype.errors import RecipeError
from syntype.generators import TrainConfig, family
from syntype.generators.contract import Batch, TrainingData
from syntype.identification import ClassifierConfig
from syntype.recipe import RENAMED, apply_overrides, find_recipe, list_recipes

TRAINING = [name for name in list_recipes() if "family" in find_recipe(name)]
CLASSIFIERS = [name for name in list_recipes() if "backbone" in find_recipe(name)]
ADAPTATION = [name for name in list_recipes() if name not in TRAINING + CLASSIFIERS]


@pytest.mark.parametrize("name", TRAINING)
def test_every_training_recipe_is_valid(name: str) -> None:
    config = TrainConfig.parse(find_recipe(name), name)
    family(config.family).Config.parse({**config.model, "size": config.size}, name)


@pytest.mark.parametrize("name", ADAPTATION)
def test_every_adaptation_recipe_is_valid(name: str) -> None:
    assert AdaptConfig.parse({"species": "Aus primus", **find_recipe(name)}, name).method in METHODS


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_recipe_is_valid_and_can_be_planned(
    name: str, small_collection: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ClassifierConfig.parse(find_recipe(name), name)
    assert timm.is_model(config.backbone.split(":")[1].partition(".")[0]) and config.size <= config.encoder_size
    arguments = ["classify", "train", str(small_collection.root), "--recipe", name, "--out", str(tmp_path / "c"), "--dry-run", "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == find_recipe(name)["steps"]


@pytest.mark.parametrize("name", TRAINING)
def test_every_training_recipe_can_be_planned(name: str, small_collection: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, out, images = find_recipe(name), tmp_path / "g", small_collection.training()
    arguments = ["train", recipe["family"], str(small_collection.root), "--recipe", name, "--out", str(out), "--dry-run", "--json"]
    if "only" in recipe:  # its species are of another collection
        arguments, images = [*arguments, "--only", "Aus primus"], images.select(species="Aus primus")
    assert main(arguments) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["steps"] == recipe.get("steps") and planned["images"] == len(images) and not out.exists()


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


def test_former_names_of_recipes_still_work() -> None:
    assert set(RENAMED.values()) <= list_recipes().keys() and not RENAMED.keys() & list_recipes().keys()
    assert all(find_recipe(old) == find_recipe(new) for old, new in RENAMED.items())


def test_the_few_shot_fish_recipes_keep_the_settings_of_the_original() -> None:
    recipe = find_recipe("fewshot-fish-fastgan-128")
    assert (recipe["size"], recipe["batch_size"], recipe["steps"]) == (128, 64, 35_000)
    assert recipe["model"] | {"latent_dim": 256, "learning_rate": 0.0002, "augmentation": 0.3} == recipe["model"]
    adaptation = find_recipe("fewshot-fish-ewc")
    assert (adaptation["method"], adaptation["batch_size"], adaptation["steps"]) == ("ewc", 4, 2000)
    assert adaptation["learning_rate_factor"] * recipe["model"]["learning_rate"] == 1e-4


def test_the_recipes_of_the_other_adversarial_systems_keep_what_their_sources_report() -> None:
    shark, guided = find_recipe("great-white-shark-wgan-gp-128"), find_recipe("birds-butterflies-guided-cgan")
    assert shark["only"] == ["Carcharodon carcharias"] and shark["size"] == find_recipe("fewshot-fish-dcgan-128")["size"] == 128
    assert (guided["size"], guided["model"]["latent_dim"]) == (128, 128) and guided["steps"] * guided["batch_size"] // 13_000 == 30
    for name in ("animal-faces-dcgan", "animal-faces-cgan", "animal-faces-wgan-gp", "animal-faces-cwgan-gp"):
        recipe = find_recipe(name)
        assert recipe["steps"] * recipe["batch_size"] == 200 * 2000
        assert 9 < recipe["preview_every"] * recipe["batch_size"] / 2000 <= 10
        if "wgan" in name:
            assert (recipe["model"]["critic_steps"], recipe["model"]["gradient_penalty_weight"]) == (5, 10.0)


def test_the_recipes_of_pixel_diffusion_keep_what_their_sources_report() -> None:
    fishes, seascapes = find_recipe("fewshot-fish-ddpm-128"), find_recipe("jellyfish-ddpm-64")
    assert (fishes["size"], fishes["model"]["conditional"]) == (128, True)
    assert (seascapes["size"], seascapes["model"]["conditional"]) == (64, False)
    for recipe in (fishes, seascapes):  # Ho et al. 2020
        assert (recipe["family"], recipe["model"]["prediction"], recipe["model"]["min_snr"]) == ("ddpm", "eps", None)
    assert seascapes["steps"] * seascapes["batch_size"] // 667 >= 9_900


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfes\x00", "UTF-8"),
        ("size: 32\n".encode("utf-16"), "UTF-8"),
        (b"- size\n- 32\n", "mapping"),
        (b"", "mapping"),
        (b"size: 32\nsteps: 5\nsize: 64\n", "'size' stands twice"),
        (b"model:\n  width: 3\n  width: 4\n", "'width' stands twice"),
        (b"size: 32\nmodel:\n\twidth: 3\n", "Indent with spaces"),
        (b"size: [32\n", "not a valid recipe"),
        (b"size: 32\0\n", "not a valid recipe"),
        (b"size: !!python/object/apply:os.system ['true']\n", "not a valid recipe"),
        (b"? [1, 2]\n: 3\n", "mapping"),
        (b"1: 2\n", "mapping"),
        (b"[" * 5000, "not a valid recipe"),
    ],
)
def test_a_damaged_recipe_is_told_in_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_bytes(content)
    with pytest.raises(RecipeError, match=said) as caught:
        find_recipe(str(tmp_path / "recipe.yaml"))
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("override", ["size=[1", "size=!!python/object:x {}", "a={b: 1, b: 2}", "size=\t- @"])
def test_a_setting_that_is_no_yaml_is_told_in_one_line(override: str) -> None:
    with pytest.raises(RecipeError, match="is not a value in YAML") as caught:
        apply_overrides({}, [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [None, 3, [], "size", {3: 4}])
def test_settings_that_are_no_mapping_are_told_in_one_line(values: object) -> None:
    with pytest.raises(RecipeError) as caught:
        TrainConfig.parse(values)
    assert "\n" not in str(caught.value)

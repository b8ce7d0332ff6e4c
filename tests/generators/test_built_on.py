"""A family built on a pre-trained model: its plan is shown before training, and the model's name and licence go along with all that is made of it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from syntype.apps.cli import main
from syntype.collection import Collection
from syntype.collection.exports import ExportConfig, export
from syntype.errors import RecipeError, UnknownNameError
from syntype.generators import TrainConfig, load_generator, train
from syntype.generators import registry as registry_module
from syntype.recipe import read_yaml
from syntype.run import Run
from syntype.study.gallery import collect_gallery
from syntype.synthesis import GenerateConfig, generate

FAMILY = '''"""Copies that claim to be drawn by a pre-trained model."""

from syntype.generators.families.copies import Copies


class ClaimsConfig(Copies.Config):
    size: int = 32


class Claims(Copies):
    Config = ClaimsConfig

    def __init__(self, config, species):
        super().__init__(config, species)
        self.built_on = {
            "name": "someone/model", "revision": "abc", "licence": "Model licence", "licence_url": "https://example.org/licence",
            "fingerprint": "f" * 64,
        }
        self.licences = ("Model licence (weights of someone/model)",)

    @classmethod
    def plan(cls, config, batch_size):
        return {"base": "someone/model", "licence_of_base": "Model licence", "pixels": config.size * batch_size}
'''
SOURCE = "pre-trained model someone/model, version abc, licence of its weights: Model licence (https://example.org/licence)"


@pytest.fixture(autouse=True)
def families(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("families")
    (folder / "claims.py").write_text(FAMILY)
    monkeypatch.setattr(registry_module, "family_folders", [*registry_module.family_folders, folder])


def test_a_dry_run_shows_the_plan_of_the_family(small_collection: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--size", "32", "--steps", "5", "--out", str(tmp_path / "out"), "--dry-run"]
    assert main(["train", "claims", str(small_collection.root), *options, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["base"] == "someone/model" and told["licence_of_base"] == "Model licence" and told["pixels"] == 32 * 16
    assert told["estimated_minutes"] is None and told["steps"] == 5 and not (tmp_path / "out").exists()
    assert main(["train", "copies", str(small_collection.root), *options, "--json"]) == 0
    assert "base" not in json.loads(capsys.readouterr().out)


def test_the_size_of_images_is_that_of_the_family_unless_another_is_given(
    small_collection: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert TrainConfig(family="copies").size == 64 and TrainConfig(family="lora").size == 512 and TrainConfig(family="lora", size=48).size == 48
    assert TrainConfig.parse({"family": "claims", "size": None}).size == 32
    assert main(["train", "claims", str(small_collection.root), "--steps=5", f"--out={tmp_path / 'out'}", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pixels"] == 32 * 16
    train(small_collection, TrainConfig(family="claims"), tmp_path / "out")
    assert TrainConfig.parse(read_yaml(tmp_path / "out" / "recipe.yaml")).size == load_generator(tmp_path / "out").size == 32
    assert read_yaml(tmp_path / "out" / "recipe.yaml")["size"] == 32
    for wrong, message in [({"size": 8}, "size"), ({"model": {"size": 128}}, "not as 'model.size'")]:
        with pytest.raises(RecipeError, match=message):
            TrainConfig.parse({"family": "claims", **wrong})
    with pytest.raises(UnknownNameError, match="claims"):
        train(small_collection, TrainConfig.parse({"family": "claimz"}), tmp_path / "wrong")


def test_the_licence_of_the_pre_trained_model_goes_along(small_collection: Collection, tmp_path: Path) -> None:
    table = small_collection.table.assign(licence="CC-BY-4.0")
    photographs = Collection.create(small_collection.root, table, species=small_collection.species)
    train(photographs, TrainConfig(family="claims", size=32), tmp_path / "generator", Run.silent())
    generator = load_generator(tmp_path / "generator")
    notice = "Model licence (weights of someone/model)"
    assert generator.info["built_on"]["fingerprint"] == "f" * 64 and generator.licences == ["CC-BY-4.0", notice]

    made = generate(generator, GenerateConfig(species=("Aus primus",), num=2), tmp_path / "synthetic", Run.silent()).collection
    assert set(made.table["licence"]) == {f"CC-BY-4.0; {notice}"}
    assert made.info["sources"] == [f"generator {generator.generator_id}", SOURCE]

    file = export(made, ExportConfig(layout="hugging-face"), tmp_path / "export", Run.silent()).file
    with zipfile.ZipFile(file) as packed:
        card = packed.read("README.md").decode()
    assert SOURCE in card and notice in card and "license: other" in card
    assert SOURCE in collect_gallery(photographs, made, ["Aus primus"], 16).sources

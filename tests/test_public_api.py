"""The flat public API: every name is there, is light until used, and no submodule hides one; stages that are called without a run."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import syntype
from syntype.errors import InputError


def test_every_public_name_can_be_had_and_is_listed() -> None:
    assert set(syntype.__all__) <= set(dir(syntype))
    for name in syntype.__all__:
        assert not isinstance(getattr(syntype, name), ModuleType), name
    with pytest.raises(AttributeError, match="no attribute 'colect'"):
        syntype.colect  # noqa: B018


def test_no_submodule_takes_the_place_of_a_public_name() -> None:
    """Importing `syntype.X` binds X in the package, whatever `__getattr__` would say."""
    submodules = {path.stem for path in Path(syntype.__file__).parent.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert submodules & set(syntype.__all__) == set()


def test_type_checkers_see_what_is_imported_lazily() -> None:
    tree = ast.parse(Path(syntype.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {alias.asname or alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported == set(syntype.__all__) - {"__version__"}


def test_the_reference_has_every_public_name() -> None:
    page = (Path(__file__).parents[1] / "docs/reference/python.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\.\. auto(?:function|class):: syntype\.(\w+)$", page, re.MULTILINE))
    assert listed == set(syntype.__all__) - {"__version__", "SyntypeError"}  # errors are listed as a module


def test_a_name_loads_no_more_than_it_needs() -> None:
    code = "import sys, syntype; syntype.list_families(); syntype.Run; print({'torch', 'pandas', 'matplotlib'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_a_stage_without_a_run_keeps_one_in_its_folder(tmp_path: Path) -> None:
    config = syntype.ReefConfig(num_species=2, size=16, max_images=6, min_images=4, num_val=1, num_test=1)
    reef = syntype.draw_reef(config, tmp_path / "reef").collection
    manifest = json.loads((tmp_path / "reef/run.json").read_text())
    assert (manifest["stage"], manifest["status"], manifest["result"]["num_images"]) == ("reef", "finished", len(reef))
    assert (tmp_path / "reef/recipe.yaml").is_file()
    with pytest.raises(InputError, match="already holds files"):
        syntype.draw_reef(config, tmp_path / "reef")

    for steps in (1, 2):  # a stage that can be resumed goes on in its own folder
        settings = syntype.TrainConfig(family="dcgan", size=32, steps=steps, batch_size=2, device="cpu", model={"width": 4, "latent_dim": 4})
        assert syntype.train(reef, settings, str(tmp_path / "generator")).steps == steps
    manifest = json.loads((tmp_path / "generator/run.json").read_text())
    assert len(manifest["sessions"]) == 2 and manifest["inputs"] == {"collection": {"path": str(reef.root), "fingerprint": reef.fingerprint}}
    with pytest.raises(InputError, match="made by the stage 'reef', not by 'train'"):  # but in no other folder
        syntype.train(reef, settings, tmp_path / "reef")


def test_a_stage_without_a_folder_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = syntype.ReefConfig(num_species=2, size=16, max_images=4, min_images=4, num_val=1, num_test=1)
    reef = syntype.draw_reef(config, tmp_path / "reef", syntype.Run.silent()).collection
    assert not (tmp_path / "reef/run.json").exists()
    monkeypatch.chdir(tmp_path)
    assert syntype.inspect(reef).counts["num_species"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["reef"]

"""Generators whose files are damaged, newer or foreign: each is told in one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from damaging import damage_all, with_value
from safetensors.torch import load_file, save_file

from syntype.adaptation import AdaptConfig, adapt
from syntype.collection import Collection
from syntype.errors import CollectionError, InputError, UserError
from syntype.generators import Generator, load_generator
from syntype.generators.engine.checkpoint import read_state
from syntype.run import Run

NAMES = ("generator.json", "weights.safetensors", "training_images.txt")


@pytest.fixture(scope="module")
def trained(trained_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a small generator that are read."""
    folder = tmp_path_factory.mktemp("sound") / "generator"
    folder.mkdir()
    for name in NAMES:
        shutil.copyfile(trained_folder("fastgan") / name, folder / name)
    return folder


def use(folder: Path) -> None:
    generator = load_generator(folder)
    assert isinstance(generator.generator_id + generator.family + "".join(generator.licences), str)


def must_be_refused(name: str, how: str) -> bool:
    """Whether a reader must notice. A list of training images that was cut between two lines cannot be told from a whole one."""
    return how in ("missing", "empty", "random bytes", "zeros", "a page of a website", "newer") or (how == "half" and name != "training_images.txt")


def test_each_file_of_a_generator(trained: Path, tmp_path: Path) -> None:
    assert damage_all(trained, tmp_path, use, refused=must_be_refused) > 60


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("family", "unheard_of"), ("species", ["Aus primus", 3]), ("species", []), ("species", ["Aus primus"]), ("config", {"size": "large"}),
        ("config", {"size": 32, "wings": 2}), ("config", {"size": 64}), ("licences", [3]),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(trained: Path, tmp_path: Path, key: str, value: object) -> None:
    folder = with_value(trained, tmp_path, "generator.json", key, value)
    with pytest.raises(UserError) as caught:
        generator = load_generator(folder)
        generator.sample([], [])
    assert "\n" not in str(caught.value)


def test_weights_of_another_shape(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "generator"
    shutil.copytree(trained, folder)
    weights = load_file(folder / "weights.safetensors")
    name = max(weights, key=lambda name: weights[name].numel())
    for changed in (
        {**weights, name: weights[name][..., :-1].contiguous()},
        {**weights, "more": weights[name].clone()},
        {key: tensor for key, tensor in weights.items() if key != name},
    ):
        save_file(changed, folder / "weights.safetensors")
        info = json.loads((trained / "generator.json").read_text())
        (folder / "generator.json").write_text(json.dumps({**info, "weights_sha256": _sha256(folder / "weights.safetensors")}))
        with pytest.raises(CollectionError, match=r"weights.safetensors: does not fit"):
            load_generator(folder)


def test_a_list_of_training_images_that_is_not_whole(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "generator"
    shutil.copytree(trained, folder)
    whole = (folder / "training_images.txt").read_text()
    for part in ("", "\n", whole[:70], whole.replace(whole[:4], "test", 1)):
        (folder / "training_images.txt").write_text(part)
        with pytest.raises(InputError, match="nobody can tell what the generator was trained on"):
            load_generator(folder)


@pytest.fixture(scope="module")
def adapted(trained_folder: Callable[[str], Path], photographs: Collection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator and, in the same folder, one that was adapted from it."""
    folder = tmp_path_factory.mktemp("sound") / "both"
    shutil.copytree(trained_folder("fastgan"), folder / "base", ignore=lambda _, names: [name for name in names if name not in NAMES])
    photographs = Collection.create(photographs.root, photographs.table.replace({"species": {"Bus tertius": "Cus novus"}}), name="adapted")
    config = AdaptConfig(species="Cus novus", steps=1, batch_size=2, device="cpu", precision="fp32")
    adapt(load_generator(folder / "base"), photographs, config, folder / "adapted", Run.silent())
    shutil.rmtree(folder / "adapted" / "training", ignore_errors=True)
    shutil.rmtree(folder / "adapted" / "previews", ignore_errors=True)
    for path in (folder / "adapted").iterdir():
        if path.is_file() and path.name not in NAMES:
            path.unlink()
    return folder


def draw(folder: Path) -> None:
    generator: Generator = load_generator(folder / "adapted")
    assert generator.sample(["Cus novus"], [1]).shape[0] == 1


def test_each_file_of_an_adapted_generator(adapted: Path, tmp_path: Path) -> None:
    only = tmp_path / "only"
    shutil.copytree(adapted / "adapted", only / "adapted")

    def read(folder: Path) -> None:
        if not (folder / "base").exists():
            (folder / "base").symlink_to(adapted / "base")
        draw(folder)

    assert damage_all(only, tmp_path, read) > 60


def test_an_adapter_that_does_not_fit(adapted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    shutil.copytree(adapted, folder)
    file = next((folder / "adapted" / "adapters").iterdir())
    changed = load_file(file)
    name = max((name for name in changed), key=lambda name: changed[name].numel())
    for wrong in ({"unheard.of": torch.zeros(3)}, {**changed, name: changed[name][..., :-1].contiguous()}, {"new_row.unheard.of": torch.zeros(3)}):
        save_file(wrong, file)
        info = json.loads((adapted / "adapted" / "generator.json").read_text())
        info["adapters"][0]["sha256"] = _sha256(file)
        (folder / "adapted" / "generator.json").write_text(json.dumps(info))
        with pytest.raises(CollectionError, match=rf"{file.name}: does not fit"):
            draw(folder)


def test_a_generator_that_is_its_own_base(adapted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    shutil.copytree(adapted, folder)
    info = json.loads((folder / "adapted" / "generator.json").read_text())
    (folder / "adapted" / "generator.json").write_text(json.dumps({**info, "base": {**info["base"], "relative": "."}}))
    with pytest.raises(InputError, match="its base is an adapted generator itself"):
        load_generator(folder / "adapted")


def test_each_kind_of_damage_to_the_training_state(tmp_path: Path) -> None:
    (tmp_path / "sound" / "training").mkdir(parents=True)
    torch.save({"step": 3, "weights": torch.zeros(8)}, tmp_path / "sound" / "training" / "state.pt")
    damage_all(tmp_path / "sound", tmp_path, read_state, refused=lambda _, how: how in ("empty", "half", "random bytes", "zeros"))
    torch.save([1, 2], tmp_path / "sound" / "training" / "state.pt")
    with pytest.raises(CollectionError, match="not a training state"):
        read_state(tmp_path / "sound")


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()

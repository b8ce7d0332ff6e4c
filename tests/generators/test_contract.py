"""What every family must keep. The families are enumerated: a new file is tested the moment it exists."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from made import tiny_config, train_tiny
from torch.testing import assert_close

from syntype.collection import Collection
from syntype.compute import runtime as runtime_module
from syntype.errors import CollectionError, InputError, TrainingError, UnknownNameError, UserError
from syntype.files import read_json_object
from syntype.generators import family, list_families, load_generator
from syntype.generators import registry as registry_module
from syntype.generators.contract import ABILITIES
from syntype.generators.engine.batches import BatchSampler, training_data
from syntype.generators.engine.checkpoint import read_state
from syntype.recipe import apply_overrides
from syntype.run import read_events

pytestmark = pytest.mark.usefixtures("bases_in_the_cache")
FAMILIES = sorted(list_families())
LEARNING = [name for name in FAMILIES if family(name).learns]


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_have_the_promised_shape_and_range(name: str, photographs: Collection, trained_folder: Callable[[str], Path]) -> None:
    folder = trained_folder(name)
    assert read_json_object(folder / "run.json")["result"]["num_images"] == len(photographs.training())
    generator = load_generator(folder)
    assert generator.species == (photographs.species if generator.model.is_conditional else ())
    assert generator.info["abilities"] == [ability for ability, kind in ABILITIES.items() if isinstance(generator.model, kind)]
    assert generator.trained_on == set(photographs.training().table["sha256"])
    images = generator.sample(["Aus primus", "Bus tertius", "Aus primus"], [1, 1, 2])
    assert images.shape == (3, 3, 32, 32) and images.dtype == torch.float32
    assert images.min() >= -1 and images.max() <= 1 and torch.isfinite(images).all()
    assert not torch.equal(images[0], images[2]), "two seeds must give two images"
    with pytest.raises(UnknownNameError, match="Aus primus"):
        generator.sample(["Aus primvs"], [0])


class _Pickled:
    """What leaves a file behind if it is ever unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_what_is_loaded_runs_nothing(small_collection: Collection, tmp_path: Path) -> None:
    train_tiny("dcgan", small_collection, tmp_path / "g")
    for damage in (pickle.dumps(_Pickled(tmp_path / "ran"), 2), b"", b"\xff" * 100, (tmp_path / "g" / "weights.safetensors").read_bytes()[:-1]):
        (tmp_path / "g" / "weights.safetensors").write_bytes(damage)
        with pytest.raises(CollectionError, match=r"has changed since it was written"):
            load_generator(tmp_path / "g")
        (tmp_path / "g" / "training").mkdir(exist_ok=True)
        (tmp_path / "g" / "training" / "state.pt").write_bytes(damage)
        with pytest.raises(CollectionError, match="not a training state"):
            read_state(tmp_path / "g")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.usefixtures("small_batches")
def test_one_seed_is_one_image_whatever_the_batch(name: str, trained_folder: Callable[[str], Path]) -> None:
    generator = load_generator(trained_folder(name))
    species = ["Aus primus", "Aus secundus", "Bus tertius"] * 4  # more than a batch
    seeds = list(range(12))
    together = generator.sample(species, seeds)
    assert torch.equal(together[5:6], generator.sample(species[5:6], seeds[5:6]))
    assert torch.equal(together.flip(0), generator.sample(species[::-1], seeds[::-1]))


@pytest.mark.parametrize("name", LEARNING)
def test_a_resumed_run_equals_an_uninterrupted_one(name: str, photographs: Collection, trained_folder: Callable[[str], Path], tmp_path: Path) -> None:
    whole = trained_folder(name)
    train_tiny(name, photographs, tmp_path / "parts", steps=2)
    train_tiny(name, photographs, tmp_path / "parts", steps=read_json_object(whole / "run.json")["result"]["steps"])
    assert (whole / "weights.safetensors").read_bytes() == (tmp_path / "parts/weights.safetensors").read_bytes()
    assert [e["step"] for e in read_events(tmp_path / "parts") if e["event"] == "step"] == sorted(
        {e["step"] for e in read_events(tmp_path / "parts") if e["event"] == "step"}
    )


@pytest.mark.parametrize("name", LEARNING)
def test_training_changes_the_weights_and_logs_finite_losses(name: str, photographs: Collection, trained_folder: Callable[[str], Path]) -> None:
    config = tiny_config(name)
    torch.manual_seed(config.seed)
    kind = family(name)
    before = kind(kind.Config.parse({**config.model, "size": 32}), photographs.species).generator.state_dict()
    folder = trained_folder(name)
    after = load_generator(folder).model.generator.state_dict()
    assert any(not torch.equal(before[key], after[key]) for key in before)
    steps = [event for event in read_events(folder) if event["event"] == "step"]
    assert steps and all(np.isfinite(value) for event in steps for value in event.values() if isinstance(value, float))
    assert list((folder / "previews").glob("*.png")) and list((folder / "tensorboard").iterdir())


@pytest.mark.parametrize("name", LEARNING)
def test_a_gradient_that_is_not_finite_stops_training_with_advice(
    name: str, small_collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import syntype.generators.engine.training as training

    monkeypatch.setattr(training, "MAX_SKIPPED_STEPS", 2)
    monkeypatch.setattr(training, "to_tensor", lambda images, device: torch.full((len(images), 3, 32, 32), float("nan")))
    with pytest.raises(TrainingError, match="diverged"):
        train_tiny(name, small_collection, tmp_path / "g", steps=50)


def test_killed_in_the_middle_of_training_and_resumed(small_collection: Collection, tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload(["syntype.generators.engine.training", "timm"])  # imported once, for all tests that start processes so
    settings = {"steps": 1_000_000, "checkpoint_minutes": 1e-6}
    process = context.Process(target=train_tiny, args=("projected", small_collection, tmp_path / "killed"), kwargs=settings)
    process.start()
    state = tmp_path / "killed/training/state.pt"
    while not (state.exists() and len(read_events(tmp_path / "killed")) >= 2):
        assert process.is_alive()
        time.sleep(0.02)
    process.kill()
    process.join()
    assert state.exists() and not (tmp_path / "killed/weights.safetensors").exists()
    reached = read_state(tmp_path / "killed")["step"]
    for name in ("killed", "whole"):
        train_tiny("projected", small_collection, tmp_path / name, steps=reached + 3)
    assert (tmp_path / "whole/weights.safetensors").read_bytes() == (tmp_path / "killed/weights.safetensors").read_bytes()


def test_ctrl_c_keeps_the_work(small_collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import syntype.generators.engine.training as training

    real_step = training.TrainingLoop._one_step

    def interrupted_step(loop):
        metrics = real_step(loop)
        if loop.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return metrics

    monkeypatch.setattr(training.TrainingLoop, "_one_step", interrupted_step)
    result = train_tiny("projected", small_collection, tmp_path / "g", steps=100)
    assert result.status == "interrupted" and result.steps == 2
    assert load_generator(tmp_path / "g").sample(["Aus primus"], [0]).shape == (1, 3, 32, 32)


def test_resuming_with_other_settings_is_refused(small_collection: Collection, tmp_path: Path) -> None:
    train_tiny("projected", small_collection, tmp_path / "g", steps=2)
    with pytest.raises(InputError, match="batch_size"):
        train_tiny("projected", small_collection, tmp_path / "g", steps=4, batch_size=8)


def test_a_run_keeps_the_precision_that_it_began_with(small_collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is the faster is measured, and may come out otherwise when it is resumed."""
    monkeypatch.setattr(runtime_module, "_bfloat16_is_faster", lambda: True)
    train_tiny("fastgan", small_collection, tmp_path / "g", steps=2, precision="auto")
    monkeypatch.setattr(runtime_module, "_bfloat16_is_faster", lambda: False)
    assert train_tiny("fastgan", small_collection, tmp_path / "g", steps=3, precision="auto").steps == 3
    state = read_state(tmp_path / "g")
    assert state is not None and state["settings"]["precision"] == "bf16"


def test_species_are_chosen_by_only_and_except(small_collection: Collection, tmp_path: Path) -> None:
    train_tiny("copies", small_collection, tmp_path / "only", only=("Aus primus",))
    assert load_generator(tmp_path / "only").species == ("Aus primus",)
    train_tiny("copies", small_collection, tmp_path / "except", **{"except": ("Aus primus",)})
    assert "Aus primus" not in load_generator(tmp_path / "except").species
    with pytest.raises(UnknownNameError):
        train_tiny("copies", small_collection, tmp_path / "wrong", only=("Cus novus",))


def test_settings_that_make_no_sense_are_explained(small_collection: Collection, tmp_path: Path) -> None:
    for settings, message in [
        ({"size": 100}, "power of two"),
        ({"batch_size": 5}, "even"),
        ({"sise": 64}, "sise"),
        ({"model": {"widht": 3}}, "widht"),
        ({"steps": None}, "--minutes"),
    ]:
        with pytest.raises(UserError, match=message):
            train_tiny("projected", small_collection, tmp_path / "g", **settings)
    assert apply_overrides({"model": {"width": 32}}, ["model.width=8", "ema=1e-3"]) == {"model": {"width": 8}, "ema": 1e-3}


NEW_FAMILY = '''
"""Flat colour: a family for a test."""
import torch
from torch import nn
from syntype.compute.tensors import seeded_normal
from syntype.generators.contract import ABILITIES, GenerativeModel, GeneratorConfig

class FlatConfig(GeneratorConfig):
    rate: float = 1.0

class Flat(GenerativeModel):
    Config = FlatConfig
    def __init__(self, config, species):
        super().__init__(config, species)
        self.generator = nn.Embedding(len(self.species), 3)
    def prepare(self, data, runtime):
        self.runtime = runtime
        self.optimiser = torch.optim.SGD(self.generator.parameters(), lr=self.config.rate)
    def training_step(self, batch):
        loss = (self.generator(batch.labels) - batch.images_NCHW.mean((2, 3))).square().mean()
        self.runtime.backward_and_step(loss, self.generator.parameters(), self.optimiser)
        return {"loss": loss.detach()}
    @torch.inference_mode()
    def sample(self, species, seeds, **controls):
        colour = self.generator(self.labels_of(species)) + 0.01 * seeded_normal(seeds, (3,))
        return colour.clamp(-1, 1)[:, :, None, None].expand(-1, -1, self.config.size, self.config.size).contiguous()
'''


def test_a_family_is_one_file_in_a_folder(small_collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "families").mkdir()
    (tmp_path / "families/flat_colour.py").write_text(NEW_FAMILY)
    monkeypatch.setattr(registry_module, "family_folders", [*registry_module.family_folders, tmp_path / "families"])
    assert list_families()["flat_colour"] == "Flat colour: a family for a test."
    train_tiny("flat_colour", small_collection, tmp_path / "g", steps=2)
    train_tiny("flat_colour", small_collection, tmp_path / "g", steps=200)
    images = load_generator(tmp_path / "g").sample(["Aus primus"], [3])
    expected = training_data(small_collection.training().select(species="Aus primus"), 32).images.mean((0, 1, 2)) / 127.5 - 1
    assert_close(images.mean((0, 2, 3)), torch.tensor(expected, dtype=torch.float32), atol=0.2, rtol=0)


def test_unknown_families_list_the_choices() -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'projected'\?.*collage, copies"):
        family("projectd")


def test_batches_are_pairs_of_one_species_and_balanced(small_collection: Collection) -> None:
    data = training_data(small_collection.training(), 32)
    sampler = BatchSampler(data, balance=0.0)
    rows = np.concatenate([sampler.indices(0, step, 8) for step in range(500)])
    first, second = rows[::2], rows[1::2]
    assert (data.labels[first] == data.labels[second]).all() and (first != second).all()
    shares = np.bincount(data.labels[rows]) / len(rows)
    assert_close(shares, np.full(4, 0.25), atol=0.03, rtol=0)
    natural = np.bincount(data.labels[np.concatenate([BatchSampler(data, 1.0).indices(0, s, 8) for s in range(500)])]) / len(rows)
    assert_close(natural, data.counts / data.counts.sum(), atol=0.03, rtol=0)
    assert np.array_equal(sampler.indices(7, 3, 8), sampler.indices(7, 3, 8)) and not np.array_equal(
        sampler.indices(7, 3, 8), sampler.indices(7, 4, 8)
    )

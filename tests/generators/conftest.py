"""What tests of generators share: one tiny trained generator of each family, and the photographs that it has learnt from."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import tiny_bases
import torch
from made import make_collection, train_tiny

from syntype.collection import Collection

WATCHED = ("projected", "dcgan", "cgan")
"""Families whose pictures of the course of training a test looks at; drawing them takes longer than training."""


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Three species of 16, 12 and 8 images."""
    return make_collection(tmp_path_factory.mktemp("photographs") / "collection", {"Aus primus": 16, "Aus secundus": 12, "Bus tertius": 8})


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all processes that run tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tiny-generators"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def alone(shared: Path, name: str) -> Iterator[None]:
    """One process at a time."""
    with open(shared / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def tiny_base(shared_folder: Path) -> Callable[[str], Path]:
    """The folder of a tiny text-to-image model, made once: to be read only."""

    def get(name: str) -> Path:
        with alone(shared_folder, name):
            if not (shared_folder / name / "model_index.json").exists():
                tiny_bases.BASES[name](shared_folder / name)
        return shared_folder / name

    return get


@pytest.fixture(scope="session")
def make(tiny_base: Callable[[str], Path]) -> Callable[..., Any]:
    """Makes a generator of the family ``lora`` whose adapter is random, so that it changes images."""
    from syntype.generators.families.lora import LoRA, LoRAConfig

    def get(name: str, without: tuple[str, ...] = (), **settings: Any) -> LoRA:
        tiny = LoRAConfig.tiny().model_dump(exclude=set(without))
        torch.manual_seed(0)
        model = LoRA(LoRAConfig.parse({**tiny, "base": str(tiny_base(name)), **settings}), ("Chaetodon trifascialis", "Zanclus cornutus"))
        if "start_from" not in settings:
            for part, parameter in model.generator.named_parameters():
                if "lora_B" in part:
                    parameter.data = 0.3 * torch.randn(parameter.shape)
        return model

    return get


@pytest.fixture(scope="session")
def bases_in_the_cache(tiny_base: Callable[[str], Path], shared_folder: Path) -> Iterator[None]:
    """Without a connection, with a tiny model in the hub's cache under the name of the default base."""
    import huggingface_hub.constants as hub

    from syntype.generators.pretrained.bases import DEFAULT_BASE

    model, commit = shared_folder / "hub" / f"models--{DEFAULT_BASE.replace('/', '--')}", "0" * 40
    made = tiny_base("flux2_klein")
    with alone(shared_folder, "hub"):
        if not (model / "snapshots").exists():
            (model / "refs").mkdir(parents=True)
            (model / "refs" / "main").write_text(commit)
            (model / "snapshots").mkdir()
            (model / "snapshots" / commit).symlink_to(made)
    with patch.multiple(hub, HF_HUB_CACHE=str(shared_folder / "hub"), HF_HUB_OFFLINE=True):
        yield


@pytest.fixture(scope="session")
def trained_folder(photographs: Collection, shared_folder: Path, bases_in_the_cache: None) -> Callable[[str], Path]:
    """The folder of a tiny generator of a family, trained once for all processes that run tests: to be read only."""
    shared = shared_folder

    def get(name: str) -> Path:
        with alone(shared, name):
            if not (shared / name / "generator.json").exists():
                steps = 6 if name == "latent_diffusion" else 3  # its first three train the autoencoder alone
                every = 2 if name in WATCHED else 1000  # then the last preview alone
                unplotted = nullcontext() if name in WATCHED else patch("syntype.generators.engine.training.plot_curves")
                with unplotted:
                    train_tiny(name, photographs, shared / name, steps=steps, preview_every=every, previews=True)
        return shared / name

    return get


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 8 images of 32 x 32 pixels instead of 32: a family pads the last one."""
    monkeypatch.setattr("syntype.generators.contract.MAX_PIXELS_PER_BATCH", 8 * 32 * 32)

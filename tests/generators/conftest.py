"""What tests of generators share: one tiny trained generator of each family, and the photographs that it has learnt from."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import pytest
from made import make_collection, train_tiny

from syntype.collection import Collection

WATCHED = ("projected", "dcgan", "cgan")
"""Families whose pictures of the course of training a test looks at; drawing them takes longer than training."""


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Three species of 16, 12 and 8 images."""
    return make_collection(tmp_path_factory.mktemp("photographs") / "collection", {"Aus primus": 16, "Aus secundus": 12, "Bus tertius": 8})


@pytest.fixture(scope="session")
def trained_folder(photographs: Collection, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny generator of a family, trained once for all processes that run tests: to be read only."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tiny-generators"
    shared.mkdir(exist_ok=True)

    def get(name: str) -> Path:
        with open(shared / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
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

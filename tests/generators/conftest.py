"""What tests of generators share: one tiny trained generator of each family, and the photographs that it has learnt from."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from made import make_collection, train_tiny

from syntype.collection import Collection


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
                train_tiny(name, photographs, shared / name, steps=steps, preview_every=2, previews=True)
        return shared / name

    return get

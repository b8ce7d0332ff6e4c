"""What all tests share: where the real photographs lie, and a small drawn collection."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from made import make_collection
from one_node_slurm import OneNodeSlurm, one_node_slurm

from syntype.collection import Collection

REAL_DATA = Path(os.environ.get("SYNTYPE_FISH4KNOWLEDGE", Path(__file__).parents[2] / "shared" / "data" / "fish4knowledge"))


gc.disable()


def pytest_collection_finish() -> None:
    """The search for unreachable objects begins now, leaves out what imports and collecting made, and runs less often.

    It took a quarter of the time of collecting, where next to nothing becomes unreachable, and a sixth of that of many tests.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Files are written as always, but nothing waits until the disk has them: no power failure is tested, and the tests write thousands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def fish4knowledge() -> Path:
    """The real photographs; tests that need them skip where they are absent."""
    if not (REAL_DATA / "classification.csv").is_file():
        pytest.skip("the fish4knowledge photographs are not on this machine (set SYNTYPE_FISH4KNOWLEDGE to their folder)")
    return REAL_DATA


@pytest.fixture(scope="session")
def clip_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small models of images and texts: see ``tiny_clip``."""
    pytest.importorskip("open_clip")
    from tiny_clip import make_clip_folders  # not every process needs torch

    return make_clip_folders(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def small_collection(tmp_path: Path) -> Collection:
    """Four species of 16, 12, 8 and 6 images."""
    return make_collection(tmp_path / "collection", {"Aus primus": 16, "Aus secundus": 12, "Bus tertius": 8, "Bus quartus": 6})


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneNodeSlurm]:
    """A Slurm of this machine, with which commands that are started from here speak; tests that need it skip where there can be none."""
    pytest.importorskip("submitit")
    with one_node_slurm(tmp_path_factory.mktemp("slurm")) as there, pytest.MonkeyPatch.context() as patch:
        for name in ("SLURM_CONF", "PATH"):
            patch.setenv(name, there.environment[name])
        yield there


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB; tests that need it skip where this user may not mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)

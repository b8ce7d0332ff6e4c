"""The example of the guide `docs/how-to/write-a-family.md` is a family: it keeps the contract as one file in a folder, with nothing else edited."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from made import train_tiny

from syntype.collection import Collection
from syntype.errors import UnsupportedError
from syntype.generators import Generator, family, list_families, load_generator
from syntype.generators import registry as registry_module
from syntype.run import read_events

DOCS = Path(__file__).parents[2] / "docs"
NAME = "conditional_vae"


@pytest.fixture(autouse=True)
def families(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of families of one's own, as the guide makes it."""
    folder = tmp_path_factory.mktemp("families")
    shutil.copy(DOCS / "examples" / f"{NAME}.py", folder)
    monkeypatch.setattr(registry_module, "family_folders", [*registry_module.family_folders, folder])


def test_the_guide_shows_this_very_file() -> None:
    assert f"```{{literalinclude}} ../examples/{NAME}.py" in (DOCS / "how-to/write-a-family.md").read_text(encoding="utf-8")


def test_the_example_keeps_the_contract(small_collection: Collection, tmp_path: Path) -> None:
    assert list_families()[NAME].startswith("Conditional VAE: ")
    train_tiny(NAME, small_collection, tmp_path / "whole", steps=4)
    train_tiny(NAME, small_collection, tmp_path / "parts", steps=2)
    train_tiny(NAME, small_collection, tmp_path / "parts", steps=4)  # resumed: the same weights, bit for bit
    assert (tmp_path / "whole/weights.safetensors").read_bytes() == (tmp_path / "parts/weights.safetensors").read_bytes()

    generator: Generator = load_generator(tmp_path / "whole")
    assert generator.info["abilities"] == ["blend"]
    species, seeds = ["Aus primus", "Aus secundus", "Bus tertius"] * 14, list(range(42))
    together = generator.sample(species, seeds)
    assert together.shape == (42, 3, 32, 32) and together.dtype == torch.float32
    assert together.min() >= -1 and together.max() <= 1 and not torch.equal(together[0], together[3])
    assert torch.equal(together[5:6], generator.sample(species[5:6], seeds[5:6]))  # one seed, one image
    assert torch.equal(together.flip(0), generator.sample(species[::-1], seeds[::-1]))
    ends = generator.blend([("Aus primus", "Bus tertius")] * 2, [(0, 2)] * 2, [0.0, 1.0])
    with pytest.raises(UnsupportedError, match="cannot change species and individual apart"):
        generator.blend([("Aus primus", "Bus tertius")], [(0, 2)], [0.5], individuals=[0.0])
    torch.testing.assert_close(ends, together[[0, 2]])


def test_the_example_learns(small_collection: Collection, tmp_path: Path) -> None:
    """The reconstruction error falls by far within seconds, so the losses reach the weights."""
    train_tiny(NAME, small_collection, tmp_path / "g", steps=150, batch_size=16)
    losses = [event["reconstruction"] for event in read_events(tmp_path / "g") if event["event"] == "step"]
    assert losses[-1] < 0.5 * losses[0]
    assert family(NAME).learns

"""Every side from 128 to 1024 pixels: the families on ``FastGANGenerator`` build, take a training step, and draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from syntype.compute.runtime import Runtime
from syntype.compute.tensors import to_tensor
from syntype.generators import family
from syntype.generators.contract import Batch, GeneratorConfig, TrainingData

FAMILIES = ("fastgan", "projected")
SPECIES = ("Aus primus", "Aus secundus")


def step_and_sample(name: str, config: GeneratorConfig) -> None:
    """One step on the smallest batch, a pair; then an image of each species."""
    torch.manual_seed(0)
    model = family(name)(config, SPECIES)
    images = np.random.default_rng(0).integers(0, 256, (2, config.size, config.size, 3), dtype=np.uint8)
    labels = np.array([1, 1])
    model.prepare(TrainingData(images, labels, np.arange(2), SPECIES), Runtime("cpu", "fp32"))
    before = [parameter.detach().clone() for parameter in model.generator.parameters()]
    figures = model.training_step(Batch(to_tensor(images), torch.from_numpy(labels), torch.arange(len(labels)), 0))
    assert all(np.isfinite(float(value)) for value in figures.values()) and not figures["skipped"]
    assert sum(not torch.equal(old, new) for old, new in zip(before, model.generator.parameters(), strict=True)) > len(before) / 2
    drawn = model.sample(SPECIES, [0, 1])
    assert drawn.shape == (2, 3, config.size, config.size) and bool(torch.isfinite(drawn).all()) and drawn.std() > 0


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("size", [128, 256])
def test_small_networks_for_large_images(name: str, size: int) -> None:
    step_and_sample(name, family(name).Config.tiny(size))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("size", [128, 256, 512, 1024])
def test_the_default_networks_for_large_images(name: str, size: int) -> None:
    step_and_sample(name, family(name).Config(size=size))

"""What ``imle`` pulls where."""

from __future__ import annotations

import numpy as np
import torch

from syntype.compute.runtime import Runtime
from syntype.compute.tensors import to_tensor
from syntype.generators.contract import Batch, TrainingData
from syntype.generators.families.imle import IMLE, IMLEConfig, nearest_candidates


def test_each_photograph_chooses_the_nearest_of_its_own_species() -> None:
    random = torch.Generator().manual_seed(0)
    photographs, candidates = (torch.rand(number, 3, 32, 32, generator=random) for number in (4, 12))
    labels, owners = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1] * 6)
    candidates[3] = photographs[0]  # nearest of all, but of the other species
    candidates[4], candidates[7] = photographs[0] + 0.01, photographs[2] - 0.01
    found = nearest_candidates(photographs, labels, candidates, owners)
    assert found[0] == 4 and found[2] == 7
    small = [images.numpy().reshape(-1, 3, 16, 2, 16, 2).mean((3, 5)) for images in (photographs, candidates)]
    distances = np.square(small[0][:, None] - small[1][None]).sum((2, 3, 4))
    distances[labels.numpy()[:, None] != owners.numpy()] = np.inf
    assert found.tolist() == distances.argmin(1).tolist()


def test_no_photograph_is_forgotten() -> None:
    """Two pictures of one species, one of which is rare: images come nearer to both."""
    pictures = np.zeros((8, 32, 32, 3), np.uint8)
    pictures[:6, :, :16], pictures[6:, 16:] = (255, 0, 0), (0, 255, 0)
    torch.manual_seed(0)
    model = IMLE(IMLEConfig.tiny().model_copy(update={"candidates": 6, "flip": False, "learning_rate": 5e-3}), ("Aus primus",))
    data = TrainingData(pictures, np.zeros(8, np.int64), np.arange(8), ("Aus primus",))
    model.prepare(data, Runtime("cpu", "fp32"))
    rows = torch.arange(8)

    def nearest() -> torch.Tensor:
        drawn = model.sample(["Aus primus"] * 64, list(range(64)))
        return (to_tensor(pictures[[0, 7]])[:, None] - drawn[None]).abs().mean((2, 3, 4)).min(1).values

    before = nearest()
    for step in range(80):
        model.generator.train()
        model.training_step(Batch(to_tensor(pictures), torch.zeros(8, dtype=torch.int64), rows, step))
    after = nearest()
    assert (after < 0.95 * before).all() and after.sum() < 0.85 * before.sum(), (before, after)

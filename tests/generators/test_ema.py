from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from syntype.compute.ema import MovingAverage, power_decay, power_exponent, warmup_decay


def _weights_of_updates(updates: int, exponent: float) -> np.ndarray:
    """What each update counts for in the average: one update is 1, all others 0."""
    counts = []
    for chosen in range(1, updates + 1):
        module = nn.Linear(1, 1, bias=False).double()
        average = MovingAverage(module)
        for update in range(1, updates + 1):
            with torch.no_grad():
                module.weight.fill_(float(update == chosen))
            average.update(power_decay(update, exponent))
        counts.append(float(average.average["weight"]))
    return np.array(counts)


@pytest.mark.parametrize("exponent", [1.0, 6.94])
def test_the_power_average_counts_updates_by_their_power(exponent: float) -> None:
    """With decays (1 - 1/t) ** (g + 1) update i of n counts for (i ** (g + 1) - (i - 1) ** (g + 1)) / n ** (g + 1): about i ** g."""
    n = 20
    i = np.arange(1, n + 1)
    expected = (i ** (exponent + 1) - (i - 1.0) ** (exponent + 1)) / n ** (exponent + 1)
    assert_close(_weights_of_updates(n, exponent), expected, atol=1e-12, rtol=1e-9)


def test_the_first_update_forgets_the_initial_weights() -> None:
    module = nn.Linear(3, 3)
    average = MovingAverage(module)
    nn.init.ones_(module.weight)
    average.update(power_decay(1, 7.0))
    assert torch.equal(average.average["weight"], module.weight)


@pytest.mark.parametrize("width", [0.02, 0.05, 0.1, 0.25])
def test_the_exponent_gives_the_width_asked_for(width: float) -> None:
    """Standard deviation of the profile t ** g on [0, 1], by numerical integration."""
    t = (np.arange(200_000) + 0.5) / 200_000
    profile = t ** power_exponent(width)
    profile /= profile.sum()
    mean = (profile * t).sum()
    assert_close(np.sqrt((profile * (t - mean) ** 2).sum()), width, rtol=1e-3, atol=0)


def test_the_exponents_are_those_of_the_paper() -> None:
    assert_close(power_exponent(0.05), 16.97, atol=0.005, rtol=0)
    assert_close(power_exponent(0.1), 6.94, atol=0.005, rtol=0)


def test_the_warm_up_ends_at_the_limit() -> None:
    assert warmup_decay(0, 0.999) == 0.1 and warmup_decay(10**6, 0.999) == 0.999 and warmup_decay(50, 0.0) == 0.0

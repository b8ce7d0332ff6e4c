"""The model of the time on a cluster agrees with a simulation of the queue, with failures and without."""

from __future__ import annotations

import statistics

import pytest
from cluster import FISH, PER_TASK, STARTUP, model_hours, simulated_hours


@pytest.mark.parametrize("life", [20.0, 1000.0, 1e9])
@pytest.mark.parametrize("slots", [16, 64])
def test_the_model_agrees_with_the_simulation(life: float, slots: int) -> None:
    simulated = simulated_hours(3.5, slots, life=life)
    assert model_hours(3.5, slots, life=life) == pytest.approx(statistics.mean(simulated), rel=0.1)


def test_the_time_is_never_less_than_the_work_and_failures_cost() -> None:
    work = (FISH * 3.5 + -(-FISH // PER_TASK) * STARTUP) / 60
    without = simulated_hours(3.5, 64, life=1e9)
    assert min(without) >= work / 64 and statistics.mean(simulated_hours(3.5, 64, life=5.0)) > statistics.mean(without)
    assert simulated_hours(3.5, 64, species=10, life=1e9) == pytest.approx([(STARTUP + 35) / 60] * 5)

from __future__ import annotations

import pytest

from syntype.identification import ClassifierConfig, Speed, measure_speed


def test_minutes_follow_what_is_trained() -> None:
    speed = Speed(forward=0.01, training=0.05)
    head = speed.seconds(ClassifierConfig(views=2, steps=1000), 100, 50)
    assert head == pytest.approx(0.01 * 250 + 2.0)
    whole = ClassifierConfig(tune="all", steps=600, batch_size=32)
    assert speed.seconds(whole, 100, 50) == pytest.approx(600 * 32 * 0.05 + 10 * 50 * 0.01 + 200 * 0.01 + 2.0)


def test_the_speed_is_measured_once_for_a_network() -> None:
    config = ClassifierConfig(backbone="scratch", size=32, device="cpu")
    first = measure_speed(config)
    assert first.forward > 0 and first.training > 0
    assert measure_speed(config.model_copy(update={"steps": 5})) is first

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from syntype.identification.calibration import calibration_error, energy_score, temperature


def drawn(number: int, scale: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that fall as often as the softmax of the logits says; the logits are then multiplied by ``scale``."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=2, size=(number, 5))
    labels = np.array([random.choice(5, p=row) for row in softmax(logits, axis=1)])
    return scale * logits, labels


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_what_made_logits_too_sure_or_too_unsure(scale: float) -> None:
    logits, labels = drawn(20_000, scale)
    assert temperature(logits, labels) == pytest.approx(scale, rel=0.05)


def test_calibrated_probabilities_have_a_small_error_and_others_a_large_one() -> None:
    logits, labels = drawn(20_000, 1.0)
    assert calibration_error(softmax(logits, axis=1), labels) < 0.015
    assert calibration_error(softmax(3 * logits, axis=1), labels) > 0.1


def test_the_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.5, 0.5]])
    labels = np.array([0, 1, 1, 0])
    # bins of a half: [0, 0.5) is empty; all four in [0.5, 1]: right 3/4, mean confidence (0.9 + 0.9 + 0.6 + 0.5) / 4
    assert calibration_error(probabilities, labels, bins=2) == pytest.approx(abs(0.75 - 0.725))
    # bins of a tenth: 0.9: 1/2 right against 0.9, half the images; 0.6: 1 against 0.6; 0.5: 1 against 0.5
    assert calibration_error(probabilities, labels, bins=10) == pytest.approx(0.5 * 0.4 + 0.25 * 0.4 + 0.25 * 0.5)
    # each species half the weight: both images of each
    assert calibration_error(probabilities[:3], labels[:3], bins=10, balanced=True) == pytest.approx(abs(0.5 * 0.1 - 0.25 * 0.9) + 0.25 * 0.4)


def test_what_resembles_no_species_is_stranger() -> None:
    known, nothing = np.array([[8.0, 0, 0]]), np.array([[0.5, 0.4, 0.3]])
    assert energy_score(nothing) > energy_score(known)
    np.testing.assert_allclose(energy_score(np.zeros((1, 3))), -np.log(3))

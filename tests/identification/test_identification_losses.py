from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch.nn import functional as F

from syntype.identification.losses import Loss, LossConfig, Objective, effective_number_weights, inverse_frequency_weights, ldam_margins, log_prior
from syntype.identification.mixing import Targets

COUNTS = np.array([100, 10, 2, 1])
SHARES = COUNTS / COUNTS.sum()
LABELS = np.array([0, 1, 2, 3, 3])
LOGITS = np.random.default_rng(0).normal(size=(5, 4))
ALPHA = np.log1p(1 / (4 * SHARES)) / np.log1p(1 / (4 * SHARES)).mean()
EFFECTIVE = np.array([0.1 / (1 - 0.9**n) for n in COUNTS]) / np.mean([0.1 / (1 - 0.9**n) for n in COUNTS])
MARGINS = 0.5 * np.array([(1 / n) ** 0.25 for n in COUNTS])


def targets_of(labels: torch.Tensor) -> Targets:
    """One label for each image, with the weight 1."""
    return Targets(labels[:, None], torch.ones_like(labels, dtype=torch.float32)[:, None])


def of_true(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.arange(5), LABELS]


def focal(z: np.ndarray, gamma: float) -> np.ndarray:
    p = of_true(softmax(z, axis=1))
    return -((1 - p) ** gamma) * np.log(p)


def with_margins(z: np.ndarray, scale: float) -> np.ndarray:
    return -of_true(log_softmax(z - scale * MARGINS * np.eye(4)[LABELS], axis=1))


BY_HAND: dict[str, Any] = {  # independent of the code, in double precision, from the papers
    "cross_entropy": lambda z: -of_true(log_softmax(z, axis=1)),
    "focal": lambda z: focal(z, 2.0),
    "focal_alpha": lambda z: ALPHA[LABELS] * focal(z, 2.0),
    "class_balanced_focal": lambda z: EFFECTIVE[LABELS] * focal(z, 2.0),
    "ldam_drw": lambda z: EFFECTIVE[LABELS] * with_margins(z, 3.0),
    "logit_adjustment": lambda z: -of_true(log_softmax(z + 1.5 * np.log(SHARES), axis=1)),
    "balanced_softmax": lambda z: -np.log(of_true(COUNTS * np.exp(z)) / (COUNTS * np.exp(z)).sum(axis=1)),
}


def objective(name: Loss, power: float = 1.0, **settings: float) -> Objective:
    return Objective(name, LossConfig.parse({"beta": 0.9, "tau": 1.5, **settings}), COUNTS, power, scale=3.0)


@pytest.mark.parametrize("name", BY_HAND)
def test_each_loss_is_its_papers_formula_in_value_and_gradient(name: Loss) -> None:
    logits = torch.from_numpy(LOGITS).float().requires_grad_(True)
    loss = objective(name)(logits, targets_of(torch.from_numpy(LABELS)))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == pytest.approx(BY_HAND[name](LOGITS).mean(), rel=1e-5)
    step = 1e-6
    numerical = np.zeros_like(LOGITS)
    for place in np.ndindex(LOGITS.shape):
        moved = np.zeros_like(LOGITS)
        moved[place] = step
        numerical[place] = (BY_HAND[name](LOGITS + moved).mean() - BY_HAND[name](LOGITS - moved).mean()) / (2 * step)
    np.testing.assert_allclose(gradient.numpy(), numerical, rtol=1e-3, atol=1e-6)


def test_the_gradient_of_balanced_softmax_has_its_closed_form() -> None:
    logits = torch.from_numpy(LOGITS).float().requires_grad_(True)
    (gradient,) = torch.autograd.grad(objective("balanced_softmax")(logits, targets_of(torch.from_numpy(LABELS))), logits)
    share = COUNTS * np.exp(LOGITS) / (COUNTS * np.exp(LOGITS)).sum(axis=1, keepdims=True)  # equation 3 of the paper: phi_j
    np.testing.assert_allclose(gradient.numpy(), (share - np.eye(4)[LABELS]) / 5, rtol=1e-4, atol=1e-6)


def test_losses_become_one_another_where_they_should() -> None:
    logits, targets = torch.from_numpy(LOGITS).float(), targets_of(torch.from_numpy(LABELS))
    plain = F.cross_entropy(logits, torch.from_numpy(LABELS))
    torch.testing.assert_close(objective("focal", gamma=0.0)(logits, targets), plain)
    torch.testing.assert_close(objective("logit_adjustment", tau=1.0)(logits, targets), objective("balanced_softmax")(logits, targets))
    torch.testing.assert_close(objective("class_balanced_focal", beta=0.0)(logits, targets), objective("focal")(logits, targets))
    for name in ("balanced_softmax", "logit_adjustment"):  # nothing is left to correct where the sampler balances
        torch.testing.assert_close(objective(name, power=0.0)(logits, targets), plain)
    for name in ("focal_alpha", "class_balanced_focal"):
        torch.testing.assert_close(objective(name, power=0.0)(logits, targets), objective("focal")(logits, targets))


def test_ldam_weighs_species_only_near_the_end() -> None:
    loss, logits, targets = objective("ldam_drw"), torch.from_numpy(LOGITS).float(), targets_of(torch.from_numpy(LABELS))
    assert loss(logits, targets, progress=0.79).item() == pytest.approx(with_margins(LOGITS, 3.0).mean(), rel=1e-5)
    assert loss(logits, targets, progress=0.8).item() == pytest.approx(BY_HAND["ldam_drw"](LOGITS).mean(), rel=1e-5)


def test_what_is_identified_perfectly_gives_no_loss_and_no_broken_gradient() -> None:
    logits = torch.tensor([[200.0, 0, 0, 0]], requires_grad=True)
    for name in BY_HAND:
        (gradient,) = torch.autograd.grad(objective(name, gamma=0.5)(logits, targets_of(torch.tensor([0]))), logits)
        assert torch.isfinite(gradient).all() and gradient.abs().max() < 1e-6


def test_the_prior_is_that_of_the_sampler() -> None:
    np.testing.assert_allclose(log_prior(COUNTS).exp().numpy(), SHARES, rtol=1e-6)
    np.testing.assert_allclose(log_prior(COUNTS, 0.5).exp().numpy(), np.sqrt(COUNTS) / np.sqrt(COUNTS).sum(), rtol=1e-6)
    np.testing.assert_allclose(log_prior(COUNTS, 0.0).exp().numpy(), np.full(4, 0.25), rtol=1e-6)
    assert torch.isfinite(log_prior(np.array([5, 0]))).all()  # a species with synthetic images alone
    added = np.array([0.0, 0.1, 0.2, 0.0])
    np.testing.assert_allclose(log_prior(COUNTS, synthetic=added).exp().numpy(), 0.7 * SHARES + added, rtol=1e-6)
    assert torch.isfinite(log_prior(COUNTS, synthetic=np.array([1.0, 0.0, 0.0, 0.0]))).all()


def test_weights_and_margins_by_hand() -> None:
    np.testing.assert_allclose(inverse_frequency_weights(np.array([6, 2])).numpy(), np.log1p([8 / 12, 2]) / np.log1p([8 / 12, 2]).mean(), rtol=1e-6)
    np.testing.assert_allclose(effective_number_weights(np.array([1, 2]), 0.5).numpy(), np.array([1, 2 / 3]) / (5 / 6), rtol=1e-6)
    np.testing.assert_allclose(ldam_margins(np.array([16, 1, 0]), 0.5).numpy(), [0.25, 0.5, 0.5], rtol=1e-6)


def test_mixed_images_count_for_both_labels_and_weights_for_each_image() -> None:
    logits = torch.from_numpy(LOGITS[:3]).float()
    weights = torch.tensor([1.0, 0.0, 3.0])[:, None]
    first, second = (Targets(torch.tensor(labels)[:, None], weights) for labels in ([0, 2, 3], [1, 2, 0]))
    soft = torch.tensor([[0.3, 0.7, 0, 0], [0, 0, 1, 0], [0.5, 0, 0, 0.5]])
    each = -(soft * torch.log_softmax(logits + log_prior(COUNTS), dim=1)).sum(dim=1)
    mixed = first.mixed_with(second, torch.tensor([0.3, 1.0, 0.5]))
    torch.testing.assert_close(objective("balanced_softmax")(logits, mixed), (each[0] + 3 * each[2]) / 4)


def test_smoothing_is_pytorchs_and_for_the_images_alone_that_ask_for_it() -> None:
    logits, labels = torch.from_numpy(LOGITS).float(), torch.from_numpy(LABELS)
    smoothing = torch.tensor([0.0, 0.0, 0.2, 0.2, 0.2])[:, None]
    targets = Targets(labels[:, None], torch.ones(5, 1), smoothing)
    plain, smoothed = (F.cross_entropy(logits + log_prior(COUNTS), labels, reduction="none", label_smoothing=part) for part in (0.0, 0.2))
    expected = torch.cat([plain[:2], smoothed[2:]]).mean()
    torch.testing.assert_close(objective("balanced_softmax")(logits, targets), expected)

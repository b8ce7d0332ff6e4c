from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from syntype.identification.losses import classification_loss, log_prior

COUNTS = np.array([100, 10, 2, 1])


def test_balanced_softmax_is_the_papers_formula_with_its_closed_form_gradient() -> None:
    source = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=source, dtype=torch.float64).float().requires_grad_(True)
    labels = torch.tensor([0, 1, 2, 3, 3])
    loss = classification_loss(logits, labels, log_prior(COUNTS))
    (gradient,) = torch.autograd.grad(loss, logits)

    z, n = logits.detach().double().numpy(), COUNTS.astype(float)
    share = n * np.exp(z) / (n * np.exp(z)).sum(axis=1, keepdims=True)  # equation 3 of the paper: phi_j
    expected = -np.log(share[np.arange(5), labels.numpy()]).mean()
    by_hand = (share - np.eye(4)[labels.numpy()]) / 5
    torch.testing.assert_close(loss.item(), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient.double().numpy(), by_hand, rtol=1e-5, atol=1e-6)


def test_with_equal_counts_balanced_softmax_is_cross_entropy() -> None:
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    torch.testing.assert_close(classification_loss(logits, labels, log_prior(np.array([7, 7, 7]))), F.cross_entropy(logits, labels))


def test_the_prior_is_that_of_the_sampler() -> None:
    np.testing.assert_allclose(log_prior(COUNTS).exp().numpy(), COUNTS / COUNTS.sum(), rtol=1e-6)
    np.testing.assert_allclose(log_prior(COUNTS, 0.5).exp().numpy(), np.sqrt(COUNTS) / np.sqrt(COUNTS).sum(), rtol=1e-6)
    np.testing.assert_allclose(log_prior(COUNTS, 0.0).exp().numpy(), np.full(4, 0.25), rtol=1e-6)
    assert torch.isfinite(log_prior(np.array([5, 0]))).all()  # a species with synthetic images alone


def test_soft_targets_and_weights() -> None:
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(2))
    soft = torch.tensor([[0.3, 0.7, 0, 0], [0, 0, 1, 0], [0.5, 0, 0, 0.5]])
    weights = torch.tensor([1.0, 0.0, 3.0])
    prior = log_prior(COUNTS)
    each = -(soft * torch.log_softmax(logits + prior, dim=1)).sum(dim=1)
    torch.testing.assert_close(classification_loss(logits, soft, prior, weights), (each[0] + 3 * each[2]) / 4)

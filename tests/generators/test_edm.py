"""Preconditioning, loss and samplers against closed forms: the denoiser of a Gaussian, and of a mixture of two, is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from syntype.generators.diffusion.edm import (
    SIGMA_DATA,
    SIGMA_MAX,
    SIGMA_MIN,
    Uncertainty,
    denoising_loss,
    dpm_solver,
    heun,
    preconditioned,
    preconditioning,
    sigma_at,
    sigma_schedule,
)

SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "heun": lambda denoise, x, steps: heun(denoise, x, sigma_schedule(steps)),
    "dpm++": lambda denoise, x, steps: dpm_solver(denoise, x, steps),
}


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """Denoiser of normal data of mean 0.3 and standard deviation 0.4."""
    return 0.3 + (x - 0.3) * 0.4**2 / (0.4**2 + sigma**2)


def mixture(x: Tensor, sigma: float) -> Tensor:
    """Denoiser of normal data of standard deviation 0.1 around -0.5 or 0.5."""
    variance = 0.1**2 + sigma**2
    right = torch.sigmoid(x / variance)  # log odds: ((x + .5)**2 - (x - .5)**2) / (2 * variance)
    centre = right - 0.5
    return centre + (x - centre) * 0.1**2 / variance


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_are_of_second_order_on_a_gaussian(name: str) -> None:
    """There the flow takes x to 0.3 + (x - 0.3) * s / sqrt(s**2 + sigma**2)."""
    x = SIGMA_MAX * torch.tensor([-1.5, 0.2, 1.0], dtype=torch.float64).view(3, 1, 1, 1)
    exact = 0.3 + (x - 0.3) * 0.4 / math.hypot(0.4, SIGMA_MAX)
    errors = [float((SAMPLERS[name](gaussian, x, steps) - exact).abs().max()) for steps in (32, 64, 128)]
    orders = [math.log2(first / second) for first, second in pairwise(errors)]
    assert errors[-1] < 5e-3 and all(1.8 < order < 2.4 for order in orders), (errors, orders)


def test_both_samplers_agree_where_steps_are_many() -> None:
    torch.manual_seed(0)
    x = SIGMA_MAX * torch.randn(50, 1, 2, 2, dtype=torch.float64)
    assert_close(SAMPLERS["dpm++"](mixture, x, 400), SAMPLERS["heun"](mixture, x, 400), atol=5e-3, rtol=0)
    ends = SAMPLERS["dpm++"](mixture, x, 20)
    assert ((ends.abs() - 0.5).abs() < 0.45).all()


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_do_not_mix_images(name: str) -> None:
    torch.manual_seed(0)
    x = SIGMA_MAX * torch.randn(5, 4, 4, 4)  # whole vectors of the processor an image: its arithmetic is not what is tested
    together = SAMPLERS[name](mixture, x, 12)
    assert all(torch.equal(together[row : row + 1], SAMPLERS[name](mixture, x[row : row + 1], 12)) for row in range(5))


def test_the_schedule_falls_from_end_to_end() -> None:
    steps = sigma_schedule(10)
    assert len(steps) == 11 and steps[-1] == 0 and steps == sorted(steps, reverse=True)
    assert_close((steps[0], steps[-2]), (SIGMA_MAX, SIGMA_MIN))
    assert_close((sigma_at(0.0), sigma_at(1.0)), (SIGMA_MIN, SIGMA_MAX))
    assert_close(sigma_schedule(9)[4], sigma_at(0.5))
    assert sigma_schedule(1) == [SIGMA_MAX, 0.0] or math.isclose(sigma_schedule(1)[0], SIGMA_MAX)


def test_preconditioning_at_both_ends() -> None:
    skip, out, scale, level = preconditioning(torch.tensor([1e-6, 1e6], dtype=torch.float64))
    assert_close(skip, torch.tensor([1.0, 0.0], dtype=torch.float64), atol=1e-9, rtol=0)
    assert_close(out, torch.tensor([0.0, SIGMA_DATA], dtype=torch.float64), atol=1e-5, rtol=0)
    assert_close(scale, torch.tensor([1 / SIGMA_DATA, 1e-6], dtype=torch.float64), atol=1e-9, rtol=1e-6)
    assert_close(level, torch.tensor([math.log(1e-6) / 4, math.log(1e6) / 4], dtype=torch.float64))
    x = torch.randn(1, 4, 2, 2, dtype=torch.float64)
    assert_close(preconditioned(lambda images, _: images, x, torch.tensor([1e-9], dtype=torch.float64)), x, atol=1e-6, rtol=0)


@pytest.mark.parametrize("sigma", [0.01, 0.5, 20.0])
def test_input_and_target_have_unit_variance_and_a_silent_network_a_loss_of_one(sigma: float) -> None:
    torch.manual_seed(0)
    clean = SIGMA_DATA * torch.randn(400, 4, 8, 8)
    sigmas = torch.full((400,), sigma)
    noisy = clean + sigma * torch.randn_like(clean)
    skip, out, scale, _ = preconditioning(torch.tensor(sigma))
    assert_close((scale * noisy).std(), torch.tensor(1.0), atol=0.02, rtol=0)
    assert_close(((clean - skip * noisy) / out).std(), torch.tensor(1.0), atol=0.02, rtol=0)
    guess = preconditioned(lambda images, _: torch.zeros_like(images), noisy, sigmas)
    loss, plain = denoising_loss(clean, guess, sigmas, torch.zeros(400))
    assert_close((loss, plain), (torch.tensor(1.0), torch.tensor(1.0)), atol=0.03, rtol=0)


def test_uncertainty_is_best_at_the_logarithm_of_the_loss() -> None:
    """L e^-u + u is least at u = ln L, and is 1 + ln L there."""
    clean, guess, sigma = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.3), torch.tensor([0.7])
    plain = denoising_loss(clean, guess, sigma, torch.zeros(1))[1]
    assert_close(plain, torch.tensor(0.09 * (0.7**2 + 0.25) / (0.7 * 0.5) ** 2))
    best = plain.log()[None].requires_grad_()
    loss = denoising_loss(clean, guess, sigma, best)[0]
    loss.backward()
    assert_close(loss.detach(), 1 + plain.log())
    assert best.grad is not None and abs(float(best.grad)) < 1e-6


def test_learnt_uncertainty_follows_the_losses_of_noise_levels() -> None:
    torch.manual_seed(0)
    uncertainty = Uncertainty()
    assert not uncertainty(torch.tensor([0.1, 3.0])).detach().any()
    optimiser = torch.optim.Adam(uncertainty.parameters(), lr=2e-2)
    sigma = torch.linspace(-3, 2, 32).exp()
    losses = 0.05 + sigma / (1 + sigma)
    for _ in range(400):
        u = uncertainty(sigma)
        optimiser.zero_grad()
        (losses * (-u).exp() + u).mean().backward()
        optimiser.step()
    assert_close(uncertainty(sigma).detach(), losses.log(), atol=0.1, rtol=0)

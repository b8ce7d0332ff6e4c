"""Diffusion against diffusers' own schedulers, closed forms, and a Gaussian whose score is known."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor
from torch.testing import assert_close

from syntype.compute.tensors import seeded_normal
from syntype.generators.diffusion.gaussian import GaussianDiffusion, ReverseProcess, SamplerName, classifier_free_guidance, noise_streams

SHAPE = (4, 3, 8, 8)
LEVELS = torch.tensor([0, 20, 500, 999])


def drawn(*seeds: int) -> Iterator[Tensor]:
    return (seeded_normal(range(100 * seed, 100 * seed + SHAPE[0]), SHAPE[1:]) for seed in seeds)


def test_the_forward_marginals_are_those_of_diffusers() -> None:
    images, noise = drawn(0, 1)
    assert_close(
        GaussianDiffusion("eps", None).add_noise(images, noise, LEVELS), DDPMScheduler().add_noise(images, noise, LEVELS), rtol=1e-4, atol=1e-5
    )
    assert torch.equal(GaussianDiffusion("eps", None).add_noise(images, noise, -1), images)


def test_noise_added_in_two_parts_is_noise_added_at_once() -> None:
    diffusion = GaussianDiffusion("eps", None)
    ones = torch.ones(1, 1, 1, 1)
    for low, high in ((-1, 0), (-1, 400), (100, 400), (998, 999)):
        kept = diffusion.add_more_noise(ones, 0 * ones, low, high)
        added = diffusion.add_more_noise(0 * ones, ones, low, high)
        signal, spread = diffusion.scales_at(low, ones)
        assert_close(kept * signal, diffusion.scales_at(high, ones)[0], rtol=1e-5, atol=0)
        assert_close(((kept * spread).square() + added.square()).sqrt(), diffusion.scales_at(high, ones)[1], rtol=1e-4, atol=0)


@pytest.mark.parametrize("level", [1, 300, 999])
def test_a_step_of_ancestral_sampling_is_that_of_diffusers_given_the_noise(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, eps, fresh = drawn(0, 1, 2)
    theirs = DDPMScheduler(clip_sample=False)  # the posterior's mean, Ho et al. 2020 eq. 7, and its variance
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, **__: fresh)
    diffusion = GaussianDiffusion("eps", None)
    process = ReverseProcess(diffusion, lambda y, t: diffusion.predict_clean(y, eps, t), "ddpm", lambda: fresh)
    ours = next(process.run(x, [level, level - 1]))
    assert_close(ours, theirs.step(eps, level, x).prev_sample, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_ddim_is_that_of_diffusers(prediction: str) -> None:
    x, predicted = drawn(0, 1)
    theirs = DDIMScheduler(clip_sample=False, timestep_spacing="trailing", prediction_type={"eps": "epsilon", "v": "v_prediction"}[prediction])
    theirs.set_timesteps(10)
    diffusion = GaussianDiffusion(prediction, None)
    levels = ReverseProcess.levels(10)
    assert levels == theirs.timesteps.tolist()
    process = ReverseProcess(diffusion, lambda y, t: diffusion.predict_clean(y, predicted, t), "ddim", lambda: x)
    expected = x
    for level, ours in zip(levels, process.run(x, levels), strict=True):
        expected = theirs.step(predicted, level, expected).prev_sample
        assert_close(ours, expected, rtol=2e-3, atol=2e-3)


def test_levels_start_at_pure_noise_and_never_repeat() -> None:
    assert ReverseProcess.levels(4) == [999, 749, 499, 249]
    assert ReverseProcess.levels(50, start=3) == [2, 1, 0]
    for steps in (1, 7, 20, 333, 999, 1000):
        levels = ReverseProcess.levels(steps)
        assert len(set(levels)) == steps and levels == sorted(levels, reverse=True) and levels[0] == 999 and levels[-1] >= 0


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_predictions_and_images_convert_into_each_other(prediction: str) -> None:
    images, noise = drawn(0, 1)
    levels = torch.tensor([0, 20, 300, 600])
    diffusion = GaussianDiffusion(prediction, None)
    x, target = diffusion.add_noise(images, noise, levels), diffusion.target(images, noise, levels)
    assert_close(diffusion.predict_clean(x, target, levels), images, rtol=1e-3, atol=1e-4)
    if prediction == "v":
        assert_close(target, DDPMScheduler().get_velocity(images, noise, levels), rtol=1e-4, atol=1e-4)
        signal, spread = diffusion.scales_at(levels, x)  # Salimans & Ho 2022, appendix D
        assert_close(spread * x + signal * target, noise, rtol=1e-3, atol=1e-4)


def test_min_snr_weights_are_the_papers_for_each_prediction() -> None:
    kept = DDPMScheduler().alphas_cumprod[LEVELS].double()
    snr = kept / (1 - kept)
    least = torch.minimum(snr, torch.tensor(5.0).double())
    assert_close(GaussianDiffusion("eps", 5.0).loss_weights(LEVELS).double(), least / snr, rtol=1e-3, atol=0)
    assert_close(GaussianDiffusion("v", 5.0).loss_weights(LEVELS).double(), least / (snr + 1), rtol=1e-3, atol=0)
    assert torch.equal(GaussianDiffusion("v", None).loss_weights(LEVELS), torch.ones(4))


@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1), ("dpmsolver++", 2)])
def test_solvers_reach_a_gaussian_with_their_order_of_convergence(sampler: SamplerName, order: int) -> None:
    mean, deviation = 0.2, 0.25
    diffusion = GaussianDiffusion("v", None)

    def denoise(x: Tensor, level: int) -> Tensor:  # the mean of x_0 given x_t, where x_0 is normal
        signal, spread = diffusion.scales_at(level, x)
        return mean + signal * deviation**2 / (signal**2 * deviation**2 + spread**2) * (x - signal * mean)

    (x,) = drawn(0)

    def exact(level: int) -> Tensor:  # the probability flow keeps how many standard deviations x lies from the mean
        signal, spread = (part.double() for part in diffusion.scales_at(torch.tensor([999, level]), x))
        width = (signal**2 * deviation**2 + spread**2).sqrt()
        return signal[1] * mean + width[1] / width[0] * (x.double() - signal[0] * mean)

    errors = []
    for stride in (74, 37, 18.5):
        levels = [round(999 - stride * step) for step in range(round(999 / stride))]
        states = dict(zip([*levels[1:], -1], ReverseProcess(diffusion, denoise, sampler, lambda: x).run(x, levels), strict=True))
        errors.append((states[333] - exact(333)).abs().max().item())
    assert all(2 ** (order - 0.4) < coarse / fine < 2 ** (order + 0.6) for coarse, fine in pairwise(errors)), errors
    *_, last = ReverseProcess(diffusion, denoise, sampler, lambda: x).run(x, ReverseProcess.levels(250))
    assert_close(last.double(), exact(-1), rtol=0, atol=0.02)


def test_guidance_leads_from_no_species_through_the_species_and_beyond() -> None:
    calls = []

    def network(x: Tensor, levels: Tensor, codes: Tensor) -> Tensor:
        calls.append((len(x), levels.tolist()))
        return x * codes[:, :, None, None] + levels[:, None, None, None]

    (x,) = drawn(0)
    codes, null = torch.full((4, 1), 3.0), torch.full((4, 1), 1.0)
    values = {guidance: classifier_free_guidance(network, codes, null, guidance)(x, 7) for guidance in (0, 1, 2.5)}
    assert torch.equal(values[0], x + 7) and torch.equal(values[1], 3 * x + 7)
    assert_close(values[2.5], x + 7 + 2.5 * 2 * x)
    assert calls == [(4, [7] * 4), (4, [7] * 4), (8, [7] * 8)]


def test_each_image_has_a_stream_of_noise_from_its_own_seed() -> None:
    together, alone = noise_streams([3, 4, 5], (2, 2)), noise_streams([4], (2, 2))
    first = together()
    assert torch.equal(first, seeded_normal([3, 4, 5], (2, 2)))
    assert torch.equal(first[1:2], alone()) and torch.equal(together()[1:2], alone())
    assert not torch.equal(together()[0], first[0])


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmsolver++"])
@pytest.mark.parametrize("resamples", [1, 3])
def test_filling_in_goes_back_as_often_as_asked_and_keeps_what_is_known(sampler: SamplerName, resamples: int) -> None:
    images, x = drawn(0, 1)
    masks = torch.zeros(4, 1, 8, 8, dtype=torch.bool)
    masks[:, :, 2:5] = True
    seen: list[int] = []

    def denoise(noised: Tensor, level: int) -> Tensor:
        seen.append(level)
        return torch.zeros_like(noised)

    process = ReverseProcess(GaussianDiffusion("v", None), denoise, sampler, noise_streams(range(4), SHAPE[1:]))
    filled = process.inpaint(x, [999, 800, 600, 400, 200], images, masks, jump_length=2, resamples=resamples)
    assert seen == [999, 800] * resamples + [600, 400] * resamples + [200] * resamples
    assert torch.equal(filled, torch.where(masks, torch.zeros(1), images))


def test_what_is_known_is_at_the_right_level_of_noise_throughout() -> None:
    images = torch.full((2, 3, 64, 64), 0.5)
    masks = torch.zeros(2, 1, 64, 64, dtype=torch.bool)
    masks[..., :32] = True
    diffusion, stages = GaussianDiffusion("v", None), {}

    def denoise(noised: Tensor, level: int) -> Tensor:
        stages.setdefault(level, []).append(noised)
        return torch.full_like(noised, 0.5)  # a perfect one: then both parts are alike

    noise = noise_streams(range(2), (3, 64, 64))
    ReverseProcess(diffusion, denoise, "ddim", noise).inpaint(noise(), [999, 500, 250, 60], images, masks, jump_length=2, resamples=2)
    for level, states in stages.items():
        signal, spread = diffusion.scales_at(level, images)
        for half in [part for state in states for part in state.chunk(2, dim=3)]:
            assert_close(half.mean(), signal.squeeze() * 0.5, rtol=0, atol=0.04)
            assert_close(half.std(), spread.squeeze(), rtol=0.05, atol=0)

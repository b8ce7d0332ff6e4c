"""Augmentation: gradients pass, what is not chosen stays as it is, and what is hidden can be told from what is left."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from syntype.generators.augmentation import augment

QUIET = {"colour": 0.0, "translation": 0.0, "cutout": 0.0}
KINDS = {"colour": {**QUIET, "colour": 1.0}, "translation": {**QUIET, "translation": 0.125}, "cutout": {**QUIET, "cutout": 0.5}}


def drawn(count: int, size: int = 16) -> Tensor:
    torch.manual_seed(5)
    return torch.rand(count, 3, size, size) * 2 - 1


@pytest.mark.parametrize("kind", KINDS)
def test_images_that_were_not_chosen_stay_bit_for_bit(kind: str) -> None:
    images = drawn(1000)
    seen = augment(images, probability=0.3, **KINDS[kind])
    untouched = (seen == images).flatten(1).all(1)
    assert_close(untouched.float().mean(), torch.tensor(0.7), atol=0.05, rtol=0)  # a shift by nothing is rare but possible
    assert_close(seen[untouched].mean(0), images[untouched].mean(0), atol=0, rtol=0)
    assert torch.equal(augment(images, probability=0.0), images)


def test_the_same_seed_gives_the_same_augmentation_and_another_gives_another() -> None:
    images = drawn(8)
    seen = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        seen.append(augment(images))
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind: str) -> None:
    images, weights = drawn(3, 8).double().requires_grad_(), torch.randn(3, 3, 8, 8, dtype=torch.float64)

    def outcome(x: Tensor) -> Tensor:
        torch.manual_seed(9)
        return (augment(x, **KINDS[kind]).double() * weights).sum()

    (gradient,) = torch.autograd.grad(outcome(images), images)
    direction = torch.randn_like(gradient)
    with torch.no_grad():
        slope = (outcome(images + 1e-4 * direction) - outcome(images - 1e-4 * direction)) / 2e-4
    assert_close((gradient * direction).sum(), slope, rtol=1e-4, atol=1e-4)
    assert gradient.abs().max() > 0


@pytest.mark.parametrize(("probability", "leaks"), [(1.0, True), (0.3, False)])
def test_cut_out_hides_a_distribution_only_if_no_image_is_ever_whole(probability: float, leaks: bool) -> None:
    """Images of 2x2 pixels, black or white. Those with an even number of white pixels and those with an odd one are alike in any three
    pixels, so a discriminator before whom one pixel is always blanked cannot tell the two apart, and would let one pass for the other."""
    even, odd = (
        torch.tensor([p for p in itertools.product((-1.0, 1.0), repeat=4) if p.count(1.0) % 2 == parity]).view(-1, 1, 2, 2) for parity in (0, 1)
    )
    counts = []
    for images in (even, odd):
        torch.manual_seed(3)
        seen = augment(images.repeat(5000, 1, 1, 1), probability=probability, **KINDS["cutout"])
        number = ((seen.flatten(1) + 1) * torch.tensor([1, 3, 9, 27])).long()  # 3 levels a pixel
        counts.append(torch.bincount(number.sum(1), minlength=81) / len(seen))
    distance = (counts[0] - counts[1]).abs().sum() / 2
    assert distance < 0.05 if leaks else distance > 0.6

"""The search for a photograph's latent: what it finds on generators whose answer is known, and what it must not look at."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from syntype.generators.gans.latent_search import inpaint_by_search, invert

DIM, SIZE = 8, 16


def linear() -> Tensor:
    """A generator that is one matrix, shape (DIM, 3 * SIZE * SIZE)."""
    return torch.randn(DIM, 3 * SIZE * SIZE, generator=torch.Generator().manual_seed(0)) * 0.1


def draw(latents: Tensor) -> Tensor:
    return (latents @ linear()).view(-1, 3, SIZE, SIZE)


def likely(count: int, seed: int) -> Tensor:
    """Latents with mean square 1, as the prior has it."""
    drawn = torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))
    return drawn / drawn.square().mean(1, keepdim=True).sqrt()


def half(count: int) -> Tensor:
    masks = torch.zeros(count, 1, SIZE, SIZE, dtype=torch.bool)
    masks[..., SIZE // 2 :] = True
    return masks


def test_the_latent_of_a_drawn_image_is_found_from_half_of_it() -> None:
    wanted = likely(3, 1)
    found = invert(draw, likely(3, 2), draw(wanted), half(3), steps=400, learning_rate=0.1)
    assert_close(found, wanted, atol=0.02, rtol=0)


def test_what_is_masked_is_not_looked_at_and_what_is_not_comes_back_unchanged() -> None:
    images, masks = draw(likely(2, 1)).clamp(-1, 1), half(2)
    spoilt = images.masked_fill(masks, float("nan"))
    filled = inpaint_by_search(draw, likely(2, 2), spoilt, masks, steps=20, learning_rate=0.1)
    assert torch.equal(filled, inpaint_by_search(draw, likely(2, 2), images, masks, steps=20, learning_rate=0.1))
    assert torch.equal(filled.masked_fill(masks, 0.0), images.masked_fill(masks, 0.0))
    assert filled.abs().max() <= 1 and not torch.equal(filled, images)


def test_no_image_depends_on_another_nor_on_chance() -> None:
    images, start = draw(likely(3, 1)), likely(3, 2)
    together = invert(draw, start, images, half(3), steps=10, learning_rate=0.1)
    torch.manual_seed(9)
    assert torch.equal(together, invert(draw, start, images, half(3), steps=10, learning_rate=0.1))
    alone = torch.cat([invert(draw, start[[i]], images[[i]], half(1), steps=10, learning_rate=0.1) for i in range(3)])
    assert_close(alone, together)


def test_where_nothing_is_known_a_latent_takes_a_likely_length() -> None:
    start = 1.3 * likely(2, 3)
    found = invert(draw, start, torch.zeros(2, 3, SIZE, SIZE), torch.ones(2, 1, SIZE, SIZE, dtype=torch.bool), steps=300, learning_rate=0.05)
    assert_close(found.square().mean(1), torch.ones(2), atol=0.05, rtol=0)
    assert (torch.nn.functional.cosine_similarity(found, start) > 0.9).all()


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_the_search_runs_where_gradients_are_switched_off(mode: type) -> None:
    expected = invert(draw, likely(1, 2), draw(likely(1, 1)), half(1), steps=3, learning_rate=0.1)
    with mode():
        found = invert(draw, likely(1, 2), draw(likely(1, 1)), half(1), steps=3, learning_rate=0.1)
    assert torch.equal(found, expected) and not found.requires_grad


def test_without_steps_the_seed_s_own_image_is_taken() -> None:
    start = likely(2, 4)
    assert torch.equal(invert(draw, start, torch.zeros(2, 3, SIZE, SIZE), half(2), steps=0, learning_rate=0.1), start)

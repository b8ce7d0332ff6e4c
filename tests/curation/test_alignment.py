from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from syntype.curation.alignment import align, downscale, frame_weights, unit_vectors, usable_pixels, warp, windows

SAME = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0]]])


def smooth_picture(seed: int, side: int = 64) -> np.ndarray:
    """A picture with forms of several sizes, uint8 (side, side, 3)."""
    rng = np.random.default_rng([seed, 3])
    total = np.zeros((side, side, 3))
    for cells in (4, 8, 16):
        coarse = torch.from_numpy(rng.normal(size=(1, 3, cells, cells)))
        total += torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic")[0].permute(1, 2, 0).numpy()
    return np.clip(128 + 30 * total, 5, 245).astype(np.uint8)


def test_alignment_recovers_a_known_pose() -> None:
    real = downscale(smooth_picture(0)[None], 32)
    pose = torch.tensor([[[0.9, -0.08, 0.06], [0.06, 0.75, -0.04]]])  # turned and stretched
    query = warp(real, pose, 32) * 0.7 + 0.1
    found, agreement = align(query, real, torch.tensor([[[0.85, 0, 0], [0, 0.85, 0]]]), torch.ones(1, 3, 32, 32), iterations=10)
    torch.testing.assert_close(found, pose, atol=5e-3, rtol=0)
    assert agreement.item() > 0.95


def test_different_pictures_do_not_agree() -> None:
    pictures = downscale(np.stack([smooth_picture(seed) for seed in range(20)]), 32)
    start = windows(torch.ones(10, 2))[:, 0]
    same = SAME.expand(10, 2, 3)
    usable = torch.ones(10, 3, 32, 32)
    assert align(pictures[:10], pictures[10:], start, usable, iterations=5)[1].max() < 0.5
    assert align(pictures[:10], pictures[:10], same, usable, iterations=0)[1].min() > 0.999


def test_forms_count_and_light_does_not() -> None:
    """Two animals in one light: over the whole picture they correlate, in small neighbourhoods they do not."""
    light = np.linspace(20, 200, 64)[:, None, None] * np.ones((64, 64, 3))
    two = np.stack([np.clip(light + 0.5 * (smooth_picture(seed).astype(float) - 128), 0, 245).astype(np.uint8) for seed in (11, 12)])
    one, other = downscale(two, 32)
    assert np.corrcoef(one.flatten().numpy(), other.flatten().numpy())[0, 1] > 0.85
    assert align(one[None], other[None], SAME, torch.ones(1, 3, 32, 32), iterations=3)[1].item() < 0.6


def test_pairs_name_their_queries_and_do_not_depend_on_how_many_there_are() -> None:
    pictures, shifted = downscale(np.stack([smooth_picture(seed) for seed in range(3)]), 32), SAME + 0.05
    owners, usable = torch.tensor([2, 0, 2, 1]), torch.ones(3, 3, 32, 32)
    poses, agreement = align(pictures, pictures[owners.flip(0)], shifted.expand(4, 2, 3), usable, owners=owners, iterations=3)
    for number, (own, other) in enumerate(zip(owners.tolist(), owners.flip(0).tolist(), strict=True)):
        alone = align(pictures[own : own + 1], pictures[other : other + 1], shifted, usable[:1], iterations=3)
        torch.testing.assert_close((poses[number : number + 1], agreement[number : number + 1]), alone, atol=1e-4, rtol=0)
    assert [len(one) for one in align(pictures, pictures[:0], shifted[:0], usable, owners=owners[:0], iterations=3)] == [0, 0]


def test_inner_product_is_the_weighted_correlation() -> None:
    pictures = downscale(np.stack([smooth_picture(1), smooth_picture(2)]), 12)
    vectors = unit_vectors(pictures)
    weights = np.broadcast_to(frame_weights(12).numpy(), (3, 12, 12)).astype(np.float64)
    a, b = (picture.numpy().astype(np.float64) for picture in pictures)
    a, b = (x - ((x * weights).sum((1, 2)) / weights.sum((1, 2)))[:, None, None] for x in (a, b))
    expected = (weights * a * b).sum() / np.sqrt((weights * a * a).sum() * (weights * b * b).sum())
    np.testing.assert_allclose((vectors[0] @ vectors[1]).item(), expected, atol=1e-5)


def test_burnt_out_pixels_and_filled_corners_are_not_believed_unless_nothing_else_is_left() -> None:
    images = np.stack([smooth_picture(6)] * 5)
    images[0, :32] = 255
    images[1] = 255
    for image, corners in ((images[2], 4), (images[3], 1)):
        for corner in [(slice(None, 9), slice(None, 9)), (slice(-9, None), slice(-9, None)), (slice(None, 9), -1), (-1, slice(None, 9))][:corners]:
            image[corner] = (120, 60, 30)
    usable = usable_pixels(images, 16)[0]
    assert usable[0, :, :8].abs().max() == 0
    assert usable[0, :, 8:].min() == 1, "what merely borders on burnt out is believed"
    assert usable[1].min() == 1
    assert usable[2, :, :2, :2].max() == 0 and usable[2, :, -2:, -2:].max() == 0
    assert usable[2, :, 4:12, 4:12].min() == 1
    assert usable[3:].min() == 1, "one corner's colour says nothing: water is even too"


def test_a_turn_is_seen_through_whatever_colour_fills_the_corners() -> None:
    original = smooth_picture(7)
    pose = SAME
    for colour in ((0, 0, 0), (120, 120, 120), (30, 90, 200), (255, 255, 255)):
        turned = np.asarray(Image.fromarray(original).rotate(8, Image.Resampling.BICUBIC, fillcolor=colour))
        agreement = align(downscale(turned[None], 32), downscale(original[None], 32), pose, usable_pixels(turned[None], 32)[0], iterations=10)[1]
        assert agreement.item() > 0.95, colour


def test_what_is_burnt_out_or_black_does_not_count_against_a_copy() -> None:
    original = smooth_picture(4)
    damaged = original.copy()
    damaged[:14, :20], damaged[50:, 40:] = 255, 0
    pose = SAME
    real, query = downscale(original[None], 32), downscale(damaged[None], 32)
    believed = align(query, real, pose, torch.ones(1, 3, 32, 32), iterations=0)[1].item()
    disbelieved = align(query, real, pose, usable_pixels(damaged[None], 32)[0], iterations=0)[1].item()
    assert believed < 0.9
    assert disbelieved > 0.99


def test_what_lies_beyond_the_edge_of_a_photograph_does_not_count_against_a_copy() -> None:
    original = smooth_picture(8)
    larger = np.random.default_rng(0).integers(5, 250, (96, 96, 3), dtype=np.uint8)
    larger[16:80, 16:80] = original
    pose = 1.5 * SAME
    agreement = align(downscale(larger[None], 32), downscale(original[None], 32), pose, torch.ones(1, 3, 32, 32), iterations=3)[1]
    assert agreement.item() > 0.95


def test_a_part_of_an_image_is_cut_out_and_stretched_to_a_square() -> None:
    images = np.stack([smooth_picture(seed) for seed in (1, 2, 3)])
    parts = np.array([[0, 8, 64, 56], [0, 0, 64, 64], [0, 8, 64, 56]])
    found = downscale(images, 16, parts)
    for number, (left, top, right, bottom) in enumerate(parts):
        alone = downscale(np.ascontiguousarray(images[number : number + 1, top:bottom, left:right]), 16)[0]
        torch.testing.assert_close(found[number], alone)
    white = np.full((1, 64, 64, 3), 128, np.uint8)
    white[0, 8:56] = smooth_picture(4)[8:56]
    white[0, 8:20, :12] = white[0, 8:20, -12:] = white[0, -20:-8, :12] = white[0, -20:-8, -12:] = (90, 40, 40)
    assert usable_pixels(white, 16, parts=parts[:1])[0][0, :, 0, 0].max() == 0, "the corners are those of the photograph, not of its square"
    assert usable_pixels(white, 16)[0][0, :, 3, 0].min() > 0

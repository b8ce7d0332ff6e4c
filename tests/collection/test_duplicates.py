from __future__ import annotations

from itertools import combinations

import imagehash
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from syntype.collection import duplicates
from syntype.collection.duplicates import THUMBNAIL, first_of_same, near_duplicates, perceptual_hash, similar_hashes, thumbnail


def found(hashes: np.ndarray, max_bits: int = 7) -> list[tuple[int, int, int]]:
    return sorted(map(tuple, np.concatenate(list(similar_hashes(hashes, max_bits))).tolist()))


@pytest.mark.parametrize("max_bits", [0, 3, 7])
def test_the_search_finds_each_pair_once_as_brute_force_does(max_bits: int) -> None:
    rng = np.random.default_rng(1)
    centres = rng.integers(0, 2**63, 30, dtype=np.uint64)
    hashes = np.unique(np.concatenate([centres ^ (np.uint64(1) << rng.integers(0, 64, 30, dtype=np.uint64)) for _ in range(8)]))
    for _ in range(3):
        hashes = np.unique(np.concatenate([hashes, hashes[::3] ^ (np.uint64(1) << rng.integers(0, 64, len(hashes[::3]), dtype=np.uint64))]))
    rng.shuffle(hashes)
    expected = [(a, b, bits) for a, b in combinations(range(len(hashes)), 2) if (bits := (int(hashes[a]) ^ int(hashes[b])).bit_count()) <= max_bits]
    assert found(hashes, max_bits) == expected


@pytest.mark.parametrize("portion", [1, 7, 100])
def test_the_search_in_portions_finds_the_same_pairs(portion: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    turned = [np.bitwise_or.reduce(np.uint64(1) << rng.integers(0, 64, 4, dtype=np.uint64)) for _ in range(60)]
    hashes = np.uint64(0x0123456789ABCDEF) ^ np.array([*turned, *turned[:5]], dtype=np.uint64)
    whole = found(hashes)
    assert len(whole) > 500 and len(set(whole)) == len(whole)
    monkeypatch.setattr(duplicates, "_CANDIDATES", portion)
    assert found(hashes) == whole


def test_equal_hashes_are_tied_to_their_first() -> None:
    assert found(np.zeros(1000, dtype=np.uint64)) == [(0, other, 0) for other in range(1, 1000)]
    assert found(np.empty(0, dtype=np.uint64)) == []


def test_many_hashes_are_searched_in_seconds() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**63, 20_000, dtype=np.uint64)
    hashes[15_000] = hashes[7] ^ np.uint64(0b1011)
    assert (7, 15_000, 3) in found(hashes)


def test_the_hash_is_that_of_imagehash() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    assert perceptual_hash(pixels) == str(imagehash.phash(Image.fromarray(pixels)))


def test_the_same_bytes_point_to_the_first() -> None:
    np.testing.assert_array_equal(first_of_same(pd.DataFrame({"sha256": ["x", "y", "x", "z", "y", "x"]})), [0, 1, 0, 3, 1, 0])


def _scene(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    return coarse.resize((120, 100), Image.Resampling.BICUBIC)


def test_rescaled_brightened_and_recompressed_copies_are_near_duplicates_and_other_pictures_are_not() -> None:
    images = [_scene(seed) for seed in range(60)]
    copies = [
        images[0].resize((90, 75)),
        images[1].point(lambda value: min(255, int(value * 1.1))),
        images[2].filter(ImageFilter.GaussianBlur(0.7)),
        images[3].crop((1, 1, 119, 99)),
    ]
    pixels = [np.asarray(image) for image in images + copies]
    table = pd.DataFrame({"sha256": [str(row) for row in range(len(pixels))], "phash": [perceptual_hash(item) for item in pixels]})
    asked: list[int] = []

    def thumbnails(rows: np.ndarray) -> np.ndarray:
        asked.extend(rows.tolist())
        return np.stack([thumbnail(pixels[row]) for row in rows])

    pairs = near_duplicates(table, thumbnails)
    assert set(zip(pairs["first"], pairs["second"], strict=True)) == {(0, 60), (1, 61), (2, 62), (3, 63)}
    assert len(asked) < 20  # only candidates are looked at
    assert thumbnail(pixels[0]).shape == (THUMBNAIL, THUMBNAIL, 3)


def test_pairs_compared_in_portions_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = [np.asarray(_scene(seed).resize((60 + shrink, 50 + shrink))) for seed in range(8) for shrink in (0, 10, 20)]
    table = pd.DataFrame({"sha256": [str(row) for row in range(24)], "phash": [perceptual_hash(item) for item in pixels]})
    whole = near_duplicates(table, lambda rows: np.stack([thumbnail(pixels[row]) for row in rows]))
    monkeypatch.setattr("syntype.collection.duplicates._PORTION", 5)
    portions = near_duplicates(table, lambda rows: np.stack([thumbnail(pixels[row]) for row in rows]))
    assert len(whole) >= 10
    pd.testing.assert_frame_equal(whole, portions, rtol=1e-6)


def test_an_encoder_can_turn_pairs_down() -> None:
    images = [_scene(seed) for seed in range(20)]
    pixels = [np.asarray(image) for image in [*images, *(image.resize((96, 80)) for image in images)]]
    table = pd.DataFrame({"sha256": [str(row) for row in range(40)], "phash": [perceptual_hash(item) for item in pixels]})

    def thumbnails(rows: np.ndarray) -> np.ndarray:
        return np.stack([thumbnail(pixels[row]) for row in rows])

    def flat(images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1) - 128.0

    def noise(images: np.ndarray) -> np.ndarray:
        return np.random.default_rng(0).normal(size=(len(images), 64))

    without = near_duplicates(table, thumbnails)
    assert len(without) >= 18
    assert len(near_duplicates(table, thumbnails, flat)) == len(without)
    assert len(near_duplicates(table, thumbnails, noise)) < len(without) / 4

"""Pixels of photographs that lie elsewhere in other images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import zoom

from syntype.curation.parts import nearest_pieces
from syntype.curation.pieces import piece_similarity


def noise(seed: int, side: int = 64) -> np.ndarray:
    """A picture with structure at several scales: uint8 (side, side, 3)."""
    rng = np.random.default_rng(seed)
    layers = sum(zoom(rng.normal(size=(n, n, 3)), (side / n, side / n, 1), order=1) for n in (8, 16, 32))
    return np.clip(128 + 40 * layers, 0, 255).astype(np.uint8)


def pasted(picture: np.ndarray, ground: np.ndarray, *, mirrored: bool, shift: tuple[int, int]) -> np.ndarray:
    """The middle of a picture before another ground, moved by ``shift`` pixels."""
    piece = picture[18:46, 18:46]
    image = ground.copy()
    top, left = 18 + shift[0], 18 + shift[1]
    image[top : top + 28, left : left + 28] = piece[:, ::-1] if mirrored else piece
    return image


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_piece_is_found_where_it_was_pasted_and_nowhere_else(mirrored: bool) -> None:
    photographs = np.stack([noise(seed) for seed in range(6)])
    images = np.stack([pasted(photographs[row], noise(100 + row), mirrored=mirrored, shift=(5 * row - 12, 10 - 4 * row)) for row in range(6)])
    similar = piece_similarity(images, photographs)
    assert (similar.argmax(1) == np.arange(6)).all()
    assert np.diag(similar).min() > 0.75 > 0.6 > similar[~np.eye(6, dtype=bool)].max()


def test_the_nearest_pieces_tell_held_back_photographs_from_others() -> None:
    photographs = np.stack([noise(seed) for seed in range(16)])
    species, groups, held = np.arange(16) % 2, np.arange(16), np.arange(16) < 6
    for used, leaked in ((range(6), True), (range(8, 14), False)):
        images = np.stack([pasted(photographs[row], noise(200 + row), mirrored=False, shift=(3, -5)) for row in used])
        found = nearest_pieces(images, species[list(used)], photographs, species, groups, held)
        assert found.nearest.tolist() == list(used)
        assert (found.hits == 6 and found.p_value < 0.05) if leaked else (found.hits == 0 and found.p_value == 1)

from __future__ import annotations

import faiss
import numpy as np
import pytest
import torch
from test_copies import DISGUISES, picture

from syntype.collection.reef import ReefConfig, draw_images
from syntype.curation import copies
from syntype.curation.alignment import downscale, unit_vectors, warp, windows
from syntype.curation.approximate import ApproximateSearch
from syntype.curation.coarse import Candidates, ExactSearch
from syntype.curation.copies import CopyDetector, coarse_search

KEEP = 12


@pytest.fixture(scope="module")
def bank() -> np.ndarray:
    return np.stack([picture(number) for number in range(400)])


@pytest.fixture(scope="module")
def approximate(bank: np.ndarray) -> ApproximateSearch:
    return ApproximateSearch(bank)


def copies_of(images: np.ndarray) -> np.ndarray:
    """Each image in another disguise."""
    disguises = list(DISGUISES.values())
    return np.stack([disguises[number % len(disguises)](image) for number, image in enumerate(images)])


def has(found: Candidates, rows: np.ndarray) -> np.ndarray:
    return (found.rows.numpy() == rows[:, None]).any(1)


def test_exact_scores_are_the_best_correlation_of_any_window(bank: np.ndarray) -> None:
    queries = copies_of(bank[:6])
    found = ExactSearch(bank[:40]).nearest(queries, 80)
    poses = windows(torch.ones(1, 2))[0]
    small, large = downscale(queries, 12), downscale(bank[:40], 24)
    for number in range(6):
        both = unit_vectors(torch.stack([small[number], small[number].flip(2)]))
        for row in range(40):
            similar = unit_vectors(warp(large[row].expand(len(poses), -1, -1, -1), poses, 12))
            for mirrored in (False, True):
                place = int(((found.rows[number] == row) & (found.mirrored[number] == mirrored)).nonzero())
                torch.testing.assert_close(found.scores[number, place], (both[int(mirrored)] @ similar.T).max(), atol=2e-3, rtol=0)
    assert (found.scores.diff(dim=1) <= 0).all()


def test_the_approximate_search_finds_the_copies_that_the_exact_one_finds(bank: np.ndarray, approximate: ApproximateSearch) -> None:
    rows = np.arange(0, len(bank), 2)
    queries = copies_of(bank[rows])
    exact, found = ExactSearch(bank).nearest(queries, KEEP), approximate.nearest(queries, KEEP)
    assert has(found, rows)[has(exact, rows)].mean() >= 0.99
    assert (found.scores.diff(dim=1) <= 0).all()  # the scores themselves are those of shortened vectors, and lower
    same = (found.rows[:, 0] == exact.rows[:, 0]).numpy()
    same_side = (found.mirrored[:, 0] == exact.mirrored[:, 0]).numpy()
    assert (same & same_side).mean() > 0.9
    for one in 2 * found.rows + found.mirrored:
        assert len(one.unique()) == KEEP  # a photograph and its mirror image, a place each


def test_only_allowed_photographs_are_found_by_either_search(bank: np.ndarray, approximate: ApproximateSearch) -> None:
    allowed = np.zeros((3, len(bank)), dtype=bool)
    allowed[0, 200:], allowed[1, ::2], allowed[2, 7] = True, True, True
    exact, found = (search.nearest(bank[:3], KEEP, allowed) for search in (ExactSearch(bank), approximate))
    for number in range(3):
        for each in (exact, found):
            real = each.rows[number][each.scores[number] > -2]
            assert allowed[number, real].all()
    assert exact.rows[2, 0] == found.rows[2, 0] == 7
    assert (found.scores[2, 2:] <= -2).all() and (exact.scores[2, 2:] <= -2).all()


def test_the_approximate_answer_is_the_same_again_and_with_more_threads_but_for_rounding(bank: np.ndarray, approximate: ApproximateSearch) -> None:
    queries = copies_of(bank[::20])
    first = approximate.nearest(queries, KEEP)
    threads = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(2)
        again = ApproximateSearch(bank).nearest(queries, KEEP)
    finally:
        faiss.omp_set_num_threads(threads)
    assert torch.equal(again.rows[:, 0], first.rows[:, 0])
    torch.testing.assert_close(again.scores[:, 0], first.scores[:, 0], atol=1e-2, rtol=0)
    # far candidates may differ: with more threads the sums that place the cells round otherwise
    assert (again.rows[:, :3] == first.rows[:, :3]).float().mean() > 0.5


def test_the_detector_takes_the_approximate_search_for_large_banks_and_decides_alike(bank: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [str(number) for number in range(len(bank))]
    labels = np.arange(len(bank)) % 2
    queries = np.concatenate([copies_of(bank[:12]), np.stack([picture(number) for number in range(5000, 5012)])])
    assert isinstance(coarse_search(bank), ExactSearch)
    exact = CopyDetector(bank, names, names, labels, num_calibration=30)
    monkeypatch.setattr(copies, "EXACT_LIMIT", len(bank) - 1)
    approximate = CopyDetector(bank, names, names, labels, num_calibration=30)
    assert isinstance(approximate.coarse, ApproximateSearch)
    assert approximate.threshold == pytest.approx(exact.threshold, abs=0.02)
    one, other = exact.nearest(queries), approximate.nearest(queries)
    assert other.is_copy.tolist() == one.is_copy.tolist() == [True] * 12 + [False] * 12
    assert other.ids[:12].tolist() == one.ids[:12].tolist()


@pytest.mark.slow
def test_recall_on_a_drawn_reef() -> None:
    reef = ReefConfig(num_species=200, size=64)
    images = draw_images(reef, np.arange(3000) % 200, np.arange(3000))
    rows, queries = np.arange(3000), copies_of(images)
    exact, found = (has(search(images).nearest(queries, KEEP), rows) for search in (ExactSearch, ApproximateSearch))
    assert exact.mean() > 0.98
    assert found[exact].mean() >= 0.99

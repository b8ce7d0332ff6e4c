from __future__ import annotations

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import polynomial_kernel

from syntype.collection import Collection
from syntype.errors import CollectionError
from syntype.run import Run
from syntype.study import distances
from syntype.study.distances import density_coverage, kid, precision_recall, vendi_ratio, vendi_score
from syntype.study.fidelity import EvaluateConfig, evaluate


def features(seed: int, number: int, dim: int = 12, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng([seed, 5]).normal(size=(number, dim)) + shift).astype(np.float32)


def test_kid_equals_the_definition_summed_pair_by_pair() -> None:
    x, y = features(0, 17), features(1, 13, shift=0.4)
    xx, yy, xy = (polynomial_kernel(a, b, degree=3, gamma=1 / 12, coef0=1).astype(np.float64) for a, b in ((x, x), (y, y), (x, y)))
    total = sum(xx[i, j] for i in range(17) for j in range(17) if i != j) / (17 * 16)
    total += sum(yy[i, j] for i in range(13) for j in range(13) if i != j) / (13 * 12)
    total -= 2 * sum(xy[i, j] for i in range(17) for j in range(13)) / (17 * 13)
    assert kid(x, y) == pytest.approx(total, rel=1e-5)


def test_kid_is_unbiased_and_grows_with_the_difference() -> None:
    same = [kid(features(seed, 30), features(seed + 1000, 30)) for seed in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(200)
    assert min(same) < 0 < kid(features(0, 30), features(1, 30, shift=0.5)) < kid(features(0, 30), features(1, 30, shift=1.0))


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_precision_recall_density_coverage_agree_with_prdc(k: int, shift: float, capsys: pytest.CaptureFixture[str]) -> None:
    real, fake = features(2, 80), features(3, 60, shift=shift)
    expected = compute_prdc(real_features=real.astype(np.float64), fake_features=fake.astype(np.float64), nearest_k=k)
    capsys.readouterr()  # prdc prints
    precision, recall = precision_recall(real, fake, k)
    density, coverage = density_coverage(real, fake, k)
    found = {"precision": precision, "recall": recall, "density": density, "coverage": coverage}
    assert found == pytest.approx({name: float(value) for name, value in expected.items()}, abs=1e-9)


def test_vendi_score_of_equal_orthogonal_and_paired_images() -> None:
    assert vendi_score(np.ones((7, 5))) == pytest.approx(1)
    assert vendi_score(np.eye(6) * 3) == pytest.approx(6)
    assert vendi_score(np.repeat(np.eye(4), 5, axis=0)) == pytest.approx(4)  # more images than features
    angle = np.deg2rad(60)  # eigenvalues (1 +- cos) / 2
    p, q = (1 + np.cos(angle)) / 2, (1 - np.cos(angle)) / 2
    assert vendi_score(np.array([[1, 0], [np.cos(angle), np.sin(angle)]])) == pytest.approx(np.exp(-p * np.log(p) - q * np.log(q)))


def test_vendi_ratio_is_taken_within_species_and_averaged_over_them() -> None:
    species = np.array(["a", "a", "a", "a", "b", "b", "c"])
    real = np.vstack([np.eye(4), np.eye(4)[:2], np.eye(4)[:1]])
    fake = np.vstack([np.eye(4)[[0, 0, 1, 1]], np.eye(4)[:2], np.eye(4)[:1]])  # species a has two of its four images; c has one image only
    assert vendi_ratio(real, species, fake, species) == pytest.approx(np.sqrt(2 / 4 * 1))
    assert vendi_ratio(real[6:], species[6:], fake[6:], species[6:]) is None


def test_a_collection_measured_against_itself_is_perfect_and_all_copies(reef: Collection) -> None:
    result = evaluate(reef.training(), reef, EvaluateConfig(split="train"), Run.silent())
    assert result.num_synthetic == result.num_real == len(reef.training())
    assert (result.precision, result.recall, result.coverage, result.copy_rate) == (1, 1, 1, 1)
    assert result.vendi_ratio == pytest.approx(1)
    assert set(result.summary()) >= {
        "encoder",
        "kid",
        "precision",
        "recall",
        "density",
        "coverage",
        "copy_rate",
        "vendi_ratio",
        "num_synthetic",
        "num_real",
    }
    assert result.encoder.startswith("lite0")


def test_other_photographs_are_near_but_no_copies(reef: Collection) -> None:
    result = evaluate(reef.select(split="test"), reef, EvaluateConfig(split="train"), Run.silent())
    assert result.copy_rate < 0.2
    assert result.memorising is None and len(result.in_words()) == 1
    assert result.num_real == result.num_synthetic <= len(reef.select(split="test"))


def test_only_common_species_are_compared_and_the_mix_is_the_same(reef: Collection) -> None:
    first, second = reef.species[:2]
    synthetic = reef.select(split="train", species=[first, second])
    real = Collection(reef.root, reef.table[reef.table["species"] != first].reset_index(drop=True), reef.species, reef.info)
    result = evaluate(synthetic, real, EvaluateConfig(), Run.silent())
    assert (result.species, result.left_out) == ((second,), (first,))
    assert result.num_synthetic == result.num_real == 5  # the split's five photographs


def test_the_refused_are_left_out_and_too_few_is_an_error(reef: Collection) -> None:
    table = reef.select(split="train").table.assign(verdict="refused")
    refused = Collection(reef.root, table, reef.species, reef.info)
    with pytest.raises(CollectionError, match="at least 2"):
        evaluate(refused, reef, EvaluateConfig(), Run.silent())


def whole_matrices(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    """All measures from whole matrices, as their papers define them."""
    x, y = real.astype(np.float64), fake.astype(np.float64)
    xx, yy, xy = (((a @ b.T) / a.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    radii = [np.sort(cdist(side, side), axis=1)[:, k] for side in (x, y)]
    distances = cdist(x, y)
    inside = distances < radii[0][:, None]
    return {
        "kid": (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1)) - 2 * xy.mean(),
        "precision": inside.any(0).mean(),
        "recall": (distances < radii[1][None]).any(1).mean(),
        "density": inside.sum(0).mean() / k,
        "coverage": (distances.min(1) < radii[0]).mean(),
    }


@pytest.mark.parametrize(("num_real", "num_fake"), [(80, 60), (64, 64), (33, 90), (16, 17)])
@pytest.mark.parametrize("block", [7, 16, 64, 1000])
def test_blocks_give_what_whole_matrices_give(num_real: int, num_fake: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "BLOCK", block)
    real, fake = features(4, num_real), features(5, num_fake, shift=0.3)
    seen: list[int] = []
    found = distances.compare(real, fake, 5, seen.append)
    assert found._asdict() == pytest.approx(whole_matrices(real, fake, 5), rel=1e-9)
    assert sum(seen) == distances.num_pairs(num_real, num_fake)


def test_no_step_holds_more_than_a_block_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[int, ...]] = []
    one_step = distances._compare_rows

    def recorded(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        steps.append((len(x), len(y)))
        return one_step(x, y)

    monkeypatch.setattr(distances, "BLOCK", 64)
    monkeypatch.setattr(distances, "_compare_rows", recorded)
    distances.compare(features(6, 500), features(7, 300), 5)
    assert max(max(step) for step in steps) == 64 and len(steps) == 36 + 15 + 40


def test_repeated_training_photographs_are_told_in_words(reef: Collection) -> None:
    result = evaluate(reef.training(), reef, EvaluateConfig(split="test"), Run.silent())
    assert result.memorising is not None and result.memorising.alarm and result.memorising.ratio < 0.01
    low, high = result.summary()["kid_interval"]
    assert low < result.kid < high
    assert result.summary()["memorising"]["alarm"]
    assert any("repeats its training" in sentence for sentence in result.in_words())

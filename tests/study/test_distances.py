from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist
from torch import nn

from syntype.apps.cli import main
from syntype.collection import Collection
from syntype.encoders import Backbone, Encoder
from syntype.errors import UserError
from syntype.run import Run
from syntype.study import distances
from syntype.study.distances import cmmd, frechet_distance
from syntype.study.fidelity import EvaluateConfig, distances_in, evaluate


def features(seed: int, number: int, dim: int = 12, shift: float = 0.0) -> np.ndarray:
    source = np.random.default_rng([seed, 6])
    return (source.normal(size=(number, dim)) @ source.normal(size=(dim, dim)) + shift).astype(np.float32)


@pytest.mark.parametrize(("num_real", "num_fake"), [(80, 60), (200, 13), (13, 40)])
def test_the_frechet_distance_equals_the_formula_with_a_matrix_root_of_scipy(num_real: int, num_fake: int) -> None:
    x, y = features(0, num_real), features(1, num_fake, shift=0.4)
    means, covariances = ([function(side.astype(np.float64)) for side in (x, y)] for function in (lambda s: s.mean(0), lambda s: np.cov(s.T)))
    expected = np.square(means[0] - means[1]).sum() + np.trace(covariances[0] + covariances[1] - 2 * sqrtm(covariances[0] @ covariances[1]).real)
    torch.testing.assert_close(frechet_distance(x, y), float(expected), rtol=1e-8, atol=1e-8)


def test_the_frechet_distance_of_what_is_equal_or_only_moved() -> None:
    x = features(2, 50)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(x, x + np.float32(0.5)) == pytest.approx(12 * 0.25, rel=1e-4)


@pytest.mark.parametrize("block", [7, 1000])
def test_cmmd_equals_its_definition(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "BLOCK", block)
    x, y = features(3, 17), features(4, 13, shift=0.4)
    unit = [side.astype(np.float64) / np.linalg.norm(side.astype(np.float64), axis=1, keepdims=True) for side in (x, y)]
    xx, yy, xy = (np.exp(-cdist(a, b, "sqeuclidean") / (2 * 10**2)) for a, b in ((unit[0], unit[0]), (unit[1], unit[1]), (unit[0], unit[1])))
    expected = (xx.sum() - 17) / (17 * 16) + (yy.sum() - 13) / (13 * 12) - 2 * xy.mean()
    torch.testing.assert_close(cmmd(x, y), float(1000 * expected), rtol=1e-8, atol=1e-8)


def small_encoder(name: str, dim: int) -> Encoder:
    """Mean colours, and random mixtures of them."""
    network = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, dim))
    torch.manual_seed(0)
    nn.init.normal_(network[2].weight)
    return Encoder(Backbone(name, network, dim, (0.5,) * 3, (0.5,) * 3, "random"))


def test_an_encoder_of_clip_has_cmmd_and_no_frechet_distance_of_too_few_images(reef: Collection) -> None:
    real, fake = reef.select(split="test"), reef.select(split="val")
    config, run = EvaluateConfig(size=32), Run.silent()
    found = distances_in(small_encoder("open_clip:tiny", 5), real, fake, config, run)
    assert found.cmmd is not None and found.frechet_distance is not None and found.frechet_distance > 0
    assert "In open_clip:tiny features KID is" in found.in_words(20) and "compare it only between equal numbers" in found.in_words(20)
    many = distances_in(small_encoder("timm:tiny", 500), real, fake, config, run)
    assert many.cmmd is None and many.frechet_distance is None
    assert "20 images on each side are too few for 500 features" in many.in_words(20)
    assert many.kid_chance.low < many.kid < many.kid_chance.high


def test_a_further_encoder_adds_its_figures_and_changes_no_others(reef: Collection, tmp_path: Path) -> None:
    network = timm.create_model("test_efficientnet", num_classes=0)
    save_file(network.state_dict(), tmp_path / "own.safetensors")
    name = f"timm:test_efficientnet:{tmp_path / 'own.safetensors'}"
    plain, more = (evaluate(reef.training(), reef, EvaluateConfig(split="train", size=32, encoder=given), Run.silent()) for given in (None, name))
    assert plain.other_encoder is None and plain.summary()["other_encoder"] is None
    found = more.summary()["other_encoder"]
    assert found["encoder"].startswith(name) and found["num_features"] == network.num_features and found["cmmd"] is None
    unchanged = {"kid", "precision", "recall", "density", "coverage", "vendi_ratio", "copy_rate", "kid_p"}
    assert {key: plain.summary()[key] for key in unchanged} == {key: more.summary()[key] for key in unchanged}
    assert more.in_words()[:-1] == plain.in_words() and more.in_words()[-1].startswith(f"In {name} features")


def test_an_unknown_encoder_is_told_before_anything_is_compared(reef: Collection, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="lite9"):
        evaluate(reef.training(), reef, EvaluateConfig(encoder="lite9"), Run.silent())
    assert main(["evaluate", str(reef.root), "--real", str(reef.root), "--encoder", "lite9"]) == 2
    assert "lite9" in capsys.readouterr().err

"""Classifiers and feature caches whose files are damaged, newer or foreign."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from damaging import damage_all, damages, with_value
from made import make_collection
from safetensors.torch import load_file, save_file

from syntype.compute.runtime import Runtime
from syntype.encoders import Backbone
from syntype.encoders.classifiers import SmallResNet
from syntype.errors import InputError, UserError
from syntype.identification import ClassifierConfig, FeatureCache, load_classifier, train_classifier
from syntype.identification.augment import AugmentConfig
from syntype.run import Run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    photographs = make_collection(folder / "fish", {"Aus primus": 8, "Bus secundus": 8})
    config = ClassifierConfig(backbone="scratch", size=32, steps=1, batch_size=4, device="cpu")
    train_classifier(photographs, config, folder / "whole", Run.silent())
    (folder / "classifier").mkdir()
    for name in ("classifier.json", "weights.safetensors"):
        shutil.copyfile(folder / "whole" / name, folder / "classifier" / name)
    return folder / "classifier"


def identify(folder: Path) -> None:
    classifier = load_classifier(folder, "cpu")
    probabilities, _ = classifier.identify(np.zeros((1, classifier.size, classifier.size, 3), np.uint8))
    assert probabilities.shape == (1, len(classifier.species))


def test_each_file_of_a_classifier(trained: Path, tmp_path: Path) -> None:
    noticed = ("missing", "empty", "half", "random bytes", "zeros", "a page of a website", "newer")
    assert damage_all(trained, tmp_path, identify, refused=lambda _, how: how in noticed) > 40


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("species", ["Aus primus"]), ("species", ["Aus primus", 3]), ("config", {"backbone": "unheard-of"}), ("config", {"wings": 2}),
        ("calibration", {"temperature": "warm"}), ("calibration", {"temperature": 0}), ("calibration", {"energy_quantiles": ["x"]}), ("backbone", {}),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(trained: Path, tmp_path: Path, key: str, value: object) -> None:
    folder = with_value(trained, tmp_path, "classifier.json", key, value)
    with pytest.raises(UserError) as caught:
        identify(folder)
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "classifier"
    shutil.copytree(trained, folder)
    weights = load_file(folder / "weights.safetensors")
    for name in ("head.weight", "backbone.stem.0.weight"):
        for changed in ({**weights, name: weights[name][:1].contiguous()}, {key: value for key, value in weights.items() if key != name}):
            save_file(changed, folder / "weights.safetensors")
            with pytest.raises(InputError, match="damaged, or its files do not belong together"):
                identify(folder)


def test_a_damaged_cache_of_features_is_computed_again(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    network = SmallResNet(0).eval()
    backbone = Backbone("scratch", network, network.num_features, (0.5,) * 3, (0.5,) * 3, "none")

    def features() -> np.ndarray:
        runtime = Runtime("cpu", "fp32")
        return FeatureCache(tmp_path).features(backbone, images, 0, size=0, config=AugmentConfig(), runtime=runtime)

    expected = features()
    file = next(tmp_path.rglob("*.npz"))
    content = file.read_bytes()
    for how, damaged in damages(content, is_json=False):
        file.unlink(missing_ok=True)
        if damaged is not None:
            file.write_bytes(damaged)
        np.testing.assert_array_equal(features(), expected, err_msg=how)
    np.savez(file, keys=np.array([1.5, 2.5]), features=np.zeros((2, 3), np.float16))  # of another program
    np.testing.assert_array_equal(features(), expected)

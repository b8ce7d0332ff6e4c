from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from syntype.compute.runtime import Runtime
from syntype.encoders import Head, build_classifier_backbone
from syntype.errors import SyntypeError, UnsupportedError
from syntype.identification import Classifier, ClassifierConfig, FittedClassifier
from syntype.identification import export as module
from syntype.identification.calibration import Calibration

SPECIES = ("Alpha rubra", "Beta viridis", "Γamma caerulea")


def classifier(backbone: str = "scratch", *, cosine: bool = False, **settings: int) -> Classifier:
    """One with a head drawn at random."""
    config = ClassifierConfig.parse({"backbone": backbone, "size": 32, "device": "cpu", **settings})
    built = build_classifier_backbone(backbone)
    built.network.eval()
    source = torch.Generator().manual_seed(1)
    weight = torch.randn(3, built.num_features, generator=source)
    extra = {"mean": torch.zeros(built.num_features), "std": torch.ones(built.num_features)} if cosine else {"bias": torch.randn(3)}
    fitted = FittedClassifier(config, built, Head(weight, **extra), Runtime("cpu", "fp32"), Calibration(2.5))
    return Classifier(fitted, SPECIES)


@pytest.mark.parametrize(("backbone", "cosine"), [("scratch", True), pytest.param("lite2", False, marks=pytest.mark.slow)])
def test_the_file_gives_what_the_classifier_gives(backbone: str, cosine: bool, tmp_path: Path) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    known = classifier(backbone, cosine=cosine)
    result = module.export_onnx(known, tmp_path / "deep" / "fish.onnx")
    assert result.num_checked >= 16 and result.largest_difference < 1e-4
    images = np.random.default_rng(5).integers(0, 256, size=(5, 32, 32, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(str(result.path), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"images": images})[0], known.predict(images), atol=1e-4)
    facts = {entry.key: json.loads(entry.value) for entry in onnx.load(str(result.path)).metadata_props}
    assert tuple(facts["species"]) == SPECIES and facts["size"] == 32


def test_the_file_of_a_classifier_of_large_images_gives_the_same(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    assert module.export_onnx(classifier(size=96), tmp_path / "fish.onnx").largest_difference < 1e-4


def test_a_file_that_would_differ_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(module, "_TOLERANCE", -1.0)
    with pytest.raises(SyntypeError, match="differ"):
        module.export_onnx(classifier(), tmp_path / "fish.onnx")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(UnsupportedError, match="down to 64"):
        module.export_onnx(classifier("lite2", size=128, encoder_size=64), tmp_path / "fish.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'syntype\[onnx\]'"):
        module.export_onnx(classifier(), tmp_path / "fish.onnx")

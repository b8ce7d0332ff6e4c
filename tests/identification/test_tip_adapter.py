from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from syntype.encoders import BUNDLED, Backbone, CacheHead, Head, load_encoder
from syntype.encoders.classifiers import head_from
from syntype.errors import RecipeError, UnsupportedError
from syntype.identification import Classifier, ClassifierConfig, FeatureCache, FittedClassifier, LabelledImages, fit
from syntype.identification.export import export_onnx

COUNTS = np.array([24, 12, 4])


def toy(counts: np.ndarray = COUNTS, seed: int = 0) -> LabelledImages:
    """Faint noise with one bright channel: the species."""
    labels = np.repeat(np.arange(3), counts)
    images = np.random.default_rng(seed).integers(0, 60, size=(len(labels), 32, 32, 3), dtype=np.uint8)
    images[np.arange(len(labels)), :, :, labels] += 150
    return LabelledImages(images, labels)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_with_equally_many_photographs_the_logits_are_those_of_the_paper() -> None:
    """Written out as in the paper: one-hot labels, the sum over all training images."""
    features, names, images = random(5, 8), random(3, 8, seed=1), F.normalize(random(12, 8, seed=2))
    labels = torch.arange(3).repeat_interleave(4)
    head = CacheHead(names, images, labels, torch.tensor(2.0), torch.tensor(5.5))
    expected = torch.empty(5, 3, dtype=torch.float64)
    for row, feature in enumerate(features.double()):
        unit = feature / feature.norm()
        for species in range(3):
            near = sum(torch.exp(-5.5 * (1 - unit @ image.double())) for image, label in zip(images, labels, strict=True) if label == species)
            expected[row, species] = unit @ names[species].double() + 2.0 * near
    torch.testing.assert_close(head(features).double(), expected, rtol=1e-5, atol=1e-5)


def test_a_species_counts_by_the_mean_of_its_photographs_and_one_without_any_by_its_name() -> None:
    key = F.normalize(random(1, 8))
    head = CacheHead(torch.zeros(3, 8), key.repeat(10, 1), torch.tensor([0] * 9 + [1]), torch.tensor(3.0), torch.tensor(1.0))
    torch.testing.assert_close(head(key), torch.tensor([[10.0, 10.0, 0.0]]))


def test_a_saved_head_is_the_same(tmp_path: Path) -> None:
    head = CacheHead(random(3, 8), F.normalize(random(12, 8)), torch.arange(12) % 3, torch.tensor(2.0), torch.tensor(5.5))
    save_file(head.state_dict(), tmp_path / "head.safetensors")
    again = head_from(load_file(tmp_path / "head.safetensors"))
    torch.testing.assert_close(again(random(4, 8)), head(random(4, 8)), rtol=0, atol=0)
    assert type(head_from(Head(random(3, 8), random(3)).state_dict())) is Head


def test_it_is_exported_as_it_is(tmp_path: Path) -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()).eval()
    backbone = Backbone("open_clip:tiny", network, 12, (0.5,) * 3, (0.5,) * 3, "random")
    head = CacheHead(random(3, 12), F.normalize(random(9, 12)), torch.arange(9) % 3, torch.tensor(2.0), torch.tensor(5.5))
    config = ClassifierConfig(backbone="open_clip:tiny", head="tip_adapter", size=32, encoder_size=32, device="cpu")
    classifier = Classifier(FittedClassifier(config, backbone, head, config.runtime()), ("Aus primus", "Aus secundus", "Bus tertius"))
    assert export_onnx(classifier, tmp_path / "own.onnx").largest_difference < 1e-4


def test_alpha_and_beta_are_chosen_on_the_validation_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Names that say nothing, and names that say all: the head takes what helps."""
    monkeypatch.setattr(import_module("syntype.identification.fit"), "build_classifier_backbone", lambda name, seed: load_encoder("lite2").backbone)
    config = ClassifierConfig(backbone="open_clip:tiny", head="tip_adapter", size=32, encoder_size=64, views=2, device="cpu")
    cache, dim = FeatureCache(tmp_path), load_encoder("lite2").dim
    silent = np.zeros((3, dim), np.float32)
    fitted = fit(toy(), COUNTS, 3, config, 0, val=toy(seed=5), cache=cache, names=silent)
    assert isinstance(fitted.head, CacheHead) and fitted.head.get_buffer("alpha") > 0
    assert (fitted.predict_logits(toy(seed=1).images).argmax(axis=1) == toy().labels).mean() > 0.9
    plain = fit(toy(), COUNTS, 3, config, 0, cache=cache, names=silent)
    assert isinstance(plain.head, CacheHead) and (plain.head.get_buffer("alpha"), plain.head.get_buffer("beta")) == (1.0, 5.5)
    keys, labels = plain.head.get_buffer("keys"), plain.head.get_buffer("labels")
    means = torch.stack([keys[labels == species].mean(0) for species in range(3)])
    telling = (100 * F.normalize(means - means.mean(0))).numpy()
    knowing = fit(toy(), COUNTS, 3, config, 0, val=toy(seed=5), cache=cache, names=telling)
    assert (knowing.predict_logits(toy(seed=1).images).argmax(axis=1) == toy().labels).mean() > 0.9
    with pytest.raises(UnsupportedError, match="needs the embedded names"):
        fit(toy(), COUNTS, 3, config, 0, cache=cache)


def test_what_does_not_go_with_names_is_told() -> None:
    for settings, words in (
        ({"backbone": BUNDLED[2]}, "backbone that knows texts"),
        ({"backbone": "open_clip:tiny", "tune": "all"}, "needs a frozen backbone"),
        ({"backbone": "open_clip:tiny", "refit": "balanced"}, "no second stage"),
    ):
        with pytest.raises(RecipeError, match=words):
            ClassifierConfig.parse({"head": "tip_adapter", **settings})

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from syntype.encoders import build_classifier_backbone
from syntype.errors import CollectionError, TrainingError, UnknownNameError
from syntype.identification import ClassifierConfig, FeatureCache, FittedClassifier, LabelledImages, fit

COUNTS = np.array([24, 12, 4])
HEAD = ClassifierConfig(size=32, encoder_size=64, steps=150, batch_size=16, views=2, lr=3e-3, device="cpu")
SCRATCH = ClassifierConfig(backbone="scratch", size=32, steps=16, batch_size=16, lr=3e-3, device="cpu")


def toy(counts: np.ndarray = COUNTS, seed: int = 0) -> LabelledImages:
    """Faint noise with one bright channel: the species."""
    labels = np.repeat(np.arange(3), counts)
    images = np.random.default_rng(seed).integers(0, 60, size=(len(labels), 32, 32, 3), dtype=np.uint8)
    images[np.arange(len(labels)), :, :, labels] += 150
    return LabelledImages(images, labels)


def accuracy(fitted: FittedClassifier, images: LabelledImages) -> float:
    return float((fitted.predict_logits(images.images).argmax(axis=1) == images.labels).mean())


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    return FeatureCache(tmp_path_factory.mktemp("features"))


@pytest.mark.parametrize("mix", ["none", "mixup", "cutmix"])
def test_a_head_separates_what_is_easy(mix: str, cache: FeatureCache) -> None:
    fitted = fit(toy(), COUNTS, 3, ClassifierConfig.parse({**HEAD.model_dump(), "mix": mix}), 0, cache=cache)
    assert accuracy(fitted, toy(seed=1)) > 0.9


@pytest.mark.parametrize("mix", ["none", "cutmix"])
def test_a_network_from_scratch_separates_what_is_easy(mix: str) -> None:
    fitted = fit(toy(), COUNTS, 3, ClassifierConfig.parse({**SCRATCH.model_dump(), "mix": mix}), 0)
    assert accuracy(fitted, toy(seed=1)) > 0.95
    assert sum(parameter.numel() for parameter in fitted.backbone.network.parameters()) < 3_000_000


def test_training_everything_moves_the_backbone_but_not_its_statistics_nor_the_shared_weights() -> None:
    before = {name: value.clone() for name, value in build_classifier_backbone("lite2").network.state_dict().items()}
    config = HEAD.model_copy(update={"tune": "all", "steps": 3, "batch_size": 4, "encoder_size": 32})
    after = fit(toy(), COUNTS, 3, config, 0).backbone.network.state_dict()
    assert any(not torch.equal(value, after[name]) for name, value in before.items())
    assert all(torch.equal(before[name], after[name]) for name in before if "running" in name)
    fresh = build_classifier_backbone("lite2").network.state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in before.items())


@pytest.mark.slow
def test_training_everything_separates_what_is_easy() -> None:
    config = HEAD.model_copy(update={"tune": "all", "steps": 100, "batch_size": 8})
    assert accuracy(fit(toy(), COUNTS, 3, config, 0, val=toy(seed=2)), toy(seed=1)) > 0.95


@pytest.mark.parametrize("config", [HEAD, SCRATCH.model_copy(update={"steps": 3, "mix": "mixup"})])
def test_equal_seeds_give_equal_weights_and_others_do_not(config: ClassifierConfig, cache: FeatureCache) -> None:
    first, again, other = (fit(toy(), COUNTS, 3, config, seed, cache=cache) for seed in (3, 3, 4))
    assert torch.equal(first.weight, again.weight) and torch.equal(first.bias, again.bias)
    assert not torch.equal(first.weight, other.weight)
    np.testing.assert_array_equal(first.predict_logits(toy().images), again.predict_logits(toy().images))


def test_the_prior_comes_from_real_counts_alone(cache: FeatureCache) -> None:
    """The same images, once said to be synthetic: the loss must not see them in its prior."""
    images = toy()
    config = HEAD.model_copy(update={"steps": 20, "synthetic_share": 1.0})
    with_prior = fit(images, np.array([1000, 1, 1]), 3, config, 0, cache=cache)
    without = fit(images, np.array([5, 5, 5]), 3, config, 0, cache=cache)
    plain = fit(images, np.array([1000, 1, 1]), 3, config.model_copy(update={"loss": "cross_entropy"}), 0, cache=cache)
    assert torch.allclose(without.weight, plain.weight, atol=1e-6)
    assert not torch.allclose(with_prior.weight, plain.weight, atol=1e-4)


def test_the_step_with_the_best_validation_recall_is_kept(cache: FeatureCache) -> None:
    fitted = fit(toy(), COUNTS, 3, HEAD, 0, val=toy(seed=5), cache=cache)
    recalls = {entry["step"]: entry["val_macro_recall"] for entry in fitted.history}
    assert recalls[fitted.best_step] == max(recalls.values())
    assert fitted.best_step == max(step for step, value in recalls.items() if value == max(recalls.values()))
    assert fit(toy(), COUNTS, 3, HEAD, 0, cache=cache).best_step == HEAD.steps


def test_images_without_weight_teach_nothing(cache: FeatureCache) -> None:
    images = toy()
    wrong = LabelledImages(
        np.concatenate([images.images, images.images]),
        np.concatenate([images.labels, (images.labels + 1) % 3]),
        weights=np.repeat([1.0, 0.0], len(images)).astype(np.float32),
    )
    assert accuracy(fit(wrong, COUNTS, 3, HEAD, 0, cache=cache), toy(seed=1)) > 0.95


def test_features_are_computed_once_and_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from syntype.identification import features as module

    config, calls, original = HEAD.augment, [], module.embed
    monkeypatch.setattr(module, "embed", lambda backbone, images, *rest: calls.append(len(images)) or original(backbone, images, *rest))
    backbone, runtime = build_classifier_backbone("lite2"), HEAD.runtime()
    images = toy().images[:6]

    def ask(cache: FeatureCache, chosen: np.ndarray, view: int = 2) -> np.ndarray:
        return cache.features(backbone, chosen, view, size=32, config=config, runtime=runtime)

    cache = FeatureCache(tmp_path)
    first = ask(cache, images[[0, 1, 1, 2]])
    assert sum(calls) == 3  # equal images are encoded once
    np.testing.assert_array_equal(first[1], first[2])
    both = ask(cache, images)
    assert sum(calls) == 6
    np.testing.assert_allclose(both[:3].astype(np.float32), first[[0, 1, 3]].astype(np.float32))
    np.testing.assert_array_equal(ask(FeatureCache(tmp_path), images), both)
    assert sum(calls) == 6
    assert not np.array_equal(ask(cache, images, view=3), both)

    calls.clear()
    for file in tmp_path.rglob("*.npz"):
        file.write_bytes(b"damaged")
    np.testing.assert_array_equal(ask(FeatureCache(tmp_path), images), both)
    assert sum(calls) == 6
    blocked = tmp_path / "a file, not a folder"
    blocked.touch()
    np.testing.assert_array_equal(ask(FeatureCache(blocked), images), both)


def test_what_cannot_be_fitted_is_explained() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown backbone 'lite9'.*lite2.*scratch.*timm:NAME"):
        fit(toy(), COUNTS, 3, HEAD.model_copy(update={"backbone": "lite9"}), 0)
    none = LabelledImages(np.empty((0, 32, 32, 3), np.uint8), np.empty(0, np.int64))
    with pytest.raises(CollectionError, match="no training images"):
        fit(none, COUNTS, 3, HEAD, 0)
    with pytest.raises(TrainingError, match="lower learning rate"):
        fit(toy(), COUNTS, 3, SCRATCH.model_copy(update={"lr": 1e30, "steps": 4}), 0)

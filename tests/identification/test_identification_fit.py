from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch.nn import functional

from syntype.encoders import Head, build_classifier_backbone
from syntype.encoders.classifiers import COSINE_SCALE
from syntype.errors import CollectionError, RecipeError, TrainingError, UnknownNameError
from syntype.identification import ClassifierConfig, FeatureCache, FittedClassifier, LabelledImages, fit, measure, refit
from syntype.identification.head import tau_normalised
from syntype.identification.losses import Loss, Objective

COUNTS = np.array([24, 12, 4])
HEAD = ClassifierConfig(size=32, encoder_size=64, steps=150, batch_size=16, views=2, learning_rate=3e-3, device="cpu")
SCRATCH = ClassifierConfig(backbone="scratch", size=32, steps=16, batch_size=16, learning_rate=3e-3, device="cpu")


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


def test_training_the_last_layers_moves_them_alone() -> None:
    before = build_classifier_backbone("lite2").network.state_dict()
    config = HEAD.model_copy(update={"tune": "last", "steps": 2, "batch_size": 4, "encoder_size": 32})
    after = fit(toy(), COUNTS, 3, config, 0).backbone.network.state_dict()
    moved = {name.split(".")[1] if name.startswith("blocks") else name for name, value in before.items() if not torch.equal(value, after[name])}
    assert {"5", "6", "conv_head.weight"} <= moved and moved.isdisjoint({"0", "1", "2", "3", "4", "conv_stem.weight"})


@pytest.mark.slow
def test_training_everything_separates_what_is_easy() -> None:
    config = HEAD.model_copy(update={"tune": "all", "steps": 100, "batch_size": 8})
    assert accuracy(fit(toy(), COUNTS, 3, config, 0, val=toy(seed=2)), toy(seed=1)) > 0.95


@pytest.mark.parametrize("config", [HEAD, SCRATCH.model_copy(update={"steps": 3, "mix": "mixup"})])
def test_equal_seeds_give_equal_weights_and_others_do_not(config: ClassifierConfig, cache: FeatureCache) -> None:
    first, again, other = (fit(toy(), COUNTS, 3, config, seed, cache=cache) for seed in (3, 3, 4))
    assert all(torch.equal(value, again.head.state_dict()[name]) for name, value in first.head.state_dict().items())
    assert not torch.equal(first.head.weight, other.head.weight)
    np.testing.assert_array_equal(first.predict_logits(toy().images), again.predict_logits(toy().images))


def test_the_prior_comes_from_real_counts_alone(cache: FeatureCache) -> None:
    """The same images, once said to be synthetic: the loss must not see them in its prior."""
    images = toy()
    config = HEAD.model_copy(update={"steps": 20, "synthetic_share": 1.0})
    with_prior = fit(images, np.array([1000, 1, 1]), 3, config, 0, cache=cache)
    without = fit(images, np.array([5, 5, 5]), 3, config, 0, cache=cache)
    plain = fit(images, np.array([1000, 1, 1]), 3, config.model_copy(update={"loss": "cross_entropy"}), 0, cache=cache)
    assert torch.allclose(without.head.weight, plain.head.weight, atol=1e-6)
    assert not torch.allclose(with_prior.head.weight, plain.head.weight, atol=1e-4)


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
        fit(toy(), COUNTS, 3, SCRATCH.model_copy(update={"learning_rate": 1e30, "steps": 4}), 0)


@pytest.mark.parametrize("head", ["cosine", "prototype"])
def test_heads_of_cosines_separate_what_is_easy_and_know_no_lengths(head: str, cache: FeatureCache) -> None:
    fitted = fit(toy(), COUNTS, 3, ClassifierConfig.parse({**HEAD.model_dump(), "head": head}), 0, cache=cache)
    assert accuracy(fitted, toy(seed=1)) > 0.9
    assert np.abs(fitted.predict_logits(toy().images)).max() <= COSINE_SCALE
    longer = replace(fitted, head=Head(7 * fitted.head.weight, None, fitted.head.mean, fitted.head.std))
    np.testing.assert_allclose(longer.predict_logits(toy().images), fitted.predict_logits(toy().images), rtol=1e-5, atol=1e-4)


def test_a_prototype_is_the_mean_of_the_species_features(cache: FeatureCache) -> None:
    """Against the definition, written out: standardise, scale to length 1, take the mean of each species."""
    config = ClassifierConfig.parse({**HEAD.model_dump(), "head": "prototype", "views": 1})
    fitted = fit(toy(), COUNTS, 3, config, 0, cache=cache)
    f = cache.features(fitted.backbone, toy().images, 0, size=64, config=config.augment, runtime=fitted.runtime).astype(np.float64)
    f = (f - f.mean(axis=0)) / np.maximum(f.std(axis=0), 1e-2 * f.std(axis=0).mean() + 1e-6)
    f /= np.linalg.norm(f, axis=1, keepdims=True)
    means = np.stack([f[toy().labels == species].mean(axis=0) for species in range(3)])
    cosines = f @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    np.testing.assert_allclose(fitted.predict_logits(toy().images), COSINE_SCALE * cosines, atol=0.05)


def test_every_loss_trains_a_head_and_a_network(cache: FeatureCache) -> None:
    for loss in get_args(Loss):
        config = HEAD.model_copy(update={"loss": loss, "steps": 300})
        assert accuracy(fit(toy(), COUNTS, 3, config, 0, cache=cache), toy(seed=1)) > 0.8, loss
    network = fit(toy(), COUNTS, 3, SCRATCH.model_copy(update={"loss": "ldam_drw"}), 0)
    assert network.head.is_cosine and accuracy(network, toy(seed=1)) > 0.9


def test_a_head_learnt_again_from_balanced_draws_is_that_of_balanced_draws(cache: FeatureCache) -> None:
    """cRT where the backbone stays as it is: what came before leaves no trace."""
    again = fit(toy(), COUNTS, 3, HEAD.model_copy(update={"refit": "balanced"}), 0, cache=cache)
    update = {"loss": "cross_entropy", "sampler": "balanced", "steps": 500}
    balanced = fit(toy(), COUNTS, 3, HEAD.model_copy(update=update), 0, cache=cache)
    assert torch.equal(again.head.weight, balanced.head.weight)
    network = fit(toy(), COUNTS, 3, SCRATCH.model_copy(update={"refit": "balanced", "steps": 40}), 0)
    plain = fit(toy(), COUNTS, 3, SCRATCH.model_copy(update={"steps": 40}), 0)
    assert all(torch.equal(value, plain.backbone.network.state_dict()[name]) for name, value in network.backbone.network.state_dict().items())
    assert not torch.equal(network.head.weight, plain.head.weight) and accuracy(network, toy(seed=1)) > 0.9
    known = refit(plain, toy(), COUNTS, "balanced", 0)
    assert torch.equal(known.head.weight, network.head.weight) and known.config == network.config


def test_a_network_from_scratch_learns_in_bfloat16_where_the_processor_has_it_and_answers_in_float32() -> None:
    has = torch.cpu._is_avx512_bf16_supported()
    assert SCRATCH.runtime(training=True).precision == ("bf16" if has else "fp32")
    assert {HEAD.runtime(training=True).precision, SCRATCH.runtime().precision} == {"fp32"}
    assert fit(toy(), COUNTS, 3, SCRATCH, 0).runtime.precision == "fp32"
    slow, fast = (fit(toy(), COUNTS, 3, SCRATCH.model_copy(update={"precision": name}), 0) for name in ("fp32", "bf16"))
    assert np.abs(slow.predict(toy(seed=1).images) - fast.predict(toy(seed=1).images)).mean() < 0.1


def test_a_head_learnt_again_from_real_images_forgets_wrong_synthetic_ones(cache: FeatureCache) -> None:
    images = toy()
    wrong = LabelledImages(
        np.concatenate([images.images, images.images]),
        np.concatenate([images.labels, (images.labels + 1) % 3]),
        np.repeat([False, True], len(images)),
    )
    misled = fit(wrong, COUNTS, 3, HEAD, 0, cache=cache)
    again = fit(wrong, COUNTS, 3, HEAD.model_copy(update={"refit": "real", "steps": 600}), 0, cache=cache)
    assert accuracy(again, toy(seed=1)) > 0.95 > accuracy(misled, toy(seed=1))


def test_a_network_that_learnt_from_synthetic_images_too_has_its_head_from_the_real_ones() -> None:
    images, config = toy(), SCRATCH.model_copy(update={"steps": 6})
    mixed = LabelledImages(images.images, images.labels, np.arange(len(images)) % 2 == 1)
    usual, plain = (fit(mixed, COUNTS, 3, config.model_copy(update={"refit": way}), 0) for way in (None, "none"))
    assert usual.config.refit == "real" and torch.equal(usual.head.weight, refit(plain, mixed, COUNTS, "real", 0).head.weight)
    assert not torch.equal(usual.head.weight, plain.head.weight)
    unseen = LabelledImages(images.images, images.labels, images.labels == 2)  # a species without any photograph is not forgotten
    for known in (images, unseen):
        assert torch.equal(*(fit(known, COUNTS, 3, config.model_copy(update={"refit": way}), 0).head.weight for way in (None, "none")))


def test_lengths_of_a_heads_rows_are_evened_out_as_far_as_validation_says(cache: FeatureCache) -> None:
    weight = torch.tensor([[3.0, 4.0], [0.0, 0.5]])
    torch.testing.assert_close(tau_normalised(weight, 1.0), torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    torch.testing.assert_close(tau_normalised(weight, 0.5), weight / torch.tensor([[5**0.5], [0.5**0.5]]))
    torch.testing.assert_close(tau_normalised(weight, 0.0), weight)
    plain = HEAD.model_copy(update={"loss": "cross_entropy", "steps": 40})
    before = fit(toy(), COUNTS, 3, plain, 0, val=toy(seed=5), cache=cache)
    after = fit(toy(), COUNTS, 3, plain.model_copy(update={"refit": "tau_norm"}), 0, val=toy(seed=5), cache=cache)
    recalls = [measure(toy(seed=5).labels, one.predict_logits(toy(seed=5).images).argmax(1), COUNTS).macro_recall for one in (before, after)]
    assert recalls[1] >= recalls[0] - 1e-9
    alone = fit(toy(), COUNTS, 3, plain.model_copy(update={"refit": "tau_norm"}), 0, cache=cache)  # no validation images: all equally long
    assert accuracy(alone, toy(seed=1)) > 0.8


def test_heads_and_losses_that_do_not_go_together_are_explained() -> None:
    for settings, words in (
        ({"head": "prototype", "backbone": "scratch"}, "frozen pre-trained backbone"),
        ({"head": "linear", "loss": "ldam_drw"}, "needs a cosine head"),
        ({"head": "cosine", "refit": "tau_norm"}, "no effect on cosines"),
    ):
        with pytest.raises(RecipeError, match=words):
            ClassifierConfig.parse(settings)


def test_labels_of_synthetic_images_follow_the_settings() -> None:
    """One photograph, an animal pasted into a photograph of species 0, and one of which neither a parent nor a margin is known."""
    images = LabelledImages(
        np.zeros((3, 8, 8, 3), np.uint8), np.array([0, 1, 2]), np.array([False, True, True]),
        partners=np.array([2, 0, -1]), margins=np.array([0.0, 0.0, np.nan], np.float32),
    )  # fmt: skip
    plain = images.targets(np.array([2, 0]), HEAD)
    assert plain.labels.tolist() == [[2], [0]] and plain.shares.tolist() == [[1], [1]] and plain.smoothing is None
    update = {"background_label": 0.25, "synthetic_weight": 0.5, "synthetic_smoothing": 0.125, "margin_weights": True}
    found = images.targets(np.arange(3), HEAD.model_copy(update=update))
    assert found.smoothing is not None
    assert found.labels.tolist() == [[0, 0], [1, 0], [2, 2]]  # the photograph keeps its label
    assert found.shares.tolist() == [[1, 0], [0.1875, 0.0625], [0.5, 0]]
    assert found.smoothing[:, 0].tolist() == [0, 0.125, 0.125]
    half = found.mixed_with(found.rows(torch.tensor([1, 2, 0])), torch.tensor([0.5, 1.0, 0.75]))
    assert half.labels.tolist() == [[0, 0, 1, 0], [1, 0, 2, 2], [2, 2, 0, 0]]
    torch.testing.assert_close(half.shares, torch.tensor([[0.5, 0, 0.09375, 0.03125], [0.1875, 0.0625, 0, 0], [0.375, 0, 0.25, 0]]))


def test_labels_of_images_between_two_species_by_hand() -> None:
    """A photograph, an image between species 1 and 2, and an animal pasted into a photograph of species 0."""
    images = LabelledImages(
        np.zeros((3, 8, 8, 3), np.uint8), np.array([0, 1, 2]), np.array([False, True, True]), partners=np.array([-1, 0, 0]),
        seconds=np.array([-1, 2, -1]), second_shares=np.array([0, 0.25, 0], np.float32),
    )  # fmt: skip
    found = images.targets(np.arange(3), HEAD)
    assert found.labels.tolist() == [[0, 0], [1, 2], [2, 2]] and found.shares.tolist() == [[1, 0], [0.75, 0.25], [1, 0]]
    found = images.targets(np.array([2, 1]), HEAD.model_copy(update={"background_label": 0.5, "synthetic_weight": 0.5}))
    assert found.labels.tolist() == [[2, 0], [1, 2]] and found.shares.tolist() == [[0.25, 0.25], [0.375, 0.125]]
    logits = torch.tensor([[0.0, 1.0, 3.0]])
    loss = Objective("cross_entropy", HEAD.loss_settings, COUNTS)(logits, images.targets(np.array([1]), HEAD))
    torch.testing.assert_close(loss, functional.cross_entropy(logits, torch.tensor([[0.0, 0.75, 0.25]])))


def test_images_between_two_species_move_the_probability_towards_their_weights(cache: FeatureCache) -> None:
    images = toy()
    between = LabelledImages(np.full((12, 32, 32, 3), 90, np.uint8), np.full(12, 1), np.ones(12, bool))  # grey: no species at all
    config = HEAD.model_copy(update={"loss": "cross_entropy", "steps": 200})
    for share in (0.0, 0.4):
        mixed = replace(between, seconds=np.full(12, 2), second_shares=np.full(12, share, np.float32))
        fitted = fit(images.followed_by(mixed), COUNTS, 3, config, 0, cache=cache)
        assert fitted.predict(between.images)[0] == pytest.approx([0, 1 - share, share], abs=0.1)
        assert accuracy(fitted, toy(seed=1)) > 0.9
    unseen = images.where(images.labels < 2).followed_by(mixed)  # a species of which only images between two show anything is not forgotten
    assert fit(unseen, np.array([24, 12, 0]), 3, SCRATCH.model_copy(update={"steps": 1}), 0).config.refit == "none"


def test_joined_images_keep_what_is_known_of_each() -> None:
    pixels, labels = np.zeros((2, 8, 8, 3), np.uint8), np.array([0, 1])
    joined = LabelledImages(pixels, labels).followed_by(LabelledImages(pixels, labels, np.ones(2, bool), partners=np.array([1, 0])))
    assert joined.synthetic.tolist() == [False, False, True, True] and joined.partners is not None and joined.partners.tolist() == [-1, -1, 1, 0]
    assert joined.weights is None and joined.margins is None
    assert joined.where(joined.synthetic).labels.tolist() == [0, 1]


@pytest.mark.parametrize("mix", ["none", "mixup", "cutmix"])
def test_synthetic_images_that_count_for_nothing_teach_nothing(mix: str, cache: FeatureCache) -> None:
    images = toy()
    wrong = images.followed_by(LabelledImages(images.images, (images.labels + 1) % 3, np.ones(len(images), bool)))
    settings = {"mix": mix, "synthetic_weight": 0.0, "background_label": 0.3, "synthetic_smoothing": 0.1}
    assert accuracy(fit(wrong, COUNTS, 3, HEAD.model_copy(update=settings), 0, cache=cache), toy(seed=1)) > 0.9

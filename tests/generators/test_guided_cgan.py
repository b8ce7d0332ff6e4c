"""The guided GAN: its guidance classifier is sound and stays frozen, and guidance does what it says and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from syntype.collection import Collection
from syntype.compute.runtime import Runtime
from syntype.compute.tensors import to_tensor
from syntype.encoders import Head, build_classifier_backbone
from syntype.errors import InputError, RecipeError, UnknownNameError, UnsupportedError
from syntype.generators import family
from syntype.generators.contract import Batch, TrainingData
from syntype.generators.engine.batches import training_data
from syntype.generators.families.guided_cgan import GuidedGAN, GuidedGANConfig
from syntype.generators.gans.classifier_guidance import _balanced_subset, build_guidance_classifier
from syntype.identification import Classifier, ClassifierConfig, FittedClassifier, load_classifier, save_classifier

CPU = torch.device("cpu")


@pytest.fixture
def data(small_collection: Collection) -> TrainingData:
    return training_data(small_collection.training(), 32)


def prepared(name: str, data: TrainingData, **settings: object):
    torch.manual_seed(0)
    kind = family(name)
    model = kind(kind.Config.parse({**kind.Config.tiny().model_dump(), **settings}), data.species)
    model.prepare(data, Runtime("cpu", "fp32"))
    return model


def stepped(model, data: TrainingData, steps: int):
    rows = np.argsort(data.labels, kind="stable")[:: len(data.labels) // 8][:8]
    images, labels = to_tensor(data.images[rows]), torch.from_numpy(data.labels[rows])
    for step in range(steps):
        torch.manual_seed(step)
        figures = model.train().training_step(Batch(images, labels, torch.from_numpy(rows), step))
        assert not figures["skipped"]
    return model


def test_without_guidance_it_is_cwgan_gp_to_the_last_bit(data: TrainingData) -> None:
    unguided, twin = (stepped(prepared(name, data, **more), data, 3) for name, more in (("guided_cgan", {"guidance_weight": 0}), ("cwgan_gp", {})))
    state = twin.state_dict()
    assert unguided.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in unguided.state_dict().items())
    assert torch.equal(unguided.sample(data.species, [0, 1, 2, 3]), twin.sample(data.species, [0, 1, 2, 3]))
    guided = stepped(prepared("guided_cgan", data), data, 3)
    assert not torch.equal(guided.sample(data.species, [0, 1, 2, 3]), twin.sample(data.species, [0, 1, 2, 3]))


def test_guidance_makes_the_recogniser_see_the_species_asked_for_and_leaves_it_as_it_was(data: TrainingData) -> None:
    def recognised(model: GuidedGAN) -> float:
        labels = torch.arange(len(data.species)).repeat(16)
        images = model.sample([data.species[label] for label in labels], list(range(len(labels))))
        return float(model.guidance_classifier.log_probability(images, labels).exp().mean())

    model = prepared("guided_cgan", data, guidance_weight=30.0, critic_steps=1, generator_learning_rate=2e-3)
    assert isinstance(model, GuidedGAN)
    before, kept = recognised(model), {name: tensor.clone() for name, tensor in model.guidance_classifier.state_dict().items()}
    stepped(model, data, 100)
    assert recognised(model) > before + 0.2  # over seeds and processors: +0.31 to +0.45
    assert all(torch.equal(tensor, kept[name]) for name, tensor in model.guidance_classifier.state_dict().items())
    assert not any(parameter.requires_grad for parameter in model.guidance_classifier.parameters()) and not model.guidance_classifier.training


def test_the_fitted_recogniser_knows_its_photographs_whichever_way_they_face(data: TrainingData) -> None:
    guidance_classifier = build_guidance_classifier("lite1", 64, data, True, CPU)
    images, labels = to_tensor(data.images), torch.from_numpy(data.labels)
    for seen in (images, images.flip(3)):
        assert (guidance_classifier(seen).argmax(1) == labels).float().mean() > 0.9
    again = build_guidance_classifier("lite1", 64, data, True, CPU)
    assert all(torch.equal(value, again.head.state_dict()[name]) for name, value in guidance_classifier.head.state_dict().items())


def test_the_photographs_it_is_fitted_to_are_spread_over_the_species() -> None:
    labels = np.repeat([0, 1, 2], [50, 3, 7])
    data = TrainingData(np.zeros((60, 1, 1, 3), np.uint8), labels, np.arange(60), ("a", "b", "c"))
    rows = _balanced_subset(data, 16)
    assert np.bincount(labels[rows]).tolist() == [7, 3, 6] or np.bincount(labels[rows]).tolist() == [6, 3, 7]
    assert len(set(rows.tolist())) == 16 and _balanced_subset(data, 100).tolist() == list(range(60))


def saved(folder: Path, backbone: str, species: tuple[str, ...]) -> Path:
    """A classifier with a head drawn at random."""
    config = ClassifierConfig(backbone=backbone, tune="head", size=32, encoder_size=64, device="cpu")
    built = build_classifier_backbone(backbone)
    built.network.eval()
    source = torch.Generator().manual_seed(1)
    weight, bias = torch.randn(len(species), built.num_features, generator=source), torch.randn(len(species), generator=source)
    save_classifier(Classifier(FittedClassifier(config, built, Head(weight, bias), Runtime("cpu", "fp32")), species), folder)
    return folder


@pytest.mark.parametrize("backbone", ["lite2", "scratch"])
def test_a_trained_classifier_judges_as_it_does_itself(backbone: str, data: TrainingData, tmp_path: Path) -> None:
    folder = saved(tmp_path / "classifier", backbone, ("Zus zuletzt", *reversed(data.species)))
    guidance_classifier = build_guidance_classifier(str(folder), 96, data, True, CPU)
    images, labels = data.images[:5], torch.from_numpy(data.labels[:5])
    probability = load_classifier(folder, device="cpu").predict(images)
    expected = torch.from_numpy(probability)[torch.arange(5), len(data.species) - labels]  # reversed, after the first
    assert_close(guidance_classifier.log_probability(to_tensor(images), labels).exp(), expected, atol=1e-4, rtol=1e-3)


def test_recognisers_that_cannot_serve_are_refused_with_the_reason(data: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="referee"):
        build_guidance_classifier(str(saved(tmp_path / "referee", "lite0", data.species)), 96, data, True, CPU)
    with pytest.raises(UnknownNameError, match=data.species[-1]):
        build_guidance_classifier(str(saved(tmp_path / "ignorant", "scratch", data.species[:-1])), 96, data, True, CPU)
    with pytest.raises(InputError, match="syntype classify train"):
        build_guidance_classifier(str(tmp_path / "nothing"), 96, data, True, CPU)
    for name in ("lite0", "lite2", "timm:tf_efficientnet_lite0.in1k", "timm:tf_efficientnet_lite0:weights.pth"):
        with pytest.raises(RecipeError, match="cannot be used to train generators"):
            GuidedGANConfig.parse({"guidance_classifier": name})

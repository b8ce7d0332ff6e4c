"""Instance codes: what they hold, what they leave out, and how a generator remembers them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from syntype.collection import Collection
from syntype.compute.runtime import Runtime
from syntype.generators.augmentation import augment
from syntype.generators.contract import TrainingData
from syntype.generators.engine.batches import training_data
from syntype.generators.families.projected import ProjectedConfig, ProjectedGAN
from syntype.generators.networks.instance_codes import MAX_CODES_PER_SPECIES, CodeBank, InstanceEncoder

WIDTHS = [4, 8, 16, 16]


def encoder_for(features: torch.Tensor, labels: torch.Tensor, code_dim: int = 5) -> InstanceEncoder:
    encoder = InstanceEncoder(WIDTHS, int(labels.max()) + 1, code_dim)
    encoder.fit(features, labels)
    encoder.centre(features @ encoder.projection, labels)
    return encoder


def length() -> int:
    return len(InstanceEncoder(WIDTHS, 1, 1).projection)


def prepared(collection: Collection, **settings: object) -> tuple[ProjectedGAN, TrainingData]:
    torch.manual_seed(0)
    data = training_data(collection.training(), 32)
    model = ProjectedGAN(ProjectedConfig.tiny(32).model_copy(update=settings), data.species)
    model.prepare(data, Runtime("cpu", "fp32"))
    return model, data


def test_codes_are_the_principal_components_of_the_differences_within_species() -> None:
    random = np.random.default_rng(0)
    labels = torch.arange(3).repeat_interleave(40)
    mixing = random.normal(size=(5, length()))
    features = torch.tensor(random.normal(size=(120, 5)) @ mixing + 30 * random.normal(size=(3, length()))[labels], dtype=torch.float32)
    encoder = encoder_for(features, labels)
    codes = encoder(features, labels)
    for species in range(3):
        assert_close(codes[labels == species].mean(0), torch.zeros(5), atol=1e-3, rtol=0)
    assert_close(codes.square().mean(0), torch.ones(5), atol=1e-3, rtol=0)
    # five directions hold all that there is: from the codes the differences can be told exactly
    within = features.double().numpy() - np.stack([features[labels == s].double().numpy().mean(0) for s in range(3)])[labels]
    solution, *_ = np.linalg.lstsq(codes.double().numpy(), within, rcond=None)
    assert np.abs(codes.double().numpy() @ solution - within).max() < 1e-3 * np.abs(within).max()


def test_fewer_photographs_than_directions_leave_the_rest_at_zero() -> None:
    features, labels = torch.randn(3, length(), generator=torch.Generator().manual_seed(0)), torch.zeros(3, dtype=torch.int64)
    codes = encoder_for(features, labels)(features, labels)
    assert torch.isfinite(codes).all()
    assert (codes[:, 2:] == 0).all() and (codes[:, :2].square().mean(0) > 0.5).all()


def test_one_photograph_has_the_code_zero() -> None:
    features, labels = torch.randn(1, length()), torch.zeros(1, dtype=torch.int64)
    assert (encoder_for(features, labels)(features, labels) == 0).all()


def test_a_generator_draws_around_the_photographs_of_the_species_it_is_asked_for() -> None:
    labels = np.array([1, 0, 1, 0, 1])
    codes = torch.arange(10.0).view(5, 2, 1)
    bank = CodeBank(3, 1)
    bank.store(codes, labels)
    seeds = range(200)
    for species in (0, 1):
        drawn = bank.seeded_codes(torch.full((200,), species), seeds).flatten().tolist()
        assert set(drawn) == set(codes[labels == species].flatten().tolist())
    assert (bank.seeded_codes(torch.tensor([2]), [0]) == 0).all(), "a species without photographs"
    bank.add_species(relative=0)
    assert torch.equal(bank.seeded_codes(torch.full((200,), 3), seeds), bank.seeded_codes(torch.zeros(200, dtype=torch.int64), seeds))
    bank.add_species(relative=None)
    assert len(set(bank.seeded_codes(torch.full((200,), 4), seeds).flatten().tolist())) == 10


def test_a_common_species_does_not_make_the_file_large() -> None:
    bank = CodeBank(1, 2)
    bank.store(torch.randn(1000, 1, 2), np.zeros(1000, dtype=np.int64))
    assert len(bank.codes) == MAX_CODES_PER_SPECIES
    other = CodeBank(1, 2)
    other.load_state_dict(bank.state_dict())
    assert torch.equal(other.codes, bank.codes)


def test_a_photograph_and_what_is_drawn_from_it_are_augmented_alike() -> None:
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    torch.manual_seed(3)
    first, second = augment(torch.cat([images, images]), versions=2).chunk(2)
    assert torch.equal(first, second)
    assert not torch.equal(first, images)
    torch.manual_seed(3)
    first, second = augment(torch.cat([images, images])).chunk(2)
    assert not torch.equal(first, second)


def test_mirrored_photographs_have_codes_of_their_own_where_mirroring_is_allowed(small_collection: Collection) -> None:
    model, data = prepared(small_collection)
    assert model.codes.shape == (len(data.images), 2, model.config.code_dim)
    assert not torch.allclose(model.codes[:, 0], model.codes[:, 1])
    as_they_are, data = prepared(small_collection, flip=False)
    assert as_they_are.codes.shape == (len(data.images), 1, model.config.code_dim)


def test_the_code_of_an_image_is_found_again_in_the_image(small_collection: Collection) -> None:
    """What the discriminators are told of a photograph is what they would work out themselves."""
    model, data = prepared(small_collection)
    labels = torch.from_numpy(data.labels)
    for way, images in enumerate((data.images, data.images[:, :, ::-1])):
        raw = model.encode(np.ascontiguousarray(images), project=True)[:, 0]
        assert_close(raw - model.instances.mean[labels], model.codes[:, way], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("relative", ["Bus quartus", None])
def test_a_new_species_borrows_its_relatives_codes(small_collection: Collection, relative: str | None) -> None:
    model, data = prepared(small_collection)
    own = model.generator.bank
    model.add_species("Xus novus", relative)
    new = torch.tensor([len(data.species)] * 50)
    borrowed = own.seeded_codes(new, range(50))
    known = own.codes if relative is None else own.seeded_codes(model.labels_of([relative] * 500), range(500))
    assert all((known == code).all(1).any() for code in borrowed)
    assert model.sample(["Xus novus"], [1]).shape == (1, 3, 32, 32)

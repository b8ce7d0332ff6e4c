"""One more species for a generator that is an adapter: a second, small adapter beside the first, on a tiny model with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from made import make_collection, train_tiny, without_previews
from safetensors.torch import load_file, save_file
from test_lora import draw, pipeline_of
from torch.testing import assert_close

from syntype.adaptation import AdaptConfig, AdaptResult, adapt
from syntype.collection import Collection
from syntype.compute.tensors import seeded_normal
from syntype.errors import InputError, UnsupportedError
from syntype.generators import load_generator
from syntype.generators.contract import Adapts, AdaptsAdversarially
from syntype.generators.families import lora
from syntype.generators.families.lora import LoRA, LoRAConfig
from syntype.run import Run

OLD, NEW = ["Aus primus", "Aus secundus"], ["Cus novus", "Cus ultimus"]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Photographs with captions, and common names of two species."""
    made = make_collection(tmp_path_factory.mktemp("species") / "collection", dict.fromkeys([*OLD, *NEW], 8), split="train")
    names = {"Aus primus": "first fish", "Cus novus": "new fish"}
    species = made.table["species"].astype(str)
    table = made.table.assign(
        caption=[f"seen on dive {row}" for row in range(len(made))], vernacular_name=species.map(names), family=species.str.slice(0, 3) + "idae"
    )
    return Collection.create(made.root, table, species=made.species)


@pytest.fixture(scope="module")
def base(told: Collection, tiny_base: Callable[[str], Path]) -> Path:
    """A generator of the two old species."""
    settings = {**LoRAConfig.tiny().model_dump(exclude={"size"}), "base": str(tiny_base("stable_diffusion")), "learning_rate": 0.05}
    return train_tiny("lora", told, told.root.parent / "base", model=settings, steps=1, only=tuple(OLD)).folder


def adapted(told: Collection, generator: Path, species: str, out: Path, **settings: Any) -> AdaptResult:
    plain = {"species": species, "steps": 2, "batch_size": 2, "ema": 0.0, "precision": "fp32", "device": "cpu"}
    config = AdaptConfig.parse({**plain, **settings})
    with without_previews(), Run.start(out, "adapt", config, seed=0, quiet=True, resume=True) as run:
        return adapt(load_generator(generator), told, config, out, run)


@pytest.fixture(scope="module")
def first(told: Collection, base: Path) -> AdaptResult:
    return adapted(told, base, NEW[0], told.root.parent / "first")


def test_a_species_is_added_and_the_others_are_untouched(told: Collection, base: Path, first: AdaptResult, tmp_path: Path) -> None:
    weights = (base / "weights.safetensors").read_bytes()
    assert first.method == "finetune" and first.shots == 6
    adapted(told, first.folder, NEW[1], tmp_path / "two")
    assert (base / "weights.safetensors").read_bytes() == weights
    plain, one, two = load_generator(base), load_generator(first.folder), load_generator(tmp_path / "two")
    assert two.species == (*OLD, *NEW) and "adapt" in plain.info["abilities"]
    before = plain.sample(OLD, [1, 2])
    assert torch.equal(before, one.sample(OLD, [1, 2])) and torch.equal(before, two.sample(OLD, [1, 2]))
    drawn = one.sample(NEW[:1], [3])
    assert torch.equal(drawn, two.sample([NEW[1], NEW[0]], [3, 3])[1:]) and torch.equal(before, two.sample(OLD, [1, 2]))
    plain.model.add_species(NEW[0], None)
    plain.model.restore_description(NEW[0], {"text": "Cus novus, new fish, Cusidae"})
    assert (drawn - plain.sample(NEW[:1], [3])).abs().max() > 1e-3, "nothing was learnt"
    assert torch.equal(two.blend([(OLD[0], NEW[0])], [(1, 3)], [1.0]), drawn)
    assert torch.isfinite(two.blend([(OLD[0], NEW[0])], [(1, 3)], [0.5])).all()


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")
def test_images_of_the_species_are_those_of_diffusers_with_both_adapters(
    base: Path, first: AdaptResult, tiny_base: Callable[[str], Path], tmp_path: Path
) -> None:
    generator = load_generator(first.folder)
    model: Any = generator.model
    saved = load_file(first.folder / "adapters" / "0000.safetensors")
    assert all(name.startswith("species.unet.") for name in saved)
    save_file({name.removeprefix("species."): tensor for name, tensor in saved.items()}, tmp_path / "species.safetensors")
    pipeline = pipeline_of(tiny_base("stable_diffusion"))
    pipeline.load_lora_weights(base, weight_name="weights.safetensors", adapter_name="all")
    pipeline.load_lora_weights(tmp_path, weight_name="species.safetensors", adapter_name="one")
    pipeline.set_adapters(["all", "one"])
    prompt = "a photo of Cus novus, new fish, Cusidae"
    assert model.prompt_of(NEW[0], 4, context=False) == prompt
    expected = draw(pipeline, seeded_normal([4, 5], model.latent_shape), 3.0, text=prompt)
    assert_close(generator.sample(NEW[:1] * 2, [4, 5], steps=3, guidance=3.0, context=False), expected, atol=1e-4, rtol=0)


def test_texts_name_the_species_and_its_captions_are_no_context_of_others(base: Path, first: AdaptResult, told: Collection) -> None:
    plain, one = load_generator(base).model, load_generator(first.folder).model
    assert isinstance(plain, LoRA) and isinstance(one, LoRA)
    assert [plain.prompt_of(OLD[0], seed) for seed in range(20)] == [one.prompt_of(OLD[0], seed) for seed in range(20)]
    known = set(told.table["caption"][told.table["species"].isin(OLD)])
    for seed in range(20):
        named, _, context = one.prompt_of(NEW[0], seed).rpartition(", ")
        assert named == "a photo of Cus novus, new fish, Cusidae" and context in known


def test_an_adaptation_resumes_to_the_same_weights_and_can_be_damaged(told: Collection, base: Path, first: AdaptResult, tmp_path: Path) -> None:
    for steps in (1, 2):
        adapted(told, base, NEW[0], tmp_path / "parts", steps=steps)
    file = "adapters/0000.safetensors"
    assert (tmp_path / "parts" / file).read_bytes() == (first.folder / file).read_bytes()
    about = json.loads((tmp_path / "parts" / "generator.json").read_text())
    for description in (["text"], {"text": 3}):
        about["adapters"][0]["description"] = description
        (tmp_path / "parts" / "generator.json").write_text(json.dumps(about))
        with pytest.raises(InputError, match="'adapters' is not complete"):
            load_generator(tmp_path / "parts")


def test_methods_that_need_discriminators_are_refused(told: Collection, base: Path, tmp_path: Path) -> None:
    model = load_generator(base).model
    assert isinstance(model, Adapts) and not isinstance(model, AdaptsAdversarially)
    for method in ("modulate", "ewc", "freeze-d"):
        with pytest.raises(UnsupportedError, match=rf"method {method} needs discriminators, which family lora .* can use: finetune, encode\."):
            adapted(told, base, NEW[0], tmp_path / method, method=method)


def test_the_file_of_a_species_has_a_largest_size(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {}
    for limit in (20_000_000, 10_000):
        monkeypatch.setattr(lora, "SPECIES_BYTES", limit)
        model: Any = load_generator(base).model
        model.add_species(NEW[0], None)
        tensors = list(model.adaptable_parameters().values())
        sizes[limit] = (min(tensors[0].shape), sum(4 * tensor.numel() for tensor in tensors))
    assert sizes[20_000_000][0] == 4 and 1 <= sizes[10_000][0] < 4 and sizes[10_000][1] <= 10_000 < sizes[20_000_000][1]


def test_a_generator_can_be_the_adapter_to_start_from(base: Path, tiny_base: Callable[[str], Path]) -> None:
    config = LoRAConfig.tiny().model_copy(update={"base": str(tiny_base("stable_diffusion")), "start_from": str(base)})
    again, trained = LoRA(config, OLD).generator.state_dict(), load_file(base / "weights.safetensors")
    assert again.keys() == trained.keys() and all(torch.equal(again[name], trained[name]) for name in trained)


def test_a_generator_that_learnt_nothing_still_learns_a_species(base: Path, told: Collection) -> None:
    from syntype.compute.runtime import Runtime
    from syntype.generators.engine.batches import training_data

    model: Any = load_generator(base).model
    model.config = model.config.model_copy(update={"learning_rate": 0.0})
    model.add_species(NEW[0], None)
    model.prepare(training_data(told, 32), Runtime("cpu", "fp32"))
    model.scale_learning_rates(2.0)
    assert [group["lr"] for group in model.optimisers["adapter"].param_groups] == [2e-4]

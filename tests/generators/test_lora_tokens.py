"""Species as rows that are computed from their photographs, on tiny text-to-image models with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from made import make_collection, train_tiny, without_previews
from safetensors.torch import load_file
from test_lora import pipeline_of
from torch.testing import assert_close

from syntype.adaptation import AdaptConfig, AdaptManyConfig, AdaptResult, adapt, adapt_many
from syntype.adaptation.learning import choose_photographs
from syntype.collection import Collection
from syntype.compute.tensors import seeded_normal
from syntype.encoders import load_encoder
from syntype.errors import CollectionError, InputError, RecipeError, UnsupportedError
from syntype.generators import load_generator
from syntype.generators.families import lora
from syntype.generators.families.lora import LoRA, LoRAConfig
from syntype.generators.pretrained.species_tokens import MOST_DRAWN, OtherPhotographs
from syntype.run import Run

OLD, NEW = ["Aus primus", "Aus secundus"], ["Cus novus", "Cus ultimus"]
BASES = ("stable_diffusion", "flux2_klein")
pytestmark = pytest.mark.usefixtures("small_batches")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Photographs of four species, with the common name of one."""
    made = make_collection(tmp_path_factory.mktemp("rows") / "collection", dict.fromkeys([*OLD, *NEW], 8), split="train")
    species = made.table["species"].astype(str)
    return Collection.create(made.root, made.table.assign(vernacular_name=species.map({"Cus novus": "new fish"})), species=made.species)


@pytest.fixture(scope="module")
def trained(told: Collection, tiny_base: Callable[[str], Path]) -> Callable[[str], Path]:
    """The folder of a generator of the two old species, whose rows are told by two tokens."""

    def get(name: str) -> Path:
        folder = told.root.parent / name
        if not folder.exists():
            settings = {**LoRAConfig.tiny().model_dump(exclude={"size"}), "base": str(tiny_base(name)), "learning_rate": 0.05, "species_tokens": 2}
            train_tiny("lora", told, folder, model=settings, steps=2, only=tuple(OLD))
        return folder

    return get


def adapted(told: Collection, generator: Path, species: str | tuple[str, ...], out: Path, **settings: Any) -> AdaptResult:
    config = AdaptConfig.parse({"species": species, "method": "encode", "device": "cpu", "precision": "fp32", "batch_size": 2, **settings})
    with without_previews(), Run.start(out, "adapt", config, seed=0, quiet=True) as run:
        return adapt(load_generator(generator), told, config, out, run)


def row_by_hand(weights: dict[str, torch.Tensor], photographs: Collection) -> torch.Tensor:
    mean = load_encoder("lite1").encode(photographs.pixels(32)).mean(0)
    return torch.from_numpy((mean - weights["species_lora.middle"].numpy()) / weights["species_lora.spread"].numpy())


@pytest.mark.parametrize("name", BASES)
def test_before_training_nothing_changes_and_then_the_row_decides(name: str, tiny_base: Callable[[str], Path]) -> None:
    settings = LoRAConfig.tiny().model_copy(update={"base": str(tiny_base(name))})
    plain, model = LoRA(settings, OLD), LoRA(settings.model_copy(update={"species_tokens": 2}), OLD)
    before = plain.sample(OLD, [1, 2])
    assert torch.equal(model.sample(OLD, [1, 2]), before) and (plain.trained_with, model.trained_with) == (None, "lite1")
    assert model.tokens is not None
    torch.manual_seed(0)
    torch.nn.init.normal_(model.tokens.second.weight, std=10)
    model.tokens.rows.normal_()
    after = model.sample([*OLD, OLD[0]], [1, 2, 2])
    assert (after[:2] - before).abs().amax((1, 2, 3)).min() > 1e-3
    assert torch.equal(after[1], model.sample([OLD[1], OLD[1], OLD[0]], [2, 7, 8])[0]), "an image depends on its own row alone"
    blended = model.blend([(OLD[0], OLD[1])] * 3, [(2, 2)] * 3, [0.0, 0.5, 1.0], "both")
    assert torch.equal(blended[0], after[2]) and torch.equal(blended[2], after[1]) and not torch.equal(blended[1], after[1])
    model.config = model.config.model_copy(update={"texts": dict.fromkeys(OLD, "the same")})
    model.tokens.rows[1] = model.tokens.rows[0]
    assert torch.equal(*model.sample(OLD, [3, 3]).split(1)), "equal texts and rows"


@pytest.mark.parametrize("name", BASES)
def test_a_species_is_encoded_from_its_photographs(name: str, told: Collection, trained: Callable[[str], Path], tmp_path: Path) -> None:
    base = trained(name)
    weights = load_file(base / "weights.safetensors")
    for label, species in enumerate(OLD):
        assert_close(weights["species_lora.rows"][label], row_by_hand(weights, told.select(species=species)), atol=2e-5, rtol=1e-4)
    assert weights["species_lora.second.weight"].abs().max() > 0, "the network learns"
    result = adapted(told, base, NEW[0], tmp_path / "one")
    saved = load_file(tmp_path / "one/adapters/0000.safetensors")
    assert list(saved) == ["new_row.species_lora.rows"] and result.steps == 0 and result.megabytes < 0.02
    row = row_by_hand(weights, choose_photographs(told, NEW[0], 6, seed=0))
    assert_close(saved["new_row.species_lora.rows"][0], row, atol=2e-5, rtol=1e-4)
    assert result.relative == OLD[int(torch.nn.functional.cosine_similarity(weights["species_lora.rows"], row[None]).argmax())]
    plain: Any = load_generator(base)
    one: Any = load_generator(tmp_path / "one")
    assert one.model.prompt_of(NEW[0], 0) == "a photo of Cus novus, new fish"
    assert torch.equal(plain.sample(OLD, [1, 2]), one.sample(OLD, [1, 2]))
    drawn = one.sample(NEW[:1], [3])
    assert torch.equal(drawn, load_generator(tmp_path / "one").sample(NEW[:1] * 2, [3, 4])[:1]) and not torch.equal(drawn, one.sample(OLD[:1], [3]))

    if name != BASES[0]:
        return  # what follows does not depend on the base
    adapted(told, tmp_path / "one", NEW[1], tmp_path / "two", method="finetune", steps=1)
    two: Any = load_generator(tmp_path / "two")
    assert (
        two.species == (*OLD, *NEW)
        and torch.equal(two.sample(NEW[:1], [3]), drawn)
        and torch.equal(plain.sample(OLD, [1, 2]), two.sample(OLD, [1, 2]))
    )
    assert_close(two.model.tokens.rows[3], row_by_hand(weights, choose_photographs(told, NEW[1], 6, seed=0)), atol=2e-5, rtol=1e-4)


def test_all_new_species_are_encoded_at_once(
    told: Collection, trained: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = trained("stable_diffusion")
    loading = Mock(wraps=lora.load_text_to_image)
    monkeypatch.setattr(lora, "load_text_to_image", loading)
    config = AdaptManyConfig(method="encode", device="cpu")
    result = adapt_many(load_generator(base), told, config, tmp_path / "all", Run.silent())
    assert loading.call_count == 1, "the base is in memory once"
    assert (result.num_done, result.num_failed, result.num_files) == (2, 0, 1)
    monkeypatch.undo()
    adapted(told, base, NEW[1], tmp_path / "alone")
    every, alone = load_generator(tmp_path / "all"), load_generator(tmp_path / "alone")
    assert every.species == (*OLD, *NEW)
    assert torch.equal(every.sample(NEW[1:], [3]), alone.sample(NEW[1:], [3])), "whatever else is encoded with it"
    before = alone.sample([*OLD, NEW[1]], [1, 2, 3])
    alone.take_model().train()
    assert torch.equal(alone.sample([*OLD, NEW[1]], [1, 2, 3]), before), "whose model was taken can be used again"
    with pytest.raises(UnsupportedError, match="one species at a time by the method finetune"):
        adapt_many(load_generator(base), told, AdaptManyConfig(device="cpu"), tmp_path / "trained", Run.silent())
    with pytest.raises(CollectionError, match="knows every species"):
        adapt_many(load_generator(tmp_path / "all"), told, config, tmp_path / "none", Run.silent())


@pytest.mark.parametrize("name", BASES)
def test_the_file_is_still_an_adapter_for_diffusers(name: str, trained: Callable[[str], Path], tiny_base: Callable[[str], Path]) -> None:
    generator: Any = load_generator(trained(name))
    pipeline = pipeline_of(tiny_base(name))
    pipeline.load_lora_weights(trained(name), weight_name="weights.safetensors")
    model, seeds = generator.model, [4, 5]
    texts = model._texts(OLD, seeds, model.Controls())["tokens"].detach()
    shown = pipeline(
        prompt_embeds=texts, latents=seeded_normal(seeds, model.latent_shape), num_inference_steps=3, guidance_scale=1, height=32, width=32,
        output_type="pt",
    ).images  # fmt: skip
    assert_close(generator.sample(OLD, seeds, steps=3, guidance=1.0), 2 * shown - 1, atol=1e-4, rtol=0)


def test_training_resumes_to_the_same_weights(told: Collection, trained: Callable[[str], Path], tmp_path: Path) -> None:
    whole = trained("stable_diffusion")
    settings = json.loads((whole / "generator.json").read_text())["config"]
    chosen = {key: settings[key] for key in LoRAConfig.tiny().model_dump(exclude={"size", "texts", "captions", "ranks", "base_fingerprint"})}
    chosen |= {"species_features": None, "species_weights": None}
    for steps in (1, 2):
        train_tiny("lora", told, tmp_path / "parts", model=chosen, steps=steps, only=tuple(OLD))
    assert (tmp_path / "parts/weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()


def test_a_row_in_training_is_of_other_photographs() -> None:
    """Of other groups where there are any; of the photograph itself only if it is the only one."""
    labels, groups = np.array([2, 0, 2, 2, 0, 0, 1, 2]), np.array([7, 1, 7, 8, 2, 2, 3, 9])
    allowed = {0: {3, 7}, 1: {4, 5}, 2: {3, 7}, 3: {0, 2, 7}, 4: {1}, 5: {1}, 6: {6}, 7: {0, 2, 3}}
    others = OtherPhotographs(torch.eye(8), labels, groups)
    found = torch.stack([others.means(torch.arange(8)) for _ in range(60)])
    assert {row: set(found[:, row].sum(0).nonzero().flatten().tolist()) for row in range(8)} == allowed
    assert_close(found.sum(2), torch.ones(60, 8), atol=1e-3, rtol=0)
    smallest = torch.where(found > 0, found, 1).amin((0, 2))
    assert smallest.min() >= 1 / MOST_DRAWN - 1e-3 and found[:, 3].amax(1).max() == 1, "from one to all"
    one_group = OtherPhotographs(torch.eye(3), np.zeros(3, int), np.zeros(3, int)).means(torch.tensor([1] * 50))
    assert one_group[:, 1].max() == 0 and one_group[:, [0, 2]].min(0).values.tolist() == [0, 0]


def test_an_adapter_to_start_from_keeps_how_it_tells_species(told: Collection, trained: Callable[[str], Path], tmp_path: Path) -> None:
    start = trained("stable_diffusion")
    about = json.loads((start / "generator.json").read_text())["config"]
    settings = {key: about[key] for key in ("base", "base_precision", "sampling_steps", "species_tokens")} | {
        "start_from": str(start),
        "learning_rate": 0.0,
    }
    train_tiny("lora", told, tmp_path / "again", model=settings, steps=1, only=tuple(OLD))
    again, before = load_file(tmp_path / "again/weights.safetensors"), load_file(start / "weights.safetensors")
    assert again.keys() == before.keys()
    for name, tensor in before.items():
        assert_close(again[name], tensor)
    assert any("species_tokens=2" in remark for remark in LoRA(LoRAConfig.parse({**settings, "species_tokens": 0, "size": 32}), OLD)._about)
    with pytest.raises(InputError, match=r"other tokens.*species_tokens=2 --set model\.species_encoder=lite1"):
        LoRA(LoRAConfig.parse({**settings, "species_tokens": 3, "size": 32}), OLD)


def test_what_does_not_fit_is_refused(told: Collection, trained: Callable[[str], Path], tiny_base: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"lite0.*cannot be used to train generators"):
        LoRAConfig.parse({"species_encoder": "lite0"})
    settings = {**LoRAConfig.tiny().model_dump(exclude={"size"}), "base": str(tiny_base("stable_diffusion"))}
    train_tiny("lora", told, tmp_path / "plain", model=settings, steps=1, only=tuple(OLD))
    with pytest.raises(UnsupportedError, match=r"without species_tokens.*model\.species_tokens=4"):
        adapted(told, tmp_path / "plain", NEW[0], tmp_path / "no")
    model: Any = load_generator(trained("stable_diffusion")).model
    model.config = model.config.model_copy(update={"species_weights": "others"})
    with pytest.raises(InputError, match=r"lite1 has other weights.*Use those of then \(others\)"):
        model.encode_species(torch.zeros(1, 3, 32, 32))

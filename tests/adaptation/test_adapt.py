"""A new species from a few photographs: what is learnt, what is saved, and what stays untouched."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from made import make_collection, train_tiny, without_previews
from safetensors.torch import load_file

from syntype.adaptation import METHODS, AdaptConfig, AdaptResult, adapt
from syntype.adaptation.learning import choose_photographs
from syntype.collection import Collection
from syntype.compute.tensors import to_tensor
from syntype.encoders import encode_collection, load_encoder
from syntype.errors import CollectionError, InputError, UnknownNameError, UnsupportedError
from syntype.files import read_json_object, write_json
from syntype.generators import load_generator
from syntype.generators.engine.checkpoint import read_state, write_weights
from syntype.generators.networks.instance_codes import pool_features
from syntype.run import Run


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    counts = {"Aus primus": 16, "Aus secundus": 12, "Bus tertius": 8, "Cus novus": 14, "Cus ultimus": 14, "Dus solus": 2}
    return make_collection(tmp_path_factory.mktemp("adaptation") / "collection", counts)


@pytest.fixture(autouse=True)
def _few_images_for_the_fisher_information(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("syntype.adaptation.learning"), "FISHER_IMAGES", 4)


@pytest.fixture(scope="module")
def base(collection: Collection) -> Path:
    return trained(collection, "projected", collection.root.parent / "base", steps=3)


def trained(collection: Collection, name: str, out: Path, steps: int) -> Path:
    return train_tiny(name, collection, out, steps=steps, only=("Aus primus", "Aus secundus", "Bus tertius")).folder


def adapted(collection: Collection, base: Path, species: str, out: Path, *, previews: bool = False, **settings: object):
    config = AdaptConfig.parse({"species": species, "steps": 3, "batch_size": 4, "precision": "fp32", "device": "cpu", **settings})
    with nullcontext() if previews else without_previews(), Run.start(out, "adapt", config, seed=0, quiet=True, resume=True) as run:
        return adapt(load_generator(base), collection, config, out, run)


@pytest.fixture(scope="module")
def once(collection: Collection, base: Path) -> Callable[[str], AdaptResult]:
    """An adaptation of three steps by each method, made once, to be read only."""
    folder = collection.root.parent
    return cache(lambda method: adapted(collection, base, "Cus novus", folder / method, previews=method == "finetune", method=method))


@pytest.mark.parametrize("method", METHODS)
def test_the_new_species_is_learnt_and_the_others_are_untouched(
    method: str, collection: Collection, base: Path, once: Callable[[str], AdaptResult], tmp_path: Path
) -> None:
    result = once(method)
    assert result.shots == 6 and result.relative in ("Aus primus", "Aus secundus", "Bus tertius")
    second = adapted(collection, result.folder, "Cus ultimus", tmp_path / "two")
    plain, one, two = load_generator(base), load_generator(result.folder), load_generator(tmp_path / "two")
    assert two.species == (*plain.species, "Cus novus", "Cus ultimus") and second.generator_id == two.generator_id
    old = list(plain.species)
    assert torch.equal(plain.sample(old, [0, 1, 2]), two.sample(old, [0, 1, 2]))
    assert torch.equal(one.sample(["Cus novus"], [5]), two.sample(["Cus novus", "Cus ultimus"], [5, 5])[:1])
    start = plain.sample([result.relative] * 4, [5, 6, 7, 8])
    assert not torch.equal(one.sample(["Cus novus"] * 4, [5, 6, 7, 8]), start)
    assert len(one.trained_on) == len(plain.trained_on) + 6 and one.trained_on > plain.trained_on


def test_only_what_changed_is_saved(base: Path, once: Callable[[str], AdaptResult]) -> None:
    folder = once("finetune").folder
    assert not (folder / "weights.safetensors").exists()
    saved, original = load_file(folder / "adapters/0000.safetensors"), load_file(base / "weights.safetensors")
    assert saved["new_row.embedding.weight"].shape == (1, original["embedding.weight"].shape[1])
    assert all(not torch.equal(tensor, original[name]) for name, tensor in saved.items() if not name.startswith("new_row."))


@pytest.mark.parametrize("method", [method for method in METHODS if method != "encode"])
def test_adaptation_resumes_to_the_same_weights(
    method: str, collection: Collection, base: Path, once: Callable[[str], AdaptResult], tmp_path: Path
) -> None:
    whole = once(method)
    adapted(collection, base, "Cus novus", tmp_path / "parts", method=method, steps=2)
    adapted(collection, base, "Cus novus", tmp_path / "parts", method=method, steps=whole.steps)
    name = "adapters/0000.safetensors"
    assert (whole.folder / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_an_adaptation_is_not_continued_with_another_method(collection: Collection, base: Path, tmp_path: Path) -> None:
    adapted(collection, base, "Cus novus", tmp_path / "one", method="ewc", steps=1)
    with pytest.raises(InputError, match="method"):
        adapted(collection, base, "Cus novus", tmp_path / "one", method="finetune")
    with pytest.raises(InputError, match="ewc_weight"):
        adapted(collection, base, "Cus novus", tmp_path / "one", method="ewc", ewc_weight=3.0)


def test_freeze_d_holds_the_lower_layers_of_the_discriminators_alone(base: Path, once: Callable[[str], AdaptResult]) -> None:
    before, after = read_state(base)["model"], read_state(once("freeze-d").folder)["model"]
    heads = [name for name in before if name.startswith("heads.") and name.endswith(".original") and "species" not in name]
    same = {name.rpartition(".parametrizations")[0] for name in heads if torch.equal(before[name], after[name])}
    assert {name.rpartition(".parametrizations")[0] for name in heads if ".body." in name} == same and same
    assert not torch.equal(before["generator.start.weight"], after["generator.start.weight"])


def test_ewc_stays_nearer_to_the_base_the_greater_its_weight(collection: Collection, base: Path, tmp_path: Path) -> None:
    original = load_file(base / "weights.safetensors")
    moved = {}
    for weight in (1e-6, 1e6):
        adapted(collection, base, "Cus novus", tmp_path / f"{weight}", method="ewc", ewc_weight=weight, steps=8)
        saved = load_file(tmp_path / f"{weight}/adapters/0000.safetensors")
        names = [name for name in saved if name in original and name.endswith("convs.0.weight")]
        moved[weight] = sum(float((saved[name] - original[name]).square().sum()) for name in names)
    assert 0 < moved[1e6] < 0.5 * moved[1e-6]


def test_modulate_keeps_factors_not_kernels(base: Path, once: Callable[[str], AdaptResult]) -> None:
    folder = once("modulate").folder
    saved, original = load_file(folder / "adapters/0000.safetensors"), load_file(base / "weights.safetensors")
    assert all(tensor.ndim <= 1 or name.startswith("new_row.") for name, tensor in saved.items())
    kernels = {name for name, tensor in original.items() if tensor.shape[2:] == (3, 3)}
    assert {name.removeprefix("factor_out.") for name in saved if name.startswith("factor_out.")} == kernels
    assert all(saved[f"factor_out.{name}"].abs().max() > 0 for name in kernels)

    by_hand = load_generator(base)  # the same image with kernels multiplied here
    by_hand.model.add_species("Cus novus", None)
    weights = by_hand.model.generator.state_dict()
    for name, tensor in saved.items():
        if name.startswith("new_row."):
            weights[name.removeprefix("new_row.")][-1] = tensor[0]
        elif not name.startswith("factor_"):
            weights[name].copy_(tensor)
    for name in kernels:
        weights[name].mul_(1 + torch.einsum("o,i->oi", saved[f"factor_out.{name}"], saved[f"factor_into.{name}"])[:, :, None, None])
    expected = by_hand.model.sample(["Cus novus"] * 2, [3, 4])
    torch.testing.assert_close(load_generator(folder).sample(["Cus novus"] * 2, [3, 4]), expected, atol=1e-5, rtol=1e-5)


def test_a_species_is_encoded_in_seconds_and_kilobytes(collection: Collection, base: Path, once: Callable[[str], AdaptResult]) -> None:
    result = once("encode")
    saved = load_file(result.folder / "adapters/0000.safetensors")
    assert (result.steps, result.status) == (0, "finished") and result.minutes > 0 and result.megabytes < 0.01
    assert all(name.startswith("new_row.") for name in saved), "no weight of the base is another"
    assert not (result.folder / "training").exists()
    photographs = set(choose_photographs(collection, "Cus novus", 6, seed=0).table["sha256"])
    assert set(load_generator(result.folder).trained_on) == set(load_generator(base).trained_on) | photographs


def test_codes_of_an_encoded_species_are_its_own_and_those_of_the_nearest_moved_to_its_mean(
    collection: Collection, base: Path, once: Callable[[str], AdaptResult]
) -> None:
    weights, saved = load_file(base / "weights.safetensors"), load_file(once("encode").folder / "adapters/0000.safetensors")
    model = load_generator(base).model
    images = to_tensor(choose_photographs(collection, "Cus novus", 6, seed=0).pixels(32))
    features = model.frozen_features()
    features.gain.copy_(weights["bank.gain"])
    with torch.no_grad():
        pooled = np.concatenate([pool_features(features(view), view).numpy() for view in (images, images.flip(3))])
    projected = pooled @ weights["bank.projection"].numpy()
    means, codes = weights["bank.mean"].double().numpy(), weights["bank.codes"].double().numpy()
    distances = ((means - projected.mean(0)) ** 2).sum(1)
    relative = int(distances.argmin())
    assert model.species[relative] == once("encode").relative
    first, number = weights["bank.spans"][relative].tolist()
    share = max(0.0, 1 - (codes**2).sum(1).mean() / 6 / distances[relative])
    own = projected - means[relative]
    lent = codes[first + np.linspace(0, number - 1, min(12, number)).astype(int)]
    expected = np.concatenate([own, lent + share * own.mean(0)])
    torch.testing.assert_close(saved["new_row.bank.codes"].double(), torch.from_numpy(expected), atol=1e-3, rtol=1e-3)
    assert torch.equal(saved["new_row.embedding.weight"][0], weights["embedding.weight"][relative])


def test_several_species_are_encoded_one_after_the_other(
    collection: Collection, base: Path, once: Callable[[str], AdaptResult], tmp_path: Path
) -> None:
    one = once("encode").folder
    adapted(collection, base, "Cus ultimus", tmp_path / "alone", method="encode")
    adapted(collection, one, "Cus ultimus", tmp_path / "two", method="encode")
    adapted(collection, tmp_path / "two", "Dus solus", tmp_path / "three", method="modulate", steps=1)
    three, seeds = load_generator(tmp_path / "three"), list(range(8))
    assert three.species[-3:] == ("Cus novus", "Cus ultimus", "Dus solus")
    for name, folder in {"Cus novus": one, "Cus ultimus": tmp_path / "alone"}.items():
        drawn = three.sample([name] * 8, seeds)
        assert torch.equal(drawn, load_generator(folder).sample([name] * 8, seeds)), "codes of one species are not taken for another's"
        assert torch.equal(drawn[3:4], three.sample([name], [3]))
    ends = three.blend([("Aus primus", "Cus ultimus")] * 2, [(1, 2)] * 2, [0.0, 1.0])
    torch.testing.assert_close(ends[1:], three.sample(["Cus ultimus"], [2]), atol=1e-5, rtol=1e-5)


def test_what_cannot_be_encoded_is_refused_in_words(collection: Collection, base: Path, tmp_path: Path) -> None:
    trained(collection, "fastgan", tmp_path / "fastgan", steps=1)
    with pytest.raises(UnsupportedError, match=r"fastgan cannot .*encode.*: lora, projected\."):
        adapted(collection, tmp_path / "fastgan", "Cus novus", tmp_path / "one", method="encode")
    shutil.copytree(base, tmp_path / "old")  # as an older version saved it
    info, weights = read_json_object(base / "generator.json"), load_file(base / "weights.safetensors")
    digest = write_weights(tmp_path / "old/weights.safetensors", {k: v for k, v in weights.items() if k not in ("bank.gain", "bank.projection")})
    write_json(tmp_path / "old/generator.json", {**info, "weights_sha256": digest})
    with pytest.raises(UnsupportedError, match="older version"):
        adapted(collection, tmp_path / "old", "Cus novus", tmp_path / "two", method="encode")


def test_methods_that_need_the_discriminators_say_so(collection: Collection, base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "base")
    (tmp_path / "base/training/state.pt").unlink()
    for method in ("freeze-d", "ewc"):
        with pytest.raises(InputError, match=r"training/state\.pt"):
            adapted(collection, tmp_path / "base", "Cus novus", tmp_path / method, method=method)
    assert adapted(collection, tmp_path / "base", "Cus novus", tmp_path / "modulate", method="modulate").steps == 3


def test_photographs_come_from_many_groups_and_from_training_alone(collection: Collection) -> None:
    chosen = choose_photographs(collection, "Cus novus", 4, seed=3)
    assert len(chosen) == 4 and chosen.table["group"].nunique() == 4 and set(chosen.table["split"]) == {"train"}
    assert choose_photographs(collection, "Cus novus", 4, seed=3).table["image_id"].tolist() == chosen.table["image_id"].tolist()


@pytest.mark.parametrize("number", [4000, 12, 1])
def test_the_relative_is_the_species_whose_mean_photograph_is_nearest(
    number: int, collection: Collection, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("syntype.adaptation.relatives"), "MAX_COMPARED", number)
    found = adapted(collection, base, "Cus novus", tmp_path / "one", steps=1).relative
    chosen = {}  # of each species as many photographs, evenly spaced
    for name in ("Aus primus", "Aus secundus", "Bus tertius"):
        photographs = collection.training().select(species=name)
        most = min(len(photographs), max(1, number // 3))
        rows = [row for row in range(len(photographs)) if (row + 1) * most // len(photographs) > row * most // len(photographs)]
        assert len(rows) == most
        chosen[name] = encode_collection(load_encoder("lite2"), photographs, pixels=64)[rows]
    new = encode_collection(load_encoder("lite2"), choose_photographs(collection, "Cus novus", 6, 0), pixels=64).mean(0)
    middle = np.concatenate(list(chosen.values())).mean(0)
    away = {name: features.mean(0) - middle for name, features in chosen.items()}
    assert found == max(away, key=lambda name: away[name] @ (new - middle) / np.linalg.norm(away[name]))


def test_the_rate_scales_how_far_a_step_goes(collection: Collection, base: Path, tmp_path: Path) -> None:
    original = load_file(base / "weights.safetensors")["start.weight"]
    moved = {}
    for rate in (1.0, 0.25):
        adapted(collection, base, "Cus novus", tmp_path / f"{rate}", method="finetune", learning_rate_factor=rate, steps=1)
        moved[rate] = load_file(tmp_path / f"{rate}/adapters/0000.safetensors")["start.weight"] - original
    torch.testing.assert_close(moved[0.25], 0.25 * moved[1.0], atol=2e-6, rtol=0.01)
    with pytest.raises(InputError, match="learning_rate_factor"):
        adapted(collection, base, "Cus novus", tmp_path / "1.0", method="finetune", learning_rate_factor=0.5)


def test_fewer_photographs_than_asked_for_are_enough(collection: Collection, base: Path, tmp_path: Path) -> None:
    result = adapted(collection, base, "Dus solus", tmp_path / "few")
    assert result.shots == 2
    assert load_generator(tmp_path / "few").sample(["Dus solus"], [0]).shape == (1, 3, 32, 32)


def test_mistakes_are_explained(collection: Collection, base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="knows Aus primus already"):
        adapted(collection, base, "Aus primus", tmp_path / "a")
    with pytest.raises(UnknownNameError, match="Cus novus"):
        adapted(collection, base, "Cus novvs", tmp_path / "b")
    with pytest.raises(UnknownNameError, match="finetune"):
        adapted(collection, base, "Cus novus", tmp_path / "c", method="magic")
    copies = trained(collection, "copies", tmp_path / "copies", steps=1)
    with pytest.raises(UnsupportedError, match="copies cannot be adapted"):
        adapted(collection, copies, "Cus novus", tmp_path / "d")


def test_a_base_that_is_gone_or_changed_is_noticed(collection: Collection, base: Path, tmp_path: Path) -> None:
    moved = tmp_path / "base"
    shutil.copytree(base, moved)
    adapted(collection, moved, "Cus novus", tmp_path / "one")
    moved.rename(tmp_path / "elsewhere")
    with pytest.raises(CollectionError, match="is not at"):
        load_generator(tmp_path / "one")
    (tmp_path / "elsewhere").rename(moved)
    text = (moved / "generator.json").read_text()
    (moved / "generator.json").write_text(text.replace('"weights_sha256": "', '"weights_sha256": "0'))
    with pytest.raises(CollectionError, match="trained further"):
        load_generator(tmp_path / "one")


def test_what_a_relative_lends_changes_what_is_learnt(collection: Collection, base: Path, once: Callable[[str], AdaptResult], tmp_path: Path) -> None:
    learnt = {None: load_generator(once("modulate").folder).sample(["Cus novus"], [0])}
    for relative_share in (0.0, 0.5):
        adapted(collection, base, "Cus novus", tmp_path / f"{relative_share}", relative_share=relative_share)
        learnt[relative_share] = load_generator(tmp_path / f"{relative_share}").sample(["Cus novus"], [0])
    assert torch.equal(learnt[None], learnt[0.5]), "projected lends one half by default"
    assert not torch.equal(learnt[0.0], learnt[0.5])
    with pytest.raises(InputError, match="relative_share"):
        adapted(collection, base, "Cus novus", tmp_path / "0.5", relative_share=0.25)


def test_a_family_without_codes_has_nothing_to_lend(collection: Collection, tmp_path: Path) -> None:
    trained(collection, "fastgan", tmp_path / "base", steps=1)
    with pytest.raises(UnsupportedError, match="relative"):
        adapted(collection, tmp_path / "base", "Cus novus", tmp_path / "one", relative_share=0.5, steps=1)
    adapted(collection, tmp_path / "base", "Cus novus", tmp_path / "one", steps=1)

"""Many species: each is learnt as it would be alone, in few files, in parts, and wherever it is learnt."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
import torch
from made import make_collection, train_tiny, without_previews

from syntype.adaptation import AdaptConfig, AdaptManyConfig, adapt, adapt_many
from syntype.adaptation.learning import Learner
from syntype.cluster import Cluster
from syntype.collection import Collection
from syntype.errors import CollectionError, TrainingError
from syntype.files import read_json_object
from syntype.generators import load_generator
from syntype.run import Run
from syntype.synthesis import GenerateConfig, generate

KNOWN = ("Aus primus", "Aus secundus")
NEW = ("Bus tertius", "Cus novus", "Cus/ultimus", "Dus solus")
SETTINGS = {"steps": 2, "batch_size": 4, "precision": "fp32", "device": "cpu", "species_per_task": 3}


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return make_collection(tmp_path_factory.mktemp("many") / "collection", {**dict.fromkeys(KNOWN, 8), **dict.fromkeys(NEW, 8)}, split="train")


@pytest.fixture(scope="module")
def base(collection: Collection) -> Path:
    return train_tiny("fastgan", collection, collection.root.parent / "base", steps=1, only=KNOWN).folder


def many(collection: Collection, base: Path, out: Path, cluster: Cluster | None = None, **changes: object):
    config = AdaptManyConfig.parse({**SETTINGS, **changes})
    with Run.start(out, "adapt-many", config, seed=0, quiet=True, resume=True) as run:
        return adapt_many(load_generator(base), collection, config, out, run, cluster=cluster)


def table(folder: Path) -> dict[str, dict[str, str]]:
    return {row["species"]: row for row in csv.DictReader((folder / "species.csv").read_text(encoding="utf-8").splitlines())}


def interrupted_at(species: str):
    """In place of ``Learner.learn``: Ctrl-C when this species is to be learnt."""
    own = Learner.learn

    def learn(self: Learner, config: AdaptConfig, out: Path, run: Run):
        if config.species == species:
            raise KeyboardInterrupt
        return own(self, config, out, run)

    return learn


@pytest.fixture(scope="module")
def done(collection: Collection, base: Path) -> Path:
    result = many(collection, base, collection.root.parent / "done")
    assert (result.num_done, result.num_failed, result.num_files) == (4, 0, 2)
    return result.folder


def test_each_species_is_learnt_as_it_would_be_alone(collection: Collection, base: Path, done: Path, tmp_path: Path) -> None:
    config = AdaptConfig.parse({**{name: value for name, value in SETTINGS.items() if name != "species_per_task"}, "species": NEW[2]})
    with without_previews():
        adapt(load_generator(base), collection, config, tmp_path / "alone", Run.silent())
    alone = read_json_object(tmp_path / "alone" / "generator.json")["adapters"][0]
    assert table(done)[NEW[2]]["sha256"] == alone["sha256"]
    one, packed, seeds = load_generator(tmp_path / "alone"), load_generator(done), [3, 4]
    assert torch.equal(one.sample([NEW[2]] * 2, seeds), packed.sample([NEW[2]] * 2, seeds))
    assert one.trained_on < packed.trained_on


def test_one_more_species_joins_many_and_many_more_join_it(collection: Collection, base: Path, done: Path, tmp_path: Path) -> None:
    few = many(collection, base, tmp_path / "few", species=NEW[:1]).folder
    config = AdaptConfig.parse({**{name: value for name, value in SETTINGS.items() if name != "species_per_task"}, "species": NEW[1]})
    with without_previews():
        adapt(load_generator(few), collection, config, tmp_path / "one-more", Run.silent())
    result = many(collection, tmp_path / "one-more", tmp_path / "rest")
    assert result.num_done == 2
    whole, grown = load_generator(done), load_generator(tmp_path / "rest")
    assert grown.species == whole.species and grown.trained_on == whole.trained_on
    assert torch.equal(grown.sample(list(NEW), [1, 2, 3, 4]), whole.sample(list(NEW), [1, 2, 3, 4]))


def test_species_can_be_asked_for_in_any_order(base: Path, done: Path) -> None:
    first, second, plain = load_generator(done), load_generator(done), load_generator(base)
    assert first.species == (*KNOWN, *NEW)
    forwards = {name: first.sample([name], [7]) for name in NEW}
    backwards = {name: second.sample([name], [7]) for name in reversed(NEW)}
    assert all(torch.equal(forwards[name], backwards[name]) for name in NEW)
    assert torch.equal(second.sample([NEW[1], KNOWN[0], NEW[3]], [7, 1, 7])[[0, 2]], torch.cat([forwards[NEW[1]], forwards[NEW[3]]]))
    assert torch.equal(second.sample(list(KNOWN), [1, 2]), plain.sample(list(KNOWN), [1, 2]))
    assert first.species == second.species == (*KNOWN, *NEW)
    ends = first.blend([(NEW[0], NEW[3])] * 2, [(7, 7)] * 2, [0.0, 1.0])
    assert torch.allclose(ends[1:], forwards[NEW[3]], atol=1e-5)


def test_generate_draws_all_of_them(done: Path, tmp_path: Path) -> None:
    drawn = generate(load_generator(done), GenerateConfig(num=1), tmp_path / "drawn", Run.silent()).collection
    assert drawn.counts() == dict.fromkeys((*KNOWN, *NEW), 1)


def test_the_folder_holds_few_files(done: Path) -> None:
    assert sorted(path.name for path in done.iterdir()) == [
        "adapters", "generator.json", "progress.jsonl", "recipe.yaml", "run.json", "species.csv", "tasks", "training_images.txt",
    ]  # fmt: skip
    assert not list((done / "tasks").iterdir()) and len(list((done / "adapters").iterdir())) == 2


def test_a_damaged_shard_is_told_with_its_species(done: Path, tmp_path: Path) -> None:
    shutil.copytree(done, tmp_path / "done")
    file = tmp_path / "done" / table(done)[NEW[0]]["file"]
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    generator = load_generator(tmp_path / "done")
    with pytest.raises(CollectionError, match="have changed since"):
        for name in NEW[:3]:
            generator.sample([name], [0])
    file.unlink()
    with pytest.raises(CollectionError, match="missing"):
        load_generator(tmp_path / "done").sample([NEW[0]], [0])


def test_what_fails_is_told_and_a_second_call_does_the_missing_alone(
    collection: Collection, base: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt, own = [], Learner.learn

    def learn(self: Learner, config: AdaptConfig, out: Path, run: Run):
        learnt.append(config.species)
        if config.species == NEW[1] and learnt.count(NEW[1]) == 1:
            raise TrainingError("training diverged.")
        if config.species == NEW[3] and learnt.count(NEW[3]) == 1:
            raise KeyboardInterrupt
        return own(self, config, out, run)

    monkeypatch.setattr(Learner, "learn", learn)
    names = (*NEW, "Nemo", KNOWN[0])
    with pytest.raises(KeyboardInterrupt):
        many(collection, base, tmp_path / "out", species=names)
    assert {row["status"] for row in table(tmp_path / "out").values()} == {"done", "failed", "missing"}
    result = many(collection, base, tmp_path / "out", species=names)
    rows = table(tmp_path / "out")
    assert learnt == [*NEW, NEW[3], "Nemo", KNOWN[0], NEW[1]]
    assert (result.num_done, result.num_failed) == (4, 2)
    assert "Nemo" in rows["Nemo"]["reason"] and "knows Aus primus already" in rows[KNOWN[0]]["reason"]
    assert {name: rows[name]["sha256"] for name in NEW} == {name: table(done)[name]["sha256"] for name in NEW}
    assert result.generator_id == load_generator(done).generator_id


@pytest.mark.slow
def test_processes_learn_the_same_and_go_on_with_what_was_begun_here(
    collection: Collection, base: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "learn", interrupted_at(NEW[1]))
        with pytest.raises(KeyboardInterrupt):
            many(collection, base, tmp_path / "out", species=NEW[:3])
    assert (tmp_path / "out/tasks/0000/0000.json").is_file()
    result = many(collection, base, tmp_path / "out", Cluster(executor="processes", poll_seconds=0.1))
    assert result.num_done == 4
    assert {name: row["sha256"] for name, row in table(tmp_path / "out").items()} == {name: row["sha256"] for name, row in table(done).items()}
    assert result.generator_id == load_generator(done).generator_id

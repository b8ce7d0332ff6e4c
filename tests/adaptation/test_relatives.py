"""Which known species a new one starts from: a relative, where the collection says which species are relatives."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from made import make_collection, train_tiny, without_previews

from syntype.adaptation import AdaptConfig, adapt
from syntype.adaptation.learning import choose_photographs
from syntype.adaptation.relatives import Relatives
from syntype.collection import Collection
from syntype.collection.relatives import nearest_relatives, taxa_of
from syntype.generators import load_generator
from syntype.run import Run

KNOWN = ("Aus primus", "Aus secundus", "Bus tertius")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    counts = {"Aus primus": 8, "Aus secundus": 8, "Bus tertius": 8, "Cus novus": 8}
    return make_collection(tmp_path_factory.mktemp("relatives") / "collection", counts)


def with_ranks(collection: Collection, **columns: dict[str, str]) -> Collection:
    """The same photographs with further columns."""
    table = collection.table.copy()
    for rank, names in columns.items():
        table[rank] = table["species"].map(names)
    return Collection(collection.root, table, collection.species, {})


def relative_in(collection: Collection) -> tuple[str | None, str | None]:
    return Relatives(collection, KNOWN).most_similar(choose_photographs(collection, "Cus novus", 6, 0))


def test_taxa_are_read_and_what_contradicts_itself_is_unknown() -> None:
    table = pd.DataFrame({"species": ["a", "a", "b", "c", None], "genus": ["A", "A", "B", None, "X"], "order": ["O", "P", "O", None, "X"]})
    assert taxa_of(table, ["a", "b", "c"]) == {"genus": ("A", "B", None), "order": (None, "O", None)}
    assert taxa_of(table[["species"]], ["a"]) == {}


def test_the_lowest_shared_rank_decides() -> None:
    taxa = {"genus": ("A", "B", "A", None), "family": ("F", "F", "G", "G"), "order": (None, "O", "O", "O")}
    assert nearest_relatives(taxa, 0, [0, 1, 2, 3]) == ("genus", [2])
    assert nearest_relatives(taxa, 0, [1, 3]) == ("family", [1])
    assert nearest_relatives(taxa, 3, [0, 1]) == ("order", [1])
    assert nearest_relatives(taxa, 0, [3]) == (None, []) and nearest_relatives({}, 0, [1]) == (None, [])


def test_a_relative_comes_before_a_look_alike(plain: Collection) -> None:
    alike, rank = relative_in(plain)
    assert rank is None and alike in KNOWN
    other = next(name for name in KNOWN if name != alike)
    assert relative_in(with_ranks(plain, genus={other: "Cus", "Cus novus": "Cus", alike: "Dus"})) == (other, "genus")
    assert relative_in(with_ranks(plain, genus={"Cus novus": "Cus"}, family={other: "Cusidae", "Cus novus": "Cusidae"})) == (other, "family")
    assert relative_in(with_ranks(plain, order={other: "Cales", "Cus novus": "Cales"})) == (other, "order")
    assert relative_in(with_ranks(plain, family={other: "Ausidae", "Cus novus": "Cusidae"})) == (alike, None)


def test_of_several_relatives_the_most_similar_one_is_taken(plain: Collection) -> None:
    alike, _ = relative_in(plain)
    assert relative_in(with_ranks(plain, family=dict.fromkeys([*KNOWN, "Cus novus"], "Cusidae"))) == (alike, "family")


def test_the_adaptation_says_which_relative_it_starts_from(plain: Collection, tmp_path: Path) -> None:
    alike, _ = relative_in(plain)
    other = next(name for name in KNOWN if name != alike)
    base = train_tiny("projected", plain, tmp_path / "base", steps=1, only=KNOWN).folder
    config = AdaptConfig.parse({"species": "Cus novus", "steps": 1, "batch_size": 2, "precision": "fp32", "device": "cpu"})
    collection = with_ranks(plain, genus={other: "Cus", "Cus novus": "Cus"})
    with without_previews(), Run.start(tmp_path / "out", "adapt", config, seed=0, quiet=True) as run:
        result = adapt(load_generator(base), collection, config, tmp_path / "out", run)
    assert (result.relative, result.relative_rank) == (other, "genus") and result.summary()["relative_rank"] == "genus"
    assert f"The nearest relative of Cus novus is {other}, of the same genus." in (tmp_path / "out" / "progress.jsonl").read_text()
    adapter = json.loads((tmp_path / "out" / "generator.json").read_text())["adapters"][0]
    assert (adapter["relative"], adapter["relative_rank"]) == (other, "genus")

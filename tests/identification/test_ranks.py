"""Answers at the lowest rank of which a classifier is sure."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made import make_collection

from syntype.collection import Collection
from syntype.errors import InputError
from syntype.identification import ClassifierConfig, ClassifierResult, load_classifier, predict, train_classifier
from syntype.identification.ranks import Answer, Ranks, lowest_sure, rank_metrics, ranks_of
from syntype.run import Run

SPECIES = ("Aus primus", "Aus secundus", "Bus tertius", "Cus quartus")
RANKS = Ranks({"genus": ("Aus", "Aus", "Bus", None), "family": ("Ausidae", "Ausidae", "Ausidae", "Cusidae")})
SHARES = np.array([[0.9, 0.05, 0.03, 0.02], [0.5, 0.43, 0.04, 0.03], [0.4, 0.2, 0.3, 0.1], [0.3, 0.2, 0.1, 0.4], [0.0, 0.1, 0.0, 0.9]], np.float32)


def test_the_lowest_sure_rank_is_named() -> None:
    answers = lowest_sure(SHARES, SPECIES, RANKS, 0.8)
    assert [(one.rank, one.name) for one in answers] == [
        ("species", "Aus primus"), ("genus", "Aus"), ("family", "Ausidae"), ("none", ""), ("species", "Cus quartus"),
    ]  # fmt: skip
    assert [round(one.probability, 4) for one in answers] == [0.9, 0.93, 0.9, 0.4, 0.9]
    assert [one.shown() for one in answers[:2]] == ["Aus primus 0.90", "Aus (genus) 0.93"]
    assert answers[3].shown() == "not sure (best species 0.40)"


def test_a_lower_threshold_names_more_species_and_no_image_is_no_answer() -> None:
    assert [one.rank for one in lowest_sure(SHARES, SPECIES, RANKS, 0.35)] == ["species"] * 5
    assert lowest_sure(SHARES[:0], SPECIES, RANKS, 0.8) == []
    assert lowest_sure(np.array([[0.25] * 4], np.float32), SPECIES, RANKS, 1.0) == [Answer("none", "", 0.25)]


def test_sums_are_those_of_a_loop_over_the_species() -> None:
    random = np.random.default_rng(0)
    genera = tuple(random.choice(["A", "B", "C", None], 50))
    shares = random.dirichlet(np.ones(50), 7)
    ranks = Ranks({"genus": genera})
    by_hand = [[sum(row[place] for place, name in enumerate(genera) if name == taxon) for taxon in ranks.taxa("genus")] for row in shares]
    np.testing.assert_allclose(ranks.sums(shares, "genus"), by_hand, rtol=1e-12)


def test_figures_at_each_rank() -> None:
    found = rank_metrics(SHARES, np.array([0, 2, 2, 3, 3]), SPECIES, RANKS, 0.8)
    assert found["species"] == {"accuracy": pytest.approx(3 / 5), "answered": pytest.approx(2 / 5), "right": 1.0}
    assert found["genus"] == {"accuracy": 1 / 3, "answered": 1 / 5, "right": 0.0}  # two of five have no known genus
    assert found["family"] == {"accuracy": pytest.approx(4 / 5), "answered": 1 / 5, "right": 1.0}
    assert found["none"] == {"answered": 1 / 5}
    empty = rank_metrics(SHARES[:0], np.empty(0, np.int64), SPECIES, RANKS, 0.8)
    assert empty["genus"] == {"accuracy": None, "answered": None, "right": None}


def with_columns(folder: Path, **columns: dict[str, object]) -> Collection:
    made = make_collection(folder, {"Aus primus": 16, "Aus secundus": 16, "Bus tertius": 16, "Blue fish": 8}, seed=1)
    table = made.table.copy()
    for name, values in columns.items():
        table[name] = table["species"].map(values)
    return Collection.create(folder, table, species=made.species)


def test_ranks_come_from_columns_and_the_genus_else_from_the_name(tmp_path: Path) -> None:
    made = with_columns(tmp_path / "in", family={"Aus primus": "Ausidae", "Bus tertius": "Busidae"}, genus={"Aus secundus": "Dus"})
    found = ranks_of(made.training(), made.species)
    assert found is not None
    assert found.names["genus"] == ("Aus", "Dus", "Bus", "Blue")
    assert found.names["family"] == ("Ausidae", None, "Busidae", None) and "order" not in found.names


def test_a_rank_that_differs_within_a_species_is_unknown_and_common_names_have_no_genus(tmp_path: Path) -> None:
    made = make_collection(tmp_path / "in", {"Blue tang": 6, "Red mullet": 6})
    assert ranks_of(made.training(), made.species) is None
    table = made.table.copy()
    table["family"] = ["Ausidae", "Busidae"] * 3 + ["Cusidae"] * 6
    found = ranks_of(Collection.create(tmp_path / "in", table, species=made.species).training(), made.species)
    assert found is not None and found.names == {"family": (None, "Cusidae")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ClassifierResult:
    folder = tmp_path_factory.mktemp("ranks")
    families = {"Aus primus": "Ausidae", "Aus secundus": "Ausidae", "Bus tertius": "Busidae", "Blue fish": "Ausidae"}
    config = ClassifierConfig(backbone="scratch", size=32, steps=4, batch_size=8, device="cpu")
    return train_classifier(with_columns(folder / "in", family=families), config, folder / "classifier", Run.silent())


def test_training_reports_each_rank_and_keeps_the_ranks(trained: ClassifierResult) -> None:
    ranks = trained.summary()["ranks"]
    assert list(ranks) == ["species", "genus", "family", "none"]
    assert sum(row["answered"] for row in ranks.values()) == pytest.approx(1)
    assert ranks["family"]["accuracy"] >= 0 and ranks["species"]["accuracy"] == pytest.approx(trained.metrics.accuracy)
    assert json.loads((trained.folder / "classifier.json").read_text())["ranks"]["family"] == ["Ausidae", "Ausidae", "Busidae", "Ausidae"]
    assert load_classifier(trained.folder, "cpu").ranks == trained.classifier.ranks
    assert "| genus |" in (trained.folder / "MODEL_CARD.md").read_text()


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_predictions_name_the_lowest_sure_rank(trained: ClassifierResult, tmp_path: Path) -> None:
    photographs = trained.folder.parent / "in" / "images"
    classifier = load_classifier(trained.folder, "cpu")
    result = predict(classifier, photographs, tmp_path / "sure.csv", Run.silent(), sure=1.0)
    rows = rows_of(tmp_path / "sure.csv")
    assert {row["rank"] for row in rows} <= {"none", "species", "genus", "family"}
    assert sum(result.answered.values()) == len(rows) == result.num_images
    assert 0 < len(result.unsure) <= 10 and "unsure" in result.summary()
    predict(classifier, photographs, tmp_path / "any.csv", Run.silent(), sure=0.01)
    for row in rows_of(tmp_path / "any.csv"):
        assert (row["rank"], row["name"], row["name_probability"]) == ("species", row["species"], row["probability"])
    for wrong in (0.0, 1.5, float("nan")):
        with pytest.raises(InputError, match="sure"):
            predict(classifier, photographs, tmp_path / "no.csv", Run.silent(), sure=wrong)


def test_pybioclip_rows_have_the_known_ranks(trained: ClassifierResult, tmp_path: Path) -> None:
    predict(trained.classifier, trained.folder.parent / "in" / "images", tmp_path / "out.csv", Run.silent(), "pybioclip")
    assert {row["family"] for row in rows_of(tmp_path / "out.csv") if row["species"] == "Bus tertius"} == {"Busidae"}


def test_a_classifier_without_ranks_predicts_as_before(trained: ClassifierResult, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    shutil.copyfile(trained.folder / "weights.safetensors", old / "weights.safetensors")
    record = json.loads((trained.folder / "classifier.json").read_text())
    del record["ranks"], record["config"]["sure"]
    (old / "classifier.json").write_text(json.dumps(record))
    result = predict(load_classifier(old, "cpu"), trained.folder.parent / "in" / "images", tmp_path / "old.csv", Run.silent())
    before, now = pd.read_csv(tmp_path / "old.csv"), tmp_path / "new.csv"
    predict(load_classifier(trained.folder, "cpu"), trained.folder.parent / "in" / "images", now, Run.silent())
    assert "rank" not in before and "answered" not in result.summary()
    pd.testing.assert_frame_equal(before, pd.read_csv(now)[before.columns])


@pytest.mark.parametrize("value", [{"genus": ["Aus"]}, {"tribe": [None] * 4}, {"genus": [1, 2, 3, 4]}, ["Aus"], 3])
def test_damaged_ranks_are_refused(trained: ClassifierResult, tmp_path: Path, value: object) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    shutil.copyfile(trained.folder / "weights.safetensors", folder / "weights.safetensors")
    record = json.loads((trained.folder / "classifier.json").read_text())
    (folder / "classifier.json").write_text(json.dumps({**record, "ranks": value}))
    with pytest.raises(InputError, match="is damaged: 'ranks'"):
        load_classifier(folder, "cpu")

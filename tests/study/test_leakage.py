from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from syntype.collection import Collection
from syntype.curation.leaks import Leaks, held_back_apart
from syntype.errors import LeakageError
from syntype.identification import ClassifierConfig, train_classifier
from syntype.run import Run
from syntype.study import StudyConfig, study
from syntype.study.fidelity import EvaluateConfig, evaluate
from syntype.study.leakage import check_leakage, check_synthetic


def changed(collection: Collection, rows: dict[int, dict[str, object]]) -> Collection:
    table = collection.table.copy()
    for row, values in rows.items():
        for column, value in values.items():
            table.loc[row, column] = value
    return Collection(collection.root, table, collection.species, collection.info)


def first(collection: Collection, split: str) -> int:
    return int(collection.table.index[collection.table["split"] == split][0])


def test_a_clean_collection_passes(reef: Collection) -> None:
    check_leakage(reef)
    check_leakage(reef, trained_on=frozenset(reef.training().table["sha256"]))


@pytest.mark.parametrize("column", ["group", "sha256"])
def test_what_lies_in_two_splits_is_refused_by_name(reef: Collection, column: str) -> None:
    train, test = first(reef, "train"), first(reef, "test")
    spoiled = changed(reef, {test: {column: reef.table[column][train]}})
    with pytest.raises(LeakageError, match="syntype collect") as caught:
        check_leakage(spoiled)
    assert str(reef.table["image_id"][test]) in str(caught.value)
    assert str(reef.table["image_id"][train]) in str(caught.value)


def test_equal_hashes_of_different_pictures_are_let_through(reef: Collection) -> None:
    train, test = first(reef, "train"), first(reef, "test")
    check_leakage(changed(reef, {test: {"phash": reef.table["phash"][train]}}))


def test_a_generator_that_has_seen_a_test_photograph_is_refused(reef: Collection) -> None:
    test = first(reef, "test")
    with pytest.raises(LeakageError, match="trained on 1 of the test photographs") as caught:
        check_leakage(reef, trained_on=frozenset([str(reef.table["sha256"][test])]))
    assert str(reef.table["image_id"][test]) in str(caught.value)


def test_synthetic_images_that_are_test_photographs_are_refused(reef: Collection) -> None:
    made = reef.training()
    check_synthetic(made, reef)
    test = reef.table.iloc[first(reef, "test")]
    for values in ({"sha256": test["sha256"]}, {"parents": json.dumps([test["image_id"]])}):
        with pytest.raises(LeakageError, match="1 synthetic images"):
            check_synthetic(changed(made, {3: values}), reef)


def test_missing_values_are_no_leak(reef: Collection) -> None:
    table = reef.table.copy()
    for column in ("group", "sha256", "phash"):
        table[column] = pd.array([None] * len(table), dtype="string")
    check_leakage(Collection(reef.root, table, reef.species, reef.info))


@pytest.fixture
def mirrored(reef: Collection, tmp_path: Path) -> Path:
    """A synthetic collection of all test photographs, mirrored."""
    test = reef.select(split="test")
    (tmp_path / "made" / "images").mkdir(parents=True)
    names = [f"images/{row}.png" for row in range(len(test))]
    for name, picture in zip(names, test.pixels(32), strict=True):
        Image.fromarray(picture[:, ::-1].copy()).save(tmp_path / "made" / name)
    table = pd.DataFrame({"image_id": names, "file_name": names, "species": test.table["species"].tolist(), "origin": "synthetic"})
    return Collection.create(tmp_path / "made", table, species=reef.species).root


SMALL = ClassifierConfig(backbone="scratch", steps=2, batch_size=4)


def test_a_study_of_mirrored_test_photographs_is_refused_before_any_arm_is_trained(
    reef: Collection, mirrored: Path, fits: list[dict[str, Any]], curations: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(import_module("syntype.study.study"), "held_back_apart", held_back_apart)
    asked = StudyConfig(synthetic=str(mirrored), quick=True, seeds=1, size=32, arms=("real", "synthetic+curated"), classifier=SMALL)
    with pytest.raises(LeakageError, match=r"leakage\.html"):
        study(reef, asked, tmp_path / "out", Run.silent())
    assert not fits and "data:image/png" in (tmp_path / "out" / "leakage.html").read_text(encoding="utf-8")


def test_photographs_that_are_left_out_are_counted_and_shown(
    reef: Collection, mirrored: Path, fits: list[dict[str, Any]], curations: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = str(reef.select(split="test").table["image_id"][0])
    pair = {"image": "a", "photograph": name, "split": "test", "distance": 0.01, "found_by": "copies", "pictures": ["data:image/png;base64,AA"] * 2}
    found = Leaks(9, 28, [pair], [name])
    monkeypatch.setattr(
        import_module("syntype.study.study"), "held_back_apart", lambda real, images, **_: (real.where(real.table["image_id"].ne(name)), found)
    )
    asked = StudyConfig(
        synthetic=str(mirrored), quick=True, seeds=1, size=32, arms=("real", "synthetic+curated"), classifier=SMALL, num_bootstrap=100
    )
    result = study(reef, asked, tmp_path / "out", Run.silent())
    assert result.results["leakage"]["left_out"] == [name]
    assert sum(entry["num_test"] for entry in result.results["species"]) == len(reef.select(split="test")) - 1
    assert "Photographs left out of the test" in result.report.read_text(encoding="utf-8")


def test_a_classifier_and_an_evaluation_refuse_mirrored_test_photographs(reef: Collection, mirrored: Path, tmp_path: Path) -> None:
    made = Collection.open(mirrored)
    with pytest.raises(LeakageError, match="repeat validation or test photographs"):
        train_classifier(reef, SMALL, tmp_path / "classifier", Run.silent(), made)
    with pytest.raises(LeakageError, match="repeat validation or test photographs"):
        evaluate(made, reef, EvaluateConfig(size=32), Run.silent())

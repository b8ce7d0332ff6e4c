from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syntype.collection import Collection
from syntype.errors import CollectionError, RecipeError
from syntype.identification import ClassifierConfig
from syntype.run import Run
from syntype.study import StudyConfig, plan_study, study
from syntype.study.arms import ARMS
from syntype.study.running import classifier_of
from syntype.study.synthetic import _size_of

FEW = ("real", "mixup", "copies", "synthetic+curated")
TRIED = {
    "photographs": ({}, {"learning_rate": 0.5}, {"mix": "cutmix"}),
    "synthetic": ({"ratio": 2.0, "synthetic_share": 0.1}, {"ratio": 0.5}, {"ratio": 1.0, "mix": "mixup"}),
}


def config(**changes: Any) -> StudyConfig:
    values = {
        "generator": "copies", "seeds": 2, "fill_to": 8, "size": 32, "num_bootstrap": 200, "arms": FEW, "device": "cpu",
        "classifier": {"steps": 7}, "tuning": TRIED,
    }  # fmt: skip
    return StudyConfig.parse({**values, **changes})


def test_every_arm_chooses_among_as_many_settings_before_the_test_photographs_are_read(
    reef: Collection, fits: list[dict[str, Any]], curations: list[Path], tmp_path: Path
) -> None:
    result = study(reef, config(), tmp_path / "out", Run.silent())
    tuning, arms = result.results["tuning"]["arms"], result.results["arms"]
    assert list(tuning) == ["synthetic+curated", "real", "mixup"]  # the control arm follows the curated one
    assert len(fits) == 3 * 3 + 2 * len(FEW) == plan_study(reef, config()).num_classifiers
    assert {call["config"].tune for call in fits} == {"last"} and {call["config"].batch_size for call in fits} == {32}

    # the choice, from the saved predictions: once each, never of test photographs
    val, counts = reef.select(split="val"), reef.training().counts()
    rare = {name: count for name, count in counts.items() if count < 8}
    for name, kind, slug in (("real", "photographs", "real"), ("synthetic+curated", "synthetic", "synthetic-curated")):
        recalls, means = [], []
        for number in (1, 2, 3):
            kept = np.load(tmp_path / f"out/tuning/{kind}-{number}/{slug}-0.npz")
            assert "test" not in kept.files
            right = kept["val"] == val.labels()
            both = [[right[val.labels() == reef.species.index(one)].mean() for one in counts if (one in rare) == wanted] for wanted in (True, False)]
            recalls.append(float(np.mean(both[0])))
            means.append(np.mean([np.mean(part) for part in both]))
        assert [one["recall_on_val"] for one in tuning[name]["tried"]] == pytest.approx(recalls)
        assert means[tuning[name]["chosen"]] == pytest.approx(max(means))

    # what was chosen is what the arms were trained with, and how many images there are
    def last(arm: str) -> ClassifierConfig:
        found: ClassifierConfig = fits[9 + FEW.index(arm)]["config"]
        return found

    best = tuning["synthetic+curated"]["tried"][tuning["synthetic+curated"]["chosen"]]["settings"]
    for name in ("copies", "synthetic+curated"):
        assert {key: getattr(last(name), key) for key in best if key != "ratio"} == {key: value for key, value in best.items() if key != "ratio"}
    assert last("mixup").mix == "mixup"  # what makes the arm what it is, whatever was tried
    assert arms["copies"]["num_added"] == [sum(int(np.ceil(best["ratio"] * count)) for count in rare.values())] * 2
    page = result.report.read_text(encoding="utf-8")
    assert "How the settings of the classifier were chosen" in page and "learning_rate 0.5" in page

    before = len(fits)
    again = study(reef, config(), tmp_path / "out", Run.silent())
    assert again.results["tuning"] == result.results["tuning"] and len(fits) == before


def test_without_validation_photographs_nothing_is_chosen(
    reef: Collection, fits: list[dict[str, Any]], curations: list[Path], tmp_path: Path
) -> None:
    rare = [name for name, count in reef.training().counts().items() if count < 8]
    blind = reef.where(~(reef.table["split"].eq("val") & reef.table["species"].isin(rare)))
    with pytest.raises(CollectionError, match="Leave ratio out"):
        study(blind, config(), tmp_path / "ratio", Run.silent())
    result = study(blind, config(tuning={}), tmp_path / "out", Run.silent())
    assert result.results["tuning"] is None and len(fits) == 2 * len(FEW)


def test_the_usual_network_and_the_quick_look(reef: Collection) -> None:
    usual, quick = StudyConfig(), StudyConfig(quick=True)
    assert (usual.classifier.tune, usual.classifier.steps, usual.size) == ("last", 600, 0) and usual.tuning is not None
    assert (quick.classifier, quick.size, quick.tuning) == (ClassifierConfig(), 128, None)
    some = StudyConfig.parse({"classifier": {"learning_rate": 0.1}})  # one setting leaves the others as they are
    assert (some.classifier.tune, some.classifier.learning_rate) == ("last", 0.1)
    assert StudyConfig.parse(usual.model_dump(mode="json")) == usual and StudyConfig.parse(quick.model_dump(mode="json")) == quick
    assert usual.for_photographs(reef).size == 64 and quick.for_photographs(reef).size == 128  # photographs of 32 pixels
    large = reef.where(np.ones(len(reef), bool))
    large.table["width"], large.table["height"] = 150, 100
    assert usual.for_photographs(large).size == 128
    large.table["box"] = "[0, 0, 900, 20]"
    assert usual.for_photographs(large).size == 224


@pytest.mark.parametrize(
    ("tuning", "words"),
    [
        ({"photographs": [{}, {}]}, "equally many"),
        ({"photographs": [{}], "synthetic": [{"colour": 1}]}, "no setting of the classifier"),
        ({"photographs": [{"ratio": 1}], "synthetic": [{}]}, "no setting of the classifier"),
        ({"photographs": [{}, {}], "synthetic": [{"ratio": 1}, {}]}, "in all settings"),
        ({"photographs": [{}], "synthetic": [{"ratio": "many"}]}, "ratio is a number"),
        ({"photographs": [{}], "synthetic": [{"learning_rate": -1}]}, "greater than 0"),
    ],
)
def test_settings_that_cannot_be_tried_are_explained(tuning: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        StudyConfig.parse({"tuning": tuning})


def test_a_classifier_that_a_study_cannot_train_is_refused_before_it_begins() -> None:
    every: list[dict[str, Any] | None] = [None, {"photographs": [{}], "synthetic": [{}]}]
    for tuning in every:
        with pytest.raises(RecipeError, match="head 'tip_adapter' needs the embedded names of the species, which a study does not compute"):
            StudyConfig.parse({"classifier": {"backbone": "open_clip:ViT-B-16", "tune": "head", "head": "tip_adapter"}, "tuning": tuning})


@pytest.mark.parametrize(("family", "size"), [("projected", 128), ("collage", 256), ("lora", 512)])
def test_a_study_trains_a_family_at_a_size_that_it_can_draw(family: str, size: int) -> None:
    assert _size_of(family, 224) == size and _size_of(family, 1024) == 1024


def test_a_size_that_no_family_draws(reef: Collection, fits: list[dict[str, Any]], curations: list[Path], tmp_path: Path) -> None:
    asked = config(size=48, arms=("real", "collage", "synthetic+curated"), tuning=None, seeds=1)
    arms = study(reef, asked, tmp_path / "out", Run.silent()).results["arms"]
    assert arms["collage"]["num_added"][0] >= arms["synthetic+curated"]["num_added"][0] > 0
    assert {call["config"].size for call in fits} == {48}


def test_another_way_of_training_that_is_tried_has_its_own_learning_rate() -> None:
    asked = config(classifier={"steps": 7, "batch_size": 8})
    arms = [replace(ARMS["real"], classifier=setting) for setting in ({}, {"tune": "lora"})]
    assert [classifier_of(arm, asked).backbone_learning_rate_factor for arm in arms] == [0.1, 1.0]
    assert classifier_of(arms[1], asked).steps == 7

"""Grids of classifiers: what is trained, what is told, by which photographs the best is chosen, and which files are refused."""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from made import make_collection

from syntype.apps.cli import main
from syntype.cluster import Cluster, Job
from syntype.cluster.jobs import Attempt
from syntype.collection import Collection
from syntype.errors import CollectionError, RecipeError, TrainingError, UnsupportedError
from syntype.identification import ClassifierConfig, grid, load_classifier
from syntype.identification.grid import GridConfig, combinations, read_grid, train_grid
from syntype.run import Run

TINY = ClassifierConfig(backbone="scratch", size=16, steps=2, batch_size=4, device="cpu")
RATES = GridConfig(classifier=TINY, grid={"learning_rate": (0.1, 0.2, 0.3, 0.4)})


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "grid.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class Trained:
    """Takes the place of a training: writes these figures on the validation photographs, by learning rate. The test photographs say the opposite."""

    def __init__(self, recall: dict[float, float]) -> None:
        self.recall, self.calls = recall, list[float]()

    def __call__(self, _collection: Collection, config: ClassifierConfig, out: Path, _run: Run, synthetic: Collection | None = None) -> Any:
        self.calls.append(config.learning_rate)
        if config.learning_rate not in self.recall:
            raise UnsupportedError("the weights are not here.")
        recall = self.recall[config.learning_rate]
        told = {"accuracy": 0.5, "macro_recall": recall, "bins": {"2-10": {"recall": recall / 2}}, "num_images": 6}
        (out / "classifier.json").write_text(json.dumps({"training": {"validation": told}, "metrics": {"macro_recall": 1 - recall}}))
        return self

    def summary(self) -> dict[str, Any]:
        return {}


def run_pickled(jobs: Sequence[Job], _cluster: Cluster, _folder: Path, _run: Run, *, arrived: Callable[[str], None]) -> dict[str, str]:
    """Takes the place of a cluster: what it gets can be pickled, and what goes wrong comes back as a reason."""
    failures = {}
    for job in jobs:
        reason = Attempt(pickle.loads(pickle.dumps(job.work)))()
        if reason:
            failures[job.name] = reason
        else:
            arrived(job.name)
    return failures


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_best_is_told_by_the_validation_photographs_and_only_the_missing_are_trained_again(
    elsewhere: bool, small_collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if elsewhere:
        monkeypatch.setattr(grid, "run_jobs", run_pickled)
    stub, out = Trained({0.1: 0.25, 0.2: 0.75, 0.4: 0.75}), tmp_path / "out"
    monkeypatch.setattr(grid, "train_classifier", stub)

    def train() -> grid.GridResult:
        with Run.start(out, "classify-grid", RATES, seed=0, resume=True, quiet=True) as run:
            return train_grid(small_collection, RATES, out, run, cluster=Cluster(executor="processes") if elsewhere else None)

    result = train()
    assert (result.best, result.best_settings) == (out / "0002", {"learning_rate": 0.2})  # the first of two equal ones
    assert result.summary() | {"minutes": 0} == {
        "folder": str(out), "num_done": 3, "num_failed": 1, "best": str(out / "0002"), "best_settings": {"learning_rate": 0.2},
        "validation_accuracy": 0.5, "validation_recall": 0.75, "validation_recall_rare": 0.375, "num_validation": 6, "minutes": 0,
        "table": str(out / "grid.csv"),
    }  # fmt: skip
    assert [(row["folder"], row["learning_rate"], row["status"], row["validation_recall"]) for row in rows(out)] == [
        ("0001", "0.1", "done", "0.25"), ("0002", "0.2", "done", "0.75"), ("0003", "0.3", "failed", ""), ("0004", "0.4", "done", "0.75"),
    ]  # fmt: skip
    assert rows(out)[2]["reason"] == "the weights are not here."
    stub.calls, stub.recall[0.3] = [], 0.9
    (out / "0001" / "run.json").write_text(json.dumps({**json.loads((out / "0001" / "run.json").read_text()), "status": "running"}))  # was killed
    assert train().best == out / "0003"
    assert stub.calls == [0.1, 0.3]
    assert [row["status"] for row in rows(out)] == ["done"] * 4


def test_a_grid_of_which_nothing_can_be_trained_fails_with_the_reason(
    small_collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "train_classifier", Trained({}))
    with pytest.raises(TrainingError, match=r"no combination could be trained.*0001: the weights are not here\."):
        train_grid(small_collection, RATES, tmp_path, Run.silent())
    assert {row["status"] for row in rows(tmp_path)} == {"failed"}


def test_without_validation_photographs_nothing_starts(small_collection: Collection, tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match="no photographs in the split 'val'"):
        train_grid(small_collection.where(small_collection.table["split"] != "val"), RATES, tmp_path, Run.silent())
    assert not (tmp_path / "0001").exists()


def test_the_command_trains_each_combination_and_tells_how_many_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fish = make_collection(tmp_path / "fish", {"Aus primus": 16, "Bus tertius": 16, "Bus quartus": 8}, seed=1)  # none looks like another
    file, out = tmp_path / "grid.yaml", tmp_path / "out"
    shared = ["--steps", "2", "--device", "cpu", "--set", "size=16", "--set", "batch_size=4", "--set", "precision=fp32"]
    command = ["classify", "train", str(fish.root), "--grid", str(file), *shared, "--out", str(out), "--json", "--quiet"]
    file.write_text("backbone: scratch\nlearning_rate: [1e-3, 0.01]\n")
    assert main([*command, "--dry-run"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["trainings"], told["steps"], told["executor"]) == (2, 4, "here") and told["estimated_minutes"] > 0 and not out.exists()
    file.write_text("backbone: scratch\nlearning_rate: [1e-3]\n")
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["num_done"], told["best"], told["best_settings"]) == (1, str(out / "0001"), {"backbone": "scratch", "learning_rate": 0.001})
    classifier, photographs = load_classifier(told["best"], device="cpu"), fish.select(split="val")
    right = classifier.predict(photographs.pixels(16)).argmax(axis=1) == photographs.labels()
    assert told["validation_accuracy"] == pytest.approx(right.mean()) and told["num_validation"] == len(photographs)
    assert main(command) == 2 and "--resume" in capsys.readouterr().err
    assert main([*command, "--resume", "--dry-run"]) == 0 and json.loads(capsys.readouterr().out)["trainings"] == 0
    assert main([*command[:3], "--cluster", "lab.yaml", "--out", "x"]) == 2 and "--grid FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning_rat: [0.001]", "learning_rat: "),
        ("loss_settings: {gama: [1, 2]}", "loss_settings.gama"),
        ("steps: [100, 0]", "steps: "),
        ("steps: {more: [1]}", "steps: "),
        ("steps: []", "steps: has no values"),
        ("{}", "names no settings"),
        ("steps: [100, 100]", "the same settings"),
        ("tune: [head, lora]\nbackbone: [lite2, scratch]", "tune lora, backbone scratch"),
        (f"steps: {list(range(1, 41))}\nbatch_size: {list(range(2, 42))}", "1,600 combinations, more than 1,000"),
        ("learning_rate: [0.001", "not a valid recipe"),
    ],
)
def test_a_wrong_grid_is_refused_in_one_line_that_names_the_file_and_the_setting(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError) as caught:
        read_grid(file, ClassifierConfig())
    assert words in str(caught.value) and "grid.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_settings_that_follow_from_others_follow_from_those_of_the_combination(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text("tune: [all, lora]\nloss_settings: {gamma: [1, 2]}\n")
    found = list(combinations(read_grid(file, ClassifierConfig(steps=7))))
    assert [chosen for chosen, _ in found] == [{"tune": tune, "loss_settings.gamma": gamma} for tune in ("all", "lora") for gamma in (1, 2)]
    assert [one.backbone_learning_rate_factor for _, one in found] == [0.1, 0.1, 1, 1] and {one.steps for _, one in found} == {7}

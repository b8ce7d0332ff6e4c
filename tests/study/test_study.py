from __future__ import annotations

import json
import os
import re
import shutil
import signal
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made import small_study
from one_node_slurm import missing

from syntype.apps.web.languages import in_language, marked, marked_plural
from syntype.apps.web.translated import translated
from syntype.cluster import Cluster
from syntype.collection import Collection
from syntype.encoders import load_zero_shot
from syntype.errors import CollectionError, InputError, LeakageError, RecipeError, TrainingError, UnknownNameError
from syntype.identification import ClassifierConfig
from syntype.run import Run
from syntype.study import StudyConfig, study, write_report
from syntype.study.draws import drawn_rows
from syntype.study.photographs import Split
from syntype.study.report import Words, report_page
from syntype.study.study import plan_study

FEW = ("real", "mixup", "synthetic+curated")

config = partial(small_study, quick=True)


@pytest.fixture(scope="module")
def kept() -> list[tuple[Any, list[dict[str, Any]], list[Path]]]:
    """What ``done`` has made."""
    return []


@pytest.fixture
def done(
    reef: Collection, fits: list[dict[str, Any]], curations: list[Path],
    kept: list[tuple[Any, list[dict[str, Any]], list[Path]]], tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Any, list[dict[str, Any]], list[Path]]:  # fmt: skip
    """A study, what its fits were given, and its curations: run once, to be read only."""
    if not kept:
        kept.append((study(reef, config(), tmp_path_factory.mktemp("done") / "out", Run.silent()), fits, curations))
    return kept[0]


def test_the_whole_way(done: tuple[Any, list[dict[str, Any]], list[Path]], reef: Collection) -> None:
    result, fits, curations = done
    arms = list(result.results["arms"])
    assert "oracle" in arms and "collage" in arms and len(arms) == 10
    assert len(fits) == 2 * len(arms) and len(curations) == 2

    # Equal terms: the same steps, batch, augmentation and priors everywhere; the same seeds in every arm.
    assert {(call["config"].steps, call["config"].batch_size, call["config"].size, call["config"].augment.model_dump_json()) for call in fits} == {
        (7, 8, 32, ClassifierConfig().augment.model_dump_json())
    }
    counts = list(reef.training().counts().values())
    assert all(call["counts"] == counts for call in fits)
    assert sorted(call["seed"] for call in fits) == sorted([0, 1] * len(arms))

    # What was added: up to eight of every species with fewer, less what curation refused.
    offered = sum(max(8 - count, 0) for count in counts)
    added = {name: arm["num_added"] for name, arm in result.results["arms"].items()}
    assert added["real"] == added["oversample"] == [0, 0]
    assert added["synthetic"] == added["copies"] == added["oracle"] == added["collage"] == [offered, offered]
    assert added["synthetic+curated"] == added["synthetic, same count at random"]
    assert 0 < added["synthetic+curated"][0] < offered
    target = {entry["name"] for entry in result.results["species"] if entry["offered"]}
    assert target == {name for name, count in zip(reef.species, counts, strict=True) if count < 8}

    summary = json.loads(json.dumps(result.summary(), allow_nan=False))
    assert summary["verdict"] in ("add", "do not add", "not enough evidence")
    low, high = summary["interval"]
    assert low <= summary["effect"] <= high
    assert set(summary["bins"]) == {"2-10", "11-100", "101-500", ">500"}
    assert summary["bins"][">500"] == {"effect": None, "interval": None, "num_species": 0}
    assert summary["best_without_generator"] in ("real", "oversample", "mixup", "cutmix", "collage")
    assert set(summary["arms"]["real"]) == {"recall_rare", "worst_rare", "macro_recall", "accuracy", "calibration_error"}
    assert 0 <= summary["above_minimum"] <= 1 and isinstance(summary["sensitivity"], list)
    assert all(arm["worst_rare"] <= arm["recall_rare"] and 0 <= arm["calibration_error"] <= 1 for arm in summary["arms"].values())

    page = result.report.read_text(encoding="utf-8")
    # Self-contained: nothing is loaded from anywhere; every picture is in the page and says what it shows.
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", page)
    assert "@import" not in page and not re.search(r"url\((?!#)", page)
    assert all("alt=" in tag for tag in re.findall(r"<img[^>]*>", page))
    assert len(set(re.findall(r'\bid="([^"]+)"', page))) == len(re.findall(r'\bid="([^"]+)"', page))
    assert summary["sentence"].split(":")[0] in page
    for reason in ("copy", "species", "distribution"):
        assert f"× {reason}" in page
    assert "of the bootstrap samples" in page and "The same in all of them: training of the generator, choice of the few" in page
    assert "CC0-1.0" in page and "What this study cannot say" in page and "trained once" in page


@pytest.mark.parametrize("code", ["de", "ja"])
def test_the_report_is_shown_in_another_language_with_the_same_figures(done: tuple[Any, list[dict[str, Any]], list[Path]], code: str) -> None:
    result, _, _ = done
    with in_language(code):
        page = report_page(result.folder, Words(code, marked, marked_plural, translated))
    english, shown = (re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL) for text in (result.report.read_text(encoding="utf-8"), page))
    assert f'<html lang="{code}">' in page and page.count("<img") == english.count("<img") and page.count("<tr") == english.count("<tr")
    settings = re.compile(r"<dl>(?:(?!<dl>).)*</dl>\s*<h3>", re.DOTALL)  # what the settings are called stays
    words = " ".join(re.sub(r"<[^>]*>", " ", settings.sub("", shown)).split())
    left = set(re.findall(r".{0,40}\b(?:the|of|with|and|was|were|images|photographs|species)\b.{0,60}", words))
    assert not {text for text in left if "evidence of any organism" not in text}  # a source, which is told as it calls itself


def test_the_effect_is_that_of_the_saved_predictions(done: tuple[Any, list[dict[str, Any]], list[Path]], reef: Collection) -> None:
    result, _, _ = done
    test = reef.select(split="test")
    labels = test.labels()
    target = [label for label, entry in enumerate(result.results["species"]) if entry["offered"]]

    def recall(name: str) -> float:
        slug = re.sub("[^a-z]+", "-", name)
        predictions = [np.load(result.folder / "arms" / f"{slug}-{number}.npz")["test"] for number in (0, 1)]
        return float(np.mean([(predicted[labels == label] == label).mean() for predicted in predictions for label in target]))

    best = result.results["competitor"]["name"]
    assert result.summary()["effect"] == pytest.approx(recall("synthetic+curated") - recall(best))

    # of many comparisons each has a wider interval; and each species says what could be seen of it
    effects, species = result.results["effects"], result.results["species"]
    together, alone = effects["against"][best], effects["primary"]
    assert together["value"] == pytest.approx(alone["value"]) and together["half_width"] >= alone["half_width"]
    assert all((entry["effect"] is not None) == bool(entry["offered"]) for entry in species)
    assert np.mean([entry["effect"]["value"] for entry in species if entry["offered"]]) == pytest.approx(alone["value"])


def test_each_draw_of_the_photographs_is_that_of_all_arms_and_of_the_generator(
    reef: Collection, fits: list[dict[str, Any]], curations: list[Path], tmp_path: Path
) -> None:
    result = study(reef, config(arms=(*FEW, "collage"), draws=2), tmp_path / "out", Run.silent())
    counts = np.array(list(reef.training().counts().values()))
    for seed in (0, 1):
        drawn = [call["counts"] for call in fits if call["seed"] == seed]
        assert len(drawn) == 4 and all(one == drawn[0] for one in drawn)
        assert drawn[0][int(counts.argmax())] == counts.max()  # the common species keep their photographs
        # the copies of this repetition are copies of photographs of the draw, and of no others
        used = reef.training().pixels(32)[drawn_rows(Split.of(reef, "train"), counts < 8, seed)]
        made = Collection.open(tmp_path / f"out/synthetic-{seed}").pixels(32)
        assert {image.tobytes() for image in made} <= {image.tobytes() for image in used} and len(np.unique(used, axis=0)) < len(reef.training())
    assert result.results["varies"] == {"classifier": True, "generator": True, "photographs": True}
    assert "choice of the few training photographs." in result.report.read_text(encoding="utf-8")
    assert {path.name for path in (tmp_path / "out").glob("collage-*")} == {"collage-0", "collage-1"}
    assert plan_study(reef, config(draws=2, generator="projected")).generator_minutes == 2 * 30

    made = given(reef, tmp_path / "made")
    with pytest.raises(RecipeError, match="come from all training photographs"):
        study(reef, StudyConfig(synthetic=str(made.root), draws=2), tmp_path / "other", Run.silent())
    with pytest.raises(RecipeError, match="more than the 2 repetitions"):
        StudyConfig.parse({"seeds": 2, "draws": 3})


def test_a_study_goes_on_where_it_was(reef: Collection, fits: list[dict[str, Any]], curations: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = study(reef, config(arms=FEW), out, Run.silent())
    whole = len(fits)
    again = study(reef, config(arms=FEW), out, Run.silent())
    assert len(fits) == whole and len(curations) == 2
    assert {**first.results, "provenance": None} == {**again.results, "provenance": None}
    (out / "arms" / "mixup-1.npz").unlink()
    third = study(reef, config(arms=FEW), out, Run.silent())
    assert len(fits) == whole + 1 and fits[-1]["config"].mix == "mixup" and fits[-1]["seed"] == 1
    assert third.results["effects"] == first.results["effects"]


def test_ctrl_c_keeps_what_is_finished(
    reef: Collection, fits: list[dict[str, Any]], curations: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module_of_study = import_module("syntype.study.running")
    working = module_of_study.fit

    def stops_at_the_third(*args: Any, **kwargs: Any) -> Any:
        if len(fits) == 2:
            raise KeyboardInterrupt
        return working(*args, **kwargs)

    monkeypatch.setattr(module_of_study, "fit", stops_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        study(reef, config(arms=FEW), tmp_path / "out", Run.silent())
    monkeypatch.setattr(module_of_study, "fit", working)
    study(reef, config(arms=FEW), tmp_path / "out", Run.silent())
    assert len(fits) == 6


def test_several_processes_find_what_one_finds_and_one_that_is_killed_costs_its_arm_alone(
    reef: Collection, curations: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = config(arms=FEW, classifier=ClassifierConfig(backbone="scratch", steps=4, batch_size=8))
    one = study(reef, asked, tmp_path / "one", Run.silent())
    shutil.copytree(tmp_path / "one", tmp_path / "several", ignore=shutil.ignore_patterns("arms", "results.json", "report.html"))
    asked = asked.model_copy(update={"processes": 2})
    with monkeypatch.context() as patch:
        patch.setattr(import_module("syntype.study.running"), "_train", dies)
        with pytest.raises(TrainingError, match="--resume and fewer --processes"):
            study(reef, asked, tmp_path / "several", Run.silent())
    assert [path.name for path in (tmp_path / "several/arms").iterdir()] == ["real-0.npz"]  # trained before the others began
    several = study(reef, asked, tmp_path / "several", Run.silent())
    assert several.results["arms"].keys() == set(FEW)
    assert several.results["effects"] == one.results["effects"]
    again = study(reef, asked.model_copy(update={"processes": 1}), tmp_path / "several", Run.silent())
    assert again.results["effects"] == one.results["effects"]  # the number of processes is no part of what a study is


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["processes", pytest.param("slurm", marks=pytest.mark.skipif(missing() is not None, reason=str(missing())))])
def test_jobs_give_the_verdict_of_a_study_without_jobs(executor: str, reef: Collection, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("submitit")
    if executor == "slurm":
        request.getfixturevalue("slurm")
    asked = config(arms=FEW, classifier=ClassifierConfig(backbone="scratch", steps=4, batch_size=8))
    one = study(reef, asked, tmp_path / "one", Run.silent())
    shutil.copytree(tmp_path / "one", tmp_path / "jobs", ignore=shutil.ignore_patterns("arms", "results.json", "report.html"))
    cluster = Cluster.parse({"executor": executor, "poll_seconds": 0.5})
    jobs = study(reef, asked.model_copy(update={"cluster": cluster}), tmp_path / "jobs", Run.silent())
    assert (tmp_path / "jobs" / "cluster" / "arms" / "jobs.json").is_file()
    assert jobs.verdict == one.verdict
    for part in ("effects", "competitor", "sensitivity"):
        assert jobs.results[part] == one.results[part], part
    names = [path.name for path in (tmp_path / "one" / "arms").iterdir()]
    assert len(names) == len(FEW) * asked.seeds
    for name in names:
        with np.load(tmp_path / "one" / "arms" / name) as mine, np.load(tmp_path / "jobs" / "arms" / name) as other:
            assert all(np.array_equal(mine[key], other[key]) for key in mine.files if key != "seconds"), name


def dies(number: int, name: str) -> None:
    """Ends the process it is called in, as the system does with one that takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_another_study_does_not_mix_with_the_old_one(reef: Collection, fits: list[dict[str, Any]], curations: list[Path], tmp_path: Path) -> None:
    arms = ("real", "synthetic+curated")
    study(reef, config(arms=arms, seeds=1), tmp_path / "out", Run.silent())
    with pytest.raises(InputError, match="started with other content"):
        study(reef, config(arms=arms, seeds=1, fill_to=9), tmp_path / "out", Run.silent())


def test_a_ready_synthetic_collection(reef: Collection, fits: list[dict[str, Any]], curations: list[Path], tmp_path: Path) -> None:
    from syntype.generators import TrainConfig, load_generator, train
    from syntype.synthesis import GenerateConfig, generate

    (tmp_path / "generator").mkdir()
    train(reef, TrainConfig(family="copies", size=32, device="cpu"), tmp_path / "generator", Run.silent())
    generate(load_generator(tmp_path / "generator"), GenerateConfig(species=reef.species[:2], num=6), tmp_path / "made", Run.silent())
    asked = StudyConfig(
        synthetic=str(tmp_path / "made"), seeds=2, size=32, num_bootstrap=200, device="cpu", arms=("real", "copies", "synthetic+curated")
    )
    result = study(reef, asked, tmp_path / "out", Run.silent())
    assert len(curations) == 1  # one collection for all repetitions
    assert {entry["name"] for entry in result.results["species"] if entry["offered"]} == set(reef.species[:2])
    assert "cannot check more" in result.report.read_text(encoding="utf-8")


def test_species_named_without_training_stand_beside_the_verdict(
    reef: Collection, fits: list[dict[str, Any]], curations: list[Path], clip_folders: dict[str, Path], tmp_path: Path
) -> None:
    out, name = tmp_path / "out", f"open_clip:local-dir:{clip_folders['tiny-siglip']}"
    without = study(reef, config(arms=FEW), out, Run.silent())
    assert "Species named without any training" not in without.report.read_text(encoding="utf-8")
    number, asked = len(fits), config(arms=FEW, zero_shot=name)
    planned = plan_study(reef, asked)
    assert planned.arms == (*FEW, "zero-shot") and planned.num_classifiers == number
    result = study(reef, asked, out, Run.silent())  # of a finished study too
    assert len(fits) == number and {**result.results["verdict"]} == {**without.results["verdict"]}
    assert result.results["effects"]["against"] == without.results["effects"]["against"]

    arm, namer = result.results["arms"]["zero-shot"], load_zero_shot(name, reef)
    test = reef.select(split="test")
    named = namer.logits(namer.encoder.encode(test.pixels(64))).argmax(axis=1)  # the model's own side, not the study's
    assert arm["accuracy"] == pytest.approx((named == test.labels()).mean())
    assert arm["per_seed"][0] == arm["per_seed"][1] and arm["steps"] == arm["num_added"] == [0, 0]
    effect = result.results["effects"]["zero_shot"]
    assert effect["value"] == pytest.approx(result.results["arms"]["synthetic+curated"]["recall_rare"] - arm["recall_rare"])
    page = result.report.read_text(encoding="utf-8")
    assert "Species named without any training" in page and page.count("may have seen the test photographs") >= 2 and name in page
    with pytest.raises(RecipeError, match="'lite2' cannot name species by texts"):
        StudyConfig.parse({"zero_shot": "lite2"})


def test_one_encoder_for_two_duties_is_refused(reef: Collection, fits: list[dict[str, Any]], curations: list[Path], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'lite0' cannot be used to identify species"):
        study(reef, config(classifier={"backbone": "lite0"}), tmp_path / "out", Run.silent())


def test_refusals(reef: Collection, fits: list[dict[str, Any]], curations: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="collage"):
        study(reef, config(generator="colage"), tmp_path / "a", Run.silent())
    with pytest.raises(CollectionError, match="fewer than 2"):
        study(reef, config(fill_to=2), tmp_path / "b", Run.silent())
    with pytest.raises(CollectionError, match="no test photographs"):
        study(reef.select(split="train"), config(), tmp_path / "c", Run.silent())
    with pytest.raises(RecipeError, match="not both"):
        StudyConfig.parse({"generator": "copies", "synthetic": "somewhere"})
    table = reef.table.copy()
    table["group"] = "one"
    with pytest.raises(LeakageError):
        study(Collection(reef.root, table, reef.species, reef.info), config(), tmp_path / "d", Run.silent())
    with pytest.raises(InputError, match="no finished study"):
        write_report(tmp_path)
    assert not fits


@pytest.mark.slow
def test_with_the_real_classifier_and_curation(reef: Collection, tmp_path: Path) -> None:
    asked = config(arms=("real", "mixup", "copies", "synthetic", "synthetic+curated"), classifier=ClassifierConfig(steps=30, batch_size=16, views=2))
    result = study(reef, asked, tmp_path / "out", Run.silent())
    curation, arms = result.results["curation"], result.results["arms"]
    assert curation["refused"] == {"copy": curation["offered"]} and curation["offered"] > 0
    assert (arms["synthetic"]["num_added"], arms["synthetic+curated"]["num_added"]) == ([curation["offered"] // 2] * 2, [0, 0])
    assert result.verdict == "do not add" and "curation refused all" in result.results["verdict"]["sentence"]
    assert max(arm["recall_others"] for arm in arms.values()) > 0.5  # the classifier has learnt something in 30 steps


def given(reef: Collection, folder: Path, **columns: Any) -> Collection:
    """Six synthetic images of the rarest species, and three whose species is spelt otherwise."""
    name = reef.species[-1]
    made = fake_given(reef, folder, [*[name] * 6, *[name.lower().replace(" ", "_")] * 3])
    return Collection.create(folder, made.table.assign(**columns), species=made.species)


def fake_given(reef: Collection, folder: Path, species: list[str]) -> Collection:
    import hashlib

    from PIL import Image

    (folder / "images").mkdir(parents=True)
    rows = []
    for number, name in enumerate(species):
        path = folder / "images" / f"{number}.png"
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append({"image_id": f"s{number}", "file_name": f"images/{number}.png", "species": name, "sha256": digest, "origin": "synthetic"})
    return Collection.create(folder, pd.DataFrame(rows))


def test_one_experts_verdict_does_not_switch_curation_off(
    reef: Collection, fits: list[dict[str, Any]], curations: list[Path], tmp_path: Path
) -> None:
    only = pd.array(["accepted", *[None] * 8], dtype="string")
    made = given(reef, tmp_path / "made", verdict=only, reviewer=pd.array(["Ada", *[None] * 8], dtype="string"))
    result = study(reef, config(generator="projected", arms=FEW).model_copy(update={"synthetic": str(made.root)}), tmp_path / "study", Run.silent())
    assert [path.name for path in curations] == ["curated"]
    told = [limit for limit in result.results["limits"] if "not used" in limit]
    assert len(told) == 1 and "3 images of" in told[0] and f"nearest known name: {reef.species[-1]!r}" in told[0]
    assert "3 images of" in result.report.read_text(encoding="utf-8")


def test_images_between_two_species_are_synthetic_images_like_others(
    reef: Collection, fits: list[dict[str, Any]], curations: list[Path], tmp_path: Path
) -> None:
    common, rare, other = reef.species[0], reef.species[-1], reef.species[-2]
    made = fake_given(reef, tmp_path / "made", [*[f"{common} × {rare}"] * 9, *[f"{rare} × Nemo"] * 2, *[other] * 3])
    weights = [*[json.dumps({common: 0.25, rare: 0.75})] * 9, *[json.dumps({rare: 0.5, "Nemo": 0.5})] * 2, *[None] * 3]
    made = Collection.create(made.root, made.table.assign(label_weights=pd.array(weights, dtype="string")))
    arms = (*FEW, "copies", "synthetic", "synthetic, same count at random")
    result = study(reef, config(generator="projected", arms=arms).model_copy(update={"synthetic": str(made.root)}), tmp_path / "out", Run.silent())
    told = [limit for limit in result.results["limits"] if "not used" in limit]
    assert len(told) == 1 and "2 images between two species" in told[0] and "'Nemo'" in told[0]
    offered = {entry["name"]: entry["offered"] for entry in result.results["species"]}
    assert offered == {**dict.fromkeys(reef.species, 0), common: 4, rare: 14, other: 6}  # of two repetitions: 9 times 0.25 and 0.75, and 3
    assert result.results["curation"]["offered"] == 24 and result.results["curation"]["accepted"] == 16
    added = {name: arm["num_added"] for name, arm in result.results["arms"].items()}
    assert added["synthetic"] == added["copies"] == [12, 12] and added["synthetic+curated"] == added["synthetic, same count at random"] == [8, 8]
    shares = [call["second_shares"] for call in fits if call["num_synthetic"] == 12 and call["second_shares"] is not None]
    assert shares and all(sorted(one[-12:]) == [0] * 3 + [0.25] * 9 for one in shares)


def test_a_complete_curation_is_not_made_again(reef: Collection, fits: list[dict[str, Any]], curations: list[Path], tmp_path: Path) -> None:
    nearest = reef.training().table["image_id"].iloc[0]
    made = given(reef, tmp_path / "made", verdict="accepted", nearest_real_id=nearest)
    study(reef, config(generator="projected", arms=FEW).model_copy(update={"synthetic": str(made.root)}), tmp_path / "study", Run.silent())
    assert curations == []

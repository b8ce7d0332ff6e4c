from __future__ import annotations

import json
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made import small_study
from PIL import Image

from syntype.collection import Collection
from syntype.collection.reef import draw_images, reef_config, species_names
from syntype.errors import CollectionError, RecipeError, UserError
from syntype.identification import ClassifierConfig
from syntype.run import Run
from syntype.study import plan_study, study
from syntype.study.further import retrieve
from syntype.study.photographs import Split
from syntype.study.worth import drawn_order, levels_for, weigh
from syntype.study.worth_words import worth_sentence

FEW = ("real", "mixup", "synthetic+curated")

config = partial(small_study, arms=FEW)


def fresh(reef: Collection, number: int, folder: Path, first_seed: int = 900) -> Path:
    """``number`` new individuals of each species, as one folder a species."""
    settings = reef_config(reef)
    assert settings is not None
    names = species_names(settings)
    for name in reef.species:
        (folder / name).mkdir(parents=True)
        images = draw_images(settings, [names.index(name)] * number, [first_seed + one for one in range(number)], 32)
        for place, image in enumerate(images):
            Image.fromarray(image).save(folder / name / f"{place}.png")
    return folder


# The scale --------------------------------------------------------------------------------------------------------------------------


def hits_of(recalls: list[float], *, species: int = 20, images: int = 40, seeds: int = 3, seed: int = 0) -> tuple[list[np.ndarray], Split]:
    """Right and wrong answers with these recalls, of classifiers that know the same photographs first."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(species), images)
    hard = random.random((seeds, len(labels)))
    return [hard < recall for recall in recalls], Split(labels, np.arange(len(labels)))


def test_images_that_do_what_two_more_photographs_do_are_worth_two() -> None:
    hits, test = hits_of([0.3, 0.4, 0.5, 0.55, 0.6, 0.65])
    photographs = [1, 3, 6, 7, 8, 10]
    found = weigh(hits, photographs, hits[4], test, np.arange(20), base=6, seed=0, num_bootstrap=400)
    assert found is not None and found.more is not None and found.low is not None and found.high is not None
    assert found.more == pytest.approx(2) and 0 < found.low < 2 < found.high < 4 and not found.above
    assert found.synthetic[0] == pytest.approx(found.recall[4][0])
    worse = weigh(hits, photographs, hits[1], test, np.arange(20), base=6, seed=0, num_bootstrap=400)
    assert worse is not None and worse.more == pytest.approx(-3) and worse.high is not None and worse.high < 0
    between = weigh(hits[:5], photographs[:5], hits_of([0.52])[0][0], test, np.arange(20), base=6, seed=0, num_bootstrap=400)
    assert between is not None and between.more is not None and 0 < between.more < 1
    assert weigh(hits, photographs, hits[4], Split(test.labels + 50, test.groups), np.arange(20), base=6, seed=0) is None


def test_what_lies_beyond_the_curve_has_no_number_and_an_open_end() -> None:
    hits, test = hits_of([0.3, 0.5, 0.6])
    better = weigh(hits, [1, 6, 12], hits_of([0.8])[0][0], test, np.arange(20), base=6, seed=0, num_bootstrap=400)
    assert better is not None and better.more is None and better.above and (better.low, better.high) == (pytest.approx(6), None)
    worse = weigh(hits, [1, 6, 12], hits_of([0.1])[0][0], test, np.arange(20), base=6, seed=0, num_bootstrap=400)
    assert worse is not None and worse.more is None and not worse.above and (worse.low, worse.high) == (None, pytest.approx(-5))


def test_a_curve_that_falls_is_made_to_rise() -> None:
    hits, test = hits_of([0.3, 0.5, 0.4, 0.6])
    found = weigh(hits, [1, 3, 6, 12], hits[3], test, np.arange(20), base=6, seed=0, num_bootstrap=400)
    assert found is not None and found.more == pytest.approx(6)
    assert found.rising[1] == pytest.approx(found.rising[2]) == pytest.approx((found.recall[1][0] + found.recall[2][0]) / 2)


@pytest.mark.parametrize(
    ("more", "low", "high", "above", "most", "said"),
    [
        (2.1, 0.4, 3.5, False, 6, "600 synthetic images were worth as much as 2.1 (0.4 to 3.5) more photographs of each species: if you can get 3"),
        (2.0, 0.4, None, False, 6, "2.0 (0.4 to more than 6) more photographs of each species: if you can get 3"),
        (0.4, 0.1, 0.8, False, 6, "less than one more photograph of each species: 0.4 (0.1 to 0.8). One photograph of each is better"),
        (None, 4.2, None, True, 6, "worth more than the 6 more photographs of each species that were tried (at least 4.2)"),
        (None, 0.0, None, True, 0, "worth more than nothing. How many photographs of each species"),
        (0.4, -1.2, 2.3, False, 6, "can be told from none (measured: 0.4 more): anything from 1.2 fewer to 2.3 more of each species is possible"),
        (None, -1.2, None, True, 0, "anything from 1.2 fewer to an unknown number more of each species is possible"),
        (-1.5, -2.2, -0.4, False, 6, "did as much harm as the loss of 1.5 (0.4 to 2.2) photographs of each species: leave them out"),
        (-1.5, None, -0.4, False, 6, "the loss of 1.5 (0.4 to more than 5) photographs"),
        (None, None, -4.5, False, 6, "did harm: the recall with them was lower than with 1 of the photographs of each species and no images"),
        (
            1.0,
            None,
            None,
            False,
            6,
            "What 600 synthetic images were worth in photographs cannot be said: no number of photographs between 1 and 12 of each",
        ),
    ],
)
def test_the_sentence(more: float | None, low: float | None, high: float | None, above: bool, most: float, said: str) -> None:
    found = worth_sentence(more, low, high, above=above, base=6, fewest=-5, most=most, num_images=600)
    assert said in found and found.endswith(".")


def test_the_sentence_without_an_image() -> None:
    assert "nothing to compare" in worth_sentence(0, -1, 1, above=False, base=6, fewest=-5, most=0, num_images=0)


# The classifiers of the curve ---------------------------------------------------------------------------------------------------------


def test_levels_are_as_many_as_there_are_photographs_for() -> None:
    assert [level.kept for level in levels_for(np.array([6] * 9 + [40]), np.zeros(10, np.int64))] == [1, 2, 3]
    assert [level.more for level in levels_for(np.array([2, 2]), np.array([5, 0]))][1:] == [1, 2, 4, 5]


def test_one_group_is_drawn_after_the_other() -> None:
    labels, groups = np.array([0] * 6 + [1] * 4), np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    orders = [drawn_order(labels, groups, np.random.default_rng(seed)) for seed in range(5)]
    for order in orders:
        assert sorted(order[:6]) == list(range(6)) and sorted(order[6:]) == list(range(4))
        assert all(abs(order[row] - order[row + 1]) == 1 for row in range(0, 10, 2))
    assert len({tuple(order) for order in orders}) > 1


def test_the_whole_way(
    reef: Collection, fits: list[dict[str, Any]], curations: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = fresh(reef, 3, tmp_path / "more")
    held = reef.select(split="test").where(reef.select(split="test").table["species"].eq(reef.species[-1]))
    (source / reef.species[-1] / "copy.png").write_bytes(held.path(0).read_bytes())
    without = study(reef, config(), tmp_path / "out", Run.silent())
    assert without.results["worth"] is None and "worth" not in without.summary()
    before = len(fits)

    asked = config(more_photographs=str(source))
    result = study(reef, asked, tmp_path / "out", Run(None, quiet=False))
    assert "1 of 13 further photographs were left out" in capsys.readouterr().err
    calls, worth = fits[before:], result.results["worth"]
    counts = np.array(list(reef.training().counts().values()))
    assert sorted(counts) == [4, 4, 6, 12]
    kept = [np.where(counts < 8, np.minimum(counts, number), counts).tolist() for number in (1, 2, 3)]
    added = [np.where(counts < 8, counts + number, counts).tolist() for number in (1, 2, 3)]
    expected = [wanted for wanted in [*kept, *added] for _ in range(2)]
    assert sorted(call["counts"] for call in calls) == sorted(expected)  # priors from the photographs of each
    assert all(call["num"] == sum(call["counts"]) and not call["num_synthetic"] for call in calls)
    num_tuning = 3 * len(FEW)
    assert plan_study(reef, asked).num_classifiers == (len(FEW) + 6) * 2 + num_tuning

    # no part in the verdict
    assert {**result.results, "worth": None, "minutes": 0, "provenance": 0} == {**without.results, "minutes": 0, "provenance": 0}
    assert [round(point["photographs"], 2) for point in worth["curve"]] == [1, 2, 3, 4.67, 5.67, 6.67, 7.67]
    base = worth["curve"][3]
    assert worth["arm"] in ("real", "mixup") and base["recall"] == pytest.approx(result.results["arms"][worth["arm"]]["recall_rare"])
    assert worth["synthetic"]["recall"] == pytest.approx(result.results["arms"]["synthetic+curated"]["recall_rare"])
    assert worth["sentence"].startswith("What the synthetic images are worth in photographs cannot be said: the classifier")  # as the verdict
    assert worth["synthetic"]["equivalent_photographs"] is None or abs(worth["synthetic"]["equivalent_photographs"]) < 5
    page = result.report.read_text(encoding="utf-8")
    assert page.count(worth["sentence"]) == 2 and 'id="worth"' in page and "real training photographs of each rare species" in page
    assert json.loads(json.dumps(result.summary(), allow_nan=False))["worth"]["sentence"] == worth["sentence"]
    with pytest.raises(UserError):
        study(reef, config(more_photographs=str(tmp_path / "nowhere")), tmp_path / "b", Run.silent())
    copies = tmp_path / "copies"
    (copies / reef.species[-1]).mkdir(parents=True)
    (copies / reef.species[-1] / "copy.png").write_bytes(held.path(0).read_bytes())
    with pytest.raises(CollectionError, match="no further photographs"):
        study(reef, config(more_photographs=str(copies)), tmp_path / "c", Run.silent())


@pytest.mark.slow
def test_several_processes_find_the_same(reef: Collection, curations: list[Path], tmp_path: Path) -> None:
    asked = config(worth=True, seeds=1, arms=("real", "synthetic+curated"), classifier=ClassifierConfig(backbone="scratch", steps=2, batch_size=8))
    one = study(reef, asked, tmp_path / "one", Run.silent()).results["worth"]
    two = study(reef, asked.model_copy(update={"processes": 2}), tmp_path / "two", Run.silent()).results["worth"]
    assert one == two and [point["name"] for point in one["curve"]] == ["1 photograph", "2 photographs", "3 photographs", "all photographs"]


# Photographs that look alike ----------------------------------------------------------------------------------------------------------


COLOURS = ((200, 60, 60), (60, 190, 60), (60, 60, 200))


def patterns(number: int, colour: tuple[int, int, int], seed: int) -> list[Image.Image]:
    """Blotches of one colour, no two alike."""
    random = np.random.default_rng(seed)
    fields = random.uniform(0.3, 1.2, (number, 6, 6, 1)) * np.array(colour)
    return [Image.fromarray(field.clip(0, 255).astype(np.uint8)).resize((32, 32), Image.Resampling.BICUBIC) for field in fields]


def test_retrieval_finds_the_true_species_and_no_test_photograph(
    fits: list[dict[str, Any]], curations: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = []
    for label, colour in enumerate(COLOURS):
        for number, image in enumerate(patterns(7, colour, label)):
            name = f"images/{label}-{number}.png"
            (tmp_path / "real" / "images").mkdir(parents=True, exist_ok=True)
            image.save(tmp_path / "real" / name)
            split = ("train", "train", "train", "train", "val", "test", "test")[number]
            rows.append({"image_id": name, "file_name": name, "species": f"Aus {'abc'[label]}", "split": split})
            if split == "test":  # another file of the same picture
                folder = tmp_path / "other" / f"Aus {'abc'[label]}"
                folder.mkdir(parents=True, exist_ok=True)
                image.resize((40, 40)).save(folder / f"test-{number}.png")
        for number, image in enumerate(patterns(5, colour, 10 + label)):
            image.save(folder / f"{number}.png")
    Collection.create(tmp_path / "real", pd.DataFrame(rows))
    real = Collection.open(tmp_path / "real")

    found: list[Collection] = []
    module = import_module("syntype.study.study")
    monkeypatch.setattr(module, "retrieve", lambda *given: found.append(retrieve(*given)) or found[0])
    asked = config(arms=("real", "synthetic+curated", "retrieved"), retrieve_from=str(tmp_path / "other"), fill_to=7, seeds=1)
    result = study(real, asked, tmp_path / "out", Run.silent())
    assert result.results["arms"]["retrieved"]["num_added"] == [9]  # three of each species, as many as there are synthetic images
    assert "retrieved" in result.results["competitor"]["recall_there"]
    assert np.bincount(found[0].labels()).tolist() == [3, 3, 3]
    other = Collection.open(tmp_path / "out" / "retrieve-from")
    true = other.table.set_index("image_id")["species"][found[0].table["image_id"]].to_numpy()
    assert (true == found[0].table["species"].to_numpy()).all()
    assert not found[0].table["original_name"].str.contains("test-").any()


def test_the_arm_needs_another_collection(reef: Collection, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="--retrieve-from"):
        study(reef, config(arms=(*FEW, "retrieved")), tmp_path / "out", Run.silent())
    assert "retrieved" not in plan_study(reef, config(arms=None)).arms

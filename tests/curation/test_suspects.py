"""The search for photographs with a wrong name."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import syntype
from syntype.apps.cli import main
from syntype.collection import Collection
from syntype.curation.contact_sheets import SIDE, Card, Panel, Section, write_page, write_sheets
from syntype.curation.label_noise import distance_to_species, num_label_errors, out_of_fold, robust_deviations, suggestions
from syntype.errors import CollectionError, InputError
from syntype.run import Run

CONFIG = syntype.SuspectsConfig(size=96)


@pytest.fixture(scope="module")
def reef(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    folder = tmp_path_factory.mktemp("reef") / "reef"
    config = syntype.ReefConfig(num_species=6, size=96, max_images=30, min_images=16, num_val=4, num_test=4, seed=5)
    return syntype.draw_reef(config, folder, Run.silent()).collection


def renamed(collection: Collection, rows: list[int], to: list[str]) -> Collection:
    table = collection.table.copy()
    table.loc[rows, "species"] = to
    return Collection(collection.root, table, collection.species, collection.info)


def swap(collection: Collection, number: int) -> tuple[Collection, list[int], list[str]]:
    """Every so many-th photograph gets the name of a species of another genus; their rows and true names."""
    rows = [int(row) for row in np.linspace(3, len(collection) - 4, number)]
    true = collection.table["species"].iloc[rows].tolist()
    names = list(collection.species)
    return renamed(collection, rows, [names[(names.index(name) + 3) % len(names)] for name in true]), rows, true


@pytest.fixture(scope="module")
def swapped(reef: Collection, tmp_path_factory: pytest.TempPathFactory) -> syntype.SuspectsResult:
    """What is found where seven photographs have the name of another species."""
    return syntype.find_suspects(swap(reef, 7)[0], CONFIG, tmp_path_factory.mktemp("swapped") / "out", Run.silent())


def test_swapped_names_are_listed_first_with_their_true_species(reef: Collection, swapped: syntype.SuspectsResult) -> None:
    _, rows, true = swap(reef, 7)
    found, out = swapped, swapped.page.parent
    listed = found.table[found.table["kind"] == "label"].set_index("image_id")
    renamed_ids = [reef.table["image_id"].iloc[row] for row in rows]
    assert len(listed) < len(reef) / 3
    assert listed["rank"].reindex(renamed_ids).max() <= 12
    assert (listed["suggested_species"].reindex(renamed_ids).to_numpy() == true).mean() > 0.5
    with (out / "suspects.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["image_id"] for row in written] == found.table["image_id"].tolist()
    first = written[0]
    assert first["species"] != first["suggested_species"] and float(first["probability_given"]) < float(first["probability_suggested"])
    assert first["beside_image_id"] in set(reef.table["image_id"])
    with Image.open(out / "label-01.png") as sheet:
        assert sheet.width <= 1680 and sheet.height > SIDE
    page = (out / "suspects.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") >= 3 * len(listed) and "http" not in page
    HTMLParser().feed(page)


def test_the_same_settings_give_the_same_list(reef: Collection, swapped: syntype.SuspectsResult, tmp_path: Path) -> None:
    again = syntype.find_suspects(swap(reef, 7)[0], CONFIG, tmp_path / "again", Run.silent())
    pd.testing.assert_frame_equal(again.table, swapped.table)
    for file in ("suspects.csv", "label-01.png", "suspects.html"):
        assert (tmp_path / "again" / file).read_bytes() == (swapped.page.parent / file).read_bytes()


def test_one_picture_under_two_names_is_listed_with_its_partner(reef: Collection, tmp_path: Path) -> None:
    table = reef.table.copy()
    copy = table.iloc[[0]].assign(image_id="copy", species=reef.species[-1], group="copy")
    assert table["species"].iloc[0] != reef.species[-1]
    changed = Collection(reef.root, pd.concat([table, copy], ignore_index=True), reef.species, reef.info)
    found = syntype.find_suspects(changed, CONFIG, tmp_path / "out", Run.silent())
    double = found.table[found.table["kind"] == "near-duplicate"]
    assert double[["image_id", "beside_image_id"]].to_numpy().tolist() == [[table["image_id"].iloc[0], "copy"]]
    assert (tmp_path / "out" / "near-duplicate-01.png").is_file()


def test_species_with_few_groups_are_told_and_not_judged(reef: Collection, tmp_path: Path) -> None:
    rare = reef.species[0]
    rows = np.flatnonzero((reef.table["species"] == rare).to_numpy(dtype=bool))
    kept = np.ones(len(reef), dtype=bool)
    kept[rows[3:]] = False
    found = syntype.find_suspects(reef.where(kept), CONFIG, tmp_path / "out", Run.silent())
    assert found.too_few == (rare,) and rare not in set(found.table["species"])
    assert f"Too few to judge, with fewer than 4 groups: {rare}" in (tmp_path / "out" / "suspects.html").read_text(encoding="utf-8")
    with pytest.raises(CollectionError, match=r"0 species have at least 1000 groups.*min_groups"):
        syntype.find_suspects(reef, syntype.SuspectsConfig(size=96, min_groups=1000), tmp_path / "none", Run.silent())


def test_the_command_writes_its_own_folder_and_nothing_else(reef: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in reef.root.rglob("*") if path.is_file() and ".cache" not in path.parts}
    words = ["inspect", str(reef.root), "--labels", "--out", str(tmp_path / "out"), "--set", "size=96", "--quiet", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["num_images"] == len(reef) and set(told["num_listed"]) == {"label", "near-duplicate", "outlier"}
    manifest = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert (manifest["stage"], manifest["status"]) == ("suspects", "finished")
    assert before == {path: path.stat().st_mtime_ns for path in reef.root.rglob("*") if path.is_file() and ".cache" not in path.parts}
    assert main(words) == 2 and "already holds files" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--labels"], ["--labels", "--out", "x", "--verify"], ["--out", "x"], ["--set", "size=64"]])
def test_options_that_do_not_belong_together_are_refused(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path), *words]) == 2
    assert "--labels" in capsys.readouterr().err


def test_a_group_does_not_vote_for_itself() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    features = np.repeat(random.normal(size=(40, 64)), 10, axis=0).astype(np.float32)  # ten equal photographs a track
    labels = np.repeat(random.permutation(40) % 2, 10)  # whose names say nothing
    inside = out_of_fold(features, labels, np.arange(400), 2, folds=5, seed=0, progress=lambda: None)
    outside = out_of_fold(features, labels, groups, 2, folds=5, seed=0, progress=lambda: None)
    rows = np.arange(400)
    assert inside[rows, labels].mean() > 0.62 > 0.58 > outside[rows, labels].mean()
    np.testing.assert_allclose(outside.sum(axis=1), 1)
    far = distance_to_species(features, labels, groups, 3)
    assert (far > 0.1).all(), "the nine equal photographs of the track do not count"


def test_confident_learning_counts_as_in_a_worked_example() -> None:
    """Thresholds are the mean own probabilities, 0.6 and 0.7: photograph 2 counts as the other species, 3 reaches neither threshold."""
    probabilities = np.array([[0.9, 0.1], [0.65, 0.35], [0.25, 0.75], [0.6 * 4 - 0.9 - 0.65 - 0.25, 0.4], [0.3, 0.7], [0.3, 0.7]])
    labels = np.array([0, 0, 0, 0, 1, 1])
    assert num_label_errors(probabilities, labels) == 1
    best, odds = suggestions(probabilities, labels)
    assert best.tolist() == [1, 1, 1, 1, 0, 0]
    assert int(odds.argmin()) == 2
    np.testing.assert_allclose(odds[0], np.log(9), rtol=1e-4)


def test_deviations_are_those_of_the_species_itself() -> None:
    values = np.array([1.0, 1.1, 0.9, 1.0, 3.0, 10.0, 11.0, 9.0, 10.0, np.nan])
    found = robust_deviations(values, np.array([0] * 5 + [1] * 5))
    assert int(np.nanargmax(found)) == 4 and found[4] > 5 and np.isnan(found[9])
    assert abs(found[6]) < 3


def test_names_of_any_letters_are_drawn_within_the_sheet(tmp_path: Path) -> None:
    image = np.full((SIDE, SIDE, 3), 90, np.uint8)
    names = ["Aus primus", "Pseudanthias squamipinnis var. longissima of the northern reef", "<b>Ähre & Söhne</b>", "鱼鱼鱼", ""]
    cards = [Card(f"{number}.  {'x' * 200}.jpg", [Panel(image, "this photograph", name, "over 99 %")] * 3) for number, name in enumerate(names * 8)]
    section = Section("label", "Title", "Text", cards)
    paths = write_sheets(section, tmp_path)
    assert [path.name for path in paths] == ["label-01.png", "label-02.png", "label-03.png"]
    for path in paths:
        with Image.open(path) as sheet:
            assert sheet.width <= 1680
    assert write_sheets(Section("none", "", "", []), tmp_path) == []
    write_page("<Title>", ["a & b"], [section], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<b>Ähre" not in page and "&lt;b&gt;Ähre &amp; Söhne" in page and "a &amp; b" in page


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(syntype.SyntypeError, match="folds"):
        syntype.SuspectsConfig(folds=1)
    with pytest.raises(InputError, match="not a Collection"):
        syntype.find_suspects("fish", CONFIG, "out")  # type: ignore[arg-type]

"""Faults that a command tells in one line: another generator, a full disk, one species, a handful of images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from made import make_collection, train_tiny

from syntype.apps.cli import main
from syntype.collection import Collection


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of two species and of one, and two generators that learnt from the first."""
    root = tmp_path_factory.mktemp("made")
    photographs = make_collection(root / "fish", {"Aus primus": 8, "Bus secundus": 8})
    make_collection(root / "alone", {"Aus primus": 12})
    for number in range(2):
        train_tiny("fastgan", photographs, root / f"generator-{number}", steps=1, seed=number)
    return root


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("syntype: error: ") and len(lines[0].encode()) < 2000
    return lines[0]


def test_generate_goes_on_with_the_same_generator_and_seed_alone(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out"), "--quiet"]
    assert main(["generate", str(made / "generator-0"), "--num", "1", *out]) == 0
    capsys.readouterr()
    assert main(["generate", str(made / "generator-1"), "--num", "2", "--resume", *out]) == 2
    assert "generator" in told(capsys)
    assert main(["generate", str(made / "generator-0"), "--num", "2", "--seed", "7", "--resume", *out]) == 2
    assert "seed: 0 before, 7 now" in told(capsys)
    assert len(Collection.open(tmp_path / "out")) == 2, "nothing was added"
    assert main(["generate", str(made / "generator-0"), "--num", "2", "--resume", *out]) == 0
    assert len(Collection.open(tmp_path / "out")) == 4


def test_an_import_onto_a_full_disk_says_so(made: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = small_disk.parent / "source"
    for number in range(400):
        (source / "Aus primus").mkdir(parents=True, exist_ok=True)
        shutil.copy(made / "fish" / "images" / "0-0.png", source / "Aus primus" / f"{number}.png")
        with (source / "Aus primus" / f"{number}.png").open("ab") as file:
            file.write(bytes([number % 256]) * 20_000)
    assert main(["collect", str(source), "--out", str(small_disk / "out"), "--quiet"]) == 2
    assert "the disk is full. Free some space" in told(capsys)
    assert not (small_disk / "out" / "collection.json").exists()


def test_a_classifier_of_one_species_is_refused(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "train", str(made / "alone"), "--out", str(tmp_path / "classifier"), "--quiet"]) == 2
    assert "only Aus primus has training photographs" in told(capsys)


def test_an_evaluation_of_a_handful_of_images_says_that_it_means_nothing(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synthetic = make_collection(tmp_path / "synthetic", {"Aus primus": 6, "Bus secundus": 6}, seed=3)
    Collection.create(synthetic.root, synthetic.table.assign(origin="synthetic", split=None), species=synthetic.species)
    assert main(["evaluate", str(synthetic.root), "--real", str(made / "fish"), "--set", "size=32", "--json"]) == 0
    shown = capsys.readouterr()
    assert "the figures mean nothing" in shown.err and "the figures mean nothing" in json.loads(shown.out)["note"]

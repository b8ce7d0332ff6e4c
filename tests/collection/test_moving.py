"""Photographs move from one collection to another, and back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made import make_collection
from PIL import Image

from syntype.collection import Collection
from syntype.collection.moving import move_photographs, undo_move
from syntype.collection.relabel import relabel, undo_relabel
from syntype.errors import InputError, UnknownNameError

TEXT = "string"


@pytest.fixture
def fish(tmp_path: Path) -> Path:
    """Eight photographs of two species, half of them kept for tests, the first observation among them."""
    made = make_collection(tmp_path / "fish", {"Aus primus": 4, "Bus secundus": 4})
    table = made.table.assign(split=["test", "train"] * 4, group=[f"g{number}" for number in range(8)], depth=[1.5, None, 3, 4, 5, 6, 7, 8])
    return Collection.create(made.root, table, species=made.species).root


@pytest.fixture
def more(tmp_path: Path) -> Path:
    """Five other photographs: of a species spelt otherwise, of a new one, and one of the observation g0."""
    made = make_collection(tmp_path / "more", {"aus primus": 3, "Bus secundum": 2}, seed=5)
    first = pd.array([None, "0-0", *[None] * 3], TEXT)
    table = made.table.assign(split=["test"] * 5, group=["g0", "h", "h", None, None], camera=["x"] * 5, duplicate_of=first)
    return Collection.create(made.root, table, species=made.species, sources=["field trip"]).root


def state(folder: Path) -> tuple[str, list[Any], tuple[str, ...], set[str]]:
    opened = Collection.open(folder)
    files = {str(path.relative_to(folder)) for path in (folder / "images").rglob("*.*")}
    return opened.fingerprint, opened.table.astype(object).where(opened.table.notna(), None).to_numpy().tolist(), tuple(sorted(opened.species)), files


def test_all_photographs_of_a_collection_join_another_and_come_back(fish: Path, more: Path) -> None:
    before = state(fish), state(more)
    told = move_photographs(more, fish, dry_run=True)
    assert (state(fish), state(more)) == before and told.number == 0
    found = move_photographs(more, fish, who="Ada")
    assert {**vars(found), "number": 0} == vars(told) and found.num_images == 5 and found.number == 1
    assert found.renamed == {"aus primus": "Aus primus"} and found.new_species == {"Bus secundum": "Bus secundus"}
    new = Collection.open(fish).table.iloc[8:]
    assert new["species"].tolist() == ["Aus primus"] * 3 + ["Bus secundum"] * 2 and Collection.open(fish).table["image_id"].nunique() == 13
    assert new["split"].fillna("none").tolist() == ["none", "train", "train", "train", "train"] and found.num_unused == 1  # its observation is tested
    assert new["duplicate_of"].iloc[1] == new["image_id"].iloc[0] and new["camera"].tolist() == ["x"] * 5
    assert Collection.open(fish).table["split"].iloc[:8].tolist() == ["test", "train"] * 4
    assert Collection.open(fish).species == ("Aus primus", "Bus secundum", "Bus secundus") and len(Collection.open(more)) == 0
    assert all((fish / name).is_file() for name in new["file_name"]) and not list((more / "images").rglob("*.png"))
    info = json.loads((fish / "collection.json").read_text())
    assert info["history"][-1]["from"] == "more" and info["history"][-1]["who"] == "Ada" and "field trip" in info["sources"]
    assert undo_move(fish).num_images == 5
    assert state(more) == before[1]
    after = state(fish)
    assert (after[0], after[2], after[3]) == (before[0][0], before[0][2], before[0][3])
    with pytest.raises(InputError, match="no move of photographs is left"):
        undo_move(more)


def test_some_photographs_move_and_are_taken_back_from_either_side_under_another_name(fish: Path, more: Path, tmp_path: Path) -> None:
    before = state(more)
    chosen = Collection.open(more).table["image_id"][[1, 3]].tolist()
    move_photographs(more, fish, chosen)
    assert len(Collection.open(more)) == 3 and len(Collection.open(fish)) == 10
    elsewhere = tmp_path / "trash"
    elsewhere.mkdir()
    shutil.move(fish, elsewhere / "renamed")
    with pytest.raises(InputError, match="other collection of this move is not found"):
        undo_move(more)
    undo_move(more, [elsewhere / "renamed"])
    assert state(more) == before and len(Collection.open(elsewhere / "renamed")) == 8


def test_the_same_file_stays_and_nearly_the_same_picture_of_a_test_photograph_goes_to_no_split(fish: Path, more: Path) -> None:
    there = Collection.open(fish)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for folder, row, change in ((fish, 0, 0), (more, 4, 1)):
        pixels = noise.copy()
        pixels[0, 0] += change
        Image.fromarray(pixels).save(Collection.open(folder).path(row))
        opened = Collection.open(folder)
        table = opened.table.assign(sha256=pd.array([None] * len(opened), TEXT), phash=pd.array([None] * len(opened), TEXT))
        Collection.create(folder, table, species=opened.species)
    shutil.copyfile(there.path(2), Collection.open(more).path(3))
    opened = Collection.open(more)
    Collection.create(more, opened.table.assign(sha256=pd.array([None] * 5, TEXT)), species=opened.species)
    found = move_photographs(more, fish)
    ids = Collection.open(fish).table["image_id"]
    assert found.num_same == 1 and len(Collection.open(more)) == 1 and [pair[1] for pair in found.near] == [ids[0]]
    assert found.num_unused == 2 and "nearly the same" in " ".join(found.sentences())
    with pytest.raises(InputError, match="the very same files already"):
        move_photographs(more, fish)


def test_changes_of_both_kinds_are_taken_back_each_for_itself(fish: Path, more: Path) -> None:
    move_photographs(more, fish)
    first = Collection.open(fish).table["image_id"][0]
    relabel(fish, {first: "Bus secundus"})
    undo_move(fish)
    assert Collection.open(fish).table["species"][0] == "Bus secundus"
    undo_relabel(fish)
    assert Collection.open(fish).table["species"][0] == "Aus primus"


def test_a_move_that_a_crash_has_cut_short_is_taken_back(fish: Path, more: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, there = state(more), state(fish)[3]
    calls = []

    def crash(*values: Any, **more_values: Any) -> int:
        calls.append(values)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*values, **more_values)

    from syntype.collection import moving

    original = moving.new_change
    monkeypatch.setattr(moving, "new_change", crash)
    with pytest.raises(KeyboardInterrupt):
        move_photographs(more, fish)
    assert len(Collection.open(fish)) == 13 and state(more) == before  # in both, and nothing is lost
    undo_move(fish)
    assert state(more) == before and state(fish)[3] == there


def test_what_cannot_be_moved_is_refused_in_one_line(fish: Path, more: Path) -> None:
    with pytest.raises(InputError, match="the collection itself"):
        move_photographs(fish, fish)
    with pytest.raises(UnknownNameError):
        move_photographs(more, fish, ["nobody"])
    with pytest.raises(InputError, match="no photograph to be moved"):
        move_photographs(more, fish, [])
    opened = Collection.open(more)
    Collection.create(more, opened.table.assign(origin="synthetic", split=None), species=opened.species)
    with pytest.raises(InputError, match="synthetic, and stays"):
        move_photographs(more, fish)

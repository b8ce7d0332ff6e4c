"""Folders of photographs as people have them: wrapped, split, full of system folders, links and odd names."""

from __future__ import annotations

import os
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from syntype.collection.importers import CollectConfig, collect
from syntype.collection.sources import Listing, Refused, SourceConfig, read_source
from syntype.collection.table import Collection
from syntype.errors import InputError
from syntype.run import Run

KINDS = ("Aus primus", "Bus secundus", "Cus tertius")


def draw(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8))
    coarse.resize((24, 24), Image.Resampling.BICUBIC).save(path)
    return path


def fill(root: Path, kinds: tuple[str, ...] = KINDS, number: int = 2, start: int = 0) -> Path:
    for kind in kinds:
        for image in range(number):
            draw(root / kind / f"{image}.png", start + zlib.crc32(f"{kind}{image}".encode()) % 1000)
    return root


def counted(listing: Listing) -> dict[str | None, int]:
    return dict(Counter(entry.species for entry in listing.entries))


@pytest.mark.parametrize("above", ["", "photos", "photos/My fish", "a/b/c"])
def test_wrapping_folders_are_no_species(tmp_path: Path, above: str) -> None:
    listing = read_source(fill(tmp_path / "source" / above) and tmp_path / "source", SourceConfig())
    assert counted(listing) == dict.fromkeys(KINDS, 2)
    assert any("lie in" in note for note in listing.notes) == bool(above)


@pytest.mark.parametrize("words", [("train", "valid", "test"), ("Training", "val", "Testing"), ("train_images", "validation_set", "images-test")])
@pytest.mark.parametrize("above", ["", "images"])
def test_the_authors_split_folders_are_splits(tmp_path: Path, words: tuple[str, str, str], above: str) -> None:
    for place, word in enumerate(words):
        fill(tmp_path / "source" / above / word, number=3 - place, start=1000 * place)
    listing = read_source(tmp_path / "source", SourceConfig())
    assert counted(listing) == dict.fromkeys(KINDS, 6)
    assert Counter(entry.split for entry in listing.entries) == {"train": 9, "val": 6, "test": 3}
    assert any("splits are the author's" in note for note in listing.notes)
    result = collect(tmp_path / "source", CollectConfig(), tmp_path / "out", Run.silent())
    assert result.splits == {"train": 9, "val": 6, "test": 3}


def test_splits_below_the_species_are_splits_and_a_single_split_word_among_species_is_not(tmp_path: Path) -> None:
    for kind in KINDS:
        fill(tmp_path / "below" / kind, ("train", "test"), 1)
    below = read_source(tmp_path / "below", SourceConfig())
    assert counted(below) == dict.fromkeys(KINDS, 2)
    assert Counter(entry.split for entry in below.entries) == {"train": 3, "test": 3}
    fill(tmp_path / "among", (*KINDS, "test"))
    among = read_source(tmp_path / "among", SourceConfig())
    assert "test" in counted(among) and all(entry.split is None for entry in among.entries)
    assert any("not as splits" in note for note in among.notes)


def test_folders_of_systems_are_passed_over_and_told(tmp_path: Path) -> None:
    source = fill(tmp_path / "source")
    for folder in (
        "@eaDir/Aus primus",
        "Aus primus/@eaDir/0.png",
        "#recycle/old",
        "$RECYCLE.BIN/S-1-5",
        "__MACOSX/Aus primus",
        "lost+found",
        ".Trashes",
    ):
        draw(source / folder / "thumbnail.jpg", 99)
    (source / "Aus primus" / "Thumbs.db").write_bytes(b"x")
    (source / "Aus primus" / "._0.png").write_bytes(b"\0\5\x16\7")
    listing = read_source(source, SourceConfig())
    assert counted(listing) == dict.fromkeys(KINDS, 2) and not listing.refused
    assert any(note.startswith("passed over") and "@eaDir" in note for note in listing.notes)


def test_links_are_followed_once_and_circles_end(tmp_path: Path) -> None:
    store, source = fill(tmp_path / "store"), tmp_path / "source"
    (source / "Aus primus").mkdir(parents=True)
    for file in (store / "Aus primus").iterdir():
        (source / "Aus primus" / file.name).symlink_to(file)
    for kind in KINDS[1:]:
        (source / kind).symlink_to(store / kind)
    (source / "Aus primus" / "again").symlink_to(source)
    (source / "Aus primus" / "nowhere.jpg").symlink_to(tmp_path / "gone.jpg")
    (source / "Aus primus" / "self.jpg").symlink_to(source / "Aus primus" / "self.jpg")
    listing = read_source(source, SourceConfig())
    assert counted(listing) == dict.fromkeys(KINDS, 2)
    assert {item.reason for item in listing.refused} == {"is a link that leads nowhere"}


def test_names_that_are_not_utf_8_are_read(tmp_path: Path) -> None:
    source = fill(tmp_path / "source")
    folder = os.fsencode(str(source)) + b"/Pelagia M\xfcller"
    os.mkdir(folder)
    os.rename(draw(tmp_path / "one.png", 5), folder + b"/bl\xe5-1.png")
    result = collect(source, CollectConfig(), tmp_path / "out", Run.silent())
    assert set(result.collection.species) == {*KINDS, "Pelagia Müller"}
    assert Collection.open(tmp_path / "out").table["original_name"].str.contains("blå-1").any()


def test_two_spellings_of_one_folder_join_and_loose_files_are_told(tmp_path: Path) -> None:
    source = fill(tmp_path / "source", ("Aus_primus", "Aus primus", "Bus secundus"))
    draw(source / "lost.png", 3)
    listing = read_source(source, SourceConfig())
    assert counted(listing) == {"Aus primus": 4, "Bus secundus": 2}
    assert [item.reason for item in listing.refused] == ["lies beside the species' folders"]
    assert any("joined" in note for note in listing.notes)
    assert counted(read_source(source / "Aus_primus", SourceConfig())) == {"Aus primus": 2}


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..") and len(os.fsencode(name)) < 60
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(names, min_size=1, max_size=4), min_size=1, max_size=8))
def test_any_tree_of_names_is_listed_whole(tmp_path_factory: pytest.TempPathFactory, trees: list[list[str]]) -> None:
    root = tmp_path_factory.mktemp("tree")
    for parts in trees:
        path = root.joinpath(*parts[:-1], parts[-1][:10] + ".png")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
    there = [path for path in root.rglob("*") if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)]
    if not there:
        return
    with suppress(InputError):  # names of digits alone and the like, which nobody meant for species
        assert len(read_source(root, SourceConfig()).items) >= 1
    listing = read_source(root, SourceConfig(format="folders"))
    passed = [part for path in there for part in path.relative_to(root).parts if part.strip().lower() in ("thumbs", "icon")]
    assert len(listing.items) + len(passed) >= len(there)
    for item in listing.items:
        shown = item.file if isinstance(item, Refused) else f"{item.species} {item.original_name}"
        shown.encode("utf-8")

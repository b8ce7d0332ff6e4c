"""What an import tells before it takes anything in."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from syntype.apps.cli import main
from syntype.collection.importers import CollectConfig, collect
from syntype.collection.preview import preview, preview_listing
from syntype.collection.sources import READERS, Entry, Listing, Packed, Refused, SourceConfig
from syntype.run import Run


def entry(number: int, species: str = "Aus primus", **more: Any) -> Entry:
    return Entry(Packed(f"{number}.jpg", lambda: b""), species, row=number, **more)


def make_table(folder: Path, rows: list[list[str]]) -> Path:
    """A table and its image files; the file of a name that begins with "gone" is missing."""
    folder.mkdir()
    for name, *_ in rows:
        if not name.startswith("gone"):
            Image.new("RGB", (20, 20), (hash(name) % 256, 80, 90)).save(folder / name)
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file_name", "species", "specimen", "licence", "habitat"], *rows])
    return folder / "labels.csv"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [[f"{number}.png", "Aus primus", f"s{number // 2}", "CC0", "reef"] for number in range(6)]
    return make_table(tmp_path / "source", [*rows, ["gone.png", "Bus secundus", "s9", "CC BY", "reef"], ["8.png", "", "s9", "CC BY", "reef"]])


def test_one_sentence_says_what_a_source_holds_and_nothing_is_written(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert main(["collect", str(table), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(
        "Table with a row for each image: 7 photographs of 2 species in 4 observations, 1 without a file; licences CC0 86 %, CC BY 14 %;"
    )
    assert "1 refused." in told and "No file: row 7 gone.png" in told and "(row 8" in told
    assert f"Next: syntype collect {table} --out out/labels" in told
    assert sorted(tmp_path.rglob("*")) == before


def test_the_next_command_is_the_same_one_with_out(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["collect", str(table), "--dry-run", "--species-column", "specimen", "--set", "val_fraction=0.1", "--out", "my fish"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"Next: syntype collect {table} --species-column specimen --set val_fraction=0.1 --out 'my fish'"
    )


def test_json_holds_all_of_it(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["collect", str(table), "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dry_run"] and told["num_images"] == 7 and told["num_missing"] == 1 and told["species"] == {"Aus primus": 6, "Bus secundus": 1}
    assert [row["file"] for row in told["rows"]] == [f"{number}.png" for number in range(5)]
    assert [(row["species"], row["file"]) for row in told["examples"]] == [("Aus primus", "0.png"), ("Bus secundus", "gone.png")]
    assert [item["row"] for item in told["refused_items"]] == [8] and list(told["refused"].values()) == [1]


def test_the_import_says_the_same_sentence(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collect(table, CollectConfig(), tmp_path / "out", Run(None))
    assert preview(table, CollectConfig()).sentence() in capsys.readouterr().err


def test_whatever_a_source_holds_the_preview_fits_on_a_screen() -> None:
    long = "Pseudocalanopsis " * 60
    items = [
        *(entry(number, f"{long}{number % 400}", group=f"{long}{number}", split="train", values={"licence": long, long + str(number): "x"})
          for number in range(2000)),
        *(Refused(f"{long}{number}.jpg", number, f"{long}{number % 50}", long) for number in range(500)),
    ]  # fmt: skip
    for notes in ([], [long] * 40, ["鱼" * 5000] * 3):
        told = preview_listing(Listing(long, items, notes=notes)).text(f"syntype collect '{long}' --out out/{long}")
        assert len(told.splitlines()) <= 24 and len(told.encode()) <= 2000
        assert "2,000 photographs of 400 species" in told and "500 refused" in told and told.splitlines()[-1].startswith("Next: ")


def test_what_a_source_says_of_its_images_is_told() -> None:
    shared = Packed("one.jpg", lambda: b"")
    items = [
        *(Entry(shared, "Aus primus", group="a", box=(0, 0, 9, 9), split="test") for _ in range(2)),
        entry(3, values={"origin": "synthetic"}),
        Entry(Path("nowhere/4.jpg"), "Aus primus", url="https://example.org/4.jpg"),
    ]
    told = preview_listing(Listing("COCO file", items)).sentence()
    assert told.startswith(
        "COCO file: 4 images (1 synthetic) of 1 species in 3 observations, several animals in one photograph (3 files), 2 with a box"
    )
    assert "1 to be downloaded (--download)" in told and "the author's splits: train 0, val 0, test 2, none 2" in told
    assert preview_listing(Listing("x", [entry(1, values={"origin": "synthetic"})])).sentence() == "X: 1 synthetic image of 1 species."


def test_only_a_dry_run_needs_no_folder_to_write_to(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["collect", str(table)]) == 2
    assert "--out is missing" in capsys.readouterr().err


def test_a_format_can_be_asked_for_and_an_unknown_one_lists_them(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["collect", str(table.parent), "--dry-run", "--format", "folders"]) == 0
    assert "Folder" in capsys.readouterr().out.partition(":")[0]
    assert main(["collect", str(table), "--dry-run", "--format", "jason"]) == 2
    assert "unknown format 'jason'" in (told := capsys.readouterr().err) and "folders" in told


def test_the_formats_are_listed_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["formats"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{reader.name:<{max(len(one.name) for one in READERS)}}  {reader.title}" for reader in READERS]
    assert main(["formats", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["formats"] == {reader.name: reader.title for reader in READERS}


@pytest.mark.parametrize("given", ["train", "train=", "=a.csv", "rest=a.csv", "train=a.csv train=b.csv", "train=a.csv training=b.csv"])
def test_tables_of_splits_are_given_by_name(given: str, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [word for part in given.split() for word in ("--split", part)]
    assert main(["collect", str(table), "--dry-run", *options]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_messages_that_quote_a_whole_table_stay_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide = tmp_path / "wide.csv"
    wide.write_text(",".join(f"measurement {'x' * 100} {number}" for number in range(3000)) + "\n" + ",".join(["1"] * 3000) + "\n")
    for options in ([], ["--file-column", "y" * 5000]):
        assert main(["collect", str(wide), "--dry-run", *options]) == 2
        told = capsys.readouterr().err
        assert len(told.encode()) < 2048 and len(told.splitlines()) == 1 and "measurement" in told


def test_a_preview_of_a_source_that_is_not_there_says_so(tmp_path: Path) -> None:
    from syntype.errors import InputError

    with pytest.raises(InputError, match="does not exist"):
        preview(tmp_path / "nothing", SourceConfig())

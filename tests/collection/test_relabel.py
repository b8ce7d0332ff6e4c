"""Names of photographs are corrected later, photographs left out, and both taken back."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from syntype.apps.cli import main
from syntype.collection import Collection
from syntype.collection.relabel import relabel, undo_relabel
from syntype.errors import InputError, UnknownNameError
from syntype.ownership import FolderLock


@pytest.fixture
def fish(tmp_path: Path) -> Path:
    """Six photographs of two species in tracks of two, the genus in a column."""
    source = tmp_path / "source"
    source.mkdir()
    with (source / "images.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "species", "track", "genus", "family"])
        for number in range(6):
            Image.new("RGB", (40, 30), (40 * number, 90, 200 - 30 * number)).save(source / f"{number}.png")
            species = "Naso lituratus" if number < 4 else "Zebrasoma scopas"
            writer.writerow([f"{number}.png", species, f"t{number // 2}", species.split()[0], "Acanthuridae"])
    assert main(["collect", str(source), "--group-column", "track", "--out", str(tmp_path / "fish")]) == 0
    return tmp_path / "fish"


def ids(folder: Path, *names: str) -> list[str]:
    table = Collection.open(folder, hashes=False).table
    return [table.set_index("original_name").loc[name, "image_id"] for name in names]


def content(folder: Path) -> list[list[object]]:
    table = Collection.open(folder, hashes=False).table
    return table.astype(object).where(table.notna(), None).drop(columns="verbatim_name", errors="ignore").to_numpy().tolist()


def test_a_photograph_gets_another_name_and_back(fish: Path) -> None:
    before = content(fish)
    [first] = ids(fish, "0.png")
    done = relabel(fish, {first: "Zebrasoma  scopas"}, who="Ada")
    assert done.renamed == {"Naso lituratus → Zebrasoma scopas": 1} and done.num_companions == 1  # the other photograph of the track
    row = Collection.open(fish).table.set_index("image_id").loc[first]
    assert (row["species"], row["genus"], row["family"], row["verbatim_name"]) == ("Zebrasoma scopas", "Zebrasoma", "Acanthuridae", "Naso lituratus")
    history = json.loads((fish / "collection.json").read_text())["history"]
    assert history[-1]["stage"] == "relabel" and history[-1]["who"] == "Ada" and history[-1]["num_images"] == 1
    assert undo_relabel(fish).renamed == {"Zebrasoma scopas → Naso lituratus": 1}
    assert content(fish) == before
    with pytest.raises(InputError, match="no change of names is left"):
        undo_relabel(fish)


def test_a_new_species_joins_the_list_and_one_without_photographs_leaves_it(fish: Path) -> None:
    last = ids(fish, "4.png", "5.png")
    relabel(fish, dict.fromkeys(last, "Zebrasoma rostratum"))
    collection = Collection.open(fish)
    assert collection.species == ("Naso lituratus", "Zebrasoma rostratum")
    assert set(collection.table.set_index("image_id").loc[last, "genus"]) == {"Zebrasoma"}  # the genus stays
    relabel(fish, {last[0]: "Balistes vetula"})
    assert Collection.open(fish).table.set_index("image_id")["genus"].isna()[last[0]]  # nothing is known of it
    assert undo_relabel(fish).number == 2 and undo_relabel(fish).number == 1
    assert Collection.open(fish).species == ("Naso lituratus", "Zebrasoma scopas")


def test_a_photograph_that_is_left_out_is_learnt_from_no_more(fish: Path) -> None:
    [first] = ids(fish, "0.png")
    assert relabel(fish, {first: None}, who="Ada").num_left_out == 1
    assert len(Collection.open(fish).select(usable=True)) == 5 and len(Collection.open(fish)) == 6
    undo_relabel(fish)
    assert len(Collection.open(fish).select(usable=True)) == 6


def test_what_was_changed_since_is_left_alone(fish: Path) -> None:
    one, two = ids(fish, "0.png", "1.png")
    relabel(fish, dict.fromkeys((one, two), "Zebrasoma scopas"))
    collection = Collection.open(fish)
    species = collection.table["species"].where(collection.table["image_id"] != two, "Naso lituratus")
    Collection(fish, collection.table.assign(species=species), collection.species, collection.info).save()
    assert undo_relabel(fish).num_changed_since == 1
    assert set(Collection.open(fish).table.set_index("image_id").loc[[one, two], "species"]) == {"Naso lituratus"}


def test_the_command_takes_a_table_and_says_what_it_did(fish: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = ids(fish, "0.png", "5.png")
    (tmp_path / "corrected.csv").write_text(f"image_id,species\n{first},Zebrasoma scopas\n{second},\n")
    assert main(["relabel", str(fish), "--table", str(tmp_path / "corrected.csv"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["renamed"] == {"Naso lituratus → Zebrasoma scopas": 1} and told["num_left_out"] == 1
    assert main(["relabel", str(fish), "--undo"]) == 0
    assert main(["relabel", str(fish), "--image", first, "--species", "Naso annulatus"]) == 0
    assert "Naso annulatus" in Collection.open(fish).species
    assert main(["relabel", str(fish), "--image", first]) == 2


def test_wrong_requests_change_nothing(fish: Path, tmp_path: Path) -> None:
    before = content(fish)
    [first] = ids(fish, "0.png")
    for names, error, words in (
        ({"nobody": "Naso lituratus"}, UnknownNameError, "nobody"),
        ({first: "Naso lituratus"}, InputError, "nothing is to be changed"),
        ({first: "  "}, InputError, "is empty"),
    ):
        with pytest.raises(error, match=words):
            relabel(fish, names)
    lock = FolderLock(fish)
    with pytest.raises(InputError, match="being written to"):
        relabel(fish, {first: "Zebrasoma scopas"})
    lock.release()
    assert content(fish) == before and not (fish / "changes").exists()


def test_the_record_of_changes_is_no_unknown_file(fish: Path, tmp_path: Path) -> None:
    relabel(fish, dict.fromkeys(ids(fish, "0.png"), "Zebrasoma scopas"))
    assert main(["inspect", str(fish), "--verify"]) == 0
    assert main(["collect", str(fish), "--out", str(tmp_path / "copy")]) == 0
    assert Collection.open(tmp_path / "copy").table["species"].tolist() == Collection.open(fish).table["species"].tolist()

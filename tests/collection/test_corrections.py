"""Corrections at import: species renamed, merged and left out; licence and rights holder filled in."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from syntype.apps.cli import main
from syntype.collection import Collection
from syntype.collection.preview import preview
from syntype.collection.sources.base import SourceConfig
from syntype.errors import InputError, UnknownNameError


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table: one species under two names, one that is none, licences of some."""
    folder = tmp_path_factory.mktemp("source")
    rows = []
    for number, (species, genus, licence) in enumerate(
        [
            ("Naso lituratus", "Naso", "CC0"),
            ("Naso literatus", "", ""),
            ("Naso literatus", "", "CC BY 4.0"),
            ("Zanclus sp", "Zanclus", ""),
            ("Boat", "", ""),
        ]
    ):
        Image.new("RGB", (40, 30), (40 * number, 90, 200 - 30 * number)).save(folder / f"{number}.png")
        rows.append({"file": f"{number}.png", "species": species, "genus": genus, "licence": licence})
    with (folder / "images.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_what_the_command_is_told_is_what_the_preview_shows_and_the_collection_holds(source: Path, tmp_path: Path) -> None:
    told = ["--rename", "Naso literatus=Naso lituratus", "--rename", "Zanclus sp=Naso annulatus", "--leave-out", "Boat"]
    given = ["--default-licence", "CC BY-SA 4.0", "--default-rights-holder", "Reef Museum"]
    assert main(["collect", str(source), *told, *given, "--out", str(tmp_path / "fish")]) == 0
    table = Collection.open(tmp_path / "fish").table.sort_values("original_name").reset_index(drop=True)
    assert list(table["species"]) == ["Naso lituratus"] * 3 + ["Naso annulatus"]
    assert table["verbatim_name"].fillna("").tolist() == ["", "Naso literatus", "Naso literatus", "Zanclus sp"]
    assert table["genus"].fillna("").tolist() == ["Naso"] * 3 + [""]  # nothing is known of the new name's relatives
    assert table["licence"].tolist() == ["CC0", "CC BY-SA 4.0", "CC BY 4.0", "CC BY-SA 4.0"]
    assert set(table["rights_holder"]) == {"Reef Museum"}
    with (tmp_path / "fish" / "refused.csv").open() as file:
        assert [(row["file"], row["reason"]) for row in csv.DictReader(file)] == [("4.png", "of a species that was left out")]
    found = preview(source, SourceConfig(rename={"Naso literatus": "Naso lituratus"}, leave_out=["Boat"], default_licence="CC0"))
    assert found.species == {"Naso lituratus": 3, "Zanclus sp": 1}
    assert "Naso literatus (2 images) is taken as Naso lituratus, as was asked for" in found.notes
    assert "2 images without a licence get CC0, as was asked for" in found.notes


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"rename": {"Naso litteratus": "Naso lituratus"}}, UnknownNameError, "Naso literatus"),
        ({"leave_out": ["boat "]}, UnknownNameError, "Boat"),
        ({"rename": {"Boat": "Ship"}, "leave_out": ["Boat"]}, InputError, "renamed and to be left out"),
        ({"rename": {"Boat": " "}}, InputError, "is empty"),
    ],
)
def test_corrections_that_fit_nothing_are_refused_with_the_nearest_name(source: Path, asked: dict[str, object], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        preview(source, SourceConfig(**asked))

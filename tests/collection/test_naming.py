"""Names of species at the import: spellings joined, checklists applied, everything told."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from syntype.collection.importers import CollectConfig, collect
from syntype.collection.preview import preview
from syntype.collection.scientific_names import parse_name
from syntype.collection.sources.checklists import read_checklist
from syntype.errors import InputError, UnsupportedError

DWC = """taxonID\tparentNameUsageID\tacceptedNameUsageID\tscientificName\tscientificNameAuthorship\ttaxonRank\ttaxonomicStatus
1\t\t\tAnimalia\t\tkingdom\taccepted
2\t1\t\tAusidae Bonaparte, 1831\tBonaparte, 1831\tfamily\taccepted
3\t2\t\tAus Cuvier, 1800\tCuvier, 1800\tgenus\taccepted
4\t3\t\tAus primus (Bennett, 1830)\t(Bennett, 1830)\tspecies\taccepted
5\t\t4\tBus primus Bennett, 1830\tBennett, 1830\tspecies\tsynonym
6\t\t5\tCus primus Bennett, 1830\tBennett, 1830\tspecies\tsynonym
7\t\t8\tDus circularis\t\tspecies\tsynonym
8\t\t7\tDus rotundus\t\tspecies\tsynonym
9\t\t99\tDus lostus\t\tspecies\tsynonym
10\t3\t\tAus alba Smith, 1900\tSmith, 1900\tspecies\taccepted
11\t2\t\tAus alba Jones, 1950\tJones, 1950\tspecies\taccepted
12\t\t10\tEus primus Smith, 1901\tSmith, 1901\tspecies\tsynonym
"""


def table(folder: Path, names: dict[str, int], columns: str = "", values: str = "") -> Path:
    """A table with so many small photographs of each name."""
    folder.mkdir(exist_ok=True)
    rows = [f"file_name,species{columns}"]
    random = np.random.default_rng(0)
    for number, (name, count) in enumerate(names.items()):
        for index in range(count):
            Image.fromarray(random.integers(0, 255, (24, 24, 3), np.uint8)).save(folder / f"{number}-{index}.png")
            rows.append(f'{number}-{index}.png,"{name}"{values}')
    (folder / "table.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "table.csv"


def checklist(folder: Path, text: str = DWC, name: str = "taxon.txt") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_spellings_of_one_name_become_one_species_and_keep_their_own(tmp_path: Path) -> None:
    source = table(tmp_path / "in", {"Aus primus": 5, "aus_primus": 2, "Aus primus (Bennett, 1830)": 1, "Aus cf. primus": 1, "Aus sp.": 1})
    seen = preview(source, CollectConfig())
    assert seen.species == {"Aus primus": 8, "Aus cf. primus": 1, "Aus sp.": 1}
    assert "3 images had another spelling of a name (aus_primus → Aus primus 2" in seen.notes[0]
    assert any("perhaps one species, not joined: Aus primus and Aus cf. primus" in note for note in seen.notes)
    assert any("leave the species open" in note and "Aus sp. 1" in note for note in seen.notes)
    made = collect(source, CollectConfig(), tmp_path / "out").collection
    assert made.species == ("Aus cf. primus", "Aus primus", "Aus sp.")
    changed = made.table[made.table["verbatim_name"].notna()]
    assert sorted(changed["verbatim_name"]) == ["Aus primus (Bennett, 1830)", "aus_primus", "aus_primus"]
    assert set(changed["species"]) == {"Aus primus"}


def test_a_source_with_one_spelling_each_is_as_before(tmp_path: Path) -> None:
    source = table(tmp_path / "in", {"Pelagia noctiluca (Forsskål, 1775)": 2, "red_fish": 2, "Aus primus": 2})
    seen = preview(source, CollectConfig())
    assert set(seen.species) == {"Pelagia noctiluca (Forsskål, 1775)", "red_fish", "Aus primus"} and seen.notes == [] and seen.columns == []


def test_names_of_synthetic_images_and_of_own_collections_are_told_but_kept(tmp_path: Path) -> None:
    source = table(tmp_path / "in", {"Aus primus": 3, "aus primus": 2}, ",origin", ",synthetic")
    seen = preview(source, CollectConfig())
    assert len(seen.species) == 2 and "kept as they are" in seen.notes[0]
    source = table(tmp_path / "in", {"Aus primus": 3, "aus primus": 2})
    assert len(preview(source, CollectConfig(origin="synthetic")).species) == 2
    (tmp_path / "in" / "table.csv").rename(tmp_path / "in" / "metadata.csv")
    (tmp_path / "in" / "collection.json").write_text("{}")
    assert len(preview(tmp_path / "in", CollectConfig()).species) == 2


def test_a_checklist_maps_synonyms_and_fills_ranks(tmp_path: Path) -> None:
    source = table(tmp_path / "in", {"Cus primus": 3, "Bus primus Bennett, 1830": 1, "Aus primus": 2, "Eus primus": 1, "Aus cf. primus": 1})
    config = CollectConfig(names=str(checklist(tmp_path / "list").parent))
    assert preview(source, config).species["Aus primus"] == 6
    made = collect(source, config, tmp_path / "out").collection.table
    primus = made[made["species"] == "Aus primus"]
    assert set(primus["family"]) == {"Ausidae"} and set(primus["genus"]) == {"Aus"} and set(primus["kingdom"]) == {"Animalia"}
    assert set(primus["taxon_id"]) == {"4"} and set(primus["taxon_rank"]) == {"species"}
    assert set(primus["verbatim_name"].dropna()) == {"Cus primus", "Bus primus Bennett, 1830"}
    assert made[made["species"] == "Aus alba"]["verbatim_name"].tolist() == ["Eus primus"]
    unsure = made[made["species"] == "Aus cf. primus"].iloc[0]
    assert unsure["family"] == "Ausidae" and pd.isna(unsure["verbatim_name"])


def test_homonyms_circles_and_unknown_names_are_told_and_kept(tmp_path: Path) -> None:
    names = {"Aus alba": 2, "Dus circularis": 3, "Dus lostus": 1, "Zus ignotus": 4}
    seen = preview(table(tmp_path / "in", names), CollectConfig(names=str(checklist(tmp_path / "list"))))
    assert seen.species == {"Zus ignotus": 4, "Dus circularis": 3, "Aus alba": 2, "Dus lostus": 1}
    told = "\n".join(seen.notes)
    assert "0 images of 10 are in it" in told
    assert "2 images have a name with several accepted names, and keep it: Aus alba Smith, 1900 or Aus alba Jones, 1950 2" in told
    assert "4 images have a synonym without an accepted name, and keep it: Dus circularis 3, Dus lostus 1" in told
    assert "4 images have a name that is not in it, and keep it: Zus ignotus 4" in told


def test_author_or_family_of_the_source_tells_homonyms_apart(tmp_path: Path) -> None:
    listed = "name,accepted,family\nAus alba,,Ausidae\nAus alba,,Busidae\n"
    config = CollectConfig(names=str(checklist(tmp_path / "list", listed, "list.csv")))
    assert any("several accepted" in note for note in preview(table(tmp_path / "in", {"Aus alba": 2}), config).notes)
    seen = preview(table(tmp_path / "in", {"Aus alba": 2}, ",family", ",Busidae"), config)
    assert not any("several accepted" in note for note in seen.notes)
    seen = preview(table(tmp_path / "in", {"Aus alba Smith, 1900": 2}), CollectConfig(names=str(checklist(tmp_path / "dwc"))))
    assert seen.species == {"Aus alba": 2}


def test_a_table_of_two_columns_follows_chains(tmp_path: Path) -> None:
    listed = checklist(tmp_path / "list", "old;new\nBus primus;Cus primus\nCus primus;Aus primus\nRound a;Round b\nRound b;Round a\n", "list.csv")
    known = read_checklist(listed)
    assert [known.find(parse_name(name), {}).kind for name in ("Bus primus", "Round a", "Aus primus")] == ["synonym", "unresolved", "unknown"]
    found = known.find(parse_name("bus_primus"), {})
    assert found.taxon is not None and found.taxon.name == "Aus primus"


def test_worms_and_catalogue_of_life_exports_are_read(tmp_path: Path) -> None:
    worms = "AphiaID,ScientificName,Authority,AphiaID_accepted,ScientificName_accepted,Status,Rank,Kingdom,Class,Family,Genus\n"
    worms += '1,Aus primus,"(Bennett, 1830)",1,Aus primus,accepted,Species,Animalia,Teleostei,Ausidae,Aus\n'
    worms += '2,Bus primus,"Bennett, 1830",1,Aus primus,unaccepted,Species,Animalia,Teleostei,Ausidae,Bus\n'
    found = read_checklist(checklist(tmp_path / "worms", worms, "worms.csv")).find(parse_name("Bus primus"), {})
    assert found.kind == "synonym" and found.taxon is not None and found.taxon.rank == "species" and found.taxon.ranks["class"] == "Teleostei"
    col = "col:ID\tcol:parentID\tcol:status\tcol:scientificName\tcol:authorship\tcol:rank\nF\t\taccepted\tAusidae\t\tfamily\n"
    col += "A\tF\taccepted\tAus primus\t(Bennett, 1830)\tspecies\nB\tA\tsynonym\tBus primus\tBennett, 1830\tspecies\n"
    found = read_checklist(checklist(tmp_path / "col", col, "NameUsage.tsv").parent).find(parse_name("Bus primus"), {})
    assert found.taxon is not None and (found.taxon.name, found.taxon.ranks) == ("Aus primus", {"family": "Ausidae", "genus": "Aus"})


def test_a_hundred_thousand_names_are_read_in_seconds(tmp_path: Path) -> None:
    words = ["".join(letters) for letters in zip("abcdefghij" * 100, "klmnopqrst" * 100, np.repeat(list("uvwxyzabcd"), 100), strict=True)]
    rows = [
        f"{n}\tAusus{words[n % 997]} primus{words[n % 1000]}us Smith, 19{n % 90 + 10}\tSmith, 19{n % 90 + 10}\tspecies\tFamilia"
        for n in range(100_000)
    ]
    listed = checklist(tmp_path / "list", "taxonID\tscientificName\tscientificNameAuthorship\ttaxonRank\tfamily\n" + "\n".join(rows) + "\n")
    start = time.perf_counter()
    known = read_checklist(listed)
    known.find(parse_name("Ausus prima"), {})
    assert len(known) == 100_000 and time.perf_counter() - start < 15


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("photos.csv", "file_name,licence,size\na.png,CC0,3\n", "is not a checklist; its columns are: file_name, licence, size"),
        ("empty.csv", "scientificName,acceptedNameUsage,family\n", "no rows"),
    ],
)
def test_what_is_no_checklist_is_refused(tmp_path: Path, name: str, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_checklist(checklist(tmp_path, text, name))


def test_a_missing_or_packed_checklist_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.zip").write_bytes(b"PK")
    for name, told in (("list.zip", "Unpack it"), ("none.csv", "is not there"), (".", "holds no table of names")):
        with pytest.raises(InputError, match=told):
            read_checklist(tmp_path / name)


def answer(kind: str, usage: str, accepted: str | None = None, rank: str = "SPECIES", **more: Any) -> dict[str, Any]:
    steps = [{"rank": "FAMILY", "name": "Ausidae"}, {"rank": "GENUS", "name": (accepted or usage).split()[0]}]
    found: dict[str, Any] = {
        "usage": {"key": "1", "canonicalName": usage, "rank": rank},
        "classification": steps,
        "diagnostics": {"matchType": kind, **more},
    }
    return found if accepted is None else {**found, "acceptedUsage": {"key": "2", "canonicalName": accepted, "rank": rank}}


def pretend(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]) -> None:
    """A pygbif that knows some answers."""
    package, species = ModuleType("pygbif"), ModuleType("pygbif.species")

    def name_backbone(*, scientificName: str, **_more: object) -> Any:
        if isinstance(found := answers[scientificName], Exception):
            raise found
        return found

    species.name_backbone = name_backbone  # type: ignore[attr-defined]
    package.species = species  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pygbif", package)
    monkeypatch.setitem(sys.modules, "pygbif.species", species)


def test_gbif_is_asked_and_only_exact_answers_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    several = {"note": "Multiple equal matches for name", "alternatives": [answer("EXACT", "Eus alba"), answer("EXACT", "Eus alba", "Aus alba")]}
    answers = {
        "Bus primus": answer("EXACT", "Bus primus", "Aus primus"),
        "Aus primas": answer("FUZZY", "Aus primus"),
        "Aus": answer("EXACT", "Aus", rank="GENUS"),
        "Eus alba": answer("NONE", "Eus", **several),
    }
    pretend(monkeypatch, answers)
    seen = preview(table(tmp_path / "in", {"Bus primus": 2, "Aus primas": 1, "Aus sp.": 1, "Eus alba": 1}), CollectConfig(names="gbif"))
    assert seen.species == {"Aus primus": 2, "Aus primas": 1, "Aus sp.": 1, "Eus alba": 1}
    assert "names by GBIF: 2 images of 5 are in it" in seen.notes and {"family", "genus", "taxon_id"} <= set(seen.columns)
    assert any("several accepted names" in note for note in seen.notes) and any("those of the genus" in note for note in seen.notes)


def test_gbif_without_pygbif_or_connection_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = table(tmp_path / "in", {"Bus primus": 1})
    monkeypatch.setitem(sys.modules, "pygbif", None)
    with pytest.raises(UnsupportedError, match=r"needs the package pygbif. Install it with: pip install 'syntype\[names\]'"):
        preview(source, CollectConfig(names="gbif"))
    pretend(monkeypatch, {"Bus primus": ConnectionError("no route")})
    with pytest.raises(UnsupportedError, match="GBIF cannot be reached"):
        preview(source, CollectConfig(names="gbif"))


def test_the_command_takes_a_checklist_and_records_it(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from syntype.apps.cli import cli

    source, listed = table(tmp_path / "in", {"Bus primus": 4}), checklist(tmp_path / "list")
    result = CliRunner().invoke(cli, ["collect", str(source), "--names", str(listed), "--dry-run"])
    assert "4 images are synonyms: Bus primus → Aus primus 4" in result.output and "--names" in result.output
    CliRunner().invoke(cli, ["collect", str(source), "--names", str(listed), "--out", str(tmp_path / "out"), "--quiet"])
    history = json.loads((tmp_path / "out" / "collection.json").read_text())["history"]
    assert history[-1]["settings"]["names"] == str(listed)

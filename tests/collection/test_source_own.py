"""Collections and exports come in again as what they were."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import make_collection
from PIL import Image

from syntype.collection import Collection
from syntype.collection.exports import LAYOUTS, ExportConfig, export
from syntype.collection.importers import CollectConfig, CollectResult, collect
from syntype.collection.preview import preview
from syntype.collection.sources import SourceConfig, recognise
from syntype.run import Run

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=12).map(str.strip).filter(bool)
WORDS = st.sampled_from(["Aus primus", "Aus sp. 1", "NA", "null", "007", "train", "=1+1", "Bus “x”", "Ñandú, rojo", "a;b", "été"])


def imported(source: Path, out: Path, **given: object) -> CollectResult:
    return collect(source, CollectConfig.parse(given), out, Run.silent())


@st.composite
def collections(draw: st.DrawFn) -> dict[str, list[object]]:
    """The columns of a random collection: photographs and synthetic images, with and without groups, boxes, verdicts and further columns."""
    number = draw(st.integers(1, 6))
    rows: dict[str, list[object]] = {}
    synthetic = draw(st.lists(st.booleans(), min_size=number, max_size=number))
    maybe = lambda values: draw(st.lists(st.one_of(st.none(), values), min_size=number, max_size=number))  # noqa: E731
    rows["image_id"] = draw(st.lists(TEXTS, min_size=number, max_size=number, unique_by=str.lower))
    rows["species"] = maybe(st.one_of(WORDS, TEXTS))
    rows["group"] = maybe(st.one_of(WORDS, TEXTS))
    rows["origin"] = ["synthetic" if one else "real" for one in synthetic]
    splits = maybe(st.sampled_from(["train", "val", "test"]))
    rows["split"] = [None if one else split for one, split in zip(synthetic, splits, strict=True)]
    rows["verdict"] = maybe(st.sampled_from(["accepted", "refused"]))
    rows["reason"] = maybe(st.sampled_from(["copy", "species", "distribution", "expert"]))
    rows["reviewer"] = maybe(TEXTS)
    rows["generator_id"] = maybe(TEXTS)
    rows["seed"] = maybe(st.integers(-(2**62), 2**62))
    rows["controls"] = maybe(st.sampled_from(['{"a": 1}', "{}"]))
    rows["parents"] = maybe(st.sampled_from(['["x", "y"]', "[]"]))
    rows["nearest_real_distance"] = maybe(st.floats(0, 10, allow_subnormal=False))
    rows["box"] = maybe(st.sampled_from(["[0, 0, 8, 8]", "[1.5, 2, 9.25, 12]", "[0, 0, 0.5, 0.5]"]))
    rows["original_name"] = maybe(TEXTS)
    rows["licence"] = maybe(WORDS)
    rows["note"] = maybe(st.sampled_from(["a note", "one; two"]))
    rows["depth_m"] = maybe(st.integers(-5, 5))
    rows["locality"] = maybe(WORDS)
    rows["length"] = maybe(st.floats(0, 100, allow_subnormal=False).filter(lambda value: value != int(value)))
    rows["sure"] = maybe(st.booleans())
    return rows


def made(folder: Path, rows: dict[str, list[object]]) -> Collection:
    """The collection with these columns and images drawn for it."""
    (folder / "images").mkdir(parents=True)
    table = pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in rows.items()})
    for column in ("depth_m", "length", "sure", "locality"):
        kind = {"depth_m": "Int64", "length": "Float64", "sure": "boolean", "locality": "string"}[column]
        table[column] = pd.array(table[column].tolist(), dtype=kind)  # type: ignore[call-overload]
    for row in range(len(table)):
        image = np.random.default_rng(row).integers(0, 256, (16, 20, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{row}.png")
    table["file_name"] = [f"images/{row}.png" for row in range(len(table))]
    species = [*sorted({name for name in rows["species"] if name}, reverse=True), "Zus nusquam"]  # type: ignore[type-var]
    return Collection.create(folder, table.assign(width=20, height=16), name="mine", species=species, sources=["a reef"], history=[{"stage": "x"}])


def require_same(again: Collection, before: Collection) -> None:
    """All columns of all rows are the same but the names of the files in the folder."""
    expected = before.hashed().table
    assert set(again.table.columns) == set(expected.columns)
    for column in expected.columns.drop(["file_name", "duplicate_of"]):
        cells, wanted = ([None if pd.isna(cell) else cell for cell in table[column].tolist()] for table in (again.table, expected))
        assert cells == wanted, column
    assert again.species == before.species and again.fingerprint == before.fingerprint
    assert again.name == before.name and again.info["sources"] == before.info["sources"]
    assert again.info["history"][: len(before.info["history"])] == before.info["history"]


def check_round_trip(folder: Path, rows: dict[str, list[object]]) -> None:
    """The collection, and every export of it that holds the images, come in as the same collection, row for row."""
    before = made(folder / "before", rows)
    require_same(imported(before.root, folder / "copied").collection, before)
    for layout in LAYOUTS:
        if layout != "table":
            file = export(before, ExportConfig.parse({"layout": layout, "usable": False}), folder / layout, Run.silent()).file
            require_same(imported(file, folder / f"of {layout}").collection, before)


@settings(max_examples=5, deadline=None)
@given(rows=collections())
def test_a_collection_and_its_exports_are_the_same_collection(tmp_path_factory: pytest.TempPathFactory, rows: dict[str, list[object]]) -> None:
    check_round_trip(tmp_path_factory.mktemp("own"), rows)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(rows=collections())
def test_many_collections_and_their_exports_are_the_same(tmp_path_factory: pytest.TempPathFactory, rows: dict[str, list[object]]) -> None:
    check_round_trip(tmp_path_factory.mktemp("own"), rows)


def test_a_table_of_one_is_read_with_its_verdicts_and_origin(tmp_path: Path) -> None:
    before = make_collection(tmp_path / "before", {"Aus primus": 3, "Aus secundus": 2})
    table = before.table.assign(origin=["real", "synthetic", "real", "real", "real"], verdict=["refused", None, "accepted", None, None])
    table.loc[table["origin"] == "synthetic", "split"] = None
    before = Collection.create(before.root, table, species=before.species)
    file = export(before, ExportConfig(layout="table", usable=False), tmp_path / "export", Run.silent()).file
    after = imported(file, tmp_path / "after", images=str(before.root)).collection
    for column in ("image_id", "species", "group", "split", "origin", "verdict", "sha256"):
        assert after.table[column].equals(before.table[column]), column
    text = preview(before.root, SourceConfig()).text()
    assert text.startswith("Collection of Syntype: 5 images (1 synthetic) of 2 species")
    assert "1 images were refused by curation or an expert, and stay refused" in text


def test_rows_that_somebody_spoilt_are_refused_by_number(tmp_path: Path) -> None:
    before = make_collection(tmp_path / "before", {"Aus primus": 8})
    table = before.table.copy()
    table["split"] = ["train", "trian", "test", "train", "train", "train", "train", "train"]
    table["origin"] = ["real", "real", "real", "fake", "real", "real", "real", "real"]
    table["seed"] = [None, None, None, None, "x", None, None, None]
    table["box"] = [None, None, None, None, None, "[1, 2]", None, None]
    table.loc[6, "file_name"] = "../secret.png"
    table.to_csv(before.root / "metadata.csv", index=False)
    (before.root / "metadata.parquet").unlink()
    result = imported(before.root, tmp_path / "after")
    refused = pd.read_csv(tmp_path / "after" / "refused.csv")
    assert refused["row"].tolist() == [2, 4, 5, 6, 7] and len(result.collection) == 3
    assert "split is not one of train, val, test" in refused["reason"][0]


def test_a_file_that_changed_is_told(tmp_path: Path) -> None:
    before = make_collection(tmp_path / "before", {"Aus primus": 2})
    Image.new("RGB", (48, 48), "red").save(before.path(1))
    notes = imported(before.root, tmp_path / "after").collection.table["note"]
    assert pd.isna(notes[0]) and "its checksum differs" in notes[1]


@pytest.mark.parametrize(
    "about", ["{", "[]", '{"schema_version": 1, "species": "Aus"}', json.dumps({"schema_version": 1, "species": ["Aus", "Aus"]})]
)
def test_a_damaged_description_costs_the_order_of_the_species_alone(tmp_path: Path, about: str) -> None:
    before = make_collection(tmp_path / "before", {"Bus primus": 2, "Aus secundus": 2})
    (before.root / "collection.json").write_text(about)
    after = imported(before.root, tmp_path / "after").collection
    assert after.species == ("Aus secundus", "Bus primus") and len(after) == 4


def test_it_is_found_in_a_folder_around_it_and_other_tables_are_not_taken_for_it(tmp_path: Path) -> None:
    before = make_collection(tmp_path / "around" / "before", {"Aus primus": 2})
    assert recognise(tmp_path / "around", SourceConfig()).name == "syntype"
    assert recognise(before.root, SourceConfig(species_column="species")).name == "table"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted(before.root.rglob("*.*")):
            archive.write(path, Path("deep", path.relative_to(before.root)))
    assert imported(tmp_path / "a.zip", tmp_path / "after").collection.fingerprint == before.fingerprint

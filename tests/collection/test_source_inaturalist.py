from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import pytest
from marked import imported, marked, said

from syntype.collection.preview import preview
from syntype.collection.sources import Listing, SourceConfig, read_source, recognise
from syntype.errors import InputError

COLUMNS = (
    "id", "uuid", "observed_on", "user_login", "user_name", "quality_grade", "license", "url", "image_url", "sound_url", "description", "place_guess",
    "latitude", "longitude", "private_latitude", "scientific_name", "common_name", "iconic_taxon_name", "taxon_id", "taxon_family_name",
    "taxon_species_name",
)  # fmt: skip
OPEN, CLOSED = "https://inaturalist-open-data.s3.amazonaws.com/photos", "https://static.inaturalist.org/photos"


def observation(number: int, **values: object) -> dict[str, object]:
    return {
        "id": number, "observed_on": "2023-05-01", "user_login": "ann", "user_name": "Ann Cee", "quality_grade": "research", "license": "CC-BY-NC",
        "url": f"https://www.inaturalist.org/observations/{number}", "image_url": f"{OPEN}/9{number}/medium.jpg", "latitude": "51.5",
        "private_latitude": "51.51234", "scientific_name": "Parus major", "common_name": "Great Tit", "iconic_taxon_name": "Aves", "taxon_id": 203153,
        "taxon_family_name": "Paridae", "description": 'a "bird",\nin the garden', **values,
    }  # fmt: skip


OBSERVATIONS = [
    observation(1),
    observation(2, quality_grade="needs_id", scientific_name="Sitta", license=""),
    observation(3, image_url=f"{CLOSED}/93/medium.jpeg", license="CC-BY"),
    observation(4, image_url="", sound_url="https://static.inaturalist.org/sounds/4.wav"),
    observation(5, scientific_name=""),
    observation(6, scientific_name="Parus major minor", taxon_species_name="Parus major", license="CC0", quality_grade="casual"),
]


def export(path: Path, rows: list[dict[str, object]] = OBSERVATIONS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


OPEN_DATA = {
    "photos": [
        "photo_uuid photo_id observation_uuid observer_id extension license width height position",
        "p1 101 o1 7 jpg CC-BY 2048 1536 0", "p2 102 o1 7 jpeg CC-BY-NC 2048 1536 1", "p3 103 o2 8 jpg CC0 2048 1536 0",
    ],
    "observations": [
        "observation_uuid observer_id latitude longitude positional_accuracy taxon_id quality_grade observed_on",
        "o1 7 51.5 4.5 10 4 research 2023-05-01", "o2 8 51.6 4.6 20 2 needs_id 2023-05-02", "o9 8 51.6 4.6 20 99 research 2023-05-02",
    ],
    "taxa": [
        "taxon_id ancestry rank_level rank name active",
        "1 48460 70 kingdom Animalia true", "2 48460/1 20 genus Par\"us true", "3 48460/1/2 10 species Parus_major true",
        "4 48460/1/2/3 5 subspecies Parus_major_minor false", "48460 - 100 stateofmatter Life true",
    ],
    "observers": ["observer_id login name", "7 ann Ann_Cee", "8 bob -"],
}  # fmt: skip


def open_data(folder: Path, tables: dict[str, list[str]] = OPEN_DATA, zipped: bool = False) -> Path:
    """Tables as iNaturalist gives them: separated by tabs, without quotes; here - is an empty cell and _ a space in names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        lines = [[cell.replace("-", "") if cell == "-" else cell for cell in row.split(" ")] for row in rows]
        text = "\n".join("\t".join([cell.replace("_", " ") if number else cell for cell in line]) for number, line in enumerate(lines)) + "\n"
        text = text.replace("needs id", "needs_id")
        (folder / f"{name}.csv{'.gz' if zipped else ''}").write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    return folder


def listed(source: Path, **settings: Any) -> Listing:
    return read_source(source, SourceConfig.parse(settings))


def test_an_export_is_a_row_an_observation(tmp_path: Path) -> None:
    source = export(tmp_path / "observations-1.csv")
    assert recognise(source, SourceConfig()).name == recognise(tmp_path, SourceConfig()).name == "inaturalist"
    listing = listed(source)
    assert [(entry.species, entry.group, entry.row, entry.note) for entry in listing.entries] == [
        ("Parus major", "1", 1, None), ("Sitta", "2", 2, "identified above the species only"), ("Parus major", "3", 3, None),
        ("Parus major", "6", 6, None),
    ]  # fmt: skip
    assert [(item.row, item.reason) for item in listing.refused] == [(5, "has no species")]
    values = listing.entries[0].values
    assert (values["family"], values["vernacular_name"], values["rights_holder"], values["source_url"], values["taxon_id"]) == (
        "Paridae", "Great Tit", "Ann Cee", "https://www.inaturalist.org/observations/1", "203153",
    )  # fmt: skip
    assert "private_latitude" not in values and values["latitude"] == "51.5" and values["description"] == 'a "bird",\nin the garden'
    text = said(source)
    for words in (
        "2 photographs not of research grade (1 needs_id, 1 casual): kept", "1 observation without a photograph", "1 photograph identified above",
        "the licence of the observation; its photograph may have another",
    ):  # fmt: skip
        assert words in text
    assert preview(source, SourceConfig()).sentence() == (
        "Export of iNaturalist: a row an observation: 4 photographs of 2 species, 4 to be downloaded (--download); "
        "licences none 50 %, CC BY-NC 25 %, CC0 25 %; 1 refused."
    )


def test_a_photograph_that_is_not_given_openly_has_no_licence(tmp_path: Path) -> None:
    entries = listed(export(tmp_path / "observations.csv")).entries
    assert [(entry.values.get("licence"), entry.values.get("observation_licence")) for entry in entries] == [
        ("CC BY-NC", "CC BY-NC"), (None, None), (None, "CC BY"), ("CC0", "CC0"),
    ]  # fmt: skip


def test_downloaded_files_are_found_by_photograph_or_observation(tmp_path: Path) -> None:
    source = export(tmp_path / "in" / "observations.csv", [*OBSERVATIONS, observation(123456)])
    marked(tmp_path / "in" / "images" / "photos_91_medium.jpg")
    marked(tmp_path / "in" / "images" / "123456.png")
    marked(tmp_path / "in" / "other" / "2.png")  # a short number is also that of other files
    result = imported(source, tmp_path / "out")
    assert result.collection.table["original_name"].tolist() == [f"{OPEN}/91/medium.jpg", f"{OPEN}/9123456/medium.jpg"]
    assert "2 photographs found as files" in said(source)


def test_a_table_of_files_of_its_own_is_a_table(tmp_path: Path) -> None:
    path = export(tmp_path / "observations.csv")
    path.write_text(path.read_text().replace("uuid", "file_name", 1))
    assert recognise(path, SourceConfig()).name == "table"
    assert recognise(export(path), SourceConfig.parse({"file_column": "id"})).name == "table"


def test_columns_of_an_export_can_be_chosen(tmp_path: Path) -> None:
    source = export(tmp_path / "observations.csv")
    entries = listed(source, species_column="common_name", group_column="user_login").entries
    assert {(entry.species, entry.group) for entry in entries} == {("Great Tit", "ann")}
    with pytest.raises(InputError, match="has no column 'family'"):
        listed(source, species_column="family")


@pytest.mark.parametrize("zipped", [True, False])
def test_the_tables_of_the_open_data_are_joined(tmp_path: Path, zipped: bool) -> None:
    source = open_data(tmp_path / "in", zipped=zipped)
    listing = listed(source)
    assert recognise(next(source.glob("photos.csv*")), SourceConfig()).name == "inaturalist" and not listing.refused
    assert [(entry.species, entry.group, entry.url, entry.note) for entry in listing.entries] == [
        ("Parus major", "o1", f"{OPEN}/101/medium.jpg", None), ("Parus major", "o1", f"{OPEN}/102/medium.jpeg", None),
        ('Par"us', "o2", f"{OPEN}/103/medium.jpg", "identified to the genus only"),
    ]  # fmt: skip
    values = [entry.values for entry in listing.entries]
    assert [(one["licence"], one["rights_holder"]) for one in values] == [("CC BY", "Ann Cee"), ("CC BY-NC", "Ann Cee"), ("CC0", "bob")]
    assert (values[0]["kingdom"], values[0]["genus"], values[0]["scientific_name"], values[0]["taxon_rank"]) == (
        "Animalia", 'Par"us', "Parus major minor", "subspecies",
    )  # fmt: skip
    text = said(source)
    assert "1 photograph not of research grade (1 needs_id)" in text and "2 photographs of a taxon that iNaturalist has replaced" in text


def test_photographs_of_the_open_data_that_are_there_are_imported(tmp_path: Path) -> None:
    source = open_data(tmp_path / "in")
    marked(source / "photos" / "101" / "medium.jpg")
    marked(source / "photos_102_medium.png")
    result = imported(source, tmp_path / "out")
    table = result.collection.table
    assert table["licence"].tolist() == ["CC BY", "CC BY-NC"] and table["split"].nunique() == 1 and result.num_refused == 1


def test_rows_that_cannot_be_joined_are_refused(tmp_path: Path) -> None:
    photos = [*OPEN_DATA["photos"], "p4 104 o8 7 jpg CC-BY 1 1 0", "p5 105 o9 7 jpg CC-BY 1 1 0", "p6 x o1 7 jpg CC-BY 1 1 0", "short row",
              "p7 107 o7 7 jpg CC-BY 1 1 0"]  # fmt: skip
    observations = [*OPEN_DATA["observations"], "o7 7 1 1 1 - research 2023-05-01"]
    listing = listed(open_data(tmp_path / "in", {**OPEN_DATA, "photos": photos, "observations": observations}))
    assert [(item.row, item.reason) for item in listing.refused] == [
        (4, "belongs to no observation of the table"), (5, "is of a taxon that is not in the table"), (6, "has no photo_id or extension"),
        (7, "has 2 cells, the table 9"), (8, "is of an observation without a taxon"),
    ]  # fmt: skip
    assert len(listing.items) == 8


def test_missing_tables_and_columns_are_one_line(tmp_path: Path) -> None:
    source = open_data(tmp_path / "in", {name: rows for name, rows in OPEN_DATA.items() if name != "observers"})
    assert "there is no observers.csv" in said(source) and "rights_holder" not in listed(source).entries[0].values
    (source / "taxa.csv").write_text("taxon_id,name\n1,Animalia\n")
    with pytest.raises(InputError, match="has no column taxon_id, ancestry, rank, name"):
        listed(source)
    (source / "taxa.csv").unlink()
    with pytest.raises(InputError, match=r"photos\.csv: lacks the tables beside it: taxa\.csv"):
        listed(source)

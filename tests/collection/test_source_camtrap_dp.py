from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from marked import imported, marked, refused, said, shown_colours, write_json

from syntype.collection.preview import preview
from syntype.collection.sources import Listing, SourceConfig, read_source, recognise
from syntype.errors import InputError

OBSERVATIONS = (
    "observationID", "deploymentID", "mediaID", "eventID", "eventStart", "eventEnd", "observationLevel", "observationType", "taxonID",
    "scientificName", "count", "sex", "bboxX", "bboxY", "bboxWidth", "bboxHeight", "classificationMethod", "classificationProbability",
)  # fmt: skip
FOX, BADGER = "Vulpes vulpes", "Meles meles"
PACKAGE: dict[str, Any] = {
    "profile": "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0/camtrap-dp-profile.json",
    "resources": [{"name": name, "path": f"{name}.csv", "profile": "tabular-data-resource"} for name in ("deployments", "media", "observations")],
    "id": "https://doi.org/10.5281/zenodo.5590881",
    "bibliographicCitation": "A. Person (2022). Foxes of a wood.",
    "licenses": [{"name": "CC0-1.0", "scope": "data"}, {"path": "http://creativecommons.org/licenses/by/4.0/", "scope": "media"}],
    "contributors": [{"title": "A. Person", "role": "contact"}, {"title": "The Institute", "role": "rightsHolder"}],
    "taxonomic": [
        {"scientificName": FOX, "taxonRank": "species", "taxonID": "5BSG3", "family": "Canidae", "vernacularNames": {"nl": "vos", "en": "red fox"}},
        {"scientificName": "Aves", "taxonRank": "class"},
    ],
}
MEDIA = ["m1 d1 00:00 media/1.png true image/png", "m2 d1 00:05 media/2.png true image/png", "m3 d1 02:00 media/3.png true image/png",
         "m4 d1 02:05 https://example.org/assets/m4/file true image/jpeg", "m5 d1 03:00 media/5.mp4 true video/mp4"]  # fmt: skip


def observed(name: str, **values: object) -> dict[str, object]:
    return {"observationID": name, "deploymentID": "d1", "observationType": "animal", "scientificName": FOX, **values}


def of_media(name: str, media: str, **values: object) -> dict[str, object]:
    return observed(name, mediaID=media, observationLevel="media", **values)


def of_event(name: str, start: str, end: str, **values: object) -> dict[str, object]:
    times = {"eventStart": f"2020-05-30T{start}:00Z", "eventEnd": f"2020-05-30T{end}:00Z"}
    return observed(name, observationLevel="event", eventID=f"e{start}", **times, **values)


def box(left: object, top: object, width: object, height: object) -> dict[str, object]:
    return {"bboxX": left, "bboxY": top, "bboxWidth": width, "bboxHeight": height}


def package(folder: Path, observations: list[dict[str, object]], media: list[str] = MEDIA, **content: Any) -> Path:
    """A package whose images are 64 x 48; a red fox in the first, green and blue animals in the second."""
    write_json(folder / "datapackage.json", {**PACKAGE, **content})
    marked(folder / "media" / "1.png", {"red": (16, 12, 32, 28)})
    marked(folder / "media" / "2.png", {"green": (16, 12, 32, 28), "blue": (48, 32, 64, 48)})
    marked(folder / "media" / "3.png")
    (folder / "deployments.csv").write_text("deploymentID,locationName,latitude,longitude\nd1,the wood,51.1,4.5\n", encoding="utf-8")
    rows = [row.split() for row in media]
    lines = [f"{key},{place},2020-05-30T{time}:00Z,{path},{public},{path.rpartition('/')[2]},{kind}" for key, place, time, path, public, kind in rows]
    header = "mediaID,deploymentID,timestamp,filePath,filePublic,fileName,fileMediatype"
    (folder / "media.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    with (folder / "observations.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, OBSERVATIONS)
        writer.writeheader()
        writer.writerows(observations)
    return folder


def listed(source: Path, **settings: Any) -> Listing:
    return read_source(source, SourceConfig.parse(settings))


def test_boxes_of_media_are_shares_of_the_image(tmp_path: Path) -> None:
    source = package(
        tmp_path / "in",
        [
            of_media("o1", "m1", eventID="e1", **box(0.25, 0.25, 0.25, 1 / 3), sex="female", classificationMethod="machine"),
            of_media("o2", "m2", **box(0.25, 0.25, 0.25, 1 / 3)),
            of_media("o3", "m2", scientificName=BADGER, **box(0.75, 2 / 3, 0.25, 1 / 3)),
            of_media("o4", "m3", observationType="blank", scientificName=""),
        ],
    )
    assert recognise(source, SourceConfig()).name == recognise(source / "datapackage.json", SourceConfig()).name == "camtrap-dp"
    result = imported(source, tmp_path / "out")
    table = result.collection.table
    assert shown_colours(result.collection) == ["red", "green", "blue"] and table["species"].tolist() == [FOX, FOX, BADGER]
    assert (
        table["group"].tolist() == ["e1", "d1", "d1"] and set(table["licence"]) == {"CC BY 4.0"} and set(table["rights_holder"]) == {"The Institute"}
    )
    row = table.iloc[0]
    assert (row["vernacular_name"], row["family"], row["taxon_rank"], row["sex"]) == ("red fox", "Canidae", "species", "female")
    assert (row["observed_on"], row["locationName"], row["latitude"]) == ("2020-05-30T00:00:00Z", "the wood", "51.1")
    text = said(source)
    assert "1 observation left out, because they name no species (1 blank)" in text and "3 files of media.csv without an animal" in text
    assert "1 observation named by a program" in text
    assert listed(source).origins == [
        str(source), "DOI: https://doi.org/10.5281/zenodo.5590881", "Citation: A. Person (2022). Foxes of a wood.",
        "Licences: data CC0 1.0, media CC BY 4.0",
    ]  # fmt: skip
    assert preview(source, SourceConfig()).sentence() == (
        "Camtrap DP: a row an observed animal: 3 photographs of 2 species in 2 observations, "
        "several animals in one photograph (2 files), all with a box; "
        "licences CC BY 4.0 100 %."
    )


def test_events_name_the_images_of_their_time_and_deployment(tmp_path: Path) -> None:
    source = package(
        tmp_path / "in", [of_event("o1", "00:00", "00:10"), of_event("o2", "00:00", "00:10", sex="male"), of_event("o3", "01:55", "02:30")]
    )
    listing = listed(source)
    assert [(entry.values["mediaID"], entry.group, entry.row) for entry in listing.entries] == [
        ("m1", "e00:00", 1), ("m2", "e00:00", 1), ("m3", "e01:55", 3), ("m4", "e01:55", 3),
    ]  # fmt: skip
    assert listing.entries[3].url == "https://example.org/assets/m4/file" and not listing.refused
    assert "of whole events" in said(source) and "that the same image has already" in said(source)


def test_events_that_do_not_say_what_an_image_shows_are_refused(tmp_path: Path) -> None:
    observations = [
        of_event("o1", "00:00", "00:02"), of_event("o2", "00:00", "00:02", scientificName=BADGER), of_event("o3", "02:00", "02:02"),
        of_event("o4", "02:00", "02:02", observationType="human", scientificName=""), of_event("o5", "10:00", "10:02"),
        {**of_event("o6", "10:00", "10:02"), "eventStart": "soon"}, of_event("o7", "00:04", "00:06"), of_event("o8", "00:03", "00:06"),
    ]  # fmt: skip
    assert [(item.row, item.reason) for item in listed(package(tmp_path / "in", observations)).items] == [  # type: ignore[union-attr]
        (1, "is of an event that shows several kinds"), (2, "is of an event that shows several kinds"),
        (3, "is of an event that shows several kinds"),
        (5, "is of an event without a file"), (6, "is of an event without times"), (7, "is of images that lie in several events"),
        (8, "is of images that lie in several events"),
    ]  # fmt: skip


def test_an_observation_of_an_image_counts_more_than_that_of_its_event(tmp_path: Path) -> None:
    observations = [
        of_event("o1", "00:00", "00:10"), of_media("o2", "m1", scientificName=BADGER), of_event("o3", "02:00", "02:02"),
        of_media("o4", "m3", observationType="blank", scientificName=""),
    ]  # fmt: skip
    source = package(tmp_path / "in", observations)
    assert [(entry.values["mediaID"], entry.species) for entry in listed(source).entries] == [("m2", FOX), ("m1", BADGER)]
    assert "1 observation of events whose images all have observations of their own" in said(source)


def test_rows_that_cannot_be_used_are_refused_or_counted(tmp_path: Path) -> None:
    media = [*MEDIA, "m6 d1 04:00 https://example.org/assets/m6/file false image/jpeg", "m7 d1 04:00 ../../secret.png true image/png",
             "m1 d1 05:00 media/9.png true image/png"]  # fmt: skip
    observations = [
        of_media("o1", "m1"), of_media("o2", "m1", sex="male"), of_media("o3", "m99"), of_media("o4", "m5"), of_media("o5", "m6"),
        of_media("o6", "m7"),
        of_media("o7", "m2", **box(0.5, 0.5, 0.8, 0.1)), of_media("o8", "m3", scientificName="Aves"), of_media("o9", "m3", scientificName=""),
        of_media("o10", "m3", observationType="vehicle"), of_media("o11", "m3", scientificName="Homo sapiens"),
    ]  # fmt: skip
    source = package(tmp_path / "in", observations, media)
    listing = listed(source)
    assert [(item.row, item.reason) for item in listing.refused] == [
        (3, "is of a file that is not in the table"), (5, "is of a file that is not public"), (6, "leads out of the folder"),
        (8, "has a mediaID that is taken"),  # of media.csv
    ]  # fmt: skip
    assert [(entry.row, entry.note) for entry in listing.entries] == [
        (1, None), (7, "box not used: 0.5, 0.5, 0.8, 0.1 is not left, top, width, height in shares of the image"),
        (8, "identified to the class only"),
    ]  # fmt: skip
    text = said(source)
    for words in ("3 observations left out", "1 observation left out, because they are of films", "1 observation of a species that the same image"):
        assert words in text
    assert imported(source, tmp_path / "out").num_refused == 4
    assert {row["reason"] for row in refused(tmp_path / "out")} == {item.reason for item in listing.refused}


def test_files_of_addresses_are_found_by_their_name(tmp_path: Path) -> None:
    media = ["m1 d1 00:00 https://example.org/assets/m1/file true image/jpeg", "m2 d1 00:00 https://example.org/assets/m2/file true image/jpeg"]
    source = package(tmp_path / "in", [of_media("o1", "m1"), of_media("o2", "m2")], media)
    path = source / "media.csv"
    path.write_text(path.read_text().replace("m1/file,true,file", "m1/file,true,A1.JPG").replace("m2/file,true,file", "m2/file,true,A2.JPG"))
    marked(source / "d1" / "A2.JPG")
    entries = listed(source).entries
    assert [entry.url is None for entry in entries] == [False, True] and Path(str(entries[1].image)).name == "A2.JPG"


def test_the_same_number_of_an_event_in_two_deployments_is_two_groups(tmp_path: Path) -> None:
    media = [MEDIA[0], "m2 d2 00:05 media/2.png true image/png"]
    observations = [of_media("o1", "m1", eventID="1"), {**of_media("o2", "m2", eventID="1"), "deploymentID": "d2"}]
    assert [entry.group for entry in listed(package(tmp_path / "in", observations, media)).entries] == ["d1 1", "d2 1"]


def test_without_a_licence_of_the_media_there_is_none(tmp_path: Path) -> None:
    source = package(tmp_path / "in", [of_media("o1", "m1")], licenses=[{"name": "CC0-1.0", "scope": "data"}])
    assert "licence" not in listed(source).entries[0].values and "no licence for the media" in said(source)


def test_tables_may_be_compressed(tmp_path: Path) -> None:
    source = package(tmp_path / "in", [of_media("o1", "m1")])
    content = json.loads((source / "datapackage.json").read_text())
    content["resources"][2]["path"] = "observations.csv.gz"
    write_json(source / "datapackage.json", content)
    (source / "observations.csv.gz").write_bytes(gzip.compress((source / "observations.csv").read_bytes()))
    (source / "observations.csv").unlink()
    assert len(listed(source).entries) == 1


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ([{"name": "media", "path": "../media.csv"}], "names a table outside its folder"),
        ([{"name": "media", "path": "https://example.org/media.csv"}], "gives an address for the table media"),
        ([{"name": "media", "data": []}], "gives no file for the table media"),
        ([{"name": "media", "path": ["media.csv", "more.csv"]}], "names the table more.csv, which is not there"),
        ([{"name": "media", "path": "deployments.csv"}], "has no column mediaID"),
        (["media", None, 7], "holds nothing to import"),
    ],
)
def test_damaged_packages_are_one_line(tmp_path: Path, resources: list[Any], words: str) -> None:
    source = package(tmp_path / "in", [], resources=resources)
    with pytest.raises(InputError, match=words) as caught:
        listed(source)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400

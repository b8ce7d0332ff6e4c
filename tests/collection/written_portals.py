"""Photographs as data portals hand them out. Each function writes into a folder what a user would have in it."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from marked import write_json
from shots import LICENCES, SIZE, SPECIES, Shot, copies, write_rows

__all__ = ["PORTALS", "gbif_zip", "observations_csv"]

SERVER = "https://photos.example.org"
_DWC, _DC = "http://rs.tdwg.org/dwc/terms/", "http://purl.org/dc/terms/"
_RECORD = (
    "gbifID",
    "license",
    "occurrenceID",
    "basisOfRecord",
    "recordedBy",
    "eventDate",
    "scientificName",
    "family",
    "taxonRank",
    "species",
    "locality",
)
_MEDIA = ("gbifID", "type", "format", "identifier", "references", "creator", "license", "rightsHolder")


def _gbif_tables(shots: Sequence[Shot], server: str) -> dict[str, str]:
    groups: dict[str, Shot] = {}
    for shot in shots:
        groups.setdefault(shot.group, shot)
    ids = {group: str(4_000_000_001 + place) for place, group in enumerate(groups)}
    records = [
        (ids[group], "CC_BY_4_0", f"urn:obs:{group}", "HUMAN_OBSERVATION", 'Ann "Bee" Cee', "2023-05-01", f"{shot.species} (Someone, 1801)", "Pisces",
         "SPECIES", shot.species, '"Alte Liebe, pier')
        for group, shot in groups.items()
    ]  # fmt: skip
    media = [
        (ids[shot.group], "StillImage", "image/jpeg", f"{server}/photos/{shot.photo}/original.jpg", "", "Ann Cee", LICENCES[shot.licence], "Ann Cee")
        for shot in shots
    ]  # fmt: skip
    terms = {name: f"{_DC}{name}" for name in _MEDIA[1:]} | {name: f"http://rs.gbif.org/terms/1.0/{name}" for name in ("gbifID", "species")}

    def described(tag: str, row_type: str, file: str, columns: Sequence[str]) -> str:
        fields = "".join(f'<field index="{place}" term="{terms.get(name, _DWC + name)}"/>' for place, name in enumerate(columns) if place)
        key = "id" if tag == "core" else "coreid"
        return (
            f'<{tag} encoding="UTF-8" fieldsTerminatedBy="\\t" linesTerminatedBy="\\n" fieldsEnclosedBy="" ignoreHeaderLines="1" '
            f'rowType="{row_type}">'
            f'<files><location>{file}</location></files><{key} index="0"/>{fields}</{tag}>'
        )

    core = described("core", f"{_DWC}Occurrence", "occurrence.txt", _RECORD)
    extension = described("extension", "http://rs.gbif.org/terms/1.0/Multimedia", "multimedia.txt", _MEDIA)
    verbatim = described("extension", f"{_DWC}Occurrence", "verbatim.txt", ("gbifID", "scientificName"))
    return {
        "meta.xml": f'<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="metadata.xml">{core}{extension}{verbatim}</archive>',
        "metadata.xml": '<eml><dataset><title>GBIF Occurrence Download</title></dataset><citation identifier="10.15468/dl.abcdef"/></eml>',
        "occurrence.txt": "".join("\t".join(row) + "\n" for row in [_RECORD, *records]),
        "multimedia.txt": "".join("\t".join(row) + "\n" for row in [_MEDIA, *media]),
        "verbatim.txt": "gbifID\tscientificName\n" + "".join(f"{row[0]}\t{row[9]}\n" for row in records),
        "citations.txt": "Some data set.\n",
        "rights.txt": "Some rights.\n",
        "dataset/d1.xml": "<eml><dataset><title>Fish</title></dataset></eml>",
    }


def gbif_zip(path: Path, shots: Sequence[Shot], server: str = SERVER, inside: bool = False) -> Path:
    """A download of GBIF as it comes, with or without the images in it."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in _gbif_tables(shots, server).items():
            archive.writestr(name, text)
        for shot in shots if inside else ():
            archive.write(shot.file, f"images/{shot.photo}/original.jpg")
    return path


def observations_csv(path: Path, shots: Sequence[Shot], server: str = SERVER) -> Path:
    """The export of iNaturalist: a row an observation, with its first photograph."""
    header = ("id", "observed_on", "user_login", "quality_grade", "license", "url", "image_url", "scientific_name", "iconic_taxon_name", "taxon_id")
    write_rows(
        path, header,
        [(shot.number, "2023-05-01", "ann", "research", {"CC0 1.0": "CC0"}.get(shot.licence, "CC-BY"), f"https://inat.example.org/{shot.number}",
          f"{server}/inaturalist-open-data/photos/{shot.photo}/medium.jpg", shot.species, "Actinopterygii", 9) for shot in shots],
    )  # fmt: skip
    return path


def _gbif_inside(folder: Path, shots: Sequence[Shot]) -> None:
    gbif_zip(folder / "birds.zip", shots, inside=True)


def _gbif_beside(folder: Path, shots: Sequence[Shot]) -> None:
    gbif_zip(folder / "birds.zip", shots)
    for shot in shots:
        shot.copy(folder / "photographs", f"photos.example.org/photos/{shot.photo}/original.jpg")


def _gbif_folder(folder: Path, shots: Sequence[Shot]) -> None:
    for name, text in _gbif_tables(shots, SERVER).items():
        (folder / "birds" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "birds" / name).write_text(text, encoding="utf-8")
    for shot in shots:
        shot.copy(folder / "birds" / "images", f"{shot.photo}/original.jpg")


def _inaturalist_export(folder: Path, shots: Sequence[Shot]) -> None:
    observations_csv(folder / "observations-123456.csv", shots, "https://inaturalist-open-data.s3.amazonaws.com")
    for shot in shots:
        shot.copy(folder / "photographs", f"{shot.photo}/medium.jpg")


def _inaturalist_open_data(folder: Path, shots: Sequence[Shot]) -> None:
    taxa = {species: str(10 + place) for place, species in enumerate(SPECIES)}
    there = folder / "inaturalist-open-data"
    groups = {shot.group: shot.species for shot in shots}
    letters = {"CC0 1.0": "CC0", "CC BY 4.0": "CC-BY"}
    write_rows(
        there / "photos.csv", ("photo_uuid", "photo_id", "observation_uuid", "observer_id", "extension", "license", "width", "height", "position"),
        [(f"p{shot.number}", shot.photo, shot.group, 7, "jpg", letters[shot.licence], *SIZE, 0) for shot in shots], "\t",
    )  # fmt: skip
    write_rows(
        there / "observations.csv",
        ("observation_uuid", "observer_id", "latitude", "longitude", "positional_accuracy", "taxon_id", "quality_grade", "observed_on"),
        [(group, 7, 51.5, 4.5, 10, taxa[species], "research", "2023-05-01") for group, species in groups.items()], "\t",
    )  # fmt: skip
    names = [(taxa[species], f"48460/1/{place + 2}", 10, "species", species, "true") for place, species in enumerate(SPECIES)]
    genera = [(place + 2, "48460/1", 20, "genus", species.split()[0], "true") for place, species in enumerate(SPECIES)]
    write_rows(
        there / "taxa.csv",
        ("taxon_id", "ancestry", "rank_level", "rank", "name", "active"),
        [(1, "48460", 70, "kingdom", "Animalia", "true"), *genera, *names],
        "\t",
    )
    write_rows(there / "observers.csv", ("observer_id", "login", "name"), [(7, "ann", "Ann Cee")], "\t")
    for shot in shots:
        shot.copy(there, f"photos/{shot.photo}/medium.jpg")


def _camtrap_dp(folder: Path, shots: Sequence[Shot]) -> None:
    there = folder / "wood"
    resources = [{"name": name, "path": f"{name}.csv", "profile": "tabular-data-resource"} for name in ("deployments", "media", "observations")]
    profile = "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0/camtrap-dp-profile.json"
    write_json(there / "datapackage.json", {"profile": profile, "resources": resources, "licenses": [{"name": "CC-BY-4.0", "scope": "media"}]})
    write_rows(there / "deployments.csv", ("deploymentID", "locationName", "latitude", "longitude"), [("d1", "the wood", 51.1, 4.5)])
    write_rows(
        there / "media.csv", ("mediaID", "deploymentID", "timestamp", "filePath", "filePublic", "fileName", "fileMediatype"),
        [(f"m{shot.number}", "d1", f"2020-05-30T0{shot.number // 60}:{shot.number % 60:02}:00Z", f"media/{shot.name}", "true", shot.name,
          "image/jpeg") for shot in shots],
    )  # fmt: skip
    write_rows(
        there / "observations.csv",
        ("observationID", "deploymentID", "mediaID", "eventID", "observationLevel", "observationType", "scientificName", "count", "bboxX", "bboxY",
         "bboxWidth", "bboxHeight", "classificationMethod"),
        [(f"o{shot.number}", "d1", f"m{shot.number}", shot.group, "media", "animal", shot.species, 1, *shot.shares, "human") for shot in shots],
    )  # fmt: skip
    copies(there / "media", shots)


PORTALS = {
    "GBIF, images in the zip": _gbif_inside,
    "GBIF, images beside": _gbif_beside,
    "GBIF, unpacked": _gbif_folder,
    "iNaturalist, export": _inaturalist_export,
    "iNaturalist, open data": _inaturalist_open_data,
    "Camtrap DP": _camtrap_dp,
}
"""What writes each source, by its name."""

"""The tables of iNaturalist's open data, joined: photographs, their observations, the taxa with their ancestors, the observers.

The whole tables have some hundred million rows. They are read line by line, and only what the photographs need is kept: photos.csv alone must be cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syntype.collection.sources.base import Refused
from syntype.collection.sources.declared_tables import Layout, first_cells, read_rows
from syntype.collection.sources.licences import licence_name
from syntype.errors import InputError, plural, shown_list

__all__ = ["OpenData", "Photo", "open_data_table", "read_open_data"]

_LAYOUT = Layout("\t", "", "utf-8", 1)  # "not using any quotes around text columns, and beware there are single and double quotes in some fields"
_COLUMNS = {
    "photos": ("photo_id", "observation_uuid", "extension", "license"),
    "observations": ("observation_uuid", "taxon_id"),
    "taxa": ("taxon_id", "ancestry", "rank", "name"),
    "observers": ("observer_id", "login"),
}
_RANKS = frozenset({"kingdom", "phylum", "class", "order", "superfamily", "family", "subfamily", "tribe", "genus"})
_ADDRESS = "https://inaturalist-open-data.s3.amazonaws.com/photos/{}/medium.{}"
_MOST_PHOTOS = 20_000_000


@dataclass(frozen=True)
class Photo:
    """A photograph.

    Attributes:
        address: of the image.
        number: under which its file may be found, without ending.
        species: its name.
        rank: of that name, if it is known.
        row: row of the table.
        table: name of the table, if there are several.
        group: observation.
        values: further values by column.
    """

    address: str
    number: str
    species: str
    rank: str | None
    row: int
    table: str | None
    group: str | None
    values: Mapping[str, Any]


@dataclass
class OpenData:
    """The photographs of the tables, and rows that cannot be used."""

    photos: list[Photo] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def open_data_table(source: Path) -> Path | None:
    """The table ``photos.csv`` of a source, compressed or not: the file itself, or that of its folder."""
    path = source if source.is_file() else _table(source, "photos")
    if path is None or not path.name.startswith("photos.csv"):
        return None
    return path if set(first_cells(path, _LAYOUT)) >= {"photo_id", "observation_uuid"} else None


def _table(folder: Path, name: str) -> Path | None:
    return next((path for ending in (".csv", ".csv.gz") if (path := folder / f"{name}{ending}").is_file()), None)


def read_open_data(path: Path) -> OpenData:
    """Join the tables beside ``photos.csv``.

    Raises:
        InputError: a table is missing, damaged or lacks a column.
    """
    tables = {name: found for name in ("observations", "taxa") if (found := _table(path.parent, name)) is not None}
    if missing := [f"{name}.csv" for name in ("observations", "taxa") if name not in tables]:
        raise InputError(
            f"lacks the tables beside it: {shown_list(missing)}", "Put observations.csv, taxa.csv and observers.csv beside it.", file=path
        )
    result = OpenData()
    photos = _read_photos(path, result)
    wanted = {row["observation_uuid"] for _, row in photos}
    rows = _rows(tables["observations"], "observations", result)
    observations = {row["observation_uuid"]: row for row in rows if row["observation_uuid"] in wanted}
    taxa = _read_taxa(tables["taxa"], {row["taxon_id"] for row in observations.values()}, result)
    observers = _read_observers(_table(path.parent, "observers"), {row.get("observer_id", "") for _, row in photos}, result)
    for number, row in photos:
        _join(result, path.name, number, row, observations, taxa, observers)
    if inactive := sum(photo.values.get("taxon_active") == "false" for photo in result.photos):
        result.notes.append(f"{plural(inactive, 'photograph')} of a taxon that iNaturalist has replaced by another (column taxon_active)")
    return result


def _read_photos(path: Path, result: OpenData) -> list[tuple[int, dict[str, str]]]:
    photos = []
    for number, row, problem in _numbered(path, "photos"):
        if problem is not None:
            result.refused.append(Refused(path.name, number, *problem))
            continue
        photos.append((number, row))
        if len(photos) > _MOST_PHOTOS:
            raise InputError(f"has more than {_MOST_PHOTOS:,} photographs", "Cut out the rows of the species that you need.", file=path)
    return photos


def _join(
    result: OpenData, table: str, number: int, row: Mapping[str, str], observations: Mapping[str, Mapping[str, str]],
    taxa: Mapping[str, Mapping[str, str]], observers: Mapping[str, str],
) -> None:  # fmt: skip
    name = row.get("photo_id", "")

    def refuse(reason: str, hint: str) -> None:
        result.refused.append(Refused(f"{table}: {name}", number, reason, hint))

    if not name.isdecimal() or not re.fullmatch(r"[A-Za-z0-9]{1,5}", row.get("extension", "")):
        return refuse("has no photo_id or extension", "Cut the tables anew from iNaturalist's.")
    uuid = row["observation_uuid"]
    observation = observations.get(uuid)
    if observation is None:
        return refuse("belongs to no observation of the table", f"observations.csv has no row {uuid[:40]!r}: take both tables from one day.")
    taxon = taxa.get(observation["taxon_id"])
    if taxon is None:
        reason = "is of an observation without a taxon" if not observation["taxon_id"] else "is of a taxon that is not in the table"
        return refuse(
            reason, "Nobody has identified it." if not observation["taxon_id"] else f"taxa.csv has no row {observation['taxon_id'][:20]!r}."
        )
    ancestors = [taxa[key] for key in _ancestors(taxon) if key in taxa]
    species = next((one["name"] for one in ancestors if one["rank"] == "species"), taxon["name"])
    observer = observers.get(row.get("observer_id", ""))
    values = {
        **{one["rank"]: one["name"] for one in [*ancestors, taxon] if one["rank"] in _RANKS},
        "taxon_rank": taxon["rank"], "scientific_name": taxon["name"], "taxon_id": observation["taxon_id"],
        "taxon_active": {"t": "true", "f": "false"}.get(taxon.get("active", ""), taxon.get("active")),
        "licence": licence_name(row.get("license")), "rights_holder": observer, "recorded_by": observer,
        "source_url": f"https://www.inaturalist.org/observations/{uuid}", "photo_id": name, "observation_uuid": uuid,
        "observed_on": observation.get("observed_on"), "latitude": observation.get("latitude"), "longitude": observation.get("longitude"),
        "positional_accuracy": observation.get("positional_accuracy"), "quality_grade": observation.get("quality_grade"),
    }  # fmt: skip
    kept = {key: value for key, value in values.items() if value}
    address = _ADDRESS.format(name, row["extension"])
    result.photos.append(Photo(address, name, species, taxon["rank"] or None, number, table, uuid, kept))
    return None


def _read_taxa(path: Path, wanted: set[str], result: OpenData) -> dict[str, dict[str, str]]:
    """The taxa of some numbers, and those of their ancestors, for which the table is read twice."""
    taxa = {row["taxon_id"]: row for row in _rows(path, "taxa", result) if row["taxon_id"] in wanted}
    above = {key for row in taxa.values() for key in _ancestors(row)} - taxa.keys()
    if above:
        taxa.update((row["taxon_id"], row) for _, row, problem in _numbered(path, "taxa") if problem is None and row["taxon_id"] in above)
    return taxa


def _ancestors(taxon: Mapping[str, str]) -> list[str]:
    return [key for key in re.split(r"[/\\]", taxon["ancestry"]) if key]


def _read_observers(path: Path | None, wanted: set[str], result: OpenData) -> dict[str, str]:
    if path is None:
        result.notes.append("there is no observers.csv: rights holders are not known")
        return {}
    rows = (row for row in _rows(path, "observers", result) if row["observer_id"] in wanted)
    return {row["observer_id"]: row.get("name") or row["login"] for row in rows}


def _rows(path: Path, kind: str, result: OpenData) -> Iterator[dict[str, str]]:
    """Rows by column; those that cannot be read are refused."""
    for number, row, problem in _numbered(path, kind):
        if problem is None:
            yield row
        else:
            result.refused.append(Refused(path.name, number, *problem))


def _numbered(path: Path, kind: str) -> Iterator[tuple[int, dict[str, str], tuple[str, str] | None]]:
    columns = first_cells(path, _LAYOUT)
    if missing := [name for name in _COLUMNS[kind] if name not in columns]:
        reason = f"has no column {shown_list(missing)}; its columns are: {shown_list(columns, 12, 30)}"
        raise InputError(reason, "Take the table as iNaturalist gives it: separated by tabs.", file=path)
    for row in read_rows(path, _LAYOUT):
        cells = [cell.strip() for cell in row.cells]
        yield row.number, dict(zip(columns, cells, strict=True)) if row.problem is None else {}, row.problem

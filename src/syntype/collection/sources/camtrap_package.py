"""The parts of a Camtrap DP: its description ``datapackage.json``, and its tables of deployments, media and observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syntype.collection.sources.addresses import is_address
from syntype.collection.sources.annotations import as_text
from syntype.collection.sources.base import Refused, species_name
from syntype.collection.sources.darwin_core_origins import doi_of
from syntype.collection.sources.json_files import forget, load_json_source, peek_json
from syntype.collection.sources.licences import licence_name
from syntype.collection.sources.text_tables import read_table
from syntype.errors import InputError, shortened, shown_list

__all__ = ["Package", "TableRow", "load_package", "package_file"]

_NEEDED = {
    "deployments": ("deploymentID",),
    "media": ("mediaID", "deploymentID", "timestamp", "filePath"),
    "observations": ("observationType", "scientificName"),
}
_MISSING = frozenset({"", "NA", "NaN", "nan"})
_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")


@dataclass(frozen=True)
class TableRow:
    """A row of a table: the name of the table, its number from 1 below the header, and the cells that are not empty by column."""

    table: str
    number: int
    values: dict[str, str]


@dataclass
class Package:
    """A data package.

    Attributes:
        folder: where it lies.
        media: rows by mediaID.
        observations: rows.
        deployments: cells by deploymentID.
        taxa: higher ranks, rank and vernacular name by scientific name, under the names of a collection.
        rights: licence and rights holder of the media.
        origins: citation, DOI and licence, as sentences.
        refused: rows that cannot be used.
        notes: sentences on how the tables were read.
    """

    folder: Path
    media: dict[str, TableRow]
    observations: list[TableRow]
    deployments: dict[str, dict[str, str]]
    taxa: dict[str, dict[str, str]]
    rights: dict[str, str]
    origins: list[str]
    refused: list[Refused] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _shared: frozenset[str] = frozenset()

    def event_of(self, row: TableRow, deployment: str) -> str | None:
        """The event of an observation; where several deployments use the same number, with the deployment."""
        event = row.values.get("eventID")
        return f"{deployment} {event}" if event in self._shared else event


def package_file(source: Path) -> Path | None:
    """The ``datapackage.json`` of a source (the file, its folder, or a table beside it), if it is one of camera traps."""
    is_table = source.is_file() and source.name.removesuffix(".gz").removesuffix(".csv") in _NEEDED
    path = source / "datapackage.json" if source.is_dir() else source.parent / "datapackage.json" if is_table else source
    return path if _is_camtrap(peek_json(path)) else None


def _is_camtrap(content: Any) -> bool:
    if not isinstance(content, dict) or not isinstance(content.get("resources"), list):
        return False
    names = {resource.get("name") for resource in content["resources"] if isinstance(resource, dict)}
    return "camtrap" in str(content.get("profile") or content.get("$schema") or "").lower() or names >= set(_NEEDED)


def load_package(path: Path) -> Package:
    """Read the description and the tables.

    Raises:
        InputError: a table is missing or damaged, or lacks a column.
    """
    try:
        content = load_json_source(path)
    finally:
        forget()
    package = Package(path.parent, {}, [], {}, _taxa(content), _rights(content), _origins(content))
    rows = {name: _rows(path, content, name, package) for name in _NEEDED}
    for row in rows["media"]:
        key = row.values.get("mediaID")
        if key is None:
            package.refused.append(Refused(row.table, row.number, "has no mediaID", "Give each file its own mediaID."))
        elif key in package.media:
            hint = f"Row {package.media[key].number} has it too ({key[:60]}): give each file its own."
            package.refused.append(Refused(row.table, row.number, "has a mediaID that is taken", hint))
        else:
            package.media[key] = row
    package.deployments = {key: row.values for row in rows["deployments"] if (key := row.values.get("deploymentID"))}
    package.observations = rows["observations"]
    package._shared = _shared_events(package.observations)
    return package


def _shared_events(rows: list[TableRow]) -> frozenset[str]:
    places: dict[str, set[str]] = {}
    for row in rows:
        if event := row.values.get("eventID"):
            places.setdefault(event, set()).add(row.values.get("deploymentID", ""))
    return frozenset(event for event, deployments in places.items() if len(deployments) > 1)


def _rows(path: Path, content: Mapping[str, Any], name: str, package: Package) -> list[TableRow]:
    """The rows of a table, whose files are read one after another."""
    resource = next((one for one in content["resources"] if isinstance(one, dict) and one.get("name") == name), {})
    named = resource.get("path", f"{name}.csv" if not resource else None)
    files = [str(one) for one in (named if isinstance(named, list) else [named]) if one]
    if not files:
        raise InputError(f"gives no file for the table {name}", "Export the package with CSV files.", file=path)
    result = []
    for file in files:
        if is_address(file):
            raise InputError(f"gives an address for the table {name}", f"Download it into the folder as {name}.csv, and write that.", file=path)
        if file.startswith(("/", "~")) or ".." in file.replace("\\", "/").split("/") or ":" in file:
            raise InputError(f"names a table outside its folder ({file[:60]})", "Put it beside datapackage.json.", file=path)
        table = path.parent / file
        if not table.is_file() and (zipped := table.with_name(f"{table.name}.gz")).is_file():
            table = zipped
        if not table.is_file():
            raise InputError(f"names the table {file[:60]}, which is not there", "Put all tables of the package into one folder.", file=path)
        read = read_table(table)
        columns = [str(column) for column in read.frame.columns]
        if missing := [column for column in _NEEDED[name] if column not in columns]:
            reason = f"has no column {shown_list(missing)}; its columns are: {shown_list(columns, 12, 30)}"
            raise InputError(reason, "Export the package as Camtrap DP 1.0.", file=table)
        package.refused += [Refused(item.file or table.name, item.row, item.reason, item.hint) for item in read.refused]
        package.notes += [f"{table.name}: {note}" for note in read.notes]
        for row, cells in zip(read.numbers, read.frame.itertuples(index=False, name=None), strict=True):
            values = {column: str(cell) for column, cell in zip(columns, cells, strict=True) if cell not in _MISSING}
            result.append(TableRow(table.name, row, values))
    return result


def _rights(content: Mapping[str, Any]) -> dict[str, str]:
    """Licence and rights holder of the media. A licence of the data alone is not one of the images."""
    found = [one for one in _list(content, "licenses") if str(one.get("scope", "media")).lower() == "media"]
    texts = [text for one in found if (text := as_text(one.get("name")) or as_text(one.get("path")) or as_text(one.get("title")))]
    holders = [text for one in _list(content, "contributors") if one.get("role") == "rightsHolder" and (text := as_text(one.get("title")))]
    result = {"licence": licence_name(texts[0]) or ""} if texts else {}
    return {**result, **({"rights_holder": "; ".join(holders[:5])} if holders else {})}


def _origins(content: Mapping[str, Any]) -> list[str]:
    citation, identifier = as_text(content.get("bibliographicCitation")), as_text(content.get("id"))
    doi = doi_of(identifier or "") or doi_of(citation or "")
    title = as_text(content.get("title")) or as_text(content.get("name"))
    lines = [f"DOI: {doi}"] if doi else []
    if text := citation or title:
        lines.append(f"Citation: {shortened(text, 2000)}")
    licences = [
        f"{as_text(one.get('scope')) or 'all'} {licence_name(as_text(one.get('name')) or as_text(one.get('path')))}"
        for one in _list(content, "licenses")
    ]
    return [*lines, f"Licences: {', '.join(licences[:5])}"] if licences else lines


def _taxa(content: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    taxa: dict[str, dict[str, str]] = {}
    for one in _list(content, "taxonomic"):
        names = one.get("vernacularNames")
        given = {
            **{rank: one.get(rank) for rank in _RANKS},
            "taxon_rank": one.get("taxonRank"),
            "taxon_id": one.get("taxonID"),
            "vernacular_name": (names.get("en") or names.get("eng") or next(iter(names.values()), None)) if isinstance(names, dict) else None,
        }
        name = species_name(as_text(one.get("scientificName")) or "")
        taxa[name] = {key: text for key, value in given.items() if (text := as_text(value))}
    return taxa


def _list(content: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    values = content.get(key)
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []

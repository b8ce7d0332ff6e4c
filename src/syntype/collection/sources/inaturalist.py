"""iNaturalist: the table that its website exports, a row an observation, and the tables of its open data, a row a photograph.

Formats: https://www.inaturalist.org/observations/export and https://github.com/inaturalist/inaturalist-open-data/tree/main/Metadata
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from syntype.collection.sources.addresses import LONG_NUMBER, find_addressed, is_address
from syntype.collection.sources.annotations import further_values, refuse_options
from syntype.collection.sources.base import Entry, Listing, Reader, Refused, SourceConfig, species_name
from syntype.collection.sources.darwin_core_names import is_above_species
from syntype.collection.sources.declared_tables import Layout, first_cells
from syntype.collection.sources.finding import FileFinder
from syntype.collection.sources.image_files import images_folder
from syntype.collection.sources.inaturalist_open_data import Photo, open_data_table, read_open_data
from syntype.collection.sources.licences import licence_name
from syntype.collection.sources.meanings import known_names, plain_name
from syntype.collection.sources.rows import check_repeats
from syntype.collection.sources.text_tables import read_table
from syntype.errors import InputError, plural

__all__ = ["READER"]

_NEEDED = {"id", "image_url"}
_TYPICAL = {"quality_grade", "user_login", "iconic_taxon_name", "taxon_id", "observed_on", "uuid", "species_guess", "captive_cultivated"}
_RENAMED = {
    "observed_on": "observed_on", "latitude": "latitude", "longitude": "longitude", "common_name": "vernacular_name", "taxon_id": "taxon_id",
    "quality_grade": "quality_grade", "scientific_name": "scientific_name", "id": "observation_id",
    **{f"taxon_{rank}_name": rank for rank in ("kingdom", "phylum", "class", "order", "superfamily", "family", "subfamily", "tribe", "genus")},
}  # fmt: skip
_USED = {"image_url", "license", "url", "user_login", "user_name", "sound_url", "private_place_guess", "private_latitude", "private_longitude"}
"""Columns that are not kept under their own names. The private ones are only filled in one's own observations, and do not belong into a data set."""
_OPEN = "inaturalist-open-data"
"""Name of the store of the photographs that have an open licence; all others lie elsewhere."""


def _recognises(source: Path, config: SourceConfig) -> bool:
    try:
        return config.file_column is None and (open_data_table(source) is not None or _export_in(source) is not None)
    except OSError:
        return False


def _export_in(source: Path) -> Path | None:
    """The table of an export: the source itself, or the only one in a folder."""
    if source.is_file():
        return source if _is_export(source) else None
    tables = [path for path in sorted(source.iterdir()) if path.name.lower().endswith((".csv", ".csv.gz")) and not path.name.startswith(".")]
    found = [path for path in tables if _is_export(path)] if len(tables) <= 20 else []
    return found[0] if len(found) == 1 else None


def _is_export(path: Path) -> bool:
    if not path.name.lower().endswith((".csv", ".csv.gz", ".txt")):
        return False
    names = set(first_cells(path, Layout(",", '"')))
    if {plain_name(name) for name in names} & (known_names("file") - {"imageurl"}):
        return False  # a table that names files of its own
    return names >= _NEEDED and bool(names & {"scientific_name", "taxon_species_name"}) and len(names & _TYPICAL) >= 2


def _read(source: Path, config: SourceConfig) -> Listing:
    """List the photographs of an export, or of the tables of the open data.

    Raises:
        InputError: a table is missing or damaged, or lacks a column.
    """
    refuse_options(config, source, "iNaturalist's table", "species", "group")
    photos = open_data_table(source)
    export = None if photos is not None else _export_in(source)
    items: list[Entry | Refused] = []
    if photos is not None:
        if config.species_column or config.group_column:
            raise InputError(
                "is iNaturalist's open data, whose columns are prescribed", "Leave --species-column and --group-column out.", file=source
            )
        content = read_open_data(photos)
        rows, notes, folder = content.photos, content.notes, photos.parent
        items += content.refused
        title = "open data of iNaturalist: a row of photos.csv an image"
    elif export is not None:
        rows, refused, notes = _read_export(export, config)
        items += refused
        folder, title = export.parent, "export of iNaturalist: a row an observation"
    else:
        raise InputError("holds no table of iNaturalist, or several", "Give the table that the website exports, or photos.csv.", file=source)
    numbers = {row.address: row.number for row in rows if len(row.number) >= LONG_NUMBER}
    found = find_addressed(FileFinder(images_folder(folder, config)), [row.address for row in rows], numbers)
    for row in rows:
        file = found[row.address]
        note = f"identified to the {row.rank} only" if row.rank and is_above_species(row.rank, row.species) else None
        if not row.rank and is_above_species(None, row.species):
            note = "identified above the species only"
        items.append(
            Entry(
                file.path, row.species, row.row, row.table,
                group=row.group,
                note=note,
                values=row.values,
                original_name=row.address,
                url=row.address if file.how == "missing" else None,
            )
        )  # fmt: skip
    items.sort(key=lambda item: item.row or 0)
    return Listing(title, check_repeats(items), notes=[*notes, *_notes(items)], origins=[str(source)])


def _read_export(path: Path, config: SourceConfig) -> tuple[list[Photo], list[Refused], list[str]]:
    table = read_table(path)
    columns = list(table.frame.columns)
    for option, name in (("species", config.species_column), ("group", config.group_column)):
        if name is not None and name not in columns:
            raise InputError(f"has no column {name[:40]!r}", f"Give one of its columns with --{option}-column.", file=path)
    photos: list[Photo] = []
    refused = list(table.refused)
    bare = closed = 0
    for number, cells in zip(table.numbers, table.frame.to_dict("records"), strict=True):
        row = {str(name): str(cell) for name, cell in cells.items() if cell}
        address = row.get("image_url", "")
        species = species_name(row.get(config.species_column, "") if config.species_column else _species(row))
        if not address:
            bare += 1
        elif not is_address(address):
            refused.append(Refused(address[:200], number, "has an image_url that is no address", "Export the table again."))
        elif not species:
            refused.append(Refused(address, number, "has no species", "Nobody has identified the observation: fill in scientific_name."))
        elif not row.get("id"):
            refused.append(Refused(address, number, "has no id", "Export the table again, with the column id."))
        else:
            is_open = _OPEN in urlsplit(address).netloc
            closed += not is_open and "license" in row
            group = row.get(config.group_column) if config.group_column else row["id"]
            photos.append(Photo(address, row["id"], species, None, number, None, group, _values(row, is_open)))
    notes = list(table.notes)
    if bare:
        notes.append(f"{plural(bare, 'observation')} without a photograph: not imported")
    if closed:
        notes.append(f"{plural(closed, 'photograph')} not among those that iNaturalist gives openly: no licence is taken for it")
    if any("licence" in photo.values for photo in photos):
        notes.append("the export has the licence of the observation; its photograph may have another, see source_url")
    return photos, refused, notes


def _species(row: Mapping[str, str]) -> str:
    """The species; of a subspecies the species that it belongs to, if the export has it."""
    return row.get("taxon_species_name") or row.get("scientific_name") or ""


def _values(row: Mapping[str, str], is_open: bool) -> dict[str, str]:
    observer = row.get("user_name") or row.get("user_login")
    licence = licence_name(row.get("license"))
    given: Iterable[tuple[str, str | None]] = (
        ("licence", licence if is_open else None), ("observation_licence", licence), ("rights_holder", observer), ("recorded_by", observer),
        ("source_url", row.get("url")),
    )  # fmt: skip
    return {
        **further_values(row, {*_USED, *_RENAMED}),
        **{column: row[name] for name, column in _RENAMED.items() if name in row},
        **{name: value for name, value in given if value},
    }


def _notes(items: Sequence[Entry | Refused]) -> list[str]:
    entries = [item for item in items if isinstance(item, Entry)]
    there = sum(entry.url is None for entry in entries)
    notes = [f"{plural(there, 'photograph')} found as files by the end of the address, or by its number"] if there else []
    grades: Counter[Any] = Counter(str(entry.values.get("quality_grade") or "none") for entry in entries)
    unsure = Counter({grade: count for grade, count in grades.items() if grade != "research"})
    if unsure and set(grades) != {"none"}:
        shown = ", ".join(f"{count:,} {grade[:20]}" for grade, count in unsure.most_common(3))
        notes.append(f"{plural(unsure.total(), 'photograph')} not of research grade ({shown}): kept; see the column quality_grade")
    above = sum(bool(entry.note) for entry in entries)
    if above:
        notes.append(f"{plural(above, 'photograph')} identified above the species: kept under that name; see the column note")
    return notes


READER = Reader("inaturalist", "iNaturalist: export of observations; tables of the open data", _recognises, _read)

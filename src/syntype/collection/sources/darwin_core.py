"""Darwin Core Archives and downloads of GBIF: a row an image, with the species, place and date of its record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from syntype.collection.sources.addresses import LONG_NUMBER, find_addressed, find_named, is_address
from syntype.collection.sources.annotations import refuse_options
from syntype.collection.sources.base import Entry, Listing, Reader, Refused, SourceConfig, species_name
from syntype.collection.sources.collector import without_collector
from syntype.collection.sources.darwin_core_archive import GBIF_LAYOUT, GBIF_TABLES, Archive, ArchiveTable, Record, descriptor_of, open_archive
from syntype.collection.sources.darwin_core_media import Media, image_values, read_media
from syntype.collection.sources.darwin_core_names import is_above_species, record_name
from syntype.collection.sources.darwin_core_origins import archive_origins
from syntype.collection.sources.declared_tables import Layout, first_cells
from syntype.collection.sources.finding import FileFinder, Found, Unclear
from syntype.collection.sources.image_files import images_folder
from syntype.collection.sources.licences import licence_name
from syntype.collection.sources.meanings import NORMAL_NAMES, known_names, plain_name
from syntype.collection.sources.rows import check_repeats
from syntype.errors import InputError, plural, shown_list

__all__ = ["READER"]

_KEPT = (
    "kingdom", "phylum", "class", "order", "superfamily", "family", "subfamily", "genus", "subgenus", "infraspecificEpithet", "taxonRank",
    "scientificName", "scientificNameAuthorship", "acceptedScientificName", "vernacularName", "taxonomicStatus", "taxonID", "taxonKey", "speciesKey",
    "gbifID", "occurrenceID", "eventID", "organismID", "catalogNumber", "institutionCode", "collectionCode", "datasetKey", "datasetName",
    "basisOfRecord", "eventDate", "year", "recordedBy", "identifiedBy", "identificationQualifier", "dateIdentified", "typeStatus", "sex", "lifeStage",
    "individualCount", "establishmentMeans", "continent", "countryCode", "country", "stateProvince", "locality", "waterBody", "habitat",
    "decimalLatitude", "decimalLongitude", "coordinateUncertaintyInMeters", "depth", "elevation", "minimumDepthInMeters", "maximumDepthInMeters",
    "minimumElevationInMeters", "maximumElevationInMeters", "iucnRedListCategory", "issue",
)  # fmt: skip
"""Terms of a record that are kept. GBIF's tables have more than 200 columns, most of them for the management of the data."""
_COLUMNS = {term.lower(): NORMAL_NAMES.get(term.lower(), term) for term in _KEPT}
_USED = frozenset({"species", "canonicalname", "genericname", "specificepithet", "license", "references"})
"""Further terms of a record that are read, and kept under other names or not at all."""
_OCCURRENCE, _EVENT, _TAXON = "Occurrence", "Event", "Taxon"
_ENDINGS = (".csv", ".tsv", ".txt")


@dataclass
class _Records:
    """Records that have images.

    Attributes:
        core: rows of the core by id.
        occurrences: rows of an extension with occurrences, by the id of the core, if the core is of events.
        twice: ids that several rows of the core have.
        refused: rows that cannot be read.
        num_without: number of records without an image.
    """

    core: dict[str, Record] = field(default_factory=dict)
    occurrences: dict[str, list[Record]] = field(default_factory=dict)
    twice: set[str] = field(default_factory=set)
    refused: list[Refused] = field(default_factory=list)
    num_without: int = 0


def _recognises(source: Path, config: SourceConfig) -> bool:
    try:
        return descriptor_of(source) is not None or _part_of_download(source) is not None or _simple_download(source, config) is not None
    except OSError:
        return False


def _part_of_download(source: Path) -> Path | None:
    """One of the two tables of a GBIF download that lies without the other and without ``meta.xml``."""
    folder = source if source.is_dir() else source.parent
    there = [folder / name for name in GBIF_TABLES if (folder / name).is_file() and "gbifID" in first_cells(folder / name, GBIF_LAYOUT)]
    is_alone = len(there) == 1 and (source.is_dir() or source == there[0])
    return there[0] if is_alone and not known_names("file") & {plain_name(name) for name in first_cells(there[0], GBIF_LAYOUT)} else None


def _simple_download(source: Path, config: SourceConfig) -> Path | None:
    """The table of a GBIF download in the simple format, which has no images."""
    files = [source]
    if source.is_dir():
        inside = [path for path in source.iterdir() if not path.name.startswith(".")]
        files = inside if len(inside) == 1 else []
    for path in files:
        if config.file_column is None and path.is_file() and path.suffix.lower() in _ENDINGS:
            names = {plain_name(name) for name in first_cells(path, Layout())}
            if {"gbifid", "datasetkey"} <= names and not names & (known_names("file") | {"identifier", "accessuri"}):
                return path
    return None


@without_collector
def _read(source: Path, config: SourceConfig) -> Listing:
    """List the images of an archive.

    Raises:
        InputError: the archive is damaged, lacks a table, or has no images.
    """
    place = descriptor_of(source)
    if place is None:
        if (part := _part_of_download(source)) is not None:
            other = next(name for name in GBIF_TABLES if name != part.name)
            what = "names no images" if part.name == "occurrence.txt" else "names no species"
            mend = f"Put {other} of the same download beside it, or give the zip as GBIF made it (a Darwin Core Archive)."
            raise InputError(f"is one table of a GBIF download, which {what} without {other}", mend, file=part)
        simple = _simple_download(source, config)
        if simple is not None:
            raise InputError(
                "is a GBIF download in the simple format, which names no images",
                "Download it from GBIF again as Darwin Core Archive, and give its folder.",
                file=simple,
            )
        raise InputError("holds no Darwin Core Archive", "Give the folder with meta.xml, or that file.", file=source)
    refuse_options(config, place, "a Darwin Core Archive", "species", "group")
    archive = open_archive(place)
    if archive.core.row_type not in (_OCCURRENCE, _EVENT, _TAXON):
        raise InputError(
            f"has a core of {archive.core.row_type[:40] or 'no type'!r}", "Read are archives of occurrences, events or taxa.", file=place
        )
    _check_columns(archive, config)
    media = read_media(archive)
    asked = {name.lower() for name in (config.species_column, config.group_column) if name is not None}
    records = _read_records(archive, {record.key for record, _ in media.images}, {*_COLUMNS, *_USED, *asked})
    if not media.images and not media.refused:
        mend = "On gbif.org, filter by media type: image, and download the Darwin Core Archive again."
        raise InputError(f"has no rows of images{_left_out(media)}", mend, file=archive.folder)
    if not (records.core or records.refused or records.num_without):
        raise InputError("has no rows", "Download the archive again.", file=archive.core.files[0])
    items: list[Entry | Refused] = [*records.refused, *media.refused, *_items(archive, media, records, config)]
    notes = [*_notes(archive, media, records, items)]
    title = "GBIF download (Darwin Core Archive)" if archive.is_gbif else "Darwin Core Archive"
    return Listing(title, check_repeats(items), notes=notes, origins=[str(source), *archive_origins(archive)])


def _left_out(media: Media) -> str:
    notes = media.notes()
    return f" ({notes[0]})" if notes else ""


def _check_columns(archive: Archive, config: SourceConfig) -> None:
    """Terms that the user gave must be there."""
    known = set().union(*(table.terms for table in (archive.core, *_occurrence_tables(archive))))
    for option, name in (("species", config.species_column), ("group", config.group_column)):
        if name is not None and name.lower() not in known:
            raise InputError(f"has no term {name[:40]!r}; there are: {shown_list(sorted(known), 20, 30)}", f"Give one with --{option}-column.",
                             file=archive.folder)  # fmt: skip


def _occurrence_tables(archive: Archive) -> list[ArchiveTable]:
    """Extensions with the occurrences of events. GBIF's downloads have one with the records as they were published, which is not read."""
    if archive.core.row_type != _EVENT:
        return []
    return [table for table in archive.extensions if table.row_type == _OCCURRENCE and table.key is not None]


def _read_records(archive: Archive, wanted: Set[str], terms: Set[str]) -> _Records:
    records = _Records()
    if archive.core.key is None:
        raise InputError(f"does not say which column of {archive.core.name} has the id", "meta.xml needs an element id there.", file=archive.folder)
    for record in archive.core.records(terms):
        if record.problem is not None:
            records.refused.append(Refused(record.table, record.row, *record.problem))
        elif record.key not in wanted:
            records.num_without += 1
        elif record.key in records.core:
            records.twice.add(record.key)
        else:
            records.core[record.key] = record
    for table in _occurrence_tables(archive):
        for record in table.records(terms):
            if record.problem is not None:
                records.refused.append(Refused(record.table, record.row, *record.problem))
            elif record.key in wanted:
                records.occurrences.setdefault(record.key, []).append(record)
    return records


def _items(archive: Archive, media: Media, records: _Records, config: SourceConfig) -> list[Entry | Refused]:
    finder = FileFinder(images_folder(archive.folder, config))
    ids: dict[str, set[str]] = {}
    for record, name in media.images:
        if is_address(name):
            ids.setdefault(name, set()).add(record.key)
    # Files of a GBIF download are often called by the number of the record. Short numbers would be those of other files too.
    others = {name: key for name, keys in ids.items() if archive.is_gbif and len(keys) == 1 and len(key := next(iter(keys))) >= LONG_NUMBER}
    found = find_addressed(finder, ids, others)
    return [
        _item(archive, record, name, found[name] if name in found else find_named(finder, name), records, config) for record, name in media.images
    ]


def _item(archive: Archive, image: Record, name: str, found: Found | Unclear, records: _Records, config: SourceConfig) -> Entry | Refused:
    def refused(reason: str, hint: str) -> Refused:
        return Refused(f"{image.table}: {name}", image.row, reason, hint)

    core = records.core.get(image.key)
    if core is None:
        return refused(f"belongs to no record of {archive.core.name[:60]}", f"There is no row with the id {image.key[:60]!r}: download it again.")
    if image.key in records.twice:
        return refused("belongs to an id that several records have", f"Give each row of {archive.core.name[:60]} its own id ({image.key[:60]!r}).")
    values = dict(core.values)
    group: str | None = values.get("occurrenceid") or image.key
    if archive.core.row_type == _TAXON:
        group = None
    elif archive.core.row_type == _EVENT:
        occurrences = records.occurrences.get(image.key, [])
        own = image.values.get("occurrenceid")
        occurrences = [record for record in occurrences if own and record.values.get("occurrenceid") == own] or occurrences
        names = {_name_of(record.values, config) for record in occurrences}
        if len(names) > 1:
            return refused("belongs to an event with several species", "Nothing says which of them the image shows: give its row an occurrenceID.")
        if occurrences:
            values.update(occurrences[0].values)
        group = (values.get("occurrenceid") if len(occurrences) == 1 else None) or image.key
    species = _name_of(values, config)
    if not species:
        return refused("is of a record without a species", f"Fill in scientificName of the record {image.key[:60]!r}.")
    if isinstance(found, Unclear):
        return refused(found.reason, found.hint)
    if config.group_column:
        group = values.get(config.group_column.lower())
    return Entry(
        found.path, species, image.row, image.table,
        group=group,
        note=_rank_note(values, species),
        values=_values(archive, image, values),
        original_name=name,
        url=name if is_address(name) and found.how == "missing" else None,
    )  # fmt: skip


def _name_of(values: Mapping[str, str], config: SourceConfig) -> str | None:
    if config.species_column:
        return species_name(values.get(config.species_column.lower(), "")) or None
    return record_name(values)


def _rank_note(values: Mapping[str, str], species: str) -> str | None:
    rank = values.get("taxonrank", "").lower()
    return f"identified to the {rank} only" if rank and is_above_species(rank, species) else None


def _values(archive: Archive, image: Record, values: Mapping[str, str]) -> dict[str, str]:
    own = image_values(image)
    page = values.get("references")
    if not page and archive.is_gbif:
        page = f"https://www.gbif.org/occurrence/{image.key}"
    licence = licence_name(values.get("license"))
    return {
        **{column: values[term] for term, column in _COLUMNS.items() if term in values},
        **({"source_url": page} if page else {}),
        **({"record_licence": licence} if licence else {}),  # of the data; an image may have another
        **own,
    }


def _notes(archive: Archive, media: Media, records: _Records, items: list[Entry | Refused]) -> list[str]:
    entries = [item for item in items if isinstance(item, Entry)]
    there = sum(is_address(entry.original_name or "") and entry.url is None for entry in entries)
    notes = [f"{plural(there, 'image')} found as files by the end of the address, or by the number of the record"] if there else []
    notes += media.notes()
    ranks = Counter(str(entry.values.get("taxon_rank", "")).lower() for entry in entries if entry.note)
    if ranks:
        shown = ", ".join(f"{count:,} {rank}" for rank, count in ranks.most_common(5))
        notes.append(f"{plural(ranks.total(), 'image')} identified above the species ({shown}): kept under that name; see the column taxon_rank")
    synonyms = sum("synonym" in str(entry.values.get("taxonomicStatus", "")).lower() for entry in entries)
    if synonyms and archive.is_gbif:
        notes.append(f"{plural(synonyms, 'image')} recorded under a synonym: the species is the accepted one; scientific_name has the recorded name")
    bare = sum("licence" not in entry.values for entry in entries)
    if bare:
        notes.append(f"{plural(bare, 'image')} without a licence of its own; that of the record (record_licence) is not taken for it")
    if records.num_without:
        notes.append(f"{plural(records.num_without, 'row')} of {archive.core.name} without an image: not imported")
    if archive.core.row_type == _EVENT:
        notes.append("the core table lists events; species are those of the occurrences of each event")
    elif archive.core.row_type == _TAXON:
        notes.append("the core table lists taxa: nothing says which images are of one animal, so none are grouped")
    left_out = len(archive.core.terms - _COLUMNS.keys() - _USED)
    if left_out:
        notes.append(f"{plural(left_out, 'column')} of {archive.core.name} not kept; kept are names, ranks, ids, place, date and persons")
    return notes


READER = Reader("darwin-core", "Darwin Core Archives and GBIF downloads: a folder with meta.xml", _recognises, _read)

"""The tables of a Darwin Core Archive, as its descriptor ``meta.xml`` describes them, and those of a GBIF download without one.

Format: https://dwc.tdwg.org/text/ and https://techdocs.gbif.org/en/data-use/download-formats. A core table (records, events or taxa) has extension
tables whose rows name a row of the core. The package python-dwca-reader reads these too, but it parses the descriptor with entities, reads only the
first of several files of a table, replaces bytes that are no text by signs without telling, and lets a quotation mark in a quoted table join rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syntype.collection.sources.declared_tables import Layout, first_cells, read_rows
from syntype.collection.sources.xml_files import head_of, load_xml
from syntype.errors import InputError, shown_list

__all__ = ["GBIF_LAYOUT", "GBIF_TABLES", "Archive", "ArchiveTable", "Record", "descriptor_of", "local", "open_archive"]

_OWN = b"rs.tdwg.org/dwc/text"
GBIF_TABLES = ("occurrence.txt", "multimedia.txt")
GBIF_LAYOUT = Layout("\t", "", "utf-8", 1)


@dataclass(frozen=True)
class Record:
    """One row of a table.

    Attributes:
        table: name of the file.
        row: counted from 1 below the header.
        key: the id of the row of the core: its own in the core, the one that it belongs to in an extension; empty if there is none.
        values: cells that are not empty, by the names of their terms in small letters without the address ("scientificname").
        problem: reason and hint, if the row cannot be read.
    """

    table: str
    row: int
    key: str
    values: dict[str, str]
    problem: tuple[str, str] | None = None


@dataclass(frozen=True)
class ArchiveTable:
    """A table of an archive.

    Attributes:
        row_type: what its rows are ("Occurrence", "Multimedia"), without the address.
        files: its files, one after another.
        layout: how they are written.
        key: column with the id of the row of the core; None if there is none.
        columns: column of each term.
        defaults: values of terms where the cell is empty or there is no column.
    """

    row_type: str
    files: tuple[Path, ...]
    layout: Layout
    key: int | None
    columns: dict[str, int]
    defaults: dict[str, str]

    @property
    def name(self) -> str:
        """The name of its first file."""
        return self.files[0].name

    @property
    def terms(self) -> set[str]:
        """The terms for which it has values."""
        return {*self.columns, *self.defaults}

    def records(self, terms: Set[str] | None = None) -> Iterator[Record]:
        """All rows.

        Args:
            terms: the terms whose values are needed; None: all.

        Raises:
            InputError: a file is missing or damaged, or has not the columns that the descriptor names.
        """
        last = max([*self.columns.values(), self.key or 0], default=0)
        columns = [(term, column) for term, column in self.columns.items() if terms is None or term in terms]
        for file in self.files:
            if not file.is_file():
                reason = f"names the table {file.name[:60]}, which is not there"
                raise InputError(reason, "Unpack the whole archive, or download it again.", file=file.parent / "meta.xml")
            checked = False
            for row in read_rows(file, self.layout):
                if row.problem is not None:
                    yield Record(file.name, row.number, "", {}, row.problem)
                    continue
                cells = row.cells
                if not checked and len(cells) <= last:
                    reason = f"has {len(cells)} columns; meta.xml describes a column {last + 1}"
                    raise InputError(reason, "Download the archive again, or correct meta.xml.", file=file)
                checked = True
                values = {term: text for term, column in columns if (text := cells[column].strip())}
                if self.defaults:
                    values = {**self.defaults, **values}
                yield Record(file.name, row.number, cells[self.key].strip() if self.key is not None else "", values)


@dataclass(frozen=True)
class Archive:
    """A Darwin Core Archive.

    Attributes:
        folder: where it lies.
        core: the table of records, events or taxa.
        extensions: the other tables.
        metadata: the file that describes the data set (EML), if it is there.
        is_gbif: a download of GBIF.
    """

    folder: Path
    core: ArchiveTable
    extensions: tuple[ArchiveTable, ...]
    metadata: Path | None
    is_gbif: bool


def descriptor_of(source: Path) -> Path | None:
    """The ``meta.xml`` of a source (the file or its folder), or the folder of a GBIF download without one; None: neither."""
    if source.is_file():
        if source.name in GBIF_TABLES and _is_bare(source.parent):
            beside = source.parent / "meta.xml"
            return beside if _is_descriptor(beside) else source.parent
        return source if source.suffix.lower() == ".xml" and _is_descriptor(source) else None
    beside = source / "meta.xml"
    return beside if _is_descriptor(beside) else source if _is_bare(source) else None


def _is_descriptor(path: Path) -> bool:
    return path.is_file() and (_OWN in (head := head_of(path)) or (path.name == "meta.xml" and b"<archive" in head))


def _is_bare(folder: Path) -> bool:
    return all((folder / name).is_file() and "gbifid" in [cell.lower() for cell in first_cells(folder / name, GBIF_LAYOUT)] for name in GBIF_TABLES)


def open_archive(place: Path) -> Archive:
    """The tables of an archive; none is read yet.

    Args:
        place: what ``descriptor_of`` gave.

    Raises:
        InputError: the descriptor is damaged, or lacks what is needed.
    """
    if place.is_dir():
        core, media = (_bare_table(place / name, row_type) for name, row_type in zip(GBIF_TABLES, ("Occurrence", "Multimedia"), strict=True))
        described = place / "metadata.xml"
        return Archive(place, core, (media,), described if described.is_file() else None, True)
    root, folder = load_xml(place), place.parent
    cores = [element for element in root if local(str(element.tag)) == "core"]
    if local(str(root.tag)) != "archive" or len(cores) != 1:
        raise InputError("describes no core table", "Download the archive again: meta.xml must hold one element core.", file=place)
    core = _table(cores[0], place, "id")
    extensions = tuple(_table(element, place, "coreid") for element in root if local(str(element.tag)) == "extension")
    named = [folder / name for name in (root.get("metadata"), "metadata.xml", "eml.xml") if name and _is_inside(name)]
    metadata = next((path for path in named if path.is_file()), None)
    is_gbif = "gbifid" in core.columns or (core.name == "occurrence.txt" and (folder / "verbatim.txt").is_file())
    return Archive(folder, core, extensions, metadata, is_gbif)


def _bare_table(path: Path, row_type: str) -> ArchiveTable:
    columns: dict[str, int] = {}
    for number, name in enumerate(first_cells(path, GBIF_LAYOUT)):
        columns.setdefault(local(name), number)
    return ArchiveTable(row_type, (path,), GBIF_LAYOUT, columns["gbifid"], columns, {})


def _table(element: Any, place: Path, key: str) -> ArchiveTable:
    names = [(part.text or "").strip() for part in element.iter() if local(str(part.tag)) == "location"]
    if not names:
        raise InputError("describes a table without a file", "Download the archive again: each table needs an element location.", file=place)
    if outside := [name for name in names if not _is_inside(name)]:
        raise InputError(
            f"names a table outside its folder ({shown_list(outside, 1)})", "Put the table beside meta.xml, and name it there.", file=place
        )
    fields = [part for part in element if local(str(part.tag)) == "field"]
    columns: dict[str, int] = {}
    defaults: dict[str, str] = {}
    for part in fields:
        term = local(part.get("term") or "")
        if part.get("index") is not None:
            columns.setdefault(term, _number(part.get("index"), place))
        if part.get("default"):
            defaults.setdefault(term, part.get("default").strip())
    own = next((part for part in element if local(str(part.tag)) == key), None)
    number = None if own is None or own.get("index") is None else _number(own.get("index"), place)
    files = tuple(_present(place.parent / name) for name in names)
    return ArchiveTable(re.split(r"[/#]", element.get("rowType") or "")[-1], files, _layout(element, place), number, columns, defaults)


def _present(path: Path) -> Path:
    """The file, or its gzip-compressed form."""
    zipped = path.with_name(f"{path.name}.gz")
    return zipped if not path.is_file() and zipped.is_file() else path


def _layout(element: Any, place: Path) -> Layout:
    delimiter = _plain(element.get("fieldsTerminatedBy", ",")) or ","
    if not delimiter.strip():  # a tab that was written as such is a space for XML
        delimiter = "\t"
    quote = _plain(element.get("fieldsEnclosedBy", '"'))
    quote = quote.strip()[:1] if len(delimiter) == 1 else ""
    return Layout(delimiter, quote, element.get("encoding") or "utf-8", _number(element.get("ignoreHeaderLines") or "0", place))


def _plain(text: str) -> str:
    """A text in which ``\\t`` stands for a tab."""
    return text.replace("\\t", "\t").replace("\\n", "\n").replace("\\r", "\r").replace("\\\\", "\\")


def _number(text: str | None, place: Path) -> int:
    plain = (text or "").strip()
    if not (plain.isascii() and plain.isdecimal() and len(plain) < 6):
        raise InputError(f"has {plain[:20]!r} where the number of a column or line should be", "Download the archive again.", file=place)
    return int(plain)


def _is_inside(name: str) -> bool:
    plain = name.replace("\\", "/")
    return not (plain.startswith("/") or ":" in plain or ".." in plain.split("/") or "\0" in plain) and bool(plain.strip("/. "))


def local(name: str) -> str:
    """The name of a term, an element or a column in small letters, without the address before it."""
    return re.split(r"[/#:}]", name.strip())[-1].lower()

"""Reads tables of any program: delimited text, whose delimiter, encoding and quoting are found from the content, Excel, JSON Lines and Parquet."""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from pathlib import Path

import pandas as pd

from syntype.collection.sources.base import Refused
from syntype.collection.sources.delimited import DELIMITERS, Rows, clean_rows, looks_like_file, parse
from syntype.collection.sources.encodings import BROKEN, check_kind, decode_text
from syntype.collection.sources.meanings import known_names, plain_name
from syntype.collection.sources.source_table import SourceTable
from syntype.collection.sources.typed_tables import is_json_lines, read_excel, read_json_lines, read_parquet
from syntype.errors import InputError

__all__ = ["TABLE_ENDINGS", "SourceTable", "read_header", "read_table", "without_broken"]

TABLE_ENDINGS = (".csv", ".tsv", ".tab", ".txt", ".parquet", ".xlsx", ".xlsm", ".jsonl", ".ndjson")
MAX_BYTES = 2_000_000_000
"""Largest file that is read as a table, in bytes."""
_HEAD = 65_536
_SAMPLE = 200


def read_table(path: Path, asked: Iterable[str] = ()) -> SourceTable:
    """Read a table. What it is is found from its content; the ending of its name helps.

    Args:
        path: the file.
        asked: names of columns that the user gave; they help to find the header and the delimiter.

    Raises:
        InputError: it cannot be read as a table. The message is one short line.
    """
    try:
        if not path.is_file():
            raise InputError("is not a file", "Give a table, for example in CSV.", file=path)
        if path.stat().st_size > MAX_BYTES:
            raise InputError("is too large a table", f"At most {MAX_BYTES:,} bytes are read: divide it.", file=path)
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if head.startswith(b"\x1f\x8b"):
            return _read_text(path, _unpacked(path), asked)
        kind = _kind(path, head)
        if kind is not None:
            table = {"parquet": read_parquet, "excel": read_excel, "lines": read_json_lines}[kind](path)
        else:
            check_kind(head, path)
            table = _read_text(path, path.read_bytes(), asked)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or type(error).__name__})", "Check its permissions.", file=path) from None
    return table


def _unpacked(path: Path) -> bytes:
    """The content of a text that was compressed with gzip."""
    try:
        with gzip.open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error):
        raise InputError("is a damaged or incomplete gzip file", "Copy it again from where it came.", file=path) from None
    if len(data) > MAX_BYTES:
        raise InputError("is too large a table", f"At most {MAX_BYTES:,} bytes are read: divide it.", file=path)
    check_kind(data[:_HEAD], path)
    return data


def read_header(path: Path) -> tuple[list[str], list[list[str]]]:
    """The column names of a table and its first rows, from the first bytes of delimited text; other tables are read whole.

    Raises:
        InputError: it cannot be read as a table.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if _kind(path, head) is None:
        check_kind(head, path)
        if len(head) == _HEAD and b"\n" in head:
            head = head[: head.rindex(b"\n") + 1]
        table = _read_text(path, head, ())
    else:
        table = read_table(path)
    return list(table.frame.columns), [[str(cell) for cell in row] for row in table.frame.head(20).itertuples(index=False, name=None)]


def _kind(path: Path, head: bytes) -> str | None:
    """``parquet``, ``excel`` or ``lines``; None for text."""
    ending = path.suffix.lower()
    if head.startswith(b"PAR1") or (ending == ".parquet" and not head.startswith(b"PK")):
        return "parquet"
    if head.startswith(b"PK\x03\x04") and (ending in (".xlsx", ".xlsm") or b"xl/" in head or b"[Content_Types].xml" in head[:200]):
        return "excel"
    return "lines" if ending in (".jsonl", ".ndjson") or is_json_lines(head) else None


def _read_text(path: Path, data: bytes, asked: Iterable[str]) -> SourceTable:
    text, notes = decode_text(data, path)
    end = "\n" if "\n" in text else "\r"
    lines = text.split(end)
    if not lines[-1]:
        lines.pop()
    lines = [line + end for line in lines]
    if not any(line.strip() for line in lines):
        raise InputError("cannot be read as a table (it is empty)", "Give a CSV file with a header.", file=path)
    given = None
    start = next(number for number, line in enumerate(lines) if line.strip())
    sep = re.fullmatch(r'"?sep=(.)"?', lines[start].strip("\r\n \ufeff"), re.IGNORECASE)
    if sep is None and lines[start].strip('\r\n \ufeff"').lower() == "sep=":
        sep = re.fullmatch(r'"?sep=(.)"?\s*', lines[start].strip("\r\n"), re.IGNORECASE)  # a tab, which strip removed
    if sep is not None:
        given = sep[1]
        start = next((number for number in range(start + 1, len(lines)) if lines[number].strip()), start)
    names = known_names() | {plain_name(name) for name in asked}
    skipped = _comments(lines[start : start + _SAMPLE], given, names)
    if skipped:
        notes.append(f"{skipped} comment lines before the header are passed over")
        start += skipped
        start = next(number for number in range(start, len(lines)) if lines[number].strip())
    delimiter = given or _delimiter(lines[start : start + _SAMPLE], path, names)
    if delimiter != "," and given is None:
        notes.append(f"columns are separated by {DELIMITERS[delimiter]}")
    table = _table(path, lines[start:], delimiter, names, notes, {plain_name(name) for name in asked})
    return without_broken(table) if BROKEN.search(text) else table


def _comments(lines: Sequence[str], given: str | None, names: Set[str]) -> int:
    """How many lines before the header are comments: they start with # and are followed by a line that is surely a header."""
    count = 0
    while count < len(lines) and (lines[count].startswith("#") or not lines[count].strip()):
        count += 1
    if not count or count == len(lines):
        return 0

    def known(line: str) -> int:
        return max(_known(line, delimiter, names) for delimiter in ((given,) if given else DELIMITERS))

    last = max(number for number in range(count) if lines[number].strip())
    if known(lines[count]) > 0 and known(lines[count]) >= known(lines[last].lstrip("# ")):
        return count
    return last if known(lines[last].lstrip("# ")) else 0


def _known(line: str, delimiter: str, names: Set[str]) -> int:
    """How many cells of a header are names of columns that are known."""
    return sum(plain_name(cell.strip().strip('"')) in names for cell in line.strip().split(delimiter))


def _delimiter(lines: Sequence[str], path: Path, names: Set[str]) -> str:
    """The delimiter with which the header has most known names, then most rows have as many cells as the header, then the header most cells."""
    header = lines[0]

    def score(delimiter: str) -> tuple[int, float, int]:
        cells = header.count(delimiter)
        if not cells:
            return (0, 0.0, 0)
        same = sum(line.count(delimiter) >= cells for line in lines[1:] if line.strip())
        return (_known(header, delimiter, names), same, cells)

    tied = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    return max(DELIMITERS, key=lambda delimiter: (*score(delimiter), delimiter == tied))


def _table(path: Path, lines: Sequence[str], delimiter: str, names: Set[str], notes: list[str], asked: Set[str]) -> SourceTable:
    first = parse(lines[:1], delimiter, 1, None)
    if not first.cells:
        if len(parse(lines, delimiter, 1, None).cells) == 0:
            raise InputError("cannot be read as a table (its header is damaged)", "Give a CSV file with a header.", file=path)
        first.cells = [[cell.strip() for cell in lines[0].rstrip("\r\n").split(delimiter)]]
    header = first.cells[0]
    header[0] = header[0].lstrip("#\ufeff").strip().strip('"') if len(header[0]) > 1 else header[0]
    file_column = next((number for number, name in enumerate(header) if plain_name(name) in (asked | known_names("file"))), None)
    rows = parse(lines, delimiter, max((number for number, name in enumerate(header, start=1) if name), default=1), file_column)
    if rows.numbers and rows.numbers[0] == 0:
        read = rows.cells.pop(0)
        rows.numbers.pop(0)
        header = [header[0], *read[1:]] if len(read) > 1 else header
    elif rows.refused and rows.refused[0][0] == 0:
        rows.refused.pop(0)
    if _has_row_names(rows, header, file_column):
        header = ["", *header]
    if not rows.quoted and any('"' in cell for name in ("file", "species") for cell in _cells_of(rows, header, name, asked)):
        notes.append("the table does not quote its cells: quotation marks are letters of the names")
    if rows.letters:
        notes.append(f"{rows.letters:,} rows have quotation marks that do not quote: they are read as letters")
    first_row = rows.numbers[0] if rows.numbers else 0
    header, odd = clean_rows(rows, header)
    if odd:
        raise InputError(
            f"row {first_row} has {odd[0]} cells, the header {len(header)}", "Correct the header, so that each column has its name.", file=path
        )
    if not header:
        raise InputError("cannot be read as a table (its header is empty)", "Give a CSV file with a header.", file=path)
    frame = pd.DataFrame(rows.cells, columns=_unique(header, notes), dtype=object)
    if not header[0] and _is_count(frame.iloc[:, 0].tolist()):
        frame = frame.iloc[:, 1:]  # row numbers, as R and pandas write them
    refused = [Refused("", number, reason, hint) for number, reason, hint in rows.refused]
    return SourceTable(path, frame, rows.numbers, notes, sorted(refused, key=lambda item: item.row or 0))


def _cells_of(rows: Rows, header: Sequence[str], kind: str, asked: Set[str]) -> list[str]:
    number = next((number for number, name in enumerate(header) if plain_name(name) in (asked | known_names(kind))), None)
    return [] if number is None else [cells[number] for cells in rows.cells if number < len(cells)]


def _has_row_names(rows: Rows, header: Sequence[str], file_column: int | None) -> bool:
    """Whether the rows begin with the names that R gives to rows, for which its header has no cell: then the file names are one further right."""
    if not rows.cells or any(len(cells) != len(header) + 1 for cells in rows.cells) or file_column is None:
        return False
    here = sum(looks_like_file(cells[file_column]) for cells in rows.cells)
    there = sum(looks_like_file(cells[file_column + 1]) for cells in rows.cells)
    return there > 0.5 * len(rows.cells) and here == 0 and len({cells[0] for cells in rows.cells}) == len(rows.cells)


def _is_count(cells: Sequence[str]) -> bool:
    """Whether cells are whole numbers that go up by one."""
    if not all(cell.isdecimal() and cell.isascii() and len(cell) < 12 for cell in cells):
        return False
    return all(int(cell) == int(cells[0]) + number for number, cell in enumerate(cells))


def _unique(header: Sequence[str], notes: list[str]) -> list[str]:
    """Names of columns that are all there and all different."""
    names, taken = [], Counter[str]()
    for number, name in enumerate(header, start=1):
        name = name or ("row_name" if number == 1 else f"column_{number}")
        taken[name] += 1
        if taken[name] > 1:
            notes.append(f"several columns are called {name[:40]!r}: the first is used")
            while taken[name]:
                name = f"{name}_{number}"
            taken[name] += 1
        names.append(name)
    return names


def without_broken(table: SourceTable) -> SourceTable:
    """The table without rows that hold half characters."""
    frame = table.frame
    if any(BROKEN.search(name) for name in frame.columns):
        raise InputError("cannot be read as a table (its header is not text in one encoding)", "Save the table as CSV in UTF-8.", file=table.path)
    broken = {row for column in frame.columns for row, cell in enumerate(frame[column].tolist()) if isinstance(cell, str) and BROKEN.search(cell)}
    if not broken:
        return table
    hint = "Save the table as CSV in UTF-8."
    refused = [Refused("", table.numbers[row], "holds bytes that are not text in the encoding of the table", hint) for row in sorted(broken)]
    kept = [row for row in range(len(frame)) if row not in broken]
    numbers = [table.numbers[row] for row in kept]
    return SourceTable(table.path, frame.iloc[kept].reset_index(drop=True), numbers, table.notes, [*table.refused, *refused], table.typed)

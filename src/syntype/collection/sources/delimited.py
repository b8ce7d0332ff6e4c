"""Rows of delimited text. A stray quotation mark never swallows rows, and no cell moves into another column."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["DELIMITERS", "Rows", "clean_rows", "looks_like_file", "parse"]

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
"""Delimiters that are recognised, and how messages call them."""

_ENDING = re.compile(r"\.(jpe?g|jpe|png|tiff?|gif|bmp|webp|heic|heif|avif|jp2|cr2|nef|arw|dng|orf|rw2)\s*\"?\s*$", re.IGNORECASE)
_LONGEST = 400
"""Lines that one quoted cell may span. A quotation mark that is not closed by then is a letter."""
_SAMPLE = 200


@dataclass
class Rows:
    """Rows of cells as they stand in the text, not yet checked against the header.

    Attributes:
        cells: cells of each row, without spaces at the ends.
        numbers: number of each row, counted from 0 for the first line; blank lines are counted too, a row of several lines once.
        refused: (number, reason, hint) of lines that cannot be read as a row.
        letters: number of rows in which quotation marks were read as letters.
        quoted: whether the file quotes cells.
    """

    cells: list[list[str]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    refused: list[tuple[int, str, str]] = field(default_factory=list)
    letters: int = 0
    quoted: bool = False

    def add(self, number: int, cells: Sequence[str]) -> None:
        """Add a row, unless all its cells are empty."""
        stripped = [cell.strip() for cell in cells]
        if any(stripped):
            self.cells.append(stripped)
            self.numbers.append(number)


def looks_like_file(cell: str) -> bool:
    """Whether a cell ends like the name of an image file."""
    return _ENDING.search(cell) is not None


class _Lines:
    """Lines for the csv module, from a position that can be moved; at most ``_LONGEST`` for one row."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines, self.at, self.stop = lines, 0, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.at >= self.stop:
            raise StopIteration
        self.at += 1
        return self.lines[self.at - 1]


def parse(lines: Sequence[str], delimiter: str, width: int, file_column: int | None) -> Rows:
    """Read lines as rows.

    Args:
        lines: lines with their line ends.
        delimiter: one of ``DELIMITERS``.
        width: number of cells of the header, without empty ones at its end.
        file_column: position of the column with the file names, if it is known; it helps to tell a row from a part of a quoted cell.
    """
    if not any('"' in line for line in lines):
        return _unquoted(lines, delimiter)
    text = "".join(lines[:2000])
    spaced = f'{delimiter} "' in text and delimiter != "\t"
    rows = _quoted(lines, delimiter, width, file_column, spaced)
    if delimiter != "\t" or _quotes_columns(lines, delimiter):
        return rows
    if rows.letters or rows.refused or not _consistent(rows, lines, delimiter):
        # GBIF and many others write tab-separated text without quoting: a quotation mark is a letter.
        return _unquoted(lines, delimiter)
    return rows


def _unquoted(lines: Sequence[str], delimiter: str) -> Rows:
    rows = Rows()
    for number, line in enumerate(lines):
        rows.add(number, line.rstrip("\r\n").split(delimiter))
    return rows


def _quoted(lines: Sequence[str], delimiter: str, width: int, file_column: int | None, spaced: bool) -> Rows:
    """Rows as RFC 4180 has them. A line that is no sound row on its own is read together with the next ones only if these are no rows."""
    rows, source, number = Rows(quoted=True), _Lines(lines), 0
    reader: Iterator[list[str]] | None = None
    logical = -1  # several lines of one row count once
    while number < len(lines):
        logical += 1
        if '"' not in lines[number]:
            rows.add(logical, lines[number].rstrip("\r\n").split(delimiter))
            number, reader = number + 1, None
            continue
        if reader is None:
            reader = csv.reader(source, delimiter=delimiter, strict=True, skipinitialspace=spaced)
            source.at = number
        source.stop = min(len(lines), number + _LONGEST)
        try:
            cells: list[str] | None = next(reader)
        except (csv.Error, StopIteration):
            cells, reader = None, None
        span = source.at - number
        if cells is not None and (span == 1 or _is_one_row(lines[number : number + span], cells, delimiter, width, file_column)):
            rows.add(logical, cells)
        else:
            _stray(rows, lines[number], logical, delimiter, width)
            span, reader = 1, None
        number += span
    return rows


def _is_one_row(lines: Sequence[str], cells: Sequence[str], delimiter: str, width: int, file_column: int | None) -> bool:
    """Whether lines that a quoted cell joins are one row, and not several rows that a stray quotation mark swallowed."""
    if len(cells) < width or any(cells[width:]):
        return False

    def is_row(line: str) -> bool:
        own = _alone(line, delimiter)
        if len(own) < width or any(cell.strip() for cell in own[width:]):
            return False
        return file_column is None or looks_like_file(own[file_column]) or not looks_like_file(cells[file_column])

    return not any(is_row(line) for line in lines[1:])


def _alone(line: str, delimiter: str) -> list[str]:
    """The cells of a line that is read on its own: quoted where that is sound, else unquoted."""
    line = line.rstrip("\r\n")
    if '"' in line:
        try:
            return next(csv.reader([line], delimiter=delimiter, strict=True))
        except (csv.Error, StopIteration):
            pass
    return line.split(delimiter)


def _stray(rows: Rows, line: str, number: int, delimiter: str, width: int) -> None:
    """Add a line with quotation marks that do not quote: with backslashes before inner ones, or with marks that are letters."""
    plain = line.rstrip("\r\n")
    if '\\"' in plain:
        try:
            cells = next(csv.reader([plain], delimiter=delimiter, strict=True, escapechar="\\", doublequote=False))
        except (csv.Error, StopIteration):
            cells = []
        if len(cells) == width:
            rows.add(number, cells)
            return
    cells = plain.split(delimiter)
    if len(cells) >= width and not any(cell.strip() for cell in cells[width:]):
        rows.add(number, cells)
        rows.letters += 1
    else:
        rows.refused.append(
            (number, "has a quotation mark without its partner", 'Write a quotation mark within a quoted cell twice (""), or remove it.')
        )


def _quotes_columns(lines: Sequence[str], delimiter: str) -> bool:
    """Whether tab-separated text surely quotes its cells: its whole header is quoted, or nearly all cells of a column are."""

    def is_quoted(part: str) -> bool:
        return len(part) > 1 and part.startswith('"') and part.endswith('"')

    raw = [line.rstrip("\r\n").split(delimiter) for line in lines if line.strip()]
    if all(map(is_quoted, raw[0])):
        return True
    body = [parts for parts in raw[1:] if len(parts) == len(raw[0])]
    for column in zip(*body, strict=True):
        filled = [part for part in column if part]
        if 2 * len(filled) > len(body) and sum(map(is_quoted, filled)) >= 0.8 * len(filled):
            return True
    return False


def _consistent(rows: Rows, lines: Sequence[str], delimiter: str) -> bool:
    """Whether sound quotation marks in tab-separated text quote: the cells that need it have them, and not other cells."""
    if len(rows.cells) + len(rows.refused) < sum(1 for line in lines if line.strip()):  # a quoted cell holds a line break
        return True
    raw = [line.rstrip("\r\n").split(delimiter) for line in lines if line.strip()]
    if any(len(parts) != len(cells) for parts, cells in zip(raw, rows.cells, strict=False)):
        return True  # a quoted cell holds a tab
    quoted = [part for parts in raw for part in parts if part.startswith('"')]
    if any('""' in part[1:-1] for part in quoted):
        return True
    # Excel quotes exactly the cells that hold a comma.
    return bool(quoted) and all(("," in part) == part.startswith('"') for parts in raw for part in parts)


def clean_rows(rows: Rows, header: list[str]) -> tuple[list[str], list[int]]:
    """Check the width of every row against the header; ``rows`` loses those that are refused, and the rest get the header's width.

    An empty last cell (a delimiter at the end of the line) is nothing, if it is so in the file or the row cannot be understood otherwise.

    Returns:
        the header, shorter if its last columns have neither a name nor content; and the widths that rows had, if not one fits.
    """
    if all(header) and rows.cells and all(len(cells) == len(header) for cells in rows.cells):
        return header, []
    named = len(header)
    while named and not header[named - 1]:
        named -= 1
    lengths = [_filled(cells) for cells in rows.cells]
    beyond = sum(length > named for length in lengths)
    width = named if beyond <= 0.5 * len(lengths) else len(header)
    raw = Counter(map(len, rows.cells))
    usual = raw.most_common(1)[0][0] if raw else width
    last_empty = any(len(cells) == width and not cells[-1] for cells in rows.cells)
    cells_kept: list[list[str]] = []
    numbers_kept: list[int] = []
    odd = []
    for cells, number, length in zip(rows.cells, rows.numbers, lengths, strict=True):
        own = len(cells)
        fits = own == width and not (usual > width and not cells[-1])
        # In other rows an empty last cell may also be a cell too many further left, with an empty last column.
        fits = fits or (own > width and length <= width and (own == usual or (usual == width and not last_empty)))
        if fits:
            cells_kept.append(cells[:width])
            numbers_kept.append(number)
        else:
            odd.append(own if own != width else own - 1)
            rows.refused.append(
                (number, f"has {odd[-1]} cells, the header {width}", "Put cells that hold the delimiter in quotation marks; add those missing.")
            )
    rows.cells, rows.numbers = cells_kept, numbers_kept
    return header[:width], odd if not cells_kept else []


def _filled(cells: Sequence[str]) -> int:
    """Number of cells up to the last that is not empty."""
    return next((number for number in range(len(cells), 0, -1) if cells[number - 1]), 0)

"""Tables whose layout is known beforehand, from a descriptor or a format: read line by line, so that they may be larger than the memory.

Nothing is guessed from the content: where cells are not quoted, a quotation mark is a letter and never joins lines.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from syntype.collection.sources.delimited import parse
from syntype.collection.sources.encodings import BROKEN
from syntype.errors import InputError

__all__ = ["Layout", "Row", "first_cells", "read_rows"]

_MAX_QUOTED = 2_000_000_000
"""Largest table with quoted cells, in bytes; it is held in memory."""
_LONGEST = 10_000_000
"""Characters of a line."""
_SAMPLE = 1000


@dataclass(frozen=True)
class Layout:
    """How a table is written.

    Attributes:
        delimiter: what separates cells; one or more characters.
        quote: the character around cells; empty: none.
        encoding: of the text.
        header_lines: lines before the first row.
    """

    delimiter: str = "\t"
    quote: str = ""
    encoding: str = "utf-8"
    header_lines: int = 1


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        number: counted from 1 below the header; blank lines are counted too.
        cells: as many as the table has columns, as they are written; empty if the row cannot be read.
        problem: reason and hint, if it cannot be read.
    """

    number: int
    cells: Sequence[str]
    problem: tuple[str, str] | None = None


def first_cells(path: Path, layout: Layout) -> list[str]:
    """The cells of the first line that is not blank: column names, if the table has a header. Nothing if the file cannot be read."""
    try:
        with _open(path, layout.encoding) as text:
            line = next((line for line in islice(text, 50) if line.strip()), "")[:1_000_000]
    except (OSError, EOFError, zlib.error, ValueError, LookupError):
        return []
    cells = line.rstrip("\r\n").lstrip("\ufeff").split(layout.delimiter)
    return [cell.strip().strip(layout.quote or None) for cell in cells]


def read_rows(path: Path, layout: Layout) -> Iterator[Row]:
    """The rows of a table, in their order. Rows of another width than the header, or than most rows if there is none, have a problem.

    Raises:
        InputError: the file is missing, damaged or too large.
    """
    try:
        with _open(path, layout.encoding) as text:
            lines = _quoted(path, text, layout) if layout.quote else _plain(path, text, layout)
            yield from _checked(lines, layout.header_lines)
    except (OSError, EOFError, zlib.error) as error:
        reason = "is a damaged or incomplete gzip file" if isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile)) else "cannot be read"
        raise InputError(reason, f"Copy it again from where it came ({type(error).__name__}).", file=path) from None
    except (UnicodeError, LookupError):
        raise InputError(f"is not text in {layout.encoding[:30]!r}, which its description says", "Correct the encoding there.", file=path) from None


def _open(path: Path, encoding: str) -> io.TextIOWrapper:
    with path.open("rb") as head:
        zipped = head.read(2) == b"\x1f\x8b"
    errors = "surrogateescape" if encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig") else "strict"
    binary = gzip.open(path, "rb") if zipped else path.open("rb")  # noqa: SIM115 (closed with the text)
    try:
        # newline="\n": a lone carriage return, or one of the rarer separators of Unicode, is a part of a cell
        return io.TextIOWrapper(binary, encoding="utf-8-sig" if errors != "strict" else encoding, errors=errors, newline="\n")
    except LookupError:
        binary.close()
        raise


def _plain(path: Path, text: io.TextIOWrapper, layout: Layout) -> Iterator[tuple[int, list[str] | None]]:
    for number, line in enumerate(iter(lambda: text.readline(_LONGEST), "")):
        if len(line) == _LONGEST:
            raise InputError("is no table", f"Its line {number + 1:,} has more than {_LONGEST:,} characters: download it again.", file=path)
        yield number, line.rstrip("\r\n").split(layout.delimiter)


def _quoted(path: Path, text: io.TextIOWrapper, layout: Layout) -> Iterator[tuple[int, list[str] | None]]:
    content = text.read(_MAX_QUOTED + 1)
    if len(content) > _MAX_QUOTED:
        raise InputError("is too large a table", f"At most {_MAX_QUOTED:,} characters with quoted cells are read: divide it.", file=path)
    if layout.quote != '"':  # the rules are those of the quotation mark
        content = content.translate(str.maketrans(f'"{layout.quote}', '\ue000"'))
    lines = content.splitlines(keepends=True) if "\n" not in content else [line + "\n" for line in content.split("\n")]
    if lines and not lines[-1].strip():
        lines.pop()
    rows = parse(lines, layout.delimiter, len(lines[0].split(layout.delimiter)) if lines else 1, None)
    back = str.maketrans('\ue000"', f'"{layout.quote}')
    found: dict[int, list[str] | None] = {number: None for number, _, _ in rows.refused}
    for number, cells in zip(rows.numbers, rows.cells, strict=True):
        found[number] = cells if layout.quote == '"' else [cell.translate(back) for cell in cells]
    yield from sorted(found.items())


def _checked(lines: Iterator[tuple[int, list[str] | None]], header_lines: int) -> Iterator[Row]:
    """Rows below the header, each of one width."""
    sample = list(islice(lines, _SAMPLE))
    widths = Counter(len(cells) for number, cells in sample if cells is not None and number >= header_lines and any(map(str.strip, cells)))
    header = next((len(cells) for number, cells in sample if number == header_lines - 1 and cells is not None), None)
    width = header if header is not None else widths.most_common(1)[0][0] if widths else 0

    def row(number: int, cells: list[str] | None) -> Row:
        if cells is None:
            return Row(number, (), ("has a quotation mark without its partner", "Write a quotation mark within a quoted cell twice."))
        if len(cells) != width and (len(cells) < width or any(map(str.strip, cells[width:]))):
            return Row(number, (), (f"has {len(cells)} cells, the table {width}", "Export the table again, or correct the row."))
        joined = "".join(cells)
        if not joined.isascii() and BROKEN.search(joined):
            return Row(number, (), ("holds bytes that are not text in the encoding of the table", "Save the table in UTF-8."))
        return Row(number, cells[:width])

    for number, cells in (item for part in (sample, lines) for item in part):
        if number >= header_lines and (cells is None or any(map(str.strip, cells))):
            yield row(number - header_lines + 1, cells)

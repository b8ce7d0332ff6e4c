"""Tables that are not delimited text: Excel, JSON Lines and Parquet."""

from __future__ import annotations

import datetime
import json
import math
import warnings
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from syntype.collection.sources.base import Refused
from syntype.collection.sources.encodings import BROKEN, decode_text
from syntype.collection.sources.source_table import SourceTable
from syntype.errors import InputError

__all__ = ["is_json_lines", "read_excel", "read_json_lines", "read_parquet"]

_MOST_UNPACKED = 2_000_000_000
"""Bytes that an Excel file may unpack to."""
_EXCEL_ERRORS = frozenset({"#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!"})


def is_json_lines(head: bytes) -> bool:
    """Whether the first two lines of a file are one JSON object each."""
    lines = [line for line in head[:20_000].splitlines() if line.strip()][:3]
    if len(lines) < 2 or not lines[0].lstrip().startswith(b"{"):
        return False
    try:
        return all(isinstance(json.loads(line), dict) for line in lines[:2])
    except (ValueError, RecursionError):
        return False


def read_parquet(path: Path) -> SourceTable:
    """Read a Parquet file. Columns of bytes and of images are left out.

    Raises:
        InputError: it is damaged.
    """
    import pyarrow as pa
    from pyarrow import parquet

    notes = []
    try:
        file = parquet.ParquetFile(path)
        kinds = {field.name: field.type for field in file.schema_arrow}
        left_out = [name for name, kind in kinds.items() if _holds_bytes(kind, pa)]
        names = [name for name in file.schema_arrow.names if name not in left_out]
        if len(set(names)) < len(names):
            raise InputError("has two columns of one name", "Rename one of them.", file=path)
        frame = file.read(columns=names).to_pandas()
    except InputError:
        raise
    except Exception as error:  # pyarrow raises anything on damaged bytes; the error concerns this file only
        raise InputError(f"cannot be read as a table ({_brief(error)})", "Give a sound Parquet file, or a CSV file.", file=path) from None
    if left_out:
        notes.append(f"columns of bytes are left out: {', '.join(left_out)[:100]}")
    if not isinstance(frame.index, pd.RangeIndex):
        index = frame.index.names
        frame = frame.reset_index() if all(name is not None and name not in frame for name in index) else frame.reset_index(drop=True)
    frame.columns = [str(name) for name in frame.columns]
    return SourceTable(path, frame, list(range(1, len(frame) + 1)), notes, typed=True)


def _holds_bytes(kind: Any, pa: Any) -> bool:
    if pa.types.is_struct(kind):
        return any(_holds_bytes(kind.field(number).type, pa) for number in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _holds_bytes(kind.value_type, pa)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def read_json_lines(path: Path) -> SourceTable:
    """Read JSON Lines: an object for each image. Lines that are no object are refused.

    Raises:
        InputError: not one line is an object.
    """
    text, notes = decode_text(path.read_bytes(), path)
    records: list[dict[str, Any]] = []
    numbers, refused = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            refused.append(Refused("", number, "is not a JSON object", "Write one object a line, in braces."))
        elif BROKEN.search(json.dumps(record, ensure_ascii=False)):
            refused.append(Refused("", number, "holds bytes that are not text in the encoding of the table", "Save the table in UTF-8."))
        else:
            records.append({name.strip() or f"column_{place}": value for place, (name, value) in enumerate(record.items(), start=1)})
            numbers.append(number)
    if not records:
        raise InputError("cannot be read as a table (not one line is a JSON object)", "Write one object a line, in braces.", file=path)
    names = dict.fromkeys(name for record in records for name in record)
    frame = pd.DataFrame({name: pd.Series([record.get(name) for record in records], dtype=object) for name in names})
    return SourceTable(path, frame, numbers, notes, refused, typed=True)


def read_excel(path: Path) -> SourceTable:
    """Read the first sheet of an Excel file as text: numbers as Excel shows them without a format, dates as 2024-05-31.

    Raises:
        InputError: it is damaged or empty, or openpyxl is not installed.
    """
    try:
        import openpyxl
    except ImportError:
        raise InputError("is an Excel file, for which openpyxl is needed", "Install it (pip install openpyxl), or save as CSV.", file=path) from None
    notes: list[str] = []
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(part.file_size for part in archive.infolist()) > _MOST_UNPACKED:
                raise InputError("is too large an Excel file", "Save the table as CSV.", file=path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on formats and checks of cells that Excel alone shows
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
            sheets = book.worksheets
            if not sheets:
                raise InputError("has no sheet with cells", "Give a table with a header.", file=path)
            if len(sheets) > 1:
                notes.append(f"of {len(sheets)} sheets the first is read: {sheets[0].title[:40]!r}")
            sheets[0].reset_dimensions()
            grid = [[_text(cell) for cell in row] for row in sheets[0].iter_rows(values_only=True)]
            book.close()
    except InputError:
        raise
    except Exception as error:  # openpyxl raises anything on damaged files; the error concerns this file only
        raise InputError(f"cannot be read as an Excel file ({_brief(error)})", "Save it again, or as CSV.", file=path) from None
    return _from_grid(path, grid, notes)


def _from_grid(path: Path, grid: Sequence[list[str]], notes: list[str]) -> SourceTable:
    start = next((number for number, cells in enumerate(grid) if any(cells)), None)
    if start is None:
        raise InputError("cannot be read as a table (it is empty)", "Give a table with a header.", file=path)
    filled = [(number, cells) for number, cells in enumerate(grid[start + 1 :], start=1) if any(cells)]
    width = max(_filled(cells) for cells in (grid[start], *(cells for _, cells in filled)))
    header = (grid[start] + [""] * width)[:width]
    taken: Counter[str] = Counter()
    names = []
    for number, name in enumerate(header, start=1):
        name = name or f"column_{number}"
        taken[name] += 1
        names.append(name if taken[name] == 1 else f"{name}_{number}")
        if taken[name] == 2:
            notes.append(f"several columns are called {name[:40]!r}: the first is used")
    cells = [(row + [""] * width)[:width] for _, row in filled]
    return SourceTable(path, pd.DataFrame(cells, columns=names, dtype=object), [number for number, _ in filled], notes)


def _filled(cells: Sequence[str]) -> int:
    """Number of cells up to the last that is not empty."""
    return next((number for number in range(len(cells), 0, -1) if cells[number - 1]), 0)


def _text(cell: Any) -> str:
    """A cell of Excel as text."""
    if cell is None or (isinstance(cell, str) and cell in _EXCEL_ERRORS):
        return ""
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        if not math.isfinite(cell):
            return ""
        return str(int(cell)) if cell == int(cell) and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, datetime.datetime):
        return cell.date().isoformat() if cell.time() == datetime.time() else cell.isoformat(sep=" ")
    if isinstance(cell, (datetime.date, datetime.time)):
        return cell.isoformat()
    return str(cell).strip()


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:150] or type(error).__name__

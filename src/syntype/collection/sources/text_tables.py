"""Reads tables of any program as text: delimiter, encoding and quoting are found from the content."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from syntype.collection.sources.base import Refused
from syntype.errors import InputError

__all__ = ["TABLE_ENDINGS", "SourceTable", "read_table"]

TABLE_ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".xlsx", ".jsonl")


@dataclass(frozen=True)
class SourceTable:
    """A table as it was read.

    Attributes:
        path: the file.
        frame: one row per row that could be read. Text as it stands in the file, without spaces at the ends, empty cells as ""; of a Parquet file the
            values in their types.
        numbers: for each row of ``frame`` its number in the file, counted from 1 below the header.
        notes: sentences on what was found (encoding, delimiter).
        refused: rows that could not be read.
        typed: whether the cells have types (Parquet), so that "NA" is a text and not a missing value.
    """

    path: Path
    frame: pd.DataFrame
    numbers: list[int]
    notes: list[str] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    typed: bool = False


def read_table(path: Path) -> SourceTable:
    """Read a table.

    Raises:
        InputError: it cannot be read as a table.
    """
    try:
        if path.suffix.lower() == ".parquet":
            frame = pd.read_parquet(path)
            return SourceTable(path, frame, list(range(1, len(frame) + 1)), typed=True)
        data = path.read_bytes()
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        header = text.split("\n", 1)[0]
        delimiter = max(",;\t", key=header.count)  # a tie means that none occurs; then the comma is chosen
        frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, sep=delimiter, quoting=csv.QUOTE_MINIMAL)
        return SourceTable(path, frame, list(range(1, len(frame) + 1)))
    except UnicodeDecodeError:
        raise InputError("is not text in UTF-8", "Save the table as CSV in UTF-8.", file=path) from None
    except (OSError, ValueError) as error:  # the errors of pandas and pyarrow are subclasses of ValueError
        raise InputError(f"cannot be read as a table ({' '.join(str(error).split())[:200]})", "Give a CSV file with a header.", file=path) from None

"""A table as a reader of tables gives it, before its columns have a meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from syntype.collection.sources.base import Refused

__all__ = ["SourceTable"]


@dataclass(frozen=True)
class SourceTable:
    """A table as it was read.

    Attributes:
        path: the file.
        frame: one row per row that could be read. Text as it stands in the file, without spaces at the ends, empty cells as ""; of a Parquet file the
            values in their types.
        numbers: for each row of ``frame`` its number in the file, counted from 1 below the header; blank lines are counted too.
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

"""Images in cells of Parquet and Arrow tables: read when they are needed, a few at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from syntype.errors import InputError
from syntype.files import inside

__all__ = ["ArrowImages", "ParquetImages", "image_bytes"]

_BATCH = 16
_AHEAD = 256
"""Rows that are kept until they are asked for. Threads ask for rows in nearly, but not quite, their order."""


class ParquetImages:
    """The image column of a Parquet file, read from front to back: of a row group only some rows are in memory at a time.

    A row that was passed over long ago is read again from the beginning of its row group.

    Args:
        path: the Parquet file.
        column: the column with the images.
    """

    def __init__(self, path: Path, column: str) -> None:
        self.path, self.column = path, column
        self._lock = threading.Lock()
        self._cells: dict[int, Any] = {}
        self._batches: Iterator[list[Any]] | None = None
        self._next = 0

    def cell(self, row: int) -> Any:
        """The cell of a row, counted from 0: bytes, or a mapping with ``bytes`` and ``path``, or None.

        Raises:
            InputError: the file is damaged there.
        """
        with self._lock:
            try:
                if row not in self._cells and (self._batches is None or row < self._next):
                    self._open_at(row)
                while row not in self._cells:
                    cells = next(self._batches) if self._batches is not None else []
                    self._cells |= dict(enumerate(cells, self._next))
                    self._next += len(cells)
                    for old in [number for number in self._cells if number < self._next - _AHEAD]:
                        del self._cells[old]
                return self._cells.pop(row)
            except StopIteration:
                raise InputError("has fewer rows than it says", "Copy the file again from where it came.", file=self.path) from None
            except (OSError, ValueError, MemoryError) as error:  # the errors of pyarrow are subclasses of these
                self._batches = None
                raise InputError("is damaged", f"Copy {self.path.name} again ({type(error).__name__}).", file=f"{self.path}, row {row + 1}") from None

    def _open_at(self, row: int) -> None:
        import pyarrow.parquet as pq

        file = pq.ParquetFile(self.path, buffer_size=1 << 20, pre_buffer=False)
        start, group = 0, 0
        while group < file.num_row_groups and start + file.metadata.row_group(group).num_rows <= row:
            start += file.metadata.row_group(group).num_rows
            group += 1
        self._cells, self._next = {}, start
        self._batches = self._read(file, group)

    def _read(self, file: Any, group: int) -> Iterator[list[Any]]:
        for number in range(group, file.num_row_groups):
            for batch in file.iter_batches(_BATCH, row_groups=[number], columns=[self.column], use_threads=False):
                yield batch.column(0).to_pylist()


class ArrowImages:
    """The image column of an Arrow table that is mapped into memory.

    Args:
        column: the column, a ``pyarrow.ChunkedArray``.
    """

    def __init__(self, column: Any) -> None:
        self.column = column

    def cell(self, row: int) -> Any:
        """The cell of a row, counted from 0."""
        return self.column[row].as_py()


def image_bytes(cell: Callable[[int], Any], row: int, folder: Path) -> bytes:
    """The bytes of an image file from its cell: the bytes themselves, or the file that its path names.

    Raises:
        InputError: the cell is empty, or its file is missing.
    """
    from syntype.collection.decoding import read_bytes

    value = cell(row)
    data = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(data, (bytes, bytearray, memoryview)) and len(data):
        return bytes(data)
    path = value.get("path") if isinstance(value, dict) else None
    if isinstance(path, str) and path:
        return read_bytes(inside(folder, path))
    raise InputError("holds no image", "Remove the row, or export the data set with its images.")

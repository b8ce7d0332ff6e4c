"""The zip file of an export: the same content gives the same bytes, whatever the time of day, and no image is held in memory longer than needed."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Self

import pandas as pd

from syntype.run import plain

__all__ = ["Package", "json_bytes", "plain_rows", "write_csv"]

_CHUNK = 5000
"""Rows that are turned into Python values at a time."""


class Package:
    """A zip file that is being written. Nothing is compressed: image files are already, and Parquet too.

    Args:
        file: the file to write. What is spooled lies in the same folder while it is written.

    Attributes:
        hashes: SHA-256 of every file written so far except images, by its path.
    """

    def __init__(self, file: Path) -> None:
        self._folder = file.parent
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
        self.hashes: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()

    def add(self, name: str, content: bytes | str) -> None:
        """Write a file."""
        data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
        self.hashes[name] = hashlib.sha256(data).hexdigest()
        self._zip.writestr(_entry(name), data)

    def add_image(self, name: str, source: BinaryIO, num_bytes: int) -> None:
        """Copy an image file of a known size."""
        with self._zip.open(_entry(name, num_bytes), "w") as packed:
            shutil.copyfileobj(source, packed)

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """A file to write to; when it is complete it is copied into the zip file, so that its size need not be known before."""
        with tempfile.TemporaryFile(dir=self._folder) as file:
            yield file
            size = file.tell()
            file.seek(0)
            self.hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            with self._zip.open(_entry(name, size), "w") as packed:
                shutil.copyfileobj(file, packed)

    def add_table(self, name: str, table: pd.DataFrame, schema: Any = None) -> None:
        """Write a table as Parquet, or as CSV (RFC 4180) if the name ends so. ``schema``: the types of its columns (``pyarrow.Schema``)."""
        with self.writing(name) as file:
            if name.endswith(".csv"):
                write_csv(table, file)
            else:
                table.to_parquet(file, index=False, schema=schema)

    def add_json(self, name: str, head: Mapping[str, Any], **lists: Iterable[Any]) -> None:
        """Write a JSON object whose long lists are written item by item, one a line.

        Args:
            name: path in the zip file.
            head: short values.
            lists: further keys, whose values are long lists.
        """
        with self.writing(name) as file:
            file.write(json_bytes(head).rstrip()[:-1].rstrip())
            for key, items in lists.items():
                file.write(b",\n " + json_bytes(key, indent=None) + b": ")
                _write_list(file, items)
            file.write(b"\n}\n")

    def add_json_list(self, name: str, items: Iterable[Any]) -> None:
        """Write a JSON list, one item a line."""
        with self.writing(name) as file:
            _write_list(file, items)
            file.write(b"\n")


def write_csv(table: pd.DataFrame, file: Path | BinaryIO) -> None:
    """Write a table as CSV (RFC 4180, UTF-8). Cells with line breaks are quoted, those of old Macs too, as ``\\r\\n`` ends the lines."""
    table.to_csv(file, index=False, lineterminator="\r\n")


def _write_list(file: BinaryIO, items: Iterable[Any]) -> None:
    """Write a JSON list, one item a line."""
    file.write(b"[")
    for number, item in enumerate(items):
        file.write(b",\n" if number else b"\n")
        file.write(json_bytes(item, indent=None))
    file.write(b"]")


def json_bytes(value: Any, indent: int | None = 1) -> bytes:
    """JSON in UTF-8. Bytes of a name that are no text become ``\\uXXXX``, as ``files.write_json`` writes them."""
    return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace")


def _entry(name: str, num_bytes: int = 0) -> zipfile.ZipInfo:
    """An entry of a zip file without the time of day."""
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.external_attr, entry.file_size = 0o644 << 16, num_bytes
    return entry


def plain_rows(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The rows of a table as values that JSON can hold, one after another; what is null is left out."""
    for start in range(0, len(table), _CHUNK):
        part = table.iloc[start : start + _CHUNK]
        cells = {str(name): list(zip(part[name].astype(object), part[name].notna(), strict=True)) for name in part}
        for row in range(len(part)):
            yield {name: value for name, column in cells.items() if column[row][1] and (value := plain(column[row][0])) is not None}

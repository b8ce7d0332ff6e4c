"""JSON files of other programs: read once, as a table if they are lists of records, and else refused in one short line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from syntype.collection.sources.annotations import as_text
from syntype.collection.sources.base import Listing, Reader, SourceConfig
from syntype.collection.sources.finding import FileFinder
from syntype.collection.sources.rows import SYNONYMS, list_rows
from syntype.collection.sources.text_tables import SourceTable, without_broken
from syntype.errors import InputError

__all__ = ["READER", "forget", "json_kind", "load_json_source", "peek_json"]

MAX_BYTES = 4_000_000_000
"""Largest JSON file that is read. COCO files of the largest camera-trap data sets have about 2 GB."""
_FEW_KEYS = 6

_last: tuple[tuple[str, int, int], Any] | None = None
"""The file that was read last: readers look at its content one after another."""


def load_json_source(path: Path) -> Any:
    """The content of a JSON file. It is kept until another file is read or ``forget`` is called, so that several readers can look at it.

    Raises:
        InputError: the file is missing, too large or not whole JSON; one short line.
    """
    global _last
    try:
        state = path.stat()
        key = (str(path), state.st_size, state.st_mtime_ns)
        last = _last
        if last is not None and last[0] == key:
            return last[1]
        if not path.is_file():
            raise InputError("is not a file", "Give the JSON file itself.", file=path)
        if state.st_size > MAX_BYTES:
            raise InputError(f"is too large ({state.st_size:,} bytes)", "Divide it into several files, for example one a camera.", file=path)
        data = path.read_bytes()
        content = json.loads(data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise InputError(f"is not whole JSON ({where[:120]})", "Export it again, or copy it again from where it came.", file=path) from None
    except UnicodeDecodeError:
        raise InputError("is not text in UTF-8", "Export it again, or save it in UTF-8.", file=path) from None
    except (ValueError, RecursionError, MemoryError):  # numbers of thousands of digits; thousands of brackets
        raise InputError("cannot be read as JSON", "Export it again, or copy it again from where it came.", file=path) from None
    except FileNotFoundError:
        raise InputError("does not exist", "Check the path of the JSON file.", file=path) from None
    except OSError as error:
        raise InputError("cannot be read", f"Check that it is there and its permissions ({type(error).__name__}).", file=path) from None
    _last = (key, content)
    return content


def forget() -> None:
    """Free the memory of the file that was read last."""
    global _last
    _last = None


def peek_json(path: Path) -> Any:
    """The content of a JSON file, or None if it is none or damaged. For readers that look whether a file is theirs."""
    try:
        return load_json_source(path) if path.suffix.lower() == ".json" and path.is_file() else None
    except (InputError, OSError, ValueError):
        return None


def json_kind(content: Any) -> tuple[str, str]:
    """What a JSON file without a reader is, and what to do."""
    if isinstance(content, dict):
        if "tracks" in content and "version" in content:
            return "is a DIVE annotation file", "Export the annotations from DIVE as VIAME CSV, and give that."
        if "features" in content and content.get("type") == "FeatureCollection":
            return "is GeoJSON", "Export the records as CSV with a column of image files."
        if {"images", "categories"} <= set(content) and "annotations" not in content:
            return "is a COCO file without annotations", "Give the file that has them; those of test images are often kept back."
        keys = ", ".join(str(key)[:30] for key in list(content)[:_FEW_KEYS])
        return f"is JSON of an unknown kind (keys: {keys or 'none'})", "Give COCO, Label Studio or MegaDetector JSON, or a CSV table."
    if isinstance(content, list) and content and isinstance(content[0], dict):
        keys = ", ".join(str(key)[:30] for key in list(content[0])[:_FEW_KEYS])
        return f"is a JSON list of records ({keys or 'empty'})", "Name the keys of the image and its species by --file-column and --species-column."
    return "is JSON, but holds no list of images", "Give COCO, Label Studio or MegaDetector JSON, or a CSV table."


def _is_table(content: Any, config: SourceConfig) -> bool:
    """Whether a list of records has a column of files and one of species."""
    if not isinstance(content, list) or not content or not all(isinstance(record, dict) for record in content):
        return False
    names = {str(key).strip().lower() for record in content[:100] for key in record}
    asked = {"file": config.file_column, "species": config.species_column}
    return all(asked[key] is not None or any(name.lower() in names for name in SYNONYMS[key]) for key in ("file", "species"))


def _recognises(source: Path, _: SourceConfig) -> bool:
    return source.suffix.lower() == ".json" and source.is_file()


def _read(source: Path, config: SourceConfig) -> Listing:
    """Read a list of records as a table.

    Raises:
        InputError: it is none.
    """
    try:
        content = load_json_source(source)
        if _is_table(content, config):
            columns = dict.fromkeys(str(key) for record in content for key in record)
            frame = pd.DataFrame({name: [as_text(record.get(name)) or "" for record in content] for name in columns}, dtype=object)
            table = without_broken(SourceTable(source, frame, list(range(1, len(frame) + 1))))
            items = list_rows(table, FileFinder(source.parent if config.images is None else Path(config.images)), config)
            return Listing("JSON list with a record for each image", items, notes=table.notes, origins=[str(source)])
        reason, hint = json_kind(content)
    finally:
        forget()
    raise InputError(reason, hint, file=source)


READER = Reader("json", "JSON: a list with a record for each image", _recognises, _read)

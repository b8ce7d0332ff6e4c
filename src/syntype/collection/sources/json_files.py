"""JSON files of other programs: read once, as a table if they are lists of records, and else refused in one short line."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from syntype.collection.sources.annotations import as_text
from syntype.collection.sources.base import Listing, Reader, SourceConfig
from syntype.collection.sources.finding import FileFinder
from syntype.collection.sources.rows import SYNONYMS, list_rows
from syntype.collection.sources.text_tables import SourceTable, without_broken
from syntype.errors import InputError

__all__ = ["READER", "forget", "json_kind", "load_json_source", "peek_json", "peek_json_is"]

MAX_BYTES = 4_000_000_000
"""Largest JSON file that is read. COCO files of the largest camera-trap data sets have about 2 GB."""
_FEW_KEYS = 6

_KEPT_BYTES = 500_000_000
"""Size of the files whose content is kept. In memory, content takes a few times as much."""

_State = tuple[str, int, int]
"""Path, size and time of change of a file."""
_kept: dict[_State, Any] = {}
"""Content, or the error, of the files that were read last: readers look at it one after another."""
_verdicts: dict[tuple[_State, Callable[[Any], bool]], bool] = {}
_lock = threading.Lock()


def load_json_source(path: Path) -> Any:
    """The content of a JSON file. It is kept until ``forget`` is called or other files need the room, so that several readers can look at it.

    Of an annotation in COCO with a box, the outline (``segmentation``) is left out: it may need ten times the memory of all the rest.

    Raises:
        InputError: the file is missing, too large or not whole JSON; one short line.
    """
    try:
        state = _state_of(path)
        with _lock:
            found = _kept.get(state)
        if found is None:
            found = _parsed(path, state[1])
            _keep(state, found)
    except FileNotFoundError:
        raise InputError("does not exist", "Check the path of the JSON file.", file=path) from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise InputError("cannot be read", f"Check that it is there and its permissions ({type(error).__name__}).", file=path) from None
    if isinstance(found, InputError):
        raise InputError(found.reason, found.hint, file=path)
    return found


def _state_of(path: Path) -> _State:
    state = path.stat()
    return str(path), state.st_size, state.st_mtime_ns


def _parsed(path: Path, size: int) -> Any:
    """The content of a JSON file, or the error that says what is wrong with it."""
    if not path.is_file():
        return InputError("is not a file", "Give the JSON file itself.")
    if size > MAX_BYTES:
        return InputError(f"is too large ({size:,} bytes)", "Divide it into several files, for example one a camera.")
    with path.open("rb") as file:
        encoding = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        with path.open(encoding=encoding, newline="") as text:
            return json.loads(text.read(), object_hook=_without_outline)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg}"
        return InputError(f"is not whole JSON ({where[:120]})", "Export it again, or copy it again from where it came.")
    except UnicodeDecodeError:
        return InputError("is not text in UTF-8", "Export it again, or save it in UTF-8.")
    except (ValueError, RecursionError, MemoryError):  # numbers of thousands of digits; thousands of brackets
        return InputError("cannot be read as JSON", "Export it again, or copy it again from where it came.")


def _without_outline(value: dict[str, Any]) -> dict[str, Any]:
    if "segmentation" in value and value.get("bbox") and "image_id" in value and "category_id" in value:
        value["segmentation"] = None
    return value


def _keep(state: _State, content: Any) -> None:
    with _lock:
        _kept[state] = content
        while len(_kept) > 1 and sum(size for _, size, _ in _kept) > _KEPT_BYTES:
            _kept.pop(next(iter(_kept)))


def forget(path: Path | None = None) -> None:
    """Free the memory of a file that was read; of all files, if none is given."""
    with _lock:
        if path is None:
            _kept.clear()
            _verdicts.clear()
        else:
            for state in [state for state in _kept if state[0] == str(path)]:
                del _kept[state]


def peek_json_is(path: Path, test: Callable[[Any], bool]) -> bool:
    """What a test says of the content of a JSON file, or of None if it is none or damaged. It is remembered until all files are forgotten, so that
    each of several large files is read once."""
    try:
        key = (_state_of(path), test)
    except (OSError, ValueError):
        return test(None)
    if key not in _verdicts:
        _verdicts[key] = test(peek_json(path))
    return _verdicts[key]


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

"""JSON files of other programs: read once, and refused in one short line if they are damaged or of no known kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from syntype.collection.sources.base import Listing, Reader, SourceConfig
from syntype.errors import InputError

__all__ = ["READER", "json_kind", "load_json_source", "peek_json"]

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
        if "shapes" in content and "imagePath" in content:
            return "is a labelme file of one image", "Convert the folder to COCO (labelme2coco), and give that file."
        if "features" in content and content.get("type") == "FeatureCollection":
            return "is GeoJSON", "Export the records as CSV with a column of image files."
        if {"images", "categories"} <= set(content) and "annotations" not in content:
            return "is a COCO file without annotations", "Give the file that has them; those of test images are often kept back."
        keys = ", ".join(str(key)[:30] for key in list(content)[:_FEW_KEYS])
        return f"is JSON of an unknown kind (keys: {keys or 'none'})", "Give COCO, Label Studio or MegaDetector JSON, or a CSV table."
    if isinstance(content, list) and content and isinstance(content[0], dict):
        keys = ", ".join(str(key)[:30] for key in list(content[0])[:_FEW_KEYS])
        return f"is a JSON list of records ({keys or 'empty'}), not of a known kind", "Save it as a CSV table, one row an image."
    return "is JSON, but holds no list of images", "Give COCO, Label Studio or MegaDetector JSON, or a CSV table."


def _recognises(source: Path, _: SourceConfig) -> bool:
    return source.suffix.lower() == ".json" and source.is_file()


def _read(source: Path, _: SourceConfig) -> Listing:
    try:
        reason, hint = json_kind(load_json_source(source))
    finally:
        forget()
    raise InputError(reason, hint, file=source)


READER = Reader("json", "other JSON: named, and refused", _recognises, _read)

"""What readers of annotation files share: values as text, labels that name no species, boxes, and rows of one photograph."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from syntype.collection.columns import COLUMNS
from syntype.collection.sources.base import Entry, Refused, SourceConfig, parse_split
from syntype.errors import InputError, plural

__all__ = [
    "as_text",
    "author_splits",
    "corner_box",
    "further_values",
    "group_photographs",
    "keep_splits",
    "left_out_note",
    "names_no_species",
    "number",
    "refuse_options",
    "size_box",
    "split_in",
]

_NOT_ANIMALS = frozenset(
    {
        "empty", "blank", "nothing", "no animal", "false trigger", "false positive", "background", "none",
        "human", "humans", "person", "people", "homo sapiens", "vehicle", "vehicles", "car", "truck", "bus", "motorcycle", "bicycle", "atv",
        "setup", "setup pickup", "start", "end", "misfire", "foliage", "problem", "corrupt", "unlabeled", "unlabelled",
    }
)  # fmt: skip
"""Labels of camera-trap and detection projects for pictures or boxes without an animal."""
_NO_SPECIES = frozenset({"unknown", "unidentified", "unidentifiable", "unclassified", "unsure", "unclear", "not identified", "animal", "object"})
"""Labels for an animal that nobody has named."""
_DROPPED = frozenset({"width", "height", "sha256", "phash"})
"""Measures of the source; Syntype takes its own."""
_GIVEN = frozenset({"licence", "rights_holder", "source_url", "terms", "origin"})
"""Columns of a collection that a source may fill in."""
_LONGEST_VALUE = 2000


def names_no_species(label: str) -> bool:
    """Whether a label says that there is no animal ("empty", "person"), or one that nobody has named ("unknown")."""
    plain = " ".join(label.casefold().replace("_", " ").replace("-", " ").split())
    return plain in _NOT_ANIMALS or plain in _NO_SPECIES


def left_out_note(labels: Mapping[str, int]) -> list[str]:
    """A sentence on annotations that were left out because their label names no species; none if there are none.

    Args:
        labels: number of annotations by label.
    """
    if not labels:
        return []
    shown = ", ".join(f"{count:,} {label[:40]!r}" for label, count in Counter(labels).most_common(5))
    more = ", …" if len(labels) > 5 else ""
    return [f"{plural(sum(labels.values()), 'annotation')} left out, because the label names no species ({shown}{more})"]


def as_text(value: Any) -> str | None:
    """A value of JSON as text without spaces at the ends; None if it is missing or empty. Whole numbers have no decimal point."""
    if type(value) is int:
        return str(value)
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, (dict, list)):
        text = json.dumps(value, ensure_ascii=False, default=str)
        return text if value and len(text) <= _LONGEST_VALUE else None
    text = str(value)
    if not text.isascii():  # halves of characters, as JSON may have them, cannot be written to a table
        text = text.encode("utf-8", errors="ignore").decode("utf-8")
    return text.strip() or None


def number(value: Any) -> float | None:
    """A finite number of JSON or of a text; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def size_box(values: Any) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom of a list of left, top, width, height; None if it is no such list or has no area."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != 4:
        return None
    numbers = [number(value) for value in values]
    if any(value is None for value in numbers):
        return None
    left, top, width, height = (value for value in numbers if value is not None)
    return (left, top, left + width, top + height) if width > 0 and height > 0 else None


def corner_box(values: Any) -> tuple[float, float, float, float] | None:
    """The same of a list of left, top, right, bottom."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != 4:
        return None
    left, top, right, bottom = (number(value) for value in values)
    if left is None or top is None or right is None or bottom is None:
        return None
    return (left, top, right, bottom) if right > left and bottom > top else None


def further_values(values: Mapping[str, Any], without: Iterable[str] = ()) -> dict[str, str]:
    """Values of the source under the names they get in a collection. Names that Syntype fills in itself become ``source_NAME``."""
    left_out = {*without, *_DROPPED}
    result: dict[str, str] = {}
    for key, value in values.items():
        if key not in left_out and (text := as_text(value)) is not None and (name := as_text(key)) is not None:
            result[f"source_{name}" if name in COLUMNS and name not in _GIVEN else name] = text
    return result


def group_photographs(items: Sequence[Entry | Refused]) -> tuple[list[Entry | Refused], int]:
    """The items, where the entries of one photograph without a group have the photograph as their group; and the number of such photographs.

    A photograph that shows several species, of which at least two have no box, gets a note: nothing says which animal is which.
    """
    rows: dict[Any, list[Entry]] = {}
    for item in items:
        if isinstance(item, Entry):
            rows.setdefault(item.image, []).append(item)
    several = {image for image, entries in rows.items() if len(entries) > 1}
    unclear = {
        image for image in several
        if len({entry.species for entry in rows[image]}) > 1 and len({entry.species for entry in rows[image] if entry.box is None}) > 0
    }  # fmt: skip
    result: list[Entry | Refused] = []
    for item in items:
        if isinstance(item, Entry) and item.image in several:
            note = "shows several species, and no box says which animal is this one" if item.image in unclear and item.box is None else None
            notes = "; ".join(text for text in (item.note, note) if text) or None
            result.append(replace(item, group=item.group or item.original_name or str(item.image), note=notes))
        else:
            result.append(item)
    return result, len(several)


def keep_splits(items: Sequence[Entry | Refused]) -> tuple[list[Entry | Refused], list[str]]:
    """The items with the author's splits, and a sentence on them. If all are of one split, that is no split, and theirs are drawn."""
    splits = {item.split for item in items if isinstance(item, Entry)}
    if splits <= {None}:
        return list(items), []
    if len(splits) > 1:
        return list(items), ["the splits are the author's"]
    note = f"all images are of the split {next(iter(splits))!r}, so splits are drawn"
    return [replace(item, split=None) if isinstance(item, Entry) else item for item in items], [note]


def refuse_options(config: SourceConfig, path: Path, kind: str, *allowed: str) -> None:
    """Refuse names of columns and tables of splits, which a format that has no columns would pass over without a word.

    Args:
        config: the settings.
        path: for the message.
        kind: the format, for the message ("VIAME CSV").
        allowed: columns that the format does have ("group").

    Raises:
        InputError: one was given.
    """
    for name in ("file", "species", "group", "split", "licence", "box"):
        if name not in allowed and getattr(config, f"{name}_column") is not None:
            raise InputError(f"is {kind}, which has no column to choose for the {name}", f"Leave --{name}-column out.", file=path)
    if config.splits and "splits" not in allowed:
        raise InputError(f"is {kind}, which has no tables of splits", "Leave --split out.", file=path)


def split_in(name: str) -> str | None:
    """The split that a word in a file or folder name stands for ("instances_train2017" -> train); None without or with several of them."""
    words = "".join(char if char.isalpha() else " " for char in name).split()
    found = {split for word in words if (split := parse_split(word)) is not None}
    return found.pop() if len(found) == 1 else None


def author_splits(files: Sequence[Path], folder: Path, kind: str) -> list[tuple[Path, str | None]]:
    """Each of several annotation files with the split that its name, or its folder's name, stands for.

    Args:
        files: annotation files; a single one has no split.
        folder: of the source, for messages.
        kind: what the files are, for messages ("COCO files").

    Raises:
        InputError: there are several, and not each of them is of a split.
    """
    if len(files) == 1:
        return [(files[0], None)]
    splits = [(path, split_in(path.stem) or (parse_split(path.parent.name) if path.parent != folder else None)) for path in files]
    if any(split is None for _, split in splits):
        shown = ", ".join(str(path.relative_to(folder)) for path in files[:4]) + (", …" if len(files) > 4 else "")
        raise InputError(
            f"holds {len(files)} {kind} ({shown[:200]}), and their names do not all say which split they are",
            "Give one of them, or name the splits: --split train=FILE --split test=FILE.",
            file=folder,
        )
    return splits

"""Bounding boxes in tables: one column or four, corners or sizes. A box whose convention is not certain is told and not used."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from syntype.collection.sources.base import SourceConfig
from syntype.collection.sources.meanings import plain_name

__all__ = ["Boxes", "find_box_columns", "parse_box", "read_boxes"]

Box = tuple[float, float, float, float]
Convention = Literal["corners", "size"]

_CORNERS = (
    "xmin ymin xmax ymax", "bbox_xmin bbox_ymin bbox_xmax bbox_ymax", "x1 y1 x2 y2", "bbox_x1 bbox_y1 bbox_x2 bbox_y2", "x0 y0 x1 y1",
    "bbox_x0 bbox_y0 bbox_x1 bbox_y1", "left top right bottom", "bbox_left bbox_top bbox_right bbox_bottom", "box_left box_top box_right box_bottom",
    "minx miny maxx maxy", "xtl ytl xbr ybr", "box_xmin box_ymin box_xmax box_ymax", "box_x1 box_y1 box_x2 box_y2", "tlx tly brx bry",
)  # fmt: skip
_SIZES = (
    "bbox_x bbox_y bbox_width bbox_height", "bbox_x bbox_y bbox_w bbox_h", "box_x box_y box_width box_height", "box_x box_y box_w box_h",
    "bbox_left bbox_top bbox_width bbox_height", "box_left box_top box_width box_height", "bbox_xmin bbox_ymin bbox_width bbox_height",
    "left top width height", "xmin ymin width height", "x y w h", "x y width height",
)  # fmt: skip
_SAMPLE = 40
"""Images that are opened to compare boxes with the size of the image."""


@dataclass
class Boxes:
    """Boxes of the rows of a table.

    Attributes:
        boxes: left, top, right, bottom of each row, or None.
        row_notes: why the box of a row is not used, or None.
        unused: the text of the boxes that are not used.
        shares: the boxes are in shares of the width and height instead of pixels.
        notes: sentences on all of them.
    """

    boxes: list[Box | None]
    row_notes: list[str | None]
    unused: list[str | None] = field(default_factory=list)
    shares: bool = False
    notes: list[str] = field(default_factory=list)


def find_box_columns(columns: Iterable[str]) -> tuple[list[str], Convention] | None:
    """Four columns that hold the boxes, and whether they are ``corners`` or a ``size``; None if there are none."""
    by_name: dict[str, str] = {}
    for column in columns:
        by_name.setdefault(plain_name(column), column)
    pairs: tuple[tuple[tuple[str, ...], Convention], ...] = ((_CORNERS, "corners"), (_SIZES, "size"))
    for sets, kind in pairs:
        for names in sets:
            plain = [plain_name(name) for name in names.split()]
            if all(name in by_name for name in plain):
                return [by_name[name] for name in plain], kind
    return None


def read_boxes(
    frame: pd.DataFrame,
    labels: Sequence[int],
    column: str | None,
    four: tuple[list[str], Convention] | None,
    config: SourceConfig,
    size_of: Callable[[int], tuple[int, int] | None],
) -> Boxes:
    """Read the boxes of a table.

    Args:
        frame: the table.
        labels: the number of each row in its file, for messages.
        column: the column with whole boxes.
        four: four columns with the parts, and what they are.
        config: ``box_format``, if the user gave it.
        size_of: width and height of the upright image of a row, or None if it cannot be opened.
    """
    if column is not None:
        cells: list[Any] = frame[column].tolist()
    elif four is not None:
        cells = list(zip(*(frame[part].tolist() for part in four[0]), strict=True))
        cells = [None if all(_is_empty(part) for part in cell) else cell for cell in cells]
    else:
        return Boxes([None] * len(frame), [None] * len(frame))
    result = _read(cells, labels, column, four, config, size_of)
    result.unused = [None if box is not None or _is_empty(cell) else _shown(cell).strip("'") for box, cell in zip(result.boxes, cells, strict=True)]
    return result


def _read(
    cells: Sequence[Any],
    labels: Sequence[int],
    column: str | None,
    four: tuple[list[str], Convention] | None,
    config: SourceConfig,
    size_of: Callable[[int], tuple[int, int] | None],
) -> Boxes:
    kind, name = config.box_format, column or ""
    certain = kind is not None or plain_name(name) == "box"
    if four is not None and column is None:
        kind, name = config.box_format or four[1], ", ".join(four[0])
        certain = config.box_format is not None or four[1] == "corners" or plain_name(four[0][2]) not in ("width", "height")
    numbers = [_numbers(cell) for cell in cells]
    given = [not _is_empty(cell) for cell in cells]
    rows = [row for row, four_numbers in enumerate(numbers) if four_numbers is not None]
    none = Boxes([None] * len(cells), ["box not used: it is not certain what its numbers are" if there else None for there in given])
    if rows and all(0 <= number <= 1 for row in rows for number in numbers[row]):  # type: ignore[union-attr]
        return _shares(none, numbers, given, kind if column is None or config.box_format else None, name)
    format_ = kind or "corners"
    doubt = _doubt(numbers, rows, labels, format_, certain, kind is None, size_of) if config.box_format is None else None
    if doubt is not None:
        none.notes.append(f"boxes in {name!r} are not used: {doubt}")
        return none
    result = Boxes([None] * len(cells), [None] * len(cells))
    for row, there in enumerate(given):
        box = None if numbers[row] is None else _as_corners(numbers[row], format_)  # type: ignore[arg-type]
        if box is not None and _is_sound(box):
            result.boxes[row] = box
        elif there:
            meant = "left,top,right,bottom" if format_ == "corners" else "left,top,width,height"
            result.row_notes[row] = f"box not used: {_shown(cells[row])} is not {meant} in pixels"
    if not certain and rows:
        meant = "left, top, right, bottom" if format_ == "corners" else "left, top, width, height"
        other = "size" if format_ == "corners" else "corners"
        result.notes.append(f"boxes in {name!r} are read as {meant} (--box-format {other} for the other convention)")
    return result


def _shares(none: Boxes, numbers: Sequence[Sequence[float] | None], given: Sequence[bool], kind: str | None, name: str) -> Boxes:
    if kind is None:
        none.notes.append(
            f"boxes in {name!r} are not used: they are shares of the image, and it is not certain of what; say --box-format corners or size"
        )
        return none
    boxes = [None if four is None else _as_corners(four, kind) for four in numbers]
    sound = [box if box is not None and box[2] > box[0] and box[3] > box[1] else None for box in boxes]
    notes = ["box not used: it is empty" if there and box is None else None for there, box in zip(given, sound, strict=True)]
    return Boxes(sound, notes, shares=True, notes=[f"boxes in {name!r} are shares of the width and height of the image"])


def _doubt(
    numbers: Sequence[Sequence[float] | None],
    rows: Sequence[int],
    labels: Sequence[int],
    kind: str,
    certain: bool,
    bare: bool,
    size_of: Callable[[int], tuple[int, int] | None],
) -> str | None:
    """Why the numbers cannot be what they should be; None if they can."""
    as_size = all(n[0] >= 0 and n[1] >= 0 and n[2] >= 1 and n[3] >= 1 for row in rows if (n := numbers[row]) is not None)
    if kind == "corners":
        bad = next((row for row in rows if not _is_sound(numbers[row])), None)  # type: ignore[arg-type]
        if bad is not None and ((bare and as_size) or not certain):
            hint = "they can be left, top, width, height: say --box-format size" if as_size else "say --box-format corners or size"
            return f"row {labels[bad]} ({_shown(numbers[bad])}) cannot be left, top, right, bottom; {hint}"
    if certain and not (bare and as_size):
        return None
    sizes, beyond, whole = 0, None, 0
    for row in rows[:: max(1, len(rows) // _SAMPLE)][:_SAMPLE]:
        size = size_of(row)
        if size is None:
            continue
        sizes += 1
        box = _as_corners(numbers[row], kind)  # type: ignore[arg-type]
        whole += kind == "size" and tuple(numbers[row][2:]) == size  # type: ignore[index]
        if beyond is None and not certain and (box[2] > size[0] + 1 or box[3] > size[1] + 1):
            beyond = (row, size)
    if beyond is not None:
        row, (width, height) = beyond
        return f"row {labels[row]} ({_shown(numbers[row])}) leads out of its image of {width} x {height} pixels; say --box-format corners or size"
    if sizes and whole == sizes:
        return "width and height are those of the image"
    return None


def parse_box(text: str) -> Box | None:
    """Read ``left,top,right,bottom`` (separated by commas, semicolons or spaces; brackets allowed). None if it is not such a box."""
    four = _numbers(text)
    return four if four is not None and _is_sound(four) else None


def _as_corners(four: Sequence[float], kind: str) -> Box:
    left, top, third, fourth = four
    return (left, top, third, fourth) if kind == "corners" else (left, top, left + third, top + fourth)


def _is_sound(box: Sequence[float]) -> bool:
    return box[2] - box[0] >= 1 and box[3] - box[1] >= 1


def _is_empty(cell: Any) -> bool:
    if cell is None or cell is pd.NA or (isinstance(cell, float) and cell != cell):
        return True
    return isinstance(cell, str) and cell.strip().lower() in ("", "na", "n/a", "nan", "null", "none", "[]")


def _numbers(cell: Any) -> Box | None:
    """Four finite numbers of a text or a list; None if it is not that."""
    if _is_empty(cell) or isinstance(cell, Mapping):
        return None
    if isinstance(cell, str):
        cell = re.split(r"[;,\s]+", cell.strip().strip("[](){}").strip())
    if not isinstance(cell, Iterable):
        return None
    parts = list(cell)
    if len(parts) != 4:
        return None
    try:
        first, second, third, fourth = (float(part) for part in parts)
    except (TypeError, ValueError):
        return None
    four = (first, second, third, fourth)
    return four if all(abs(number) < 1e9 for number in four) else None


def _shown(cell: Any) -> str:
    if isinstance(cell, str):
        return repr(cell[:60])
    try:
        return json.dumps([int(part) if float(part).is_integer() else float(part) for part in cell])[1:-1][:60]
    except (TypeError, ValueError, OverflowError):
        return repr(str(cell)[:60])

"""The columns of a collection's table: their types, and the checks that every table passes when it is opened or written.

A table may come from another program. What is missing is null; what is wrong is refused with its row and what to do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from syntype.errors import CollectionError, InputError
from syntype.files import inside

__all__ = ["COLUMNS", "ORIGINS", "REASONS", "SPLITS", "TABLE", "VERDICTS", "check_table", "check_vocabulary", "conform", "one_type"]

TABLE = "metadata.parquet"
"""Name of the file with the table."""
SPLITS = ("train", "val", "test")
ORIGINS = ("real", "synthetic")
VERDICTS = ("accepted", "refused")
REASONS = ("copy", "species", "distribution", "expert")

COLUMNS: dict[str, str] = {
    "image_id": "string",  # unique within the collection
    "file_name": "string",  # relative to the collection's folder, with forward slashes
    "species": "string",
    "label_weights": "string",  # JSON {"A": 0.7, "B": 0.3} of an image between two species; null: the species alone
    "group": "string",  # observation, specimen or video track; all its images are in one split
    "split": "string",  # train | val | test; null for synthetic images
    "width": "Int32",  # pixels, after EXIF rotation
    "height": "Int32",
    "sha256": "string",  # of the file
    "phash": "string",  # 64-bit perceptual hash, 16 hex digits
    "duplicate_of": "string",  # image_id of the first image with the same bytes
    "box": "string",  # JSON [left, top, right, bottom] in pixels after EXIF rotation
    "licence": "string",
    "rights_holder": "string",
    "source_url": "string",
    "terms": "string",
    "origin": "string",  # real | synthetic
    "generator_id": "string",
    "seed": "Int64",
    "controls": "string",  # JSON
    "parents": "string",  # JSON list of image_id
    "nearest_real_id": "string",
    "nearest_real_distance": "Float64",
    "verdict": "string",  # accepted | refused
    "reason": "string",  # copy | species | distribution | expert
    "reviewer": "string",
    "original_name": "string",  # path of the file as its source calls it
    "note": "string",  # remark from the import ("animated: the first frame is used")
}
"""Every column of ``metadata.parquet`` and its pandas type. Other columns are kept unchanged."""

_TYPES = {column: pd.array([], dtype=kind).dtype for column, kind in COLUMNS.items()}  # type: ignore[call-overload]
_NUMBER = r" *-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,20})? *"
_BOX = rf" *\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\] *"
_KNOWN = {"split": SPLITS, "origin": ORIGINS, "verdict": VERDICTS, "reason": REASONS}


def conform(table: pd.DataFrame, folder: Path | str = "the table") -> pd.DataFrame:
    """Return the table with every column of ``COLUMNS`` in its type (null where missing), followed by any other columns.

    A table without any ``image_id`` gets them from the names of its files.

    Args:
        table: any table of images.
        folder: the collection's folder, for messages.

    Raises:
        CollectionError: two columns have one name, or a value cannot be converted to its column's type.
    """
    names = table.columns
    if names.duplicated().any() or not all(isinstance(name, str) for name in names):
        wrong = names[names.duplicated()].tolist() or [name for name in names if not isinstance(name, str)]
        raise CollectionError(f"{Path(folder) / TABLE}: has two columns, or a column without a text as name: {wrong[0]!r}. Rename or remove one.")
    if _conforms(table):
        return table.copy()
    columns = {column: _converted(table, column, kind, folder) for column, kind in COLUMNS.items()}
    if columns["image_id"].isna().all():
        columns["image_id"] = _ids(columns["file_name"])
    return pd.DataFrame(columns | {column: table[column].to_numpy() for column in names if column not in COLUMNS}, index=range(len(table)))


def _conforms(table: pd.DataFrame) -> bool:
    """Whether a table is as ``conform`` returns it, with the columns of ``COLUMNS`` alone."""
    if list(table.columns) != list(COLUMNS) or table.dtypes.tolist() != list(_TYPES.values()) or table["image_id"].isna().all():
        return False
    return isinstance(table.index, pd.RangeIndex) and table.index.equals(pd.RangeIndex(len(table)))


def _converted(table: pd.DataFrame, column: str, kind: str, folder: Path | str) -> Any:
    """One column as a pandas array of a type; null where the table has no such column."""
    if column not in table:
        return pd.array([None] * len(table), dtype=kind)  # type: ignore[call-overload]
    series = table[column]
    if str(series.dtype) == kind or (kind == "string" and isinstance(series.dtype, pd.StringDtype)):
        return series.astype(kind).array  # type: ignore[call-overload]
    values = series.to_numpy(dtype=object, na_value=None)  # type: ignore[call-overload]
    try:
        return _array(values, kind)
    except (TypeError, ValueError, OverflowError):
        row = next((row for row, value in enumerate(values) if not _fits(value, kind)), 0)
        wanted = "text" if kind == "string" else "a number" if kind == "Float64" else f"a whole number of at most {kind.removeprefix('Int')} bits"
        raise CollectionError(
            f"{Path(folder) / TABLE}, row {row + 1}: {column} is {_shown(values[row])}, which is not {wanted}. Correct it, or set it to null."
        ) from None


def _array(values: Any, kind: str) -> Any:
    if kind == "string":  # pandas would turn lists and bytes into text too
        for value in values:
            if not (value is None or isinstance(value, (str, int, float, np.integer, np.floating))) or isinstance(value, bool):
                raise TypeError(type(value).__name__)
    return pd.array(values, dtype=kind)  # type: ignore[call-overload]


def _fits(value: Any, kind: str) -> bool:
    one = np.empty(1, dtype=object)
    one[0] = value
    try:
        _array(one, kind)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _ids(files: pd.Series | Any) -> Any:
    """An id for each file: its name without folder and ending, with a number behind it where that is taken."""
    taken: dict[str, int] = {}
    ids = []
    for file in files:
        stem = "image" if pd.isna(file) else str(file).replace("\\", "/").rpartition("/")[2].partition(".")[0] or "image"
        name = stem
        while name in taken:
            taken[stem] += 1
            name = f"{stem}-{taken[stem]}"
        taken[name] = 1
        ids.append(name)
    return pd.array(ids, dtype="string")


def check_vocabulary(species: Iterable[Any], folder: Path | str) -> tuple[str, ...]:
    """The species of a collection, after checking that they are texts and that each is there once.

    Raises:
        CollectionError: one is not; the message names the first.
    """
    if isinstance(species, (str, bytes)) or not isinstance(species, Iterable):
        raise CollectionError(f"{folder}: its species are {_shown(species)}. Give a list of names.")
    names = tuple(species)
    for number, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise CollectionError(f"{folder}: species {number + 1} of its list is {_shown(name)}, which is not a name. Correct collection.json.")
    if len(set(names)) < len(names):
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise CollectionError(f"{folder}: its list of species has {twice!r} twice. Remove one of them in collection.json.")
    return names


def check_table(table: pd.DataFrame, species: tuple[str, ...], folder: Path | str) -> None:
    """Check the values of a table that ``conform`` returned.

    Args:
        table: the table.
        species: the vocabulary.
        folder: the collection's folder, for messages.

    Raises:
        CollectionError: a value is not allowed; the message has folder, row (counted from 1), what is wrong and what to do.
    """

    def refuse(bad: Any, reason: Callable[[int], str], mend: str) -> None:
        rows = np.flatnonzero(np.asarray(bad, dtype=bool))
        if len(rows):
            more = f" (the same in {len(rows) - 1:,} more rows)" if len(rows) > 1 else ""
            raise CollectionError(f"{Path(folder) / TABLE}, row {rows[0] + 1}: {reason(int(rows[0]))}{more}. {mend}")

    def at(column: str, row: int) -> str:
        return _shown(table[column].iloc[row])

    files, ids = table["file_name"], table["image_id"]
    refuse(files.isna(), lambda _: "has no file_name", "Name the image file, or delete the row.")
    refuse(_outside(files), lambda row: f"names the file {at('file_name', row)}, which is outside the folder", "Give a path inside the folder.")
    refuse(ids.isna() | (ids == ""), lambda _: "has no image_id", "Give every row an id of its own.")
    refuse(ids.duplicated(), lambda row: f"the image_id {at('image_id', row)} is that of an earlier row", "Give every row an id of its own.")
    unknown = table["species"].notna() & ~table["species"].isin(species)
    refuse(unknown, lambda row: f"the species {at('species', row)} is not in the list of species",
           "Correct the name, or add it to the species in collection.json.")  # fmt: skip
    for column, known in _KNOWN.items():
        bad = table[column].notna() & ~table[column].isin(known)
        refuse(bad, lambda row, name=column: f"{name} is {at(name, row)}", f"It must be one of {', '.join(known)}, or null.")  # type: ignore[misc]
    in_split = (table["origin"] == "synthetic").fillna(False) & table["split"].notna()
    refuse(in_split, lambda row: f"is synthetic and in the split {at('split', row)}", "Set the split of synthetic images to null.")
    for side in ("width", "height"):
        refuse((table[side] < 1).fillna(False), lambda row, name=side: f"{name} is {at(name, row)} pixels", "Correct it, or set it to null.")  # type: ignore[misc]
    refuse(
        _unlike(table["phash"], "[0-9a-f]{16}"),
        lambda row: f"phash is {at('phash', row)}",
        "It must be 16 hex digits; set it to null, and it is computed from the image.",
    )
    refuse(_bad_boxes(table), lambda row: f"box is {at('box', row)}",
           "It must be [left, top, right, bottom] in pixels, inside the image; correct it, or set it to null.")  # fmt: skip
    refuse(_bad_json(table["parents"], _is_list_of_texts), lambda row: f"parents is {at('parents', row)}",
           "It must be a JSON list of image_id; correct it, or set it to null.")  # fmt: skip
    refuse(_bad_json(table["label_weights"], _is_label_of_two), lambda row: f"label_weights is {at('label_weights', row)}",
           'It must be JSON with the weights of two species, both above 0 and 1 together, like {"A": 0.7, "B": 0.3}; correct it, or set it to null.',
    )  # fmt: skip


def _outside(files: pd.Series) -> np.ndarray:
    """Which file names ``inside`` refuses: bool. Only suspicious ones are given to it, as it is slow."""
    result = files.str.contains(r"^/|^$|\.\.|[\\:\x00]|^\.*/*$", regex=True).fillna(False).to_numpy(dtype=bool)
    for row in np.flatnonzero(result):
        try:
            inside(Path(), str(files.iloc[row]))
            result[row] = False
        except InputError:
            continue
    return result


def _unlike(texts: pd.Series, pattern: str) -> np.ndarray:
    """Which texts do not match: bool; nulls do."""
    given = texts.notna().to_numpy(dtype=bool)
    return given & ~texts.str.fullmatch(pattern).fillna(False).to_numpy(dtype=bool) if given.any() else given


def _bad_boxes(table: pd.DataFrame) -> np.ndarray:
    """Which boxes are not four numbers inside the image, or empty: bool. Where width or height is null, that side is not checked."""
    bad = _unlike(table["box"], _BOX)
    rows = np.flatnonzero(table["box"].notna().to_numpy(dtype=bool) & ~bad)
    if len(rows):
        all_boxes = json.loads("[" + ",".join(table["box"].to_numpy(dtype=object)[rows]) + "]")  # much faster than one after another
        left, top, right, bottom = np.array(all_boxes, dtype=np.float64).T
        width, height = (table[side].iloc[rows].to_numpy(dtype=np.float64, na_value=np.inf) for side in ("width", "height"))
        bad[rows] = ~((left >= 0) & (top >= 0) & (right > left) & (bottom > top) & (right <= width) & (bottom <= height))
    return bad


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_label_of_two(value: Any) -> bool:
    if not isinstance(value, dict) or len(value) != 2:
        return False
    weights = list(value.values())
    return all(isinstance(one, (int, float)) and not isinstance(one, bool) and one > 0 for one in weights) and abs(sum(weights) - 1) < 1e-3


def _bad_json(texts: pd.Series, allowed: Callable[[Any], bool]) -> np.ndarray:
    """Which texts are not JSON of the allowed kind: bool; nulls are fine."""
    codes, unique = pd.factorize(texts)  # many rows may have the same text
    bad = np.zeros(len(unique) + 1, dtype=bool)  # the last one is for null, whose code is -1
    for number, text in enumerate(unique):
        try:
            bad[number] = not allowed(json.loads(text))
        except (ValueError, RecursionError):
            bad[number] = True
    return bad[codes]


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, (np.generic,)) else repr(value.item())
    return text if len(text) <= 80 else f"{text[:77]}…"


def one_type(column: pd.Series) -> pd.Series:
    """A further column as it can be written to Parquet: numbers, or texts if the cells are of several types. Missing cells are null."""
    cells = [None if cell is None or cell is pd.NA or cell != cell else cell for cell in column.astype(object)]
    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds <= {int} and all(cell is None or abs(cell) < 2**63 for cell in cells):
        return pd.Series(pd.array(cells, dtype="Int64"))
    if kinds <= {bool}:
        return pd.Series(pd.array(cells, dtype="boolean"))
    if kinds <= {int, float} and all(cell is None or abs(cell) < 2**53 for cell in cells):
        return pd.Series(pd.array(cells, dtype="Float64"))
    texts = [cell if cell is None or isinstance(cell, str) else json.dumps(cell, default=str, ensure_ascii=False) for cell in cells]
    return pd.Series(pd.array([None if text is None else text.encode("utf-8", "replace").decode() for text in texts], dtype="string"))

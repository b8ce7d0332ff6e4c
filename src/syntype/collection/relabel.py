"""Correct a collection's names later: give photographs another species, leave them out, and take such a change back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from syntype.collection.changes import changing, latest_change, new_change, now, save_with
from syntype.collection.sources.base import species_name
from syntype.collection.sources.checklists import HIGHER_RANKS
from syntype.collection.sources.naming import VERBATIM, renamed_values
from syntype.collection.table import Collection
from syntype.errors import InputError, UnknownNameError, shown_list

__all__ = ["RelabelResult", "read_corrections", "relabel", "undo_relabel"]

_COLUMNS = ("species", VERBATIM, "verdict", "reason", "reviewer", *HIGHER_RANKS)


@dataclass(frozen=True)
class RelabelResult:
    """A change of names, or its undoing.

    Attributes:
        number: of the change, from 1.
        renamed: number of photographs for each pair ``OLD → NEW``.
        num_left_out: photographs that are now left out.
        num_companions: photographs that share a group with a renamed one and keep another name; where a group is one specimen or track,
            they are probably misnamed too.
        num_changed_since: photographs that an undoing left alone, as they were changed by other means since.
    """

    number: int
    renamed: dict[str, int]
    num_left_out: int
    num_companions: int = 0
    num_changed_since: int = 0

    def summary(self) -> dict[str, Any]:
        """The same as a dict."""
        return asdict(self)


def read_corrections(path: Path | str) -> dict[str, str | None]:
    """Corrections from a CSV table with the columns ``image_id`` and ``species``; an empty species leaves the photograph out.

    Raises:
        InputError: there is no such table, it lacks a column, or names a photograph twice with different species.
    """
    hint = "Give a CSV table with the columns image_id and species."
    try:
        table = pd.read_csv(path, dtype="string", keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read as a table ({type(error).__name__})", hint, file=path) from None
    for column in ("image_id", "species"):
        if column not in table:
            raise InputError(f"has no column {column!r}; its columns are {shown_list(table.columns)}", hint, file=path)
    found: dict[str, str | None] = {}
    for row, (image, name) in enumerate(zip(table["image_id"], table["species"], strict=True), 1):
        if found.setdefault(image, name.strip() or None) != (name.strip() or None):
            raise InputError(f"names {image} again, with another species", "Keep one of the two rows.", file=path, row=row)
    return found


def relabel(folder: Path | str, names: Mapping[str, str | None], *, who: str | None = None) -> RelabelResult:
    """Give photographs of a collection other species. The files stay as they are, and ``undo_relabel`` takes the change back.

    The column ``verbatim_name`` keeps the first name. Genus, family and the other ranks are those of the new name where the collection has
    them, and else empty, unless the genus stays. A photograph that is left out is refused by an expert (``verdict``, ``reason``): nothing
    learns from it, and it stays in the collection. Splits stay, as they go by group.

    Args:
        folder: the collection.
        names: the new species by image_id; None leaves the photograph out.
        who: name of the person, for the column ``reviewer`` and the record of the change.

    Raises:
        UnknownNameError: an image is not in the collection.
        InputError: nothing is to be changed, a name is empty, an image is synthetic, or another command writes to the collection.

    Example:
        >>> import syntype
        >>> fish = syntype.Collection.open("out/fish")
        >>> syntype.relabel("out/fish", {fish.table["image_id"][0]: "Pictopiscis novus"}, who="Ada").renamed
        {'Pictopiscis alter → Pictopiscis novus': 1}
    """
    with changing(folder) as collection:
        table = collection.table
        rows = {image: row for row, image in enumerate(table["image_id"].tolist())}
        for image in names:
            if image not in rows:
                raise UnknownNameError("image", image, list(rows))
        synthetic = [image for image in names if table["origin"].iloc[rows[image]] == "synthetic"]
        if synthetic:
            reason = f"{shown_list(synthetic, 3)}: synthetic, and shows the species that it was made for"
            raise InputError(reason, "Give photographs only; reject synthetic images in the Studio.", file=collection.root)
        ranks = _ranks(table)
        before, after = {}, {}
        for image, name in names.items():
            old = {column: _cell(table, column, rows[image]) for column in _COLUMNS if column in table or column == VERBATIM}
            new = _left_out(old, who) if name is None else _renamed(old, species_name(name), ranks)
            if new != old:
                before[image], after[image] = old, new
        if not after:
            raise InputError("nothing is to be changed: these photographs have these names already", "Give other names.", file=collection.root)
        change = {"who": who, "time": now(), "before": before, "after": after}
        number = new_change(collection.root, change)
        companions = _num_companions(table, after, rows)
        step = {"stage": "relabel", "change": number, "num_images": len(after), "who": who, "time": change["time"]}
        _write(collection, {rows[image]: values for image, values in after.items()}, step)
        return RelabelResult(number, *_counts(before, after), num_companions=companions)


def undo_relabel(folder: Path | str) -> RelabelResult:
    """Take the latest change of ``relabel`` back that has not been taken back yet.

    Raises:
        InputError: there is none, or another command writes to the collection.

    Example:
        >>> import syntype
        >>> syntype.undo_relabel("out/fish").renamed
        {'Pictopiscis novus → Pictopiscis alter': 1}
    """
    with changing(folder) as collection:
        change = latest_change(collection.root, lambda change: change.kind == "relabel")
        if change is None:
            raise InputError("no change of names is left to be taken back", "Names are changed with: syntype relabel", file=collection.root)
        rows = {image: row for row, image in enumerate(collection.table["image_id"].tolist())}
        before, after = change.content["before"], change.content["after"]
        same = [
            image for image in after
            if image in rows and all(_cell(collection.table, column, rows[image]) == value for column, value in after[image].items())
        ]  # fmt: skip
        step = {"stage": "relabel", "undone": change.number, "num_images": len(same), "time": now()}
        _write(collection, {rows[image]: before[image] for image in same}, step)
        change.mark_undone()
        renamed, _ = _counts({image: after[image] for image in same}, {image: before[image] for image in same})
        return RelabelResult(change.number, renamed, 0, num_changed_since=len(after) - len(same))


def _cell(table: pd.DataFrame, column: str, row: int) -> str | None:
    value = table[column].iloc[row] if column in table else None
    return None if pd.isna(value) else str(value)


def _left_out(old: Mapping[str, str | None], who: str | None) -> dict[str, str | None]:
    return {**old, "verdict": "refused", "reason": "expert", "reviewer": who}


def _renamed(old: Mapping[str, str | None], name: str, ranks: Mapping[str, Mapping[str, str]]) -> dict[str, str | None]:
    if not name:
        raise InputError("the new name of a photograph is empty", "Give a name, or leave the photograph out.")
    if name == old["species"]:
        return dict(old)
    values = renamed_values(old, old["species"], name, ranks)
    return {**dict.fromkeys(old), **values, "species": name}


def _ranks(table: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Genus, family and the other ranks of each species, as its first photograph has them."""
    known = [rank for rank in HIGHER_RANKS if rank in table]
    first = table.drop_duplicates("species").dropna(subset=["species"])
    rows = zip(first["species"], first[known].itertuples(index=False), strict=True)
    return {str(name): {rank: str(value) for rank, value in zip(known, values, strict=True) if not pd.isna(value)} for name, values in rows}


def _num_companions(table: pd.DataFrame, after: Mapping[str, Mapping[str, Any]], rows: Mapping[str, int]) -> int:
    groups = {_cell(table, "group", rows[image]) for image, new in after.items() if new["species"] != _cell(table, "species", rows[image])} - {None}
    names = {new["species"] for new in after.values()}
    beside = table["group"].isin(list(groups)) & ~table["image_id"].isin(list(after)) & ~table["species"].isin(list(names))
    return int(beside.sum())


def _counts(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, int], int]:
    pairs = ((before[image]["species"], new["species"]) for image, new in after.items())
    renamed = Counter(f"{old or 'none'} → {new or 'none'}" for old, new in pairs if old != new)
    num_left_out = sum(new["verdict"] == "refused" and before[image]["verdict"] != "refused" for image, new in after.items())
    return dict(renamed.most_common()), num_left_out


def _write(collection: Collection, values: Mapping[int, Mapping[str, str | None]], step: dict[str, Any]) -> None:
    """Write values into rows."""
    table = collection.table
    columns = {}
    for column in dict.fromkeys(column for row in values.values() for column in row):
        cells = table[column].astype(object).tolist() if column in table else [None] * len(table)
        for row, new in values.items():
            if column in new:
                cells[row] = new[column]
        if column in table or any(cell is not None for cell in cells):
            columns[column] = pd.array([None if pd.isna(cell) else cell for cell in cells], dtype="string")
    save_with(collection, table.assign(**columns), step)

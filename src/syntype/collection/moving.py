"""Move photographs from one collection to another, and take it back. Photographs that were imported on their own are added to a collection so.

Every photograph goes to the training split of the other collection: what that keeps for tests, and to tune, stays as it is, so that studies made
before and after can be compared. A photograph that belongs to a test or validation photograph there (the same observation, or nearly the same
picture) goes to no split, as learning from it would make the test too easy.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from syntype.collection.changes import Change, change_with, changing, latest_change, new_change, now, save_with
from syntype.collection.columns import COLUMNS, one_type
from syntype.collection.copying import unique_name
from syntype.collection.duplicates import THUMBNAIL, near_duplicates
from syntype.collection.table import Collection
from syntype.errors import InputError, UnknownNameError, plural, require_kind, shown_list
from syntype.files import inside

__all__ = ["MoveResult", "move_photographs", "moved_with", "undo_move"]

_KEPT = ".removed"
"""Folder in a collection with the files of photographs that were moved to another one, by the number of the change."""
_HELD = ("val", "test")


@dataclass(frozen=True)
class MoveResult:
    """Photographs that were moved, or that would be.

    Attributes:
        num_images: photographs that are in the other collection now.
        species: number of them for each species, by its name there.
        renamed: species that are spelt otherwise there: old name to new one.
        new_species: species that the other collection did not have, each with the name there that is spelt most alike, or None.
        num_same: photographs that stay, as the other collection has the very same file.
        near: pairs (photograph, photograph of the other collection) that look nearly the same, as image_id.
        num_unused: photographs in no split, as they belong to test or validation photographs there.
        splits: photographs of the other collection in each split, after the move.
        number: of the change in the collection that they left; 0 if nothing was moved.
    """

    num_images: int
    species: dict[str, int]
    renamed: dict[str, str] = field(default_factory=dict)
    new_species: dict[str, str | None] = field(default_factory=dict)
    num_same: int = 0
    near: list[tuple[str, str]] = field(default_factory=list)
    num_unused: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    number: int = 0

    def summary(self) -> dict[str, Any]:
        """The same as a dict."""
        return asdict(self)

    def sentences(self) -> list[str]:
        """The same in words: what goes where, and why."""
        told = [f"{plural(self.num_images, 'photograph')} of {plural(len(self.species), 'species', 'species')}, all to learn from. {_STAY}"]
        if self.num_unused:
            number = f"{self.num_unused:,} {'belongs' if self.num_unused == 1 else 'belong'}"
            why = "to photographs kept for tests or to tune there (same observation, or nearly the same picture)"
            told.append(f"{number} {why}, and {'goes' if self.num_unused == 1 else 'go'} to no split.")
        if self.num_same:
            there = "is there already, as the same file, and stays" if self.num_same == 1 else "are there already, as the same files, and stay"
            told.append(f"{plural(self.num_same, 'photograph')} {there} here.")
        if self.near:
            alike = len({one for one, _ in self.near})
            told.append(f"{plural(alike, 'photograph')} {'looks' if alike == 1 else 'look'} nearly the same as one that is there.")
        told += [f"{old} is spelt {new} there, and gets that name." for old, new in self.renamed.items()]
        if self.new_species:
            names = [f"{name} (there is {near}: is it the same?)" if near else name for name, near in self.new_species.items()]
            told.append(f"New there: {shown_list(names)}.")
        return told


_STAY = "Photographs kept for tests and to tune stay as they are, so that results of before and after can be compared."


def move_photographs(
    source: Path | str, target: Path | str, image_ids: Iterable[str] | None = None, *, who: str | None = None, dry_run: bool = False
) -> MoveResult:
    """Move photographs from one collection to another. ``undo_move`` takes it back.

    All go to the split ``train``; those that belong to test or validation photographs of ``target`` go to no split. Species are matched by name,
    whatever the capital letters. A photograph whose very file ``target`` has already stays where it is. The files are kept in ``source`` until the
    move is taken back, without further room where both lie on one disk.

    Args:
        source: the collection that they leave.
        target: the collection that they join.
        image_ids: of the photographs. None: all of ``source``.
        who: name of the person, for the record of the change.
        dry_run: tell what would be moved, and write nothing.

    Raises:
        UnknownNameError: a photograph is not in ``source``.
        InputError: nothing can be moved, an image is synthetic, both are the same collection, or another command writes to one of them.

    Example:
        >>> import syntype
        >>> first = syntype.Collection.open("out/fish").table["image_id"][0]
        >>> syntype.move_photographs("out/fish", "out/reef", [first]).species
        {'Pictopiscis alter': 1}
    """
    for folder in (source, target):
        require_kind(folder, (str, os.PathLike), "the folder of a collection", "Give its path as a text.")
    if os.path.realpath(source) == os.path.realpath(target):
        raise InputError("is the collection itself", "Choose another collection.", file=target)
    with ExitStack() as both:
        one, other = (both.enter_context(changing(folder)).hashed() for folder in (source, target))
        rows = _rows(one, image_ids)
        same = one.table["sha256"].iloc[rows].isin(set(other.table["sha256"])).to_numpy(dtype=bool)
        moved = one.where(np.isin(np.arange(len(one)), rows[~same]))
        if not len(moved):
            raise InputError("has the very same files already, so nothing is moved", "Choose other photographs.", file=other.root)
        near = _near(moved, other)
        names, renamed, new = _names(moved, other)
        unused = _unused(moved, other, near)
        species = Counter(names[name] for name in moved.table["species"].dropna())
        splits = Counter(other.table["split"].dropna())
        splits["train"] += len(moved) - int(unused.sum())
        found = MoveResult(
            len(moved), dict(species.most_common()), renamed, new, int(same.sum()), near, int(unused.sum()),
            {name: splits[name] for name in ("train", *_HELD)},
        )  # fmt: skip
        if dry_run:
            return found
        number = _move(one, other, moved, rows[~same], names, unused, who)
        return MoveResult(**{**vars(found), "number": number})


def undo_move(folder: Path | str, places: Iterable[Path] = ()) -> MoveResult:
    """Take the latest move back in which photographs left or joined a collection, in both collections.

    Photographs come back with all that was known of them; what was changed of them in the other collection since is lost.

    Args:
        folder: of one of the two collections.
        places: folders in which the other collection may lie, besides those next to this one.

    Raises:
        InputError: there is no such move, the other collection is not found, or another command writes to one of them.

    Example:
        >>> import syntype
        >>> syntype.undo_move("out/reef").num_images
        1
    """
    require_kind(folder, (str, os.PathLike), "the folder of a collection", "Give its path as a text.")
    folder = Path(os.path.abspath(folder))
    change = latest_change(folder, lambda change: change.kind == "move")
    if change is None:
        raise InputError("no move of photographs is left to be taken back", "Photographs are moved with: syntype move", file=folder)
    other, its = _partner(folder, change, places)
    (left, out), (joined, into) = ((folder, change), (other, its)) if change.content["left"] else ((other, its), (folder, change))
    with ExitStack() as both:
        one, two = both.enter_context(changing(left)), both.enter_context(changing(joined))
        theirs = set(change.content["ids"].values())
        gone = two.table["image_id"].isin(theirs).to_numpy(dtype=bool)
        if int(gone.sum()) < len(theirs):
            reason = f"{len(theirs) - int(gone.sum()):,} of these photographs were moved on or renamed since"
            raise InputError(reason, "Take that back first.", file=joined)
        there = set(one.table["image_id"])  # after a crash in the middle of a move they never left
        rows = [] if out is None else [row for image, row in out.content["rows"].items() if image not in there]
        step = {"stage": "move", "num_images": len(theirs), "time": now()}
        if out is not None:
            _bring_back(one.root, out.number, rows)
            save_with(one, _with_rows(one.table, rows), {**step, "undone": out.number})
            out.mark_undone()
        rest = two.where(~gone)
        if into is not None:
            save_with(two, _without_links(rest.table, theirs), {**step, "undone": into.number})
            into.mark_undone()
        for name in set(two.table["file_name"][gone]) - set(rest.table["file_name"]):
            inside(joined, name).unlink(missing_ok=True)
    species = Counter(str(name) for name in two.table["species"][gone].dropna())
    return MoveResult(len(theirs), dict(species.most_common()), number=change.number)


def moved_with(folder: Path, change: Change, places: Iterable[Path] = ()) -> Path:
    """The other collection of a move; see ``undo_move``."""
    return _partner(folder, change, places)[0]


def _partner(folder: Path, change: Change, places: Iterable[Path]) -> tuple[Path, Change | None]:
    """The other collection of a move, and what it has written down of it; None where a crash came first."""
    recorded = Path(os.path.normpath(folder / str(change.content.get("partner", ""))))
    for place in (recorded, *sorted(folder.parent.iterdir()), *places):
        if place != folder and (place / "collection.json").is_file() and (its := change_with(place, change.content["token"])) is not None:
            return place, its
    if (recorded / "collection.json").is_file():
        return recorded, None
    raise InputError("the other collection of this move is not found", "Put it back, or restore it from the trash, first.", file=folder)


def _rows(collection: Collection, image_ids: Iterable[str] | None) -> np.ndarray:
    """Positions of the photographs: int64, ascending."""
    table = collection.table
    if image_ids is None:
        rows = np.arange(len(table))
    else:
        known = {image: row for row, image in enumerate(table["image_id"].tolist())}
        wanted = list(dict.fromkeys(image_ids))
        if missing := [image for image in wanted if image not in known]:
            raise UnknownNameError("image", missing[0], list(known))
        rows = np.array(sorted(known[image] for image in wanted), dtype=np.int64)
    if not len(rows):
        raise InputError("there is no photograph to be moved", "Choose some.", file=collection.root)
    synthetic = table["image_id"].iloc[rows][(table["origin"].iloc[rows] == "synthetic").to_numpy(dtype=bool)].tolist()
    if synthetic:
        raise InputError(f"{shown_list(synthetic, 3)}: synthetic, and stays in the collection that says how it was made", "Choose photographs only.",
                         file=collection.root)  # fmt: skip
    return rows


def _names(moved: Collection, other: Collection) -> tuple[dict[str, str], dict[str, str], dict[str, str | None]]:
    """For each species its name in the other collection, those that change, and those that are new there with what is spelt most alike."""
    there = {_plain(name): name for name in reversed(other.species)}
    names = {name: there.get(_plain(name), name) for name in sorted(set(moved.table["species"].dropna()))}
    renamed = {old: new for old, new in names.items() if old != new}
    new = [name for name in names.values() if name not in other.species]
    return names, renamed, {name: next(iter(get_close_matches(name, other.species, 1, 0.85)), None) for name in new}


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _near(moved: Collection, other: Collection) -> list[tuple[str, str]]:
    """Pairs of a photograph to be moved and one of the other collection that look nearly the same."""
    table = pd.concat([part.table[["sha256", "phash"]] for part in (moved, other)], ignore_index=True)
    count, whole = len(moved), [part.where(np.ones(len(part), dtype=bool)) for part in (moved, other)]
    for part in whole:
        part.table["box"] = None  # whole pictures are compared

    def thumbnails(rows: np.ndarray) -> np.ndarray:
        pixels = [*whole[0].iterate_pixels(THUMBNAIL, rows[rows < count]), *whole[1].iterate_pixels(THUMBNAIL, rows[rows >= count] - count)]
        return np.stack(pixels)

    pairs = near_duplicates(table, thumbnails)
    ids = [*moved.table["image_id"], *other.table["image_id"]]
    across = [(first, second) for first, second in zip(pairs["first"].tolist(), pairs["second"].tolist(), strict=True) if first < count <= second]
    return [(ids[first], ids[second]) for first, second in across]


def _unused(moved: Collection, other: Collection, near: Sequence[tuple[str, str]]) -> np.ndarray:
    """Which photographs belong to a test or validation photograph of the other collection: bool, one a row."""
    held = other.table[other.table["split"].isin(_HELD)]
    ids, groups = set(held["image_id"]), set(held["group"].dropna())
    linked = {one for one, there in near if there in ids}
    linked_groups = groups | set(moved.table["group"][moved.table["image_id"].isin(linked)].dropna())
    return (moved.table["image_id"].isin(linked) | moved.table["group"].isin(linked_groups)).to_numpy(dtype=bool)


def _move(
    one: Collection, other: Collection, moved: Collection, rows: np.ndarray, names: Mapping[str, str], unused: np.ndarray, who: str | None
) -> int:
    """Write both collections; returns the number of the change in the first. A crash in between leaves the photographs in both."""
    taken: Counter[str] = Counter(image.lower() for image in other.table["image_id"])
    ids = {image: unique_name(image, taken) for image in moved.table["image_id"]}
    files = _copied(one, other, moved)
    told = {"kind": "move", "who": who, "time": now(), "token": uuid.uuid4().hex, "ids": ids}
    table = moved.table.assign(
        image_id=[ids[image] for image in moved.table["image_id"]],
        file_name=[files[name] for name in moved.table["file_name"]],
        species=pd.array([None if pd.isna(name) else names[name] for name in moved.table["species"]], dtype="string"),
        split=pd.array([None if blocked else "train" for blocked in unused], dtype="string"),
        duplicate_of=pd.array([ids.get(first) if isinstance(first, str) else None for first in moved.table["duplicate_of"]], dtype="string"),
    )
    step = {"stage": "move", "num_images": len(moved), "who": who, "time": told["time"]}
    joined = new_change(other.root, {**told, "left": False, "partner": os.path.relpath(one.root, other.root), "rows": {}})
    sources = [*other.info.get("sources", []), *(item for item in one.info.get("sources", []) if item not in other.info.get("sources", []))]
    save_with(other, _joined(other.table, table), {**step, "change": joined, "from": one.name}, sources=sources)
    kept = {image: {**row, "position": int(place)} for (image, row), place in zip(_plain_rows(moved.table).items(), rows, strict=True)}
    left = new_change(one.root, {**told, "left": True, "partner": os.path.relpath(other.root, one.root), "rows": kept})
    rest = one.where(~np.isin(np.arange(len(one)), rows))
    save_with(one, _without_links(rest.table, set(ids)), {**step, "change": left, "to": other.name})
    for name in set(moved.table["file_name"]) - set(rest.table["file_name"]):
        place = one.root / _KEPT / f"{left:06d}" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(inside(one.root, name), place)
    return left


def _copied(one: Collection, other: Collection, moved: Collection) -> dict[str, str]:
    """The files in the other collection, as links where the disk allows it: for each name the new one."""
    files = {}
    for name in dict.fromkeys(moved.table["file_name"]):
        files[name] = _free(other.root, name)
        place = inside(other.root, files[name])
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(inside(one.root, name), place)
        except OSError:  # another disk, or one without links
            shutil.copyfile(inside(one.root, name), place)
    return files


def _free(root: Path, name: str) -> str:
    """The name, with a number behind it if a file of the collection is called so."""
    path, number = Path(name), 1
    while os.path.lexists(inside(root, name)):
        name, number = path.with_name(f"{path.stem}-{number}{path.suffix}").as_posix(), number + 1
    return name


def _bring_back(root: Path, number: int, rows: Sequence[dict[str, Any]]) -> None:
    """Put the files of photographs back to where they were; a row whose file's name was taken since gets the new name."""
    names: dict[str, str] = {}
    for row in rows:
        name = row["file_name"]
        kept = inside(root / _KEPT / f"{number:06d}", name)
        if name not in names and kept.is_file():
            names[name] = _free(root, name)
            inside(root, names[name]).parent.mkdir(parents=True, exist_ok=True)
            os.replace(kept, inside(root, names[name]))
        row["file_name"] = names.get(name, name)
    shutil.rmtree(root / _KEPT / f"{number:06d}", ignore_errors=True)


def _plain_rows(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """All values of the rows by image_id, as JSON has them."""
    cells = table.astype(object).where(table.notna(), None)
    found = {}
    for row in cells.to_dict("records"):
        found[str(row["image_id"])] = {str(column): value.item() if isinstance(value, np.generic) else value for column, value in row.items()}
    return found


def _with_rows(table: pd.DataFrame, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The table with rows put back to their places."""
    if not rows:
        return table
    order = list(range(len(table)))
    for number, row in sorted(enumerate(rows), key=lambda pair: pair[1]["position"]):
        order.insert(min(int(row["position"]), len(order)), len(table) + number)
    back = pd.DataFrame([{column: value for column, value in row.items() if column != "position"} for row in rows], dtype=object)
    return _joined(table, back).iloc[order].reset_index(drop=True)


def _joined(table: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """The rows of both; a further column that only one has is null for the others, and one of two types becomes text."""
    columns: dict[str, Any] = {}
    for column in (*table.columns, *(name for name in more.columns if name not in table)):
        parts = [part[column].astype(object).tolist() if column in part else [None] * len(part) for part in (table, more)]
        cells = pd.Series([None if cell is None or cell is pd.NA or cell != cell else cell for part in parts for cell in part], dtype=object)
        columns[column] = cells if column in COLUMNS else one_type(cells)
    return pd.DataFrame(columns)


def _without_links(table: pd.DataFrame, gone: set[str]) -> pd.DataFrame:
    """The table, in which no image is called the duplicate of one that is not there any more."""
    return table.assign(duplicate_of=table["duplicate_of"].where(~table["duplicate_of"].isin(gone)))

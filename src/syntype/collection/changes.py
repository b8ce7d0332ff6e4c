"""Changes of a collection after its import: one at a time, each written down, so that it can be taken back.

COLLECTION/changes/000001.json    what stood in the table before, and what stands there since; ``kind`` says who wrote it (``relabel`` without one)
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from syntype.collection.table import Collection
from syntype.errors import CollectionError
from syntype.files import write_json
from syntype.ownership import FolderLock

__all__ = ["Change", "change_with", "changing", "latest_change", "new_change", "now", "save_with"]

_CHANGES = "changes"


@dataclass(frozen=True)
class Change:
    """A change that was written down.

    Attributes:
        number: of the change, from 1.
        path: of its file.
        content: ``kind``, ``who``, ``time``, ``undone``, and what its kind needs to be taken back.
    """

    number: int
    path: Path
    content: dict[str, Any]

    @property
    def kind(self) -> str:
        """``relabel`` or ``move``."""
        return str(self.content.get("kind", "relabel"))

    def mark_undone(self) -> None:
        """Write down that it was taken back."""
        write_json(self.path, {**self.content, "undone": True})


def now() -> str:
    """The time of a change: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def changing(folder: Path | str) -> Iterator[Collection]:
    """The collection in a folder, to which no other process writes meanwhile.

    Raises:
        InputError: another command writes to it.
        CollectionError: it is no collection.
    """
    is_path = isinstance(folder, (str, os.PathLike))
    if not is_path or not (Path(folder) / "collection.json").is_file():
        Collection.open(folder, hashes=False)  # says what is wrong with it, before a lock is written there
    lock = FolderLock(Path(folder))
    try:
        yield Collection.open(folder, hashes=False)
    finally:
        lock.release()


def new_change(folder: Path, content: dict[str, Any]) -> int:
    """Write a change down, before the table changes: of a crash in between only this file is left, which is taken back without effect.

    Returns:
        its number.
    """
    number = len(_files(folder)) + 1
    (folder / _CHANGES).mkdir(exist_ok=True)
    write_json(folder / _CHANGES / f"{number:06d}.json", {**content, "undone": False})
    return number


def latest_change(folder: Path, fits: Callable[[Change], bool] = lambda change: True) -> Change | None:
    """The latest change that fits and has not been taken back; None if there is none.

    Raises:
        CollectionError: a file is damaged.
    """
    changes = (Change(number, path, _load(path)) for number, path in reversed(list(enumerate(_files(folder), 1))))
    return next((change for change in changes if not change.content["undone"] and fits(change)), None)


def change_with(folder: Path, token: str) -> Change | None:
    """The change of a collection that two collections share, if it has not been taken back."""
    return latest_change(folder, lambda change: change.content.get("token") == token)


def save_with(collection: Collection, table: pd.DataFrame, step: dict[str, Any], **info: Any) -> None:
    """Write a collection's table. Species that get their first photograph join the list, and those that lose their last one leave it.

    Args:
        step: for the history.
        info: further content of ``collection.json``.
    """
    had, has = set(collection.table["species"].dropna()), set(table["species"].dropna())
    kept = [name for name in collection.species if name not in had - has]
    new_names = sorted(has - set(kept))
    species = sorted([*kept, *new_names]) if kept == sorted(kept) else [*kept, *new_names]
    history = [*collection.info.get("history", []), step]
    Collection(collection.root, table, tuple(species), {**collection.info, **info, "history": history}).save()


def _files(folder: Path) -> list[Path]:
    return sorted((folder / _CHANGES).glob("[0-9]*.json"))


_NEEDS = {"relabel": ("before", "after"), "move": ("rows", "ids")}
"""What each kind needs to be taken back."""


def _load(path: Path) -> dict[str, Any]:
    try:
        change = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(change[key], dict) for key in _NEEDS[change.get("kind", "relabel")]) or not isinstance(change["undone"], bool):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise CollectionError(f"{path}: is damaged, so this change cannot be taken back. Remove the file to take back earlier ones.") from None
    return dict(change)

"""The trash: what was deleted lies there whole until it is restored, or deleted for good.

trash/ID/entry.json      what it was, its name, when it was deleted, and by whom
trash/ID/<name>.deleted  the thing itself
trash/.gone-ID           what is being deleted for good; a killed server leaves it, and the next one deletes it

Everything else that refers to a thing by its name (verdicts, quizzes, requests of jobs) refers to ``trash/ID`` while it lies here, so that a new
thing of the same name has nothing of the old one.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from syntype.apps.web.workspace import MARKS, SLUG, Workspace
from syntype.errors import UnknownNameError
from syntype.files import disk_problem, read_json_object, write_json

__all__ = ["IN_TRASH", "PLACES", "TRASH_ID", "Trash", "TrashEntry", "one"]

TRASH_ID = "^[0-9a-f]{32}$"
PLACES = (*MARKS, "uploads")
"""Kinds of things that can be deleted: the folders of the workspace in which they lie."""
IN_TRASH = "trash/"
"""How the key of a thing in the trash begins; its id follows. No name of a thing has a slash."""
_ENTRY = "entry.json"
_DELETED = ".deleted"
"""Ending of the folder of a thing in the trash, so that nobody who goes by the last part of a path takes it for a new thing of the name."""
_GONE = ".gone-"


@dataclass(frozen=True)
class TrashEntry:
    """Something in the trash.

    Attributes:
        place: kind of the thing, one of ``PLACES``.
        name: the name of its folder.
        deleted: seconds since 1970.
        folder: where it lies now.
        by: name of the account that deleted it; None where it was somebody without one.
    """

    id: str
    place: str
    name: str
    deleted: float
    folder: Path
    by: str | None = None

    @property
    def key(self) -> str:
        """What refers to it while it lies here."""
        return IN_TRASH + self.id


def one(place: str) -> str:
    """What a single thing of a place is called: ``collection``, ``generator``, ``study``, ``export`` or ``upload``."""
    return "study" if place == "studies" else place.removesuffix("s")


class Trash:
    """The trash of a workspace, as it lies on the disk. Links in it are not followed and not listed."""

    def __init__(self, workspace: Workspace) -> None:
        self._root = workspace.root / "trash"

    def entries(self) -> list[TrashEntry]:
        """All that lies in the trash, deleted last first."""
        found = [entry for name in self._names() if (entry := self._read(name)) is not None and entry.folder.is_dir()]
        return sorted(found, key=lambda entry: -entry.deleted)

    def find(self, number: str) -> TrashEntry:
        """One entry.

        Raises:
            UnknownNameError: there is none of this id.
        """
        entry = self._read(number) if number in self._names() else None
        if entry is None or not entry.folder.is_dir():
            raise UnknownNameError("item of the trash", number[:40], ())
        return entry

    def latest(self, place: str, name: str) -> TrashEntry | None:
        """What was deleted last under a name, if it lies here."""
        return next((entry for entry in self.entries() if (entry.place, entry.name) == (place, name)), None)

    def prepare(self, place: str, name: str, by: str | None = None) -> TrashEntry:
        """Write the entry of a thing that is about to be moved here. Until it is, ``sweep`` removes the entry."""
        number, now = uuid.uuid4().hex, time.time()
        (self._root / number).mkdir()
        write_json(self._root / number / _ENTRY, {"kind": place, "name": name, "deleted": now, **({"by": by} if by else {})})
        return TrashEntry(number, place, name, now, self._root / number / f"{name}{_DELETED}", by)

    def place_of(self, key: str) -> Path | None:
        """Where the thing of a key ``trash/ID`` lies or will lie; None if its entry is gone or damaged."""
        entry = self._read(key.removeprefix(IN_TRASH))
        return None if entry is None else entry.folder

    @staticmethod
    def name_of(folder: Path) -> str:
        """The name of the thing in a folder, in the trash or not."""
        return folder.name.removesuffix(_DELETED)

    def remove_empty(self, number: str) -> None:
        """Remove an entry whose thing lies here no longer, or not yet."""
        folder = self._root / number
        with suppress(OSError):
            if not [path for path in folder.iterdir() if path.is_dir()]:
                shutil.rmtree(folder)

    def give_up(self, entry: TrashEntry) -> None:
        """Take an entry out of the list, at once and whatever its size; ``destroy`` then frees its room."""
        os.rename(self._root / entry.id, self._root / f"{_GONE}{entry.id}")

    def destroy(self, number: str) -> None:
        """Delete the files of an entry that was given up.

        Raises:
            DiskError: a file cannot be deleted.
        """
        try:
            shutil.rmtree(self._root / f"{_GONE}{number}")
        except FileNotFoundError:
            return
        except OSError as error:
            raise disk_problem(error, self._root) or error from None

    def given_up(self) -> list[str]:
        """Ids of entries whose deletion for good has begun."""
        return [path.name.removeprefix(_GONE) for path in self._root.iterdir() if path.name.startswith(_GONE) and not path.is_symlink()]

    def sweep(self) -> None:
        """Remove entries that a killed server has prepared and not filled. Call it when no move is under way."""
        for name in self._names():
            self.remove_empty(name)

    def _names(self) -> list[str]:
        with os.scandir(self._root) as found:
            return sorted(entry.name for entry in found if re.fullmatch(TRASH_ID, entry.name) and entry.is_dir(follow_symlinks=False))

    def _read(self, number: str) -> TrashEntry | None:
        """The entry as its file has it; None if that is damaged. It names nothing outside of its own folder, whatever it says."""
        told = read_json_object(self._root / number / _ENTRY)
        place, name, when = told.get("kind"), told.get("name"), told.get("deleted")
        if place not in PLACES or not isinstance(name, str) or not re.fullmatch(SLUG, name) or not isinstance(when, (int, float)):
            return None
        folder = self._root / number / f"{name}{_DELETED}"
        by = told.get("by")
        return None if folder.is_symlink() else TrashEntry(number, place, name, float(when), folder, by if isinstance(by, str) else None)

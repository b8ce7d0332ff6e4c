"""Renames, deletes and restores the things of a workspace: collections, generators, identifiers, studies, exports and waiting uploads.

All three are moves. A thing has a key, which is its name or, in the trash, ``trash/ID``. A move

1. is written down in the table ``moves``;
2. moves the folder, in one step of the file system;
3. corrects the paths by which other things refer to it (``references.py``);
4. changes the key in the database (verdicts, quizzes, requests of jobs, titles) and takes the move off the list, in one transaction.

Every step can be done again. A server that finds a move on the list goes on with it, so that a kill at any moment leaves nothing half done: if the
folder had not been moved yet, it is moved now. No job can be created meanwhile, and no verdict is written to a table.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from syntype.apps.web.languages import N_, gettext, ngettext
from syntype.apps.web.queue import Queue, run_id
from syntype.apps.web.references import FIELDS, Dependent, base_of, dependents, redirect, sentences, unwritable
from syntype.apps.web.reviews import Reviews
from syntype.apps.web.sizes import Sizes
from syntype.apps.web.store import ACTIVE, Store, jobs, moves, quizzes, verdicts
from syntype.apps.web.titles import Titles, as_slug
from syntype.apps.web.trash import IN_TRASH, PLACES, Trash, TrashEntry, one
from syntype.apps.web.uploads import Uploads
from syntype.apps.web.words import listed
from syntype.apps.web.workspace import KINDS, MARKS, SLUG, Kind, NameTakenError, Workspace
from syntype.errors import CollectionError, InputError, UnknownNameError, UserError
from syntype.files import disk_problem, read_json_object, write_json
from syntype.ownership import LOCK, FolderLock

__all__ = ["Storage", "Thing"]

_log = logging.getLogger("syntype.studio")


@dataclass(frozen=True)
class Thing:
    """Something that takes room.

    Attributes:
        place: its kind, one of ``PLACES``.
        name: of its folder.
        title: what people call it.
        finished: whether it is whole, so that it has a page; else a job left it unfinished.
    """

    place: str
    name: str
    title: str
    folder: Path
    finished: bool


class Storage:
    """What a workspace holds and what its trash holds. Safe to use from several threads.

    Attributes:
        sizes: how much room things take.
        titles: what people call them.
        trash: what was deleted.
    """

    def __init__(self, workspace: Workspace, store: Store, reviews: Reviews, queue: Queue, uploads: Uploads) -> None:
        self._workspace, self._store, self._reviews, self._queue, self._uploads = workspace, store, reviews, queue, uploads
        self.sizes, self.titles, self.trash = Sizes(), Titles(store), Trash(workspace)
        self._lock = threading.Lock()
        self._unsettled = True

    def things(self) -> list[Thing]:
        """Everything that takes room: what is finished, what jobs have left unfinished, and uploads that are not imported yet."""
        found = []
        for place in PLACES:
            with os.scandir(self._workspace.root / place) as entries:
                names = [entry.name for entry in entries if re.fullmatch(SLUG, entry.name) and entry.is_dir(follow_symlinks=False)]
            found += [thing for name in sorted(names) if (thing := self._thing(place, name)) is not None]
        return found

    def thing(self, place: str, name: str) -> Thing:
        """One thing.

        Raises:
            UnknownNameError: there is none of this name.
            UserError: it lies in the trash, or is a link.
        """
        folder = self._workspace.root / place / name
        if not re.fullmatch(SLUG, name) or not (thing := self._thing(place, name)):
            if re.fullmatch(SLUG, name) and folder.is_symlink():
                raise CollectionError(gettext("{name} is a link. Remove it by hand, or replace it with what it leads to.", name=repr(name)))
            if self.trash.latest(place, name) is not None:
                raise UnknownNameError(one(place), name[:80], (), "It is in the trash: restore it on the page Storage.")
            raise UnknownNameError(one(place), name[:80], [thing.name for thing in self.things() if thing.place == place])
        self._workspace.inside(folder)
        return thing

    def dependents(self, thing: Thing) -> list[Dependent]:
        """What was made from a thing."""
        return dependents(self._workspace, self.trash, thing.folder)

    def told_dependents(self, thing: Thing | TrashEntry) -> list[str]:
        """The same in sentences, and the jobs that could not be taken up again without it."""
        told = sentences(dependents(self._workspace, self.trash, thing.folder))
        key = thing.key if isinstance(thing, TrashEntry) else thing.name
        waiting = [str(row.id) for row in self._jobs(("cancelled", "failed")) if _reads(row, thing.place, key)]
        if waiting and isinstance(thing, Thing):
            told.append(
                ngettext(
                    "Job {jobs}, cancelled or failed, cannot be resumed without it.",
                    "Jobs {jobs}, cancelled or failed, cannot be resumed without it.",
                    len(waiting),
                    jobs=", ".join(waiting[-5:]),
                )
            )
        return told

    def in_use(self, thing: Thing) -> str | None:
        """Why a thing must stay as it is for now, in one line; None if it need not."""
        for row in self._jobs(ACTIVE):
            if (row.place, row.slug) == (thing.place, thing.name):
                return gettext("job {job} makes it. Wait until the job has ended, or cancel it", job=str(row.id))
            generator = row.request.get("generator")
            through = thing.place == "generators" and isinstance(generator, str) and self._base(generator) == thing.folder
            if through or _reads(row, thing.place, thing.name):
                return gettext("job {job} reads it. Wait until the job has ended, or cancel it", job=str(row.id))
        return None

    def kept_by(self, thing: Thing) -> str | None:
        """Why a thing cannot be deleted for as long as others need it, in one line; None if none does."""
        names = [item.name for item in self.dependents(thing) if item.needs and not item.trashed]
        if not names:
            return None
        return ngettext(
            "the generator {names} cannot draw without it. Delete that first", "the generators {names} cannot draw without it. Delete those first",
            len(names), names=listed(names),
        )  # fmt: skip

    def named_by(self, thing: Thing) -> str | None:
        """Why a thing cannot have another name, in one line; None if it can."""
        names = [item.name for item in self.dependents(thing) if item.unfinished]
        if not names:
            return None
        return gettext("the unfinished study {name} finds it by its name. Let that study finish, or delete it, first", name=names[0])

    @contextmanager
    def changing(self, place: str, name: str, *others: str) -> Iterator[Path]:
        """The folder of a thing whose content is changed meanwhile; ``others``: things of the same kind that are changed with it.

        Raises:
            UnknownNameError: there is none of this name.
            UserError: it lies in the trash, is a link, or a job reads or makes it.
        """
        with self._still():
            for one_name in (*others, name):
                thing = self.thing(place, one_name)
                self._refuse(thing, N_("{name} cannot be changed: {why}."), self.in_use(thing))
            yield thing.folder

    def rename(self, place: str, name: str, typed: str) -> Thing:
        """Give a thing another name. What was made from it, its verdicts and the records of jobs go along.

        Args:
            typed: the new name as people write it; the folder is called ``as_slug(typed)``.

        Raises:
            UnknownNameError, InputError, UserError: there is no such thing, the name is taken or cannot be one, or the thing is in use.
        """
        with self._still():
            thing = self.thing(place, name)
            slug = name if place == "uploads" else as_slug(typed)
            if slug == name:
                self.titles.set(place, name, typed)
                return self.thing(place, name)
            self._refuse(thing, N_("{name} cannot be renamed: {why}."), self.in_use(thing) or self.named_by(thing))
            self._require_free(place, slug)
            self._move(thing.folder, place, name, slug, typed)
            return self.thing(place, slug)

    def delete(self, place: str, name: str, by: str | None = None) -> TrashEntry:
        """Move a thing to the trash, with its verdicts.

        Args:
            by: the name of the account that deletes it.

        Raises:
            UnknownNameError, UserError: there is no such thing, it is in use, or others need it.
        """
        with self._still():
            thing = self.thing(place, name)
            self._refuse(thing, N_("{name} cannot be deleted: {why}."), self.in_use(thing) or self.kept_by(thing))
            entry = self.trash.prepare(place, name, by)
            try:
                self._move(thing.folder, place, name, entry.key, None)
            except Exception:
                self.trash.remove_empty(entry.id)
                raise
            return entry

    def restore(self, number: str, typed: str | None = None) -> Thing:
        """Take something out of the trash, with its verdicts.

        Args:
            typed: another name for it; None: the one that it had.

        Raises:
            UnknownNameError: there is nothing of this id.
            InputError: its name is taken; give another one.
        """
        with self._still():
            entry = self.trash.find(number)
            slug = entry.name if typed is None or entry.place == "uploads" else as_slug(typed)
            if entry.place == "generators":
                self._require_base(entry)
            self._require_free(entry.place, slug)
            if slug != entry.name and any(item.unfinished for item in dependents(self._workspace, self.trash, entry.folder)):
                raise InputError(
                    gettext("an unfinished study finds {name} by its name", name=repr(entry.name)),
                    gettext("Restore it under this name, or delete that study first."),
                )
            if entry.place == "uploads":
                os.utime(entry.folder)  # its week begins again
            self._move(entry.folder, entry.place, entry.key, slug, typed)
            self.trash.remove_empty(number)
            return self.thing(entry.place, slug)

    def destroy(self, number: str) -> None:
        """Delete something in the trash for good, with its verdicts.

        Raises:
            UnknownNameError: there is nothing of this id.
            DiskError: a file cannot be deleted.
        """
        with self._still():
            self.trash.give_up(self.trash.find(number))
        self._bury(number)

    def settle(self) -> None:
        """Complete what a killed server, or a full disk, has left half done. Call it before the first request.

        What cannot be completed now is logged and tried again before the next change: a full disk keeps nobody from looking.
        """
        try:
            with self._still():
                self.trash.sweep()
                given_up = self.trash.given_up()
            for number in given_up:
                self._bury(number)
        except Exception as error:
            _log.warning("an earlier change waits to be completed: %s", disk_problem(error, self._workspace.root) or error)

    def require_settled(self) -> None:
        """Complete a move that an error has interrupted, before something new may take the name of what was moved."""
        if self._unsettled:
            with self._still():
                pass

    @contextmanager
    def _still(self) -> Iterator[None]:
        """Nothing else is moved, no job is created, no verdict is written to a table and no file enters an upload; earlier moves are complete."""
        with self._lock, self._queue.entering, self._reviews.applying, self._uploads.lock:
            if self._unsettled:
                with self._store.reading() as connection:
                    begun = list(connection.execute(select(moves)))
                for row in begun:
                    self._carry_out(row)
                self._unsettled = False
            yield

    def _bury(self, number: str) -> None:
        """Delete what was given up: its files first, as that gives the database room on a full disk."""
        self.trash.destroy(number)
        with self._store.writing() as connection:
            connection.execute(delete(verdicts).where(verdicts.c.collection == IN_TRASH + number))
            for place in PLACES:
                Titles.write(connection, place, IN_TRASH + number, None)
        self.titles.forget()

    def _thing(self, place: str, name: str) -> Thing | None:
        folder = self._workspace.root / place / name
        finished = place == "uploads" or (folder / MARKS[place]).is_file()  # type: ignore[index]
        if folder.is_symlink() or not folder.is_dir() or not (finished or read_json_object(folder / "run.json").get("run_id")):
            return None
        return Thing(place, name, self.titles.of(place, name), folder, finished)

    def _jobs(self, statuses: tuple[str, ...]) -> list[Row[Any]]:
        with self._store.reading() as connection:
            return list(connection.execute(select(jobs).where(jobs.c.status.in_(statuses)).order_by(jobs.c.id)))

    def _base(self, generator: str) -> Path | None:
        folder = self._workspace.root / "generators" / generator
        return base_of(folder, folder) if re.fullmatch(SLUG, generator) else None

    def _refuse(self, thing: Thing, what: str, why: str | None) -> None:
        if why is not None:
            raise UserError(gettext(what, name=repr(thing.name), why=why))

    def _require_free(self, place: str, slug: str) -> None:
        if os.path.lexists(self._workspace.root / place / slug):
            raise NameTakenError(gettext("{kind} {name} exists already", kind=gettext(one(place)), name=repr(slug)), gettext("Choose another name."))
        for row in self._jobs(ACTIVE):
            if (row.place, row.slug) == (place, slug):
                raise NameTakenError(gettext("job {job} already makes {name}", job=str(row.id), name=repr(slug)), gettext("Choose another name."))

    def _require_base(self, entry: TrashEntry) -> None:
        """Check that the generator that another one was adapted from is not gone or in the trash itself."""
        live = self._workspace.root / "generators" / entry.name
        base = base_of(entry.folder, live)
        if base is None or ((base / "generator.json").is_file() and not base.is_relative_to(self._workspace.root / "trash")):
            return
        name = Trash.name_of(base)
        if (base / "generator.json").is_file():
            raise InputError(
                gettext("it was adapted from the generator {name}, which is in the trash too", name=repr(name)),
                gettext("Restore {name} first.", name=repr(name)),
            )
        raise InputError(
            gettext("it was adapted from the generator {name}, which is gone for good", name=repr(name)), gettext("It cannot be used again.")
        )

    def _move(self, folder: Path, place: str, source: str, target: str, title: str | None) -> None:
        self._workspace.inside(folder)
        if place in KINDS and (fixed := unwritable(self._workspace, self.trash, folder)) is not None:
            reason = f"{one(place)} {Trash.name_of(folder)!r} is named in {fixed}, where nothing may be written"
            raise InputError(reason, gettext("Change the permissions of that folder first."))
        lock = None if place == "uploads" else FolderLock(folder)
        try:
            with self._store.writing() as connection:
                wanted = {"id": uuid.uuid4().hex, "place": place, "source": source, "target": target, "title": title, "inode": _inode(folder)}
                row = connection.execute(insert(moves).values(**wanted).returning(*moves.c)).one()
            self._unsettled = True
            self._carry_out(row)
            self._unsettled = False
        finally:
            if lock is not None:
                lock.release()

    def _path(self, place: str, key: str) -> Path | None:
        return self.trash.place_of(key) if key.startswith(IN_TRASH) else self._workspace.root / place / key

    def _carry_out(self, row: Row[Any]) -> None:
        """Steps 2 to 4 of a move, of which any may have been done before."""
        old, new = self._path(row.place, row.source), self._path(row.place, row.target)
        moved = False
        if old is not None and new is not None and _inode(old) == row.inode and not os.path.lexists(new):
            try:
                os.rename(old, new)
                moved = True
            except OSError as error:
                self._take_off(row)
                if error.errno == errno.EXDEV:
                    raise InputError(
                        gettext("{name} lies on another disk than the trash", name=repr(row.source)), gettext("Move it by hand.")
                    ) from None
                raise disk_problem(error, old) or error from None
        if old is None or new is None or not (moved or _inode(new) == row.inode):
            self._take_off(row)  # somebody has changed it by hand meanwhile
            return
        (new / LOCK).unlink(missing_ok=True)
        if row.place in KINDS:
            redirect(self._workspace, self.trash, old, new, self._rename_collection(row.place, old, new))
        with self._store.writing() as connection:
            self._change_keys(connection, row, new)
            connection.execute(delete(moves).where(moves.c.id == row.id))
        self.titles.forget()
        self._reviews.forget(row.source, row.target)
        self._uploads.forget(row.source)

    def _take_off(self, row: Row[Any]) -> None:
        with self._store.writing() as connection:
            connection.execute(delete(moves).where(moves.c.id == row.id))

    @staticmethod
    def _rename_collection(place: str, old: Path, new: Path) -> tuple[str, str] | None:
        """Write a collection's new name into it, where it was called as its folder; the two names, None if the name stays."""
        before, after = Trash.name_of(old), Trash.name_of(new)
        if place != "collections" or before == after:
            return None
        info = read_json_object(new / "collection.json")
        if info.get("name") == before:
            write_json(new / "collection.json", {**info, "name": after})
        return before, after

    def _change_keys(self, connection: Connection, row: Row[Any], folder: Path) -> None:
        place, source, target = row.place, row.source, row.target
        Titles.move(connection, place, source, target)
        if row.title is not None:
            Titles.write(connection, place, target, row.title)
        if place == "collections":
            connection.execute(update(verdicts).where(verdicts.c.collection == source).values(collection=target))
            for quiz in connection.execute(select(quizzes.c.id, quizzes.c["items"])).all():
                items = [[target if name == source else name, *rest] for name, *rest in quiz.items]
                if items != quiz.items:
                    connection.execute(update(quizzes).where(quizzes.c.id == quiz.id).values(items=items))
        made_by = read_json_object(folder / "run.json").get("run_id")
        for job in connection.execute(select(jobs)).all():
            request = {name: target if FIELDS.get(name) == place and value == source else value for name, value in job.request.items()}
            slug = job.slug
            if place == job.place and not target.startswith(IN_TRASH) and made_by == run_id(job) and not self._has_made(job, folder):
                slug = target
                request["name"] = target
            if (request, slug) != (job.request, job.slug):
                connection.execute(update(jobs).where(jobs.c.id == job.id).values(request=request, slug=slug))

    def _has_made(self, job: Row[Any], other: Path) -> bool:
        """Whether a folder of the job's own name is its result, rather than another one."""
        place: Kind = job.place
        own = self._workspace.root / place / job.slug
        return own != other and read_json_object(own / "run.json").get("run_id") == run_id(job)


def _inode(folder: Path) -> str:
    """What tells a folder from another one of its name; empty if it is not there."""
    return str(folder.stat().st_ino) if folder.is_dir() and not folder.is_symlink() else ""


def _reads(job: Row[Any], place: str, key: str) -> bool:
    return any(FIELDS.get(name) == place and value == key for name, value in job.request.items())

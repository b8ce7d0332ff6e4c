"""Expert decisions in the database: saved, undone, compared, and written into collections' tables."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from syntype.apps.web.store import Store, reviewers, verdicts
from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection
from syntype.collection.experts import Decision, ExpertResult, Vote, apply_votes, cohen_kappa
from syntype.errors import SyntypeError, UserError
from syntype.files import disk_problem
from syntype.ownership import FolderLock

__all__ = ["Reviews"]

REST_SECONDS = 3.0
"""A collection's table is updated once no decision was made about it for this many seconds."""
_log = logging.getLogger("syntype.studio")


class Reviews:
    """What reviewers decided about the images of a workspace. Safe to use from several threads.

    Attributes:
        applying: held while decisions are written into a collection's table.
    """

    def __init__(self, store: Store, workspace: Workspace) -> None:
        self._store, self._workspace = store, workspace
        self._applied: dict[str, tuple[int, int]] = {}
        self.applying = threading.Lock()
        self._ids: dict[str, int] = {}
        self._told: dict[str, str] = {}

    def decide(
        self, collection: str, image_id: str, sha256: str | None, reviewer: str, decision: Decision, reason: str | None, key: str | None
    ) -> int:
        """Record a decision; it replaces an earlier one of this reviewer on this image. On the disk when this returns.

        Args:
            key: of the sender's choice; a decision with a key that is known already is not recorded again.

        Returns:
            The decision's number.
        """
        number = self._reviewer(reviewer)
        values = {"key": key, "collection": collection, "image_id": image_id, "sha256": sha256, "reviewer": number}
        try:
            with self._store.writing() as connection:
                new = insert(verdicts).values(**values, decision=decision, reason=reason, decided=time.time()).returning(verdicts.c.id)
                return int(connection.execute(new).scalar_one())
        except IntegrityError:  # sent again because the response was lost
            with self._store.reading() as connection:
                known = connection.execute(select(verdicts).where(verdicts.c.key == key)).one_or_none()
            if known is None:
                raise
            if (known.collection, known.image_id, known.reviewer, known.decision) != (collection, image_id, number, decision):
                raise UserError("this key was sent with another decision. Use a new key for each decision.") from None
            return int(known.id)

    def decide_together(
        self, collection: str, images: Sequence[tuple[str, str | None]], reviewer: str, decision: Decision, reason: str | None, key: str
    ) -> None:
        """Record one decision about several images, which ``undo`` takes back together. On the disk when this returns: all of them, or none.

        Args:
            images: image_id and sha256 of each.
            key: as for ``decide``. (In the log every image has it, with a dot and a number behind it.)
        """
        number, now = self._reviewer(reviewer), time.time()
        shared = {"collection": collection, "reviewer": number, "decision": decision, "reason": reason, "decided": now}
        rows = [{**shared, "key": f"{key}.{place}", "image_id": image, "sha256": sha256} for place, (image, sha256) in enumerate(images)]
        try:
            with self._store.writing() as connection:
                connection.execute(insert(verdicts), rows)
        except IntegrityError:  # sent again because the response was lost
            with self._store.reading() as connection:
                known = connection.execute(select(verdicts).where(verdicts.c.key == rows[0]["key"])).one_or_none()
            if known is None:
                raise
            if (known.collection, known.image_id, known.reviewer, known.decision) != (collection, images[0][0], number, decision):
                raise UserError("this key was sent with another decision. Use a new key for each decision.") from None

    def undo(self, collection: str, reviewer: str) -> dict[str, Any] | None:
        """Undo this reviewer's latest decision on the collection that still holds; returns it, or None if there is none.

        Returns:
            the decision; ``together``: of how many images it was taken back, None if it was made about one alone.
        """
        own = self._own(collection, reviewer)
        latest = select(func.max(verdicts.c.id)).where(own)
        with self._store.writing() as connection:
            row = connection.execute(select(verdicts).where(verdicts.c.id == latest.scalar_subquery()).with_for_update()).one_or_none()
            if row is None:
                return None
            shared, dot, _ = (row.key or "").partition(".")
            which = and_(own, verdicts.c.key.startswith(f"{shared}.", autoescape=True)) if dot else verdicts.c.id == row.id
            num = connection.execute(update(verdicts).where(which).values(undone=time.time())).rowcount
        return {"id": row.id, "image_id": row.image_id, "decision": row.decision, "reason": row.reason, "together": num if dot else None}

    def votes(self, collection: str, images: Iterable[str] | None = None) -> dict[str, dict[str, Row[Any]]]:
        """The decisions that hold, by image and by reviewer.

        Args:
            images: only of these (a page of them); None for all of the collection.
        """
        found: dict[str, dict[str, Row[Any]]] = {}
        for row in self.standing(collection, images):
            found.setdefault(row.image_id, {})[row.name] = row
        return found

    def own(self, collection: str, reviewer: str, before: int | None, count: int) -> list[Row[Any]]:
        """A reviewer's latest decisions that hold, newest first.

        Args:
            before: only those with a lower number.
        """
        latest = select(func.max(verdicts.c.id).label("id")).where(self._own(collection, reviewer)).group_by(verdicts.c.image_id).subquery()
        wanted = select(verdicts).join(latest, verdicts.c.id == latest.c.id).order_by(verdicts.c.id.desc()).limit(count)
        if before is not None:
            wanted = wanted.where(verdicts.c.id < before)
        with self._store.reading() as connection:
            return list(connection.execute(wanted))

    def _own(self, collection: str, reviewer: str) -> ColumnElement[bool]:
        """A reviewer's decisions about a collection that were not undone."""
        return and_(verdicts.c.collection == collection, verdicts.c.reviewer == self._reviewer(reviewer), verdicts.c.undone.is_(None))

    def standing(self, collection: str, images: Iterable[str] | None = None) -> list[Row[Any]]:
        """The decisions that hold, oldest first: of each image and reviewer the latest that was not undone. ``images``: only of these."""
        of = [verdicts.c.collection == collection, verdicts.c.undone.is_(None)]
        if images is not None:
            of.append(verdicts.c.image_id.in_(list(images)))
        latest = select(func.max(verdicts.c.id)).where(*of).group_by(verdicts.c.image_id, verdicts.c.reviewer)
        wanted = (
            select(verdicts, reviewers.c.name)
            .join(reviewers, verdicts.c.reviewer == reviewers.c.id)
            .where(verdicts.c.id.in_(latest))
            .order_by(verdicts.c.id)
        )
        with self._store.reading() as connection:
            return list(connection.execute(wanted))

    def agreement(self, collection: str) -> dict[str, Any]:
        """How many images each reviewer judged, and for each two of them how many they share and Cohen's kappa."""
        by_reviewer: dict[str, dict[str, str]] = {}
        for row in self.standing(collection):
            by_reviewer.setdefault(row.name, {})[row.image_id] = row.decision
        pairs = [
            {
                "reviewers": [first, second],
                "num_shared": len(by_reviewer[first].keys() & by_reviewer[second].keys()),
                "kappa": cohen_kappa(by_reviewer[first], by_reviewer[second]),
            }
            for first, second in combinations(sorted(by_reviewer), 2)
        ]
        counts = {name: {word: list(votes.values()).count(word) for word in sorted(set(votes.values()))} for name, votes in by_reviewer.items()}
        return {"reviewers": counts, "pairs": pairs}

    def apply(self, collection: str) -> ExpertResult:
        """Bring the collection's table up to date with what its reviewers decided.

        Raises:
            UnknownNameError, CollectionError: there is no such collection, or it is damaged.
            InputError: another program is writing to it.
        """
        folder = self._workspace.find("collections", collection)
        with self.applying:
            mark = self._marks(collection).get(collection)
            if mark is None:  # nobody has judged it: nothing is written, so that it need not be locked
                return apply_votes(Collection.open(folder), ())
            with self._store.reading() as connection:
                of = verdicts.c.collection == collection
                known = set(connection.scalars(select(verdicts.c.image_id).where(of).distinct()))
            votes = [Vote(row.image_id, row.sha256, row.name, row.decision) for row in self.standing(collection)]
            lock = FolderLock(folder)
            try:  # the table is read when it is locked, so that what another program has written stays
                result = apply_votes(Collection.open(folder), votes, withdrawn=known - {vote.image_id for vote in votes})
            finally:
                lock.release()
            self._applied[collection] = mark
        return result

    def apply_rested(self, rest: float = REST_SECONDS) -> None:
        """Bring every collection up to date whose reviewers have paused, so that other programs find their verdicts in the table.

        One that cannot be written now (another program is writing to it, it is damaged, the disk is full) is tried again by the next call.
        """
        pending = {collection: mark for collection, mark in self._marks().items() if self._applied.get(collection) != mark}
        if not pending:
            return
        with self._store.reading() as connection:
            recent = max(time.time() - rest, 0)
            busy = set(
                connection.scalars(select(verdicts.c.collection).where((verdicts.c.decided > recent) | (verdicts.c.undone > recent)).distinct())
            )
        there = set(self._workspace.slugs("collections"))
        for collection in pending.keys() - busy & there:
            try:
                self.apply(collection)
                self._told.pop(collection, None)
            except (SyntypeError, OSError) as error:
                told = str(disk_problem(error, self._workspace.root / "collections" / collection) or error)
                if self._told.get(collection) != told:
                    _log.warning("verdicts about %s wait in the database: %s", collection, told)
                self._told[collection] = told

    def forget(self, *collections: str) -> None:
        """Take what is known about the tables of some collections as unknown, as they have been moved."""
        for collection in collections:
            self._applied.pop(collection, None)
            self._told.pop(collection, None)

    def withdraw(self, number: int) -> None:
        """Take a decision off the log that was sent while its collection was being moved."""
        with self._store.writing() as connection:
            connection.execute(delete(verdicts).where(verdicts.c.id == number))

    def withdraw_together(self, key: str) -> None:
        """The same for a decision about several images."""
        with self._store.writing() as connection:
            connection.execute(delete(verdicts).where(verdicts.c.key.startswith(f"{key}.", autoescape=True)))

    def _marks(self, collection: str | None = None) -> dict[str, tuple[int, int]]:
        """For each collection how many decisions were ever made about it, and how many undone: this changes with every change."""
        wanted = select(verdicts.c.collection, func.count(), func.count(verdicts.c.undone)).group_by(verdicts.c.collection)
        if collection is not None:
            wanted = wanted.where(verdicts.c.collection == collection)
        with self._store.reading() as connection:
            return {name: (made, undone) for name, made, undone in connection.execute(wanted)}

    def _reviewer(self, name: str) -> int:
        """The reviewer's number; a new one is entered."""
        if name not in self._ids:
            wanted = select(reviewers.c.id).where(reviewers.c.name == name)
            with self._store.reading() as connection:
                number = connection.scalar(wanted)
            if number is None:
                try:
                    with self._store.writing() as connection:
                        connection.execute(insert(reviewers).values(name=name))
                except IntegrityError:  # added by another request at the same moment
                    pass
                with self._store.reading() as connection:
                    number = connection.scalar(wanted)
            self._ids[name] = int(number or 0)
        return self._ids[name]

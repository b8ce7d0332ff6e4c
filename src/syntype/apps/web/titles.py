"""Names as people type them: "Riffe im Überblick" is the title of the thing whose folder is ``riffe-im-uberblick``."""

from __future__ import annotations

import hashlib
import re
import threading
import unicodedata
from typing import Annotated

from pydantic import StringConstraints
from sqlalchemy import Connection, delete, insert, select, update

from syntype.apps.web.languages import gettext
from syntype.apps.web.store import Store, titles
from syntype.errors import InputError

__all__ = ["Titles", "Typed", "as_slug"]

Typed = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A name as people type it."""
_LONGEST = 63
_LETTERS = str.maketrans({"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})
"""Letters that Unicode does not take apart into a plain letter and a mark."""


def as_slug(typed: str) -> str:
    """The name of the folder of a thing that people call so: small letters, digits, hyphens and underscores.

    Raises:
        InputError: it has neither letter nor digit.

    Example:
        >>> as_slug("Reef fish 2026"), as_slug("Éponges & coraux")
        ('reef-fish-2026', 'eponges-coraux')
    """
    plain = unicodedata.normalize("NFKD", typed.casefold().translate(_LETTERS)).encode("ascii", "ignore").decode()
    slug = re.sub("[^a-z0-9_]+", "-", plain).strip("-_")[:_LONGEST].strip("-_")
    if slug:
        return slug
    if not any(letter.isalnum() for letter in typed):
        raise InputError(gettext("{typed} cannot be a name", typed=repr(typed[:80])), gettext("Write it with letters or digits."))
    return f"n-{hashlib.sha256(typed.encode()).hexdigest()[:12]}"  # another script: the title says what it is


class Titles:
    """The titles of a workspace's things. They are few, so all are remembered. Safe to use from several threads."""

    def __init__(self, store: Store) -> None:
        self._store, self._lock = store, threading.Lock()
        self._known: dict[tuple[str, str], str] | None = None

    def of(self, place: str, key: str) -> str:
        """What people call a thing; the name of its folder if they call it nothing else."""
        return self._all().get((place, key), key)

    def set(self, place: str, key: str, title: str | None) -> None:
        """Give a thing a title; None or the key itself: none."""
        with self._store.writing() as connection:
            self.write(connection, place, key, title)
        self.forget()

    @staticmethod
    def write(connection: Connection, place: str, key: str, title: str | None) -> None:
        """The same inside a transaction; call ``forget`` after it."""
        connection.execute(delete(titles).where(titles.c.place == place, titles.c.slug == key))
        if title and title != key:
            connection.execute(insert(titles).values(place=place, slug=key, title=title))

    @staticmethod
    def move(connection: Connection, place: str, source: str, target: str) -> None:
        """A thing has another key now; call ``forget`` after the transaction."""
        connection.execute(delete(titles).where(titles.c.place == place, titles.c.slug == target))
        connection.execute(update(titles).where(titles.c.place == place, titles.c.slug == source).values(slug=target))

    def forget(self) -> None:
        """Read the titles again when they are needed."""
        with self._lock:
            self._known = None

    def _all(self) -> dict[tuple[str, str], str]:
        with self._lock:
            if self._known is None:
                with self._store.reading() as connection:
                    self._known = {(row.place, row.slug): row.title for row in connection.execute(select(titles))}
            return self._known

"""Accounts: people with a name, a role and a password, the links that invite them, and the sessions in which they are signed in.

All of it lies in the database. Of a password a slow hash is kept, of a link and of a session's cookie a SHA-256, so that nobody who reads the
database can use them. A link works once, for somebody who was invited or who has forgotten the password: whoever opens it chooses a password.
"""

from __future__ import annotations

import hashlib
import secrets
import time
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection, Row, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from syntype.apps.web.languages import N_, gettext
from syntype.apps.web.passwords import UNKNOWN, hash_password, is_password
from syntype.apps.web.roles import Role
from syntype.apps.web.store import Store, people, reviewers, signed_in
from syntype.errors import InputError, UnknownNameError, UserError

__all__ = ["IDLE_SECONDS", "SESSION_SECONDS", "Account", "Accounts", "Person"]

SESSION_SECONDS = 30 * 86400
"""A session ends so long after the sign-in ..."""
IDLE_SECONDS = 12 * 3600
"""... or after so long without use."""
_MARK = "~"
"""How the cookie of an account's session begins; that of the token's sessions never does."""
_JOINERS = "\u200c\u200d"
_SEEN_SECONDS = 60
"""So long the time of the last request may lag behind, so that not every request writes."""
_GONE = N_("this link is of no use any more: it was used, has expired, or was replaced by a newer one. Ask an owner of this Studio for a new link.")


@dataclass(frozen=True)
class Account:
    """Who is signed in. ``session``: the session's id, which is not secret; ``person``: the account's number."""

    session: str
    person: int
    name: str
    role: Role


class Person(BaseModel, frozen=True):
    """An account as owners see it.

    Attributes:
        joined: a password was chosen.
        link_until: when the link expires that was made last, in seconds since 1970; None if it was used, or there is none.
        seen: when a request came last; None if never.
        sessions: browsers that are signed in.
    """

    id: int
    name: str
    role: Role
    joined: bool
    link_until: float | None
    seen: float | None
    sessions: int


class Accounts:
    """The accounts of a Studio. Safe to use from several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def exist(self) -> bool:
        """Whether anybody can sign in with a name."""
        with self._store.reading() as connection:
            return connection.scalar(select(people.c.id).where(people.c.password.is_not(None)).limit(1)) is not None

    def list(self) -> list[Person]:
        """All accounts, by name."""
        with self._store.reading() as connection:
            return [_person(row) for row in connection.execute(_shown().order_by(people.c.name))]

    def find(self, number: int) -> Person:
        """One account.

        Raises:
            UnknownNameError: there is none of this number.
        """
        with self._store.reading() as connection:
            row = connection.execute(_shown().where(people.c.id == number)).one_or_none()
        if row is None:
            raise UnknownNameError("person", str(number), ())
        return _person(row)

    def has_name(self, name: str) -> bool:
        """Whether an account is called so; upper and lower case do not matter."""
        with self._store.reading() as connection:
            return connection.scalar(select(people.c.id).where(people.c.key == _key(name))) is not None

    def has_judged(self, name: str) -> bool:
        """Whether there are verdicts under a name."""
        with self._store.reading() as connection:
            return connection.scalar(select(reviewers.c.id).where(reviewers.c.name == _tidy(name))) is not None

    def invite(self, name: str, role: Role, seconds: float) -> tuple[int, str]:
        """Make an account, and the link's secret part with which its password can be chosen, for so many seconds.

        Returns:
            The account's number, and the secret.

        Raises:
            InputError: the name is taken, or has neither letter nor digit.
        """
        secret, name = _secret(), _tidy(name)
        if not any(letter.isalnum() for letter in name):
            raise InputError(gettext("{typed} cannot be a name", typed=repr(name)), gettext("Write it with letters or digits."))
        values = {"name": name, "key": _key(name), "role": role, "created": time.time(), "link": _hash(secret), "link_until": time.time() + seconds}
        try:
            with self._store.writing() as connection:
                return int(connection.execute(insert(people).values(**values).returning(people.c.id)).scalar_one()), secret
        except IntegrityError:
            taken = gettext("{name} has an account already", name=repr(name))
            raise InputError(taken, gettext("Choose another name, or make a new link for this person.")) from None

    def new_link(self, number: int, seconds: float) -> str:
        """Another secret for a link of an account; the one before is of no use any more. The old password works until a new one is chosen."""
        secret = _secret()
        with self._store.writing() as connection:
            _change(connection, number, link=_hash(secret), link_until=time.time() + seconds)
        return secret

    def invited(self, secret: str) -> Person:
        """Whose link it is.

        Raises:
            UserError: it is of no use any more.
        """
        with self._store.reading() as connection:
            row = connection.execute(_shown().where(_open_link(secret))).one_or_none()
        if row is None:
            raise UserError(gettext(_GONE))
        return _person(row)

    def join(self, secret: str, password: str) -> str:
        """Choose a password with a link, which is used up by that. All sessions of the account end; the cookie of a new one is returned.

        Raises:
            UserError: the link is of no use any more.
        """
        self.invited(secret)  # before the slow part
        kept = hash_password(password)
        with self._store.writing() as connection:
            joining = update(people).where(_open_link(secret)).values(password=kept, link=None, link_until=None).returning(people.c.id)
            number = connection.execute(joining).scalar_one_or_none()
            if number is None:  # used at this moment
                raise UserError(gettext(_GONE))
            connection.execute(delete(signed_in).where(signed_in.c.person == number))
            return _begin(connection, number)

    def sign_in(self, name: str, password: str) -> str | None:
        """The cookie of a new session; None if the name or the password is wrong, which takes equally long."""
        with self._store.reading() as connection:
            row = connection.execute(select(people.c.id, people.c.password).where(people.c.key == _key(name))).one_or_none()
        kept = UNKNOWN if row is None or row.password is None else row.password
        if not is_password(password, kept) or row is None:
            return None
        with self._store.writing() as connection:
            same = select(people.c.id).where(people.c.id == row.id, people.c.password == kept).with_for_update()
            if connection.scalar(same) is None:  # removed, or another password, at this moment
                return None
            return _begin(connection, row.id)

    def change_password(self, account: Account, old: str, new: str) -> bool:
        """Choose another password; all other sessions of the account end. False if the old one is wrong."""
        with self._store.reading() as connection:
            kept = connection.scalar(select(people.c.password).where(people.c.id == account.person))
        if not is_password(old, kept or UNKNOWN):
            return False
        value = hash_password(new)
        with self._store.writing() as connection:
            _change(connection, account.person, password=value, link=None, link_until=None)
            connection.execute(delete(signed_in).where(signed_in.c.person == account.person, signed_in.c.id != account.session))
        return True

    def who(self, cookie: str, *, used: bool = True) -> Account | None:
        """Whose session a cookie is; None if it is none, has ended or has expired.

        Args:
            used: the request is a use of the session, so that its time without use begins again.
        """
        if not cookie.startswith(_MARK):
            return None
        now = time.time()
        wanted = select(signed_in, people.c.name, people.c.role).join(people).where(signed_in.c.id == _hash(cookie), _lasting(now))
        with self._store.reading() as connection:
            row = connection.execute(wanted).one_or_none()
        if row is None:
            return None
        if used and row.seen < now - _SEEN_SECONDS:
            with suppress(DBAPIError), self._store.writing() as connection:  # on a full disk people can still look
                connection.execute(update(signed_in).where(signed_in.c.id == row.id).values(seen=now))
                connection.execute(update(people).where(people.c.id == row.person).values(seen=now))
        return Account(row.id, row.person, row.name, row.role)

    def set_role(self, number: int, role: Role) -> None:
        """Give an account another role; its sessions end.

        Raises:
            UserError: it is the last owner.
        """
        with self._store.writing() as connection:
            if role != "owner":
                _require_another_owner(connection, number)
            _change(connection, number, role=role)
            connection.execute(delete(signed_in).where(signed_in.c.person == number))

    def remove(self, number: int) -> None:
        """Remove an account with its sessions and its link. Its verdicts stay under its name.

        Raises:
            UserError: it is the last owner.
        """
        with self._store.writing() as connection:
            _require_another_owner(connection, number)
            connection.execute(delete(signed_in).where(signed_in.c.person == number))
            if not connection.execute(delete(people).where(people.c.id == number)).rowcount:
                raise UnknownNameError("person", str(number), ())

    def end_sessions(self, number: int) -> None:
        """Sign an account out everywhere."""
        with self._store.writing() as connection:
            connection.execute(delete(signed_in).where(signed_in.c.person == number))

    def end(self, session: str) -> None:
        """End one session."""
        with self._store.writing() as connection:
            connection.execute(delete(signed_in).where(signed_in.c.id == session))


def _shown() -> Any:
    """What ``_person`` needs of every account."""
    num = select(func.count()).where(signed_in.c.person == people.c.id, _lasting(time.time())).scalar_subquery()
    return select(people, num.label("sessions"))


def _person(row: Row[Any]) -> Person:
    return Person(
        id=row.id, name=row.name, role=row.role, joined=row.password is not None, link_until=row.link_until, seen=row.seen, sessions=row.sessions
    )


def _begin(connection: Connection, number: int) -> str:
    """Begin a session of an account; its cookie's value."""
    cookie, now = _MARK + secrets.token_urlsafe(32), time.time()
    connection.execute(delete(signed_in).where(or_(signed_in.c.began <= now - SESSION_SECONDS, signed_in.c.seen <= now - IDLE_SECONDS)))
    connection.execute(insert(signed_in).values(id=_hash(cookie), person=number, began=now, seen=now))
    _change(connection, number, seen=now)
    return cookie


def _change(connection: Connection, number: int, **values: Any) -> None:
    if not connection.execute(update(people).where(people.c.id == number).values(**values)).rowcount:
        raise UnknownNameError("person", str(number), ())


def _require_another_owner(connection: Connection, number: int) -> None:
    """Raise ``UserError`` if an account is the only owner's who can sign in. The owners stay locked until the transaction ends."""
    owners = select(people.c.id).where(people.c.role == "owner", people.c.password.is_not(None)).with_for_update()
    if set(connection.scalars(owners)) == {number}:
        raise UserError(gettext("this is the last owner. Make another person an owner first."))


def _lasting(now: float) -> Any:
    return and_(signed_in.c.began > now - SESSION_SECONDS, signed_in.c.seen > now - IDLE_SECONDS)


def _open_link(secret: str) -> Any:
    return and_(people.c.link == _hash(secret), people.c.link_until > time.time())


def _secret() -> str:
    return secrets.token_urlsafe(24)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _tidy(name: str) -> str:
    """A name without signs that nobody sees; the two that some scripts need between letters stay."""
    return " ".join(_without_signs(unicodedata.normalize("NFC", name), _JOINERS).split())


def _key(name: str) -> str:
    """The same for names that people would take for one another."""
    return " ".join(_without_signs(unicodedata.normalize("NFKC", name)).casefold().split())


def _without_signs(text: str, but: str = "") -> str:
    """Without characters that have no shape of their own, such as those that turn the direction of writing round."""
    return "".join(letter for letter in text if letter in but or unicodedata.category(letter) != "Cf")

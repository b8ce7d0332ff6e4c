"""The database: its tables, and transactions that survive a crash.

SQLite runs in WAL mode with ``synchronous=FULL``: when a transaction has ended, its rows are on disk, even if the server is
killed right after. Writers take their lock at the start of a transaction, and wait for one another instead of failing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.exc import NoSuchModuleError as NoDialect

from syntype.errors import InputError, UnsupportedError

__all__ = ["ACTIVE", "Store", "answers", "jobs", "metadata", "moves", "people", "quizzes", "reviewers", "signed_in", "starters", "titles", "verdicts"]

ACTIVE = ("waiting", "running")
"""Statuses of jobs that have not ended."""
WAIT_SECONDS = 60
"""Seconds that a writer waits for others before it fails."""

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("request", JSON, nullable=False),  # what was asked, as the request's model has it
    Column("place", String(40), nullable=False),  # kind of thing it makes (a sub-folder of the workspace) ...
    Column("slug", String(63), nullable=False),  # ... and its name
    Column("status", String(20), nullable=False, index=True),  # waiting | running | finished | failed | cancelled
    Column("starts", Integer, nullable=False, default=0),  # times that its process was started without coming to an end
    Column("cancel", Integer, nullable=False, default=0),  # 1: somebody asked for it to be stopped
    Column("message", String, nullable=True),  # why it failed, or what was kept
    Column("result", JSON, nullable=True),  # what the command printed with --json
    Column("created", Float, nullable=False),  # seconds since 1970
    Column("started", Float, nullable=True),
    Column("ended", Float, nullable=True),
)

# One row: the workspace whose jobs and verdicts these are, if the database lies outside it.
owners = Table("owners", metadata, Column("workspace", String(32), primary_key=True))

reviewers = Table("reviewers", metadata, Column("id", Integer, primary_key=True), Column("name", String(80), nullable=False, unique=True))

# A log: rows are added and marked as undone, never deleted, so that every decision can be traced.
verdicts = Table(
    "verdicts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(64), nullable=True, unique=True),  # the sender's own: a decision that is sent twice counts once
    Column("collection", String(63), nullable=False),
    Column("image_id", String(200), nullable=False),
    Column("sha256", String(64), nullable=True),
    Column("reviewer", ForeignKey("reviewers.id"), nullable=False),
    Column("decision", String(10), nullable=False),
    Column("reason", String(200), nullable=True),
    Column("decided", Float, nullable=False),
    Column("undone", Float, nullable=True),
)
Index("verdicts_by_image", verdicts.c.collection, verdicts.c.image_id, verdicts.c.reviewer)
Index("verdicts_by_reviewer", verdicts.c.collection, verdicts.c.reviewer, verdicts.c.id)

quizzes = Table(
    "quizzes",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("reviewer", String(80), nullable=False),
    Column("items", JSON, nullable=False),  # list of [collection, image_id, is_real], in the order of showing
    Column("side", Integer, nullable=False),  # pixels at which all are shown
    Column("created", Float, nullable=False),
)

answers = Table(
    "answers",
    metadata,
    Column("quiz", ForeignKey("quizzes.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("real", Integer, nullable=False),  # what the reviewer said: 1 real, 0 synthetic
)

# A move (renaming, deleting, restoring) that has begun and is not complete: whoever finds one completes it. See storage.py.
moves = Table(
    "moves",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("place", String(40), nullable=False),
    Column("source", String(63), nullable=False),  # key of the thing: its name, or trash/ID
    Column("target", String(63), nullable=False),
    Column("title", String(200), nullable=True),  # as people have typed the new name
    Column("inode", String(20), nullable=False),  # of its folder: a new one of the name, made by hand meanwhile, has another
)

# Names as people have typed them, of things whose folder has another name.
titles = Table(
    "titles",
    metadata,
    Column("place", String(40), primary_key=True),
    Column("slug", String(63), primary_key=True),  # key of the thing
    Column("title", String(200), nullable=False),
)

# Who can sign in. A removed person's row is deleted; the verdicts stay with the name in "reviewers". See accounts.py.
people = Table(
    "people",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(80), nullable=False),
    Column("key", String, nullable=False, unique=True),  # the name without upper and lower case, so that no two look alike
    Column("role", String(10), nullable=False),  # owner | reviewer | guest
    Column("password", String(200), nullable=True),  # its hash; null until one is chosen
    Column("link", String(64), nullable=True, unique=True),  # SHA-256 of the secret part of the link to choose one
    Column("link_until", Float, nullable=True),
    Column("created", Float, nullable=False),
    Column("seen", Float, nullable=True),
    sqlite_autoincrement=True,  # an old page must not reach somebody else under the number of a removed person
)

signed_in = Table(
    "signed_in",
    metadata,
    Column("id", String(64), primary_key=True),  # SHA-256 of the cookie
    Column("person", ForeignKey("people.id"), nullable=False, index=True),
    Column("began", Float, nullable=False),
    Column("seen", Float, nullable=False),
)

# Who has started a job, if it was somebody with an account.
starters = Table("starters", metadata, Column("job", ForeignKey("jobs.id"), primary_key=True), Column("name", String(80), nullable=False))


class Store:
    """Connections to one database; its tables are made where they are missing.

    Args:
        url: of SQLAlchemy, ``sqlite:///FILE`` or ``postgresql+psycopg://USER@HOST/NAME``.

    Raises:
        InputError: the URL is none, or nothing answers there.
        UnsupportedError: the database's driver is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            if parsed.drivername in ("postgres", "postgresql"):
                parsed = parsed.set(drivername="postgresql+psycopg")
            if parsed.get_backend_name() not in ("sqlite", "postgresql"):
                raise ArgumentError("neither SQLite nor PostgreSQL")
            arguments: dict[str, Any] = {"timeout": WAIT_SECONDS} if parsed.get_backend_name() == "sqlite" else {}
            self.engine = create_engine(parsed, connect_args=arguments, pool_pre_ping=not arguments)
        except (ArgumentError, NoDialect) as error:
            raise InputError(f"--database is no database URL ({error})", "Give sqlite:///FILE or postgresql://USER@HOST/NAME.") from None
        except ModuleNotFoundError as error:
            raise UnsupportedError(f"PostgreSQL needs the package {error.name}. Install it: pip install 'syntype[postgresql]'") from None
        if self.engine.dialect.name == "sqlite":
            _make_durable(self.engine)
        try:
            metadata.create_all(self.engine)
        except OperationalError as error:
            reason = " ".join(str(error.orig).split())
            raise InputError(
                f"the database {parsed.render_as_string()} cannot be opened ({reason})", "Check --database and that it is running."
            ) from None

    def belong_to(self, workspace: str) -> None:
        """Enter the workspace whose jobs and verdicts this database holds. Two workspaces that share one would start each other's jobs.

        Args:
            workspace: its ``identity``.

        Raises:
            InputError: the database is another workspace's.
        """
        with self.writing() as connection:
            owner = connection.scalar(select(owners.c.workspace))
            if owner is None:
                connection.execute(insert(owners).values(workspace=workspace))
            elif owner != workspace:
                raise InputError("--database holds the jobs and verdicts of another workspace", "Give every workspace a database of its own.")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the database."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One short transaction: on the disk when this ends, undone if an error leaves it."""
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _make_durable(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say, below
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

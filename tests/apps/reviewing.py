"""Many reviewers at once, on any database: what they decide, a server that is killed meanwhile, and whether anything is lost."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sklearn.metrics import cohen_kappa_score
from sqlalchemy import select
from studio_server import make_synthetic, start_server

from syntype.apps.web.reviews import Reviews
from syntype.apps.web.store import Store, verdicts
from syntype.apps.web.workspace import Workspace

REVIEWERS = 8
Standing = dict[tuple[str, str], str]
"""(reviewer, image_id) -> decision."""


def postgresql_programs() -> Path | None:
    """Where PostgreSQL's programs lie, if it is installed; Debian keeps them off the path."""
    found = [shutil.which("initdb"), *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), reverse=True)]
    return next((Path(path).resolve().parent for path in found if path), None)


@contextmanager
def postgresql_server(programs: Path) -> Iterator[str]:
    """The URL of a PostgreSQL server of our own, on a socket in a temporary folder; it refuses to run as root, so root lends it a user."""
    lent = {"user": "nobody"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        if lent:
            shutil.chown(folder, "nobody")

        def call(program: str, *arguments: str) -> None:
            command = [str(programs / program), "-D", f"{folder}/data", *arguments]
            done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder, **lent)  # type: ignore[call-overload]
            assert done.returncode == 0, done.stderr

        call("initdb", "-A", "trust", "-U", "studio", "--no-sync")
        call("pg_ctl", "-w", "-t", "120", "-l", f"{folder}/log", "-o", f"-k {folder} -c listen_addresses='' -c fsync=off", "start")
        try:
            yield f"postgresql://studio@/postgres?host={folder}"
        finally:
            call("pg_ctl", "-m", "immediate", "stop")


def review_at_once(num: int, decide: Callable[[str, str, str, str], Any], undo: Callable[[str], str | None]) -> tuple[Standing, float]:
    """Eight reviewers at once make ``num`` decisions in all, and take every tenth back.

    Args:
        decide: takes reviewer, image, decision and the decision's key.
        undo: takes the reviewer; the image whose decision was taken back.

    Returns:
        What must stand now, and the seconds that it took.
    """

    def review(number: int) -> Standing:
        reviewer, standing = f"Reviewer {number}", {}
        for image in map(str, range(num // REVIEWERS)):
            standing[reviewer, image] = ("accept", "reject", "unsure")[int(image) % (2 + number) % 3]
            decide(reviewer, image, standing[reviewer, image], f"{number}-{image:>07}")
            if image.endswith("9"):
                assert undo(reviewer) == image
                del standing[reviewer, image]
        return standing

    began = time.monotonic()
    with ThreadPoolExecutor(REVIEWERS) as pool:
        parts = list(pool.map(review, range(REVIEWERS)))
    return {key: decision for part in parts for key, decision in part.items()}, time.monotonic() - began


def check_nothing_is_lost(store: Store, reviews: Reviews, num: int, expected: Standing, collection: str = "drawn") -> None:
    """The log holds all that was decided and undone, what stands is what must, and agreement is what scikit-learn makes of it."""
    with store.reading() as connection:
        undone = list(connection.scalars(select(verdicts.c.undone).where(verdicts.c.collection == collection)))
    assert len(undone) == num and sum(when is not None for when in undone) == num - len(expected)
    assert {(row.name, row.image_id): row.decision for row in reviews.standing(collection)} == expected
    told = reviews.agreement(collection)
    names = sorted({name for name, _ in expected})
    by_reviewer = {name: {image: decision for (own, image), decision in expected.items() if own == name} for name in names}
    assert told["reviewers"] == {name: dict(Counter(own.values())) for name, own in by_reviewer.items()}
    pairs = itertools.combinations(names, 2)
    for pair, (first, second) in zip(told["pairs"], pairs, strict=True):
        ours, theirs = by_reviewer[first], by_reviewer[second]
        assert (pair["reviewers"], pair["num_shared"]) == ([first, second], len(ours))
        assert pair["kappa"] == pytest.approx(cohen_kappa_score(list(ours.values()), [theirs[image] for image in ours]))


def reviewers_lose_nothing(workspace: Workspace, database: str, num: int) -> None:
    """Eight reviewers at once on one database, without a server between."""
    store = Store(database)
    reviews = Reviews(store, workspace)

    def decide(reviewer: str, image: str, decision: Any, key: str) -> None:
        reviews.decide("drawn", image, None, reviewer, decision, None, key)

    standing, seconds = review_at_once(num, decide, lambda reviewer: (reviews.undo("drawn", reviewer) or {}).get("image_id"))
    check_nothing_is_lost(store, reviews, num, standing)
    print(f"{store.engine.dialect.name}: {num:,} verdicts in {seconds:.1f} s, {num / seconds:.0f} a second")
    store.close()


def killed_servers_lose_nothing(root: Path, database: str, times: int) -> None:
    """A server is killed while four reviewers write, again and again, each time at another moment: what it acknowledged must be there."""
    Workspace(root)
    make_synthetic(root / "collections" / "drawn", {"Aus primus": 40})
    acknowledged: dict[int, tuple[str, str]] = {}
    chance = random.Random()
    lost_answers = 0
    for _ in range(times):
        server, client = start_server(root, database)

        def decide(number: int, client: httpx2.Client = client) -> None:
            image, decision = f"0-{chance.randrange(40)}", chance.choice(["accept", "reject", "unsure"])
            sent = {"image_id": image, "decision": decision, "reviewer": f"Reviewer {number}"}
            answer = client.post("/api/collections/drawn/verdicts", json=sent)
            assert answer.status_code == 201, answer.text
            acknowledged[answer.json()["id"]] = (image, decision)

        def review(number: int, decide: Callable[[int], None] = decide) -> None:
            with suppress(httpx2.TransportError):  # the decision under way may have been written or not: either is right
                while True:
                    decide(number)

        decide(0)
        killer = threading.Timer(chance.uniform(0, 1.5), server.kill)
        killer.start()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(review, range(4)))
        server.communicate()
        client.close()
        store = Store(database)
        with store.reading() as connection:
            there = {row.id: (row.image_id, row.decision) for row in connection.execute(select(verdicts))}
        store.close()
        assert {number: there.get(number) for number in acknowledged} == acknowledged
        assert 0 <= len(there) - len(acknowledged) - lost_answers <= 4, "more was written than was sent"
        lost_answers = len(there) - len(acknowledged)
    print(f"killed {times} times: {len(acknowledged):,} verdicts were acknowledged, and all are there; {lost_answers} were written without an answer")

"""A Studio server of one's own, Chromium, PostgreSQL, and many reviewers at once."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from sklearn.metrics import cohen_kappa_score
from sqlalchemy import select

from syntype.apps.web.reviews import Reviews
from syntype.apps.web.store import Store, verdicts

__all__ = [
    "CHROMIUM",
    "REVIEWERS",
    "check_nothing_is_lost",
    "end_server",
    "launch_chromium",
    "postgresql_programs",
    "postgresql_server",
    "review_at_once",
    "start_server",
]

REVIEWERS = 8
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
Standing = dict[tuple[str, str], str]
"""(reviewer, image_id) -> decision."""


def start_server(root: Path, database: str | None = None, port: int = 0) -> tuple[subprocess.Popen[str], httpx2.Client]:
    """``syntype serve`` in a process of its own, and a browser that has a session."""
    code = "import sys; from syntype.apps.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "serve", str(root), "--port", str(port), *(["--database", database] if database else [])]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    client = httpx2.Client(base_url=server.stdout.readline().split()[-1], timeout=60)
    client.headers["x-syntype-csrf"] = client.get("/api/session").json()["csrf"]
    return server, client


def end_server(server: subprocess.Popen[str], client: httpx2.Client, number: int = signal.SIGKILL) -> None:
    """Send a signal to a server and wait until it is gone."""
    client.close()
    server.send_signal(number)
    server.communicate(timeout=120)


def launch_chromium(playwright: Any) -> Any:
    """Real Chromium, without a window."""
    return playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


def postgresql_programs() -> Path | None:
    """Where PostgreSQL's programs lie, if it is installed; Debian keeps them off the path."""
    found = [shutil.which("initdb"), *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), reverse=True)]
    return next((Path(path).resolve().parent for path in found if path), None)


@contextmanager
def postgresql_server(programs: Path) -> Iterator[str]:
    """The URL of a PostgreSQL server of our own, on a socket in a temporary folder; it refuses to run as root, so root lends it a user."""
    owner = {"user": "nobody"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        if owner:
            shutil.chown(folder, "nobody")

        def call(program: str, *arguments: str) -> None:
            command = [str(programs / program), "-D", f"{folder}/data", *arguments]
            done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder, **owner)  # type: ignore[call-overload]
            assert done.returncode == 0, done.stderr

        call("initdb", "-A", "trust", "-U", "studio", "--no-sync")
        call("pg_ctl", "-w", "-t", "120", "-l", f"{folder}/log", "-o", f"-k {folder} -c listen_addresses=''", "start")
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
        assert abs(pair["kappa"] - cohen_kappa_score(list(ours.values()), [theirs[image] for image in ours])) < 1e-9

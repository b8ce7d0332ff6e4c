"""A browser before the Studio's server, for the tests of its pages."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import httpx2
import pytest
import ready
from sqlalchemy import event
from sqlalchemy.pool import Pool
from studio_server import CHROMIUM, end_server, launch_chromium, listen, make_generator, make_workspace, start_server

from syntype.apps.cli import main
from syntype.apps.web.workspace import Workspace

AXE = "axe-core@4.14.1"


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk_by_sqlite(_no_waiting_for_the_disk: None) -> Iterator[None]:
    """The same for the databases of this process. (The Studio's own setting comes first, when a connection is made.)"""

    def relax(connection: Any, *_: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF").close()

    event.listen(Pool, "checkout", relax)
    yield
    event.remove(Pool, "checkout", relax)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator that has learnt next to nothing, but has every ability."""
    return make_generator(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def ready_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of a server in this process start at once."""
    ready.use(monkeypatch.setattr)


@pytest.fixture
def looked_at_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that looks into an upload runs in this process, which takes a tenth of the time; in one of its own where a test says so."""
    if getattr(request, "param", True):
        stand_in = SimpleNamespace(run=run_here, DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired)
        monkeypatch.setattr("syntype.apps.web.looking.subprocess", stand_in)


def run_here(command: list[str], *, stdin: int, stdout: BinaryIO, stderr: BinaryIO, timeout: float, env: dict[str, str], check: bool) -> Any:
    """Stands in for ``subprocess.run`` where the Studio looks into an upload."""
    assert command[1] == "-c" and command[4] == "collect" and stdin == subprocess.DEVNULL and timeout > 0 and not check
    output, messages = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(messages):
        code = main(command[4:])
    stdout.write(output.getvalue().encode())
    stderr.write(messages.getvalue().encode())
    return subprocess.CompletedProcess(command, code)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Photographs ``fish`` and synthetic images ``drawn``."""
    return make_workspace(tmp_path / "workspace")


@pytest.fixture
def server(workspace: Workspace) -> Iterator[httpx2.Client]:
    """A client of a running server."""
    process, client = start_server(workspace.root)
    yield client
    end_server(process, client, signal.SIGTERM)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Real Chromium, without a window. Of a module alone: while it is there, no other test of this process can run an event loop of its own."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="browser tests need the package playwright")
    if CHROMIUM is None:
        pytest.skip("browser tests need chromium (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        chromium = launch_chromium(playwright)
        yield chromium
        chromium.close()


@pytest.fixture
def page(chromium: Any, server: httpx2.Client) -> Iterator[Any]:
    """A page of 1280 x 800 pixels that has nothing to complain of until the test has ended."""
    context = chromium.new_context(base_url=str(server.base_url), viewport={"width": 1280, "height": 800}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.complaints = listen(page)
    yield page
    context.close()
    assert page.complaints == []


@pytest.fixture(scope="session")
def axe() -> str:
    """The accessibility checker's script, fetched once into a cache of its own."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "syntype-tests"
    script = cache / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file() and (npm := shutil.which("npm")):
        subprocess.run([npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(cache), AXE], timeout=120, check=False)
    if not script.is_file():
        pytest.skip(f"the accessibility check needs {AXE}, which npm could not fetch")
    return script.read_text(encoding="utf-8")

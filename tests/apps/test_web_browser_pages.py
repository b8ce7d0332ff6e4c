"""Every page in a real browser: it fits, it complains of nothing, and an accessibility check finds nothing serious."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from studio import PAGES, make_full

from syntype.apps.web.workspace import Workspace

pytestmark = pytest.mark.slow
AXE = "axe-core@4.14.1"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_full(tmp_path / "workspace")


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


def visit(page: Any, address: str) -> None:
    """Open a page. The report of the study has a script, and the browser says that it keeps it from running."""
    page.goto(address)
    page.wait_for_load_state("networkidle")
    blocked = [words for words in page.complaints if "Blocked script execution" in words]
    assert bool(blocked) == address.startswith("/studies/")
    for words in blocked:
        page.complaints.remove(words)


@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_and_nothing_is_complained_of(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    too_wide = {}
    for address in PAGES:
        visit(page, address)
        wide = page.evaluate("document.documentElement.scrollWidth")
        if wide > width:
            too_wide[address] = wide
    assert too_wide == {}


def test_an_accessibility_check_finds_nothing_serious(page: Any, axe: str) -> None:
    found = {}
    for address in PAGES:
        visit(page, address)
        page.evaluate(axe)
        violations = page.evaluate("axe.run({ iframes: false }).then((result) => result.violations)")
        serious = [(item["id"], [node["html"][:200] for node in item["nodes"]]) for item in violations if item["impact"] in ("serious", "critical")]
        if serious:
            found[address] = serious
    assert found == {}

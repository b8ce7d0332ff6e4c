"""Jobs in a real browser: asked for in a form, watched, stopped, taken up again, and what they give."""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from studio import end_server, png, start_server

from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def generator(workspace: Workspace, trained: Path) -> None:
    shutil.copytree(trained, workspace.root / "generators" / "little")


def loaded(page: Any, pictures: str) -> None:
    """Wait until all these pictures show something."""
    page.wait_for_function(
        "(which) => { const all = [...document.querySelectorAll(which)]; return all.length && all.every((image) => image.naturalWidth > 0); }",
        arg=pictures,
    )


def test_images_are_generated_and_seen_as_they_come(page: Any, workspace: Workspace) -> None:
    page.goto("/new/generate")
    page.get_by_label("Species", exact=True).fill("sec")
    page.get_by_label("Species", exact=True).press("Enter")
    page.get_by_role("button", name="Remove Bus secundus").wait_for()
    page.get_by_label("Images of each species").fill("5")
    page.get_by_label("Name of the result").fill("new")
    page.get_by_role("button", name="Generate").click()
    page.wait_for_url("**/jobs/*")
    page.get_by_text("finished").wait_for()
    loaded(page, "#pictures img")
    assert page.locator("#pictures img").count() == 5
    page.reload()
    loaded(page, "#pictures img")
    page.get_by_role("link", name="Curate them").click()
    page.wait_for_url("**/collections/new/curate")
    assert Collection.open(workspace.root / "collections" / "new").counts() == {"Bus secundus": 5}

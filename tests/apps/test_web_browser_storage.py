"""Renaming, deleting, taking back and emptying the trash in a real browser, with the keyboard alone where it matters."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from studio_server import end_server, start_server

from syntype.apps.web.workspace import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture
def server(workspace: Workspace) -> Iterator[httpx2.Client]:
    process, client = start_server(workspace.root, ready=True)
    yield client
    end_server(process, client, signal.SIGTERM)


def test_a_walk_through_storage_and_trash(page: Any, workspace: Workspace) -> None:
    root = workspace.root
    shutil.copytree(root / "collections" / "drawn", root / "collections" / "spare")
    page.goto("/collections/drawn")

    page.get_by_role("button", name="Rename", exact=True).press("Enter")
    dialog = page.get_by_role("dialog", name="Rename drawn")
    dialog.get_by_label("New name").fill("fish")
    page.keyboard.press("Enter")
    dialog.get_by_role("alert").get_by_text("exists already").wait_for()
    dialog.get_by_label("New name").fill("Drawn in 2026")
    page.keyboard.press("Enter")
    page.wait_for_url("**/collections/drawn-in-2026")
    assert page.get_by_role("heading", level=1).inner_text() == "Drawn in 2026"
    assert (root / "collections" / "drawn-in-2026").is_dir() and not (root / "collections" / "drawn").exists()

    page.get_by_role("button", name="Delete", exact=True).press("Enter")
    page.get_by_role("dialog", name="Delete Drawn in 2026?").get_by_text("moves to the trash").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    assert page.evaluate("document.activeElement.dataset.do") == "delete", "the focus is back where it was"
    page.get_by_role("button", name="Delete", exact=True).press("Enter")
    page.get_by_role("button", name="Move to the trash").press("Enter")
    page.get_by_text("Drawn in 2026 is in the trash.").wait_for()
    assert not (root / "collections" / "drawn-in-2026").exists()
    page.get_by_role("button", name="Undo").press("Enter")
    page.wait_for_url("**/collections/drawn-in-2026")

    page.goto("/")
    page.get_by_role("link", name="Storage").click()
    page.locator("#room", has_text="are free on the disk").wait_for()
    page.get_by_role("button", name="Delete spare", exact=True).click()
    page.get_by_role("button", name="Move to the trash").click()
    page.locator("#trash").get_by_text("spare").wait_for()
    (root / "collections" / "spare").mkdir()
    page.get_by_role("button", name="Restore spare", exact=True).click()
    page.get_by_role("dialog", name="Restore spare under another name").get_by_label("Name to restore it under").fill("spare 2")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="spare 2").wait_for()
    assert (root / "collections" / "spare-2" / "collection.json").is_file() and not any((root / "trash").iterdir())

    page.get_by_role("button", name="Delete spare 2", exact=True).click()
    page.get_by_role("button", name="Move to the trash").click()
    page.get_by_role("button", name="Empty the trash (").click()
    page.get_by_role("dialog", name="Delete one thing for good?").get_by_text("become free").wait_for()
    page.get_by_role("dialog").get_by_role("button", name="Empty the trash", exact=True).click()
    page.get_by_text("The trash is empty.").wait_for()
    assert not any((root / "trash").iterdir()) and not (root / "collections" / "spare-2").exists()
    page.complaints[:] = [words for words in page.complaints if "422" not in words]  # the browser says that a name was refused

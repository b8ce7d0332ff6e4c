"""An owner invites a reviewer, who judges an image, and the owner sees the name: in two browsers that know nothing of one another."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from studio_server import TOKEN, end_server, listen, start_server

from syntype.apps.web.workspace import Workspace

pytestmark = pytest.mark.slow
PASSWORD = "a long password"


@pytest.fixture
def server(workspace: Workspace) -> Iterator[httpx2.Client]:
    process, client = start_server(workspace.root, ready=True, token=TOKEN)
    yield client
    end_server(process, client, signal.SIGTERM)


def check(page: Any, axe: str) -> None:
    """It fits a telephone and a desk, and an accessibility check finds nothing serious, in light and in dark colours."""
    size = page.viewport_size
    for width, colours in ((390, "dark"), (1280, "light")):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=colours)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, page.url
        page.evaluate(axe)
        violations = page.evaluate("axe.run().then((result) => result.violations)")
        assert [(item["id"], item["nodes"][0]["html"]) for item in violations if item["impact"] in ("serious", "critical")] == [], page.url
    page.set_viewport_size(size)


def test_an_owner_invites_a_reviewer_who_judges_an_image(page: Any, chromium: Any, server: httpx2.Client, axe: str) -> None:
    page.goto("/")
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="People").click()
    page.get_by_text("Nobody yet.").wait_for()
    page.get_by_label("Name").fill("Ada Byron")
    page.get_by_role("button", name="Make the link").click()
    page.get_by_role("heading", name="The link for Ada Byron").wait_for()
    link = page.get_by_label("Link", exact=True).input_value()
    page.get_by_text("QR code", exact=True).click()
    page.wait_for_function("document.querySelector('#code').naturalWidth > 0")
    page.get_by_role("row", name="Ada Byron").get_by_text("invited until").wait_for()
    check(page, axe)

    context = chromium.new_context(base_url=str(server.base_url), viewport={"width": 390, "height": 844})
    ada = context.new_page()
    complaints = listen(ada)
    ada.goto(link)
    ada.get_by_role("heading", name="Welcome, Ada Byron").wait_for()
    check(ada, axe)
    ada.get_by_label("Password").fill(PASSWORD)
    ada.keyboard.press("Enter")
    ada.get_by_role("heading", name="Images to judge").wait_for()
    check(ada, axe)
    ada.get_by_role("link", name="Judge the images").click()
    assert ada.get_by_label("Your name").input_value() == "Ada Byron" and ada.get_by_label("Your name").get_attribute("readonly") is not None
    ada.get_by_role("button", name="Begin").click()
    ada.get_by_role("button", name="accept").click()
    ada.get_by_text("1 judged, 15 left").wait_for()
    ended = "({ csrf }) => fetch('/api/session', { method: 'DELETE', headers: { 'X-Syntype-Csrf': csrf } })"
    ada.evaluate(f"fetch('/api/session').then((answer) => answer.json()).then({ended})")
    ada.get_by_role("button", name="accept").click()
    ada.get_by_text("Your session has ended.").wait_for()
    check(ada, axe)
    ada.get_by_label("Name").fill("ada byron")
    ada.get_by_label("Password").fill(PASSWORD)
    ada.keyboard.press("Enter")
    ada.wait_for_url("**/collections/drawn/curate?**")
    ada.get_by_role("button", name="Begin").click()
    ada.get_by_text("0 judged, 15 left").wait_for()  # what was sent without a session is offered again
    complaints.clear()  # of the request that was refused
    for address in ("/images", "/collections/fish", "/collections/drawn", "/collections/drawn/map", "/quiz", "/hybrids", "/studies", "/glossary"):
        ada.goto(address)
        ada.wait_for_load_state("networkidle")
        assert ada.get_by_role("button", name="Jobs").count() == 0
    assert complaints == [], "nothing that a page asks for is refused"
    ada.goto("/storage")
    ada.get_by_text("your account is a reviewer's").wait_for()
    check(ada, axe)

    page.goto("/collections/drawn/curate")
    page.get_by_role("row", name="Ada Byron").get_by_text("1", exact=True).first.wait_for()
    page.get_by_role("link", name="People").click()
    page.get_by_role("button", name="Remove: Ada Byron").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
    page.get_by_text("Nobody yet.").wait_for()
    ada.goto("/")
    ada.wait_for_url("**/signin")
    context.close()

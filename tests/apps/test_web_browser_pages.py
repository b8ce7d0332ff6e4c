"""Every page in a real browser: it fits, it complains of nothing, and an accessibility check finds nothing serious."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from studio_server import PAGES, end_server, listen, make_full, png, start_server

pytestmark = pytest.mark.slow
AT_ONCE = 6
"""Pages that are open at the same time."""
PLAN = {"possible": True, "minutes": 12.0, "sentence": "About 12 minutes on this machine, for 16 images."}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """One server for all: the pages are only looked at."""
    process, client = start_server(make_full(tmp_path_factory.mktemp("pages") / "workspace").root, ready=True)
    yield client
    end_server(process, client, signal.SIGTERM)


def visit(page: Any) -> Iterator[tuple[str, Any]]:
    """Every address with its page, a few open at the same time, as each waits half a second for the network to fall silent.

    The report of the study has a script, and the browser says that it keeps it from running.
    """
    for start in range(0, len(PAGES), AT_ONCE):
        opened = []
        for address in PAGES[start : start + AT_ONCE]:
            tab = page.context.new_page()
            tab.set_viewport_size(page.viewport_size)
            tab.route("**/api/plans", lambda route: route.fulfill(status=200, json=PLAN))  # timing a network takes seconds
            opened.append((address, tab, listen(tab)))
            tab.goto(address)
        for address, tab, complaints in opened:
            tab.wait_for_load_state("networkidle")
            yield address, tab
            blocked = [words for words in complaints if "Blocked script execution" in words]
            assert bool(blocked) == address.startswith("/studies/")
            assert [words for words in complaints if words not in blocked] == [], address
            tab.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_and_nothing_is_complained_of(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    too_wide = {}
    for address, tab in visit(page):
        wide = tab.evaluate("document.documentElement.scrollWidth")
        if wide > width:
            too_wide[address] = wide
    assert too_wide == {}


def test_an_accessibility_check_finds_nothing_serious(page: Any, axe: str) -> None:
    """Every other page in dark colours."""
    found = {}
    for number, (address, tab) in enumerate(visit(page)):
        tab.emulate_media(color_scheme="dark" if number % 2 else "light")
        tab.evaluate(axe)
        violations = tab.evaluate("axe.run({ iframes: false }).then((result) => result.violations)")
        serious = [(item["id"], [node["html"][:200] for node in item["nodes"]]) for item in violations if item["impact"] in ("serious", "critical")]
        if serious:
            found[address] = serious
    assert found == {}


@pytest.mark.parametrize(("language", "width"), [("de", 390), ("ja", 1280)])
def test_pages_in_another_language_fit_and_an_accessibility_check_finds_nothing_serious(page: Any, axe: str, language: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto("/")
    page.locator("#language").select_option(language)
    page.wait_for_function("document.documentElement.lang === " + repr(language))
    found = {}
    for address, tab in visit(page):
        assert tab.evaluate("document.documentElement.lang") == language
        assert page.locator("#jobs-button").text_content() == {"de": "Aufträge", "ja": "ジョブ"}[language]
        tab.evaluate(axe)
        violations = tab.evaluate("axe.run({ iframes: false }).then((result) => result.violations)")
        wrong = [item["id"] for item in violations if item["impact"] in ("serious", "critical")]
        wide = tab.evaluate("document.documentElement.scrollWidth")
        if wrong or wide > width:
            found[address] = (wrong, wide)
    assert found == {}


ANSWER = {
    "sentence": "Some Aus (the genus, 93 %). Which species, it cannot say surely; the likeliest is Aus primus.",
    "rank": "genus", "name": "Aus", "probability": 0.93, "none_of_these": False, "strangeness": 0.4, "collection": "fish",
    "species": [
        {"species": "Aus primus", "common_name": "First fish", "probability": 0.6},
        {"species": "Bus secundus", "common_name": None, "probability": 0.4},
    ],
    "nearest": [{"image_id": "0-0", "species": "Aus primus", "sha256": None, "width": 48, "height": 48, "similarity": 0.9}],
}  # fmt: skip


def what_is_this(page: Any, axe: str) -> None:
    """From the studies to an identifier, which answers two files. (What it answers is tested elsewhere; here is what the page makes of it.)"""
    page.route("**/identify", lambda route: route.fulfill(status=200, json=ANSWER))
    page.get_by_role("main").get_by_role("link", name="What is this?", exact=True).press("Enter")
    files = [{"name": name, "mimeType": "image/png", "buffer": png()} for name in ("first.png", "second.png")]
    page.get_by_label("Photographs: drop them here, or choose them").set_input_files(files)
    page.get_by_text("2 photographs answered.").wait_for()
    answers = page.get_by_role("list", name="Answers, the latest first").locator("> li")
    assert answers.count() == 2 and "first.png" in answers.first.inner_text()
    assert answers.first.locator(".verdict").inner_text().replace("\xa0", " ") == ANSWER["sentence"]
    assert [meter.get_attribute("aria-label") for meter in answers.first.locator("meter").all()] == ["Aus primus: 60 %", "Bus secundus: 40 %"]
    assert answers.first.locator(".similar a").get_attribute("href") == "/collections/fish/images/0-0"
    page.evaluate(axe)
    violations = page.evaluate("axe.run().then((result) => result.violations)")
    assert [item["id"] for item in violations if item["impact"] in ("serious", "critical")] == []
    page.unroute("**/identify")


@pytest.mark.parametrize(("width", "height", "colours"), [(1280, 800, "light"), (390, 844, "dark")])
def test_the_four_places_are_reached_by_keyboard_and_tell_the_next_step(page: Any, axe: str, width: int, height: int, colours: str) -> None:
    """From place to place, and to the list of jobs and back, without a mouse."""
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=colours)
    page.goto("/")
    next_steps = {"Photographs": "Train a generator from these", "Generators": "Generate images", "Images": "Curate", "Studies": "Read the report"}
    for place, step in next_steps.items():
        if width < 800:
            page.locator(".menu summary").press("Enter")
        page.get_by_role("navigation").get_by_role("link", name=place, exact=True).press("Enter")
        page.wait_for_url(f"**/{place.lower()}")
        page.get_by_role("heading", level=1, name=place).wait_for()
        page.get_by_role("main").get_by_role("link", name=step, exact=True).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    what_is_this(page, axe)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Jobs").press("Enter")
    drawer = page.get_by_role("dialog", name="Jobs")
    drawer.get_by_role("link", name="Import: fish").wait_for()
    page.evaluate(axe)
    violations = page.evaluate("axe.run().then((result) => result.violations)")
    assert [item["id"] for item in violations if item["impact"] in ("serious", "critical")] == []
    page.keyboard.press("Escape")
    drawer.wait_for(state="hidden")
    assert page.evaluate("document.activeElement.id") == "jobs-button"

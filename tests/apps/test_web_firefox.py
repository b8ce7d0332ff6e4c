"""The Studio in Firefox: every page, an import with boxes, and judging by keyboard. The other tests of pages use Chromium."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from firefox import FIREFOX, Firefox
from studio_server import PAGES, end_server, make_full, png, start_server, zipped

pytestmark = pytest.mark.slow
TABLE = b"file,species,xmin,ymin,xmax,ymax\n" + b"".join(b"reef/%d.png,Aus primus,10,10,50,50\n" % number for number in range(6))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    process, client = start_server(make_full(tmp_path_factory.mktemp("studio") / "workspace").root, ready=True)
    yield client
    end_server(process, client, signal.SIGTERM)


@pytest.fixture(scope="module")
def firefox(tmp_path_factory: pytest.TempPathFactory, server: httpx2.Client) -> Iterator[Firefox]:
    """Firefox; no page may complain of anything."""
    if FIREFOX is None:
        pytest.skip("needs Firefox (Debian: apt-get install firefox-esr)")
    firefox = Firefox(tmp_path_factory.mktemp("firefox") / "profile")
    yield firefox
    try:
        assert firefox.complaints(str(server.base_url)) == []
    finally:
        firefox.close()


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens(firefox: Firefox, server: httpx2.Client, page: str) -> None:
    firefox.goto(f"{server.base_url}{page}")
    assert firefox.until("document.querySelector('h1')?.innerText")
    firefox.until(
        "[...document.querySelectorAll('[data-wait]')].every((button) => !button.disabled || button.closest('[hidden]'))"
    )  # its scripts run
    assert firefox.run("return document.documentElement.scrollWidth <= innerWidth + 1"), "the page is wider than the window"
    assert firefox.complaints(str(server.base_url)) == []


def test_photographs_with_boxes_are_sent_corrected_and_imported(firefox: Firefox, server: httpx2.Client, tmp_path: Path) -> None:
    (tmp_path / "Reef.zip").write_bytes(
        zipped(*[(f"reef/{number}.png", png(100, (40 * number, 90, 40))) for number in range(6)], ("boxes.csv", TABLE))
    )
    firefox.goto(str(server.base_url))
    firefox.type("#files", str(tmp_path / "Reef.zip"))
    firefox.until("document.getElementById('name').value === 'Reef'")
    firefox.click("#importing [data-wait]")
    firefox.click("#boxed li button")
    told = "document.querySelector('.asked [role=status]')?.innerText"
    firefox.until(f"{told} === 'From 10, 10 to 50, 50 of 100 × 100 pixels'")
    pixel = firefox.run("return document.querySelector('.boxing').getScreenCTM().a")
    firefox.drag("[aria-label^='Corner bottom right']", round(10 * pixel), round(20 * pixel))
    firefox.until(f"{told} === 'From 10, 10 to 60, 70 of 100 × 100 pixels'")
    firefox.click("[aria-label^='Box 1']")
    firefox.press("\ue014", "\ue015")  # right, down
    firefox.until(f"{told} === 'From 11, 11 to 61, 71 of 100 × 100 pixels'")
    firefox.press("z")
    firefox.until(f"{told} === 'From 11, 10 to 61, 70 of 100 × 100 pixels'")
    firefox.click(".asked .actions:last-child button")
    firefox.until("document.getElementById('boxes-counted').innerText.includes('1 corrected')")
    firefox.until("!document.getElementById('take').disabled")
    firefox.click("#take")
    firefox.until("document.querySelector('#status')?.innerText === 'finished'")
    assert server.get("/api/collections/reef").json()["num_images"] == 6


def test_images_are_judged_by_keyboard(firefox: Firefox, server: httpx2.Client) -> None:
    firefox.goto(f"{server.base_url}/collections/drawn/curate")
    firefox.type("#reviewer", "Ada")
    firefox.click("#who [data-wait]")
    for number, key in enumerate("aru"):
        firefox.until(f"document.getElementById('counted').innerText.startsWith('{number} judged')")
        firefox.press(key)
    firefox.until("document.getElementById('counted').innerText.startsWith('3 judged')")
    firefox.press("z")
    firefox.until("document.getElementById('counted').innerText.startsWith('2 judged')")
    assert server.get("/api/collections/drawn/verdicts").json()["reviewers"]["Ada"] == {"accept": 1, "reject": 1}

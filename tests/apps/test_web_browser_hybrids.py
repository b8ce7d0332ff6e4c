"""Hybrids in a real browser: the picture follows the slider at once, and exactly this hybrid is opened, kept, taken along and projected."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx2
import pytest
from PIL import Image
from studio_server import end_server, loaded, make_workspace, start_server

pytestmark = pytest.mark.slow
LATENCIES = """async () => {
  const slider = document.getElementById("x"), picture = document.getElementById("picture"), taken = [];
  for (let turn = 0; turn < 62; turn++) {
    slider.value = turn % 31;
    const began = performance.now();
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    const shown = picture.dataset.frame;
    await new Promise(requestAnimationFrame);
    taken.push([performance.now() - began, Math.abs(parseFloat(shown) - slider.value / 30) < 0.001]);
  }
  return taken;
}"""
"""For each move of the slider the milliseconds until the frame of its place is on the screen, and whether it is that of its place."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Iterator[httpx2.Client]:
    workspace = make_workspace(tmp_path_factory.mktemp("hybrids") / "workspace")
    shutil.copytree(trained, workspace.root / "generators" / "little")
    process, client = start_server(workspace.root, ready_jobs=True)
    yield client
    end_server(process, client, signal.SIGTERM)


def drawn(page: Any) -> None:
    """Wait until the strip and the map are drawn."""
    page.wait_for_function("() => document.getElementById('drawing').hidden && !document.getElementById('pad').hidden")


def test_the_picture_follows_the_slider_and_its_link_opens_it_again(page: Any) -> None:
    page.goto("/hybrids")
    drawn(page)
    taken = page.evaluate(LATENCIES)
    times = sorted(time for time, _ in taken)
    print(f"slider to frame: median {median(times):.1f} ms, 95th percentile {quantiles(times, n=20)[-1]:.1f} ms")
    assert all(exact for _, exact in taken)  # without a request, so the place of each is shown in the same frame of the screen
    page.get_by_label("Position between the two species").focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.get_by_text("10 % Aus primus, 90 % Bus secundus").wait_for()
    page.keyboard.press("r")
    drawn(page)
    page.get_by_label("Individual", exact=True).fill("4")
    page.get_by_text("50 % of the way to the other individual").wait_for()
    link, picture = page.get_by_label("Link to exactly this hybrid").input_value(), "() => document.getElementById('picture').toDataURL()"
    page.wait_for_function("() => document.getElementById('picture').dataset.frame === '0.9,0.5'")  # the strip of this individual has come
    before = page.evaluate(picture)
    page.locator("#qr summary").click()
    loaded(page, "#code")
    page.goto("/quiz")
    page.goto(link)
    drawn(page)
    page.get_by_text("10 % Aus primus, 90 % Bus secundus, 50 % of the way").wait_for()
    assert page.evaluate(picture) == before
    for _ in range(3):
        page.go_back()
    drawn(page)
    assert page.get_by_label("Link to exactly this hybrid").input_value().endswith("seed=0&other=1&x=0.9&y=0")  # before the other individuals


def test_a_hybrid_is_kept_taken_along_and_projected(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/hybrids?generator=little&first=Bus+secundus&second=Aus+primus&seed=5&other=6&x=0.2")
    drawn(page)
    page.locator("#pad").click(position={"x": 5, "y": 5})
    page.get_by_text("Bus secundus", exact=True).locator("visible=true").first.wait_for()
    page.locator("#pad").click(position={"x": page.locator("#pad").bounding_box()["width"] / 2, "y": 2})
    page.keyboard.press("f")
    page.get_by_role("link", name="Bus secundus × Aus primus, 50 %").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Picture (PNG)").click()
    assert download.value.suggested_filename == "bus-secundus-x-aus-primus-50-percent.png"
    with Image.open(download.value.path()) as taken:
        assert taken.size == (32, 32)
    page.get_by_role("button", name="Projector view").click()
    assert page.locator("#individuals").is_hidden() and page.locator("header").bounding_box()["y"] <= 0
    page.keyboard.press("ArrowRight")
    page.get_by_text("47 % Bus secundus, 53 % Aus primus").wait_for()
    page.keyboard.press("Escape")
    page.locator("#individuals").wait_for()
    page.get_by_role("button", name="Remove Bus secundus × Aus primus").click()
    page.get_by_text("None yet.").wait_for()
    page.get_by_label("To", exact=True).select_option("Bus secundus")
    page.get_by_text("another individual", exact=True).wait_for()
    page.wait_for_function("() => document.getElementById('drawing').hidden")
    assert page.locator("#individuals").is_hidden()

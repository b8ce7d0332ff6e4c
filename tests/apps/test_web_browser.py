"""The Studio's pages in a real browser: what a person does with mouse and keyboard, and that nothing is complained of."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
from studio import png

from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection

pytestmark = pytest.mark.slow


def test_photographs_are_imported_and_looked_at(page: Any) -> None:
    page.goto("/")
    page.get_by_label("Name of the new collection").fill("mine")
    page.get_by_label("Species", exact=True).fill("Cus tertius")
    photographs = [{"name": f"{i}.png", "mimeType": "image/png", "buffer": png(40 + i, (20 * i, 90, 40))} for i in range(6)]
    page.get_by_label("Photographs or a zip").set_input_files(photographs)
    page.get_by_role("button", name="Import").click()
    page.get_by_role("link", name="mine").wait_for(timeout=120_000)
    page.get_by_role("link", name="mine").click()
    assert page.locator(".grid img").count() == 6
    page.wait_for_function("() => [...document.querySelectorAll('.grid img')].every((image) => image.naturalWidth > 0)")


def test_images_are_judged_by_keyboard(page: Any, workspace: Workspace) -> None:
    page.goto("/collections/many/curate")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Compare with").select_option("fish")
    page.get_by_role("button", name="Begin").click()
    seen: list[str] = []
    waits: list[float] = []
    for number in range(30):
        page.wait_for_function("([known]) => !known.includes(document.getElementById('caption').textContent)", arg=[["", *seen]])
        seen.append(page.locator("#caption").inner_text())
        if number == 10:
            page.keyboard.press("Enter")
            assert page.locator("#zoom").get_attribute("aria-pressed") == "true"
        if number < 29:
            waits.append(
                page.evaluate(
                    """async (key) => {
                        const before = document.getElementById("image").src, start = performance.now();
                        document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
                        while (document.getElementById("image").src === before) await new Promise(requestAnimationFrame);
                        await new Promise(requestAnimationFrame);
                        return performance.now() - start;
                    }""",
                    "ar"[number % 2],
                )
            )
    page.keyboard.press("u")
    page.get_by_text("Every image is judged").wait_for()
    print(f"key to next image painted: median {statistics.median(waits):.0f} ms, largest {max(waits):.0f} ms")
    page.keyboard.press("z")
    page.get_by_text("Taken back: unsure").wait_for()
    assert page.locator("#caption").inner_text() == seen[-1]
    page.keyboard.press("r")
    page.get_by_text("Every image is judged").wait_for()
    page.wait_for_timeout(6000)
    table = Collection.open(workspace.root / "collections" / "many").table
    assert table["verdict"].tolist() == ["accepted", "refused"] * 15
    assert set(table["reviewer"]) == {"Ada"}


@pytest.mark.parametrize("address", ["/", "/collections/fish", "/collections/drawn/curate"])
def test_pages_fit_a_phone(page: Any, address: str) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

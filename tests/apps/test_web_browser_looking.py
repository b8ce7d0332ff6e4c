"""Looking at a collection in a real browser: by keyboard, from image to image, several judged at once, and back again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from made import make_collection
from studio_server import end_server, loaded, make_workspace, start_server

from syntype.apps.web.catalogue import Catalogue
from syntype.apps.web.looks import Looks
from syntype.apps.web.workspace import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("looking") / "workspace")


@pytest.fixture(scope="module")
def server(workspace: Workspace) -> Iterator[httpx2.Client]:
    process, client = start_server(workspace.root, ready=True)
    yield client
    end_server(process, client, signal.SIGTERM)


def focused(page: Any) -> str:
    return str(page.evaluate("document.activeElement.closest('li')?.dataset.key ?? document.activeElement.className"))


def test_a_collection_is_searched_looked_at_and_judged_by_keyboard(page: Any, server: httpx2.Client) -> None:
    def count(verdict: str) -> int:
        return int(server.get("/api/collections/drawn/images", params={"verdict": verdict}).json()["total"])

    page.goto("/collections/drawn")
    loaded(page, "#tiles img")
    page.get_by_label("Search", exact=True).fill("SECUNDUS")
    page.keyboard.press("Enter")
    page.get_by_text("1 to 6 of 6 that match").wait_for()
    assert page.url.endswith("/collections/drawn?query=SECUNDUS"), "what is empty is not in the address"
    page.get_by_label("large").check()
    page.reload()
    assert page.locator("#tiles").get_attribute("data-tiles") == "large", "the size is kept"

    page.locator("#tiles a").first.focus()  # an image large, the next one, and back by Escape
    page.keyboard.press("ArrowRight")
    assert focused(page) == "1-1"
    page.keyboard.press("Enter")
    box = page.get_by_role("dialog", name="Image")
    box.get_by_text("2 of 6").wait_for()
    page.keyboard.press("ArrowRight")
    box.get_by_text("3 of 6").wait_for()
    assert "/images/1-2?query=SECUNDUS" in page.url
    page.keyboard.press("f")
    assert page.locator("dialog .large img").get_attribute("src") == "/api/collections/drawn/images/1-2/file"
    page.keyboard.press("f")
    page.keyboard.press("Escape")
    box.wait_for(state="hidden")
    assert focused(page) == "1-2" and page.url.endswith("?query=SECUNDUS")
    page.go_forward()
    box.get_by_text("3 of 6").wait_for()
    page.go_back()
    box.wait_for(state="hidden")

    page.get_by_label("Your name").fill("Ada")  # three images rejected together, and all taken back by one key
    page.locator("#tiles a").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    page.get_by_text("3 chosen").wait_for()
    page.keyboard.press("r")
    page.get_by_text("3 images rejected").wait_for()
    assert page.locator("#tiles li.refused").count() == count("refused") == 3
    page.keyboard.press("z")
    page.get_by_text("Taken back: reject of 3 images").wait_for()
    assert page.locator("#tiles li.refused").count() == count("refused") == 0
    page.keyboard.press("s")
    page.get_by_text("6 chosen").wait_for()
    page.keyboard.press("a")
    page.get_by_text("6 images accepted").wait_for()
    page.keyboard.press("Enter")  # the focus is still on an image: it opens
    box.get_by_role("term").filter(has_text="Ada").wait_for()
    page.keyboard.press("r")
    box.get_by_text("1 image rejected").wait_for()
    assert (count("accepted"), count("refused")) == (5, 1)
    page.keyboard.press("z")
    box.get_by_text("Taken back: reject of 1 image").wait_for()
    assert count("accepted") == 6
    page.keyboard.press("Escape")
    box.wait_for(state="hidden")

    page.locator("#tiles input").nth(1).click()  # with the mouse
    page.locator("#tiles a").nth(4).click(modifiers=["Shift"])
    page.get_by_text("4 chosen").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("None chosen").wait_for()

    page.goto("/collections/drawn/curate")  # the latest decision was one about six images: taken back there as one
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Begin").click()
    page.get_by_text("0 judged, 10 left").wait_for()
    page.keyboard.press("z")
    page.get_by_text("Undone: accepted of 6 images that were judged together").wait_for()
    page.get_by_text("0 judged, 16 left").wait_for()
    assert count("accepted") == 0


def test_a_map_takes_the_place_of_its_progress(page: Any, server: httpx2.Client, workspace: Workspace) -> None:
    page.goto("/collections/drawn/map")
    page.evaluate("window.same = true")
    folder = Looks(workspace, Catalogue())._folder("drawn", "map")
    for name, content in (("job/exit", "0"), ("out/map.csv", "collection,image_id,species,origin,x,y\ndrawn,1-0,Bus secundus,synthetic,0,2\n")):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(content)
    page.get_by_role("button", name="Draw the map").click()
    page.locator("#map .dot").wait_for(state="attached")
    page.locator("#map").focus()
    page.locator("#pointed").filter(has_text="Bus secundus, synthetic image 1-0").wait_for()
    assert page.evaluate("window.same") and page.locator("#map .dot").count() == 1 and not page.locator("#begin").count()


def test_an_image_opens_on_a_telephone(chromium: Any, server: httpx2.Client) -> None:
    context = chromium.new_context(base_url=str(server.base_url), viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto("/collections/fish?sort=file_name")
    page.locator("#tiles a").first.tap()
    box = page.get_by_role("dialog", name="Image")
    box.get_by_text("1 of 24").wait_for()
    page.evaluate(
        """() => {
            const place = document.querySelector("dialog.lightbox");
            const touch = (clientX) => new Touch({ identifier: 1, target: place, clientX, clientY: 300 });
            place.dispatchEvent(new TouchEvent("touchstart", { touches: [touch(300)], changedTouches: [touch(300)] }));
            place.dispatchEvent(new TouchEvent("touchend", { touches: [], changedTouches: [touch(100)] }));
        }"""
    )
    box.get_by_text("2 of 24").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box.get_by_role("link", name="All images").tap()
    box.wait_for(state="hidden")
    page.goto("/collections/fish/images/0-0")  # the same on a page of its own
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/images/0-1")
    context.close()


def test_a_collection_is_changed_by_keyboard_and_back_and_a_training_is_weighed(page: Any, server: httpx2.Client, workspace: Workspace) -> None:
    """Names are corrected and photographs moved; the page for a training follows the collection."""

    def species() -> dict[str, int]:
        return dict(server.get("/api/collections/fish").json()["facets"]["species"])

    before = species()
    page.goto("/collections/fish")
    loaded(page, "#tiles img")
    page.locator("#tiles a").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    page.get_by_text("2 chosen").wait_for()
    page.keyboard.press("n")
    page.get_by_label("Right name").fill("Cus quartus")
    page.keyboard.press("Enter")
    page.get_by_text("Take it back with z.").wait_for()
    assert species()["Cus quartus"] == 2
    page.get_by_text("Cus quartus").first.wait_for()
    page.locator("#tiles a").first.focus()
    page.keyboard.press("z")
    page.get_by_text("Taken back.").wait_for()
    assert species() == before

    make_collection(workspace.root / "collections" / "more", {"Aus primus": 2, "Cus tertius": 80}, seed=9, size=16)
    page.goto("/collections/more?species=Aus+primus")
    page.locator("#tiles a").first.focus()
    page.keyboard.press("Control+a")
    page.keyboard.press("m")
    page.get_by_text("2 photographs of 1 species, all to learn from.").wait_for()
    page.get_by_role("button", name="Move", exact=True).press("Enter")
    page.get_by_text("2 photographs moved.").wait_for()
    assert species()["Aus primus"] == before["Aus primus"] + 2
    page.keyboard.press("z")
    page.get_by_text("moved back. fish has changed too.").wait_for()
    assert species() == before

    page.goto("/new/train?collection=fish")
    page.get_by_text("No species has 30 photographs").wait_for()
    page.get_by_label("Photographs", exact=True).select_option("more")
    page.get_by_text("1 species with 30 photographs").wait_for()
    page.get_by_role("radio", name="Cut-outs recombined").focus()
    page.keyboard.press("ArrowDown")
    assert page.get_by_label("Size of the images").input_value() == "64"
    page.get_by_label("Minutes to train").fill("5")
    page.keyboard.press("Tab")
    page.get_by_text("5 minutes, as you choose").first.wait_for()

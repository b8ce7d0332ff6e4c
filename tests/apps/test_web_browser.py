"""The Studio's pages in a real browser: what a person does with mouse and keyboard, and that nothing is complained of."""

from __future__ import annotations

import base64
import signal
import statistics
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from studio_server import end_server, loaded, make_synthetic, make_workspace, png, start_server, until, zipped

from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One for all: each test makes things of its own name, or reads what no other changes."""
    workspace = make_workspace(tmp_path_factory.mktemp("browser") / "workspace")
    make_synthetic(workspace.root / "collections" / "many", {"Aus primus": 200})
    return workspace


@pytest.fixture(scope="module")
def server(workspace: Workspace) -> Iterator[httpx2.Client]:
    process, client = start_server(workspace.root, ready=True)
    yield client
    end_server(process, client, signal.SIGTERM)


def test_photographs_are_imported_and_looked_at(page: Any) -> None:
    page.goto("/")
    page.get_by_label("Name of the new collection").fill("mine")
    page.get_by_label("Species", exact=True).fill("Cus tertius")
    photographs = [{"name": f"{i}.png", "mimeType": "image/png", "buffer": png(40 + i, (20 * i, 90, 40))} for i in range(6)]
    page.get_by_label("Photographs or a zip").set_input_files(photographs)
    page.get_by_role("button", name="Send").click()
    page.get_by_text("6 photographs of 1 species").wait_for()
    loaded(page, "#species img")
    page.get_by_role("button", name="Import these").click()
    page.get_by_role("link", name="Look at the photographs").click(timeout=240_000)
    assert page.locator(".grid img").count() == 6
    loaded(page, ".grid img")


def test_dropped_photographs_are_imported_and_refused_ones_told(page: Any) -> None:
    page.goto("/")
    page.get_by_label("Name of the new collection").fill("dropped")
    page.get_by_label("Species", exact=True).fill("Cus tertius")
    files = [(f"{i}.png", base64.b64encode(png(40 + i, (20 * i, 90, 40))).decode()) for i in range(6)] + [("broken.png", "bm8=")]
    dropped = page.evaluate_handle(
        """(files) => {
            const transfer = new DataTransfer();
            for (const [name, text] of files) transfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
            return transfer;
        }""",
        files,
    )
    page.dispatch_event("#drop", "dragover", {"dataTransfer": dropped})
    assert page.locator("#drop.over").count() == 1
    page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
    page.get_by_text("7 files chosen").wait_for()
    page.get_by_role("button", name="Send").click()
    page.get_by_text("1 file refused when sent").wait_for()
    page.get_by_text("The files and rows").click()
    page.get_by_role("cell", name="broken.png").wait_for()
    page.complaints.clear()  # the browser itself notes that the server refused the broken one
    page.get_by_role("button", name="Import these").click()
    page.get_by_role("link", name="Look at the photographs").click(timeout=240_000)
    page.get_by_text("6 images of 1 species").wait_for()
    page.get_by_text("How many images each species has").click()
    loaded(page, "#long-tail")


def test_names_are_corrected_in_the_preview_and_outlive_a_reload(page: Any, server: httpx2.Client) -> None:
    """A folder of folders as macOS zips it, with a misspelt species and one that is none."""
    names = ["Cus tertius"] * 3 + ["Cus tercius"] * 2 + ["Divers"]
    members = [(f"Reef/{name}/{i}.png", png(40 + i, (20 * i, 90, 40))) for i, name in enumerate(names)]
    page.goto("/")
    page.get_by_label("Name of the new collection").fill("corrected")
    packed = zipped(*members, ("__MACOSX/Reef/._Cus tertius", b"x"), ("Reef/.DS_Store", b"x"))
    page.get_by_label("Photographs or a zip").set_input_files([{"name": "Reef.zip", "mimeType": "application/zip", "buffer": packed}])
    page.get_by_role("button", name="Send").click()
    page.get_by_text("6 photographs of 3 species").wait_for()
    page.get_by_label("Name of Cus tercius").fill("Cus tertius")
    page.keyboard.press("Tab")
    page.get_by_text("6 photographs of 2 species").wait_for()
    page.reload()
    page.get_by_text("6 photographs of 2 species").wait_for()
    assert page.get_by_label("Name of Cus tercius").input_value() == "Cus tertius"
    page.locator("li", has=page.get_by_label("Name of Divers")).get_by_role("checkbox").uncheck()
    page.get_by_text("5 photographs of 1 species").wait_for()
    page.get_by_label("Photographer or institution").fill("Reef Museum")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Import these").click()
    page.get_by_role("link", name="Look at the photographs").click(timeout=240_000)
    assert page.locator(".grid img").count() == 5
    images = server.get("/api/collections/corrected/images").json()["images"]
    assert {image["species"] for image in images} == {"Cus tertius"}


def test_two_hundred_images_are_judged_by_keyboard(page: Any, workspace: Workspace) -> None:
    """Every tenth decision is taken back and made again."""
    page.goto("/collections/many/curate")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Compare with").select_option("fish")
    page.get_by_role("button", name="Begin").click()
    page.wait_for_function("() => document.getElementById('caption').textContent")
    assert page.locator("#nearest img").count() == 3
    page.keyboard.press("Enter")
    assert page.locator("#zoom").get_attribute("aria-pressed") == "true"
    page.keyboard.press("Enter")
    waits = page.evaluate(
        """async () => {
            const text = (id) => document.getElementById(id).textContent;
            const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
            const until = async (done) => { while (!done()) await new Promise(requestAnimationFrame); };
            const waits = [];
            for (let number = 0; number < 199; number++) {
                const before = text("caption"), start = performance.now();
                press("ar"[number % 2]);
                await until(() => text("caption") !== before);
                waits.push(performance.now() - start);
                if (number % 10 === 9) {
                    press("z");
                    await until(() => text("caption") === before && text("status").startsWith("Undone"));
                    press("ar"[number % 2]);
                    await until(() => text("caption") !== before);
                }
            }
            return waits;
        }"""
    )
    last = page.locator("#caption").inner_text()
    page.keyboard.press("u")
    page.get_by_text("All images are judged").wait_for()
    print(f"key to next image shown: median {statistics.median(waits):.0f} ms, largest {max(waits):.0f} ms")
    page.keyboard.press("z")
    page.get_by_text("Undone: unsure").wait_for()
    assert page.locator("#caption").inner_text() == last
    page.keyboard.press("r")
    page.get_by_text("All images are judged").wait_for()
    page.reload()
    page.get_by_role("row", name="Ada 100 100 0").wait_for()
    folder = workspace.root / "collections" / "many"
    until(lambda: Collection.open(folder).table["verdict"].notna().all())
    table = Collection.open(folder).table
    assert table["verdict"].tolist() == ["accepted", "refused"] * 100
    assert set(table["reviewer"]) == {"Ada"}


def test_earlier_verdicts_are_changed_by_keyboard_and_both_pictures_are_enlarged_together(page: Any, server: httpx2.Client) -> None:
    page.goto("/collections/drawn/curate?real=fish&species=Aus+primus&judges=2")  # the choice that a colleague has sent
    assert page.get_by_label("Species").input_value() == "Aus primus"
    page.get_by_label("Your name").fill("Bo")
    page.get_by_role("button", name="Begin").click()
    page.get_by_text("0 judged, 10 left").wait_for()
    assert page.locator("#right img").get_attribute("alt") == "Photograph of Aus primus"
    sizes = page.evaluate("['left', 'right'].map((id) => document.querySelector(`#${id} img`).getBoundingClientRect().height)")
    assert sizes[0] == sizes[1] > 300
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+ArrowLeft")
    seen = "['left', 'right'].map((id) => getComputedStyle(document.querySelector(`#${id} img`)).transform)"
    left, right = page.evaluate(seen)
    assert left == right and left.startswith("matrix(3, 0, 0, 3, ")
    page.keyboard.press("c")  # another photograph, seen at the same place
    assert page.evaluate(seen) == [left, left] and page.locator("#nearest [aria-pressed=true] img").count() == 1

    page.keyboard.press("2")
    page.get_by_text("1 judged, 9 left").wait_for()
    page.keyboard.press("a")
    page.get_by_text("2 judged, 8 left").wait_for()
    newest = page.locator("#caption").inner_text()
    page.keyboard.press("ArrowLeft")
    page.get_by_text("You said: accepted").wait_for()
    page.keyboard.press("b")
    page.get_by_text("You said: rejected, wrong colours").wait_for()
    page.keyboard.press("u")
    page.get_by_text("You said: accepted").wait_for()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("(words) => document.getElementById('caption').textContent === words", arg=newest)
    page.keyboard.press("z")
    page.get_by_text("You said: rejected, wrong colours").wait_for()  # what was said before holds again
    assert server.get("/api/collections/drawn/verdicts").json()["reviewers"]["Bo"] == {"accept": 1, "reject": 1}
    page.reload()
    page.get_by_label("Images", exact=True).select_option("decided")
    page.get_by_role("button", name="Begin").click()
    page.get_by_text("0 judged, 2 left").wait_for()
    page.keyboard.press("ArrowLeft")
    page.get_by_text("You said: accepted").wait_for()
    for _ in range(2):  # the export below is of all images
        assert server.post("/api/collections/drawn/verdicts/undo", json={"reviewer": "Bo"}).json()["num_undone"] == 1
    server.post("/api/collections/drawn/verdicts/apply").raise_for_status()


@pytest.mark.parametrize("address", ["/collections/drawn/curate", "/quiz?synthetic=drawn"])
def test_a_name_typed_before_the_scripts_are_there_stays(page: Any, address: str) -> None:
    held: list[Any] = []
    page.route("**/static/*/studio.js", lambda route: held.append(route))
    page.goto(address, wait_until="commit")
    page.get_by_label("Your name").fill("Ada")
    assert page.get_by_role("button", name="Begin").is_disabled()
    while not held:
        page.wait_for_timeout(50)
    held[0].continue_()
    page.unroute("**/static/*/studio.js")
    page.locator("button[data-wait]:enabled", has_text="Begin").wait_for()
    assert page.get_by_label("Your name").input_value() == "Ada"
    page.get_by_role("button", name="Begin").click()
    page.get_by_text("0 judged" if "curate" in address else "Picture 1 of").wait_for()
    page.goto(address)
    assert page.get_by_label("Your name").input_value() == "Ada"  # kept for the next time


def test_a_quiz_is_taken_and_survives_a_reload(page: Any) -> None:
    page.goto("/quiz?synthetic=drawn")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Pictures").fill("4")
    page.get_by_role("button", name="Begin").click()
    for number, key in enumerate("psps"):
        page.get_by_text(f"Picture {number + 1} of 4").wait_for()
        if number == 2:
            page.reload()
            page.get_by_text("Picture 3 of 4").wait_for()
        page.locator("#quiz[aria-busy=false]").wait_for()  # a key before the picture is there answers nothing
        page.keyboard.press(key)
    page.get_by_text("of 4 right").wait_for()
    assert "guessing gives half" in page.locator("#meaning").inner_text()
    right = int(page.locator("#score").inner_text()[0])
    assert page.locator("#mistakes > li").count() == 4 - right, "each mistake, with photographs beside it"
    if right < 4:
        assert "You said: " in page.locator("#mistakes figcaption").first.inner_text()
        assert page.locator("#mistakes .grid img").count() >= 4 - right  # a photograph that was taken for synthetic is not shown beside itself


def test_a_class_names_species_by_a_show_of_hands(page: Any) -> None:
    page.goto("/quiz?synthetic=drawn&real=fish")
    page.get_by_label("Question").select_option("species")
    page.get_by_label("For a class").check()
    page.get_by_label("Your name").fill("Class")
    page.get_by_label("Pictures").fill("2")
    page.get_by_role("button", name="Begin").click()
    hands = []
    for number in range(2):
        page.get_by_text(f"Picture {number + 1} of 2").wait_for()
        page.locator("#quiz[aria-busy=false]").wait_for()
        for key in ("1", "2", "2", "2", "z"):
            page.keyboard.press(key)
        assert [button.inner_text().split()[-1] for button in page.locator("#choices button").all()] == ["1", "2"]
        page.keyboard.press("Enter")
        page.locator("#truth", has_text="us ").wait_for()
        hands.append(int(page.locator("#hands").inner_text()[0]))
        assert page.locator("#similar img").count() >= 2
        page.keyboard.press("Enter")
    page.get_by_text(f"Of 6 hands, {sum(hands)} were right.").wait_for()
    assert page.locator("#score").inner_text() == f"{hands.count(2)} of 2 right."


def test_a_set_is_exported_and_downloaded(page: Any) -> None:
    page.goto("/collections/drawn")
    page.get_by_role("link", name="Export", exact=True).last.click()
    page.get_by_label("Name of the result").fill("set")
    page.get_by_role("button", name="Export").click()
    with page.expect_download(timeout=240_000) as download:
        page.get_by_role("link", name="Download it").click(timeout=240_000)
    with zipfile.ZipFile(download.value.path()) as archive:
        names = archive.namelist()
    assert sum(name.endswith(".png") for name in names) == 16 and "metadata.csv" in names

"""Faults that people met in a real browser, each as they met it: one server and one browser for all."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from made import make_collection
from studio_server import end_server, make_workspace, png, start_server, until, wait

from syntype.apps.web.workspace import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Photographs, synthetic images of them, and a generator that is only asked for its species."""
    workspace = make_workspace(tmp_path_factory.mktemp("faults") / "workspace")
    make_collection(workspace.root / "collections" / "aquarium", {"Xus alienus": 8})
    generator = workspace.root / "generators" / "little"
    generator.mkdir()
    told = {
        "family": "fastgan",
        "abilities": ["adapt", "vary", "inpaint"],
        "species": ["Aus primus", "Aus prior", "Bus secundus"],
        "config": {"size": 32},
    }
    (generator / "generator.json").write_text(json.dumps({**told, "collection": {"name": "fish"}}))
    run = {"inputs": {"generator": {"path": str(generator)}}}
    (workspace.root / "collections" / "drawn" / "run.json").write_text(json.dumps(run))
    return workspace


@pytest.fixture(scope="module")
def server(workspace: Workspace) -> Iterator[httpx2.Client]:
    process, client = start_server(workspace.root, ready=True)
    yield client
    end_server(process, client, signal.SIGTERM)


@pytest.fixture
def reef(tmp_path: Path) -> Path:
    """A folder of folders as a system keeps it."""
    folder = tmp_path / "reef"
    for species, number in (("Aus primus", 4), ("Bus_secundus", 3)):
        (folder / species).mkdir(parents=True)
        for index in range(number):
            (folder / species / f"{index}.png").write_bytes(png(40 + index, (20 * index, 10 * number, 40)))
    for name in (".DS_Store", "Thumbs.db", "Aus primus/.DS_Store"):
        (folder / name).write_bytes(b"anything")
    return folder


def drop(page: Any, *paths: Path) -> None:
    """Drop files and folders of the disk onto the page, as from a file manager."""
    page.locator("#drop").scroll_into_view_if_needed()
    box = page.locator("#drop").bounding_box()
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": box["x"] + 20, "y": box["y"] + box["height"] - 10, "data": data})


def uploads(server: httpx2.Client) -> list[str]:
    return [item["upload"] for item in server.get("/api/uploads").json()]


def test_a_folder_is_dropped_or_picked_and_its_folders_name_the_species(page: Any, server: httpx2.Client, reef: Path) -> None:
    page.goto("/")
    page.get_by_label("Name of the new collection").fill("reef")
    drop(page, reef)
    page.get_by_text("7 files chosen").wait_for()
    page.get_by_role("button", name="Send").click()
    page.get_by_text("7 photographs of 2 species").wait_for()
    assert page.locator("#refusals").is_hidden()
    page.get_by_role("button", name="Discard").click()
    page.wait_for_url("**/")
    page.locator("#folder").set_input_files(reef)
    page.get_by_text("7 files chosen").wait_for()
    (reef / "Bus_secundus" / "1.png").unlink()  # it can no longer be read: the others go on
    page.get_by_label("Name of the new collection").fill("reef")
    page.get_by_label("Species", exact=True).fill("Cus tertius")
    with page.expect_request("**/preview**"):
        page.get_by_role("button", name="Send").click()
        page.wait_for_url("**/uploads/*")
    page.get_by_text("As the folders say: 2 species").wait_for()
    assert page.get_by_role("button", name="Import these").is_disabled()
    page.get_by_label("All 6 photographs are of Cus tertius").check()
    page.get_by_text("6 photographs of 1 species").wait_for()
    page.get_by_label("As the folders say").check()
    page.get_by_text("6 photographs of 2 species").wait_for()
    page.locator("#take:enabled").wait_for()
    page.goto("/")
    page.get_by_text("6 photographs").wait_for()
    page.get_by_role("button", name="Discard").click()
    page.get_by_text("6 photographs").wait_for(state="detached")
    assert uploads(server) == []
    page.complaints.clear()  # the browser notes the file that it could not read


def test_sending_tells_its_progress_and_is_cancelled_without_a_trace(page: Any, server: httpx2.Client, workspace: Workspace, reef: Path) -> None:
    held: list[Any] = []
    page.goto("/")
    page.get_by_label("Name of the new collection").fill("never")
    page.locator("#folder").set_input_files(reef)
    page.get_by_text("7 files chosen").wait_for()
    page.route("**/files?*", lambda route: held.append(route) if "3.png" in route.request.url else route.continue_())
    page.get_by_role("button", name="Send").click()
    page.get_by_text("6 of 7 files, ").wait_for()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_text("Sending was cancelled").wait_for()
    assert page.locator("#sending").is_hidden() and list((workspace.root / "uploads").iterdir()) == []
    page.unroute("**/files?*")
    page.get_by_role("button", name="Send").click()  # what was chosen is still chosen
    page.get_by_text("7 photographs of 2 species").wait_for()
    page.get_by_role("button", name="Discard").click()
    page.wait_for_url("**/")
    page.complaints.clear()


def test_a_species_that_was_typed_and_not_added_is_added_or_asked_about(page: Any) -> None:
    asked: list[Any] = []

    def refuse(route: Any) -> None:
        asked.append(route.request.post_data_json)
        route.fulfill(status=422, content_type="application/json", body='{"error": "not in this test"}')

    page.route("**/api/jobs", refuse)
    page.goto("/new/generate?generator=little")
    field, button = page.get_by_role("combobox", name="Species"), page.get_by_role("button", name="Generate", exact=True)
    for typed, told in (("Aus pri", "“Aus pri” may be Aus primus, Aus prior"), ("Zzz", "no species like “Zzz”")):
        field.fill(typed)
        button.click()
        page.get_by_text(told).wait_for()
    assert asked == []
    field.fill("secundus")
    button.click()
    page.get_by_text("not in this test").wait_for()
    assert [request["species"] for request in asked] == [["Bus secundus"]]
    page.goto("/new/adapt?generator=little&collection=fish")
    page.wait_for_function("() => document.querySelectorAll('#of-found option').length === 2")
    page.get_by_label("Photographs", exact=True).select_option("aquarium")
    page.wait_for_function("() => document.querySelector('#of-found option')?.value === 'Xus alienus'")
    page.complaints.clear()


def test_keys_of_curation_work_wherever_the_focus_is_and_enter_repeats_nothing(page: Any, server: httpx2.Client) -> None:
    page.goto("/collections/drawn/curate")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Begin").click()
    page.get_by_text("0 judged, 16 left").wait_for()
    assert page.locator("#nearest img").count() == 3, "of the photographs from which the images were made"
    page.get_by_role("button", name="accept").click()
    page.get_by_text("1 judged, 15 left").wait_for()
    page.keyboard.press("Enter")
    assert page.locator("#zoom").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="forward").focus()
    page.keyboard.press("1")
    page.get_by_text("2 judged, 14 left").wait_for()
    page.get_by_role("button", name="undo").click()
    page.get_by_text("1 judged, 15 left").wait_for()
    page.keyboard.press("Enter")
    page.locator("#nearest button").last.focus()
    page.keyboard.press("u")
    page.get_by_text("2 judged, 14 left").wait_for()
    told = server.get("/api/collections/drawn/verdicts").json()["reviewers"]["Ada"]
    assert told == {"accept": 1, "unsure": 1}


def test_no_key_answers_for_a_picture_that_is_not_there_yet(page: Any) -> None:
    held: list[Any] = []
    page.route("**/items/*/image", lambda route: held.append(route))
    page.goto("/quiz?synthetic=drawn")
    assert page.get_by_label("Photographs", exact=True).input_value() == "fish"
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Pictures").fill("4")
    page.get_by_role("button", name="Begin").click()
    page.get_by_text("Picture 1 of 4").wait_for()
    for key in "psp":
        page.keyboard.press(key)
    page.locator("[data-real=yes]").click()
    page.wait_for_timeout(200)
    assert page.locator("#counted").inner_text() == "Picture 1 of 4"
    held.pop().continue_()
    page.unroute("**/items/*/image")
    page.locator("#quiz[aria-busy=false]").wait_for()
    page.locator("[data-real=yes]").click()
    page.get_by_text("Picture 2 of 4").wait_for()
    page.locator("#quiz[aria-busy=false]").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_timeout(200)
    assert page.locator("#counted").inner_text() == "Picture 2 of 4"

    page.route("**/thumbnail?side=1024*", lambda route: route.abort())
    page.goto("/collections/drawn/curate")
    page.get_by_label("Your name").fill("Eve")
    page.get_by_role("button", name="Begin").click()
    page.get_by_text("The picture of this image cannot be shown").wait_for()
    page.keyboard.press("a")
    page.wait_for_timeout(200)
    assert page.locator("#counted").inner_text() == "0 judged, 16 left"
    page.complaints.clear()


def test_a_finished_job_changes_the_lists_and_nothing_that_one_types(page: Any, server: httpx2.Client, reef: Path) -> None:
    page.goto("/")
    page.evaluate("window.same = true")
    page.get_by_label("Species", exact=True).fill("Cus tertius")
    page.locator("#folder").set_input_files(reef)
    page.get_by_label("Name of the new collection").focus()  # which selects the name that is offered
    page.keyboard.type("half a na")
    assert page.locator("#newest a", has_text="theirs").count() == 0
    for name in ("theirs", "others"):
        job = server.post("/api/jobs", json={"kind": "export", "name": name, "collection": "fish"}).json()
        assert wait(server, job["id"])["status"] == "finished"
    page.locator("#newest a", has_text="others").wait_for()
    page.keyboard.type("me")
    assert page.get_by_label("Name of the new collection").input_value() == "half a name"
    assert page.get_by_label("Species", exact=True).input_value() == "Cus tertius" and page.get_by_text("7 files chosen").is_visible()
    link = page.locator("#newest a", has_text="theirs")
    link.focus()
    job = server.post("/api/jobs", json={"kind": "export", "name": "third", "collection": "fish"}).json()
    assert wait(server, job["id"])["status"] == "finished"
    page.locator("#newest a", has_text="third").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "theirs" and page.evaluate("window.same")
    page.get_by_role("button", name="Jobs").click()
    page.locator("#jobs a", has_text="Export: third").wait_for()


def test_an_image_whose_verdict_was_not_saved_comes_back_and_no_key_counts_for_another(page: Any, server: httpx2.Client) -> None:
    held: list[Any] = []
    page.goto("/collections/drawn/curate")
    page.get_by_label("Your name").fill("Fay")
    page.get_by_role("button", name="Begin").click()
    page.get_by_text("0 judged, 16 left").wait_for()
    first = page.locator("#caption").inner_text()
    page.route("**/verdicts", lambda route: held.append(route))
    page.keyboard.press("a")
    page.wait_for_function("(words) => document.getElementById('caption').textContent !== words", arg=first)
    second = page.locator("#caption").inner_text()
    assert page.locator("#counted").inner_text() == "0 judged, 16 left", "what is not saved is not counted"
    page.keyboard.press("r")  # waits for the verdict before it
    page.wait_for_timeout(200)
    assert page.locator("#caption").inner_text() == second and len(held) == 1
    held.pop().abort()
    page.get_by_text("The server does not answer").wait_for()
    page.wait_for_timeout(200)
    assert page.locator("#caption").inner_text() == first and not held, "neither image was judged"

    page.keyboard.press("1")
    while not held:
        page.wait_for_timeout(20)
    page.keyboard.press("a")
    held.pop().continue_()
    while not held:
        page.wait_for_timeout(20)
    page.get_by_text("1 judged, 15 left").wait_for()
    held.pop().continue_()
    page.get_by_text("2 judged, 14 left").wait_for()
    page.unroute("**/verdicts")
    assert page.locator("#problem").is_hidden()
    page.keyboard.press("ArrowLeft")
    page.get_by_text("You said: accepted").wait_for()
    page.keyboard.press("ArrowLeft")
    page.get_by_text("You said: rejected, wrong shape").wait_for()
    page.route("**/verdicts", lambda route: route.abort())
    page.keyboard.press("u")  # one that was judged before
    page.get_by_text("The server does not answer").wait_for()
    assert page.locator("#caption").inner_text() == first and page.locator("#own").inner_text().startswith("You said: rejected")
    page.unroute("**/verdicts")
    for key in "uz":
        page.keyboard.press(key)
    page.get_by_text("Undone: unsure").wait_for()
    page.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', { key: 'u' })); location.reload()")  # while it is being saved
    page.get_by_role("button", name="Begin").wait_for()
    until(lambda: server.get("/api/collections/drawn/verdicts").json()["reviewers"]["Fay"] == {"accept": 1, "unsure": 1})
    page.complaints.clear()

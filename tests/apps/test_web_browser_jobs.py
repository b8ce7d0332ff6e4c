"""Jobs in a real browser: asked for in a form, watched, stopped, taken up again, and what they give; and hybrids that are drawn without a job."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx2
import pytest
from PIL import Image
from studio_server import end_server, loaded, make_workspace, png, start_server, until

from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection

pytestmark = pytest.mark.slow
PAINTED = "() => document.getElementById('mask').getContext('2d').getImageData(0, 0, 256, 256).data.filter((value) => value).length"
"""How much of the mask is painted."""
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


def with_generator(workspace: Workspace, trained: Path) -> Workspace:
    shutil.copytree(trained, workspace.root / "generators" / "little")
    return workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Workspace:
    """One for all that make things of their own name."""
    return with_generator(make_workspace(tmp_path_factory.mktemp("jobs") / "workspace"), trained)


@pytest.fixture(scope="module")
def server(workspace: Workspace) -> Iterator[httpx2.Client]:
    process, client = start_server(workspace.root, ready=True)
    yield client
    end_server(process, client, signal.SIGTERM)


def pick(page: Any, *species: str) -> None:
    """Search for species and choose the first that is found of each."""
    for name in species:
        page.get_by_role("combobox", name="Species").fill(name[:3].lower())
        page.get_by_role("combobox", name="Species").press("Enter")
        page.get_by_role("button", name=f"Remove {name}").wait_for()


def start(page: Any, button: str, name: str) -> None:
    """Give the result a name, and wait until the job has finished."""
    page.get_by_label("Name of the result").fill(name)
    page.get_by_role("button", name=button, exact=True).click()
    page.wait_for_url("**/jobs/*")
    page.locator("#status", has_text="finished").wait_for(timeout=240_000)


def test_images_are_generated_and_seen_as_they_come(page: Any, workspace: Workspace) -> None:
    page.goto("/new/generate")
    page.get_by_role("combobox", name="Species").fill("nobody")
    page.get_by_role("combobox", name="Species").press("Enter")
    page.get_by_text("has no species like").wait_for()
    pick(page, "Bus secundus")
    page.get_by_label("Images of each species").fill("5")
    start(page, "Generate", "new")
    loaded(page, "#pictures img")
    assert page.locator("#pictures img").count() == 5
    page.reload()
    loaded(page, "#pictures img")
    page.get_by_role("link", name="Curate them").click()
    page.wait_for_url("**/collections/new/curate")
    assert Collection.open(workspace.root / "collections" / "new").counts() == {"Bus secundus": 5}


def test_hybrids_move_with_a_slider_and_are_downloaded(page: Any) -> None:
    page.goto("/new/blend?generator=little")
    pick(page, "Aus primus", "Bus secundus")
    page.get_by_label("What changes along the strip").select_option("species")
    page.get_by_label("Images from one species to the next").fill("5")
    start(page, "Draw", "walk")
    slider = page.get_by_label("Position between the two")
    slider.focus()
    page.get_by_text("Aus primus × Bus secundus, 50 % of the way").wait_for()
    before = page.locator("#between img").get_attribute("src")
    for _ in range(2):
        slider.press("ArrowRight")
    page.get_by_text("Bus secundus, 100 % of the way").wait_for()
    loaded(page, "#between img")
    assert page.locator("#between img").get_attribute("src") != before
    for file, magic in (("strip.png", b"\x89PNG"), ("strip.gif", b"GIF8"), ("strip.webp", b"RIFF")):
        with page.expect_download() as download:
            page.get_by_role("link", name=f"Download {file}").click()
        assert Path(download.value.path()).read_bytes()[:4] == magic
    page.goto("/new/blend?generator=little&species=Aus+primus&species=Bus+secundus")
    page.get_by_label("Draw", exact=True).select_option("board")
    assert page.get_by_label("Images from one species to the next").is_hidden()
    page.get_by_label("How far from the row's species").fill("0.25")
    start(page, "Draw", "board")
    loaded(page, "#overviews img")
    page.get_by_text("Every species with every other").wait_for()


def test_photographs_are_varied_and_a_part_is_drawn_anew(page: Any, workspace: Workspace) -> None:
    page.goto("/new/vary?collection=fish&generator=little")
    page.locator("#found input").nth(1).check()
    page.get_by_label("Strength").fill("0.7")
    page.get_by_label("Images of each photograph").fill("2")
    start(page, "Vary", "varied")
    loaded(page, "#seen img")
    varied = Collection.open(workspace.root / "collections" / "varied").table
    assert len(varied) == 2 and varied["controls"].str.contains("0.7").all()
    page.get_by_role("img", name=f"Photograph {json.loads(varied['parents'][0])[0]}").wait_for()  # beside what was made from it
    loaded(page, "#parents img")
    assert page.locator("#parents .grid img").count() == 2

    page.goto("/new/inpaint?collection=fish&generator=little")
    page.get_by_role("button", name="Fill in").click()
    page.get_by_text("Choose a photograph first").wait_for()
    page.locator("#found input").first.check()
    page.get_by_role("button", name="Fill in").click()
    page.get_by_text("Mark the part to fill in first").wait_for()
    page.locator("#mask").scroll_into_view_if_needed()
    where = page.locator("#mask").bounding_box()
    page.mouse.move(where["x"] + 100, where["y"] + 100)
    page.mouse.down()
    page.mouse.move(where["x"] + 200, where["y"] + 160, steps=5)
    page.mouse.up()
    assert page.evaluate(PAINTED) > 0
    page.keyboard.press("z")
    assert page.evaluate(PAINTED) == 0
    assert page.get_by_role("button", name="Undo").is_disabled()
    touch = page.context.new_cdp_session(page)
    for kind, x in (("touchStart", 100), ("touchMove", 150), ("touchMove", 200), ("touchEnd", None)):
        points = [] if x is None else [{"x": where["x"] + x, "y": where["y"] + 100}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.wait_for_function(f"() => ({PAINTED})() > 0")
    before = page.evaluate(PAINTED)
    page.get_by_label("Images", exact=True).fill("3")
    page.get_by_label("Images", exact=True).press("Tab")
    page.goto("/quiz")
    page.go_back()
    page.locator("#mask").wait_for()
    page.wait_for_function(f"() => ({PAINTED})() === {before}")  # nothing is lost on the way
    page.locator("#found input:checked").wait_for()
    assert page.get_by_label("Images", exact=True).input_value() == "3"
    page.get_by_text("By keyboard").click()
    page.get_by_role("button", name="Mark this box").click()
    page.get_by_label("Images", exact=True).fill("1")
    start(page, "Fill in", "filled")
    loaded(page, "#seen img")
    filled = Collection.open(workspace.root / "collections" / "filled").table
    assert len(filled) == 1 and filled["controls"].str.contains("mask").all()
    assert list((workspace.root / "uploads").iterdir()) == []


def drawn(page: Any) -> None:
    """Wait until the strip and the map are drawn."""
    page.wait_for_function("() => document.getElementById('drawing').hidden && !document.getElementById('pad').hidden")


def test_the_picture_follows_the_slider_and_its_link_opens_it_again(page: Any) -> None:
    page.goto("/hybrids?generator=little")
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


@pytest.fixture
def own_workspace(tmp_path: Path, trained: Path) -> Workspace:
    """For a test that replaces the server, or counts its jobs."""
    return with_generator(make_workspace(tmp_path / "workspace"), trained)


@pytest.fixture
def restartable(own_workspace: Workspace) -> Iterator[list[Any]]:
    """A server's process and client, which the test may replace."""
    running = list(start_server(own_workspace.root))
    yield running
    end_server(*running, signal.SIGTERM)


def test_a_species_is_taught_through_a_restart_of_the_server(chromium: Any, restartable: list[Any], own_workspace: Workspace) -> None:
    """The page stays open: the server is killed, the job too, and the page tells how it goes on."""
    client, workspace = restartable[1], own_workspace
    page = chromium.new_page(base_url=str(client.base_url))
    page.set_default_timeout(120_000)
    page.goto("/new/adapt")
    page.get_by_label("Name of the species").fill("Cus tertius")
    photographs = [{"name": f"{i}.png", "mimeType": "image/png", "buffer": png(40 + i, (20 * i, 90, 40))} for i in range(7)]
    page.get_by_label("Drop at least six").set_input_files(photographs[:5])
    page.get_by_role("button", name="Adapt").click()
    page.get_by_text("At least 6 photographs are needed").wait_for()
    page.get_by_label("Drop at least six").set_input_files(photographs)
    page.get_by_label("Training steps").fill("100000")
    page.get_by_label("Name of the result").fill("taught")
    page.get_by_role("button", name="Adapt").click()
    page.wait_for_url("**/jobs/*")
    page.locator("#status", has_text=" of 100,000").wait_for()
    number = int(page.url.rpartition("/")[2])
    waiting = client.post("/api/jobs", json={"kind": "export", "name": "later", "collection": "fish"}).json()
    other = chromium.new_page(base_url=str(client.base_url))
    other.goto(f"/jobs/{waiting['id']}")
    other.locator("#status", has_text="waiting, 1 before it").wait_for()
    other.close()

    port, pid = client.base_url.port, workspace.root / "jobs" / str(number) / "pid"
    before = int(pid.read_text())
    end_server(*restartable)
    os.kill(before, signal.SIGKILL)
    page.get_by_text("The server does not answer").wait_for()
    restartable[:] = start_server(workspace.root, port=port, ready=True)
    client = restartable[1]
    page.locator("#problem").wait_for(state="hidden")
    until(lambda: pid.exists() and pid.read_text().strip() not in ("", str(before)), 300)
    page.locator("#status", has_text=" of 100,000").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.locator("#status", has_text="cancelled").wait_for()
    page.get_by_text("Log", exact=True).click()
    page.locator("#log", has_text="photographs").wait_for()
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Cancel").click()
    page.locator("#status", has_text="cancelled").wait_for()
    page.close()


def test_the_queue_says_who_is_next_and_a_failed_job_why(restartable: list[Any], page: Any) -> None:
    """The long one keeps the others waiting. (The page comes last: it is closed before its server ends.)"""
    server = restartable[1]
    asked = {"kind": "train", "name": "long", "family": "dcgan", "collection": "fish", "size": 32, "steps": 500_000}
    number = server.post("/api/jobs", json=asked).json()["id"]
    for name in ("second", "third"):
        server.post("/api/jobs", json={"kind": "train", "name": name, "family": "projected", "collection": "fish"})
    page.goto(str(server.base_url))
    page.get_by_role("button", name="Jobs (1 running, 2 waiting)").click()
    page.locator("#jobs li").nth(2).wait_for()
    assert [text.split("\n")[0] for text in page.locator("#jobs li").all_inner_texts()] == ["Training: long", "Training: second", "Training: third"]
    page.get_by_text("waiting, 2 before it").wait_for()
    page.get_by_role("button", name="Cancel third").click()
    page.get_by_text("cancelled before it started").wait_for()
    server.post(f"/api/jobs/{number}/cancel")
    page.get_by_role("link", name="Training: second").click()
    page.locator("#message", has_text="Minutes to train").wait_for(timeout=240_000)
    assert page.locator("#status").inner_text() == "failed"

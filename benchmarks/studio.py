"""How fast is the Studio under load? A collection of 50,000 images, a thousand decisions by keyboard, a slider, and eight reviewers at once.

    python benchmarks/studio.py [--images 50000] [--presses 1000] [--verdicts 10000] [--out FOLDER]

Starts `syntype serve` over a workspace that it makes itself: photographs whose files are hard links of a few drawn ones while every row of the
table is another image, and synthetic images to judge. Pages are asked for by a program and opened in Chromium (with `pip install
playwright`); keys are pressed in Chromium; reviewers speak to the server through its REST interface, over SQLite and over a PostgreSQL
that is started for the purpose, if Debian's package is there. What is not on this machine is left out. Each part is kept in --out, and not
measured again.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from common.large_workspace import BESIDE, COLLECTIONS, DIFFERENT, LARGE, make_workspace
from common.results import Page, kept, options, publish, rewrite, table
from common.studio import (
    CHROMIUM,
    REVIEWERS,
    check_nothing_is_lost,
    end_server,
    launch_chromium,
    postgresql_programs,
    postgresql_server,
    review_at_once,
    start_server,
)

from syntype.apps.web.reviews import Reviews
from syntype.apps.web.store import Store
from syntype.apps.web.workspace import Workspace

SEEN = """async () => {
    const inside = (box) => box.top < innerHeight && box.bottom > 0;
    const seen = [...document.querySelectorAll(".grid img")].filter((image) => inside(image.getBoundingClientRect()));
    await Promise.all(seen.map((image) => image.decode()));
    await new Promise((then) => requestAnimationFrame(() => setTimeout(then)));
    return [performance.now() / 1000, seen.length];
}"""
"""Seconds from the request until all thumbnails on the screen are painted, and how many these are."""
PRESSES = """
window.waits = [];
document.addEventListener("keydown", async (event) => {
    const place = document.getElementById("left");
    await new Promise((then) => new MutationObserver((_, seen) => { seen.disconnect(); then(); }).observe(place, { childList: true, subtree: true }));
    await document.getElementById("image").decode();
    await new Promise((then) => requestAnimationFrame(() => setTimeout(then)));
    window.waits.push(performance.now() - event.timeStamp);
}, true);
"""
"""For every key pressed the milliseconds until the next image is decoded and painted: the first task behind the frame that paints it."""
PACES = {"four a second": (0.25, "large"), "at once": (0.0, "large"), "four a second, large photographs beside": (0.25, "photographs")}
"""Seconds between an image and the key that judges it, and the collection whose photographs stand beside it."""
SLIDES = """async () => {
    const slider = document.getElementById("x"), picture = document.getElementById("picture"), taken = [];
    for (let turn = 0; turn < 310; turn++) {
        slider.value = turn % 31;
        const began = performance.now();
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        await new Promise((then) => requestAnimationFrame(() => setTimeout(then)));
        taken.push([performance.now() - began, Math.abs(parseFloat(picture.dataset.frame) - slider.value / 30) < 0.001]);
    }
    return taken;
}"""
"""For each move of the slider the milliseconds until a frame of the screen was painted with its picture, and whether that is the one of its place."""
QUERIES = ("species 77", "4999", "images train")
LIMITS = {"key, median": 35, "key, p95": 50, "slider, p95": 50, "search": 0.2, "first paint": 0.5, "memory": 400}
"""What is promised: milliseconds, seconds, MB."""
SAVING = "() => performance.getEntriesByType('resource').filter((one) => one.name.endsWith('/verdicts')).map((one) => one.duration)"
"""For every verdict the milliseconds from the request to its answer."""


def main() -> None:
    parser = options("studio", __doc__)
    parser.add_argument("--images", type=int, default=50_000, help="images of the large collection")
    parser.add_argument("--presses", type=int, default=1000, help="decisions by keyboard")
    parser.add_argument("--verdicts", type=int, default=10_000, help=f"decisions of {REVIEWERS} reviewers together")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("studio", report, arguments)
        return
    root = arguments.out / "workspace"
    if not (root / "collections" / "drawn" / "collection.json").exists():
        make_workspace(root, arguments.images, max(arguments.presses + 1, arguments.verdicts // REVIEWERS))
    parts = {
        "pages": lambda: measure_pages(root, arguments.images),
        "keys": lambda: quantiles(measure_paces(root, arguments.presses)) if browser_is_there() else {},
        "slider": lambda: measure_slider(root) if browser_is_there() else {},
        "sqlite": lambda: measure_reviewers(root, f"sqlite:///{arguments.out / 'reviewers.sqlite'}", arguments.verdicts),
        "postgresql": lambda: measure_postgresql(root, arguments.verdicts),
    }
    found = {}
    for name, measure in parts.items():
        print(f"studio: {name}", file=sys.stderr, flush=True)
        found[name] = kept(arguments.out / f"{name}.json", lambda measure=measure: {**measure(), "load": os.getloadavg()[0]})
    settings = {"images": arguments.images, "presses": arguments.presses, "verdicts": arguments.verdicts}
    publish("studio", settings, found, report, arguments)


def browser_is_there() -> bool:
    return CHROMIUM is not None and importlib.util.find_spec("playwright") is not None


def measure_pages(root: Path, num: int) -> dict[str, Any]:
    """Seconds of pages, and megabytes of the server as more and more has been looked at."""
    shutil.rmtree(root / ".cache", ignore_errors=True)
    server, client = start_server(root)
    process = psutil.Process(server.pid)
    memory: dict[str, float] = {}
    seconds: dict[str, tuple[float, float]] = {}

    def get(path: str) -> str:
        answer = client.get(path)
        answer.raise_for_status()
        return answer.text

    def timed(name: str, path: str) -> None:
        began, used = time.monotonic(), processor_seconds(server)
        get(path)
        seconds[name] = time.monotonic() - began, processor_seconds(server) - used

    def note(name: str) -> None:
        memory[name] = process.memory_info().rss / 1e6

    def all_pages() -> int:
        """Every page of the large collection, from link to link; each image must be on one of them. Returns how many pages."""
        seen: Counter[str] = Counter()
        path, number = "/collections/large", 0
        while path:
            page = get(path)
            seen.update(set(re.findall(r"/images/([^/\"]+)/thumbnail", page)))
            number += 1
            later = re.search(r'rel="next" href="(\?[^"]+)"', page)
            path = f"/collections/large{later[1].replace('&amp;', '&')}" if later else ""
        assert len(seen) == num and set(seen.values()) == {1}, "an image was left out, or shown twice"
        return number

    try:
        note("as started")
        timed("home page, first", "/")
        timed("home page, again", "/")
        note("after the home page, which lists all")
        timed("first page of images, first", "/collections/large")
        timed("first page of images, again", "/collections/large")
        for number, words in enumerate(QUERIES, 1):
            timed(f"a search, words {number}", f"/collections/large?query={words.replace(' ', '+')}")
        timed("a page in the middle, filtered", f"/collections/large?split=train&offset={num // 2}")
        browser = measure_in_browser(str(client.base_url)) if browser_is_there() else {}
        note("after the first page, and after the browser's pages")
        began, used = time.monotonic(), processor_seconds(server)
        number = all_pages()
        seconds[f"each of all {number} pages, from link to link (mean)"] = (
            (time.monotonic() - began) / number,
            (processor_seconds(server) - used) / number,
        )
        note("after all pages of one collection")
        all_pages()
        note("after all its pages once more")
        for turn in ("after a page of every collection", "after that once more"):
            for other in range(2, COLLECTIONS + 1):
                get(f"/collections/large-{other}?offset={num // 3}")
            note(turn)
    finally:
        end_server(server, client, signal.SIGTERM)
    return {"seconds": seconds, "memory": memory, "browser": browser}


def processor_seconds(server: subprocess.Popen[str]) -> float:
    """What a server has used so far, in all its threads."""
    used = psutil.Process(server.pid).cpu_times()
    return used.user + used.system


@contextmanager
def chromium_page(address: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = launch_chromium(playwright)
        page = chromium.new_page(base_url=address, viewport={"width": 1280, "height": 800})
        page.set_default_timeout(60_000)
        yield page
        chromium.close()


def measure_in_browser(address: str) -> dict[str, Any]:
    """Seconds until a page's thumbnails are painted: the first, when no thumbnail was ever made, and those behind it by the link to the next."""
    with chromium_page(address) as page:
        page.goto("/", wait_until="networkidle")  # so that neither the browser's start nor the style sheet counts
        page.goto("/collections/large")
        first, num = page.evaluate(SEEN)
        later = []
        for _ in range(10):
            page.get_by_role("link", name="Later").click()
            page.wait_for_load_state("domcontentloaded")
            later.append(page.evaluate(SEEN)[0])
        page.goto("/collections/large?offset=0")
        again = page.evaluate(SEEN)[0]
    return {"first": first, "later": statistics.median(later), "num_later": len(later), "again": again, "num_thumbnails": num}


def measure_paces(root: Path, num: int) -> dict[str, Any]:
    """What ``measure_keys`` tells of each pace, no image having been drawn small before."""
    found = {}
    for pace, (pause, beside) in PACES.items():
        shutil.rmtree(root / ".cache", ignore_errors=True)
        found[pace] = measure_keys(root, num, pause, beside)
    return found


def measure_keys(root: Path, num: int, pause: float, beside: str) -> dict[str, Any]:
    """Milliseconds from each key to the next image, the next key following after some seconds; of these the part that saves the verdict."""
    database = root / "keys.sqlite"
    database.unlink(missing_ok=True)
    server, client = start_server(root, f"sqlite:///{database}")
    try:
        with chromium_page(str(client.base_url)) as page:
            page.add_init_script(PRESSES)
            page.goto("/collections/drawn/curate")
            page.get_by_label("Your name").fill("Ada")
            page.get_by_label("Compare with").select_option(beside)
            page.get_by_role("button", name="Begin").click()
            page.wait_for_function("() => document.getElementById('caption').textContent")
            before = processor_seconds(server)
            page.evaluate("() => { waits.length = 0; performance.setResourceTimingBufferSize(1e6); }")
            for number in range(num):
                time.sleep(pause)
                page.keyboard.press("ar"[number % 2])
                page.wait_for_function("(number) => waits.length > number", arg=number)
            page.wait_for_function("(number) => document.getElementById('counted').textContent.startsWith(`${number} `)", arg=num)
            waits = page.evaluate("() => waits")
            saving = page.evaluate(SAVING)
            used = processor_seconds(server) - before
        told = client.get("/api/collections/drawn/verdicts").json()
        assert sum(told["reviewers"]["Ada"].values()) == num == len(waits), told
    finally:
        end_server(server, client, signal.SIGTERM)
    return {"waits": waits, "saving": saving, "processor_seconds": used}


def measure_slider(root: Path) -> dict[str, Any]:
    """Milliseconds from a move of the hybrids' slider to the picture of its place."""
    from syntype.collection.reef import ReefConfig, draw_reef
    from syntype.generators import TrainConfig, family, train

    generator = root / "generators" / "little"
    if not (generator / "generator.json").exists():
        for folder in (generator, root / "collections" / "reef"):
            shutil.rmtree(folder, ignore_errors=True)
        reef = draw_reef(ReefConfig(num_species=2, size=64, max_images=20, num_test=2), root / "collections" / "reef").collection
        model = family("fastgan").Config.tiny(64).model_dump(exclude={"size"})
        train(reef, TrainConfig.parse({"family": "fastgan", "size": 64, "batch_size": 4, "steps": 2, "device": "cpu", "model": model}), generator)
    server, client = start_server(root)
    try:
        with chromium_page(str(client.base_url)) as page:
            page.goto("/hybrids?generator=little")
            page.wait_for_function("() => document.getElementById('drawing').hidden && !document.getElementById('pad').hidden")
            taken = page.evaluate(SLIDES)
    finally:
        end_server(server, client, signal.SIGTERM)
    assert all(exact for _, exact in taken), "another picture than that of the slider's place was shown"
    times = [time for time, _ in taken]
    return {"slides": [float(np.median(times)), float(np.percentile(times, 95)), float(max(times))]}


def measure_reviewers(root: Path, database: str, num: int) -> dict[str, Any]:
    """Seconds that eight reviewers take through the REST interface; nothing may be lost."""
    Path(database.removeprefix("sqlite:///")).unlink(missing_ok=True)
    server, client = start_server(root, database)

    def post(path: str, **body: str) -> Any:
        answer = client.post(f"/api/collections/drawn/verdicts{path}", json=body)
        answer.raise_for_status()
        return answer.json()

    def decide(reviewer: str, image: str, decision: str, key: str) -> None:
        post("", image_id=image, reviewer=reviewer, decision=decision, key=key)

    try:
        before = processor_seconds(server)
        standing, seconds = review_at_once(num, decide, lambda reviewer: post("/undo", reviewer=reviewer)["verdict"]["image_id"])
        used = processor_seconds(server) - before
    finally:
        end_server(server, client, signal.SIGTERM)
    store = Store(database)
    check_nothing_is_lost(store, Reviews(store, Workspace(root)), num, standing)
    store.close()
    return {"seconds": seconds, "processor_seconds": used}


def measure_postgresql(root: Path, num: int) -> dict[str, Any]:
    programs = postgresql_programs()
    if programs is None:
        return {}
    with postgresql_server(programs) as database:
        return measure_reviewers(root, database, num)


def quantiles(paces: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Median, 95th percentile and largest of the milliseconds of every pace."""
    short = lambda values: [float(np.median(values)), float(np.percentile(values, 95)), float(max(values))]  # noqa: E731
    return {pace: {**told, "waits": short(told["waits"]), "saving": short(told["saving"])} for pace, told in paces.items()}


def promises(pages: dict[str, Any], keys: dict[str, Any], slider: dict[str, Any]) -> list[str]:
    """A table of what is promised, what was measured, and how busy the machine was meanwhile."""
    found: list[tuple[str, float, float, str, float]] = []
    for pace, words in (("four a second", "key to next image"), ("four a second, large photographs beside", "the same, large photographs beside it")):
        if pace in keys:
            median, p95, _ = keys[pace]["waits"]
            found.append((f"{words}, median", median, LIMITS["key, median"], ".0f} ms", keys["load"]))
            found.append((f"{words}, 95th percentile", p95, LIMITS["key, p95"], ".0f} ms", keys["load"]))
    if "slides" in slider:
        found.append(("slider of hybrids to picture, 95th percentile", slider["slides"][1], LIMITS["slider, p95"], ".0f} ms", slider["load"]))
    searches = [wall for name, (wall, _) in pages["seconds"].items() if name.startswith("a search")]
    if searches:
        found.append(("slowest search", max(searches), LIMITS["search"], ".2f} s", pages["load"]))
    if pages["browser"]:
        found.append(("first page of images in Chromium", pages["browser"]["first"], LIMITS["first paint"], ".2f} s", pages["load"]))
    found.append(("largest memory of the server", max(pages["memory"].values()), LIMITS["memory"], ".0f} MB", pages["load"]))
    rows = [
        [what, ("{:" + style).format(value), ("{:" + style).format(limit), "yes" if value <= limit else "no", f"{load:.1f}"]
        for what, value, limit, style, load in found
    ]
    return ["## What is promised", "", *table(["", "measured", "at most", "kept", "load"], rows), ""]


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    pages, keys, slider = figures["pages"], figures["keys"], figures.get("slider", {})
    images, presses, verdicts = (settings[name] for name in ("images", "presses", "verdicts"))
    rows = [[name, f"{wall:.2f}", f"{used:.2f}"] for name, (wall, used) in pages["seconds"].items()]
    if browser := pages["browser"]:
        num = browser["num_thumbnails"]
        rows += [
            [f"in Chromium, first page until its {num} thumbnails on the screen are painted, which had to be made", f"{browser['first']:.2f}", ""],
            ["in Chromium, the same again", f"{browser['again']:.2f}", ""],
            [f"in Chromium, the following pages, thumbnails not made yet (median of {browser['num_later']})", f"{browser['later']:.2f}", ""],
        ]
    body = [
        *promises(pages, keys, slider),
        f"## {images:,} images",
        "",
        f"{COLLECTIONS} collections of {images:,} images in one workspace; a page of a collection shows 120. Load {pages['load']:.1f}. All "
        f"{images:,} images were on the pages, each once.",
        "",
        *table(["", "seconds", "processor seconds of the server"], rows),
        "",
        *table(["memory of the server", "MB"], [[name, f"{value:.0f}"] for name, value in pages["memory"].items()]),
        "",
        "## From a key to the next image",
        "",
    ]
    headline = [("first page of images, first time", f"{pages['seconds']['first page of images, first'][0]:.2f} s")]
    if paces := {pace: keys[pace] for pace in PACES if pace in keys}:
        rows = []
        for pace, told in paces.items():
            parts = ((f"key to next image painted, {pace}", told["waits"]), ("of which saving the verdict, as the browser sees it", told["saving"]))
            rows += [[name, *(f"{value:.0f}" for value in three)] for name, three in parts]
        used = [1000 * told["processor_seconds"] / presses for told in paces.values()]
        headline.append(("key to next image, four a second, median", f"{paces['four a second']['waits'][0]:.0f} ms"))
        body += [
            f"{presses:,} decisions in Chromium, 256 px, photographs of the large collection beside them, or others of {LARGE[0]:,} x {LARGE[1]:,} "
            f"pixels, {BESIDE} of each species and {DIFFERENT} different ones in all; the next key follows a quarter of a second after each image "
            f"(*four a second*) or *at once*, which is faster than any person. Measured from the key's time stamp until the "
            f"next image is decoded and a frame was painted with it. No thumbnail had been made before. Load {keys['load']:.1f}.",
            "",
            *table(["milliseconds", "median", "95th percentile", "largest"], rows),
            "",
            f"The server's processor time for each decision, preparation of the next images included: {max(used):.0f} ms. While a "
            f"verdict is being saved the next image is shown, and no other verdict is taken.",
        ]
    else:
        body += ["Not measured: Chromium or the package playwright was not there."]
    rows = []
    for name, title in (("sqlite", "SQLite"), ("postgresql", "PostgreSQL")):
        told = figures[name]
        if "seconds" in told:
            each = 1000 * told["processor_seconds"] / verdicts
            rows.append([title, f"{told['seconds']:.0f}", f"{verdicts / told['seconds']:.0f}", f"{each:.1f}", f"{told['load']:.1f}"])
            headline.append((f"verdicts a second, {title}", f"{verdicts / told['seconds']:.0f}"))
        else:
            rows.append([f"{title}: not on this machine", "–", "–", "–", "–"])
    body += [
        "",
        f"## {REVIEWERS} reviewers at once",
        "",
        f"{verdicts:,} verdicts through the REST interface, every tenth taken back. Afterwards the log was read: none is missing, the valid "
        f"verdicts are the expected ones, and agreement equals scikit-learn's. A verdict is on the disk before its answer; SQLite writes one after "
        f"another, PostgreSQL several at once.",
        "",
        *table(["", "seconds", "verdicts a second", "processor time of the server for each, ms", "load"], rows),
    ]
    return Page(
        title="The Studio under load",
        question=f"How fast is the Studio with {images:,} images in a collection, with {presses:,} decisions by keyboard, and with {REVIEWERS} "
        f"reviewers at once?",
        answer="Main figures: " + "; ".join(f"{what} {value}" for what, value in headline) + ".",
        headline=headline,
        body=body,
        method=[
            "Load: processes that wanted a core, mean of the last minute, the benchmark's own among them; beyond the number of cores everything "
            "waits, and processor time is the better measure. Server and browser share the cores."
        ],
    )


if __name__ == "__main__":
    main()

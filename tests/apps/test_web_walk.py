"""The walk of docs/tutorials/first-curated-set.md: from photographs to a downloaded set, in a browser alone.

``SYNTYPE_SCREENSHOTS=FOLDER`` writes the tutorial's pictures, with what ``make demo`` left in ``out/demo`` (``SYNTYPE_DEMO`` names another folder).
Those of a generator that learns are made only if there is one, ``out/demo/learnt``. Without screenshots the walk is the same, with small
photographs and a generator that has learnt next to nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from made import make_collection
from PIL import Image
from studio_server import end_server, loaded, png, start_server

from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection

pytestmark = pytest.mark.slow
SCREENSHOTS = os.environ.get("SYNTYPE_SCREENSHOTS")
DEMO = Path(os.environ.get("SYNTYPE_DEMO", "out/demo"))
LARGEST = 250_000
SPECIES = "Chromosoma alter"
LEARNT = bool(SCREENSHOTS) and (DEMO / "learnt").is_dir()


@pytest.fixture
def workspace(tmp_path: Path, trained: Path) -> Workspace:
    """A generator that somebody else has trained, and nothing more."""
    workspace = Workspace(tmp_path / "workspace")
    shutil.copytree(DEMO / "learnt" if LEARNT else trained, workspace.root / "generators" / "learnt")
    return workspace


@pytest.fixture
def server(workspace: Workspace) -> Iterator[httpx2.Client]:
    process, client = start_server(workspace.root, ready_jobs=True)
    yield client
    end_server(process, client, signal.SIGTERM)


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    """Six photographs of one species, in a folder."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    if not SCREENSHOTS:
        for number in range(6):
            (folder / f"{number}.png").write_bytes(png(40 + number, (20 * number, 90, 40)))
    else:
        reef = Collection.open(DEMO / "1-photographs")
        for file in reef.training().select(species=SPECIES).table["file_name"][:6]:
            shutil.copy(reef.root / file, folder)
    return sorted(folder.iterdir())


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A zip with a folder for each species, the rare one among them."""
    path = tmp_path / "fish.zip"
    fish = Collection.open(DEMO / "1-photographs") if SCREENSHOTS else make_collection(tmp_path / "fish", {SPECIES: 8, "Bus secundus": 16})
    with zipfile.ZipFile(path, "w") as packed:  # the splits of the demo are not in it
        for species, file in zip(fish.table["species"], fish.table["file_name"], strict=True):
            packed.write(fish.root / file, f"{species}/{Path(file).name}")
    return path


def take(page: Any, name: str) -> None:
    """Keep a picture of the page, in so few colours that it stays small."""
    if not SCREENSHOTS:
        return
    path = Path(SCREENSHOTS) / f"studio-{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=path)
    picture = Image.open(path).convert("RGB")
    for colours in (256, 128, 64, 32):
        picture.quantize(palette=picture.quantize(colours), dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
        if path.stat().st_size < LARGEST:
            return
    raise AssertionError(f"{path} has {path.stat().st_size:,} bytes")


def finished(page: Any) -> None:
    page.locator("#status", has_text="finished").wait_for(timeout=240_000)


@pytest.mark.timeout(3600)
def test_the_first_curated_set(page: Any, workspace: Workspace, archive: Path, photographs: list[Path]) -> None:
    page.set_default_timeout(120_000)
    page.goto("/")
    page.get_by_label("Name of the new collection").fill("fish")
    page.get_by_label("Photographs or a zip").set_input_files(archive)
    page.get_by_role("button", name="Send").click()
    loaded(page, "#species img")
    take(page, "import")
    page.get_by_role("button", name="Import these").click()
    page.get_by_role("link", name="Train a generator on them").click(timeout=600_000)

    page.get_by_label("Name of the result").fill("fish-recombined")
    take(page, "train")
    page.get_by_role("button", name="Train").click()
    page.wait_for_url("**/jobs/*")
    finished(page)
    page.goto("/generators/fish-recombined")
    loaded(page, ".sheet img")
    take(page, "generator")

    page.get_by_role("link", name="Generate images").click()
    page.get_by_label("Species", exact=True).fill(SPECIES)
    page.get_by_role("button", name="Add").click()
    page.get_by_role("button", name=f"Remove {SPECIES}").wait_for()
    page.get_by_label("Images of each species").fill("24")
    page.get_by_label("Name of the result").fill("chromosoma-new")
    page.get_by_role("button", name="Generate").click()
    page.wait_for_url("**/jobs/*")
    finished(page)
    loaded(page, "#pictures img")
    take(page, "generated")

    page.get_by_role("link", name="Curate them").click()
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Compare with").select_option("fish")
    page.get_by_role("button", name="Begin").click()
    for number in range(24):
        page.get_by_text(f"{number} judged, {24 - number} left").wait_for()
        if number == 3:
            loaded(page, "#nearest img")
            take(page, "curate")
        page.keyboard.press("r" if number % 4 == 2 else "a")
    page.get_by_text("All images are judged").wait_for()

    page.get_by_role("link", name="Export").last.click()
    page.get_by_label("Name of the result").fill("chromosoma-set")
    take(page, "export")
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download it").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert sum(name.startswith(SPECIES.replace(" ", "_")) for name in archive.namelist()) == 18
    if SCREENSHOTS:
        shutil.copytree(DEMO / "4-curated", workspace.root / "collections" / "reviewed")
        page.goto("/collections/reviewed/curate")
        page.get_by_label("Compare with").select_option("fish")
        page.get_by_role("button", name="Begin").click()
        loaded(page, "#image, #nearest img")
        take(page, "review")
    page.get_by_role("link", name="Syntype Studio").click()
    loaded(page, ".cover img")
    take(page, "workspace")

    page.get_by_role("navigation", name="Studio").get_by_role("link", name="Generators").click()
    page.get_by_role("link", name="learnt", exact=True).click()
    page.get_by_role("link", name="Adapt it to a species").click()
    page.get_by_label("Name of the species").fill(SPECIES)
    page.get_by_label("Drop at least six").set_input_files(photographs)
    page.get_by_label("Training steps").fill("300" if LEARNT else "5")
    page.get_by_label("Name of the result").fill("chromosoma")
    if LEARNT:
        take(page, "adapt")
        page.get_by_label("Training steps").fill("40")  # so that the time left is told sooner
    page.get_by_role("button", name="Adapt").click()
    page.wait_for_url("**/jobs/*")
    if not LEARNT:
        finished(page)
        page.get_by_role("link", name="Generate images").click()
        page.get_by_role("button", name=f"Remove {SPECIES}").wait_for()
        return
    page.locator("#status", has_text=" left").wait_for(timeout=240_000)
    take(page, "job")
    page.get_by_role("button", name="Cancel").click()
    page.locator("#status", has_text="cancelled").wait_for(timeout=240_000)
    page.goto("/new/blend?generator=learnt&species=Pictopiscis+primus&species=Chromosoma+primus")
    page.get_by_label("What changes along the strip").select_option("species")
    page.get_by_role("button", name="Draw", exact=True).click()
    finished(page)
    page.get_by_label("Position between the two").focus()
    loaded(page, "#between img, #overviews img")
    take(page, "hybrids")

"""A walk from photographs to a downloaded set, and on to an adaptation, in a browser alone.

``SYNTYPE_SCREENSHOTS=FOLDER`` also writes the picture of the start page, from what ``make demo`` left in ``out/demo`` (``SYNTYPE_DEMO`` names another
folder).
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
from studio_server import SCREENSHOTS, end_server, loaded, png, start_server, take

from syntype.apps.web.workspace import Workspace

pytestmark = pytest.mark.slow
DEMO = Path(os.environ.get("SYNTYPE_DEMO", "out/demo"))
SPECIES = "Chromosoma alter"


@pytest.fixture
def workspace(tmp_path: Path, trained: Path) -> Workspace:
    """A generator that somebody else has trained, and nothing more."""
    workspace = Workspace(tmp_path / "workspace")
    shutil.copytree(trained, workspace.root / "generators" / "learnt")
    return workspace


@pytest.fixture
def server(workspace: Workspace) -> Iterator[httpx2.Client]:
    process, client = start_server(workspace.root, ready=True)
    yield client
    end_server(process, client, signal.SIGTERM)


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    """Six photographs of one species, in a folder."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.png").write_bytes(png(40 + number, (20 * number, 90, 40)))
    return sorted(folder.iterdir())


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A zip with a folder for each species, the rare one among them."""
    path = tmp_path / "fish.zip"
    fish = make_collection(tmp_path / "fish", {SPECIES: 8, "Bus secundus": 16})
    with zipfile.ZipFile(path, "w") as packed:
        for species, file in zip(fish.table["species"], fish.table["file_name"], strict=True):
            packed.write(fish.root / file, f"{species}/{Path(file).name}")
    return path


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
    page.get_by_role("button", name="Import these").click()
    page.get_by_role("link", name="Train a generator on them").click(timeout=600_000)

    page.get_by_label("Name of the result").fill("fish-recombined")
    page.get_by_role("button", name="Train").click()
    page.wait_for_url("**/jobs/*")
    finished(page)
    page.goto("/generators/fish-recombined")
    loaded(page, ".sheet img")

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

    page.get_by_role("link", name="Curate them").click()
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Compare with").select_option("fish")
    page.get_by_role("button", name="Begin").click()
    for number in range(24):
        page.get_by_text(f"{number} judged, {24 - number} left").wait_for()
        if number == 3:
            loaded(page, "#nearest img")
        page.keyboard.press("r" if number % 4 == 2 else "a")
    page.get_by_text("All images are judged").wait_for()

    page.get_by_role("link", name="Export").last.click()
    page.get_by_label("Name of the result").fill("chromosoma-set")
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download it").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert sum(name.startswith(SPECIES.replace(" ", "_")) for name in archive.namelist()) == 18
    page.get_by_role("link", name="Syntype Studio").click()
    loaded(page, ".cover img")

    page.get_by_role("navigation", name="Studio").get_by_role("link", name="Generators").click()
    page.get_by_role("link", name="learnt", exact=True).click()
    page.get_by_role("link", name="Adapt it to a species").click()
    page.get_by_label("Name of the species").fill(SPECIES)
    page.get_by_label("Drop at least six").set_input_files(photographs)
    page.get_by_label("Training steps").fill("5")
    page.get_by_label("Name of the result").fill("chromosoma")
    page.get_by_role("button", name="Adapt").click()
    page.wait_for_url("**/jobs/*")
    finished(page)
    page.get_by_role("link", name="Generate images").click()
    page.get_by_role("button", name=f"Remove {SPECIES}").wait_for()


@pytest.mark.skipif(SCREENSHOTS is None, reason="makes a picture of the documentation")
def test_the_picture_of_the_start_page(page: Any, workspace: Workspace) -> None:
    for folder, name in (("1-photographs", "reef"), ("4-curated", "reviewed")):
        shutil.copytree(DEMO / folder, workspace.root / "collections" / name)
    page.goto("/collections/reviewed/curate")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Compare with").select_option("reef")
    page.get_by_role("button", name="Begin").click()
    loaded(page, "#image, #nearest img")
    take(page, "review")

"""Every kind of source on its way from a file to a study, by the very commands that the documentation prints."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from shots import SPECIES, Shot, draw_shots
from written_annotations import ANNOTATIONS
from written_portals import PORTALS, gbif_zip, observations_csv

from syntype.apps.cli import main

DOCS = Path(__file__).parents[2] / "docs" / "how-to"
ANNOTATED, BIODIVERSITY, TABLES, SHARING = "import-annotations.md", "import-biodiversity-data.md", "collections.md", "share-a-collection.md"
WHOLE = "62 photographs of 3 species"
WRITERS = {**PORTALS, **ANNOTATIONS}


@dataclass(frozen=True)
class Route:
    """A source, the page and the command that imports it, and what of the photographs it carries: g(roups), s(plits), b(oxes), l(icences)."""

    source: str
    page: str
    command: str
    carries: str

    @property
    def out(self) -> str:
        return shlex.split(self.command)[-1]


ROUTES = [
    Route("GBIF, images in the zip", BIODIVERSITY, "syntype collect birds.zip --out out/birds", "gl"),
    Route("GBIF, images beside", BIODIVERSITY, "syntype collect birds.zip --images photographs --out out/birds", "gl"),
    Route("GBIF, unpacked", BIODIVERSITY, "syntype collect birds/ --out out/birds", "gl"),
    Route("iNaturalist, export", BIODIVERSITY, "syntype collect observations-123456.csv --images photographs --out out/moths", "l"),
    Route("iNaturalist, open data", BIODIVERSITY, "syntype collect inaturalist-open-data/ --out out/moths", "gl"),
    Route("Camtrap DP", BIODIVERSITY, "syntype collect wood/ --out out/wood", "gb"),
    Route("COCO", ANNOTATED, "syntype collect annotations.json --images photographs --out out/mammals", "gbl"),
    Route(
        "COCO, a file a split", ANNOTATED,
        "syntype collect coco/ --split train=train.json --split val=val.json --split test=test.json --out out/mammals", "gsbl",
    ),
    Route("MegaDetector over folders", ANNOTATED, "syntype collect photographs/ --boxes megadetector.json --out out/mammals", "b"),
    Route(
        "MegaDetector over COCO", ANNOTATED,
        "syntype collect cameratraps.json --boxes megadetector.json --images photographs --out out/mammals", "gbl",
    ),
    Route("VIAME, folder", ANNOTATED, "syntype collect frames/ --out out/fish", "gb"),
    Route("VIAME, file", ANNOTATED, "syntype collect annotations.viame.csv --images frames --out out/fish", "gb"),
    Route("Parquet", ANNOTATED, "syntype collect train.parquet --out out/fish", "gl"),
    Route("Parquet, shards", ANNOTATED, "syntype collect data-set/ --out out/fish", "gsl"),
    Route("Label Studio", ANNOTATED, "syntype collect export.json --images photographs --out out/fish", "b"),
    Route("CVAT", ANNOTATED, "syntype collect cvat-export/ --out out/fish", "sb"),
    Route("labelme", ANNOTATED, "syntype collect labelme/ --out out/fish", "sb"),
    Route("Pascal VOC", ANNOTATED, "syntype collect voc/ --out out/fish", "sb"),
    Route("YOLO", ANNOTATED, "syntype collect yolo/data.yaml --out out/fish", "sb"),
    Route(
        "Fish-Vista", TABLES,
        "syntype collect fish-vista/ --split train=classification_train.csv --split val=classification_val.csv "
        "--split test=classification_test.csv --out out/fish", "gsl",
    ),
]  # fmt: skip
LAYOUTS = {
    "species": "out/export/fish.zip",
    "collection": "out/whole/fish.zip",
    "hugging-face": "out/hub/fish.zip",
    "coco": "out/for-a-detector/fish.zip",
    "label-studio": "out/to-label/fish.zip",
    "table": "out/table/fish.csv",
}


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> list[Shot]:
    return draw_shots(tmp_path_factory.mktemp("photographs"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(page: str, command: str) -> str:
    """The section of a page of the documentation that prints a command on a line of its own."""
    sections = re.split(r"^## ", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = [section for section in sections if f"    {command}\n" in section]
    assert found, f"{page} does not print: {command}"
    return found[0]


def ran(capsys: pytest.CaptureFixture[str], command: str) -> str:
    """What a command prints, after it was run without an error."""
    words = shlex.split(command)
    assert words[0] == "syntype"
    capsys.readouterr()
    code = main(words[1:])
    told = capsys.readouterr()
    assert code == 0, told.err
    assert len(told.err.encode()) < 4000, told.err
    return told.out


def table_of(folder: Path | str, shots: list[Shot]) -> tuple[pd.DataFrame, list[Shot]]:
    """The table of a collection, and the photograph of each of its rows."""
    table = pd.read_parquet(Path(folder) / "metadata.parquet")
    by_content = {shot.sha256: shot for shot in shots}
    return table, [by_content[checksum] for checksum in table["sha256"]]


def require_right(table: pd.DataFrame, of: list[Shot], carries: str) -> None:
    """Nothing is lost, nothing is mistaken, and what the source does not say is not made up."""
    assert table["species"].tolist() == [shot.species for shot in of] and table["species"].value_counts().to_dict() == SPECIES
    assert table["file_name"].nunique() == len(table) == sum(SPECIES.values())
    assert set(table["origin"]) == {"real"}
    if "g" in carries:
        names = defaultdict(set)
        for group, shot in zip(table["group"], of, strict=True):
            names[group].add(shot.group)
        assert all(len(groups) == 1 for groups in names.values()) and len(names) == len({shot.group for shot in of})
        assert (table.groupby("group")["split"].nunique() == 1).all()
    if "s" in carries:
        assert table["split"].tolist() == [shot.split for shot in of]
    else:
        assert set(table[table["split"] == "test"]["species"]) == set(table[table["split"] == "train"]["species"]) == set(SPECIES)
    if "b" in carries:
        np.testing.assert_allclose([json.loads(box) for box in table["box"]], [shot.box for shot in of], atol=0.51)
    else:
        assert table["box"].isna().all()
    if "l" in carries:
        assert table["licence"].str.removesuffix(" 1.0").str.removesuffix(" 4.0").tolist() == [shot.licence[:-4] for shot in of]
    else:
        assert set(table["licence"].fillna("none")) <= {"none", "CC BY 4.0"} and table["licence"].nunique() < 2


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.source)
def test_a_source_becomes_a_collection_by_the_commands_of_its_page(
    route: Route, shots: list[Shot], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    WRITERS[route.source](here, shots)
    section = printed(route.page, route.command)
    told = ran(capsys, f"{route.command} --dry-run")
    assert WHOLE in told and "Refused" not in told and "No file" not in told and "to be downloaded" not in told
    assert all(f"{species} {count}" in told for species, count in SPECIES.items())
    following = shlex.split(told.partition("Next: ")[2])
    assert set(following) == {word.rstrip("/") for word in shlex.split(route.command)} and not (here / "out").exists()

    ran(capsys, route.command)
    require_right(*table_of(route.out, shots), route.carries)
    assert (here / route.out / "refused.csv").read_text().count("\n") == 1

    following = [f"syntype inspect {route.out}", f"syntype study {route.out} --out out/study"]
    assert all(f"    {command}\n" in section for command in following)
    told = ran(capsys, following[0])
    assert "62 images, 3 species" in told and "cannot be tested" not in told
    assert re.search(r"^arms +9$", ran(capsys, f"{following[1]} --dry-run"), re.MULTILINE)


@pytest.fixture(scope="module")
def fish(shots: list[Shot], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection with groups, splits, boxes and licences."""
    folder = tmp_path_factory.mktemp("fish")
    WRITERS["COCO, a file a split"](folder, shots)
    splits = [word for split in ("train", "val", "test") for word in ("--split", f"{split}={split}.json")]
    assert main(["collect", str(folder / "coco"), *splits, "--out", str(folder / "out" / "fish"), "--quiet", "--json"]) == 0
    return folder / "out" / "fish"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_was_exported_comes_in_again(layout: str, fish: Path, shots: list[Shot], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(fish, here / "out" / "fish")
    file = LAYOUTS[layout]
    option = "" if layout == "species" else f" --layout {layout}"
    ran(capsys, f"syntype export out/fish{option} --out {Path(file).parent}")
    command = f"syntype collect {file}{' --images out/fish' if layout == 'table' else ''} --out out/again"
    printed(SHARING, command)
    assert WHOLE in ran(capsys, f"{command} --dry-run")
    ran(capsys, command)
    table, of = table_of("out/again", shots)
    require_right(table, of, "gsbl")
    before = pd.read_parquet(fish / "metadata.parquet")
    assert table["group"].tolist() == before["group"].tolist() and table["source_image_id"].tolist() == before["source_image_id"].tolist()
    assert "62 images, 3 species" in ran(capsys, "syntype inspect out/again")
    ran(capsys, "syntype study out/again --out out/study --dry-run")


class Portal(ThreadingHTTPServer):
    """A portal that has the photographs, and counts what it is asked for; ``left`` is how many answers it gives before it is shut."""

    daemon_threads = True

    def __init__(self, shots: list[Shot]) -> None:
        super().__init__(("127.0.0.1", 0), PortalHandler)
        self.files = {str(shot.photo): shot.file for shot in shots}
        self.asked: Counter[str] = Counter()
        self.address = f"http://127.0.0.1:{self.server_port}"


class PortalHandler(BaseHTTPRequestHandler):
    server: Portal

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self.server.asked[self.path] += 1
        content = self.server.files[self.path.split("/")[-2]].read_bytes()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def portal(shots: list[Shot]) -> Iterator[Portal]:
    server = Portal(shots)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


DOWNLOADS = {
    "birds.zip": 'syntype collect birds.zip --download --licence CC0 --licence "CC BY" --max-per-species 50 --out out/birds',
    "observations-123456.csv": "syntype collect observations-123456.csv --download --max-per-species 50 --out out/moths",
}


@pytest.mark.parametrize("source", DOWNLOADS)
def test_images_that_have_addresses_alone_are_fetched_and_an_import_that_was_stopped_goes_on(
    source: str, shots: list[Shot], portal: Portal, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = DOWNLOADS[source]
    section = printed(BIODIVERSITY, command)
    assert f"    syntype collect {source} --dry-run\n" in section
    (gbif_zip if source.endswith(".zip") else observations_csv)(here / source, shots, portal.address)
    told = ran(capsys, f"syntype collect {source} --dry-run")
    assert WHOLE in told and "62 to be downloaded (--download)" in told and "--download --out" in told.partition("Next: ")[2]
    assert main(shlex.split(command)[1:]) == 2 and not portal.asked  # the server is in a private network
    shutil.rmtree(here / "out")
    capsys.readouterr()

    command += " --set private_addresses=true"
    original, once = PortalHandler.do_GET, threading.Lock()

    def stopped(handler: PortalHandler) -> None:
        if portal.asked.total() >= 20 and once.acquire(blocking=False):
            os.kill(os.getpid(), signal.SIGINT)
        original(handler)

    before_test = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs tests in the background has it ignored

    with monkeypatch.context() as patched:
        patched.setattr(PortalHandler, "do_GET", stopped)
        try:
            assert main(shlex.split(command)[1:]) == 130
        finally:
            signal.signal(signal.SIGINT, before_test)
    assert "Add --resume to go on" in capsys.readouterr().err
    before = portal.asked.total()
    ran(capsys, f"{command} --resume")
    assert 20 <= before < 62 and portal.asked.total() <= 62 + 8 and len(portal.asked) == 62
    folder = shlex.split(DOWNLOADS[source])[-1]
    table, of = table_of(folder, shots)
    require_right(table, of, "gl" if source == "birds.zip" else "")
    assert [address.split("/")[-2] for address in table["image_url"]] == [str(shot.photo) for shot in of]
    assert not list((here / folder).glob(".*"))
    assert "62 images, 3 species" in ran(capsys, f"syntype inspect {folder}")
    ran(capsys, f"syntype study {folder} --out out/study --dry-run")


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.source)
def test_a_source_ends_in_a_verdict(route: Route, shots: list[Shot], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    WRITERS[route.source](here, shots)
    ran(capsys, route.command)
    small = (
        "--generator copies --quick --seeds 2 --processes 1 --set size=32 --set fill_to=8 --set num_bootstrap=100 --set classifier.steps=5 "
        "--set 'arms=[real, mixup, synthetic+curated]'"
    )
    told = ran(capsys, f"syntype study {route.out} --out out/study {small}")
    report = (here / "out" / "study" / "report.html").read_text(encoding="utf-8")
    verdicts = ("add", "do not add", "not enough evidence")
    assert any(re.search(rf"^verdict +{verdict}$", told, re.MULTILINE) for verdict in verdicts)
    assert any(verdict in report.lower() for verdict in verdicts) and "Zebrasoma rostratum" in report

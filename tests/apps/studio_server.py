"""What tests of the Studio share: a workspace, a browser that is signed in, and hostile files."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pandas as pd
from made import make_collection, train_tiny, tree, write_tree
from PIL import Image
from ready import Server
from sqlalchemy import insert
from starlette.testclient import TestClient

from syntype.apps.web.app import create_app
from syntype.apps.web.limits import Limits, StudioConfig
from syntype.apps.web.store import Store, jobs
from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""The first without a window of its own, which takes half the time."""
_WITHOUT = (
    *("AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades", "MediaRouter", "PaintHolding", "OptimizationHints"),
    *("NetworkTimeServiceQuerying", "AimEnabled", "PreconnectToSearch", "WebUIOmniboxPopup", "WebUIOmniboxAimPopup"),
)
"""Features of Chromium that no test needs: those that Playwright leaves out, too, and two pages of its address bar."""
SCREENSHOTS = os.environ.get("SYNTYPE_SCREENSHOTS")
"""Where the documentation's pictures of the Studio are written; None: nowhere."""
TOKEN = "a-token-of-the-tests"
SMALL = Limits(file_bytes=200_000, zip_bytes=400_000, unpacked_bytes=3_000_000, upload_bytes=4_000_000, files=60, pixels=1_000_000, uploads=50)

KINDS = ("train", "adapt", "generate", "blend", "vary", "inpaint", "curate", "classify", "study", "export")
PAGES = (
    *("/", "/photographs", "/generators", "/images", "/studies", "/glossary"),
    *("/collections/fish", "/collections/drawn", "/collections/drawn/curate", "/collections/fish?species=Bus+secundus&offset=3", "/quiz"),
    *("/collections/drawn/beside", "/collections/drawn/map", "/collections/fish/outliers", "/collections/fish/mislabelled"),
    *("/collections/fish/duplicates", "/collections/fish/refused", "/generators/little", "/studies/small", "/identifiers/little", "/jobs/1"),
    *("/collections/fish/images/0-0", "/collections/drawn/images/0-0", "/storage", "/people", "/account"),
    *(f"/new/{kind}" for kind in KINDS),
)
"""Addresses of all pages over the workspace of ``make_full``."""


def make_synthetic(folder: Path, counts: dict[str, int], **columns: Any) -> Collection:
    """A collection of drawn ellipses that passes for synthetic."""
    made = make_collection(folder, counts, seed=1)
    table = made.table.assign(origin="synthetic", split=None, group=None, **columns)
    return Collection.create(folder, table, species=made.species)


def make_workspace(root: Path) -> Workspace:
    """Photographs ``fish`` of two species and synthetic images ``drawn`` of them, the first of which has a nearest photograph."""
    return _again(_fill_workspace, root)


def make_full(root: Path) -> Workspace:
    """A workspace with one thing of each kind, as the pages see it."""
    return _again(_fill_full, root)


def _again(fill: Callable[[Path], None], root: Path) -> Workspace:
    """A workspace that was filled once for all tests of this process, and is written again for each."""
    workspace = Workspace(root)
    write_tree(_filled(fill), root)
    return workspace


@cache
def _filled(fill: Callable[[Path], None]) -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        fill(Path(folder) / "workspace")
        return tree(Path(folder) / "workspace")


def _fill_workspace(root: Path) -> None:
    Workspace(root)
    make_collection(root / "collections" / "fish", {"Aus primus": 16, "Bus secundus": 8})
    nearest = pd.array(["0-0"] + [None] * 15, dtype="string")
    make_synthetic(root / "collections" / "drawn", {"Aus primus": 10, "Bus secundus": 6}, nearest_real_id=nearest)


def _fill_full(root: Path) -> None:
    _fill_workspace(root)
    fish = Collection.open(root / "collections" / "fish")
    Collection.create(fish.root, fish.table.assign(duplicate_of=pd.array(["0-1", *[None] * 23], dtype="string")), species=fish.species)
    (fish.root / "refused.csv").write_text("file,row,reason,hint\nbroken.jpg,,is no image,Save it again\n")
    generator, study, identifier = root / "generators" / "little", root / "studies" / "small", root / "identifiers" / "little"
    generator.mkdir()
    identifier.mkdir()
    (identifier / "classifier.json").write_text(json.dumps({"species": fish.species, "metrics": {"num_train": 16, "num_test": 4, "accuracy": 0.75}}))
    (generator / "generator.json").write_text(
        json.dumps(
            {
                "family": "fastgan",
                "abilities": ["adapt", "blend", "vary", "inpaint"],
                "species": fish.species,
                "config": {"size": 32},
                "licences": ["CC0-1.0"],
            }
        )
    )
    (generator / "previews").mkdir()
    (generator / "previews" / "final-000002.png").write_bytes(png())
    study.mkdir()
    plain = {"sentence": "With the synthetic images 2 more.", "shares": [["with the synthetic images", 63], ["with the photographs alone", 61]]}
    plain["tested"] = "Measured on 4 test photographs of 1,200 rare species, as a mean over the species."
    size = "+3.4 percentage points (95 % interval −1.2 to +8.0)"
    sentence = f"Not enough evidence to add these synthetic images: these test photographs neither show nor rule out a gain over “real”: {size}."
    (study / "results.json").write_text(json.dumps({"verdict": {"word": "not enough evidence", "sentence": sentence}, "plain": plain}))
    (study / "report.html").write_text("<p>Report</p><script>alert(1)</script>")
    store = Store(f"sqlite:///{root / 'studio.sqlite'}")
    with store.writing() as connection:
        request = {"kind": "import", "name": "fish", "upload": "0" * 32}
        connection.execute(insert(jobs).values(kind="import", request=request, place="collections", slug="fish", status="finished", created=0))
    store.close()


def make_generator(root: Path) -> Path:
    """A tiny generator of the two species of ``fish``, trained for two steps; it blends, varies, fills in and adapts."""
    photographs = make_collection(root / "fish", {"Aus primus": 16, "Bus secundus": 8})
    return train_tiny("fastgan", photographs, root / "generator", steps=2, previews=True).folder


@contextmanager
def browser(workspace: Workspace, config: StudioConfig | None = None, database: str | None = None) -> Iterator[TestClient]:
    """A browser that has a session and sends its header along."""
    app = create_app(workspace, config or StudioConfig(limits=SMALL), database)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        session = client.get("/api/session").json()
        if session["csrf"]:
            client.headers["x-syntype-csrf"] = session["csrf"]
        yield client


def wait(client: httpx2.Client, number: int, *, until: tuple[str, ...] = ("finished", "failed", "cancelled"), seconds: float = 600) -> dict[str, Any]:
    """The job, once it has one of these statuses."""
    end = time.monotonic() + seconds
    while (job := client.get(f"/api/jobs/{number}").json())["status"] not in until:
        assert time.monotonic() < end, (job, client.get(f"/api/jobs/{number}/log").json())
        time.sleep(0.1)
    return job


def until(condition: Any, seconds: float = 600) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def start_server(
    root: Path, database: str | None = None, port: int = 0, *, ready: bool = False, cluster: Path | None = None, token: str | None = None
) -> tuple[subprocess.Popen[str], httpx2.Client]:
    """``syntype serve`` in a process of its own, and a browser that has a session. With ``ready`` it and its jobs start at once (``ready.py``)."""
    arguments = [
        *(str(root), "--port", str(port)),
        *(["--database", database] if database else []),
        *(["--cluster", str(cluster)] if cluster else []),
        *(["--token", token] if token else []),
    ]
    server: Any
    if ready:
        server = Server(arguments)
    else:
        command = [sys.executable, "-c", "import sys; from syntype.apps.cli import main; sys.exit(main())", "serve", *arguments]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    client = httpx2.Client(base_url=server.stdout.readline().split()[-1], timeout=60)
    if token:
        client.headers["authorization"] = f"Bearer {token}"
    else:
        client.headers["x-syntype-csrf"] = client.get("/api/session").json()["csrf"]
    return server, client


def end_server(server: subprocess.Popen[str], client: httpx2.Client, number: int = signal.SIGKILL) -> None:
    """Send a signal to a server and wait until it is gone."""
    client.close()
    server.send_signal(number)
    server.communicate(timeout=120)


def launch_chromium(playwright: Any) -> Any:
    """Real Chromium, without a window."""
    return playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", f"--disable-features={','.join(_WITHOUT)}"])


def listen(page: Any) -> list[str]:
    """What a page complains of from now on: its errors and warnings, as they come."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


def loaded(page: Any, pictures: str) -> None:
    """Wait until all these pictures of a page, and one at least, show something."""
    script = "(which) => { const all = [...document.querySelectorAll(which)]; return all.length && all.every((image) => image.naturalWidth > 0); }"
    page.wait_for_function(script, arg=pictures)


def take(page: Any, name: str) -> None:
    """Keep a picture of the page for the documentation, in so few colours that it stays small."""
    if SCREENSHOTS is None:
        return
    path = Path(SCREENSHOTS) / f"studio-{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=path)
    picture = Image.open(path).convert("RGB")
    for colours in (256, 128, 64, 32):
        picture.quantize(palette=picture.quantize(colours), dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
        if path.stat().st_size < 250_000:
            return
    raise AssertionError(f"{path} has {path.stat().st_size:,} bytes")


def png(side: int = 32, colour: tuple[int, int, int] = (200, 80, 10)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, "PNG")
    return file.getvalue()


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content, compress_type=method)
    return file.getvalue()


def raw_name(name: str) -> zipfile.ZipInfo:
    """An entry whose name is written as it is, which ``ZipInfo`` itself would tidy up."""
    info = zipfile.ZipInfo("x")
    info.filename = info.orig_filename = name
    return info


def special(name: str, mode: int) -> zipfile.ZipInfo:
    """An entry that says it is a link, a pipe or a device."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (mode | 0o777) << 16
    return info


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header declares a huge picture."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + png_chunk(b"IEND", b"")


def png_with(kind: bytes, data: bytes) -> bytes:
    """A sound PNG with one chunk more, behind its header."""
    plain = png()
    return plain[:33] + png_chunk(kind, data) + plain[33:]


def jpeg(width: int, height: int) -> bytes:
    """A small JPEG whose header declares another size."""
    file = io.BytesIO()
    Image.new("RGB", (32, 24)).save(file, "JPEG")
    return file.getvalue().replace(struct.pack(">HH", 24, 32), struct.pack(">HH", height, width), 1)


def sharing(num: int, content: bytes) -> bytes:
    """A zip with one compressed entry that its directory lists so many times."""
    data = zipped(("Aus/a.png", content), method=zipfile.ZIP_DEFLATED)
    begin = data.index(b"PK\1\2")
    end = data.index(b"PK\5\6")
    directory = data[begin:end] * num
    return data[:begin] + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, num, num, len(directory), begin, 0)


def lying_zip(content: bytes, declared: int) -> bytes:
    """A zip whose directory declares another size than its entry unpacks to."""
    data = zipped(("Aus primus/bomb.png", content), method=zipfile.ZIP_DEFLATED)
    return data.replace(struct.pack("<I", len(content)), struct.pack("<I", declared))

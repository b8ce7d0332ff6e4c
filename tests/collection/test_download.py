"""Downloads against a server of the test's own that fails in every way that servers do."""

from __future__ import annotations

import email.utils
import io
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from syntype.collection.download import Downloader, DownloadRules
from syntype.collection.importers import CollectConfig, CollectResult, collect
from syntype.collection.preview import preview
from syntype.collection.public_addresses import checked_request
from syntype.collection.selection import select
from syntype.collection.sources import Entry, Refused, SourceConfig
from syntype.errors import InputError
from syntype.run import Run

FAST = DownloadRules(tries=5, timeout=0.5, seconds=1, max_bytes=100_000, max_wait=2, pause=0.01, private=True)


def picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Answers /ok/N.jpg with picture N, and the other paths as their names say. Passing faults pass at the third request."""

    protocol_version = "HTTP/1.1"
    asked: Counter[str] = Counter()
    at_once, most_at_once = 0, 0
    lock = threading.Lock()

    def log_message(self, *_: object) -> None: ...

    def answer(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"content_length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        with self.lock:
            Handler.at_once += 1
            Handler.most_at_once = max(Handler.most_at_once, Handler.at_once)
            Handler.asked[self.path] += 1
        try:
            self.fail_or_not(self.path.strip("/").split("/"), Handler.asked[self.path])
        except OSError:
            pass
        finally:
            with self.lock:
                Handler.at_once -= 1

    def fail_or_not(self, path: list[str], number: int) -> None:
        passing = number < 3
        image = picture(int(path[-1].partition(".")[0])) if path[-1][:1].isdigit() else picture(0)
        match path[0]:
            case "429" if passing:
                self.answer(429, b"slow down", retry_after="0" if number == 1 else email.utils.formatdate(time.time() - 5, usegmt=True))
            case "long-wait":
                self.answer(429, b"", retry_after="86400")
            case "503" if passing:
                self.answer(503)
            case "404":
                self.answer(404, b"<html>not found</html>")
            case "403":
                self.answer(403)
            case "html":
                self.answer(200, b"<!DOCTYPE html><html>log in</html>", content_type="text/html")
            case "json":
                self.answer(200, b'{"error": "quota"}')
            case "truncated" if passing:
                self.answer(200, image[: len(image) // 2], content_length=str(len(image)))
                self.connection.close()
            case "cut":  # shorter without a word of it
                self.answer(200, image[: len(image) // 2])
            case "moved":
                self.answer(302, b"", location=f"/ok/{path[-1]}")
            case "round":
                self.answer(302, b"", location=f"/round/{path[-1]}")
            case "file":
                self.answer(302, b"", location="file:///etc/passwd")
            case "slow":
                time.sleep(0.8 if passing else 0)
                self.answer(200, image)
            case "drip":
                self.answer(200, b"", content_length="100000")
                for _ in range(20):
                    self.wfile.write(b"\xff")
                    time.sleep(0.3)
            case "reset" if passing:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            case "empty":
                self.answer(200, b"")
            case "large":
                self.answer(200, b"\xff\xd8" + b"\0" * 200_000)
            case "endless":
                self.send_response(200)
                self.end_headers()
                while True:
                    self.wfile.write(b"\0" * 50_000)
            case "gif-bomb":
                self.answer(200, b"GIF89a\xff\xff\xff\xff\0\0\0")
            case "tarry":
                time.sleep(0.25)
                self.answer(200, image)
            case _:
                self.answer(200, image)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    httpd = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture(autouse=True)
def forget() -> None:
    Handler.asked.clear()
    Handler.at_once = Handler.most_at_once = 0


def entries(server: str, *paths: str, species: str = "Aus primus") -> list[Entry]:
    return [Entry(Path("nowhere") / str(row), species, row, url=f"{server}/{path}") for row, path in enumerate(paths, start=1)]


def fetched(folder: Path, wanted: list[Entry], rules: DownloadRules = FAST) -> tuple[list[Entry], dict[str, Refused]]:
    with Downloader(folder, rules, Run.silent()) as downloader:
        got, refused = downloader.fetch(wanted, {})
    return got, {item.file.split("/")[3]: item for item in refused}


def test_passing_faults_are_tried_again_and_lasting_ones_are_named(server: str, tmp_path: Path) -> None:
    passing = ["429/1.jpg", "503/2.jpg", "truncated/3.jpg", "slow/4.jpg", "reset/5.jpg", "moved/6.jpg", "ok/7.jpg"]
    lasting = ["404", "403", "html", "json", "cut", "round", "file", "drip", "empty", "large", "endless", "gif-bomb", "long-wait"]
    got, refused = fetched(tmp_path, entries(server, *passing, *(f"{name}/1.jpg" for name in lasting)))
    assert [entry.row for entry in got] == list(range(1, 8))
    for number, entry in enumerate(got, start=1):
        assert isinstance(entry.image, Path) and entry.image.read_bytes() == picture(number)
        assert entry.values["image_url"] == entry.url
    assert {name: item.reason for name, item in refused.items()} == {
        "404": "is not there (status 404)",
        "403": "is forbidden (status 403)",
        "html": "is a web page, not an image",
        "json": "is a JSON text, not an image",
        "cut": "is truncated or damaged",
        "round": "is redirected again and again",
        "file": "is not an address of the web (http, https)",
        "drip": "takes more than 1 seconds",
        "empty": "is empty",
        "large": "is larger than 0 MB",
        "endless": "is larger than 0 MB",
        "gif-bomb": refused["gif-bomb"].reason,
        "long-wait": "the host answers with the status 429, and the host asks to wait 1440 minutes",
    }
    assert Handler.asked["/404/1.jpg"] == Handler.asked["/html/1.jpg"] == 1 and Handler.asked["/cut/1.jpg"] == FAST.tries
    assert "try again later" in refused["cut"].hint and "in a browser" in refused["404"].hint


def test_a_host_is_asked_for_a_few_at_a_time(server: str, tmp_path: Path) -> None:
    got, _ = fetched(tmp_path, entries(server, *(f"tarry/{number}.jpg" for number in range(12))))
    assert len(got) == 12 and Handler.most_at_once <= FAST.per_host


def test_a_wait_that_is_asked_for_is_kept(server: str, tmp_path: Path) -> None:
    began = time.monotonic()

    original = Handler.fail_or_not

    def once(self: Handler, path: list[str], number: int) -> None:
        if path[0] == "wait" and number == 1:
            self.answer(503, b"", retry_after="1")
        else:
            original(self, path, number)

    Handler.fail_or_not = once  # type: ignore[method-assign]
    try:
        got, refused = fetched(tmp_path, entries(server, "wait/1.jpg"), replace(FAST, timeout=10))
    finally:
        Handler.fail_or_not = original  # type: ignore[method-assign]
    assert len(got) == 1 and time.monotonic() - began >= 1, refused


def test_nothing_is_fetched_twice_and_what_was_spoilt_is_fetched_again(server: str, tmp_path: Path) -> None:
    wanted = entries(server, "ok/1.jpg", "ok/2.jpg", "ok/1.jpg")
    first, _ = fetched(tmp_path, wanted)
    assert [entry.row for entry in first] == [1, 2, 3] and first[0].image == first[2].image
    Path(str(first[1].image)).write_bytes(b"spoilt")
    with (tmp_path / "downloads.jsonl").open("a") as journal:
        journal.write('{"url": "cut o')
    again, _ = fetched(tmp_path, wanted)
    assert [entry.image for entry in again] == [entry.image for entry in first]
    assert Handler.asked == {"/ok/1.jpg": 1, "/ok/2.jpg": 2}
    assert Path(str(again[1].image)).read_bytes() == picture(2)


def test_without_the_internet_the_import_stops_and_keeps_what_it_has(server: str, tmp_path: Path) -> None:
    wanted = entries("http://127.0.0.1:9", *(f"{number}.jpg" for number in range(30)))
    with pytest.raises(InputError, match=r"127.0.0.1:9 does not answer: the connection failed.* 0 images are here.*--resume"):
        fetched(tmp_path / "silent", wanted)
    own = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=own.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{own.server_port}"
    fetched(tmp_path / "lost", entries(address, "ok/1.jpg", "ok/2.jpg"))
    own.shutdown()
    own.server_close()
    with pytest.raises(InputError, match=r"does not answer any more: the connection failed.* 2 images are here.*--resume"):
        fetched(tmp_path / "lost", entries(address, *(f"ok/{number}.jpg" for number in range(9))))


def test_a_server_that_is_gone_costs_its_own_images_and_little_time(server: str, tmp_path: Path) -> None:
    dead = [replace(entry, row=100 + number) for number, entry in enumerate(entries("http://127.0.0.1:9", *(f"{n}.jpg" for n in range(300))))]
    began = time.monotonic()
    with Downloader(tmp_path, replace(FAST, give_up=5, pause=0.1), Run.silent()) as downloader:
        got, refused = downloader.fetch([*entries(server, "ok/1.jpg", "ok/2.jpg"), *dead], {})
    assert len(got) == 2 and len(refused) == 300 and time.monotonic() - began < 20
    assert refused[-1].reason == "its host was given up: the connection failed (ConnectError)" and "later" in refused[-1].hint


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:1/a.jpg", "http://localhost/a.jpg", "http://[::1]/a.jpg", "http://10.0.0.1/a.jpg", "http://169.254.169.254/latest/meta-data",
     "http://0.0.0.0/a.jpg", "http://[::ffff:127.0.0.1]/a.jpg", "http://2130706433/a.jpg", "http://0x7f.1/a.jpg"],
)  # fmt: skip
def test_private_addresses_are_not_opened(tmp_path: Path, address: str) -> None:
    with Downloader(tmp_path, DownloadRules(tries=1), Run.silent()) as downloader:
        _, refused = downloader.fetch([Entry(Path("x"), "Aus", url=address)], {})
    assert refused[0].reason == "leads into a private network"


@pytest.mark.parametrize(
    "address",
    ["ftp://example.org/a.jpg", "file:///etc/passwd", "http://", "http://user:secret@example.org/a.jpg", "http://a b/\0", "http://[a/b.jpg"],
)
def test_other_addresses_are_refused(tmp_path: Path, address: str) -> None:
    with Downloader(tmp_path, DownloadRules(tries=1), Run.silent()) as downloader:
        got, refused = downloader.fetch([Entry(Path("x"), "Aus", url=address)], {})
    assert not got and len(refused) == 1


def table(folder: Path, server: str, rows: list[tuple[str, str, str, str]]) -> Path:
    folder.mkdir(exist_ok=True)
    frame = pd.DataFrame(rows, columns=["image_url", "species", "observation_id", "licence"])
    frame["image_url"] = server + "/" + frame["image_url"]
    frame.to_csv(folder / "photos.csv", index=False)
    return folder / "photos.csv"


def imported(source: Path, out: Path, **given: object) -> CollectResult:
    return collect(source, CollectConfig.parse({"private_addresses": True, **given}), out, Run.silent())


ROWS = [
    ("ok/1.jpg", "Aus primus", "o1", "CC BY 4.0"), ("ok/2.jpg", "Aus primus", "o1", "http://creativecommons.org/licenses/by/4.0/legalcode"),
    ("404/3.jpg", "Aus primus", "o2", "CC-BY"), ("ok/4.jpg", "Aus primus", "o3", "CC BY-NC 4.0"), ("ok/5.jpg", "Bus alter", "o4", "CC0"),
    ("ok/6.jpg", "Bus alter", "o5", ""), ("ok/7.jpg", "Aus primus", "o6", "CC BY 4.0"),
]  # fmt: skip


def test_an_import_with_licences_and_at_most_so_many_a_species(server: str, tmp_path: Path) -> None:
    source = table(tmp_path / "in", server, ROWS)
    wanted = {"licences": ["CC0", "CC BY"], "max_per_species": 2}
    seen = preview(source, SourceConfig.parse(wanted))
    assert seen.num_downloads == 3 and "to be downloaded (--download)" in seen.text()
    assert not Handler.asked
    result = imported(source, tmp_path / "out", download=True, **wanted)
    # One of each observation first: o1 and o2 of Aus primus; as o2 cannot be had, o6 takes its place.
    assert result.collection.table["image_url"].str.rsplit("/", n=1).str[1].tolist() == ["1.jpg", "5.jpg", "7.jpg"]
    assert result.collection.table["group"].tolist() == ["o1", "o4", "o6"]
    refused = pd.read_csv(tmp_path / "out" / "refused.csv")
    assert len(refused) + len(result.collection) == len(ROWS) and sorted(refused["row"]) == [2, 3, 4, 6]
    reasons = dict(zip(refused["row"], refused["reason"], strict=True))
    assert reasons[4] == "has the licence CC BY-NC 4.0, which was not asked for" and reasons[6] == "has no licence, which was not asked for"
    assert reasons[2] == "is beyond the 2 images of its species" and reasons[3] == "is not there (status 404)"
    assert not (tmp_path / "out" / ".downloads").exists()


def test_without_the_option_nothing_is_fetched(server: str, tmp_path: Path) -> None:
    source = table(tmp_path / "in", server, ROWS)
    with pytest.raises(InputError, match=r"photos.csv: has the addresses of 7 images, and none of the images. Add --download"):
        imported(source, tmp_path / "out")
    assert not Handler.asked and not (tmp_path / "out").exists()  # the folder is free for another try
    (tmp_path / "in" / "ok").mkdir()
    (tmp_path / "in" / "ok" / "5.jpg").write_bytes(picture(5))
    assert len(imported(source, tmp_path / "out").collection) == 1 and not Handler.asked
    refused = pd.read_csv(tmp_path / "out" / "refused.csv")
    assert set(refused["reason"]) == {"is only an address"} and "Add --download" in refused["hint"][0]


def test_a_killed_import_goes_on(server: str, tmp_path: Path) -> None:
    source = table(tmp_path / "in", server, [(f"tarry/{n}.jpg", "Aus primus", f"o{n}", "CC0") for n in range(40)])
    command = [
        sys.executable,
        "-m",
        "syntype.apps.cli",
        "collect",
        str(source),
        "--download",
        "--set",
        "private_addresses=true",
        "--out",
        str(tmp_path / "out"),
        "--quiet",
    ]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    until = time.monotonic() + 60
    while sum(Handler.asked.values()) < 12 and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    before = sum(Handler.asked.values())
    assert 12 <= before < 40 and not (tmp_path / "out" / "collection.json").exists()
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 2 and "--resume" in again.stderr
    subprocess.run([*command, "--resume"], check=True, capture_output=True)
    assert sum(Handler.asked.values()) <= 40 + FAST.per_host  # those that were under way are asked for once more
    assert len(pd.read_parquet(tmp_path / "out" / "metadata.parquet")) == 40
    assert not list((tmp_path / "out").glob(".downloads*")) and len(list((tmp_path / "out" / "images").rglob("*.jpg"))) == 40


def test_selection_takes_one_of_each_observation_first() -> None:
    items = [Entry(Path(f"{number}"), "Aus", number, group=group) for number, group in enumerate("aaabbc")]
    chosen = select(items, None, 4)
    assert [entry.row for entry in chosen.entries] == [0, 1, 3, 5] and [entry.row for entry in chosen.reserve["Aus"]] == [4, 2]
    assert select(items, None, None).entries == items


def test_the_connection_is_made_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append((host, port))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with httpx2.Client() as client:
        request = checked_request(client, "https://example.org:8443/a.jpg?x=1", {}, private=False)
    assert asked == [("example.org", 8443)]
    assert str(request.url) == "https://93.184.215.14:8443/a.jpg?x=1"
    assert request.headers["host"] == "example.org:8443" and request.extensions["sni_hostname"] == "example.org"

"""Who may come in, and what hostile requests and files meet: a clear refusal, and nothing left behind."""

from __future__ import annotations

import io
import logging
import random
import re
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient
from studio_server import SMALL, TOKEN, browser, huge_png, jpeg, lying_zip, make_workspace, png, png_with, raw_name, sharing, special, zipped

from syntype.apps.web.app import create_app
from syntype.apps.web.limits import StudioConfig
from syntype.apps.web.requests import parse_request
from syntype.apps.web.workspace import SLUG, Workspace
from syntype.errors import UserError

NOISE = random.Random(0).randbytes(3000)
BOMB = b"\0" * 2_500_000
GOOD = zipped(("Aus/a.png", png()))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("security") / "workspace")


@pytest.fixture(scope="module")
def client(workspace: Workspace) -> Iterator[TestClient]:
    with browser(workspace) as client:
        yield client


def files_of(workspace: Workspace) -> set[str]:
    """Everything outside of caches and the database, and what lies beside the workspace."""
    return {str(path) for path in workspace.root.parent.rglob("*") if ".cache" not in path.parts and not path.name.startswith("studio.sqlite")}


SINGLE: dict[str, tuple[str, str | None, bytes]] = {
    "no image": ("a.png", "Aus", b"hello"),
    "empty": ("a.png", "Aus", b""),
    "noise": ("a.jpg", "Aus", NOISE),
    "truncated": ("a.png", "Aus", png(64)[:-30]),
    "header alone": ("a.png", "Aus", png()[:20]),
    "SVG": ("a.svg", "Aus", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'),
    "HTML named as an image": ("a.png", "Aus", b"<html><script>alert(1)</script></html>"),
    "PostScript": ("a.eps", "Aus", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"),
    "PDF": ("a.pdf", "Aus", b"%PDF-1.7\n"),
    "program": ("a.png", "Aus", b"\x7fELF" + NOISE),
    "pickle": ("a.pt", "Aus", b"\x80\x04\x95" + NOISE),
    "tiny": ("a.png", "Aus", png(4)),
    "huge declared size": ("a.png", "Aus", huge_png(60_000, 60_000)),
    "one very long line": ("a.png", "Aus", huge_png(2_000_000_000, 1)),
    "more pixels than allowed": ("a.png", "Aus", huge_png(1200, 1200)),
    "more bytes than allowed": ("a.png", "Aus", png() + b"\0" * 250_000),
    "no species": ("a.png", None, png()),
    "zip that is none": ("a.zip", None, NOISE),
    "empty zip": ("a.zip", None, zipped()),
    "truncated zip": ("a.zip", None, zipped(("Aus/a.png", png()))[:-20]),
    "image named zip": ("a.zip", None, png()),
    "zip named image": ("a.png", "Aus", zipped(("Aus/a.png", png()))),
    "SVG named as an image": ("a.png", "Aus", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'),
    "script that begins like a GIF": ("a.gif", "Aus", b"GIF89a=1;alert(document.cookie)//" + NOISE),
    "page with a photograph behind it": ("a.png", "Aus", b"<html><script>alert(1)</script>" + png()),
    "page with a zip behind it": ("a.zip", None, b"<html><script>alert(1)</script>" + GOOD),
    "program that unpacks itself": ("a.zip", None, b"MZ" + NOISE + GOOD),
    "photograph with a zip behind it, sent as a zip": ("a.zip", None, png() + GOOD),
    "text that unpacks without end": ("a.png", "Aus", png_with(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 20_000_000))),
    "colours that unpack without end": ("a.png", "Aus", png_with(b"iCCP", b"icc\0\0" + zlib.compress(b"\0" * 20_000_000))),
    "JPEG that declares a huge size": ("a.jpg", "Aus", jpeg(65_000, 65_000)),
    "JPEG that is cut off": ("a.jpg", "Aus", jpeg(32, 24)[:-60]),
    "GIF of a huge screen": ("a.gif", "Aus", b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\2\2D\1\0;"),
    "BMP of a huge size": ("a.bmp", "Aus", b"BM" + struct.pack("<IIIIiiHHIIiiII", 100, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0) + NOISE),
    "BMP of a negative size": ("a.bmp", "Aus", b"BM" + struct.pack("<IIIIiiHHIIiiII", 100, 0, 54, 40, -500, -500, 1, 24, 0, 0, 0, 0, 0, 0)),
    "TIFF whose directory leads to itself": ("a.tif", "Aus", b"II*\0\x08\0\0\0\0\0\x08\0\0\0" + NOISE),
    "WebP without a picture": ("a.webp", "Aus", b"RIFF\xff\xff\xff\x7fWEBPVP8 " + NOISE),
    "JPEG 2000, whose decoder is not asked": ("a.jp2", "Aus", b"\0\0\0\x0cjP  \r\n\x87\n" + NOISE),
    "weights": ("a.safetensors", "Aus", struct.pack("<Q", 2) + b"{}"),
}
NAMES = [
    "../a.png", "..", "/etc/passwd", "a/b.png", "a\\b.png", "..\\a.png", "C:\\a.png", "C:a.png", "a\0.png", "a\n.png", "\u202egnp.a", ".hidden.png",
    ".", " ", "CON.png", "nul", "a.png ", "a.png.", "a" * 190 + "é" * 9 + ".png", "%2e%2e/a.png", "a*.png", "a?.png", "<a>.png", "\ud7ff\u2028.png",
    "a\u200b.png", "\ufeffa.png", "a\x7f.png", "a\t.png", "a\r\nSet-Cookie: a=b.png", "a|b.png", 'a".png', "COM1.png", "lpt9.tar.png", "~/../a.png",
    "file:///etc/passwd", "//host/share/a.png", "a.png\0.txt", "\x1b[2Ja.png", "a.png::$DATA", "..\u2060/a.png",
]  # fmt: skip
SPECIES = ["..", "../x", "/etc", "a/b", "a\\b", "Aus\0primus", "Aus\x1bprimus", ".hidden", "-option", "CON", "C:x", " ", "a\u202eb", "é" * 90, "Aus."]
MEMBERS: dict[str, bytes] = {
    "climbs out": zipped((raw_name("../../evil.png"), png())),
    "climbs out in the middle": zipped((raw_name("Aus/../../../evil.png"), png())),
    "climbs after good ones": zipped(("Aus/a.png", png()), (raw_name("../evil.png"), png())),
    "absolute": zipped((raw_name("/tmp/evil.png"), png())),
    "Windows drive": zipped((raw_name("C:/evil.png"), png())),
    "Windows separators": zipped((raw_name("..\\..\\evil.png"), png())),
    "network share": zipped((raw_name("\\\\host\\share\\evil.png"), png())),
    "null character": zipped((raw_name("Aus/a.png\0.txt"), png())),
    "symbolic link": zipped((special("Aus/link.png", stat.S_IFLNK), b"/etc/passwd")),
    "link to a folder, then a file through it": zipped((special("Aus", stat.S_IFLNK), b"/tmp"), ("Aus/evil.png", png())),
    "pipe": zipped((special("Aus/pipe.png", stat.S_IFIFO), b"")),
    "device": zipped((special("Aus/disk.png", stat.S_IFBLK), b"")),
    "compressed to nearly nothing": zipped(("Aus/bomb.png", BOMB), method=zipfile.ZIP_DEFLATED),
    "compressed by another method": zipped(("Aus/bomb.png", BOMB), method=zipfile.ZIP_LZMA),
    "many small bombs": zipped(*((f"Aus/{i}.png", b"\0" * 900_000) for i in range(6)), method=zipfile.ZIP_DEFLATED),
    "a size that is a lie": lying_zip(BOMB, 100),
    "too many entries": zipped(*((f"Aus/{i}.png", b"") for i in range(100))),
    "zip in a zip": zipped(("Aus/inner.zip", zipped(("Aus/a.png", png())))),
    "nothing but programs": zipped(("Aus/a.exe", b"MZ" + NOISE), ("Aus/b.sh", b"#!/bin/sh\n")),
    "nothing but notes": zipped(("Aus/a.txt", b"hello"), ("__MACOSX/Aus/a.png", png())),
    "folders that cannot name a species": zipped(("-rf/a.png", png()), ("CON/a.png", png())),
    "huge picture": zipped(("Aus/a.png", huge_png(60_000, 60_000))),
    "encrypted": zipped(("Aus/a.png", png())).replace(b"PK\1\2\x14\x03\x14\x00\x00\x00", b"PK\1\2\x14\x03\x14\x00\x01\x00"),
    "damaged directory": zipped(("Aus/a.png", png())).replace(b"PK\1\2", b"PK\1\3"),
    "climbs out by a detour": zipped((raw_name("Aus/./../../evil.png"), png())),
    "network share with forward strokes": zipped((raw_name("//host/share/evil.png"), png())),
    "drive in the middle": zipped((raw_name("Aus/C:evil.png"), png())),
    "name that turns its direction": zipped((raw_name("Aus/\u202egnp.exe"), png())),
    "socket": zipped((special("Aus/socket.png", stat.S_IFSOCK), b"")),
    "terminal": zipped((special("Aus/tty.png", stat.S_IFCHR), b"")),
    "links beside good ones": zipped(("Aus/a.png", png()), (special("Aus/b.png", stat.S_IFLNK), b"../../../studio.sqlite")),
    "species that is a control character": zipped(("A\x1b[2Jus/a.png", png())),
    "species of 200 letters": zipped(("A" * 200 + "/a.png", png())),
    "zip bomb in a zip": zipped(("Aus/a.png", zipped(("b.png", BOMB), method=zipfile.ZIP_DEFLATED))),
    "SVG in a zip": zipped(("Aus/a.svg", b'<svg onload="alert(1)"/>')),
    "page in a zip": zipped(("Aus/a.png", b"<html><script>alert(1)</script>")),
    "entries that share their bytes": sharing(5, BOMB[:900_000]),
    "wrong checksum": zipped(("Aus/a.png", png())).replace(struct.pack("<I", zlib.crc32(png())), b"\1\2\3\4"),
}  # fmt: skip


def refused(client: TestClient, workspace: Workspace, name: str, species: str | None, content: bytes, word: str = "") -> None:
    upload = client.post("/api/uploads").json()["upload"]
    before = files_of(workspace)
    answer = client.put(f"/api/uploads/{upload}/files", params={"name": name} | ({} if species is None else {"species": species}), content=content)
    assert answer.status_code == 422, answer.text
    assert len(answer.json()["error"]) > 20 and str(workspace.root) not in answer.text and word in answer.text
    assert files_of(workspace) == before
    client.delete(f"/api/uploads/{upload}")


@pytest.mark.parametrize("case", SINGLE)
def test_a_file_that_is_no_sound_photograph_is_refused(client: TestClient, workspace: Workspace, case: str) -> None:
    refused(client, workspace, *SINGLE[case])


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_file_name_that_is_none_is_refused(client: TestClient, workspace: Workspace, name: str) -> None:
    refused(client, workspace, name, "Aus primus", png())


@pytest.mark.parametrize("species", SPECIES, ids=repr)
def test_a_species_that_is_no_name_is_refused(client: TestClient, workspace: Workspace, species: str) -> None:
    refused(client, workspace, "a.png", species, png())


def test_there_are_at_least_sixty_hostile_uploads() -> None:
    assert len(SINGLE) + len(NAMES) + len(SPECIES) + len(MEMBERS) > 120


def test_a_zip_with_a_directory_beyond_reason_is_refused(tmp_path: Path) -> None:
    """Before any of it is taken apart in memory, where each entry takes many times its place on the disk."""
    entries = [zipfile.ZipInfo(f"Aus/{number}.png") for number in range(20)]
    for entry in entries:
        entry.comment = b"x" * 60_000
    workspace = make_workspace(tmp_path / "workspace")
    with browser(workspace, StudioConfig(limits=SMALL.model_copy(update={"zip_bytes": 3_000_000}))) as client:
        refused(client, workspace, "a.zip", None, zipped(*((entry, png()) for entry in entries)), "directory")


@pytest.mark.parametrize("case", MEMBERS)
def test_a_hostile_zip_is_refused_and_leaves_nothing(client: TestClient, workspace: Workspace, case: str) -> None:
    refused(client, workspace, "a.zip", None, MEMBERS[case])


@pytest.mark.parametrize(
    "path",
    [
        "/api/collections/..", "/api/collections/%2e%2e", "/api/collections/%2e%2e%2f%2e%2e/images",
        "/api/collections/..%2f..%2fetc/images", "/api/collections/fish%00/images", "/api/collections/FISH/images", "/api/collections/.cache/images",
        "/api/collections/fish/images/..%2f..%2fcollection.json/file", "/api/collections/fish/images/%2fetc%2fpasswd/file",
        "/api/collections/fish/images/%00/file", "/api/generators/..%2fcollections%2ffish", "/api/exports/..%5c..%5cfish/file",
        "/api/uploads/../../collections/files", "/api/uploads/%2e%2e", "/api/jobs/1/pictures/..%2frun.json", "/api/studies/fish/report",
        "/api/jobs/-1", "/api/jobs/99999999999999999999", "/api/quizzes/../x", "/static/..%2f..%2fstudio.sqlite", "/studio.sqlite", "/.session-key",
    ],
)  # fmt: skip
def test_no_address_leads_out_of_the_workspace(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (400, 404, 422), answer.text
    assert answer.json()["error"]


@pytest.mark.parametrize("slug", ["..", "../x", "a/b", "/etc", "A", "", "-x", "x" * 64, "a b", "a\0b", "é", "con:", "a.b", "%2e%2e"])
def test_a_job_writes_only_under_a_slug(client: TestClient, workspace: Workspace, slug: str) -> None:
    before = files_of(workspace)
    answer = client.post("/api/jobs", json={"kind": "export", "name": "fine", "collection": slug})
    assert answer.status_code in (404, 422) and answer.json()["error"]
    with suppress(UserError):  # of what people type a slug is made, or it is refused
        assert re.fullmatch(SLUG, parse_request({"kind": "export", "name": slug, "collection": "fish"}).slug)
    assert client.get("/api/jobs").json() == []
    assert files_of(workspace) == before


def test_a_request_may_not_be_larger_than_it_needs_to_be(client: TestClient) -> None:
    answer = client.post("/api/jobs", content=b"[" * 2_000_000)
    assert answer.status_code == 413 and "Send less" in answer.json()["error"]
    assert client.post("/api/jobs", content=b"{" * 100, headers={"content-type": "application/json"}).status_code == 422
    assert client.post("/api/jobs", content=b'{"kind": "\\ud800"}', headers={"content-type": "application/json"}).status_code == 422


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"kind": "export", "name": "x", "collection": "fish"}', "text/plain"),
        (b'{"kind": "export", "name": "x", "collection": "fish"}', "application/x-www-form-urlencoded"),
        (b"kind=export&name=x&collection=fish", "application/x-www-form-urlencoded"),
        (b'--a\r\nContent-Disposition: form-data; name="kind"\r\n\r\nexport\r\n--a--', "multipart/form-data; boundary=a"),
        (b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "application/xml"),
        (b'{"kind": ' + b"[" * 400_000, "application/json"),
        (b'{"kind": "train", "minutes": NaN}', "application/json"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "application/json"),
        (b"\x80\x04\x95", "application/json"),
        ('{"kind": "export"}'.encode("utf-16"), "application/json"),
        (b"", "application/json"),
    ],
)
def test_a_body_that_is_none_is_refused(client: TestClient, content: bytes, kind: str) -> None:
    answer = client.post("/api/jobs", content=content, headers={"content-type": kind})
    assert answer.status_code in (400, 422) and answer.json()["error"]
    assert client.get("/api/jobs").json() == []


@pytest.mark.parametrize("length", ["²", "9" * 5000, "-1", "0x10", "1e9"])
def test_a_length_that_is_none_stops_nothing(client: TestClient, workspace: Workspace, length: str) -> None:
    upload = client.post("/api/uploads").json()["upload"]
    before = files_of(workspace)
    headers = {"content-length": length.encode("latin-1")}
    answer = client.put(f"/api/uploads/{upload}/files", params={"name": "a.png", "species": "Aus"}, content=NOISE, headers=headers)
    assert answer.status_code == 422 and files_of(workspace) == before


@pytest.mark.parametrize(
    "path",
    [
        "/api/collections/fish%0d%0aset-cookie:%20a=b", "/api/collections/fish/images/0-0%0d%0aset-cookie:%20a=b/file",
        "/api/collections/fish/images/0-0/thumbnail?version=%0d%0aset-cookie:%20a=b", "/api/exports/x%0d%0aset-cookie:%20a=b/file",
        "/collections/fish?species=%0d%0aset-cookie:%20a=b", "/signin?%0d%0aset-cookie:%20a=b",
    ],
)  # fmt: skip
def test_no_address_writes_a_header(client: TestClient, path: str) -> None:
    answer = client.get(path, follow_redirects=False)
    assert answer.status_code < 500 and "set-cookie" not in answer.headers
    assert not any("\r" in value or "\n" in value for value in answer.headers.values())


def test_a_photograph_with_a_page_behind_it_stays_a_photograph(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    (workspace.root / "collections" / "fish" / "images" / "0-0.png").write_bytes(png() + b"<html><script>alert(1)</script>" + GOOD)
    with browser(workspace) as client:
        answer = client.get("/api/collections/fish/images/0-0/file", headers={"accept": "text/html"})
        assert answer.headers["content-type"] == "image/png" and answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        small = client.get("/api/collections/fish/images/0-0/thumbnail")
        assert b"script" not in small.content and Image.open(io.BytesIO(small.content)).format == "WEBP"


def test_links_lead_nowhere(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    outside = make_workspace(tmp_path / "outside").root
    secret = tmp_path / "secret.zip"
    secret.write_bytes(b"secret")
    for kind, mark in (
        ("collections", None),
        ("generators", "generator.json"),
        ("identifiers", "classifier.json"),
        ("studies", "results.json"),
        ("exports", "export.json"),
    ):
        if mark is not None:
            (outside / kind / "fish").mkdir()
            (outside / kind / "fish" / mark).write_text('{"species": [], "file": "set.zip", "num_images": 1, "num_bytes": 6}')
        (workspace.root / kind / "linked").symlink_to(outside / kind / "fish")
    owned = (("exports", "export.json", "set.zip"), ("studies", "results.json", "report.html"), ("identifiers", "classifier.json", "MODEL_CARD.md"))
    for kind, mark, name in owned:
        (workspace.root / kind / "own").mkdir()
        (workspace.root / kind / "own" / mark).write_text('{"species": [], "file": "set.zip", "num_images": 1, "num_bytes": 6}')
        (workspace.root / kind / "own" / name).symlink_to(secret)
    (workspace.root / "uploads" / ("a" * 32)).symlink_to(outside)
    (workspace.root / "collections" / "dangling").symlink_to(tmp_path / "nowhere")
    with browser(workspace) as client:
        for kind in ("collections", "generators", "identifiers", "studies", "exports"):
            assert "linked" not in client.get(f"/api/{kind}").text
        ways = ("collections/linked", "generators/linked", "studies/linked/report", "exports/linked/file", "exports/own/file", "studies/own/report")
        ways = (*ways, "identifiers/linked", "identifiers/linked/file", "identifiers/own/file")
        for path in ways:
            answer = client.get(f"/api/{path}")
            assert answer.status_code == 422 and "leads out" in answer.json()["error"], path
            assert str(tmp_path) not in answer.text and "secret" not in answer.text
        assert client.get(f"/api/uploads/{'a' * 32}").status_code == client.delete(f"/api/uploads/{'a' * 32}").status_code == 404
        asked = client.post("/api/jobs", json={"kind": "export", "name": "set", "collection": "linked"})
        assert asked.status_code == 422 and "leads out" in asked.json()["error"]
        upload = client.post("/api/uploads").json()["upload"]
        taken = client.post("/api/jobs", json={"kind": "import", "name": "dangling", "upload": upload})
        assert taken.status_code == 422 and "exists already" in taken.json()["error"]
    assert (outside / "collections" / "fish").is_dir() and not (tmp_path / "nowhere").exists()


def test_the_cookie_on_loopback_is_kept_from_scripts_and_other_pages(workspace: Workspace) -> None:
    with TestClient(create_app(workspace, StudioConfig()), base_url="http://localhost") as client:
        flags = {flag.strip().lower() for flag in client.get("/api/session").headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= flags and not any(flag.startswith("domain") for flag in flags)


def test_many_ranges_of_a_file_are_no_burden(client: TestClient) -> None:
    ranges = "bytes=" + ",".join(f"{start}-{start}" for start in range(0, 5000, 2))
    began = time.process_time()
    assert client.get("/api/collections/fish/images/0-0/file", headers={"range": ranges}).status_code < 500
    assert time.process_time() - began < 2


def test_every_answer_forbids_what_pages_do_not_need(client: TestClient) -> None:
    for path in ("/api/collections", "/nowhere", "/api/jobs/7"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"] and "unsafe" not in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["x-frame-options"], headers["referrer-policy"]) == ("nosniff", "DENY", "no-referrer")


def test_changes_need_the_header_of_the_session_and_come_from_our_own_pages(client: TestClient, workspace: Workspace) -> None:
    csrf = client.headers["x-syntype-csrf"]
    for headers in (
        {"x-syntype-csrf": ""},
        {"x-syntype-csrf": csrf[:-1] + ("0" if csrf[-1] != "0" else "1")},
        {"x-syntype-csrf": "é".encode()},
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:9999"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        answer = client.post("/api/uploads", headers=headers)
        assert answer.status_code == 403, headers
    assert client.post("/api/uploads", headers={"origin": "http://localhost", "sec-fetch-site": "same-origin"}).status_code == 201
    without = TestClient(client.app, base_url="http://localhost")
    assert without.post("/api/uploads", headers={"x-syntype-csrf": csrf}).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[", "192.168.0.7"])
def test_another_name_for_this_machine_opens_nothing(client: TestClient, host: str) -> None:
    assert client.get("/api/collections", headers={"host": host}).status_code == 421
    assert client.get("/api/collections", headers={"host": "127.0.0.1:8765"}).status_code == 200


def test_a_token_is_demanded_and_never_logged(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    config = StudioConfig(host="0.0.0.0", token=TOKEN, https=True, limits=SMALL)
    caplog.set_level(logging.INFO, "syntype.studio")
    with TestClient(create_app(workspace, config), base_url="https://studio.example") as client:
        assert client.get("/api/collections").status_code == 401
        assert client.get("/api/openapi.json").status_code == 401
        assert client.get("/api/collections", headers={"accept": "text/html"}, follow_redirects=False).headers["location"] == "/signin"
        for wrong in ("", "x", TOKEN[:-1], TOKEN + "x", "é"):
            assert client.get("/api/collections", headers={"authorization": f"Bearer {wrong}".encode()}).status_code == 401
        assert client.get("/api/collections", params={"token": TOKEN}).status_code == 401, "a token in an address would be logged by others"
        by_header = {"authorization": f"Bearer {TOKEN}"}
        assert client.get("/api/collections", headers=by_header).status_code == 200
        assert client.post("/api/uploads", headers=by_header).status_code == 201
        assert client.post("/api/session", json={"token": "wrong"}).status_code == 403
        signed = client.post("/api/session", json={"token": TOKEN})
        cookie = signed.headers["set-cookie"]
        assert all(flag in cookie for flag in ("HttpOnly", "SameSite=strict", "Secure")) and TOKEN not in cookie
        assert client.get("/api/collections").status_code == 200
        assert client.post("/api/uploads").status_code == 403
        assert client.post("/api/uploads", headers={"x-syntype-csrf": signed.json()["csrf"]}).status_code == 201
        name, value = cookie.split(";")[0].split("=", 1)
        for forged in (value[:-1] + "x", value.replace(".", ".9", 1), "..", "a.9999999999.b", "é"):
            fresh = TestClient(client.app, base_url="https://studio.example")
            assert fresh.get("/api/collections", headers={"cookie": f"{name}={forged}".encode()}).status_code == 401
    with TestClient(create_app(workspace, config.model_copy(update={"token": TOKEN + "2"})), base_url="https://studio.example") as client:
        assert client.get("/api/collections", headers={"cookie": f"{name}={value}"}).status_code == 401, "a new token ends old sessions"
    assert len(caplog.records) > 10
    assert TOKEN not in caplog.text and value not in caplog.text

"""Who may come in, and what hostile requests and files meet: a clear refusal, and nothing left behind."""

from __future__ import annotations

import logging
import random
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient
from studio import SMALL, TOKEN, browser, huge_png, lying_zip, make_workspace, png, raw_name, special, zipped

from syntype.apps.web.app import create_app
from syntype.apps.web.limits import StudioConfig
from syntype.apps.web.workspace import Workspace

NOISE = random.Random(0).randbytes(3000)
BOMB = b"\0" * 2_500_000


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("doors") / "workspace")


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
}
NAMES = [
    "../a.png", "..", "/etc/passwd", "a/b.png", "a\\b.png", "..\\a.png", "C:\\a.png", "C:a.png", "a\0.png", "a\n.png", "\u202egnp.a", ".hidden.png",
    ".", " ", "CON.png", "nul", "a.png ", "a.png.", "a" * 190 + "é" * 9 + ".png", "%2e%2e/a.png", "a*.png", "a?.png", "<a>.png", "\ud7ff\u2028.png",
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
    "wrong checksum": zipped(("Aus/a.png", png())).replace(struct.pack("<I", zlib.crc32(png())), b"\1\2\3\4"),
}  # fmt: skip


def refused(client: TestClient, workspace: Workspace, name: str, species: str | None, content: bytes) -> None:
    upload = client.post("/api/uploads").json()["upload"]
    before = files_of(workspace)
    answer = client.put(f"/api/uploads/{upload}/files", params={"name": name} | ({} if species is None else {"species": species}), content=content)
    assert answer.status_code == 422, answer.text
    assert len(answer.json()["error"]) > 20 and str(workspace.root) not in answer.text
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
    for body in ({"name": slug, "collection": "fish"}, {"name": "fine", "collection": slug}):
        answer = client.post("/api/jobs", json={"kind": "export", **body})
        assert answer.status_code in (404, 422) and answer.json()["error"]
    assert client.get("/api/jobs").json() == []
    assert files_of(workspace) == before


def test_a_request_may_not_be_larger_than_it_needs_to_be(client: TestClient) -> None:
    answer = client.post("/api/jobs", content=b"[" * 2_000_000)
    assert answer.status_code == 413 and "Send less" in answer.json()["error"]
    assert client.post("/api/jobs", content=b"{" * 100, headers={"content-type": "application/json"}).status_code == 422
    assert client.post("/api/jobs", content=b'{"kind": "\\ud800"}', headers={"content-type": "application/json"}).status_code == 422


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

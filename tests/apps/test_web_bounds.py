"""Slow, half-open and many requests, and large workspaces: the pages go on answering at once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

import httpx2
import pytest
import uvicorn
from starlette.testclient import TestClient
from studio_server import SMALL, TOKEN, browser, make_workspace, png, until, zipped

from syntype.apps.web import image_check, progress, security
from syntype.apps.web.app import create_app
from syntype.apps.web.limits import Limits, StudioConfig
from syntype.apps.web.server import _protocol
from syntype.apps.web.store import Store
from syntype.apps.web.uploads import Uploads
from syntype.apps.web.workspace import Workspace
from syntype.errors import InputError

HASTY = SMALL.model_copy(update={"head_seconds": 0.6, "wait_seconds": 0.6, "body_rate": 1000, "receiving": 30})


@contextmanager
def serving(workspace: Workspace, limits: Limits) -> Iterator[httpx2.Client]:
    """A server in a thread of this process, and a browser that has a session."""
    config = StudioConfig(limits=limits)
    app = create_app(workspace, config)
    server = uvicorn.Server(uvicorn.Config(app, http=_protocol(limits.head_seconds), log_level="critical", access_log=False, port=0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, 60)
    port = server.servers[0].sockets[0].getsockname()[1]
    client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
    client.headers["x-syntype-csrf"] = client.get("/api/session").json()["csrf"]
    yield client
    client.close()
    server.should_exit = server.force_exit = True
    thread.join(30)


def connect(client: httpx2.Client, data: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", client.base_url.port), timeout=20)
    connection.sendall(data)
    return connection


def head(client: httpx2.Client, upload: str, length: int) -> bytes:
    """The beginning of a request that sends a photograph."""
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    lines = (
        f"PUT /api/uploads/{upload}/files?name=a.png&species=Aus HTTP/1.1",
        f"Host: localhost\r\nCookie: {cookie}\r\nX-Syntype-Csrf: {client.headers['x-syntype-csrf']}\r\nContent-Length: {length}",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answers(client: httpx2.Client) -> float:
    """Seconds that the page of a collection takes."""
    began = time.monotonic()
    assert client.get("/collections/fish", headers={"accept": "text/html"}).status_code == 200
    return time.monotonic() - began


def test_uploads_that_trickle_end_and_never_stop_the_pages(tmp_path: Path) -> None:
    with serving(make_workspace(tmp_path / "workspace"), HASTY) as client:
        answers(client)
        upload = client.post("/api/uploads").json()["upload"]
        slow = [connect(client, head(client, upload, 10_000) + b"\x89") for _ in range(30)]
        began = time.monotonic()
        times = []
        while time.monotonic() - began < 1.5:
            for connection in slow:
                with suppress(OSError):  # it was ended
                    connection.sendall(b"P")
            times.append(answers(client))
        assert median(times) < 1 and max(times) < 5
        assert {connection.recv(100).split(b" ")[1] for connection in slow} == {b"408"}
        assert client.put(f"/api/uploads/{upload}/files", params={"name": "a.png", "species": "Aus"}, content=png()).json()["num_taken"] == 1
        until(lambda: [path.name for path in (tmp_path / "workspace" / "uploads" / upload).iterdir()] == ["Aus"], 20)
        for connection in slow:
            connection.close()


def test_only_so_many_files_are_received_at_once(tmp_path: Path) -> None:
    with serving(make_workspace(tmp_path / "workspace"), HASTY.model_copy(update={"wait_seconds": 20.0, "receiving": 3})) as client:
        upload = client.post("/api/uploads").json()["upload"]
        slow = [connect(client, head(client, upload, 10_000) + b"\x89") for _ in range(3)]
        until(lambda: len(list((tmp_path / "workspace" / "uploads" / upload).iterdir())) == 3, 20)
        answer = client.put(f"/api/uploads/{upload}/files", params={"name": "a.png", "species": "Aus"}, content=png())
        assert answer.status_code == 503 and "again" in answer.json()["error"]
        for connection in slow:
            connection.close()
        until(lambda: not list((tmp_path / "workspace" / "uploads" / upload).iterdir()), 20)
        assert client.put(f"/api/uploads/{upload}/files", params={"name": "a.png", "species": "Aus"}, content=png()).status_code == 200


def test_photographs_that_take_long_to_check_never_stop_the_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()
    read = image_check.read_image
    monkeypatch.setattr(image_check, "read_image", lambda data: (let_go.wait(60), read(data))[1])
    with serving(make_workspace(tmp_path / "workspace"), SMALL) as client:
        answers(client)
        upload = client.post("/api/uploads").json()["upload"]
        sent = [connect(client, head(client, upload, len(png())) + png()) for _ in range(50)]
        time.sleep(0.3)
        assert answers(client) < 5  # rather than the minute that each photograph takes
        let_go.set()
        assert {connection.recv(100).split(b" ")[1] for connection in sent} == {b"200"}
        for connection in sent:
            connection.close()
        assert client.get(f"/api/uploads/{upload}").json()["species"] == {"Aus": 50}


@pytest.mark.parametrize(
    "begun", [b"", b"GET / HTTP/1.1\r\nHost: loc", b"GET /static/studio.css HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nX"]
)
def test_half_open_connections_are_closed(tmp_path: Path, begun: bytes) -> None:
    with serving(make_workspace(tmp_path / "workspace"), HASTY) as client:
        began = time.monotonic()
        with connect(client, begun) as connection, pytest.raises(OSError):
            while time.monotonic() - began < 20:
                time.sleep(0.1)
                connection.sendall(b"y")


def test_a_cookie_is_of_no_use_after_signing_out_also_after_a_restart(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    config = StudioConfig(host="0.0.0.0", token=TOKEN, limits=SMALL)
    with TestClient(create_app(workspace, config), base_url="http://studio.example") as client:
        signed = client.post("/api/session", json={"token": TOKEN})
        copied = {"cookie": signed.headers["set-cookie"].split(";")[0]}
        other = client.post("/api/session", json={"token": TOKEN}).headers["set-cookie"].split(";")[0]
        client.cookies.clear()
        assert client.get("/api/collections", headers=copied).status_code == 200
        assert client.delete("/api/session", headers=copied).status_code in (204, 403)
        assert client.delete("/api/session", headers=copied | {"x-syntype-csrf": signed.json()["csrf"]}).status_code == 204
        assert client.get("/api/collections", headers=copied).status_code == 401
    for _ in range(2):
        with TestClient(create_app(workspace, config), base_url="http://studio.example") as client:
            assert client.get("/api/collections", headers=copied).status_code == 401
            assert client.get("/api/collections", headers={"cookie": other}).status_code == 200


def test_sessions_that_expired_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = security.Sessions(tmp_path / "key", None)
    cookie = sessions.make()
    sessions.end(sessions.check(cookie) or "")
    assert security.Sessions(tmp_path / "key", None).check(cookie) is None
    monkeypatch.setattr(security, "SESSION_SECONDS", -10)
    security.Sessions(tmp_path / "key", None)
    assert (tmp_path / ".ended-sessions").read_text() == ""


def test_guessing_a_token_is_slowed_by_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(make_workspace(tmp_path / "workspace"), StudioConfig(host="0.0.0.0", token=TOKEN, limits=SMALL))
    with TestClient(app, base_url="http://studio.example") as client:
        signed = client.post("/api/session", json={"token": TOKEN}).headers["set-cookie"].split(";")[0]
        client.cookies.clear()
        right, wrong = ({"authorization": f"Bearer {token}"} for token in (TOKEN, "wrong"))
        assert [client.get("/api/collections", headers=wrong).status_code for _ in range(6)] == [401] * 6
        assert [client.post("/api/session", json={"token": "wrong"}).status_code for _ in range(5)] == [403] * 4 + [429]
        for answer in (client.get("/api/collections", headers=right), client.post("/api/session", json={"token": TOKEN})):
            assert answer.status_code == 429 and "Wait a minute" in answer.json()["error"]
        assert client.get("/api/collections", headers={"cookie": signed}).status_code == 200, "who is signed in goes on"
        another = TestClient(app, base_url="http://studio.example", client=("192.0.2.7", 1))
        assert another.get("/api/collections", headers=right).status_code == 200
        monkeypatch.setattr(security, "GUESS_SECONDS", -1.0)
        assert client.get("/api/collections", headers=right).status_code == 200


def test_a_zip_that_takes_long_to_check_is_refused(tmp_path: Path) -> None:
    limits = SMALL.model_copy(update={"check_seconds": 1e-9})
    with browser(make_workspace(tmp_path / "workspace"), StudioConfig(limits=limits)) as client:
        upload = client.post("/api/uploads").json()["upload"]
        answer = client.put(f"/api/uploads/{upload}/files", params={"name": "a.zip"}, content=zipped(("Aus/a.png", png())))
        assert answer.status_code == 422 and "takes more than" in answer.json()["error"]


def test_the_next_file_of_a_large_upload_is_taken_without_counting_all_files_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path / "workspace")
    store = Store(f"sqlite:///{tmp_path / 'studio.sqlite'}")
    several = Uploads(workspace, Limits(files=1000), store)
    upload = several.begin()
    folder = several.folder(upload) / "Aus"
    folder.mkdir()
    for number in range(950):
        (folder / f"{number}.png").touch()
    assert several.contents(upload) == {"Aus": 950}
    looked_at: list[Path] = []
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: looked_at.append(path) or exists(path))
    monkeypatch.setattr(Path, "glob", None)
    part = tmp_path / "part"
    for number in range(50):  # all of one name, as cameras have it
        part.write_bytes(png())
        several.take(upload, part, "image.png", "Aus")
        assert several.contents(upload)["Aus"] == 951 + number
    assert len(looked_at) == 50
    part.write_bytes(png())
    with pytest.raises(InputError, match="1,000 files"):
        several.take(upload, part, "image.png", "Aus")
    assert len(list(folder.iterdir())) == 1000
    assert Uploads(workspace, Limits(), store).folder(upload) == folder.parent


def test_pictures_of_a_job_are_listed_without_asking_for_the_time_of_every_image(tmp_path: Path) -> None:
    for folder in ("Aus--primus", "Bus"):
        (tmp_path / "images" / folder).mkdir(parents=True)
        for number in range(200):
            (tmp_path / "images" / folder / f"{folder}-{number:06d}.png").touch()
    (tmp_path / "sheet.png").touch()
    names = progress.pictures(tmp_path)
    assert names[:2] == ["sheet.png", "images--Bus--Bus-000199.png"] and len(names) == 61
    first = "images--Aus--primus--Aus--primus-000003.png"  # no longer listed, but still there
    assert progress.picture(tmp_path, first) == tmp_path / "images/Aus--primus/Aus--primus-000003.png"
    outside = (
        "",
        ".",
        "..",
        "run.json",
        "images--..--sheet.png",
        "images--Bus--../../sheet.png",
        "images--Bus",
        "images/Bus/Bus-000001.png",
        "a\0.png",
    )
    assert [progress.picture(tmp_path, name) for name in outside] == [None] * len(outside)

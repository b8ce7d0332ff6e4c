"""Hybrids that are drawn while somebody looks: frames, files, favourites, links, and what keeps the drawing within bounds."""

from __future__ import annotations

import io
import json
import multiprocessing
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient
from studio_server import SMALL, browser, make_workspace

from syntype.apps.web import drawing
from syntype.apps.web.app import create_app
from syntype.apps.web.limits import StudioConfig
from syntype.apps.web.workspace import Workspace
from syntype.errors import UnknownNameError
from syntype.synthesis import read_provenance

PAIR = {"first": "Aus primus", "second": "Bus secundus", "seed": 3, "other": 4}
CONFIG = StudioConfig(limits=SMALL.model_copy(update={"drawings": 2}))


@pytest.fixture(autouse=True)
def _draws_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process draws: it has imported what that takes. The browser tests draw in a process of its own."""
    monkeypatch.setattr(drawing.Drawings, "_ask", lambda _, task: drawing._carry_out(*task))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Workspace:
    workspace = make_workspace(tmp_path_factory.mktemp("hybrids") / "workspace")
    shutil.copytree(trained, workspace.root / "generators" / "little")
    return workspace


@pytest.fixture(scope="module")
def client(workspace: Workspace) -> Iterator[TestClient]:
    with browser(workspace, CONFIG) as client:
        yield client


def sheet(client: TestClient, **more: Any) -> tuple[dict[str, Any], dict[tuple[float, float], np.ndarray]]:
    """What a sheet says of itself, and its frames by their positions."""
    answer = client.get("/api/hybrids/little/sheet", params={**PAIR, **more})
    assert answer.status_code == 200, answer.text
    about = json.loads(answer.headers["x-syntype-sheet"])
    picture = Image.open(io.BytesIO(answer.content))
    assert b"Not occurrence evidence" in picture.info["xmp"]
    pixels, (width, size) = np.asarray(picture.convert("RGB")), (about["width"], about["size"])
    cells = [(place // about["columns"] * size, place % about["columns"] * width) for place in range(len(about["points"]))]
    return about, {tuple(point): pixels[y : y + size, x : x + width] for point, (y, x) in zip(about["points"], cells, strict=True)}


def png(client: TestClient, **more: Any) -> np.ndarray:
    answer = client.get("/api/hybrids/little/image", params={**PAIR, **more})
    assert answer.status_code == 200 and answer.headers["content-disposition"].startswith('attachment; filename="aus-primus-x-bus-secundus-')
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_a_strip_and_a_map_hold_the_pictures_that_are_drawn_one_by_one(client: TestClient) -> None:
    about, frames = sheet(client)
    assert about["parts"] == 1 and len(frames) == 31 and {(0, 0), (0.5, 0), (1, 0)} < frames.keys()
    for x in (0, 0.5, 1):
        assert np.array_equal(frames[x, 0], png(client, x=x))
    assert not np.array_equal(frames[0, 0], frames[1, 0])
    about, first = sheet(client, layout="map")
    assert about["parts"] == 3 and {(0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5)} < first.keys()  # coarse ones first
    everything = {**first, **sheet(client, layout="map", part=1)[1], **sheet(client, layout="map", part=2)[1]}
    assert len(everything) == 81
    assert np.array_equal(everything[0.5, 0.25], png(client, x=0.5, y=0.25))
    assert np.array_equal(everything[0, 1], png(client, seed=4, x=0))  # the other individual
    assert {point[0] for point in sheet(client, second="Aus primus")[1]} == {0}  # of one species, from individual to individual


def test_files_say_what_they_are(client: TestClient, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(client.get("/api/hybrids/little/image", params={**PAIR, "x": 0.4, "y": 0.5}).content)
    told = read_provenance(file)
    assert told is not None and told.species == "Aus primus × Bus secundus" and told.seed == 3
    assert told.controls["blend"] == {
        "species": ["Aus primus", "Bus secundus"], "seeds": [3, 4], "of": "both", "amount": 0.4, "individual": 0.5,
    }  # fmt: skip
    for suffix, kind in (("webp", "WEBP"), ("gif", "GIF")):
        picture = Image.open(io.BytesIO(client.get("/api/hybrids/little/animation", params={**PAIR, "suffix": suffix}).content))
        assert picture.format == kind and picture.n_frames > 30
        assert b"Not occurrence evidence" in (picture.info.get("xmp") or picture.info["comment"])
    code = client.get("/api/hybrids/little/code", params={**PAIR, "x": 0.4})
    assert code.headers["content-type"] == "image/svg+xml" and b"<svg" in code.content


def test_favourites_are_kept_with_the_generator_and_drawn_again_exactly(client: TestClient, workspace: Workspace) -> None:
    address = "/api/hybrids/little/favourites"
    kept = client.post(address, json={**PAIR, "x": 0.3, "y": 0.25}).json()
    assert client.post(address, json={**PAIR, "x": 0.3, "y": 0.25}).json()["id"] == kept["id"]
    (listed,) = client.get(address).json()
    asked = {name: listed[name] for name in ("first", "second", "seed", "other", "x", "y")}
    assert asked == {**PAIR, "x": 0.3, "y": 0.25}
    picture = np.asarray(Image.open(io.BytesIO(client.get(f"{address}/{kept['id']}/picture").content)))
    assert np.array_equal(picture, png(client, **asked))
    renamed = client.post("/api/storage/generators/little/rename", json={"name": "Painter"})
    assert renamed.status_code == 200
    try:
        assert [item["id"] for item in client.get("/api/hybrids/painter/favourites").json()] == [kept["id"]]
    finally:
        client.post("/api/storage/generators/painter/rename", json={"name": "little"})
    (workspace.root / "generators" / "little" / "favourites" / "damaged.json").write_text("{")
    assert len(client.get(address).json()) == 1
    assert client.delete(f"{address}/{kept['id']}").status_code == 204
    assert client.get(address).json() == [] and client.delete(f"{address}/{kept['id']}").status_code == 404


def test_what_cannot_be_drawn_is_refused_with_a_reason(client: TestClient, workspace: Workspace) -> None:
    assert "Did you mean 'Aus primus'" in client.get("/api/hybrids/little/sheet", params={**PAIR, "first": "Aus primvs"}).json()["error"]
    assert client.get("/api/hybrids/nobody/sheet", params=PAIR).status_code == 404
    for wrong in ({"x": 1.5}, {"seed": -1}, {"layout": "ring"}):
        assert client.get("/api/hybrids/little/sheet", params={**PAIR, **wrong}).status_code == 422
    other = workspace.root / "generators" / "pasting"
    other.mkdir()
    (other / "generator.json").write_text(json.dumps({"family": "pose_transfer", "abilities": [], "species": ["Aus primus", "Bus secundus"]}))
    assert "cannot draw hybrids" in client.get("/api/hybrids/pasting/sheet", params=PAIR).json()["error"]
    (other / "generator.json").write_text(json.dumps({"family": "fastgan", "abilities": ["blend"], "species": ["Aus primus", "Bus secundus"]}))
    answer = client.get("/api/hybrids/pasting/sheet", params=PAIR)
    assert answer.status_code == 422 and str(workspace.root) not in answer.text
    page = client.get("/hybrids?generator=little").text
    assert 'href="/hybrids"' in client.get("/images").text
    assert '<option value="little" selected' in page and "<option>Bus secundus</option>" in page
    assert "There is no generator <code>&lt;b&gt;</code>" in client.get("/hybrids?generator=<b>").text
    shutil.rmtree(other)


def test_more_drawings_than_allowed_are_sent_away_and_the_same_is_drawn_once(
    client: TestClient, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, tasks = threading.Event(), []

    def slowly(_: Any, task: Any) -> tuple[bool, bytes]:
        tasks.append(task)
        assert go.wait(30)
        return True, b"drawn"

    monkeypatch.setattr(drawing.Drawings, "_ask", slowly)
    drawings = drawing.Drawings(1)
    answers: list[Any] = []
    folder = workspace.root / "generators" / "little"
    threads = [threading.Thread(target=lambda: answers.append(drawings.draw(folder, "image", PAIR, drawing.Allowance(3)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    while drawings._asked < 3:
        pass
    with pytest.raises(HTTPException) as refusal:
        drawings.draw(folder, "image", {**PAIR, "seed": 9}, drawing.Allowance(3))
    assert refusal.value.status_code == 503 and refusal.value.headers == {"Retry-After": "3"}
    go.set()
    for thread in threads:
        thread.join()
    assert answers == [b"drawn"] * 3 and len(tasks) == 1 and drawings._asked == 0
    drawings.close()
    monkeypatch.setattr(drawing.Drawings, "draw", lambda *_, **__: (_ for _ in ()).throw(refusal.value))
    answer = client.get("/api/hybrids/little/sheet", params=PAIR)
    assert answer.status_code == 503 and answer.headers["retry-after"] == "3" and "Try again in a moment" in answer.json()["error"]


class Dying:
    """A process that dies at its first task, or never answers."""

    def __init__(self, answers: bool, begun: list[Any]) -> None:
        self.pipe, self.theirs = multiprocessing.Pipe()
        begun.append(self)
        if len(begun) == 1:
            self.theirs.close()
        elif answers:
            self.theirs.send((True, b"drawn"))

    def is_alive(self) -> bool:
        return True

    def kill(self) -> None:
        self.theirs.close()

    def join(self) -> None: ...


@pytest.mark.parametrize("answers", [True, False])
def test_a_process_that_dies_is_started_again_and_one_that_takes_too_long_is_ended(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    monkeypatch.undo()
    begun: list[Any] = []

    def begin(self: Any) -> None:
        self._process = Dying(answers, begun)
        self._pipe = self._process.pipe

    monkeypatch.setattr(drawing.Drawings, "_begin", begin)
    drawings, folder = drawing.Drawings(0.2), workspace.root / "generators" / "little"
    if answers:
        assert drawings.draw(folder, "image", PAIR, drawing.Allowance(3)) == b"drawn"
    else:
        with pytest.raises(HTTPException, match="takes more than 0 s"):
            drawings.draw(folder, "image", PAIR, drawing.Allowance(3))
        assert drawings._process is None
    assert len(begun) == 2
    drawings.close()


OPEN = {"/signin", "/join", "/static", "/static/texts/{file}", "/api/session", "/api/join", "/api/join/look", "/try"}
"""What is open to everybody where generators are public, besides what lies below /try/ and /api/try/."""


def addresses(client: TestClient) -> Iterator[tuple[str, str, str]]:
    """(method, route, an address of it) of every route of the application."""
    app: Any = client.app
    routes = [inner for route in app.app.routes for inner in (route.original_router.routes if hasattr(route, "original_router") else [route])]
    for route in routes:
        path = route.path
        for method in getattr(route, "methods", None) or ["GET"]:
            values = {"number": "1", "generator": "little", "kind": "collections"}
            yield method, path, "/".join(values.get(part.strip("{}"), "fish") if "{" in part else part for part in path.split("/"))


@pytest.fixture(scope="module")
def visitor(workspace: Workspace) -> Iterator[TestClient]:
    """Somebody without the token, where ``little`` is public."""
    shutil.copytree(workspace.root / "generators" / "little", workspace.root / "generators" / "secret")
    limits = SMALL.model_copy(update={"public_rate": 6, "public_drawings": 1})
    with browser(workspace, StudioConfig(token="a-token-of-the-tests", public=("little",), limits=limits)) as client:
        yield client


def test_visitors_draw_with_public_generators_and_open_nothing_else(visitor: TestClient) -> None:
    home = visitor.get("/", headers={"accept": "text/html"}, follow_redirects=False)
    assert home.status_code == 303 and home.headers["location"] == "/try"
    page = visitor.get("/try", headers={"accept": "text/html"})
    assert page.url.path == "/try/little" and "Every picture here is synthetic" in page.text and "/new/" not in page.text
    assert 'href="/signin"' in page.text, "the first page leads visitors here, and those with an account on from here"
    assert ".." not in page.text.partition("learnt from:")[2].partition("</p>")[0]
    picture = Image.open(io.BytesIO(visitor.get("/api/try/little/image", params=PAIR).content))
    assert picture.width == 512 and picture.height > 540 and "Not occurrence evidence" in str(picture.info)  # the bar below it says so too
    assert b"<svg" in visitor.get("/api/try/little/code", params=PAIR).content
    for name in ("secret", "nobody"):
        for address in (f"/try/{name}", f"/api/try/{name}/sheet", f"/api/try/{name}/code"):
            answer = visitor.get(address, params=PAIR)
            assert answer.status_code == 404 and "secret" not in answer.text.replace(f"'{name}'", ""), address
    routes = list(addresses(visitor))
    assert len(routes) > 80
    for method, route, address in routes:
        if route in OPEN or route.startswith(("/try/", "/api/try/")):
            continue
        answer = visitor.request(method, address, params=PAIR)
        assert answer.status_code == 401, (method, address, answer.status_code)
    for address in ("/static/../studio.sqlite", "/static/..%2f..%2fapp.py", "/try/../collections/fish", "/try/..%2fcollections", "/api/try/little"):
        assert visitor.get(address).status_code in (401, 404), address
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert visitor.request(method, "/api/try/little/image", params=PAIR).status_code == 405


def test_visitors_ask_for_so_much_and_no_more(visitor: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    drawings = visitor.app.app.state.studio.drawings  # type: ignore[attr-defined]
    visitor.app.app.state.studio.turns._taken.clear()  # type: ignore[attr-defined]
    monkeypatch.setattr(drawings, "_asked", 1)  # somebody else is drawing
    busy = visitor.get("/api/try/little/sheet", params={**PAIR, "seed": 70})
    assert busy.status_code == 503 and busy.headers["retry-after"] == "3"
    monkeypatch.setattr(drawings, "_asked", 0)
    answers = [visitor.get("/api/try/little/sheet", params={**PAIR, "seed": seed}) for seed in (70, 71, 72, 73, 74, 75, 70)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 200, 429, 200]  # what is drawn already does not count
    assert 1 <= int(answers[5].headers["retry-after"]) <= 60 and "Go on in" in answers[5].json()["error"]


def test_public_generators_must_be_there_and_a_token_is_needed(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown generator 'nobody'"):
        create_app(workspace, StudioConfig(token="a-token-of-the-tests", public=("nobody",)))
    with browser(workspace, StudioConfig(token="a-token-of-the-tests")) as client:
        assert client.get("/try").status_code == 401 and client.get("/api/try/little/image", params=PAIR).status_code == 401
    with browser(workspace, StudioConfig()) as client:
        assert client.get("/try").status_code == 404 and client.get("/api/try/little/image", params=PAIR).status_code == 404

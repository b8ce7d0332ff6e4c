"""The Studio's pages as the server sends them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from made import make_collection
from starlette.testclient import TestClient
from studio import TOKEN, browser, make_workspace

from syntype.apps.web.limits import StudioConfig

PAGES = ("/", "/collections/fish", "/collections/drawn", "/collections/drawn/curate", "/collections/fish?species=Bus+secundus&offset=3")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with browser(make_workspace(tmp_path / "workspace")) as client:
        yield client


@pytest.mark.parametrize("page", PAGES)
def test_pages_need_nothing_from_elsewhere_and_run_nothing_inline(client: TestClient, page: str) -> None:
    answer = client.get(page)
    assert answer.status_code == 200, answer.text
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|style=|javascript:|https?://", answer.text)
    for address in re.findall(r'(?:src|href)="([^"#?]+)', answer.text):
        assert address.startswith("/")
        assert client.get(address).status_code == 200, address


def test_scripts_ask_for_nothing_from_elsewhere(client: TestClient) -> None:
    for name in ("studio.js", "home.js", "grid.js", "curate.js", "signin.js", "studio.css"):
        text = client.get(f"/static/{name}").text
        assert len(text) > 100 and not re.search(r"https?://|innerHTML|eval\(|@import", text)


def test_filters_and_pages_of_a_grid(client: TestClient) -> None:
    page = client.get("/collections/fish", params={"species": "Bus secundus", "split": ""}).text
    assert page.count("<img") == 8 and "1 to 8 of 8" in page
    assert "No image fits" in client.get("/collections/fish", params={"species": "Nobody"}).text
    assert client.get("/collections/nobody").status_code == 404


def test_names_are_text_never_markup(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    make_collection(workspace.root / "collections" / "odd", {'<script>alert("x")</script>': 4, "' onload='x": 4})
    with browser(workspace) as client:
        page = client.get("/collections/odd").text
        assert "<script>alert" not in page and "&lt;script&gt;" in page
        assert "' onload='x" not in page


def test_without_the_token_only_the_sign_in_page_opens(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    with browser(workspace, StudioConfig(host="0.0.0.0", token=TOKEN)) as client:
        for page in PAGES:
            assert client.get(page, headers={"accept": "text/html"}, follow_redirects=False).headers["location"] == "/signin"
        assert 'type="password"' in client.get("/signin").text
        client.post("/api/session", json={"token": TOKEN})
        assert client.get("/").status_code == 200

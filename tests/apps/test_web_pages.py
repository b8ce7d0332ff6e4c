"""The Studio's pages as the server sends them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args
from urllib.parse import quote

import pytest
from made import make_collection
from starlette.testclient import TestClient
from studio_server import KINDS, PAGES, TOKEN, browser, make_full, make_workspace, png

from syntype.apps.web.limits import StudioConfig
from syntype.apps.web.requests import JobRequest, parse_request
from syntype.apps.web.static_files import STATIC, static_address
from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with browser(make_full(tmp_path / "workspace")) as client:
        yield client


def test_every_field_that_a_form_sends_is_one_of_its_request(client: TestClient) -> None:
    known = {kind.model_fields["kind"].default: kind.model_fields for kind in get_args(get_args(JobRequest)[0])}
    for kind in KINDS:
        form = re.search(r'<form id="new".*?</form>', client.get(f"/new/{kind}").text, re.DOTALL)
        assert form is not None, kind
        sent = re.findall(r'<(?:input|select|textarea)[^>]* name="([^"]+)"', form[0])
        assert sent and set(sent) <= set(known[kind]), (kind, set(sent) - set(known[kind]))


def test_pages_need_nothing_from_elsewhere_and_run_nothing_inline(client: TestClient) -> None:
    checked: set[str] = set()
    for page in PAGES:
        answer = client.get(page)
        assert answer.status_code == 200, (page, answer.text)
        assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|style=|javascript:|https?://", answer.text), page
        for address in set(re.findall(r'(?:src|href)="([^"#?]+)', answer.text)) - checked:
            assert address.startswith("/") and client.get(address).status_code == 200, (page, address)
            checked.add(address)


def test_scripts_ask_for_nothing_from_elsewhere(client: TestClient) -> None:
    for name in sorted(path.name for path in Path(str(STATIC.directory)).iterdir() if path.suffix in (".js", ".css")):
        text = client.get(f"/static/{name}").text
        assert len(text) > 100 and not re.search(r"https?://(?!www\.w3\.org/2000/svg)|innerHTML|eval\(|@import", text)  # a name, not an address


def test_a_browser_asks_once_for_scripts_and_style_sheets(client: TestClient) -> None:
    page = client.get("/collections/fish").text
    found = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page))
    assert static_address("studio.css") in found and static_address("grid.js") in found
    for address in found:
        answer = client.get(address)
        assert answer.status_code == 200 and answer.headers["cache-control"] == "public, max-age=31536000, immutable", address
    for name in ("studio.js", f"{'0' * 16}/studio.js"):  # as a page of another version asks
        assert client.get(f"/static/{name}").text == client.get(static_address("studio.js")).text
        assert client.get(f"/static/{name}").headers["cache-control"] == "no-store"
    version = static_address("")
    assert (
        client.get(f"{version}nothing.js").status_code == client.get(version).status_code == client.get(f"{version}%2e%2e/app.py").status_code == 404
    )
    assert client.get(f"{version}nothing.js").headers["cache-control"] == "no-store"


def test_what_a_script_imports_is_fetched_beside_it(client: TestClient) -> None:
    """A browser that has to read one file to learn of the next waits for each in turn."""
    folder = Path(str(STATIC.directory))
    for address in PAGES:
        page = client.get(address).text
        fetched = set(re.findall(r'(?:src|href)="/static/[0-9a-f]{16}/([\w-]+\.js)"', page))
        for name in fetched:
            assert set(re.findall(r'^import [^;]*"\./([\w-]+\.js)"', (folder / name).read_text(encoding="utf-8"), re.MULTILINE)) <= fetched, (
                address,
                name,
            )


def test_filters_and_pages_of_a_grid(client: TestClient) -> None:
    page = client.get("/collections/fish", params={"species": "Bus secundus", "split": ""}).text
    assert page.count("<img loading") == 8 and "1 to 8 of 8" in page
    assert "No image matches" in client.get("/collections/fish", params={"species": "Nobody"}).text
    assert client.get("/collections/nobody").status_code == 404


def test_an_error_is_told_on_a_page_to_people_and_as_json_to_programs(client: TestClient) -> None:
    for address, status in (("/collections/nobody", 404), ("/nowhere", 404), ("/jobs/99", 404), ("/new/nothing", 422), ("/generators/UPPER", 422)):
        answer = client.get(address, headers={"accept": "text/html"})
        assert answer.status_code == status and "<h1>" in answer.text and 'href="/"' in answer.text
        assert client.get(address).json()["error"]


def test_forms_say_what_must_be_there_first(tmp_path: Path) -> None:
    with browser(Workspace(tmp_path)) as client:
        assert "no generator yet" in client.get("/new/generate").text and "<form" not in client.get("/new/generate").text
        assert "no collection yet" in client.get("/new/export").text and "no collection yet" in client.get("/new/train").text
        assert "A quiz needs" in client.get("/quiz").text


def test_only_generators_that_can_are_offered(client: TestClient, tmp_path: Path) -> None:
    info = tmp_path / "workspace" / "generators" / "little" / "generator.json"
    assert '<option value="little"' in client.get("/new/vary").text and "/new/vary?generator=little" in client.get("/generators/little").text
    info.write_text(json.dumps({**json.loads(info.read_text()), "abilities": ["blend"]}))
    page = client.get("/new/vary").text
    assert "No generator in this workspace can do this" in page and "<form" not in page
    assert "/new/vary?" not in client.get("/generators/little").text
    assert '<option value="little"' in client.get("/new/blend").text and '<option value="little"' in client.get("/new/generate").text


def test_forms_offer_a_free_name_and_what_the_address_chose(client: TestClient, tmp_path: Path) -> None:
    assert 'value="synthetic-1"' in client.get("/new/generate").text
    (tmp_path / "workspace" / "collections" / "synthetic-1").mkdir()
    page = client.get("/new/generate", params={"generator": "little", "species": "Bus secundus"}).text
    assert 'value="synthetic-2"' in page and 'data-value="Bus secundus"' in page
    assert '<option value="drawn" selected>' in client.get("/new/export", params={"collection": "drawn"}).text


def test_a_collection_shows_its_long_tail_duplicates_and_refused_files(client: TestClient) -> None:
    page = client.get("/collections/fish").text
    assert "1 duplicate<" in page and "1 refused file<" in page and "Aus primus 16, Bus secundus 8" in page
    assert client.get("/api/collections/fish/long-tail").content[:4] == b"\x89PNG"
    pairs = client.get("/api/collections/fish/duplicates").json()
    assert pairs["num_same"] == 1 and (pairs["pairs"][0]["image"]["image_id"], pairs["pairs"][0]["first"]["image_id"]) == ("0-0", "0-1")
    assert "Save it again" in client.get("/collections/fish/refused").text
    client.post("/api/storage/collections/fish/rename", json={"name": "Küste"}).raise_for_status()
    assert ">Küste</a>" in client.get("/collections/kuste/refused").text
    client.post("/api/storage/collections/kuste/rename", json={"name": "fish"}).raise_for_status()


def test_a_report_is_shown_in_a_frame_in_which_nothing_runs(client: TestClient) -> None:
    page = client.get("/studies/small")
    assert "Not enough evidence to add" in page.text and "<iframe" in page.text and "sandbox src=" in page.text
    assert "frame-src 'self'" in page.headers["content-security-policy"]
    report = client.get("/api/studies/small/report").headers
    assert report["x-frame-options"] == "SAMEORIGIN" and "sandbox" in report["content-security-policy"]
    assert "frame-src" not in client.get("/").headers["content-security-policy"]


def test_reviewers_see_how_they_agree(client: TestClient) -> None:
    assert "kappa" not in client.get("/collections/drawn/curate").text
    for reviewer in ("Ada", "Bo"):
        for image, decision in (("0-0", "accept"), ("0-1", "reject")):
            sent = {"image_id": image, "decision": decision, "reviewer": reviewer}
            assert client.post("/api/collections/drawn/verdicts", json=sent).status_code == 201
    page = client.get("/collections/drawn/curate").text
    assert "Ada and Bo" in page and "1.00" in page


def test_a_mask_is_an_upload_of_one_image(client: TestClient, tmp_path: Path) -> None:
    upload = client.post("/api/uploads").json()["upload"]
    asked = {"kind": "inpaint", "name": "filled", "generator": "little", "collection": "fish"}
    assert "0 images" in client.post("/api/jobs", json={**asked, "mask": upload}).json()["error"]
    client.put(f"/api/uploads/{upload}/files", params={"name": "mask.png", "species": "mask"}, content=png())
    request = parse_request({**asked, "mask": upload})
    assert f"--mask={tmp_path / 'workspace' / 'uploads' / upload / 'mask' / 'mask.png'}" in request.command(Workspace(tmp_path / "workspace"))
    for wrong in ({}, {"mask": upload, "box": [0, 0, 0.5, 0.5]}, {"mask": "../../etc"}, {"box": [0.5, 0, 0.5, 1]}):
        assert client.post("/api/jobs", json={**asked, **wrong}).status_code == 422
    assert client.get("/api/collections/fish/images/0-0/square").content[:4] == b"\x89PNG"


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
        for page in PAGES[:6]:
            assert client.get(page, headers={"accept": "text/html"}, follow_redirects=False).headers["location"].partition("?")[0] == "/signin"
        assert 'type="password"' in client.get("/signin").text
        client.post("/api/session", json={"token": TOKEN})
        assert client.get("/").status_code == 200


def test_an_image_may_have_any_id(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    made = make_collection(workspace.root / "collections" / "odd", {"$x$ <b>": 4}, size=32)
    ids = ["a/b", "?#&=/%", "<script>/x", "plain"]
    Collection.create(made.root, made.table.assign(image_id=ids), species=made.species)
    with browser(workspace) as client:
        links = re.findall(r'(?:href|src)="(/[^"]*/images/[^"]*)"', client.get("/collections/odd").text)
        assert len(links) == 8
        assert [client.get(html.unescape(link)).status_code for link in links] == [200] * 8
        for image_id in ids:
            address = f"/api/collections/odd/images/{quote(image_id, safe='')}"
            assert client.get(address).json()["image_id"] == image_id
            assert {client.get(f"{address}/{what}").status_code for what in ("thumbnail", "file", "square")} == {200}

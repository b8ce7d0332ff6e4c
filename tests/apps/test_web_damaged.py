"""Damaged things in a workspace: they are shown as damaged, and hurt no page."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from damaging import damages
from starlette.testclient import TestClient
from studio_server import PAGES, browser, make_full

from syntype.apps.web.progress import latest_events
from syntype.run import read_events

DESCRIBED = {
    "collections/fish/collection.json": "/collections/fish",
    "collections/fish/metadata.parquet": "/collections/fish",
    "collections/fish/refused.csv": "/collections/fish/refused",
    "collections/fish/run.json": "/collections/fish",
    "generators/little/generator.json": "/generators/little",
    "identifiers/little/classifier.json": "/identifiers/little",
    "studies/small/results.json": "/studies/small",
    "exports/packed/export.json": "/api/exports/packed/file",
}
"""The files that the Studio reads, and the page of the thing that they describe."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    workspace = make_full(tmp_path / "workspace")
    packed = workspace.root / "exports" / "packed"
    packed.mkdir()
    (packed / "export.json").write_text('{"file": "fish.zip", "num_images": 3, "num_bytes": 100}')
    (packed / "fish.zip").write_bytes(bytes(100))
    (workspace.root / "collections" / "fish" / "run.json").write_text('{"stage": "curate", "inputs": {"real": "fish"}}')
    return workspace.root


@pytest.fixture
def client(root: Path) -> Iterator[TestClient]:
    from syntype.apps.web.workspace import Workspace

    with browser(Workspace(root)) as client:
        yield client


@pytest.mark.parametrize("file", DESCRIBED)
def test_one_damaged_folder_hurts_no_other(root: Path, client: TestClient, file: str) -> None:
    path, page = root / file, DESCRIBED[file]
    content, faults = path.read_bytes(), []
    for number, (how, damaged) in enumerate(damages(content, is_json=path.suffix == ".json")):
        path.unlink(missing_ok=True)
        if damaged is not None:
            path.write_bytes(damaged)
            os.utime(path, ns=(number * 10**9, number * 10**9))  # so that it is read again, however little time has passed
        home, own = client.get("/"), client.get(page)
        if home.status_code != 200 or home.text.count('/collections/drawn"') < 1 or own.status_code not in (200, 404, 422):
            faults.append(f"{how}: {home.status_code}, {own.status_code} {own.text[:200]}")
        if how in ("empty", "half", "random bytes") and path.name not in ("refused.csv", "run.json"):
            assert "Damaged." in home.text and str(root) not in home.text and own.status_code == 422, (how, own.text)
    assert not faults, "\n".join(faults)


def test_every_page_of_a_workspace_in_which_all_is_damaged(root: Path, client: TestClient) -> None:
    for content in (b"", b"[]", b"\xff\xfe", b'{"species": 3, "verdict": 3, "schema_version": 1, "inputs": []}'):
        for file in DESCRIBED:
            (root / file).write_bytes(content)
        for page in PAGES:
            answer = client.get(page)
            assert answer.status_code in (200, 404, 422), (content, page, answer.text)
        for kind in ("collections", "generators", "identifiers", "studies", "exports"):
            listed = client.get(f"/api/{kind}").json()
            assert all(item["damaged"] for item in listed if item["name"] != "drawn"), listed


def test_a_renamed_species_or_a_path_out_of_the_folder_shows_a_collection_as_damaged(root: Path, client: TestClient) -> None:
    description = root / "collections" / "fish" / "collection.json"
    info = json.loads(description.read_text())
    description.write_text(json.dumps({**info, "species": ["Aus primus", "Bus novus"]}))
    assert "the species &#39;Bus secundus&#39; is not in the list of species" in client.get("/").text
    assert client.get("/collections/fish").status_code == 422
    description.write_text(json.dumps(info))
    assert client.get("/collections/fish").status_code == 200


def test_damaged_lines_of_a_log_are_skipped(tmp_path: Path) -> None:
    lines = [b'{"event": "step", "step": 1}', b"3", b"[]", b'"x"', b'{"event":', b"\xff\xfe", b"[" * 100_000, b"null", b'{"event": "end"}']
    (tmp_path / "progress.jsonl").write_bytes(b"\n".join(lines))
    assert [event["event"] for event in read_events(tmp_path)] == ["step", "end"]
    assert [event["event"] for event in latest_events(tmp_path, 10)] == ["end"]

"""Photographs are added to a collection and moved between collections in the Studio, and come back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from made import make_collection
from sqlalchemy import insert
from starlette.testclient import TestClient
from studio_server import browser, make_full, png

from syntype.apps.web.requests import parse_request
from syntype.apps.web.store import jobs
from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The full workspace, and new photographs of its species in the collection ``new``."""
    root = make_full(tmp_path / "workspace").root
    make_collection(root / "collections" / "new", {"aus primus": 2, "Cus tertius": 2}, seed=7)
    run = {"stage": "train", "status": "finished", "inputs": {"collection": {"path": str(root / "collections" / "fish")}}}
    (root / "generators" / "little" / "run.json").write_text(json.dumps(run))
    return root


@pytest.fixture
def client(root: Path) -> Iterator[TestClient]:
    with browser(Workspace(root)) as client:
        yield client


def photographs(root: Path, name: str) -> pd.DataFrame:
    return Collection.open(root / "collections" / name, hashes=False).table


def test_what_a_move_would_do_is_told_before_and_the_page_of_either_collection_takes_it_back(client: TestClient, root: Path) -> None:
    told = client.post("/api/collections/new/move", json={"to": "fish", "dry_run": True}).json()
    said = " ".join(told["told"])
    assert "4 photographs of 2 species, all to learn from. Photographs kept for tests and to tune stay as they are" in said
    assert "aus primus is spelt Aus primus there" in said and "New there: Cus tertius." in said
    assert told["dependents"][0] == "Generator little learnt from it." and "fingerprint" in told["dependents"][-1]
    assert len(photographs(root, "fish")) == 24 and len(photographs(root, "new")) == 4
    ids = photographs(root, "new")["image_id"].tolist()
    assert client.post("/api/collections/new/move", json={"to": "fish", "image_ids": ids[:1], "who": "Ada"}).json()["trash"] is None
    assert client.get("/api/collections/fish").json()["num_images"] == 25 and client.get("/api/collections/new").json()["num_images"] == 3
    assert "1 photograph moved back. new has changed too." in client.post("/api/collections/fish/changes/undo").json()["told"]
    assert len(photographs(root, "fish")) == 24 and photographs(root, "new")["image_id"].tolist() == ids
    assert "no change is left" in client.post("/api/collections/new/changes/undo").json()["error"]


def test_what_has_given_all_its_photographs_is_in_the_trash_and_gets_them_back_there(client: TestClient, root: Path) -> None:
    number = client.post("/api/collections/new/move", json={"to": "fish"}).json()["trash"]
    assert client.get("/api/collections/new").status_code == 404 and len(photographs(root, "fish")) == 28
    assert client.get("/collections/fish").status_code == 200
    assert "is in the trash" in client.post("/api/collections/fish/changes/undo").json()["told"] and len(photographs(root, "fish")) == 24
    assert client.post(f"/api/trash/{number}/restore", json={"name": None}).status_code == 200 and len(photographs(root, "new")) == 4


def test_photographs_that_look_like_one_that_is_there_are_shown_beside_it(client: TestClient, root: Path) -> None:
    fish, new = (Collection.open(root / "collections" / name) for name in ("fish", "new"))
    new.path(3).write_bytes(fish.path(0).read_bytes() + b"\0")  # another file, the same picture
    table = new.table.assign(sha256=pd.array([None] * 4, "string"), phash=pd.array([None] * 4, "string"))
    Collection.create(new.root, table, species=new.species)
    pairs = client.post("/api/collections/new/move", json={"to": "fish", "dry_run": True}).json()["near"]
    assert [(pair["image"]["image_id"], pair["first"]["image_id"]) for pair in pairs] == [(new.table["image_id"][3], fish.table["image_id"][0])]


def test_nothing_moves_while_a_job_reads_one_of_the_two(client: TestClient, root: Path) -> None:
    studio = client.app.app.state.studio  # type: ignore[attr-defined]
    with studio.queue.entering, studio.store.writing() as connection:
        request = {"kind": "train", "name": "x", "family": "collage", "collection": "fish"}
        connection.execute(insert(jobs).values(kind="train", request=request, place="generators", slug="x", status="running", created=1.0))
        connection.commit()
    answer = client.post("/api/collections/new/move", json={"to": "fish"})
    assert answer.status_code == 422 and "cannot be changed" in answer.json()["error"] and len(photographs(root, "new")) == 4


def test_photographs_for_a_collection_are_looked_at_and_imported_on_their_own_first(client: TestClient, root: Path) -> None:
    upload = client.post("/api/uploads").json()["upload"]
    client.put(f"/api/uploads/{upload}/files", params={"name": "1.png", "species": "Aus primus"}, content=png())
    page = client.get(f"/uploads/{upload}?into=fish").text
    assert 'data-into="fish"' in page and 'value="Additions to fish 1"' in page and "which are there already" in page
    assert client.get(f"/uploads/{upload}?into=nobody").status_code == 404
    asked = {"kind": "import", "name": "Additions to fish 1", "upload": upload, "into": "fish"}
    assert parse_request(asked).command(Workspace(root))[:2] == ["collect", str(root / "uploads" / upload)]
    assert client.post("/api/jobs", json={**asked, "into": "nobody"}).status_code == 404
    studio = client.app.app.state.studio  # type: ignore[attr-defined]
    with studio.store.writing() as connection:
        ended = {"place": "collections", "slug": "new", "status": "finished", "created": 1.0}
        number = connection.execute(insert(jobs).values(kind="import", request=asked, **ended).returning(jobs.c.id)).scalar_one()
    run = {"stage": "collect", "status": "finished", "run_id": f"job-{number}-1.000000"}
    (root / "collections" / "new" / "run.json").write_text(json.dumps(run))
    assert 'data-move="new" data-to="fish">Add them to fish' in client.get(f"/jobs/{number}").text
    assert 'id="adding"' in client.get("/collections/fish").text and 'id="adding"' not in client.get("/collections/drawn").text

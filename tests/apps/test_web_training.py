"""The page where a generator is made: ways in plain words, what each takes for the chosen photographs, and trainings that were stopped."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made import make_collection
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sqlalchemy import insert
from starlette.testclient import TestClient
from studio_server import browser, make_full, png

from syntype.apps.web.queue import run_id
from syntype.apps.web.requests import parse_request
from syntype.apps.web.store import jobs
from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection
from syntype.collection.importers import CollectConfig
from syntype.generators import family, list_families
from syntype.generators.engine import expected as telling
from syntype.generators.families.pose_transfer import PoseTransferConfig


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_full(tmp_path / "workspace")
    return tmp_path / "workspace"


@pytest.fixture
def client(root: Path) -> Iterator[TestClient]:
    with browser(Workspace(root)) as client:
        yield client


def plans(client: TestClient, collection: str, **asked: Any) -> dict[str, Any]:
    told = client.get(f"/api/collections/{collection}/training", params=asked).json()
    return {item["family"]: item for item in told["families"]}


def test_three_ways_come_first_and_one_that_cannot_be_is_not_offered(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "graphics_card", lambda: None)
    page = client.get("/new/train", params={"family": "lora"}).text
    radios = re.findall(
        r'<input type="radio" name="family"[^>]* value="(\w+)" data-learns="(\w*)" data-size="(\d+)"( checked)?( disabled)?[^>]*>', page
    )
    assert [name for name, *_ in radios][:3] == ["pose_transfer", "projected", "lora"] and "best to begin with" in page
    assert {name: bool(learns) for name, learns, *_ in radios} == {name: family(name).learns for name in list_families()}
    assert [name for name, *_, checked, _ in radios if checked] == ["pose_transfer"]  # not what was asked for, as it cannot be
    assert [name for name, *_, disabled in radios if disabled] == ["lora"] and "which lacks a graphics card" in page
    monkeypatch.setattr(telling, "graphics_card", lambda: "A100")
    monkeypatch.setattr(telling, "find_spec", lambda name: name if name == "peft" else None)
    assert "lacks these Python packages: diffusers, transformers (pip install 'syntype[diffusion]')" in plans(client, "fish")["lora"]["lacks"]
    monkeypatch.setattr(telling, "find_spec", lambda name: name)
    assert plans(client, "fish")["lora"]["lacks"] is None


def test_what_is_told_of_families_without_importing_them_is_right() -> None:
    assert {name for name in list_families() if not family(name).learns} == set(telling.UNTRAINED)
    assert PoseTransferConfig().min_donor_images == telling.DONORS
    sizes = {name: family(name).Config.model_fields["size"].default for name in list_families() if name not in telling.UNTRAINED}
    assert {name: telling.suggested_size(name) for name in sizes} == sizes


def test_what_a_training_takes_follows_the_collection_the_size_and_the_minutes(
    client: TestClient, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "graphics_card", lambda: None)
    make_collection(root / "collections" / "many", {"Aus primus": 200, "Bus secundus": 40}, size=8)
    few, many = plans(client, "fish"), plans(client, "many")
    assert (
        few["pose_transfer"]["minutes"] < many["pose_transfer"]["minutes"] and few["pose_transfer"]["num_bytes"] < many["pose_transfer"]["num_bytes"]
    )
    assert "No species has 30 photographs" in few["pose_transfer"]["quality"] and "1 species with 30" in many["pose_transfer"]["quality"]
    assert few["projected"]["time"] == "60 minutes, as you choose" and few["projected"]["steps"] == 6750
    assert "three quarters" in few["projected"]["quality"] and "blurred" in plans(client, "fish", minutes=5)["projected"]["quality"]
    assert plans(client, "fish", size=128)["projected"]["steps"] == 6750 // 4
    assert plans(client, "fish", steps=90)["projected"]["time"] == "about 0.8 minutes"
    run = {
        "stage": "train",
        "status": "finished",
        "settings": {"family": "projected", "size": 64},
        "result": {"images_per_second": 60},
        "ended": "2026",
    }
    (root / "generators" / "little" / "run.json").write_text(json.dumps(run))
    assert plans(client, "fish")["projected"]["steps"] == 2 * 6750  # it was twice as fast here
    monkeypatch.setattr(telling, "graphics_card", lambda: "A100")
    assert plans(client, "fish")["ddpm"]["steps"] is None  # nothing is known of its speed on a card


def test_what_becomes_of_the_rarest_species_is_said_and_another_split_can_be_chosen(client: TestClient, root: Path) -> None:
    rare = make_collection(root / "collections" / "rare", {"Aus primus": 20, "Bus secundus": 6})
    splits = ["train"] * 20 + ["train"] * 3 + ["val"] + ["test"] * 2
    Collection.create(rare.root, rare.table.assign(split=splits), species=rare.species)
    told = client.get("/api/collections/rare/training", params={"test_fraction": 0, "val_fraction": 0}).json()
    assert told["split"]["sentence"] == "Of 6 photographs of the rarest species, Bus secundus, 3 are learnt from, 1 tunes and 2 test."
    assert told["other"]["learnt"] == 26 and told["other"]["sentence"].endswith("6 are learnt from.")
    assert "3 are learnt from, 1 tunes and 2 test" in client.get("/new/train?collection=rare").text
    asked = {"kind": "resplit", "name": "Rare 0-0", "collection": "rare", "test_fraction": 0, "val_fraction": 0}
    command = parse_request(asked).command(Workspace(root))
    assert command[1] == str(rare.root) and {"--set=redraw_splits=true", "--set=test_fraction=0.0", "--set=name=rare-0-0"} <= set(command)
    for field, share in (("test_fraction", 0.5), ("val_fraction", 0.4)):
        CollectConfig(**{field: share})
        assert client.post("/api/jobs", json={**asked, field: share + 0.1}).status_code == 422


def stopped(client: TestClient, root: Path, status: str = "cancelled") -> int:
    """The generator ``little`` was stopped after three steps of 5,000 by a job."""
    studio = client.app.app.state.studio  # type: ignore[attr-defined]
    with studio.store.writing() as connection:
        request = {"kind": "train", "name": "little", "family": "fastgan", "collection": "fish", "steps": 5000}
        wanted = {"kind": "train", "request": request, "place": "generators", "slug": "little", "status": status, "created": 1.0}
        number = int(connection.execute(insert(jobs).values(**wanted).returning(jobs.c.id)).scalar_one())
    folder = root / "generators" / "little"
    run = {"stage": "train", "status": "interrupted", "run_id": run_id(studio.queue.get(number)), "settings": {"steps": 5000}}
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "generator.json").write_text(json.dumps({**json.loads((folder / "generator.json").read_text()), "steps": 3}))
    return number


def test_a_training_that_was_stopped_is_no_ordinary_generator(client: TestClient, root: Path) -> None:
    number = stopped(client, root)
    told = client.get("/api/generators/little").json()
    assert told["unfinished"] == "unfinished: 3 of 5,000 steps" and told["resumable"] == number
    for page in ("/generators", "/generators/little"):
        assert "unfinished: 3 of 5,000 steps" in client.get(page).text and f'data-resume="{number}"' in client.get(page).text
    for kind in ("generate", "vary", "inpaint", "blend", "adapt"):
        page = client.get(f"/new/{kind}").text
        assert '<option value="">choose one; none has finished' in page and not re.search(r'<option value="little"[^>]* selected', page), kind
    assert not re.search(r'<option value="little"[^>]* selected', client.get("/new/vary?collection=fish").text)
    assert re.search(r'<option value="little"[^>]* selected', client.get("/new/vary?generator=little").text)
    assert "has finished its training" in client.get("/hybrids").text and "/new/generate?generator=little" not in client.get("/").text
    finished = root / "generators" / "a-finished-one"
    finished.mkdir()
    (finished / "generator.json").write_text((root / "generators" / "little" / "generator.json").read_text())
    assert "choose one; none has finished" not in client.get("/new/generate").text
    assert re.findall(r'<option value="([\w-]+)"', client.get("/new/generate").text)[0] == "a-finished-one"


def test_how_far_a_training_came_is_said_in_what_was_asked_for(client: TestClient, root: Path) -> None:
    stopped(client, root, "running")
    file = root / "generators" / "little" / "run.json"
    run = json.loads(file.read_text())
    assert client.get("/api/generators/little").json()["resumable"] is None  # it is being trained
    for change, said in (
        ({"status": "running"}, "unfinished: 3 of 5,000 steps, still in training"),
        ({"settings": {"minutes": 45}, "result": {"minutes": 3.5}}, "unfinished: 3.5 of 45 minutes"),
        ({"settings": None, "result": "x"}, "unfinished: 3 steps"),
        ({"run_id": "job-99999999999-1"}, "unfinished: 3 of 5,000 steps"),
    ):
        file.write_text(json.dumps({**run, **change}))
        assert client.get("/api/generators/little").json()["unfinished"] == said


def test_the_rows_of_a_preview_are_named(client: TestClient, root: Path) -> None:
    place = root / "generators" / "little" / "previews" / "final-000002.png"
    assert client.get("/api/generators/little").json()["preview_species"] == []
    told = PngInfo()
    told.add_itxt("rows", json.dumps(["Aus primus", "Bus secundus"]))
    Image.new("RGB", (16, 16)).save(place, pnginfo=told)
    page = client.get("/generators/little").text
    assert page.index("<i>Aus primus</i>", page.index("row-names")) < page.index("<i>Bus secundus</i>", page.index("row-names"))
    number = stopped(client, root)
    assert client.get(f"/api/jobs/{number}/pictures/final-000002.png/species").json() == ["Aus primus", "Bus secundus"]
    place.write_bytes(png()[:20])
    assert client.get(f"/api/jobs/{number}/pictures/final-000002.png/species").json() == []

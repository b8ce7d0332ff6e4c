"""Looking at a collection: search, order, one image with all that is known of it, and several judged at once."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from starlette.testclient import TestClient
from studio_server import browser, make_workspace, until

from syntype.apps.web.catalogue import Catalogue
from syntype.apps.web.looks import Looks
from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection

HTML = {"accept": "text/html"}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """``fish`` with further columns, ``drawn`` made from it."""
    workspace = make_workspace(tmp_path / "workspace")
    fish = Collection.open(workspace.root / "collections" / "fish")
    further = {
        "vernacularName": pd.array(["Blue Tang", *[None] * 23], dtype="string"),
        "tags": [["juvenile", "Night"], *[None] * 23],
        "eventDate": [f"2020-01-{24 - row:02d}" for row in range(24)],
        "depth": [None, *range(23)],
        "rights_holder": pd.array(["A. Photographer", *[None] * 23], dtype="string"),
        "original_name": [f"IMG_{row}.png" for row in range(24)],
        "width": [48 + row for row in range(24)],
    }
    Collection.create(fish.root, fish.table.assign(**further), species=fish.species)
    drawn = Collection.open(workspace.root / "collections" / "drawn")
    parents = pd.array([json.dumps(["0-0", "gone"]), *[None] * 15], dtype="string")
    Collection.create(drawn.root, drawn.table.assign(parents=parents, seed=range(16)), species=drawn.species)
    (drawn.root / "run.json").write_text(json.dumps({"inputs": {"real": {"path": str(fish.root)}}}))
    return workspace


@pytest.fixture
def client(workspace: Workspace) -> Iterator[TestClient]:
    with browser(workspace) as client:
        yield client


def found(client: TestClient, collection: str = "fish", **chosen: str) -> list[str]:
    page = client.get(f"/api/collections/{collection}/images", params={"limit": 500, **chosen}).json()
    assert page["total"] == len(page["images"])
    return [image["image_id"] for image in page["images"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("0-11", ["0-11"]),
        ("img_3.PNG", ["0-3"]),
        ("blue tang", ["0-0"]),
        ("night juvenile", ["0-0"]),
        ("photographer", ["0-0"]),
        ("SECUNDUS img_16", ["1-0"]),
        ("2020-01-05", ["1-3"]),
        ("nobody", []),
    ],
)
def test_images_are_found_by_words_in_any_column(client: TestClient, query: str, expected: list[str]) -> None:
    assert found(client, query=query) == expected


def test_images_come_in_the_order_that_was_asked_for_and_those_without_a_value_last(client: TestClient) -> None:
    usual = found(client)
    assert found(client, sort="eventDate") == usual[::-1]
    assert found(client, sort="-size", query="secundus") == usual[:-9:-1]
    assert found(client, sort="-depth") == [*usual[:0:-1], usual[0]]
    assert found(client, sort="-species") == [*usual[16:], *usual[:16]], "equal ones stay as they were"
    assert found(client, sort="nonsense") == usual
    assert client.get("/api/collections/fish").json()["sorts"] == ["eventDate", "depth"]


def test_the_address_of_a_page_holds_what_was_chosen(client: TestClient) -> None:
    page = client.get("/collections/fish", params={"query": 'img "<', "sort": "-depth", "species": "Aus primus", "split": ""}, headers=HTML).text
    assert 'value="img &#34;&lt;"' in page and '<option value="-depth" selected>' in page and "No image matches." in page
    page = client.get("/collections/fish?query=img&species=Bus+secundus", headers=HTML).text
    assert "1 to 8 of 8 that match" in page and "/images/1-0?species=Bus+secundus&amp;query=img" in page
    client.cookies.set("tiles", "large")
    assert 'data-tiles="large"' in client.get("/collections/fish", headers=HTML).text
    client.cookies.set("tiles", '"><b>')
    assert 'data-tiles="medium"' in client.get("/collections/fish", headers=HTML).text


def test_an_image_is_shown_with_all_that_is_known_of_it_and_the_way_on(client: TestClient) -> None:
    page = client.get("/collections/fish/images/0-0?sort=-eventDate", headers=HTML).text
    for words in ("A. Photographer", "IMG_0.png", "Blue Tang", "CC0-1.0", "2020-01-24", "1 of 24", "/collections/fish/images/0-1?sort=-eventDate"):
        assert words in page, words
    sent = {"image_id": "0-0", "reviewer": "Ada", "decision": "reject", "reason": "a copy"}
    assert client.post("/api/collections/drawn/verdicts", json=sent).status_code == 201
    page = client.get("/collections/drawn/images/0-0", headers=HTML).text
    assert "<dt>Seed</dt><dd>0</dd>" in page and "reject (a copy)" in page
    assert 'href="/collections/fish/images/0-0"' in page and "gone" in page and "/images/gone" not in page, "parents that are still there are links"


def test_several_images_are_judged_at_once_and_taken_back_by_one_undo(client: TestClient, workspace: Workspace) -> None:
    def judge(ids: list[str], decision: str, key: str, status: int = 201) -> dict[str, object]:
        sent = {"image_ids": ids, "reviewer": "Ada", "decision": decision, "key": key}
        answer = client.post("/api/collections/drawn/verdicts/together", json=sent)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    def undo() -> int:
        return int(client.post("/api/collections/drawn/verdicts/undo", json={"reviewer": "Ada"}).json()["num_undone"])

    secundus = client.get("/api/collections/drawn/to-judge", params={"species": "Bus secundus"}).json()["image_ids"]
    assert secundus == [f"1-{number}" for number in range(6)]
    client.post("/api/collections/drawn/verdicts", json={"image_id": "1-0", "reviewer": "Ada", "decision": "accept"})
    for _ in range(2):  # sent again after a lost answer, it counts once
        assert judge(secundus, "reject", "first-key") == {"num_saved": 6, "num_differ": 0}
    assert found(client, "drawn", verdict="refused") == secundus, "the table has it at once"
    assert judge(["0-0", "0-0", "0-1"], "accept", "second-key") == {"num_saved": 2, "num_differ": 0}
    assert "another decision" in str(judge(["0-3"], "accept", "second-key", 422)["error"])
    assert [undo(), undo()] == [2, 6]
    assert found(client, "drawn", verdict="accepted") == ["1-0"], "what was decided before stands again"
    assert [undo(), undo()] == [1, 0]
    table = Collection.open(workspace.root / "collections" / "drawn").table
    client.post("/api/collections/drawn/verdicts/apply")
    table = Collection.open(workspace.root / "collections" / "drawn").table
    assert table["verdict"].isna().all()

    Collection.create(
        workspace.root / "collections" / "drawn", table.assign(verdict="refused", reason="copy"), species=["Aus primus", "Bus secundus"]
    )
    assert judge(secundus, "accept", "third-key") == {"num_saved": 6, "num_differ": 6}, "experts cannot accept copies"
    assert "unknown image" in str(judge(["0-0", "none"], "accept", "fourth-key", 404)["error"])
    assert judge([], "accept", "fifth-key", 422)
    photograph = {"image_ids": ["0-0"], "reviewer": "Ada", "decision": "accept", "key": "sixth-key"}
    assert client.post("/api/collections/fish/verdicts/together", json=photograph).status_code == 422


@pytest.mark.slow
@pytest.mark.usefixtures("ready_jobs")
def test_the_map_is_drawn_once_and_shows_photographs_beside_synthetic_images(client: TestClient) -> None:
    address = "/api/collections/drawn/looks/map"
    assert client.get(address).json()["status"] == "none" and "Draw the map" in client.get("/collections/drawn/map", headers=HTML).text
    assert "not there yet" in client.get("/api/collections/drawn/map").json()["error"]
    assert client.post(address).status_code == 202
    until(lambda: client.get(address).json()["status"] != "running")
    assert client.get(address).json() == client.post(address).json(), "what is there is not computed again"
    found = client.get("/api/collections/drawn/map").json()
    assert {(point["collection"], point["origin"]) for point in found["points"]} == {("fish", "real"), ("drawn", "synthetic")}
    assert len(found["points"]) == 24 + 16 and 0 < found["share"] <= 1 and all(point["sha256"] for point in found["points"])
    assert 'id="map"' in client.get("/collections/drawn/map", headers=HTML).text


def test_a_map_is_shown_for_the_images_that_it_was_drawn_of_alone(client: TestClient, workspace: Workspace) -> None:
    """As `syntype inspect --map` writes it."""
    address = "/api/collections/drawn/looks/map"
    assert client.get(address).json()["status"] == "none" and "Draw the map" in client.get("/collections/drawn/map", headers=HTML).text
    assert "not there yet" in client.get("/api/collections/drawn/map").json()["error"]
    folder = Looks(workspace, Catalogue())._folder("drawn", "map")
    for name, content in (
        ("job/exit", "0"),
        ("out/map.csv", "collection,image_id,species,origin,x,y\nfish,0-0,,real,0.5,-1\ndrawn,1-0,Bus,synthetic,0,2\n"),
    ):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(content)
    assert client.post(address).json()["status"] == "finished", "what is there is not computed again"
    points = client.get("/api/collections/drawn/map").json()["points"]
    assert [(point["collection"], point["species"], point["x"], point["y"]) for point in points] == [("fish", None, 0.5, -1), ("drawn", "Bus", 0, 2)]
    assert all(point["sha256"] for point in points) and 'id="map"' in client.get("/collections/drawn/map", headers=HTML).text
    fish = Collection.open(workspace.root / "collections" / "fish")
    Collection.create(fish.root, fish.table.assign(species="Bus secundus"), species=fish.species)
    assert client.get(address).json()["status"] == "none", "the photographs beside them have changed"


def test_doubtful_photographs_are_shown_with_the_reason_in_words(client: TestClient, workspace: Workspace) -> None:
    """As `syntype inspect --labels` writes them."""
    folder = Looks(workspace, Catalogue())._folder("fish", "suspects")
    (folder / "job").mkdir(parents=True)
    (folder / "job" / "log").write_text("syntype: error: two species are needed\n")
    (folder / "job" / "start").write_text("0")
    (folder / "job" / "exit").write_text("2")
    assert "Two species are needed" in client.get("/collections/fish/outliers", headers=HTML).text
    (folder / "job" / "exit").write_text("0")
    (folder / "out").mkdir()
    names = ["kind", "image_id", "species", "suggested_species", "probability_given", "probability_suggested", "score", "beside_image_id"]
    rows = [
        ["label", "0-3", "Aus primus", "Bus secundus", "0.004", "0.93", "4", "1-2"],
        ["outlier", "0-5", "Aus primus", "", "", "", "6.04", ""],
        ["near-duplicate", "0-7", "Aus primus", "Bus secundus", "", "", "1", "1-0"],
    ]
    with (folder / "out" / "suspects.csv").open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    page = client.get("/collections/fish/mislabelled", headers=HTML).text
    assert "Called Aus primus (less than 1 % probable). It looks more like Bus secundus (93 % probable)." in page and "1 to 1 of 1" in page
    assert "Nearly the same picture is called Bus secundus" in page
    page = client.get("/collections/fish/outliers", headers=HTML).text
    assert "Unlike all other photographs of Aus primus: 6.0 deviations" in page and "/images/0-5" in page
    assert '/collections/fish/outliers">the photographs' in client.get("/collections/drawn/outliers", headers=HTML).text


def test_photographs_stand_beside_synthetic_images_of_each_species(client: TestClient) -> None:
    page = client.get("/collections/drawn/beside", headers=HTML).text
    assert page.index("16 photographs") < page.index("10 synthetic images") < page.index("8 photographs") < page.index("6 synthetic images")
    page = client.get("/collections/drawn/beside?species=Bus+secundus", headers=HTML).text
    assert "16 photographs" not in page and "/collections/fish/images/1-0" in page
    assert 'href="/collections/drawn/beside"' in client.get("/collections/fish/beside", headers=HTML).text


def test_names_of_photographs_are_corrected_together_and_taken_back(client: TestClient) -> None:
    images = [image["image_id"] for image in client.get("/api/collections/fish/images").json()["images"]][:2]
    before = client.get("/api/collections/fish").json()["facets"]["species"]
    asked = {"image_ids": images, "species": "Cus quartus", "who": "Ada"}
    assert "Cus quartus" in client.post("/api/collections/fish/names", json=asked).json()["told"]
    assert client.get("/api/collections/fish").json()["facets"]["species"]["Cus quartus"] == 2
    assert client.post("/api/collections/fish/names", json={**asked, "species": None}).json()["told"] == "2 left out."
    client.post("/api/collections/fish/changes/undo")
    assert client.post("/api/collections/fish/changes/undo").status_code == 200
    assert client.get("/api/collections/fish").json()["facets"]["species"] == before
    assert "no change is left" in client.post("/api/collections/fish/changes/undo").json()["error"]
    assert "synthetic" in client.post("/api/collections/drawn/names", json={**asked, "image_ids": ["0-0"]}).json()["error"]

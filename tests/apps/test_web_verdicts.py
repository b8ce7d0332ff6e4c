"""Expert curation through the Studio: no decision is lost, each can be undone, and the table says what experts said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made import make_collection
from reviewing import killed_servers_lose_nothing, reviewers_lose_nothing
from starlette.testclient import TestClient
from studio_server import browser, make_synthetic, make_workspace, until

from syntype.apps.web.quiz import wilson_interval
from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection

URL = "/api/collections/drawn"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "workspace")


@pytest.fixture
def client(workspace: Workspace) -> Iterator[TestClient]:
    with browser(workspace) as client:
        yield client


def decide(client: TestClient, image: str, decision: str, reviewer: str = "Ada", **more: Any) -> Any:
    return client.post(f"{URL}/verdicts", json={"image_id": image, "decision": decision, "reviewer": reviewer, **more})


def test_a_reviewer_goes_through_all_images_and_back(client: TestClient) -> None:
    seen, after = [], {}
    while True:
        page = client.get(f"{URL}/next", params={"reviewer": "Ada", **after, "count": 2, "real": "fish"}).json()
        if not page["items"]:
            break
        assert page["num_left"] == (None if seen else 16)
        image = page["items"][0]["image"]
        assert all(near["species"] == image["species"] for near in page["items"][0]["nearest"])
        assert decide(client, image["image_id"], "accept").status_code == 201
        seen.append(image["image_id"])
        after = {"after": image["position"]}
    assert len(seen) == len(set(seen)) == 16
    for image in reversed(seen[-3:]):
        undone = client.post(f"{URL}/verdicts/undo", json={"reviewer": "Ada"}).json()
        assert undone["verdict"]["image_id"] == image == undone["item"]["image"]["image_id"]
    left = client.get(f"{URL}/next", params={"reviewer": "Ada", "count": 20}).json()
    assert [item["image"]["image_id"] for item in left["items"]] == seen[-3:]
    assert client.get(f"{URL}/next", params={"reviewer": "Bo"}).json()["num_left"] == 16


def test_verdicts_reach_the_table_and_an_undone_one_leaves_it(client: TestClient, workspace: Workspace) -> None:
    folder = workspace.root / "collections" / "drawn"
    decide(client, "0-0", "reject", reason="two heads")
    decide(client, "0-1", "accept")
    decide(client, "0-1", "reject", "Bo")
    assert client.post(f"{URL}/verdicts/apply").json() == {"num_accepted": 0, "num_refused": 2, "num_open": 0, "num_changed": 2}
    assert len(Collection.open(folder).select(usable=True)) == 14
    assert client.get(f"{URL}/images", params={"verdict": "refused", "reason": "expert"}).json()["total"] == 2
    client.post(f"{URL}/verdicts/undo", json={"reviewer": "Bo"})
    client.post(f"{URL}/verdicts/apply")
    assert Collection.open(folder).table.set_index("image_id").loc["0-1", "verdict"] == "accepted"
    client.post(f"{URL}/verdicts/undo", json={"reviewer": "Ada"})
    client.post(f"{URL}/verdicts/undo", json={"reviewer": "Ada"})
    assert client.post(f"{URL}/verdicts/undo", json={"reviewer": "Ada"}).json() == {"verdict": None, "item": None, "num_undone": 0}
    until(lambda: len(Collection.open(folder).select(usable=True)) == 16)  # without being asked, once everybody has paused


def test_earlier_verdicts_are_seen_again_and_changed(client: TestClient, workspace: Workspace) -> None:
    for image, decision in (("0-0", "accept"), ("0-1", "unsure"), ("0-2", "reject")):
        decide(client, image, decision, reason="blurred" if decision == "reject" else None)
    own = client.get(f"{URL}/verdicts/own", params={"reviewer": "Ada", "count": 2, "real": "fish"}).json()
    assert [(item["own"]["image_id"], item["own"]["decision"], item["own"]["reason"]) for item in own] == [
        ("0-2", "reject", "blurred"),
        ("0-1", "unsure", None),
    ]
    earlier = client.get(f"{URL}/verdicts/own", params={"reviewer": "Ada", "before": own[-1]["own"]["id"]}).json()
    assert [item["image"]["image_id"] for item in earlier] == ["0-0"]
    assert client.get(f"{URL}/verdicts/own", params={"reviewer": "Bo"}).json() == []

    decide(client, "0-0", "reject")  # a change is a decision like any other, and undone like any other
    which = {kind: asked(client, which=kind) for kind in ("decided", "unsure", "undecided")}
    assert which["decided"] == ["0-0", "0-1", "0-2"] and which["unsure"] == ["0-1"] and len(which["undecided"]) == 13
    undone = client.post(f"{URL}/verdicts/undo", json={"reviewer": "Ada", "real": "fish"}).json()
    assert undone["verdict"]["decision"] == "reject" and undone["item"]["own"]["decision"] == "accept"
    assert {near["collection"] for near in undone["item"]["nearest"]} == {"fish"}


def asked(client: TestClient, reviewer: str = "Ada", count: int = 20, **filters: Any) -> list[str]:
    """The images that a reviewer is offered."""
    page = client.get(f"{URL}/next", params={"reviewer": reviewer, "count": count, **filters}).json()
    assert page["num_left"] >= len(page["items"])
    return [item["image"]["image_id"] for item in page["items"]]


def test_reviewers_share_the_images_or_give_a_second_opinion(client: TestClient) -> None:
    ada, bo = asked(client, count=3, judges=1), asked(client, "Bo", 20, judges=1)
    assert len(ada) == 3 and len(bo) == 13 and not set(ada) & set(bo), "each image is before one of them"
    assert asked(client, "Cy", judges=1) == []
    for image in ada:
        decide(client, image, "accept")
    assert asked(client, judges=1) == [] and asked(client, "Bo", judges=1) == bo, "what was offered to oneself is offered again"
    assert asked(client, "Bo", second=True) == ada and asked(client, second=True) == []
    first = client.get(f"{URL}/next", params={"reviewer": "Bo", "second": True}).json()["items"][0]
    assert first["own"] is None and "accept" not in str(first), "what the other has said is not told"
    client.post(f"{URL}/verdicts/apply")
    assert "accept" not in str(client.get(f"{URL}/next", params={"reviewer": "Bo", "second": True}).json()["items"][0])
    together = {"image_ids": bo[:2], "reviewer": "Bo", "decision": "accept", "key": "several-at-once"}
    assert client.post(f"{URL}/verdicts/together", json=together).status_code == 201
    assert client.post(f"{URL}/verdicts/undo", json={"reviewer": "Bo"}).json()["num_undone"] == 2
    assert asked(client, "Cy", judges=1) == bo[:2], "judged together and taken back, they are before nobody"
    decide(client, ada[0], "accept", "Bo")
    assert client.get(f"{URL}/verdicts").json()["pairs"] == [{"reviewers": ["Ada", "Bo"], "num_shared": 1, "kappa": 1.0}]
    assert asked(client, "Cy", 1, judges=2) == [bo[0]], "Ada has judged those before, and Bo is judging them"


def test_what_the_automatic_check_said_is_told_in_words(client: TestClient, workspace: Workspace) -> None:
    drawn = Collection.open(workspace.root / "collections" / "drawn")
    reasons = {0: "copy", 1: "species", 2: "distribution", 3: "species"}
    verdicts = ["refused" if row in reasons else "accepted" for row in range(len(drawn))]
    table = drawn.table.assign(
        verdict=verdicts, reason=[reasons.get(row) for row in range(len(drawn))], margin=[2.0, -1.24, 1.0, 0.1, *[2.5] * 12],
        typicality=0.3141, nearest_real_distance=0.0123, looks_like="Bus secundus",
    )  # fmt: skip
    limits = {"margin": {"accepted_from": {"Aus primus": 0.3}}, "nearest_real_distance": {"copy_at_or_below": 0.02}}
    Collection.create(drawn.root, table, species=drawn.species, history=[{"stage": "curate", "thresholds": limits}])
    told = client.get(f"{URL}/next", params={"reviewer": "Ada", "refused": "too", "count": 5, "real": "fish"}).json()["items"]
    assert [item["check"]["sentence"] for item in told] == [
        "Refused: repeats a photograph.",
        "Refused: looks like Bus secundus.",
        "Refused: unlike all photographs of Aus primus.",
        "Refused: not clearly Aus primus, could be Bus secundus.",
        "Passed the automatic check.",
    ]
    assert told[1]["check"]["values"] == [
        "margin against Bus secundus \N{MINUS SIGN}1.2 (accepted from +0.30)",
        "similarity to photographs of the species 0.31",
        "distance to the nearest photograph 0.012 (a copy up to 0.020)",
    ]
    assert told[1]["nearest"][-1]["species"] == "Bus secundus", "a photograph of what it looks like is beside it"
    assert len(asked(client)) == 12 and asked(client, refused="copy") == ["0-0"] and asked(client, refused="species") == ["0-1", "0-3"]
    assert len(asked(client, species="Aus primus")) == 6
    counts = client.get(f"{URL}/verdicts").json()
    assert (counts["num_images"], counts["refused"]) == (12, {"copy": 1, "species": 2, "distribution": 1})
    decide(client, "0-1", "accept")
    client.post(f"{URL}/verdicts/apply")  # an expert's word does not change what the check has said
    assert asked(client, "Bo", refused="species") == ["0-1", "0-3"]


def test_a_decision_sent_twice_counts_once(client: TestClient) -> None:
    first, second = (decide(client, "0-0", "reject", key="0123-abcd") for _ in range(2))
    assert first.status_code == second.status_code == 201 and first.json() == second.json()
    assert decide(client, "0-1", "reject", key="0123-abcd").status_code == 422
    assert client.get(f"{URL}/verdicts").json()["reviewers"] == {"Ada": {"reject": 1}}


def test_agreement_of_reviewers(client: TestClient) -> None:
    for image, (ada, bo) in enumerate([("accept", "accept"), ("reject", "reject"), ("accept", "reject"), ("reject", "reject")]):
        decide(client, f"0-{image}", ada)
        decide(client, f"0-{image}", bo, "Bo")
    told = client.get(f"{URL}/verdicts").json()
    assert told["pairs"] == [{"reviewers": ["Ada", "Bo"], "num_shared": 4, "kappa": 0.5}]
    assert told["reviewers"]["Bo"] == {"accept": 1, "reject": 3}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"image_id": "nobody"}, 404),
        ({"image_id": ""}, 422),
        ({"decision": "maybe"}, 422),
        ({"reviewer": " "}, 422),
        ({"reviewer": "a;b"}, 422),
        ({"reviewer": "a\0b"}, 422),
        ({"reason": "x" * 300}, 422),
        ({"key": "'; drop table verdicts"}, 422),
    ],
)
def test_a_faulty_decision_is_refused(client: TestClient, change: dict[str, str], status: int) -> None:
    answer = client.post(f"{URL}/verdicts", json={"image_id": "0-0", "decision": "accept", "reviewer": "Ada", **change})
    assert answer.status_code == status and answer.json()["error"]


def test_photographs_are_not_judged(client: TestClient) -> None:
    answer = client.post("/api/collections/fish/verdicts", json={"image_id": "0-0", "decision": "accept", "reviewer": "Ada"})
    assert answer.status_code == 422 and "photograph" in answer.json()["error"]


def test_a_quiz_tells_nothing_before_its_end(client: TestClient) -> None:
    quiz = client.post("/api/quizzes", json={"synthetic": "drawn", "real": "fish", "reviewer": "Ada", "num": 8}).json()
    url = f"/api/quizzes/{quiz['id']}"
    assert quiz["num_items"] == 8 and quiz["choices"] == [] and set(quiz) == {"id", "reviewer", "kind", "num_items", "num_answered", "choices"}
    pictures = [client.get(f"{url}/items/{number}/image") for number in range(8)]
    assert {(picture.headers["content-type"], picture.content[16:24]) for picture in pictures} == {("image/png", b"\0\0\0\x30\0\0\0\x30")}
    assert client.get(f"{url}/result").status_code == client.get(f"{url}/items/0").status_code == 422
    for number in range(8):
        assert client.post(f"{url}/items/{number}", json={"is_real": True}).json()["num_answered"] == number + 1
    assert client.post(f"{url}/items/0", json={"is_real": False}).status_code == 422
    assert client.post(f"{url}/items/8", json={"is_real": False}).status_code == 404
    result = client.get(f"{url}/result").json()
    assert (result["share_right"], result["convincing"], result["doubted"], result["guessing"]) == (0.5, 1, 0, 0.5)
    assert len(result["mistakes"]) == 4
    for mistake in result["mistakes"]:
        assert (mistake["is_real"], mistake["said_real"], mistake["right"]) == (False, True, False)
        assert mistake["nearest"] and all(near["species"] == mistake["species"] and near["collection"] == "fish" for near in mistake["nearest"])


def test_a_quiz_about_species_is_answered_by_choices_and_its_mistakes_are_told(client: TestClient, workspace: Workspace) -> None:
    asked = {"synthetic": "drawn", "real": "fish", "reviewer": "Class", "num": 6, "kind": "species"}
    quiz = client.post("/api/quizzes", json=asked).json()
    url, said = f"/api/quizzes/{quiz['id']}", []
    for number in range(6):
        names = [choice["species"] for choice in quiz["choices"]]
        assert sorted(names) == ["Aus primus", "Bus secundus"] and client.post(f"{url}/items/{number}", json={"is_real": True}).status_code == 422
        said.append({0: None}.get(number, "Aus primus"))
        quiz = client.post(f"{url}/items/{number}", json={} if number == 0 else {"choice": names.index("Aus primus")}).json()
        revealed = client.get(f"{url}/items/{number}").json()
        assert (revealed["said_species"], revealed["right"]) == (said[-1], revealed["species"] == said[-1])
    assert quiz["num_answered"] == 6 and quiz["choices"] == []
    result = client.get(f"{url}/result").json()
    assert (result["num_items"], result["guessing"], result["convincing"], result["doubted"]) == (6, 0.5, None, None)
    assert result["num_right"] == 6 - len(result["mistakes"]) and result["mistakes"][0]["number"] == 0, "undecided is not right"
    make_synthetic(workspace.root / "collections" / "one", {"Aus primus": 4})
    make_collection(workspace.root / "collections" / "single", {"Aus primus": 8})
    assert "two species" in client.post("/api/quizzes", json={**asked, "synthetic": "one", "real": "single"}).json()["error"]
    client.delete("/api/storage/collections/drawn")  # the result stays
    assert client.get(f"{url}/result").json()["num_right"] == result["num_right"]


def test_the_interval_of_a_score_is_wilsons() -> None:
    from scipy.stats import binomtest

    for right, total in ((0, 10), (7, 20), (20, 20)):
        expected = binomtest(right, total).proportion_ci(method="wilson")
        assert wilson_interval(right, total) == pytest.approx((expected.low, expected.high), abs=1e-5)


def sqlite(root: Path) -> str:
    return f"sqlite:///{root / 'studio.sqlite'}"


def test_eight_reviewers_at_once_lose_nothing(workspace: Workspace) -> None:
    reviewers_lose_nothing(workspace, sqlite(workspace.root), 400)


@pytest.mark.slow
def test_ten_thousand_verdicts_of_eight_reviewers(workspace: Workspace) -> None:
    reviewers_lose_nothing(workspace, sqlite(workspace.root), 10_000)


def test_a_killed_server_has_lost_no_verdict(tmp_path: Path) -> None:
    killed_servers_lose_nothing(tmp_path, sqlite(tmp_path), 1)


@pytest.mark.slow
def test_a_server_killed_twenty_times_has_lost_no_verdict(tmp_path: Path) -> None:
    killed_servers_lose_nothing(tmp_path, sqlite(tmp_path), 20)

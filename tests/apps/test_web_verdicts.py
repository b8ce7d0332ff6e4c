"""Expert curation through the Studio: no decision is lost, each can be undone, and the table says what experts said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reviewing import killed_servers_lose_nothing, reviewers_lose_nothing
from starlette.testclient import TestClient
from studio_server import browser, make_workspace, until

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
    seen, after = [], -1
    while True:
        page = client.get(f"{URL}/next", params={"reviewer": "Ada", "after": after, "count": 2, "real": "fish"}).json()
        if not page["items"]:
            break
        assert page["num_left"] == 16 - len(seen)
        image = page["items"][0]["image"]
        assert all(near["species"] == image["species"] for near in page["items"][0]["nearest"])
        assert decide(client, image["image_id"], "accept").status_code == 201
        seen.append(image["image_id"])
        after = image["position"]
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
    assert quiz["num_items"] == 8 and set(quiz) == {"id", "reviewer", "num_items", "num_answered"}
    pictures = [client.get(f"{url}/items/{number}/image") for number in range(8)]
    assert {(picture.headers["content-type"], picture.content[16:24]) for picture in pictures} == {("image/png", b"\0\0\0\x30\0\0\0\x30")}
    assert client.get(f"{url}/result").status_code == 422
    for number in range(8):
        assert client.post(f"{url}/items/{number}", json={"is_real": True}).json()["num_answered"] == number + 1
    assert client.post(f"{url}/items/0", json={"is_real": False}).status_code == 422
    assert client.post(f"{url}/items/8", json={"is_real": False}).status_code == 404
    result = client.get(f"{url}/result").json()
    assert (result["share_right"], result["convincing"], result["doubted"]) == (0.5, 1, 0)


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

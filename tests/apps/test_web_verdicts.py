"""Expert curation through the Studio: no decision is lost, each can be undone, and the table says what experts said."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient
from studio import browser, make_synthetic, make_workspace, start_server, wait

from syntype.apps.web.quiz import wilson_interval
from syntype.apps.web.reviews import Reviews
from syntype.apps.web.store import Store
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
    assert client.post(f"{URL}/verdicts/undo", json={"reviewer": "Ada"}).json() == {"verdict": None, "item": None}
    end = time.monotonic() + 60
    while len(Collection.open(folder).select(usable=True)) < 16:  # without being asked, once everybody has paused
        assert time.monotonic() < end
        time.sleep(0.5)


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


def eight_reviewers(reviews: Reviews, num: int) -> None:
    """Eight reviewers at once, ``num`` decisions in all, some of them undone."""

    def review(reviewer: int) -> None:
        for image in range(num // 8):
            reviews.decide("drawn", f"{image}", None, f"Reviewer {reviewer}", "accept" if image % 3 else "reject", None, f"{reviewer}-{image:05d}")
            if image % 10 == 9:
                assert (reviews.undo("drawn", f"Reviewer {reviewer}") or {})["image_id"] == f"{image}"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(review, range(8)))
    standing = reviews.standing("drawn")
    assert len(standing) == 8 * (num // 8 - num // 80)
    assert {(row.name, row.image_id) for row in standing} == {
        (f"Reviewer {reviewer}", f"{image}") for reviewer in range(8) for image in range(num // 8) if image % 10 != 9
    }


def test_eight_reviewers_at_once_lose_nothing(workspace: Workspace) -> None:
    store = Store(f"sqlite:///{workspace.root / 'studio.sqlite'}")
    eight_reviewers(Reviews(store, workspace), 400)
    store.close()


@pytest.mark.slow
def test_ten_thousand_verdicts_of_eight_reviewers(workspace: Workspace) -> None:
    store = Store(f"sqlite:///{workspace.root / 'studio.sqlite'}")
    eight_reviewers(Reviews(store, workspace), 10_000)
    store.close()


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own, on a socket in a temporary folder; it refuses to run as root, so root lends it a user."""
    found = [shutil.which("initdb"), *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), reverse=True)]
    programs = next((Path(path).parent for path in found if path), None)
    if programs is None:
        pytest.skip("PostgreSQL is not on this machine (Debian: apt-get install postgresql)")
    lent = {"user": "nobody"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        if lent:
            shutil.chown(folder, "nobody")

        def call(program: str, *arguments: str) -> None:
            command = [str(programs / program), "-D", f"{folder}/data", *arguments]
            done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder, **lent)  # type: ignore[call-overload]
            assert done.returncode == 0, done.stderr

        call("initdb", "-A", "trust", "-U", "studio", "--no-sync")
        call("pg_ctl", "-w", "-t", "120", "-l", f"{folder}/log", "-o", f"-k {folder} -c listen_addresses=''", "start")
        try:
            yield f"postgresql://studio@/postgres?host={folder}"
        finally:
            call("pg_ctl", "-m", "immediate", "stop")


def test_the_same_on_postgresql(postgresql: str, workspace: Workspace) -> None:
    with browser(workspace, database=postgresql) as client:
        test_a_decision_sent_twice_counts_once(client)
        client.post(f"{URL}/verdicts/undo", json={"reviewer": "Ada"})
        quiz = client.post("/api/quizzes", json={"synthetic": "drawn", "real": "fish", "reviewer": "Ada", "num": 2}).json()
        assert client.post(f"/api/quizzes/{quiz['id']}/items/1", json={"is_real": True}).json()["num_answered"] == 1
        assert (
            wait(client, client.post("/api/jobs", json={"kind": "export", "name": "set", "collection": "drawn"}).json()["id"])["status"] == "finished"
        )
    store = Store(postgresql)
    eight_reviewers(Reviews(store, workspace), 400)
    store.close()


def killed_while_reviewing(tmp_path: Path, times: int) -> None:
    root = tmp_path / "workspace"
    Workspace(root)
    make_synthetic(root / "collections" / "drawn", {"Aus primus": 400})
    confirmed: dict[str, str] = {}
    chance = random.Random(0)
    for _ in range(times):
        server, client = start_server(root)
        killer = threading.Timer(chance.uniform(0.05, 1.5), server.send_signal, [signal.SIGKILL])
        killer.start()
        try:
            for image in range(400):
                decision = chance.choice(["accept", "reject", "unsure"])
                answer = client.post(f"{URL}/verdicts", json={"image_id": f"0-{image}", "decision": decision, "reviewer": "Ada"})
                assert answer.status_code == 201
                confirmed[f"0-{image}"] = decision
        except httpx2.TransportError:  # the decision under way may have been written or not: either is right, so it is not counted
            confirmed.pop(f"0-{image}", None)
        killer.join()
        server.communicate()
        client.close()
        store = Store(f"sqlite:///{root / 'studio.sqlite'}")
        standing = {row.image_id: row.decision for row in Reviews(store, Workspace(root)).standing("drawn")}
        store.close()
        assert {image: standing.get(image) for image in confirmed} == confirmed
    assert confirmed


def test_a_killed_server_has_lost_no_verdict(tmp_path: Path) -> None:
    killed_while_reviewing(tmp_path, 1)


@pytest.mark.slow
def test_a_server_killed_twenty_times_has_lost_no_verdict(tmp_path: Path) -> None:
    killed_while_reviewing(tmp_path, 20)

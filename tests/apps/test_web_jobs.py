"""Jobs of the Studio: real commands in processes of their own, cancelled, killed, and taken up again by the next server."""

from __future__ import annotations

import os
import signal
import zipfile
from pathlib import Path
from typing import Any

import httpx2
import pytest
from studio_server import browser, end_server, make_workspace, start_server, until, wait

from syntype.apps.web.processes import JobProcess
from syntype.apps.web.queue import MAX_STARTS
from syntype.apps.web.requests import parse_request
from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection
from syntype.errors import InputError


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "workspace")


def ask(client: httpx2.Client, **request: Any) -> dict[str, Any]:
    answer = client.post("/api/jobs", json=request)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.mark.usefixtures("ready_jobs")
def test_train_draw_blend_and_export(workspace: Workspace) -> None:
    """From photographs to a downloaded set, in the order of the queue."""
    with browser(workspace) as client:
        first = ask(client, kind="train", name="collage", family="collage", collection="fish", size=32)
        second = ask(client, kind="export", name="photographs", collection="fish")
        assert second["ahead"] == 1 and second["status"] == "waiting"
        assert wait(client, first["id"])["status"] == "finished", client.get("/api/jobs/1/log").text
        assert wait(client, second["id"])["started"] >= first["created"]
        listed = client.get("/api/generators").json()
        assert [(item["name"], item["family"], item["num_species"]) for item in listed] == [("collage", "collage", 2)]
        assert client.get("/api/generators/collage/species", params={"query": "sec"}).json() == ["Bus secundus"]

        job = ask(client, kind="generate", name="new", generator="collage", species=["Bus secundus"], num=4, seed=3)
        job = wait(client, job["id"])
        assert job["status"] == "finished" and job["result"]["num_images"] == 4, job
        assert str(workspace.root) not in str(job)
        names = client.get(f"/api/jobs/{job['id']}/pictures").json()
        assert len(names) == 4 and client.get(f"/api/jobs/{job['id']}/pictures/{names[0]}").headers["content-type"] == "image/png"

        client.post("/api/collections/new/verdicts", json={"image_id": Collection.open(workspace.root / "collections" / "new").table["image_id"][0],
                                                           "decision": "reject", "reviewer": "Ada"})  # fmt: skip
        job = wait(client, ask(client, kind="export", name="set", collection="new")["id"])
        assert job["result"]["num_images"] == 3, "a verdict counts for the next job at once"
        answer = client.get("/api/exports/set/file")
        (workspace.root / "got.zip").write_bytes(answer.content)
        with zipfile.ZipFile(workspace.root / "got.zip") as archive:
            assert sum(name.startswith("Bus_secundus/") for name in archive.namelist()) == 3


def test_a_job_that_cannot_be_is_refused_at_once_and_one_that_fails_says_why(workspace: Workspace) -> None:
    with browser(workspace) as client:
        for request, status in (
            ({"kind": "generate", "name": "new", "generator": "nobody", "num": 3}, 404),
            ({"kind": "export", "name": "fine", "collection": "nobody"}, 404),
            ({"kind": "train", "name": "fine", "collection": "fish", "family": "nobody"}, 404),
            ({"kind": "train", "name": "fine", "collection": "fish", "family": "--help", "steps": 3}, 404),
            ({"kind": "study", "name": "fine", "collection": "fish"}, 422),
            ({"kind": "import", "name": "fine", "upload": "0" * 32}, 422),
            ({"kind": "rm", "name": "fine"}, 422),
            ({"kind": "export", "name": "fine", "collection": "fish", "out": "/tmp"}, 422),
        ):
            answer = client.post("/api/jobs", json=request)
            assert answer.status_code == status and answer.json()["error"], answer.text
        job = wait(client, ask(client, kind="train", name="new", family="projected", collection="fish")["id"])
        assert job["status"] == "failed" and "Minutes to train" in job["message"]
        assert client.get("/api/generators").json() == []


def long_training(client: httpx2.Client, workspace: Workspace, name: str) -> int:
    """A training that would take hours, once it has begun."""
    number = ask(client, kind="train", name=name, family="dcgan", collection="fish", size=32, steps=500_000)["id"]
    until(lambda: (workspace.root / "generators" / name / "progress.jsonl").exists())
    return number


@pytest.mark.usefixtures("ready_jobs")
def test_a_running_job_is_cancelled_with_its_work_kept_and_resumed_and_a_restarted_server_goes_on_with_it(workspace: Workspace) -> None:
    def resumed(times: int) -> bool:
        return client.get(f"/api/jobs/{number}/log").json().count("Resuming dcgan at step") == times

    with browser(workspace) as client:
        number = long_training(client, workspace, "slow")
        waiting = ask(client, kind="export", name="later", collection="fish")["id"]
        until(lambda: client.get(f"/api/jobs/{number}").json()["total"] == 500_000)
        job = client.get(f"/api/jobs/{number}").json()
        assert (job["doing"].startswith("Training") and job["seconds_left"] is None) or job["seconds_left"] > 0
        assert client.post(f"/api/jobs/{waiting}/cancel").json()["status"] == "cancelled"
        client.post(f"/api/jobs/{number}/cancel")
        job = wait(client, number)
        assert job["status"] == "cancelled" and job["message"] == "its work so far is kept"
        assert (workspace.root / "generators" / "slow" / "training" / "state.pt").is_file()
        assert client.post(f"/api/jobs/{number}/cancel").status_code == 422
        assert client.post(f"/api/jobs/{waiting}/resume").status_code == 422
        assert client.post(f"/api/jobs/{number}/resume").json()["status"] == "waiting"
        until(lambda: resumed(1))
    process = JobProcess(workspace.root / "jobs" / str(number))
    assert not process.is_alive(), "a server that stops in good order stops its jobs, and their work is kept"
    with browser(workspace) as client:
        until(lambda: resumed(2))
        client.post(f"/api/jobs/{number}/cancel")
        assert wait(client, number)["status"] == "cancelled"


@pytest.mark.usefixtures("ready_jobs")
def test_a_job_whose_process_is_killed_starts_again_but_not_for_ever(workspace: Workspace) -> None:
    with browser(workspace) as client:
        number = long_training(client, workspace, "slow")
        pid = workspace.root / "jobs" / str(number) / "pid"
        killed: set[str] = set()
        while len(killed) < MAX_STARTS:
            until(lambda: pid.exists() and pid.read_text().strip() not in {"", *killed})
            killed.add(pid.read_text().strip())
            os.kill(int(pid.read_text()), signal.SIGKILL)
        job = wait(client, number)
        assert job["status"] == "failed" and "memory" in job["message"]


@pytest.mark.slow
def test_a_killed_server_loses_no_job(workspace: Workspace) -> None:
    """Killed alone: the job works on, and the next server waits for it. Killed together with the job: the next server starts it again."""
    server, client = start_server(workspace.root)
    number = long_training(client, workspace, "slow")
    waiting = ask(client, kind="export", name="later", collection="fish")["id"]
    pid = workspace.root / "jobs" / str(number) / "pid"
    before = pid.read_text().strip()
    end_server(server, client)

    server, client = start_server(workspace.root)
    until(lambda: client.get(f"/api/jobs/{number}").json().get("done"))
    reached = client.get(f"/api/jobs/{number}").json()["done"]
    until(lambda: client.get(f"/api/jobs/{number}").json()["done"] > reached)
    assert client.get(f"/api/jobs/{number}").json()["status"] == "running" and pid.read_text().strip() == before
    assert client.get(f"/api/jobs/{waiting}").json()["ahead"] == 1
    end_server(server, client)
    os.kill(int(before), signal.SIGKILL)
    until(lambda: not JobProcess(pid.parent).is_alive())

    server, client = start_server(workspace.root)
    until(lambda: pid.exists() and pid.read_text().strip() not in ("", before))
    until(lambda: client.get(f"/api/jobs/{number}").json()["status"] == "running")
    client.post(f"/api/jobs/{number}/cancel")
    assert wait(client, number)["status"] == "cancelled"
    assert wait(client, waiting)["status"] == "finished"
    end_server(server, client, signal.SIGTERM)
    assert server.returncode in (0, -signal.SIGTERM)


def test_two_servers_do_not_share_a_workspace(workspace: Workspace) -> None:
    with workspace.claimed(), pytest.raises(InputError, match="already served"), Workspace(workspace.root).claimed():
        pass


def test_arguments_are_never_taken_for_options(workspace: Workspace) -> None:
    request = parse_request({"kind": "generate", "name": "a", "generator": "g", "num": 1, "species": ["--set"]})
    (workspace.root / "generators" / "g").mkdir()
    (workspace.root / "generators" / "g" / "generator.json").write_text('{"species": ["--set"]}')
    assert "--species=--set" in request.command(workspace)

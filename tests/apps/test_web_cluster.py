"""The Studio gives its jobs to a cluster: nothing is lost and nothing runs twice, whatever happens to the server, a node or the controller."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from one_node_slurm import OneNodeSlurm, missing
from studio_server import end_server, make_workspace, start_server, until, wait
from test_web_ownership import Bench

from syntype.apps.cli import main
from syntype.apps.web import elsewhere, processes
from syntype.apps.web.processes import JobProcess
from syntype.apps.web.queue import MAX_STARTS
from syntype.apps.web.workspace import Workspace
from syntype.cluster import RESUME, Cluster, Job
from syntype.cluster.places import BusyError, State
from syntype.errors import InputError
from syntype.files import read_json_object

needs_slurm = pytest.mark.skipif(missing() is not None, reason=str(missing()))


class Place:
    """Stands in for Slurm: jobs wait until they are told to run."""

    capacity, fewest, grace, lingers = 2, 1, 0.0, True

    def __init__(self) -> None:
        self.works: list[Any] = []
        self.names: list[str] = []
        self.told: dict[str, State] = {}
        self.away = self.busy = False

    def submit(self, jobs: Sequence[Job], name: str = "") -> list[str]:
        if self.busy:
            raise BusyError("too many jobs")
        if "partition" in self.told:
            raise InputError("Slurm refuses the jobs (invalid partition)", "Correct the cluster file.")
        self.works += [job.work for job in jobs]
        self.names.append(name)
        self.told[str(len(self.works))] = "waits"
        return [str(len(self.works))]

    def states(self, identifiers: Collection[str]) -> dict[str, State]:
        return {one: "unknown" if self.away else self.told.get(one, "gone") for one in identifiers}

    def find(self, name: str) -> str | None:
        if self.away:
            raise BusyError("away")
        return str(self.names.index(name) + 1) if name in self.names else None

    def end(self, identifiers: Collection[str], *, waiting_alone: bool = False) -> None:
        for one in identifiers:
            if self.told.get(one) == "waits" or not waiting_alone:
                self.told[one] = "cancelled"


class Lab(Bench):
    """The Studio over a workspace, with a place for its jobs."""

    def __init__(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slurm, self.ran = Place(), Counter[str]()
        lab = self

        def launch(self: JobProcess, command: Sequence[str], run_id: str, wanted: Any) -> bool:
            if not wanted():
                return False
            lab.ran[run_id] += 1
            (self.folder / "start").touch()
            monkeypatch.setenv("SYNTYPE_RUN_ID", run_id)
            code = lab.commands.run(command)
            if code is not None:
                (self.folder / "exit").write_text(str(code))
            return True

        monkeypatch.setattr(elsewhere, "place_of", lambda *_, **__: self.slurm)
        monkeypatch.setattr(elsewhere, "_BEAT_SECONDS", 0.0)
        monkeypatch.setattr(elsewhere, "_ALIVE_SECONDS", 0.0)
        monkeypatch.setattr(processes.JobProcess, "launch", launch)
        super().__init__(workspace, monkeypatch)

    def restart(self) -> None:
        super().restart()
        self.queue = type(self.queue)(self.store, self.workspace, self.reviews, self.uploads, 1, Cluster(executor="slurm", poll_seconds=1e-6))

    def train(self, name: str) -> int:
        return self.add(kind="train", name=name, family="collage", collection="fish", steps=3)

    def run(self, number: int, state: State = "ended") -> None:
        """A node does the work with this number at the place."""
        self.slurm.works[number - 1]()
        self.slurm.told[str(number)] = state

    def doing(self, number: int) -> str | None:
        return self.queue.process(number).doing()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)}
    made = Lab(make_workspace(tmp_path / "workspace"), monkeypatch)
    yield made
    made.store.close()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_server_finds_the_jobs_that_an_earlier_one_gave_away(lab: Lab) -> None:
    first, second, third = (lab.train(name) for name in ("one", "two", "three"))
    lab.step(2)
    assert [lab[number].status for number in (first, second, third)] == ["running", "running", "waiting"], "as many as the place takes"
    assert "Waiting for its turn" in (lab.doing(first) or "") and len(lab.slurm.works) == 2
    lab.slurm.told["2"] = "runs"
    (lab.workspace.root / "jobs" / str(first) / "number").unlink()  # the server was killed before it could write it
    lab.restart()
    lab.slurm.away = True
    lab.step(2)
    assert lab[first].status == lab[second].status == "running" and len(lab.slurm.works) == 2, "nobody can say, so it is waited for"
    lab.slurm.away = False
    lab.step(2)
    assert (lab.workspace.root / "jobs" / str(first) / "number").read_text() == "1"
    lab.run(1)
    lab.run(2)
    lab.step()
    assert [lab[number].status for number in (first, second)] == ["finished", "finished"] and lab[first].starts == 1
    lab.step()
    lab.run(3)
    lab.restart()
    lab.step(2)
    assert lab[third].status == "finished" and set(lab.ran.values()) == {1}


def test_a_job_that_its_place_has_lost_is_started_again_and_never_runs_twice(lab: Lab) -> None:
    number = lab.train("one")
    lab.step(2)
    del lab.slurm.told["1"]
    lab.step(2)
    assert lab[number].starts == 2 and len(lab.slurm.works) == 2
    lab.run(1)  # it was not lost, but late
    assert not lab.ran and lab[number].status == "running"
    lab.run(2)
    lab.step()
    assert lab[number].status == "finished" and set(lab.ran.values()) == {1}


def test_a_place_that_is_busy_is_waited_for_and_one_that_refuses_is_told(lab: Lab) -> None:
    number = lab.train("one")
    lab.slurm.busy = True
    lab.step(3)
    assert (lab[number].status, lab[number].starts) == ("waiting", 0)
    lab.slurm.busy, lab.slurm.told["partition"] = False, "gone"
    lab.step()
    assert lab[number].status == "failed" and "invalid partition" in lab[number].message
    del lab.slurm.told["partition"]
    lab.queue.resume(number)
    lab.step()
    assert lab[number].status == "running"


def test_jobs_are_cancelled_here_and_at_their_place(lab: Lab) -> None:
    here, there = lab.train("one"), lab.train("two")
    lab.step(2)
    lab.queue.cancel(here)
    lab.slurm.told["2"] = "cancelled"
    lab.step(2)
    assert lab[here].status == "cancelled" and lab.slurm.told["1"] == "cancelled", "it leaves the queue of its place"
    assert lab[there].status == "cancelled" and "job 2 of the cluster was cancelled there" in lab[there].message
    lab.run(1)
    assert not lab.ran
    lab.queue.resume(here)
    lab.step()
    lab.run(3)
    lab.step()
    assert lab[here].status == "finished"


def test_a_job_whose_time_is_up_goes_on_in_another_turn_and_one_that_dies_does_not_for_ever(lab: Lab) -> None:
    number, run = lab.train("one"), lab.commands.run
    lab.step()
    lab.commands.run = lambda command: lab.commands.__class__.run(lab.commands, command) and RESUME  # type: ignore[method-assign]
    lab.commands.end = "stop"
    for turn in range(1, MAX_STARTS + 3):
        lab.run(turn)
        lab.step(2)
        assert (lab[number].status, lab[number].starts) == ("running", 1)
    other = lab.train("two")
    lab.step()
    lab.run(MAX_STARTS + 4, "runs")
    lab.step()
    assert lab[other].status == "running", "its place says later why it was stopped"
    lab.slurm.told[str(MAX_STARTS + 4)] = "cancelled"
    lab.step()
    assert lab[other].status == "cancelled" and "cancelled there" in lab[other].message
    lab.commands.run, lab.commands.end = run, "kill"  # type: ignore[method-assign]
    turn = MAX_STARTS + 3
    for _ in range(MAX_STARTS):
        lab.run(turn)
        lab.step(2)
        turn = len(lab.slurm.works)
    assert lab[number].status == "failed" and "killed 3 times" in lab[number].message


def test_a_job_that_never_begins_tells_the_last_message_of_its_place(lab: Lab) -> None:
    number = lab.train("one")
    for turn in range(1, MAX_STARTS + 1):
        lab.step(2)
        folder = next((lab.workspace.root / "jobs" / str(number)).glob("cluster/*"), None) or lab.workspace.root / "jobs" / str(number) / "cluster/x"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{turn}_0_log.out").write_text("/bin/sh: module: not found\n")
        lab.slurm.told[str(turn)] = "ended"
    lab.step(2)
    assert lab[number].status == "failed" and "never began" in lab[number].message and "module: not found" in lab[number].message


def test_a_cluster_file_says_how_many_jobs_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["serve", str(tmp_path / "workspace"), "--jobs", "2", "--cluster", "lab.yaml"]) == 2
    assert "--jobs is for jobs on this machine" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(2400)  # minutes, on a machine that does nothing else
@needs_slurm
def test_slurm_runs_the_jobs_of_a_studio_that_is_killed_and_started_again(slurm: OneNodeSlurm, tmp_path: Path) -> None:
    workspace, lab = make_workspace(tmp_path / "workspace"), tmp_path / "lab.yaml"
    lab.write_text("executor: slurm\npartition: main\nminutes: 30\nparallel: 2\npoll_seconds: 1\nenvironment: {OMP_NUM_THREADS: 1}\n")
    folder = workspace.root / "jobs"

    def ask(**request: Any) -> int:
        answer = client.post("/api/jobs", json=request)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def job(number: int) -> dict[str, Any]:
        return client.get(f"/api/jobs/{number}").json()

    def again(server: subprocess.Popen[str], client: httpx2.Client, number: int = signal.SIGKILL) -> tuple[subprocess.Popen[str], httpx2.Client]:
        end_server(server, client, number)
        return start_server(workspace.root, cluster=lab)

    server, client = start_server(workspace.root, cluster=lab)
    try:
        long = ask(kind="train", name="slow", family="dcgan", collection="fish", size=32, steps=500_000)
        short = [ask(kind="export", name=f"set-{index}", collection="fish") for index in range(4)]
        for number in short[:3]:  # killed while a job is being given away, or just after
            until(lambda number=number: (folder / str(number) / "ticket").exists())
            server, client = again(server, client)
        until(lambda: (job(long)["done"] or 0) > 3)
        assert "ended" not in job(long)["status"] and len(slurm.run("squeue", "-h", "-t", "R").split("\n")) <= 3, "two at a time, as lab.yaml says"
        slurm.stop_controller()
        server, client = again(server, client, signal.SIGTERM)  # in good order: what runs on the cluster goes on
        reached = job(long)["done"]
        until(lambda: job(long)["done"] > reached)
        slurm.start_controller()
        slurm.wait(lambda: bool(slurm.state_of_nodes()), "the controller does not come back")
        for number in short:
            assert wait(client, number)["status"] == "finished", client.get(f"/api/jobs/{number}/log").json()
            made = read_json_object(workspace.root / "exports" / job(number)["name"] / "run.json")
            assert len(made["sessions"]) == 1 and job(number)["result"]["num_images"] == 24
        assert read_json_object(workspace.root / "generators" / "slow" / "run.json")["status"] == "running"
        assert len(read_json_object(workspace.root / "generators" / "slow" / "run.json")["sessions"]) == 1, "no kill of the server touched it"

        until((workspace.root / "generators" / "slow" / "training" / "state.pt").is_file)  # killed before, it would begin anew
        os.killpg(int((folder / str(long) / "pid").read_text()), signal.SIGKILL)
        until(lambda: "Resuming dcgan at step" in client.get(f"/api/jobs/{long}/log").json())
        client.post(f"/api/jobs/{long}/cancel")
        ended = wait(client, long)
        assert ended["status"] == "cancelled" and ended["message"] == "its work so far is kept", ended
        assert (workspace.root / "generators" / "slow" / "training" / "state.pt").is_file()
        assert read_json_object(workspace.root / "generators" / "slow" / "run.json")["status"] == "interrupted", "it was asked, not killed"

        client.post(f"/api/jobs/{long}/resume")
        until(lambda: job(long)["done"])
        slurm.run("scancel", (folder / str(long) / "number").read_text())
        ended = wait(client, long)
        assert ended["status"] == "cancelled" and "cancelled there" in ended["message"]
        until(lambda: not slurm.run("squeue", "-h", "-t", "PD,R").split())
    finally:
        end_server(server, client)

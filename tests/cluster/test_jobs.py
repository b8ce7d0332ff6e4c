"""Jobs here and in processes: what ends well, what fails, what dies, what is stopped; cluster files; pre-emption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from syntype.apps.cli import main
from syntype.cluster import RESUME, Cluster, Command, Job, JobError, Preempted, cancel_jobs, job_states, read_cluster, run_jobs
from syntype.cluster import jobs as cluster_jobs
from syntype.cluster.preemption import WARNINGS, preemptible, stop_requests
from syntype.errors import InputError, RecipeError, TrainingError, UnsupportedError
from syntype.files import write_json
from syntype.run import Run


def note(path: Path) -> None:
    path.write_text(os.environ.get("OMP_NUM_THREADS", ""))


def fail() -> None:
    raise TrainingError("the training diverged.")


def die_once(path: Path) -> None:
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def test_jobs_run_here_one_after_the_other(tmp_path: Path) -> None:
    arrived: list[str] = []
    jobs = [Job("one", partial(note, tmp_path / "one")), Job("two", fail), Job("three", partial(note, tmp_path / "three"))]
    failures = run_jobs(jobs, Cluster(), tmp_path / "cluster", Run.silent(), arrived=arrived.append)
    assert arrived == ["one", "three"] and failures == {"two": "the training diverged."}
    assert not (tmp_path / "cluster").exists()


@pytest.mark.slow
def test_processes_end_fail_and_are_started_again_when_they_die(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    arrived: list[str] = []
    jobs = [
        Job("good", partial(note, tmp_path / "good")),
        Job("bad", fail),
        Job("command", Command("inspect", str(tmp_path / "nowhere"))),
        Job("died", partial(die_once, tmp_path / "died")),
    ]
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])  # where the processes find these functions
    cluster = Cluster(executor="processes", poll_seconds=0.1, cpus=3, environment={"PYTHONPATH": path})
    failures = run_jobs(jobs, cluster, tmp_path / "cluster", Run.silent(), arrived=arrived.append)
    assert sorted(arrived) == ["died", "good"] and (tmp_path / "good").read_text() == "3"
    assert failures["bad"] == "the training diverged." and "is not a collection" in failures["command"] and "exit code 2" in failures["command"]
    assert job_states(tmp_path / "cluster") == [] and cancel_jobs(tmp_path / "cluster") == 0
    kept = {path.name.partition("_")[0] for path in (tmp_path / "cluster" / "0001").iterdir()}
    assert len(kept) == 3, "messages of those that failed or died; what ended well leaves nothing"


def test_a_cluster_file_is_read_and_a_wrong_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("executor: slurm\npartition: gpu\nminutes: 30\nsetup:\n- module load cuda\nenvironment: {THREADS: 2}\n")
    cluster = read_cluster(file)
    assert (cluster.partition, cluster.setup, cluster.environment) == ("gpu", ("module load cuda",), {"THREADS": "2"})
    for line, words in {"partitoin: gpu": "partitoin", "gpus: many": "gpus", "executor: pbs": "executor", "minutes: 0": "minutes"}.items():
        file.write_text(f"{line}\n")
        with pytest.raises(RecipeError) as caught:
            read_cluster(file)
        assert words in str(caught.value) and "lab.yaml" in str(caught.value) and "\n" not in str(caught.value)
    for name, field in Cluster.model_fields.items():
        assert f"    {name}: " in Path(sys.modules[Cluster.__module__].__file__ or "").read_text(), field


def test_slurm_is_missed_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnsupportedError, match="sbatch is not on this machine"):
        run_jobs([Job("one", fail)], Cluster(executor="slurm"), tmp_path / "cluster", Run.silent())


def test_submitit_is_missed_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'syntype\[cluster\]'"):
        run_jobs([Job("one", fail)], Cluster(executor="processes"), tmp_path / "cluster", Run.silent())


def test_a_command_passes_warnings_on_and_tells_how_it_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    child = tmp_path / "python"  # takes the place of Python: saves its work when it is warned
    child.write_text(f"#!/bin/sh\ntrap 'echo saved > {tmp_path}/saved; exit {RESUME}' USR1\ntouch {tmp_path}/began\nwhile :; do sleep 0.05; done\n")
    child.chmod(0o755)
    monkeypatch.setattr(cluster_jobs.sys, "executable", str(child))
    work = Command("train")

    def warn(_number: int, _frame: object) -> None:
        work.save()

    before = signal.signal(signal.SIGALRM, warn)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        assert cluster_jobs.Attempt(work)() == cluster_jobs.STOPPED
    finally:
        signal.signal(signal.SIGALRM, before)
    assert (tmp_path / "saved").is_file()
    child.write_text("#!/bin/sh\necho 'syntype: error: fish: is not a collection.' >&2\nexit 2\n")
    with pytest.raises(JobError, match=r"^fish: is not a collection\. \(exit code 2\)$"):
        work()
    child.write_text("#!/bin/sh\nkill -9 $$\n")
    assert "SIGKILL" in cluster_jobs.Attempt(work)()


def test_jobs_of_before_are_shown_and_cancelled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("submitit")
    (tmp_path / "cluster" / "0001").mkdir(parents=True)
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # also where the tests were started in the background
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "submitit"], preexec_fn=heeds)
    time.sleep(0.2)
    write_json(tmp_path / "cluster" / "jobs.json", {"executor": "processes", "jobs": {"0000": {"id": str(sleeper.pid), "folder": "0001"}}})
    (tmp_path / "cluster" / "0001" / f"{sleeper.pid}_0_log.err").write_text("learning\n")
    try:
        assert [(one.name, one.alive) for one in job_states(tmp_path / "cluster")] == [("0000", True)]
        assert main(["jobs", str(tmp_path), "--log", "0000"]) == 0 and "learning" in capsys.readouterr().out
        assert main(["jobs", str(tmp_path), "--log", "0001"]) == 2 and "0000" in capsys.readouterr().err
        assert main(["jobs", str(tmp_path), "--cancel", "--json"]) == 0 and '"cancelled": 1' in capsys.readouterr().out
        assert sleeper.wait(timeout=10) == -signal.SIGINT
    finally:
        sleeper.kill()
        sleeper.wait()
    assert main(["jobs", str(tmp_path / "nowhere")]) == 2 and "has no jobs" in capsys.readouterr().err


@pytest.mark.parametrize("number", WARNINGS)
def test_a_warning_is_noted_however_often_it_comes(number: signal.Signals) -> None:
    with stop_requests() as stop:
        for _ in range(3):
            os.kill(os.getpid(), number)
            time.sleep(0.01)
    assert stop.asked and stop.preempted and stop.status == "preempted"
    saved = []
    with pytest.raises(Preempted), preemptible():
        try:
            os.kill(os.getpid(), number)
            time.sleep(1)
        finally:
            os.kill(os.getpid(), number)  # another one, while the work is saved
            time.sleep(0.01)
            saved.append(True)
    assert saved


def test_ctrl_c_is_no_warning() -> None:
    with stop_requests() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
    assert stop.status == "interrupted"


def test_an_input_error_stops_jobs_here(tmp_path: Path) -> None:
    def refuse() -> None:
        raise InputError("is empty", "Give another.", file="fish.csv")

    with pytest.raises(InputError, match="is empty"):
        run_jobs([Job("one", refuse)], Cluster(), tmp_path, Run.silent())

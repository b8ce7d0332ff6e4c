"""A real Slurm of one machine: 200 species through an array while workers are killed, a node is drained and the controller is restarted."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made import make_collection, train_tiny
from one_node_slurm import OneNodeSlurm, missing

from syntype.cluster import Cluster, Job, run_jobs
from syntype.cluster.places import BusyError, place_of
from syntype.collection import Collection
from syntype.errors import InputError
from syntype.files import read_json_object
from syntype.generators import load_generator
from syntype.identification import ClassifierConfig
from syntype.identification.grid import GridConfig, train_grid
from syntype.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]
NUM_SPECIES = 200


def table(folder: Path) -> dict[str, dict[str, str]]:
    rows = list(csv.DictReader((folder / "species.csv").read_text(encoding="utf-8").splitlines()))
    assert len({row["species"] for row in rows}) == len(rows), "a species is there twice"
    return {row["species"]: row for row in rows}


def adapt(base: Path, collection: Path, out: Path, *more: str) -> list[str]:
    settings = ("batch_size=4", "precision=fp32", "species_per_task=10")
    words = ["adapt", str(base), str(collection), "--all-rare", "--device", "cpu", "--steps", "2", "--out", str(out), "--quiet", *more]
    return [sys.executable, "-m", "syntype.apps.cli", *words, *(part for one in settings for part in ("--set", one))]


def wait_for(condition, what: str, process: subprocess.Popen[str], seconds: float = 300) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, what
        time.sleep(0.2)


@pytest.mark.timeout(2400)  # minutes, on a machine that does nothing else
def test_200_species_are_learnt_once_each_whatever_happens_to_the_cluster(slurm: OneNodeSlurm, tmp_path: Path) -> None:
    new = {f"Novus {number:03d}": 2 for number in range(NUM_SPECIES)}
    collection = make_collection(tmp_path / "collection", {"Aus primus": 8, "Aus secundus": 8, **new}, size=32, split="train")
    base = train_tiny("fastgan", collection, tmp_path / "base", steps=1, only=("Aus primus", "Aus secundus")).folder
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(adapt(base, collection.root, tmp_path / "plain"), env=environment, check=True, capture_output=True)

    lab, out = tmp_path / "lab.yaml", tmp_path / "out"
    lab.write_text("executor: slurm\npartition: main\nminutes: 20\nparallel: 2\nmost_queued: 12\npoll_seconds: 1\n")
    process = subprocess.Popen(
        adapt(base, collection.root, out, "--cluster", str(lab)), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        learnt = lambda: len(list(out.glob("tasks/*/out/tasks/*/*.json"))) + 10 * len(list(out.glob("tasks/*/out/adapters/*")))  # noqa: E731
        wait_for(lambda: learnt() >= 3, "no species is learnt", process)
        found = subprocess.run(["pgrep", "-f", f"syntype.apps.cli adapt.*{out}/tasks"], capture_output=True, text=True, check=True).stdout.split()
        workers = [int(one) for one in found if int(one) != process.pid]
        parent = int(Path(f"/proc/{workers[0]}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)  # the job's process, and with it the worker: a death without any warning
        os.kill(workers[0], signal.SIGKILL)
        slurm.stop_controller()
        time.sleep(3)
        slurm.start_controller()
        slurm.wait(lambda: bool(slurm.state_of_nodes()), "the controller does not come back")
        wait_for(lambda: learnt() >= 30, "nothing is learnt after the restart", process)
        slurm.run("scontrol", "update", "NodeName=node1", "State=DRAIN", "Reason=test")
        for line in slurm.run("squeue", "-h", "--array", "-w", "node1", "-t", "R", "-o", "%i").split():
            slurm.run("scontrol", "requeue", line)  # what runs on the node has to leave it
        time.sleep(5)
        slurm.run("scontrol", "update", "NodeName=node1", "State=RESUME")
        _, errors = process.communicate(timeout=900)
    finally:
        process.kill()
    assert process.returncode == 0, f"{errors}\n{slurm.logs()}"
    plain, found_rows = table(tmp_path / "plain"), table(out)
    assert {row["status"] for row in found_rows.values()} == {"done"} and len(found_rows) == NUM_SPECIES
    assert {name: row["sha256"] for name, row in found_rows.items()} == {name: row["sha256"] for name, row in plain.items()}
    assert load_generator(out).generator_id == load_generator(tmp_path / "plain").generator_id
    assert len(list((out / "adapters").iterdir())) == NUM_SPECIES // 10 and not list((out / "tasks").iterdir())
    assert not (read_json_object(out / "cluster" / "jobs.json"))["jobs"]
    events = [line for line in (out / "progress.jsonl").read_text().splitlines() if '"died"' in line]
    assert events, "the killed worker was noticed"

    line = [sys.executable, "-m", "syntype.apps.cli", "generate", str(out), "--num", "1", "--quiet"]
    for more in (["--cluster", str(lab), "--out", str(tmp_path / "drawn")], ["--out", str(tmp_path / "drawn-here"), "--device", "cpu"]):
        subprocess.run([*line, *more], env=environment, check=True, capture_output=True)
    drawn, here = (Collection.open(tmp_path / name).table for name in ("drawn", "drawn-here"))
    assert len(drawn) == NUM_SPECIES + 2 and drawn.equals(here)


def test_a_grid_of_classifiers_is_trained_as_here(slurm: OneNodeSlurm, small_collection: Collection, tmp_path: Path) -> None:
    shared = ClassifierConfig(backbone="scratch", size=16, steps=2, batch_size=4, device="cpu", precision="fp32")
    config = GridConfig(classifier=shared, grid={"learning_rate": (0.001, 0.01)})
    tables = []
    for place in (Cluster(executor="slurm", minutes=20, poll_seconds=1), Cluster()):
        out = tmp_path / place.executor
        out.mkdir()
        train_grid(small_collection, config, out, Run(out, quiet=True), cluster=place)
        tables.append((out / "grid.csv").read_text(encoding="utf-8"))
    assert tables[0] == tables[1] and tables[0].count("done") == 2


def test_slurm_says_no_in_one_line(slurm: OneNodeSlurm, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"refuses the jobs .*partition") as caught:
        run_jobs([Job("one", time.time)], Cluster(executor="slurm", partition="nix"), tmp_path / "cluster", Run.silent())
    assert "\n" not in str(caught.value)


def test_a_controller_that_is_away_is_waited_for(slurm: OneNodeSlurm, tmp_path: Path) -> None:
    place = place_of(Cluster(executor="slurm"), tmp_path / "cluster")
    slurm.stop_controller()
    try:
        assert place.alive(["1_0", "7"]) == {"1_0", "7"}, "nobody can say, so nothing is submitted a second time"
        with pytest.raises(BusyError):
            place.submit([Job("one", time.time)])
    finally:
        slurm.start_controller()
        slurm.wait(lambda: bool(slurm.state_of_nodes()), "the controller does not come back")
    assert place.alive(["1_99"]) == set()


def test_a_job_whose_time_is_up_continues(slurm: OneNodeSlurm, tmp_path: Path) -> None:
    """Slurm warns it before its time is up; it saves its work, and is put into the queue again."""
    collection = make_collection(tmp_path / "collection", {"Aus primus": 8, "Novus unus": 8}, size=32, split="train")
    base = train_tiny("fastgan", collection, tmp_path / "base", steps=1, only=("Aus primus",)).folder
    out, lab = tmp_path / "out", tmp_path / "lab.yaml"
    lab.write_text("executor: slurm\nminutes: 3\nwarning_seconds: 60\npoll_seconds: 1\n")
    line = adapt(base, collection.root, out, "--cluster", str(lab), "--steps", "100000")
    process = subprocess.Popen(line, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: bool(list(out.glob("tasks/*/out/tasks/*/work-*/training/state.pt"))), "no checkpoint", process, 400)
        wait_for(lambda: "Restarts=1" in slurm.run("scontrol", "show", "job"), "the job is not put into the queue again", process, 240)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
        process.communicate()
        subprocess.run([sys.executable, "-m", "syntype.apps.cli", "jobs", str(out), "--cancel"], check=True, capture_output=True)
    assert not slurm.run("squeue", "-h", "-t", "PD,R").split(), "a job that was just put into the queue again is cancelled too"


def test_the_batch_file_of_the_guide_trains_on_two_nodes_and_continues_after_a_warning(slurm: OneNodeSlurm, tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs/how-to/use-a-cluster.md").read_text(encoding="utf-8")
    script = guide.partition("```bash\n")[2].partition("```")[0]
    collection = make_collection(tmp_path / "collection", {"Aus primus": 8, "Bus alter": 8}, size=32, split="train")
    model = {"width": 4, "latent_dim": 8, "embedding_dim": 4}
    smaller = " ".join(["--device cpu --size 32 --set precision=fp32", *(f"--set model.{name}={value}" for name, value in model.items())])
    changes = {
        "#SBATCH --gpus-per-node=4\n": "",
        "#SBATCH --cpus-per-task=32": f"#SBATCH --output={tmp_path}/log",
        "--nproc-per-node=4": "--nproc-per-node=1",
        "source ~/venv/bin/activate": f"export PATH={Path(sys.executable).parent}:$PATH OMP_NUM_THREADS=1",
        "train projected": "train fastgan",
        "out/fish": str(collection.root),
        "out/generator": str(tmp_path / "out"),
        "--steps 20000": "--steps 60",
        "batch_size=64": f"batch_size=4 {smaller}",
    }
    for before, now in changes.items():
        assert before in script
        script = script.replace(before, now)
    (tmp_path / "train.sbatch").write_text(script)
    number = slurm.run("sbatch", "--parsable", str(tmp_path / "train.sbatch")).strip()
    events = tmp_path / "out" / "progress.jsonl"

    def told() -> str:
        return f"{(tmp_path / 'log').read_text() if (tmp_path / 'log').is_file() else ''}\n{slurm.run('scontrol', 'show', 'job', number)}"

    slurm.wait(lambda: events.is_file() and '"step"' in events.read_text(), f"no step is taken\n{told()}", 300)
    slurm.run("scancel", "--signal=USR1", "--batch", number)
    slurm.wait(lambda: "Restarts=1" in slurm.run("scontrol", "show", "job", number), f"not put into the queue again\n{told()}", 120)
    slurm.wait(lambda: "JobState=COMPLETED" in slurm.run("scontrol", "show", "job", number), f"does not end\n{told()}", 400)
    assert read_json_object(tmp_path / "out" / "generator.json")["steps"] == 60, told()
    assert "Resuming fastgan at step" in events.read_text() and len(read_json_object(tmp_path / "out" / "run.json")["sessions"]) == 2

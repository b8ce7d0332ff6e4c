"""Many species on several machines: what the machinery costs beside the learning, and how long all fish of the world would take.

    python benchmarks/cluster.py [--species 10000] [--per-task 1000] [--seconds 0.1] [--out FOLDER]

1. `syntype adapt --all-rare` for many tiny species in two processes, and for a tenth of them. The learning itself is simulated: it waits a fixed
   time and gives weights of 40 kB, the size of a species learnt by `modulate`. Everything else is what the command does: jobs, tables, shards, a
   second call, a first read.
2. A model of the time for 33,000 species on a cluster, from the minutes that docs/benchmarks/adaptation.md measured, and a simulation of a queue
   whose nodes fail, to check it.
"""

from __future__ import annotations

import hashlib
import heapq
import io
import json
import os
import resource
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from common.results import RESULTS, Page, kept, options, publish, read_result, rewrite, table

WEIGHTS, TENSORS = 10_000, 20
"""Numbers of 32 bits of a simulated species, and tensors in which they are."""
WORKERS, AIM = 2, 1.3
FISH = 33_000
"""Species of fish that are known, about: W. N. Eschmeyer's Catalog of Fishes and FishBase name more every year."""
PER_TASK, STARTUP, CHECKPOINT, REQUEUE, LIFE = 32, 1.0, 2.0, 10.0, 1000.0
"""The model: species of a job; minutes in which a job starts, between two checkpoints, and in the queue after a failure; hours between two failures
of one slot (a failure of a node, or a pre-emption)."""
SLOTS = (16, 64, 256)
METHODS = ("encode", "modulate", "finetune")


def main() -> None:
    parser = options("cluster", __doc__)
    parser.add_argument("--species", type=int, default=10_000)
    parser.add_argument("--per-task", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=0.1, help="time in which a species is learnt")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("cluster", report, arguments)
        return
    settings = {"species": arguments.species, "per_task": arguments.per_task, "seconds": arguments.seconds, "workers": WORKERS}
    figures: dict[str, Any] = {}
    for name, species in (("few", arguments.species // 10), ("many", arguments.species)):  # in this order, as memory is the peak of this process
        per_task = min(arguments.per_task, -(-species // WORKERS))
        figures[name] = kept(arguments.out / f"{name}.json", partial(many, arguments.out / name, species, per_task, arguments.seconds))
    adaptation = read_result(RESULTS / "adaptation.json")["figures"]["species"]
    publish("cluster", settings, {**figures, "fish": kept(arguments.out / "fish.json", lambda: fish(adaptation))}, report, arguments)


# Many species, simulated ----------------------------------------------------------------------------------------------------------


def many(folder: Path, species: int, per_task: int, learning: float) -> dict[str, Any]:
    """Learn so many species twice (the second call finds nothing to do), and read some."""
    from syntype import AdaptManyConfig, Cluster, load_generator
    from syntype.adaptation import many as room

    collection = tiny_species(folder / "collection", species)
    base, out = tiny_base(collection, folder / "base"), folder / "all"
    config = AdaptManyConfig(species_per_task=per_task, precision="fp32", device="cpu")
    place = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    cluster = Cluster(executor="processes", workers=WORKERS, poll_seconds=0.5, environment={"PYTHONPATH": place})

    def work(task: Path, *_: object) -> Any:
        return partial(simulated_task, str(base), str(collection), str(task.resolve()), config.model_dump(), learning)

    room._work = work
    seconds = []
    for _ in range(2):
        began = time.monotonic()
        adapt(base, collection, config, out, cluster)
        seconds.append(time.monotonic() - began)
    files = [path for path in out.rglob("*") if path.is_file()]
    began = time.monotonic()
    generator = load_generator(out)
    loading = time.monotonic() - began
    reads = []
    for name in generator.species[2 :: max(1, species // 200)]:
        began = time.process_time()
        generator._read_waiting([name])
        reads.append(time.process_time() - began)
    jobs = [json.loads(path.read_text()) for path in sorted(folder.glob("job-*.json"))]
    return {
        "done": len(generator.species) - 2,
        "seconds": seconds[0],
        "ideal_seconds": species * learning / WORKERS,
        "second_call_seconds": seconds[1],
        "jobs": len(jobs),
        "startup_seconds": statistics.mean(one["startup"] for one in jobs),
        "processor_seconds_a_job": statistics.mean(one["processor"] for one in jobs),
        "extra_seconds_a_species": statistics.mean((one["seconds"] - one["startup"]) / one["species"] - learning for one in jobs),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "job_megabytes": max(one["megabytes"] for one in jobs),
        "files": len(files),
        "adapter_files": len(list((out / "adapters").iterdir())),
        "folder_megabytes": sum(path.stat().st_size for path in files) / 1e6,
        "loading_seconds": loading,
        "read_milliseconds": 1000 * statistics.median(reads),
    }


def adapt(base: Path, collection: Path, config: Any, out: Path, cluster: Any) -> None:
    from syntype import Collection, adapt_many, load_generator
    from syntype.run import Run

    with Run.start(out, "adapt-many", config, seed=0, resume=True, quiet=True) as run:
        adapt_many(load_generator(base), Collection.open(collection), config, out, run, cluster=cluster)


def simulated_task(base: str, collection: str, task: str, config: dict[str, Any], seconds: float) -> None:
    """What a job does, with a simulated learner."""
    began = time.time() - time.monotonic() + float(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    from syntype import AdaptManyConfig
    from syntype.adaptation import many as room
    from syntype.adaptation.learning import Learner
    from syntype.adaptation.many import read_species_list

    names, place = read_species_list(Path(task) / "species.txt"), Path(task)
    started: list[float] = []

    def learn(self: Learner, settings: Any, out: Path, run: object) -> Any:
        started.append(time.time())
        return simulated(self, settings, seconds)

    Learner.learn, room._read_ahead = learn, lambda *_: None
    adapt(Path(base), Path(collection), AdaptManyConfig.parse({**config, "species": names}), place / "out", None)
    told = {"startup": started[0] - began, "seconds": time.time() - began, "species": len(names), "processor": time.process_time()}
    told["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    (Path(collection).parent / f"job-{place.name}.json").write_text(json.dumps(told))


def simulated(learner: Any, settings: Any, seconds: float) -> Any:
    """A species after a fixed time, with weights that follow from its name."""
    import torch

    from syntype.adaptation.learning import Learnt, choose_photographs

    until = time.monotonic() + seconds
    photographs = choose_photographs(learner.collection, settings.species, settings.shots, settings.seed)
    random = torch.Generator().manual_seed(int(hashlib.sha256(settings.species.encode()).hexdigest()[:8], 16))
    own = learner.base.model.generator.state_dict()["embedding.weight"]
    weights = {f"factor_out.{number:02d}": torch.randn(WEIGHTS // TENSORS, generator=random) for number in range(TENSORS)}
    weights["new_row.embedding.weight"] = torch.randn(1, own.shape[1], generator=random)
    time.sleep(max(0.0, until - time.monotonic()))
    return Learnt(settings.species, weights, photographs, "modulate", learner.base.species[0], None, 300, seconds, "finished", 0, None)


def tiny_species(folder: Path, number: int) -> Path:
    """A collection of two known species and ``number`` new ones, two photographs each of 16 px."""
    import numpy as np
    import pandas as pd
    from PIL import Image

    from syntype import Collection

    if (folder / "collection.json").is_file():
        return folder
    random, rows = np.random.default_rng(0), []
    names = ["Aus primus", "Aus secundus", *(f"Novus {index:05d}" for index in range(number))]
    for index, name in enumerate(names):
        place = folder / "images" / f"{index // 1000:03d}"
        place.mkdir(parents=True, exist_ok=True)
        for photograph in range(2):
            data = io.BytesIO()
            Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(data, "PNG")
            (place / f"{index}-{photograph}.png").write_bytes(data.getvalue())
            rows.append({"image_id": f"{index}-{photograph}", "file_name": f"images/{place.name}/{index}-{photograph}.png", "species": name,
                         "split": "train", "origin": "real", "sha256": hashlib.sha256(data.getvalue()).hexdigest(), "width": 16, "height": 16,
                         "phash": "0" * 16})  # fmt: skip
    Collection.create(folder, pd.DataFrame(rows), species=names)
    return folder


def tiny_base(collection: Path, folder: Path) -> Path:
    """A generator of the two known species."""
    from syntype import Collection, TrainConfig, train

    if not (folder / "generator.json").is_file():
        model = {"width": 4, "latent_dim": 8, "embedding_dim": 4}
        config = TrainConfig(family="fastgan", size=32, steps=1, batch_size=4, only=("Aus primus", "Aus secundus"), model=model, device="cpu")
        train(Collection.open(collection), config, folder)
    return folder


# All fish of the world, computed --------------------------------------------------------------------------------------------------


def fish(adaptation: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Hours for all fish, by method and number of slots: by the model, and simulated with five seeds."""
    found = {}
    for method in METHODS:
        minutes = statistics.mean(one["minutes"] for one in adaptation[method].values())
        megabytes = statistics.mean(one["megabytes"] for one in adaptation[method].values())
        hours = {str(slots): {"model": model_hours(minutes, slots), "simulated": simulated_hours(minutes, slots)} for slots in SLOTS}
        found[method] = {"minutes": minutes, "gigabytes": FISH * megabytes / 1e3, "slot_hours": FISH * minutes / 60, "hours": hours}
    return found


def model_hours(minutes: float, slots: int, *, species: int = FISH, life: float = LIFE) -> float:
    """Hours until the last job has ended.

    A job of n species takes T = startup + n * minutes. A failure, one in ``life`` hours of a slot, costs half a checkpoint, the wait in the queue and
    another start. All slots are busy until the work is used up; then, on average, half of a job's time passes until the last one ends.
    """
    job = STARTUP + PER_TASK * minutes
    lost = (CHECKPOINT / 2 + REQUEUE + STARTUP) / (60 * life)
    jobs = -(-species // PER_TASK)
    last = job / 2 if jobs > slots else 0.0
    return (max(jobs * job / slots, job) * (1 + lost) + last) / 60


def simulated_hours(minutes: float, slots: int, *, species: int = FISH, life: float = LIFE) -> list[float]:
    """The same by a simulation of the queue: each slot takes the next job when it is free; failures come at random."""
    import numpy as np

    hours = []
    for seed in range(5):
        random = np.random.default_rng(seed)
        waiting = [min(PER_TASK, species - first) * minutes for first in range(0, species, PER_TASK)][::-1]
        free = [(0.0, slot) for slot in range(slots)]
        ends = 0.0
        while waiting:
            now, slot = heapq.heappop(free)
            left, failure = waiting.pop(), random.exponential(60 * life)
            now += STARTUP
            while failure < left:  # the job loses what it has done since its last checkpoint, and waits in the queue
                left -= max(0.0, failure - random.uniform(0, CHECKPOINT))
                now += failure + REQUEUE + STARTUP
                failure = random.exponential(60 * life)
            now += left
            ends = max(ends, now)
            heapq.heappush(free, (now, slot))
        hours.append(ends / 60)
    return hours


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    found, fishes = figures["many"], figures["fish"]
    ratio = found["seconds"] / found["ideal_seconds"]
    worst = max(abs(one["model"] / statistics.mean(one["simulated"]) - 1) for method in METHODS for one in fishes[method]["hours"].values())
    modulate = fishes["modulate"]["hours"]["64"]
    columns = [figures[name] for name in ("few", "many")]
    rows = [
        [word, *(show(one) for one in columns)]
        for word, show in {
            "wall time": lambda one: f"{one['seconds']:,.0f} s",
            "ideal: the learning alone, divided by the workers": lambda one: f"{one['ideal_seconds']:,.0f} s",
            "wall time / ideal": lambda one: f"{one['seconds'] / one['ideal_seconds']:.2f}",
            "jobs": lambda one: f"{one['jobs']}",
            "start of a job, until it learns its first species": lambda one: f"{one['startup_seconds']:.1f} s",
            "processor time of a job, its start included": lambda one: f"{one['processor_seconds_a_job']:.1f} s",
            "besides the learning, for each species": lambda one: f"{1000 * one['extra_seconds_a_species']:.0f} ms",
            "memory of the command (peak)": lambda one: f"{one['megabytes']:,.0f} MB",
            "memory of a job (peak)": lambda one: f"{one['job_megabytes']:,.0f} MB",
            "files in the generator's folder": lambda one: f"{one['files']:,}, of which {one['adapter_files']:,} with adapters",
            "size of the folder": lambda one: f"{one['folder_megabytes']:,.0f} MB",
            "a second call, which finds all done": lambda one: f"{one['second_call_seconds']:.1f} s",
            "opening the generator": lambda one: f"{one['loading_seconds']:.1f} s",
            "reading one species (median, processor time)": lambda one: f"{one['read_milliseconds']:.1f} ms",
        }.items()
    ]
    computed = [
        [
            f"`{method}`",
            f"{one['minutes']:.2f}",
            f"{one['slot_hours']:,.0f}",
            *(f"{hours['model']:,.0f} ({statistics.mean(hours['simulated']):,.0f})" for hours in one["hours"].values()),
            f"{one['gigabytes']:,.1f}",
        ]
        for method, one in ((method, fishes[method]) for method in METHODS)
    ]
    return Page(
        title="Many species on several machines",
        question="What does the machinery of jobs cost beside the learning, and how long would all fish of the world take?",
        answer=(
            f"{found['done']:,} tiny species in {settings['workers']} processes take {ratio:.2f} times the time of the learning alone, where a "
            f"species is learnt in {settings['seconds']:g} s: each job adds {found['startup_seconds']:.0f} s, and each species "
            f"{1000 * found['extra_seconds_a_species']:.0f} ms. {FISH:,} fish by `modulate` on 64 slots like the machine that was measured would "
            f"take {modulate['model'] / 24:.1f} days, by a model that a simulation with failures confirms within {100 * worst:.0f} %."
        ),
        headline=[
            (f"{found['done']:,} species, wall time / ideal", f"{ratio:.2f}"),
            ("reading one species", f"{found['read_milliseconds']:.1f} ms"),
            (f"{FISH:,} fish, 64 slots, computed", f"{modulate['model'] / 24:.1f} days"),
        ],
        body=[
            f"## {found['done']:,} tiny species in {settings['workers']} processes",
            "",
            f"The learning is simulated: each species waits {settings['seconds']:g} s and gets weights of {4 * WEIGHTS // 1000} kB. Jobs, tables "
            f"and files are real: {found['jobs']} jobs of {settings['per_task']} species. With species that take minutes, the same costs are a small "
            "part.",
            "",
            f"Aim: at most {AIM} times the ideal wall time: **{'met' if ratio <= AIM else 'missed'}**.",
            "",
            *table(["measure", *(f"{one['done']:,} species" for one in columns)], rows),
            "",
            f"## {FISH:,} species of fish: a model",
            "",
            "A slot is what one job gets: here two processor cores, as on the machine on which the minutes were measured "
            "([adaptation](adaptation.md), 64 px, 300 steps; none on a graphics card). In brackets: simulated, mean of five seeds.",
            "",
            *table(["method", "minutes a species", "slot hours", *(f"hours on {slots} slots" for slots in SLOTS), "GB of adapters"], computed),
            "",
            f"Model: a job learns {PER_TASK} species and needs {STARTUP:g} min to start. A slot fails once in {LIFE:,.0f} hours; that costs half of "
            f"the {CHECKPOINT:g} min between two checkpoints, {REQUEUE:g} min in the queue, and another start. At the end, half of a job's time "
            "passes until the last one is done. These figures are assumptions; put in those of your site (`benchmarks/cluster.py`). Photographs must "
            "be there: of most fish there are none that may be used.",
        ],
        method=[
            "The first table: one call on a machine of two cores; the wall time holds waiting for other programs, if there were any. The second: "
            "computed, not measured on a cluster. Tests run 200 species, and the jobs of a Studio, through a real Slurm of two nodes, while workers "
            "are killed, a node is drained, and controller and server are started again (`tests/cluster/test_slurm.py`, "
            "`tests/apps/test_web_cluster.py`)."
        ],
    )


if __name__ == "__main__":
    main()
    sys.stdout.flush()

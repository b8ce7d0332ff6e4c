"""Few-shot adaptation to many species: each is learnt from its own photographs, and their adapters lie in few files.

OUT/
  generator.json       the generator with all species learnt so far
  adapters/            one file for the species of each task
  species.csv          one row a species: whether it is learnt, or why not
  tasks/NNNN/          work that is not yet in the files above: species.txt (one a line) and settings.yaml, which a job reads; out/ of a job;
                       NNNN.safetensors and NNNN.json of each species learnt; work-NNNN/ of the species that is being learnt
  cluster/             messages of jobs (cluster/running.py)

A species' adapter depends on the base, its photographs and the settings alone, so it is the same wherever and in whatever order it is learnt.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import load_file

from syntype.adaptation.learning import Learner, Learnt, choose_photographs
from syntype.adaptation.saving import write_adapted
from syntype.adaptation.settings import AdaptConfig, AdaptManyConfig
from syntype.cluster import Cluster, Command, Job, Preempted, run_jobs
from syntype.collection.table import Collection
from syntype.compute.runtime import Runtime
from syntype.errors import CollectionError, DiskError, InputError, SyntypeError, TrainingError
from syntype.files import atomic_write, inside, read_json_object, write_json
from syntype.generators.engine.checkpoint import read_generator_info, write_weights
from syntype.generators.engine.generator import Generator
from syntype.generators.engine.packed import digest_of, write_shard
from syntype.recipe import write_yaml
from syntype.run import OWN_RUN, Run, keeps_run

__all__ = ["AdaptManyResult", "adapt_many", "read_species_list", "species_to_learn"]

TABLE = "species.csv"
_COLUMNS = ("species", "status", "reason", "photographs", "relative", "method", "steps", "seconds", "file", "sha256")
_SAVE_SECONDS = 30.0
"""Tables of many species are written at most this often while jobs end."""


@dataclass(frozen=True)
class AdaptManyResult:
    """Result of ``adapt_many``.

    Attributes:
        folder: Folder of the adapted generator.
        num_done: Species learnt, by this call and earlier ones.
        num_failed: Species that could not be learnt; ``table`` says why.
        minutes: Duration of this call.
        num_files: Files with adapters.
        megabytes: Their size.
        generator_id: Identifier of the adapted generator; None if no species is learnt.
        table: Path of ``species.csv``.
    """

    folder: Path
    num_done: int
    num_failed: int
    minutes: float
    num_files: int
    megabytes: float
    generator_id: str | None
    table: Path

    def summary(self) -> dict[str, Any]:
        """Values for ``--json``."""
        return {key: value if not isinstance(value, Path) else str(value) for key, value in vars(self).items()}


def read_species_list(path: Path) -> tuple[str, ...]:
    """Names of species in a text file, one a line. Empty lines, lines that begin with #, and repetitions are left out.

    Raises:
        InputError: The file cannot be read, is not UTF-8, or has no names.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", "Check the path.", file=path) from None
    except UnicodeDecodeError:
        raise InputError("is not a text file in UTF-8", "Save it as UTF-8, with one name of a species a line.", file=path) from None
    names = tuple(dict.fromkeys(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")))
    if not names:
        raise InputError("has no names", "Write one name of a species a line.", file=path)
    return names


def species_to_learn(generator: Generator, collection: Collection) -> tuple[str, ...]:
    """The species of which a collection has training photographs and which a generator does not know, in the order of the vocabulary.

    Raises:
        CollectionError: There are none.
    """
    known = set(generator.species)
    names = tuple(name for name, count in collection.training().counts().items() if count and name not in known)
    if not names:
        raise CollectionError(f"{collection.root}: the generator knows every species with training photographs, so there is none to learn.")
    return names


@keeps_run("adapt-many", resumable=True)
def adapt_many(
    generator: Generator, collection: Collection, config: AdaptManyConfig, out: Path | str, run: Run = OWN_RUN, *, cluster: Cluster | None = None
) -> AdaptManyResult:
    """Adapt a trained generator to many species, each from its own few photographs.

    A second call in the same folder learns the missing species alone. A species that cannot be learnt does not stop the others.

    Args:
        generator: As ``load_generator`` returns it. A generator that was adapted before keeps its species.
        collection: Contains training photographs of the new species, and of the known ones if possible.
        config: Settings.
        out: Folder of the adapted generator. It refers to the base generator, which must not be deleted.
        run: Records progress and events. Default: a run folder in ``out``, with progress on standard error.
        cluster: Where to compute; None: here, one species after the other.

    Returns:
        how many species are learnt, and how many failed.

    Raises:
        UnsupportedError: The family does not support adaptation, or not this method, or not the use of a related species.
        UnknownNameError: The method is not known.
        CollectionError: The generator knows every species already.
        TrainingError: No species at all could be learnt.
        KeyboardInterrupt: After Ctrl-C or a warning of the cluster. What is learnt is kept.

    Example:
        >>> import syntype
        >>> reef, generator = syntype.Collection.open("out/reef"), syntype.load_generator("out/generator")
        >>> config = syntype.AdaptManyConfig(steps=2, batch_size=2)
        >>> result = syntype.adapt_many(generator, reef, config, "out/adapted-many")
        >>> result.num_done, result.num_failed, result.num_files
        (1, 0, 1)
    """
    began, out, cluster = time.monotonic(), Path(out), cluster or Cluster()
    wanted = config.species or species_to_learn(generator, collection)
    learner = Learner(generator, collection, many=True)
    method = learner.check(config.method, config.relative_share)
    config = config.model_copy(update={"method": method})
    if cluster.executor != "slurm":  # there the nodes decide
        config = config.model_copy(update={"precision": Runtime(config.device, config.precision).precision})
    book = _Book(out, learner, wanted)
    tasks = list(_tasks(book, config, cluster))
    by_name = {task.name: task for task in tasks}
    jobs = {task: Job(task.name, _work(task, learner, config, run)) for task in tasks}
    here = [jobs[task] for task in tasks if not _is_job(task)]  # with a cluster: begun by an earlier call without one

    def arrived(name: str) -> None:
        book.take(by_name[name])

    try:
        failures = run_jobs(here, Cluster(), out / "cluster", run, arrived=arrived)
        failures |= run_jobs([jobs[task] for task in tasks if _is_job(task)], cluster, out / "cluster", run, arrived=arrived)
    finally:
        with suppress(DiskError):
            book.save()
    for name, reason in failures.items():
        book.fail(by_name[name], reason)
    generator_id = book.save()
    run.event("species", done=len(book.done), failed=len(book.failed))
    if wanted and not book.done:
        name, reason = next(iter(book.failed.items()))
        raise TrainingError(f"no species could be learnt. {name}: {reason} All reasons are in {out / TABLE}.")
    files = sorted({out / entry["file"] for entry in book.done.values()})
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    minutes = round((time.monotonic() - began) / 60, 4)
    return AdaptManyResult(out, len(book.done), len(book.failed), minutes, len(files), round(megabytes, 4), generator_id, out / TABLE)


def _names_of(folder: Path) -> tuple[str, ...]:
    return read_species_list(folder / "species.txt")


def _tasks(book: _Book, config: AdaptManyConfig, cluster: Cluster) -> Iterator[Path]:
    """Folders of the tasks: those that an earlier call left, and new ones for what is missing."""
    folder = book.out / "tasks"
    folder.mkdir(exist_ok=True)
    missing = dict.fromkeys(name for name in book.wanted if name not in book.done)
    number = 0
    for left in sorted(path for path in folder.iterdir() if path.is_dir()):
        number = max(number, int(left.name) + 1) if left.name.isdigit() else number
        names = _names_of(left) if (left / "species.txt").is_file() else ()
        if all(name in book.done for name in names):
            shutil.rmtree(left)  # in the files already, or not begun
            continue
        if not missing.keys() & set(names):
            continue  # not wanted now
        for name in names:
            missing.pop(name, None)
        yield left
    rest = list(missing)
    for start in range(0, len(rest), config.species_per_task):
        task = folder / f"{number:04d}"
        task.mkdir()
        if cluster.executor != "here":
            write_yaml(task / "settings.yaml", config.model_copy(update={"species": ()}))
        with atomic_write(task / "species.txt") as temporary:
            temporary.write_text("".join(f"{name}\n" for name in rest[start : start + config.species_per_task]), encoding="utf-8")
        number += 1
        yield task


def _is_job(task: Path) -> bool:
    """Whether a task is done by a command line of its own, and not by a call here."""
    return (task / "settings.yaml").is_file()


def _work(task: Path, learner: Learner, config: AdaptManyConfig, run: Run) -> Any:
    """The work of a job: a command line that learns the species of a task in a folder of its own; or here the same as a call."""
    if not _is_job(task):
        return partial(_learn_all, task, learner, config, run)
    generator, collection = (str(Path(path).resolve()) for path in (learner.generator.folder, learner.collection.root))
    place = task.resolve()
    given = ("--species-list", str(place / "species.txt"), "--recipe", str(place / "settings.yaml"), "--out", str(place / "out"))
    return Command("adapt", generator, collection, *given, "--resume", "--quiet")


def _learn_all(task: Path, learner: Learner, config: AdaptManyConfig, run: Run) -> None:
    """Learn the species of a task, one after another. Those that an earlier call has learnt stay."""
    names = _names_of(task)
    todo = [number for number in range(len(names)) if not (task / f"{number:04d}.json").is_file()]
    with suppress(SyntypeError):  # a photograph that cannot be read is told with its species
        _read_ahead(learner, [names[number] for number in todo], config)
    with ThreadPoolExecutor(1) as writer:  # the disk is waited for while the next species is learnt
        kept = writer.submit(lambda: None)
        for number in run.track(todo, f"species of task {task.name}"):
            name, work, record = names[number], task / f"work-{number:04d}", task / f"{number:04d}.json"
            try:
                settings = AdaptConfig.parse({**_without(config), "species": name})
                learnt = learner.learn(settings, work, Run.silent())
            except DiskError:
                raise
            except SyntypeError as error:
                write_json(record, {"failed": str(error)})
                shutil.rmtree(work, ignore_errors=True)
            except Exception as error:  # one species must not stop the others
                write_json(record, {"failed": f"unexpected {type(error).__name__}: {error}"})
                shutil.rmtree(work, ignore_errors=True)
            else:
                if learnt.status != "finished":
                    raise Preempted if learnt.status == "preempted" else KeyboardInterrupt
                kept.result()
                kept = writer.submit(_keep, learnt, record, work)
        kept.result()


def _keep(learnt: Learnt, record: Path, work: Path) -> None:
    write_weights(record.with_suffix(".safetensors"), learnt.weights)
    write_json(record, {**learnt.entry("", digest_of(learnt.weights)), "packed": True, "seconds": round(learnt.seconds, 3)})
    shutil.rmtree(work, ignore_errors=True)


def _without(config: AdaptManyConfig) -> dict[str, Any]:
    return {key: value for key, value in config.model_dump().items() if key not in ("species", "species_per_task")}


def _read_ahead(learner: Learner, names: Sequence[str], config: AdaptManyConfig) -> None:
    """Decode and encode the photographs of several species at once, rather than one by one."""
    every = learner.collection.training()
    known = [name for name in names if name in learner.collection.species]
    chosen: set[str] = set()
    for name in known:
        with suppress(SyntypeError):
            chosen |= set(choose_photographs(learner.collection, name, config.shots, config.seed).table["image_id"])
    if chosen:
        photographs = every.where(every.table["image_id"].isin(chosen))
        photographs.pixels(learner.base.model.config.shape)
        if config.method != "encode":
            learner.relatives.features(photographs)


class _Book:
    """What is learnt, and what failed. ``take`` moves what a task has learnt into the generator's folder; ``save`` writes the tables."""

    def __init__(self, out: Path, learner: Learner, wanted: Sequence[str]) -> None:
        self.out, self.learner, self.wanted = out, learner, tuple(wanted)
        self.done: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, str] = {}
        self._taken: list[Path] = []
        self._saved = time.monotonic()
        self._before = {str(entry["species"]) for entry in learner.generator.info.get("adapters", [])}
        (out / "adapters").mkdir(parents=True, exist_ok=True)
        if (out / "generator.json").is_file():
            entries = read_generator_info(out)[0]["adapters"]
            self.done = {entry["species"]: entry for entry in entries if entry["species"] not in self._before}
        before = {entry["file"] for entry in learner.generator.info.get("adapters", [])}
        used = {entry["file"] for entry in self.done.values()} | before
        for path in (out / "adapters").iterdir():  # of a call that was killed before it wrote the tables
            if f"adapters/{path.name}" not in used:
                path.unlink()
        for name in before:
            if not (out / name).is_file():
                _link(inside(learner.generator.folder, name), inside(out, name))

    def take(self, task: Path) -> None:
        """Take over what a task has learnt. Its folder is deleted when the tables are written."""
        if (task / "out").is_dir():  # of a job: a generator of its own
            entries = [one for one in read_json_object(task / "out" / "generator.json").get("adapters", []) if one["species"] not in self._before]
            for file in dict.fromkeys(entry["file"] for entry in entries):
                name = self._next_file()
                _link(inside(task / "out", file), self.out / name)
                self._add({**entry, "file": name} for entry in entries if entry["file"] == file)
            self._take_reasons(task)
        else:
            self._pack(task)
        self._taken.append(task)
        if time.monotonic() - self._saved > _SAVE_SECONDS:
            self.save()

    def fail(self, task: Path, reason: str) -> None:
        """Record why a task has ended. Its folder stays, so that the next call continues it."""
        self._take_reasons(task)
        for name in _names_of(task):
            if name not in self.done:
                self.failed.setdefault(name, reason)

    def save(self) -> str | None:
        """Write ``generator.json`` and ``species.csv``; returns the generator_id, None if no species is learnt."""
        learner, order = self.learner, {name: place for place, name in enumerate(self.wanted)}
        self.done = dict(sorted(self.done.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))
        generator_id = None
        if self.done:
            every = learner.collection.training()
            learnt = {image for entry in self.done.values() for image in entry["photographs"]}
            photographs = every.where(every.table["image_id"].isin(learnt)).hashed()
            before = list(learner.generator.info.get("adapters", []))
            generator_id = write_adapted(self.out, learner.generator, learner.known, learner.base, [*before, *self.done.values()], photographs)
        with atomic_write(self.out / TABLE) as temporary:
            pd.DataFrame(list(self._rows()), columns=list(_COLUMNS)).to_csv(temporary, index=False, lineterminator="\n")
        for task in self._taken:
            shutil.rmtree(task, ignore_errors=True)
        self._taken, self._saved = [], time.monotonic()
        return generator_id

    def _rows(self) -> Iterator[dict[str, Any]]:
        for name in dict.fromkeys([*self.done, *self.wanted]):
            if name in self.done:
                entry = self.done[name]
                told = {key: entry.get(key) for key in ("relative", "method", "steps", "seconds", "file", "sha256")}
                yield {"species": name, "status": "done", "photographs": len(entry["photographs"]), **told}
            elif name in self.failed:
                yield {"species": name, "status": "failed", "reason": self.failed[name]}
            else:
                yield {"species": name, "status": "missing"}

    def _take_reasons(self, task: Path) -> None:
        table = task / "out" / TABLE
        if table.is_file():
            failed = pd.read_csv(table, keep_default_na=False, dtype=str).query("status == 'failed'")
            self.failed |= dict(zip(failed["species"], failed["reason"], strict=True))

    def _pack(self, task: Path) -> None:
        """Put the species of a task that was done here into one file."""
        name, entries, weights = self._next_file(), [], {}
        for number, species in enumerate(_names_of(task)):
            entry = read_json_object(task / f"{number:04d}.json")
            if "failed" in entry:
                self.failed[species] = entry["failed"]
            else:
                entries.append({**entry, "file": name})
                weights[species] = load_file(task / f"{number:04d}.safetensors")
        if entries:
            write_shard(self.out / name, weights)
            self._add(entries)

    def _add(self, entries: Iterable[dict[str, Any]]) -> None:
        self.done |= {entry["species"]: entry for entry in entries}
        for name in self.done.keys() & self.failed.keys():
            del self.failed[name]

    def _next_file(self) -> str:
        numbers = [int(path.stem) for path in (self.out / "adapters").glob("*.safetensors") if path.stem.isdigit()]
        return f"adapters/{max(numbers, default=-1) + 1:04d}.safetensors"


def _link(file: Path, place: Path) -> None:
    """Give a file, which never changes, a second name; copy it where the disk has no links."""
    place.unlink(missing_ok=True)
    try:
        os.link(file, place)
    except OSError:
        with atomic_write(place) as temporary:
            shutil.copyfile(file, temporary)

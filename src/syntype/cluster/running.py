"""Runs jobs at a place until all have ended: submits, looks, starts again what died, and remembers what it has submitted.

FOLDER/
  jobs.json   what has been submitted and has not ended: name -> identifier and folder of its files
  0001/ ...   one folder a session: logs, and what submitit keeps; the files of a job are deleted when it has succeeded
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syntype.cluster.jobs import STOPPED, Job
from syntype.cluster.places import BusyError, Place, place_of
from syntype.cluster.settings import Cluster
from syntype.errors import SyntypeError, UserError, shortened
from syntype.files import read_json_object, write_json
from syntype.run import Run

__all__ = ["JobState", "cancel_jobs", "job_states", "run_jobs"]

_MOST_BUSY_SECONDS = 3600.0
"""Slurm may take no jobs for this long before the command gives up."""
_RECORD = "jobs.json"


@dataclass(frozen=True)
class JobState:
    """What ``jobs.json`` knows of a job that has not ended, or has ended since the last look.

    Attributes:
        name: Of the job.
        identifier: At its place: Slurm's job number, or the number of a process.
        alive: Whether it waits or runs.
        log: File with its messages; it may not exist yet.
    """

    name: str
    identifier: str
    alive: bool
    log: Path


@dataclass
class _Submitted:
    job: Job
    identifier: str
    folder: str
    gone_since: float | None = None


def run_jobs(jobs: Sequence[Job], cluster: Cluster, folder: Path, run: Run, *, arrived: Callable[[str], None] = lambda name: None) -> dict[str, str]:
    """Run jobs, and wait until all have ended.

    Jobs that an earlier call in the same folder submitted, and that still wait or run, are waited for and not submitted again. Ctrl-C ends jobs
    of this machine; those of a cluster go on.

    Args:
        jobs: Their names are unique.
        cluster: Where they run.
        folder: For logs and records; see the head of this module.
        run: Shows progress.
        arrived: Called with the name of each job that has ended well, as soon as this is known.

    Returns:
        the reason for each job that failed, by its name.

    Raises:
        UnsupportedError: submitit or Slurm is missing.
        InputError: Slurm refuses the jobs.
        KeyboardInterrupt: After Ctrl-C or a warning of the cluster.
    """
    if cluster.executor == "here" or not jobs:
        return _run_here(jobs, run, arrived)
    return _Session(jobs, cluster, folder, run, arrived).run_all()


def _run_here(jobs: Sequence[Job], run: Run, arrived: Callable[[str], None]) -> dict[str, str]:
    failures = {}
    for job in jobs:
        try:
            job.work()
        except UserError:
            raise
        except SyntypeError as error:
            failures[job.name] = str(error)
        else:
            arrived(job.name)
    return failures


class _Session:
    """One call of ``run_jobs`` at a place."""

    def __init__(self, jobs: Sequence[Job], cluster: Cluster, folder: Path, run: Run, arrived: Callable[[str], None]) -> None:
        self.cluster, self.folder, self.run, self.arrived = cluster, folder, run, arrived
        self.number, record = _next_number(folder), _record(folder)
        self.place: Place = place_of(cluster, folder / self.number)
        known = record["jobs"] if record["executor"] == cluster.executor else {}
        alive = self.place.alive([entry["id"] for entry in known.values()])
        self.there: dict[str, _Submitted] = {}
        self.waiting: deque[Job] = deque()
        for job in jobs:
            entry = known.get(job.name)
            if entry is not None and (entry["id"] in alive or _outcome(folder / entry["folder"], entry["id"]) is not None):
                self.there[job.name] = _Submitted(job, entry["id"], entry["folder"])
            else:
                self.waiting.append(job)
        if self.there:
            run.say(f"{len(self.there)} jobs of before are still there; they are waited for.")
        self.total, self.tries, self.failures = len(jobs), Counter[str](), dict[str, str]()
        self.busy_since: float | None = None

    def run_all(self) -> dict[str, str]:
        try:
            with self.run.progress("jobs", self.total) as bar:
                while self.waiting or self.there:
                    self._look()
                    self._fill()
                    bar.set(self.total - len(self.waiting) - len(self.there), self._told())
                    if self.waiting or self.there:
                        time.sleep(self.cluster.poll_seconds)
        except BaseException:
            if self.cluster.executor == "processes":
                self.place.cancel([one.identifier for one in self.there.values()])
            raise
        finally:
            with suppress(OSError):  # it holds what is left of jobs that failed or go on
                (self.folder / self.number).rmdir()
        return self.failures

    def _told(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"{len(self.there)} submitted, {len(self.waiting)} waiting{failed}"

    def _look(self) -> None:
        alive = self.place.alive([one.identifier for one in self.there.values()])
        for name, one in list(self.there.items()):
            outcome = _outcome(self.folder / one.folder, one.identifier)
            if one.identifier in alive and (outcome is None or not self.place.lingers):
                one.gone_since = None
                continue
            if outcome is None:  # its result may take a while to be seen on a shared disk
                one.gone_since = one.gone_since or time.monotonic()
                if time.monotonic() - one.gone_since < self.place.grace:
                    continue
            del self.there[name]
            self._end(one, outcome)
            self._save()

    def _end(self, one: _Submitted, outcome: str | None) -> None:
        name, folder = one.job.name, self.folder / one.folder
        if outcome == "":
            _forget(folder, one.identifier)
            self.arrived(name)
        elif outcome == STOPPED:
            self.waiting.append(one.job)
        elif outcome is not None:
            self._fail(one, outcome)
        else:
            self.tries[name] += 1
            self.run.event("job", name=name, died=one.identifier, times=self.tries[name])
            if self.tries[name] <= self.cluster.retries:
                self.waiting.append(one.job)
            else:
                self._fail(one, f"its process or node died {self.tries[name]} times, perhaps because memory ran out")

    def _fail(self, one: _Submitted, reason: str) -> None:
        log = _log(self.folder / one.folder, one.identifier)
        self.failures[one.job.name] = reason
        self.run.event("job", name=one.job.name, failed=reason, log=str(log))

    def _fill(self) -> None:
        free = self.place.capacity - len(self.there)
        if not self.waiting or free < min(len(self.waiting), self.place.fewest):
            return
        chosen = [self.waiting.popleft() for _ in range(min(free, len(self.waiting)))]
        try:
            identifiers = self.place.submit(chosen)
        except BusyError as error:
            self.waiting.extendleft(reversed(chosen))
            self.busy_since = self.busy_since or time.monotonic()
            if time.monotonic() - self.busy_since > _MOST_BUSY_SECONDS:
                raise
            self.run.event("busy", reason=shortened(error, 200))
            return
        self.busy_since = None
        self.there |= {job.name: _Submitted(job, one, self.number) for job, one in zip(chosen, identifiers, strict=True)}
        self._save()

    def _save(self) -> None:
        jobs = {name: {"id": one.identifier, "folder": one.folder} for name, one in self.there.items()}
        write_json(self.folder / _RECORD, {"executor": self.cluster.executor, "jobs": jobs})


def job_states(folder: Path, cluster: Cluster | None = None) -> list[JobState]:
    """The jobs that a command has submitted and not yet seen end.

    Args:
        folder: As given to ``run_jobs``.
        cluster: The cluster file with which they were submitted; only its kind of executor matters, and without it that of the record is taken.
    """
    record = _record(folder)
    if not record["jobs"]:
        return []
    place = place_of(cluster or Cluster(executor=record["executor"]), folder)
    alive = place.alive([entry["id"] for entry in record["jobs"].values()])
    return [JobState(name, entry["id"], entry["id"] in alive, _log(folder / entry["folder"], entry["id"])) for name, entry in record["jobs"].items()]


def cancel_jobs(folder: Path) -> int:
    """Cancel the jobs that a command has submitted; returns how many were still there."""
    there = [state.identifier for state in job_states(folder) if state.alive]
    if there:
        place_of(Cluster(executor=_record(folder)["executor"]), folder).cancel(there)
    return len(there)


def _record(folder: Path) -> dict[str, Any]:
    record = read_json_object(folder / _RECORD)
    jobs = record.get("jobs")
    good = isinstance(jobs, dict) and all(isinstance(one, dict) and {"id", "folder"} <= one.keys() for one in jobs.values())
    return record if good and record.get("executor") in ("processes", "slurm") else {"executor": "processes", "jobs": {}}


def _next_number(folder: Path) -> str:
    numbers = [int(path.name) for path in folder.iterdir() if path.name.isdigit()] if folder.is_dir() else []
    return f"{max(numbers, default=0) + 1:04d}"


def _files(folder: Path, identifier: str) -> Iterable[Path]:
    return folder.glob(f"{identifier}_*")


def _log(folder: Path, identifier: str) -> Path:
    """The file with a job's messages: submitit keeps standard error apart for processes of this machine."""
    names = sorted(_files(folder, identifier), key=lambda path: path.suffix != ".err")
    return next((path for path in names if path.suffix in (".err", ".out")), folder / f"{identifier}_0_log.out")


def _outcome(folder: Path, identifier: str) -> str | None:
    """What the attempt at a job returned (``jobs.Attempt``); None if it has not ended, or has died."""
    from submitit import LocalJob

    job: Any = LocalJob(folder, identifier)  # of any place: only the files are read, which are named alike
    if not job.paths.result_pickle.exists():
        return None
    if job.exception() is not None:
        return f"the job could not be begun; the messages: {_log(folder, identifier)}"
    return str(job.result())


def _forget(folder: Path, identifier: str) -> None:
    for path in _files(folder, identifier):
        path.unlink(missing_ok=True)
    if "_" in identifier and not any(folder.glob(f"{identifier.partition('_')[0]}_[0-9]*")):  # the last of an array
        (folder / f"{identifier.partition('_')[0]}_submission.sh").unlink(missing_ok=True)

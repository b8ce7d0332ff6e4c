"""Jobs of the Studio that run where a cluster file says: given to Slurm, or to submitit's processes, and found again by every later server.

A job's folder lies on a disk that the server and the nodes share. Besides what ``processes`` keeps there, it holds

    ticket     number of this start, written before the job is given away. A node begins only while it is there, so that nothing runs twice
    number     the job's number at its place, written by the server when it is told, and by the node when it begins
    stop       what the server asks of the node: to save the work and end, or to end at once
    beat       the node writes it anew every few seconds, as a sign of life
    cluster/   submitit's files and the messages of the start itself, which are shown if the job never begins

A server that is killed between giving a job away and writing its number finds the job by its name, which holds the ticket.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from syntype.apps.web.processes import TICKET, JobProcess
from syntype.cluster import RESUME, Cluster, Job
from syntype.cluster.places import BusyError, State, place_of

__all__ = ["BusyError", "ClusterProcess", "Elsewhere"]

_LOOK_SECONDS = 1.0
_BEAT_SECONDS = 5.0
_ALIVE_SECONDS = 30.0
"""A job that its place does not know is alive while it gave a sign of life this short a time ago."""
_LOCK_SECONDS = 60.0
"""How long a node waits for the end of an earlier start that still holds the job's folder."""
_SAVE, _AT_ONCE = "save", "at once"
_NUMBERS = {"slurm": "SLURM_JOB_ID", "local": "SUBMITIT_LOCAL_JOB_ID"}
"""Environment variable with a job's number, by what submitit calls its place."""


class Elsewhere:
    """The place of a cluster file, which is asked for all jobs together, and at most once in ``poll_seconds``. For the queue's thread alone.

    Args:
        cluster: not ``here``.
        folder: any on a disk that the nodes share.

    Attributes:
        at_once: number of jobs that may be there at the same time.
        grace: seconds that may pass between the end of a job and the moment at which its result can be seen.

    Raises:
        UnsupportedError: submitit or Slurm is missing.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self._place = place_of(cluster, folder)
        self.at_once = min(self._place.capacity, cluster.parallel) if cluster.executor == "slurm" else self._place.capacity
        self.grace = max(self._place.grace, _BEAT_SECONDS)
        self._states: dict[str, State] = {}
        self._asked = self._busy = -math.inf

    @property
    def takes_jobs(self) -> bool:
        """False for a moment after it has taken none."""
        return time.monotonic() > self._busy

    def submit(self, job: Job, name: str, folder: Path) -> str:
        """Give a job away; returns its number.

        Args:
            folder: for submitit's files.

        Raises:
            BusyError: the place takes no jobs at the moment.
            InputError: it refuses the job.
        """
        try:
            number = place_of(self.cluster, folder, requeue=False).submit([job], name)[0]
        except BusyError:
            self._busy = time.monotonic() + max(self.cluster.poll_seconds, _BEAT_SECONDS)
            raise
        self._states[number] = "waits"
        return number

    def find(self, name: str) -> str | None:
        """See ``Place.find``."""
        return self._place.find(name)

    def state(self, number: str) -> State:
        """The state of a job at its place."""
        if number not in self._states or time.monotonic() - self._asked > self.cluster.poll_seconds:
            self._states = self._place.states([*self._states, number])
            self._asked = time.monotonic()
        return self._states[number]

    def last_state(self, number: str) -> State:
        """The same as it was told last. Any thread may ask."""
        return self._states.get(number, "unknown")

    def forget(self, number: str | None) -> None:
        """A job has ended: its place is not asked for it any more."""
        if number is not None:
            self._states.pop(number, None)

    def end(self, number: str, *, waiting_alone: bool) -> None:
        """See ``Place.end``."""
        self._place.end([number], waiting_alone=waiting_alone)


class ClusterProcess(JobProcess):
    """The process of one job at a place of a cluster file."""

    outlives = True

    def __init__(self, folder: Path, elsewhere: Elsewhere) -> None:
        super().__init__(folder)
        self._elsewhere = elsewhere
        self._begin_again()

    def _begin_again(self) -> None:
        self._state: State = "unknown"
        self._beat, self._seen, self._searched = "", -math.inf, -math.inf
        self._gone_since: float | None = None
        self._exit_since: float | None = None

    def clear(self) -> None:
        """Forget how an earlier start ended."""
        super().clear()
        self._elsewhere.forget(_read(self.folder / "number"))
        for name in ("number", "stop", "beat"):
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "cluster", ignore_errors=True)
        self._begin_again()

    def start(self, command: Sequence[str], run_id: str) -> None:
        """Give the job to its place.

        Raises:
            BusyError: the place takes no jobs at the moment; nothing was started.
            InputError: a process holds the folder already, or the place refuses the job.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clear()
        ticket = uuid.uuid4().hex
        (self.folder / "stop").touch()
        (self.folder / TICKET).write_text(ticket, encoding="ascii")
        work = _Work(str(self.folder), ticket, tuple(command), run_id)
        try:
            number = self._elsewhere.submit(Job(self.folder.name, work), self._name(ticket), self.folder / "cluster" / ticket)
        except BaseException:
            (self.folder / TICKET).unlink(missing_ok=True)  # if it was taken all the same, the node finds that it is not wanted
            raise
        (self.folder / "number").write_text(number, encoding="ascii")

    def is_alive(self) -> bool:
        """Whether it waits or runs; also while nobody can say."""
        ticket = _read(self.folder / TICKET)
        if self._is_locked() or ticket is None:  # without a ticket it was started by a server without a cluster
            return self._is_locked()
        code = self.exit_code()
        there = code in (None, RESUME) and self._is_there(ticket, code)
        if not there:
            self._elsewhere.forget(_read(self.folder / "number"))
        return there

    def _is_there(self, ticket: str, code: int | None) -> bool:
        self._state = self._ask(ticket)
        if self._state in ("waits", "runs", "unknown") or (self._state == "gone" and self._gives_a_sign()):
            self._gone_since = None
            return True
        if code is not None:  # it was stopped from outside; its place knows now whether somebody cancelled it
            return False
        if self._gone_since is None:  # its exit code may take a while to be seen on a shared disk
            self._gone_since = time.monotonic()
        return time.monotonic() - self._gone_since < self._elsewhere.grace

    def _ask(self, ticket: str) -> State:
        number = _read(self.folder / "number")
        if number is None:
            if time.monotonic() - self._searched < self._elsewhere.cluster.poll_seconds:
                return self._state
            self._searched = time.monotonic()
            try:
                number = self._elsewhere.find(self._name(ticket))
            except BusyError:
                return "unknown"
            if number is None:
                return "gone"
            (self.folder / "number").write_text(number, encoding="ascii")
        return self._elsewhere.state(number)

    def _name(self, ticket: str) -> str:
        return f"syntype-job-{self.folder.name}-{ticket}"

    def _gives_a_sign(self) -> bool:
        beat = _read(self.folder / "beat") or ""
        if beat != self._beat:
            self._beat, self._seen = beat, time.monotonic()
        return time.monotonic() - self._seen < _ALIVE_SECONDS

    def settled(self) -> bool:
        """Whether its files must be visible here, after its exit code is."""
        self._exit_since = self._exit_since or time.monotonic()
        return time.monotonic() - self._exit_since >= self._elsewhere.grace

    def stop(self, *, at_once: bool = False, by: signal.Signals = signal.SIGINT) -> bool:
        """Ask the node to let the work be saved and end, or to end it at once. A job that waits in the place's queue leaves it."""
        if _read(self.folder / TICKET) is None:
            return super().stop(at_once=at_once, by=by)
        (self.folder / "stop").write_text(_AT_ONCE if at_once else _SAVE, encoding="ascii")
        if (number := _read(self.folder / "number")) is not None:
            self._elsewhere.end(number, waiting_alone=not at_once)
        return True

    def doing(self) -> str | None:
        """Where a job is that has not begun."""
        number = _read(self.folder / "number")
        if number is None or (self.folder / "start").exists():
            return None
        told = {"waits": "Waiting for its turn on the cluster", "unknown": "The cluster does not answer; waiting"}
        return f"{told.get(self._elsewhere.last_state(number), 'Starting on the cluster')} (job {number} there)"

    def given_up(self) -> str | None:
        """Somebody has cancelled it at its place."""
        return f"job {_read(self.folder / 'number')} of the cluster was cancelled there" if self._state == "cancelled" else None

    def cause(self, starts: int) -> str:
        """Also if it never began."""
        if (self.folder / "start").exists():
            return super().cause(starts)
        return f"it was started {starts} times on the cluster, and never began. Its last message there: {self.last_line() or 'none'}"

    def log(self, limit: int = 20_000) -> str:
        """The end of the log; of a job that has not begun, that of its place."""
        told = super().log(limit)
        if (self.folder / "start").exists() or not (self.folder / "cluster").is_dir():
            return told
        files = sorted((self.folder / "cluster").glob("*/*_log.*"), key=lambda path: (path.stat().st_mtime, path.suffix == ".err"))
        return told + "".join(path.read_text(encoding="utf-8", errors="replace") for path in files)[-limit:]


@dataclass(frozen=True)
class _Work:
    """What runs on the node: starts the job's process, passes on what is asked of it, and waits for its end."""

    folder: str
    ticket: str
    command: tuple[str, ...]
    run_id: str

    def __call__(self) -> None:
        folder, warned = Path(self.folder), list[int]()
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):  # in place of submitit's own, which put the job into the queue again
            signal.signal(number, lambda which, _frame: warned.append(which))
        process = JobProcess(folder)
        if not self._begin(process):
            return
        beats, last, done = 0, -math.inf, ""
        while process.is_alive():
            if time.monotonic() - last >= _BEAT_SECONDS:
                beats, last = beats + 1, time.monotonic()
                with suppress(OSError):
                    (folder / "beat").write_text(str(beats), encoding="ascii")
            if warned and not done and process.stop(by=signal.SIGUSR1):
                done = "warned"
            asked = _read(folder / "stop")
            if asked is not None and asked != done and process.stop(at_once=asked == _AT_ONCE):
                done = asked
            time.sleep(_LOOK_SECONDS)

    def _begin(self, process: JobProcess) -> bool:
        until = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                return process.launch(self.command, self.run_id, self._wanted)
            except BlockingIOError:  # an earlier start is just ending
                if time.monotonic() > until:
                    raise
                time.sleep(_LOOK_SECONDS / 5)

    def _wanted(self) -> bool:
        folder = Path(self.folder)
        if _read(folder / TICKET) != self.ticket or _read(folder / "stop"):
            return False
        place = os.environ.get("SUBMITIT_EXECUTOR")
        if place in _NUMBERS and (number := os.environ.get(_NUMBERS[place])):
            (folder / "number").write_text(number, encoding="ascii")
        return True


def _read(path: Path) -> str | None:
    """What a file says; None if it says nothing, or is not there."""
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None

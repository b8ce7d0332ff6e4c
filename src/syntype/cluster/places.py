"""Where jobs run elsewhere than in this process: processes of this machine and Slurm, both through submitit."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol

from syntype.cluster.jobs import Attempt, Job
from syntype.cluster.settings import Cluster
from syntype.errors import InputError, UnsupportedError, shortened

__all__ = ["BusyError", "Place", "Processes", "Slurm", "State", "place_of"]

_MANY_TIMEOUTS = 10_000
"""A job may use up its time this often: each time it continues from its last checkpoint."""
_CANCEL_SECONDS = 60.0
_TRANSIENT = ("Unable to contact", "Connection refused", "Socket timed out", "temporarily", "SubmitJob", "Zero Bytes", "communication")
"""Words in an error message of Slurm after which the same request may succeed later: the controller is away, or the user has too many jobs."""
_ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT")
"""States of Slurm from which a job does not come back by itself."""


State = Literal["waits", "runs", "ended", "cancelled", "gone", "unknown"]
"""Of a job: ``cancelled`` if somebody has ended it, ``gone`` if its place does not know it, ``unknown`` while nobody can say."""
NAME = "syntype"


class BusyError(Exception):
    """Slurm takes no jobs at the moment."""


class Place(Protocol):
    """Where jobs run.

    Attributes:
        capacity: Number of jobs that may be there at the same time.
        fewest: Jobs are submitted this many at a time, or more; fewer if no more are left.
        grace: Seconds that may pass between the end of a job and the moment at which its result can be seen.
        lingers: Whether a job may be there for a while after its result is.
    """

    capacity: int
    fewest: int
    grace: float
    lingers: bool

    def submit(self, jobs: Sequence[Job], name: str = NAME) -> list[str]:
        """Start jobs; returns an identifier for each. ``name``: what the place calls them all."""

    def states(self, identifiers: Collection[str]) -> dict[str, State]:
        """The state of each."""

    def find(self, name: str) -> str | None:
        """The identifier of the job that was submitted under a name of its own; None if the place knows of none."""

    def alive(self, identifiers: Collection[str]) -> set[str]:
        """Those that wait or run. All of them while nobody can say."""

    def end(self, identifiers: Collection[str], *, waiting_alone: bool = False) -> None:
        """Ask once that jobs be ended, or only those of them that do not run yet."""

    def cancel(self, identifiers: Collection[str]) -> None:
        """End those that wait or run."""


def place_of(cluster: Cluster, folder: Path, *, requeue: bool = True) -> Place:
    """The place that a cluster file names.

    Args:
        cluster: Settings; not ``here``.
        folder: For logs, and for what submitit keeps. On a cluster it must lie on a disk that the nodes share.
        requeue: Whether Slurm may start a job again by itself, for example after its node has died.

    Raises:
        UnsupportedError: submitit or Slurm is missing.
    """
    try:
        import submitit  # noqa: F401
    except ModuleNotFoundError:
        raise UnsupportedError("jobs need the library submitit, which is not installed. Install it with: pip install 'syntype[cluster]'") from None
    folder.mkdir(parents=True, exist_ok=True)
    return Processes(cluster, folder) if cluster.executor == "processes" else Slurm(cluster, folder, requeue=requeue)


class Processes:
    """Processes of this machine."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        import submitit

        self.capacity, self.fewest, self.grace, self.lingers = cluster.workers, 1, 0.0, False
        self._executor, self._own = submitit.LocalExecutor(folder, max_num_timeout=_MANY_TIMEOUTS), dict[str, Any]()
        self._executor.update_parameters(timeout_min=60 * 24 * 365, gpus_per_node=cluster.gpus)
        self._environment = _environment(cluster)

    def submit(self, jobs: Sequence[Job], name: str = NAME) -> list[str]:
        """Start a process for each job."""
        with _variables(self._environment), _heeding_sigint():
            made = [self._executor.submit(Attempt(job.work)) for job in jobs]
        self._own |= {job.job_id: job for job in made}
        return [job.job_id for job in made]

    def states(self, identifiers: Collection[str]) -> dict[str, State]:
        """``runs`` or ``ended``."""
        there = self.alive(identifiers)
        return {one: "runs" if one in there else "ended" for one in identifiers}

    def find(self, name: str) -> str | None:
        """Processes have no names."""
        return None

    def alive(self, identifiers: Collection[str]) -> set[str]:
        """Those whose process runs."""
        return {one for one in identifiers if (not self._own[one].done() if one in self._own else _runs_submitit(int(one)))}

    def end(self, identifiers: Collection[str], *, waiting_alone: bool = False) -> None:
        """As ``cancel``; none of them waits."""
        if not waiting_alone:
            self.cancel(identifiers)

    def cancel(self, identifiers: Collection[str]) -> None:
        """Ask the processes to save their work and to end."""
        for one in self.alive(identifiers):
            with suppress(ProcessLookupError):
                os.kill(int(one), signal.SIGINT)


def _runs_submitit(process: int) -> bool:
    """Whether a process that an earlier command started is still there: its number may have gone to another program since."""
    try:
        return b"submitit" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


class Slurm:
    """A cluster with Slurm. Jobs are submitted as arrays."""

    def __init__(self, cluster: Cluster, folder: Path, *, requeue: bool = True) -> None:
        import submitit

        if missing := [name for name in ("sbatch", "squeue", "scancel", "srun") if shutil.which(name) is None]:
            raise UnsupportedError(
                f"Slurm's command {missing[0]} is not on this machine. Run this on the cluster's login node, or use another executor."
            )
        self.capacity, self.fewest, self.grace, self.lingers = cluster.most_queued, max(1, cluster.most_queued // 2), 20.0, True
        self._executor = submitit.SlurmExecutor(folder, max_num_timeout=_MANY_TIMEOUTS, python=cluster.python)
        wanted = {
            "partition": cluster.partition, "account": cluster.account, "qos": cluster.qos, "constraint": cluster.constraint,
            "mem": None if cluster.memory_gb is None else f"{round(cluster.memory_gb * 1024)}MB",
            "gpus_per_node": cluster.gpus or None,
        }  # fmt: skip
        exports = [f"export {name}={shlex.quote(value)}" for name, value in _environment(cluster).items()]
        self._executor.update_parameters(
            time=cluster.minutes, cpus_per_task=cluster.cpus, nodes=1, signal_delay_s=cluster.warning_seconds,
            array_parallelism=cluster.parallel, setup=[*exports, *cluster.setup], stderr_to_stdout=True,
            additional_parameters={"requeue" if requeue else "no-requeue": True, **cluster.options},
            srun_args=["--cpus-per-task", str(cluster.cpus)], **{name: value for name, value in wanted.items() if value is not None},
        )  # fmt: skip

    def submit(self, jobs: Sequence[Job], name: str = NAME) -> list[str]:
        """Submit an array of at most ``capacity`` jobs.

        Raises:
            BusyError: Slurm takes no jobs at the moment.
            InputError: Slurm refuses the jobs.
        """
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        self._executor.update_parameters(job_name=name)
        try:
            made = self._executor.submit_array([Attempt(job.work) for job in jobs])
        except (FailedJobError, FailedSubmissionError, subprocess.SubprocessError, OSError) as error:
            told = " ".join(str(error).split())
            if any(word in told for word in _TRANSIENT):
                raise BusyError(told) from None
            reason = told.rpartition("error:")[2].strip() or told
            raise InputError(f"Slurm refuses the jobs ({shortened(reason, 200)})", "Correct the cluster file.") from None
        return [job.job_id for job in made]

    def states(self, identifiers: Collection[str]) -> dict[str, State]:
        """By ``squeue``: unlike ``sacct`` it needs no accounting, which not every site has. It forgets a job some minutes after its end."""
        arrays = sorted({one.partition("_")[0] for one in identifiers})
        told: dict[str, str] = {}
        for start in range(0, len(arrays), 200):
            lines = _squeue("--array", "--jobs", ",".join(arrays[start : start + 200]))
            if lines is None:
                return dict.fromkeys(identifiers, "unknown")
            told |= dict(lines)
        return {one: _state(told[one]) if one in told else "gone" for one in identifiers}

    def find(self, name: str) -> str | None:
        """By ``squeue``.

        Raises:
            BusyError: The controller is away.
        """
        lines = _squeue("--me", "--name", name)
        if lines is None:
            raise BusyError("Slurm does not answer")
        return lines[-1][0] if lines else None

    def alive(self, identifiers: Collection[str]) -> set[str]:
        """Those that wait or run."""
        return {one for one, state in self.states(identifiers).items() if state in ("waits", "runs", "unknown")}

    def end(self, identifiers: Collection[str], *, waiting_alone: bool = False) -> None:
        """A running one is killed, and has its last checkpoint."""
        more = ["--state=PENDING"] if waiting_alone else []
        if identifiers:
            subprocess.run(["scancel", *more, *identifiers], capture_output=True, check=False)

    def cancel(self, identifiers: Collection[str]) -> None:
        """Cancel the jobs, until they are gone: one that is just being put back into the queue has to be told again."""
        until = time.monotonic() + _CANCEL_SECONDS
        while (left := self.alive(identifiers)) and time.monotonic() < until:
            self.end(left)
            time.sleep(1)


def _squeue(*which: str) -> list[tuple[str, str]] | None:
    """Identifier and state of jobs, in the order in which they were submitted; None if Slurm does not answer."""
    command = ["squeue", "--noheader", "--states=all", "--sort=i", "--format=%i %T", *which]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode and "Invalid job id" not in asked.stderr:
        return None  # the controller is away
    return [(words[0], words[1]) for line in asked.stdout.splitlines() if len(words := line.split()) >= 2]


def _state(told: str) -> State:
    if told == "PENDING":
        return "waits"
    if told.startswith("CANCELLED"):
        return "cancelled"
    return "ended" if told.startswith(_ENDED) else "runs"


def _environment(cluster: Cluster) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(cluster.cpus), **cluster.environment}


@contextmanager
def _heeding_sigint() -> Iterator[None]:
    """What is started inside heeds SIGINT, by which ``cancel`` ends it. A shell starts commands in the background so that they, and all that they
    start, ignore it."""
    ignored = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _variables(values: dict[str, str]) -> Iterator[None]:
    """Environment variables for what is started inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

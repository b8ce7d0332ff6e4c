"""What runs in a job: a command line that resumes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from syntype.cluster.preemption import RESUME
from syntype.errors import SyntypeError, TrainingError

__all__ = ["STOPPED", "Attempt", "Command", "Job", "JobError"]

STOPPED = "stopped"
"""What ``Attempt`` returns for a job that was pre-empted."""
_LOOK_SECONDS = 0.1
_LAST_SECONDS = 600.0
"""A warned command may save its work for this long. The cluster usually ends it earlier."""


class JobError(TrainingError):
    """A job ended with an error; the message is its own."""


class _StoppedError(TrainingError):
    """A job was pre-empted. Its work is saved, and it has to be started again."""


@dataclass(frozen=True)
class Job:
    """A piece of work that can be done elsewhere.

    Attributes:
        name: Unique among the jobs of a folder; a file name's worth of letters.
        work: Can be pickled. Called a second time, it does only what is missing.
    """

    name: str
    work: Callable[[], Any]


class Attempt:
    """What a place calls: the work of a job, with errors as its result, so that they need no reading of tracebacks.

    Args:
        work: See ``Job``.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work

    def __call__(self) -> str:
        """Do the work. Returns the reason if it failed, ``STOPPED`` if it was pre-empted, and an empty text if it succeeded."""
        try:
            self.work()
        except _StoppedError:
            return STOPPED
        except SyntypeError as error:
            return str(error)
        except Exception as error:
            traceback.print_exc()
            return f"unexpected {type(error).__name__}: {error}"
        return ""

    def checkpoint(self) -> Any:
        """What submitit calls when the cluster warns the job: the work saves itself, if it can, and is started again."""
        from submitit.helpers import DelayedSubmission

        save = getattr(self.work, "save", None)
        if save is not None:
            save()
        return DelayedSubmission(self)


class Command:
    """A command line of Syntype as the work of a job. It passes warnings of the cluster on to the command, which saves its work.

    Args:
        arguments: As behind ``syntype``. The command must resume where it was stopped.
    """

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        self._process: subprocess.Popen[str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"arguments": self.arguments, "_process": None}

    def __call__(self) -> int:
        """Run the command to its end.

        Raises:
            JobError: It ended with an error, or was pre-empted.
        """
        line = [sys.executable, "-m", "syntype.apps.cli", *self.arguments]
        self._process = process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
        last = [""]

        def copy() -> None:
            assert process.stderr is not None
            with process.stderr as messages:
                for text in messages:
                    sys.stderr.write(text)
                    sys.stderr.flush()
                    last[0] = text.strip() or last[0]

        reader = threading.Thread(target=copy, daemon=True)
        reader.start()
        try:
            while not self._has_ended():
                time.sleep(_LOOK_SECONDS)
        except BaseException:
            process.terminate()
            raise
        code = process.wait()
        reader.join(timeout=5)
        if code == RESUME:
            _put_back_into_the_queue()
            raise _StoppedError("the job was pre-empted. Its work is saved; it continues when it is started again.")
        if code < 0:
            raise JobError(
                f"the process was killed by signal {-code} ({signal.Signals(-code).name}), perhaps because memory ran out. Start it again."
            )
        if code:
            raise JobError(f"{last[0].removeprefix('syntype: error: ') or 'no message'} (exit code {code})")
        return code

    def save(self) -> None:
        """Let the command save its work and end."""
        if self._process is not None and not self._has_ended():
            self._process.send_signal(signal.SIGUSR1)
            until = time.monotonic() + _LAST_SECONDS
            while not self._has_ended() and time.monotonic() < until:
                time.sleep(_LOOK_SECONDS)

    def _has_ended(self) -> bool:
        """Unlike ``Popen.poll``, this may be called by a signal's handler while it is already running: it takes no lock."""
        assert self._process is not None
        if not hasattr(os, "waitid"):  # macOS, before Python 3.13
            return self._process.poll() is not None
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _put_back_into_the_queue() -> None:
    """Inside a Slurm job: let Slurm start it again, if it is not about to do so by itself."""
    job = os.environ.get("SLURM_JOB_ID")
    if job and os.environ.get("SUBMITIT_EXECUTOR") == "slurm":
        asked = subprocess.run(["scontrol", "requeue", job], capture_output=True, check=False)
        if asked.returncode == 0:
            time.sleep(60)  # until Slurm ends this process; a result now would say that the job has failed

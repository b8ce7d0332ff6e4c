"""Servers and jobs that start at once: copied from a process that has imported what they need (several seconds), instead of from nothing.

``syntype serve`` itself is what ``start_server`` starts otherwise; ``python -m syntype.apps.web.worker`` itself is what
``test_a_job_that_cannot_be_is_refused_at_once_and_one_that_fails_says_why`` starts.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.reduction import DupFd
from types import SimpleNamespace
from typing import Any, BinaryIO

from syntype.apps.cli import main
from syntype.apps.web import looking, processes, queue
from syntype.apps.web.worker import work

PRELOADED = [
    *("accelerate", "cv2", "imagehash", "matplotlib.backends.backend_agg", "matplotlib.figure", "pyarrow.dataset", "pyarrow.parquet"),
    *("scipy.cluster.hierarchy", "scipy.fftpack", "scipy.ndimage", "timm", "torch._dynamo", "torch.utils.tensorboard"),
    *("syntype.adaptation", "syntype.apps.web.server", "syntype.apps.web.worker", "syntype.collection.importers", "syntype.curation"),
    *("syntype.generators.engine.training", "syntype.study", "syntype.synthesis.hybrids"),
]
"""Installed modules alone: the process that is copied does not look where the tests lie, and silently leaves out what it does not find."""
_ADDRESS = ("_forkserver_address", "_forkserver_authkey")  # the second since Python 3.14


class Descriptor:
    """A file descriptor that another process receives."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (DupFd(self.number),)


def _received(descriptor: Any) -> Descriptor:
    return Descriptor(descriptor.detach())


def _copy(target: Callable[..., None], *arguments: Any) -> Any:
    """A copy of the process that has imported everything, which does this."""
    process = multiprocessing.get_context("forkserver").Process(target=_copied, args=(target, *arguments), daemon=True)
    process.start()
    return process


def _copied(target: Callable[..., None], *arguments: Any) -> None:
    gc.freeze()  # the search for unreachable objects leaves out what all copies have, and so does not write to that memory
    target(*arguments)


class Popen:
    """Stands in for ``subprocess.Popen`` where the Studio starts a job."""

    def __init__(
        self, command: Sequence[str], *, stdin: int, stdout: BinaryIO, stderr: BinaryIO, pass_fds: Sequence[int], start_new_session: bool,
        env: Mapping[str, str],
    ) -> None:  # fmt: skip
        assert list(command[1:3]) == ["-m", "syntype.apps.web.worker"] and start_new_session
        streams = [Descriptor(number) for number in (stdout.fileno(), stderr.fileno(), pass_fds[0])]
        self._process = _copy(_work, streams, [command[3], *command[5:]], dict(env))
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode


def _work(streams: list[Descriptor], arguments: list[str], environment: dict[str, str]) -> None:
    os.setsid()
    os.environ.update(environment)
    output, log, lock = (stream.number for stream in streams)
    _write_to(output, log)
    folder, *command = arguments
    work([folder, str(lock), *command])


def _write_to(output: int, messages: int) -> None:
    for number, place in ((output, 1), (messages, 2)):
        os.dup2(number, place)
        os.close(number)
    sys.stdout, sys.stderr = (open(place, "w", encoding="utf-8", closefd=False) for place in (1, 2))  # noqa: SIM115  (the old ones know the old places)


def use(setattr: Callable[[Any, str, Any], None] = setattr) -> None:
    """From now on jobs of this process start so."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)  # of hybrids too
    setattr(queue, "_TICK", 0.1)  # what has ended is noticed at once, too
    if sys.platform == "linux":
        setattr(processes, "subprocess", SimpleNamespace(Popen=Popen, DEVNULL=subprocess.DEVNULL))
        setattr(processes.JobProcess, "_is_worker", lambda _, number: os.getpgid(number) == number)  # a copy has not the worker's command line


class Server:
    """Stands in for the ``subprocess.Popen`` of a server; its jobs, and what looks into uploads, are copies of the same process."""

    def __init__(self, arguments: list[str]) -> None:
        reading, writing = os.pipe()
        multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
        forkserver._forkserver.ensure_running()
        shared = {name: value for name in _ADDRESS if (value := getattr(forkserver._forkserver, name, None)) is not None}
        self._process = _copy(_serve, Descriptor(writing), arguments, shared)
        self.pid = self._process.pid
        os.close(writing)
        self.stdout = os.fdopen(reading)

    def send_signal(self, number: int) -> None:
        if self._process.is_alive():
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> None:
        self._process.join(timeout)
        self.stdout.close()
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("syntype serve", timeout or 0)


def _serve(output: Descriptor, arguments: list[str], shared: dict[str, Any]) -> None:
    multiprocessing.current_process().daemon = False  # otherwise it could have no jobs
    vars(forkserver._forkserver).update(shared, ensure_running=lambda: None)
    _write_to(output.number, os.open(os.devnull, os.O_WRONLY))
    use()
    looking.subprocess = SimpleNamespace(run=_run, DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired)  # type: ignore[assignment]
    sys.exit(main(["serve", *arguments]))


def _run(command: list[str], *, stdin: int, stdout: BinaryIO, stderr: BinaryIO, timeout: float, env: dict[str, str], check: bool) -> Any:
    """Stands in for ``subprocess.run`` where the Studio looks into an upload."""
    assert command[1] == "-c" and command[4] == "collect" and not check
    process = _copy(_look, [Descriptor(stdout.fileno()), Descriptor(stderr.fileno())], command[4:], env)
    process.join(timeout)
    if process.is_alive():
        process.kill()
        raise subprocess.TimeoutExpired(command, timeout)
    return subprocess.CompletedProcess(command, process.exitcode)


def _look(streams: list[Descriptor], arguments: list[str], environment: dict[str, str]) -> None:
    os.environ.update(environment)
    _write_to(*(stream.number for stream in streams))
    sys.exit(main(arguments))

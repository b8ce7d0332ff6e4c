"""Jobs that start at once: copied from a process that has imported what they need (several seconds), instead of from nothing.

``python -m syntype.apps.web.worker`` itself is what ``test_a_job_that_cannot_be_is_refused_at_once_and_one_that_fails_says_why`` starts.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.reduction import DupFd
from types import SimpleNamespace
from typing import Any, BinaryIO

from syntype.apps.web import processes, queue
from syntype.apps.web.worker import work

PRELOADED = [
    *("accelerate", "cv2", "imagehash", "matplotlib.backends.backend_agg", "matplotlib.figure", "pyarrow.dataset", "pyarrow.parquet"),
    *("scipy.cluster.hierarchy", "scipy.fftpack", "scipy.ndimage", "timm", "torch._dynamo", "torch.utils.tensorboard"),
    *("syntype.adaptation", "syntype.apps.web.queue", "syntype.apps.web.worker", "syntype.collection.importers", "syntype.curation"),
    *("syntype.generators.engine.training", "syntype.study", "syntype.synthesis.hybrids"),
]
"""Installed modules alone: the process that is copied does not look where the tests lie, and silently leaves out what it does not find."""


class Descriptor:
    """A file descriptor that another process receives."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (DupFd(self.number),)


def _received(descriptor: Any) -> Descriptor:
    return Descriptor(descriptor.detach())


class Popen:
    """Stands in for ``subprocess.Popen`` where the Studio starts a job."""

    def __init__(
        self, command: Sequence[str], *, stdin: int, stdout: BinaryIO, stderr: BinaryIO, pass_fds: Sequence[int], start_new_session: bool,
        env: Mapping[str, str],
    ) -> None:  # fmt: skip
        assert list(command[1:3]) == ["-m", "syntype.apps.web.worker"] and start_new_session
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        streams = [Descriptor(number) for number in (stdout.fileno(), stderr.fileno(), pass_fds[0])]
        self._process = context.Process(target=_work, args=(streams, [command[3], *command[5:]], dict(env)), daemon=True)
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode


def _work(streams: list[Descriptor], arguments: list[str], environment: dict[str, str]) -> None:
    gc.freeze()  # the search for unreachable objects leaves out what all copies have, and so does not write to that memory
    os.setsid()
    os.environ.update(environment)
    output, log, lock = (stream.number for stream in streams)
    for number, place in ((output, 1), (log, 2)):
        os.dup2(number, place)
        os.close(number)
    folder, *command = arguments
    work([folder, str(lock), *command])


def use(setattr: Callable[[Any, str, Any], None] = setattr) -> None:
    """From now on jobs of this process start so."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)  # of hybrids too
    setattr(queue, "_TICK", 0.1)  # what has ended is noticed at once, too
    if sys.platform == "linux":
        setattr(processes, "subprocess", SimpleNamespace(Popen=Popen, DEVNULL=subprocess.DEVNULL))
        setattr(processes.JobProcess, "_is_worker", lambda _, number: os.getpgid(number) == number)  # a copy has not the worker's command line

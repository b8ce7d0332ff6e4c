"""Pre-emption: a cluster takes a machine back, and the command saves its work and ends with an exit code that says "resume me".

Slurm warns a job with a signal before its time is up, before a more urgent job takes its place, and before a node is shut down. ``SIGUSR1``,
``SIGUSR2`` (which submitit uses) and ``SIGTERM`` are all taken as that warning. Ctrl-C (``SIGINT``) is a person's wish, and has another exit code.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["RESUME", "WARNINGS", "Preempted", "StopRequest", "preemptible", "stop_requests"]

RESUME = 75
"""Exit code of a command that was pre-empted: its work is saved, and the same command with ``--resume`` continues it. (EX_TEMPFAIL of sysexits.h)"""
WARNINGS = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2", "SIGTERM") if hasattr(signal, name))
"""Signals that announce the end of a job. Windows has the last alone."""


class Preempted(KeyboardInterrupt):
    """The machine is needed for something else. Stages stop as after Ctrl-C: what is finished is kept."""


class StopRequest:
    """Whether somebody has asked the work to stop.

    Attributes:
        asked: By Ctrl-C or by a warning.
        preempted: By a warning of the cluster.
    """

    def __init__(self) -> None:
        self.asked = self.preempted = False

    @property
    def status(self) -> str:
        """``preempted`` or ``interrupted``."""
        return "preempted" if self.preempted else "interrupted"


_active: list[StopRequest] = []
"""The outermost context of ``stop_requests``, if there is one."""


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """A context in which Ctrl-C and warnings are only noted, so that the work inside can stop at a good moment.

    A second Ctrl-C ends it at once. Warnings may come several times, as a cluster sends more than one of them, and change nothing then.
    Outside of the main thread, signals are left as they are. A context inside another one is the same.
    """
    if _active:
        yield _active[0]
        return
    stop = StopRequest()

    def interrupt(number: int, _frame: Any) -> None:
        stop.asked = True
        signal.signal(number, previous[signal.SIGINT])

    def warn(_number: int, _frame: Any) -> None:
        stop.asked = stop.preempted = True

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {signal.SIGINT: signal.signal(signal.SIGINT, interrupt)} | {number: signal.signal(number, warn) for number in WARNINGS}
    _active.append(stop)
    try:
        yield stop
    finally:
        _active.clear()
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def preemptible() -> Iterator[None]:
    """A context in which the first warning raises ``Preempted``; further ones do nothing, so that the work can be saved in peace.

    Outside of the main thread, signals are left as they are.

    Raises:
        Preempted: The cluster takes the machine back.
    """
    warned = False

    def warn(_number: int, _frame: Any) -> None:
        nonlocal warned
        if not warned:
            warned = True
            raise Preempted

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, warn) for number in WARNINGS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

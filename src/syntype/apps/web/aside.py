"""A process beside the server that does what needs PyTorch while somebody waits, as the server does not load it.

It does one task at a time, keeps what it has loaded, and ends when nobody has asked for a while. If it dies, or takes too long, it is started again
at the next task.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from starlette.exceptions import HTTPException

from syntype.errors import SyntypeError, UserError

__all__ = ["Aside", "attempt"]

_IDLE_SECONDS = 600
"""Time without requests after which the process ends and its memory is free."""
_WAIT = "3"
"""Seconds after which somebody who was sent away may ask again."""
CarryOut = Callable[..., tuple[bool, Any]]


class Aside:
    """The process, and who waits for it. Safe to use from several threads.

    Args:
        carry_out: does a task, given as its arguments, in the process: whether it succeeded, and the result or the message. A function of a module.
        seconds: longest time for one task.
    """

    busy = "many people are asking just now. Try again in a moment."
    slow = "this takes more than {seconds:.0f} s. Ask for less."
    dead = "the process that does this has ended, perhaps for want of memory. Try again."

    def __init__(self, carry_out: CarryOut, seconds: float) -> None:
        self._carry_out, self._seconds = carry_out, seconds
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._asked = 0
        self._process: Any = None
        self._pipe: Any = None
        self._idle: threading.Timer | None = None

    def close(self) -> None:
        """End the process."""
        if self._idle is not None:
            self._idle.cancel()
        self._end()

    @contextmanager
    def _counted(self, most: int) -> Iterator[None]:
        with self._lock:
            if self._asked >= most:
                raise HTTPException(503, self.busy, {"Retry-After": _WAIT})
            self._asked += 1
        try:
            yield
        finally:
            with self._lock:
                self._asked -= 1

    def _result(self, task: tuple[Any, ...]) -> Any:
        """Have the process do a task, whose turn it is.

        Raises:
            UserError: it did not succeed, with its message.
            HTTPException: 503, as it took too long.
        """
        try:
            good, result = self._ask(task)
        finally:
            self._end_later()
        if not good:
            raise UserError(result)
        return result

    def _ask(self, task: tuple[Any, ...]) -> tuple[bool, Any]:
        """Have the process do a task; whether it succeeded, and the result or the message."""
        for _ in range(2):  # it may have died since the last request
            if self._process is None or not self._process.is_alive():
                self._begin()
            with suppress(OSError, EOFError):
                self._pipe.send(task)
                if self._pipe.poll(self._seconds):
                    answer: tuple[bool, Any] = self._pipe.recv()
                    return answer
                self._end()
                raise HTTPException(503, self.slow.format(seconds=self._seconds))
            self._end()
        raise HTTPException(503, self.dead)

    def _begin(self) -> None:
        context = multiprocessing.get_context("forkserver")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._carry_out), daemon=True)
        self._process.start()
        theirs.close()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._pipe.close()
            process.kill()
            process.join()

    def _end_later(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = threading.Timer(_IDLE_SECONDS, self._end_idle)
        self._idle.daemon = True
        self._idle.start()

    def _end_idle(self) -> None:
        with self._turn:
            self._end()


def attempt(do: Callable[[], Any], what: str, failed: str) -> tuple[bool, Any]:
    """Whether something succeeded, and its result or the message.

    Args:
        what: that needs a package, where one is missing.
        failed: what an unexpected error means; ``{error}`` is its place.
    """
    try:
        return True, do()
    except SyntypeError as error:
        return False, str(error)
    except ModuleNotFoundError as error:
        return False, f"{what} needs the package {error.name}. Install it where the Studio runs."
    except Exception as error:
        return False, failed.format(error=f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:200]}")


def _serve(pipe: Any, carry_out: CarryOut) -> None:
    """The process: tasks in, results out, until the server ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this process
    with suppress(EOFError, OSError):
        while True:
            pipe.send(carry_out(*pipe.recv()))
    os._exit(0)

"""Draws hybrids while somebody looks, in a process of its own, as the server does not load PyTorch.

The process keeps the generators that were used last, draws one request at a time, and ends when nobody has asked for a while. If it dies, or takes
too long, it is started again at the next request. What was drawn is remembered, so that a class that opens one link asks for one drawing.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException

from syntype.errors import SyntypeError, UserError

__all__ = ["Allowance", "Drawings"]

_KEPT_GENERATORS = 2
_KEPT_BYTES = 64_000_000
"""Of drawings that are remembered."""
_IDLE_SECONDS = 600
"""Time without requests after which the process ends and its memory is free."""
_WAIT = "3"
"""Seconds after which somebody who was sent away may ask again."""


@dataclass(frozen=True)
class Allowance:
    """How much somebody may ask for.

    Attributes:
        most: drawings of all people, at most, that may be asked for at the same time, the new one among them.
        take_turn: called before each drawing that is not remembered; raises if it may not be.
    """

    most: int
    take_turn: Callable[[], None] = lambda: None


class Drawings:
    """What was drawn, and the process that draws. Safe to use from several threads.

    Args:
        seconds: longest time for one drawing.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._known: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._asked = 0
        self._process: Any = None
        self._pipe: Any = None
        self._idle: threading.Timer | None = None

    def draw(self, folder: Path, what: str, hybrid: dict[str, Any], allowed: Allowance, **options: Any) -> Any:
        """Draw something with a generator.

        Args:
            folder: of the generator.
            what: ``sheet``, ``image`` or ``animation``: the function of ``syntype.synthesis.hybrids``.
            hybrid: fields of its ``HybridConfig``.
            allowed: how much may be asked for.
            options: of the function.

        Returns:
            what the function returns; a ``Sheet`` as a dictionary.

        Raises:
            HTTPException: 503, as too many drawings have been asked for, or this one took too long; or what ``allowed`` says.
            UserError: the generator cannot be used, with its own message.
        """
        key = (folder, _stamp(folder), what, tuple(sorted(hybrid.items())), tuple(sorted(options.items())))
        if (known := self._remembered(key)) is not None:
            return known
        allowed.take_turn()
        with self._counted(allowed.most), self._turn:
            if (known := self._remembered(key)) is not None:  # somebody else has just asked for the same
                return known
            try:
                good, result = self._ask((str(folder), key[1], what, hybrid, options))
            finally:
                self._end_later()
            if not good:
                raise UserError(result)
            with self._lock:
                self._known[key] = result
                while len(self._known) > 1 and sum(map(_size, self._known.values())) > _KEPT_BYTES:
                    self._known.popitem(last=False)
            return result

    def close(self) -> None:
        """End the process."""
        if self._idle is not None:
            self._idle.cancel()
        self._end()

    def _remembered(self, key: tuple[Any, ...]) -> Any:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    @contextmanager
    def _counted(self, most: int) -> Iterator[None]:
        with self._lock:
            if self._asked >= most:
                raise HTTPException(503, "many people are drawing just now. Try again in a moment.", {"Retry-After": _WAIT})
            self._asked += 1
        try:
            yield
        finally:
            with self._lock:
                self._asked -= 1

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
                hint = "Draw them as a job instead, under “Draw a strip or a board”."
                raise HTTPException(503, f"this generator takes more than {self._seconds:.0f} s for one picture. {hint}")
            self._end()
        raise HTTPException(503, "the process that draws has ended, perhaps for want of memory. Try again, or a smaller generator.")

    def _begin(self) -> None:
        context = multiprocessing.get_context("forkserver")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
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


def _stamp(folder: Path) -> int:
    """Changes when the generator does."""
    return (folder / "generator.json").stat().st_mtime_ns


def _size(result: Any) -> int:
    return len(result["content"] if isinstance(result, dict) else result)


def _serve(pipe: Any) -> None:
    """The process: tasks in, results out, until the server ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this process
    with suppress(EOFError, OSError):
        while True:
            pipe.send(_carry_out(*pipe.recv()))
    os._exit(0)


def _carry_out(folder: str, stamp: int, what: str, hybrid: dict[str, Any], options: dict[str, Any]) -> tuple[bool, Any]:
    try:
        from syntype.synthesis import hybrids

        draw: Any = {"sheet": hybrids.hybrid_sheet, "image": hybrids.hybrid_image, "animation": hybrids.hybrid_animation}[what]
        result = draw(_generator(folder, stamp), hybrids.HybridConfig(**hybrid), **options)
        return True, vars(result) if isinstance(result, hybrids.Sheet) else result
    except SyntypeError as error:
        return False, str(error)
    except ModuleNotFoundError as error:
        return False, f"this generator needs the package {error.name}. Install it where the Studio runs."
    except Exception as error:
        return False, f"it could not be drawn (unexpected {type(error).__name__}: {' '.join(str(error).split())[:200]}). Train the generator again."


@lru_cache(_KEPT_GENERATORS)
def _generator(folder: str, _stamp: int) -> Any:
    from syntype.compute.runtime import Runtime
    from syntype.generators import load_generator

    return load_generator(folder).to(Runtime("auto").device)

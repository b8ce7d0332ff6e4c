"""Job processes: they continue when the server ends, are found again after a restart, and can be stopped with their work saved."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from syntype.errors import InputError
from syntype.ownership import RUN_ID_VARIABLE

__all__ = ["TICKET", "JobProcess"]

TICKET = "ticket"
"""File in the folder of a job that was given to a cluster: a number of this start. A start whose number is no longer there does nothing."""
_WORKER = "syntype.apps.web.worker"
_TAIL = 20_000
"""Bytes of a log that are read at most."""


class JobProcess:
    """The process of one job, which may have been started by an earlier server.

    Args:
        folder: of the job: ``lock``, ``pid``, ``exit`` (the code), ``output`` (what it printed), ``log`` (standard error of all starts) and
            ``start`` (where in the log the last one begins, in bytes).
    """

    outlives: ClassVar[bool] = False
    """Whether a server that ends in good order lets it work on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    def clear(self) -> None:
        """Forget how an earlier start ended.

        Raises:
            InputError: a process of an earlier start is still running.
        """
        if self._is_locked():
            raise InputError("is still used by another process", "Wait until it has ended, or stop it.", file=self.folder)
        for name in (TICKET, "exit", "pid", "output", "start"):
            (self.folder / name).unlink(missing_ok=True)

    def start(self, command: Sequence[str], run_id: str) -> None:
        """Start ``syntype`` with these arguments. The lock is taken before the process starts.

        Args:
            run_id: what ``run.json`` in the folder that the command makes will say.

        Raises:
            InputError: a process holds the folder already.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clear()
        self.launch(command, run_id)

    def launch(self, command: Sequence[str], run_id: str, wanted: Callable[[], bool] = lambda: True) -> bool:
        """The same in a folder that is ready for it.

        Args:
            wanted: asked when the lock is held, so that nobody else starts it meanwhile.

        Returns:
            whether it was started.

        Raises:
            BlockingIOError: somebody else holds the lock.
        """
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not wanted():
                return False
            for name in ("exit", "pid"):  # blanks, over which the process can write its numbers on a full disk
                (self.folder / name).write_text(" " * 12, encoding="ascii")
            with (self.folder / "output").open("wb") as output, (self.folder / "log").open("ab") as log:
                (self.folder / "start").write_text(str(log.tell()), encoding="ascii")
                self._child = subprocess.Popen(
                    [sys.executable, "-m", _WORKER, str(self.folder), str(lock.fileno()), "--", *command],
                    stdin=subprocess.DEVNULL, stdout=output, stderr=log, pass_fds=[lock.fileno()], start_new_session=True,
                    env={**os.environ, RUN_ID_VARIABLE: run_id},
                )  # fmt: skip
        return True

    def is_alive(self) -> bool:
        """Whether the process is running."""
        return self._is_locked()

    def _is_locked(self) -> bool:
        try:
            with (self.folder / "lock").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who ask at once do not take each other for the process
        except FileNotFoundError:
            pass
        except OSError:
            return True
        end = time.monotonic() + 1
        while self._child is not None and self._child.poll() is None and time.monotonic() < end:
            time.sleep(0.005)  # it lets go of the lock a moment before it is gone, and no zombie may stay
        return False

    def stop(self, *, at_once: bool = False, by: signal.Signals = signal.SIGINT) -> bool:
        """Send a signal, so that it saves its work and ends, or SIGKILL to it and its child processes (``at_once``).

        Returns:
            whether a signal was sent; False while the process is still starting and cannot save its work yet.
        """
        with suppress(OSError, ValueError):
            number = int((self.folder / "pid").read_text(encoding="ascii"))
            if self.is_alive() and self._is_worker(number):
                if at_once:
                    os.killpg(number, signal.SIGKILL)
                else:
                    os.kill(number, by)
                return True
        return False

    def doing(self) -> str | None:
        """What to tell of it before its command has written anything; None if there is nothing to tell."""
        return None

    def settled(self) -> bool:
        """Whether its files must be visible here, after its exit code is."""
        return True

    def given_up(self) -> str | None:
        """Why it must not be started again although it did not come to its end; None if it may."""
        return None

    def cause(self, starts: int) -> str:
        """Why it is not started again after so many starts without an end."""
        return f"its process was killed {starts} times, perhaps because memory ran out. Free memory, then resume it."

    def end(self) -> None:
        """Kill the process that this object has started, and its child processes; wait until they are gone."""
        if self._child is not None and self.is_alive():
            with suppress(OSError):
                os.killpg(self._child.pid, signal.SIGKILL)
            while self._child.poll() is None:
                time.sleep(0.02)

    def _is_worker(self, number: int) -> bool:
        """Whether a process is this job's: its number comes from a file, and may be that of another process by now, or on another machine."""
        if Path("/proc/self/cmdline").exists():
            words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
        else:  # macOS
            words = subprocess.run(["ps", "-o", "args=", "-p", str(number)], capture_output=True, check=False).stdout.split()
        return _WORKER.encode() in words and os.fsencode(self.folder) in words and os.getpgid(number) == number

    def exit_code(self) -> int | None:
        """Its exit code; None if it was killed before it could write one, or if it is still running."""
        try:
            return int((self.folder / "exit").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def result(self) -> dict[str, Any] | None:
        """The JSON object that it printed."""
        try:
            value = json.loads((self.folder / "output").read_text(encoding="utf-8").strip().rpartition("\n")[2])
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def error_message(self) -> str | None:
        """The command's error message, if its last start ended with one."""
        try:
            begin = int((self.folder / "start").read_text(encoding="ascii"))
            size = (self.folder / "log").stat().st_size
        except (OSError, ValueError):
            return None
        lines = self.log(min(size - begin, _TAIL)).splitlines() if size > begin else []
        errors = [line.removeprefix("syntype: error: ") for line in lines if line.startswith("syntype: error: ")]
        return errors[-1] if errors else None

    def last_line(self) -> str | None:
        """The last line of the log."""
        return next((line for line in reversed(self.log().splitlines()) if line.strip()), None)

    def log(self, limit: int = _TAIL) -> str:
        """The end of the log."""
        try:
            with (self.folder / "log").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - limit))
                return file.read(limit).decode("utf-8", errors="replace")
        except OSError:
            return ""

"""Job processes: they continue when the server ends, are found again after a restart, and can be stopped with their work saved."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["JobProcess"]


class JobProcess:
    """The process of one job, which may have been started by an earlier server.

    Args:
        folder: of the job: ``lock``, ``pid``, ``exit`` (the code), ``output`` (what it printed) and ``log`` (standard error).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str]) -> None:
        """Start ``syntype`` with these arguments. The lock is taken before the process starts."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("exit", "pid", "output"):
            (self.folder / name).unlink(missing_ok=True)
        with (self.folder / "lock").open("w") as lock, (self.folder / "output").open("wb") as output, (self.folder / "log").open("ab") as log:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._child = subprocess.Popen(
                [sys.executable, "-m", "syntype.apps.web.worker", str(self.folder), str(lock.fileno()), "--", *command],
                stdin=subprocess.DEVNULL, stdout=output, stderr=log, pass_fds=[lock.fileno()], start_new_session=True,
            )  # fmt: skip

    def is_alive(self) -> bool:
        """Whether the process is running."""
        if self._child is not None:
            self._child.poll()  # so that no zombie stays
        try:
            with (self.folder / "lock").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def stop(self, *, at_once: bool = False) -> bool:
        """Send SIGINT, so that it saves its work and ends, or SIGKILL (``at_once``). Returns whether a signal was sent."""
        with suppress(OSError, ValueError):
            number = self._child.pid if self._child is not None else int((self.folder / "pid").read_text(encoding="ascii"))
            if self.is_alive():
                os.kill(number, signal.SIGKILL if at_once else signal.SIGINT)
                return True
        return False

    def exit_code(self) -> int | None:
        """Its exit code; None if it was killed before it could write one."""
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
        """The command's error message, or else the last line of the log."""
        lines = [line for line in self.log().splitlines() if line.strip()]
        errors = [line.removeprefix("syntype: error: ") for line in lines if line.startswith("syntype: error: ")]
        return errors[-1] if errors else lines[-1] if lines else None

    def log(self, limit: int = 20_000) -> str:
        """The end of the log."""
        try:
            with (self.folder / "log").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - limit))
                return file.read(limit).decode("utf-8", errors="replace")
        except OSError:
            return ""

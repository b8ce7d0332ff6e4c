"""The process of one job: runs the command line as a user would, and writes the exit code to a file.

``python -m syntype.apps.web.worker FOLDER LOCK -- COMMAND ...``: LOCK is the inherited descriptor of the job's locked file. The
operating system releases the lock when this process ends in any way, so that every server can tell whether the job is still running.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from syntype.apps.cli import main

__all__ = ["work"]


def work(arguments: Sequence[str]) -> int:
    """Run the command after ``--`` and write its exit code to FOLDER/exit."""
    folder, lock, _, *command = arguments
    os.set_inheritable(int(lock), False)  # child processes of the job must not hold the lock
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a server started in the background ignores SIGINT; children inherit that
    _fill_in(Path(folder) / "pid", os.getpid())
    with suppress(OSError):
        os.nice(5)  # lower priority than the web server
    try:
        code = main(command)
    except Exception:  # even the message could not be written, for example on a full disk
        code = 1
        with suppress(OSError):
            traceback.print_exc()
    with suppress(OSError):  # the result is in run.json too
        sys.stdout.flush()
    _fill_in(Path(folder) / "exit", code)
    return code


def _fill_in(path: Path, number: int) -> None:
    """Write a number over the blanks that a file holds, which needs no space on the disk."""
    with path.open("r+b") as file:
        file.write(b"%d" % number)


if __name__ == "__main__":
    sys.exit(work(sys.argv[1:]))

"""The process of one job: runs the command line as a user would, and writes the exit code to a file.

``python -m syntype.apps.web.worker FOLDER LOCK -- COMMAND ...``: LOCK is the inherited descriptor of the job's locked file. The
operating system releases the lock when this process ends in any way, so that every server can tell whether the job is still running.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from syntype.apps.cli import main
from syntype.files import atomic_write

__all__ = ["work"]


def work(arguments: Sequence[str]) -> int:
    """Run the command after ``--`` and write its exit code to FOLDER/exit."""
    folder, lock, _, *command = arguments
    os.set_inheritable(int(lock), False)  # child processes of the job must not hold the lock
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a server started in the background ignores SIGINT; children inherit that
    (Path(folder) / "pid").write_text(str(os.getpid()), encoding="ascii")
    with suppress(OSError):
        os.nice(5)  # lower priority than the web server
    code = main(command)
    sys.stdout.flush()
    with atomic_write(Path(folder) / "exit") as temporary:
        temporary.write_text(str(code), encoding="ascii")
    return code


if __name__ == "__main__":
    sys.exit(work(sys.argv[1:]))

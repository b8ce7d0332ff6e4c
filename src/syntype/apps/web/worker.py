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
    (Path(folder) / "pid").write_text(str(os.getpid()), encoding="ascii")
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
    with (Path(folder) / "exit").open("r+b") as file:  # in place, over blanks of the same length: no further space is needed
        file.write(b"%-4d" % code)
    return code


if __name__ == "__main__":
    sys.exit(work(sys.argv[1:]))

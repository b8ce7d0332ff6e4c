"""The process of one job: the command line, as a user would call it, and a note of how it ended.

``python -m syntype.apps.web.worker FOLDER LOCK -- COMMAND ...``: LOCK is the inherited descriptor of the job's locked file. The lock
lasts as long as this process does, however it ends, so that any server can tell whether the job is still at work.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from syntype.apps.cli import main
from syntype.run import atomic_write

__all__ = ["work"]


def work(arguments: Sequence[str]) -> int:
    """Run the command after ``--`` and write its exit code to FOLDER/exit."""
    folder, lock, _, *command = arguments
    os.set_inheritable(int(lock), False)  # programs that the job starts do not hold it
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a server that a script started in the background has it ignored, and hands that down
    (Path(folder) / "pid").write_text(str(os.getpid()), encoding="ascii")
    with suppress(OSError):
        os.nice(5)  # pages come first
    code = main(command)
    sys.stdout.flush()
    with atomic_write(Path(folder) / "exit") as temporary:
        temporary.write_text(str(code), encoding="ascii")
    return code


if __name__ == "__main__":
    sys.exit(work(sys.argv[1:]))

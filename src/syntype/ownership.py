"""Who made a folder: one writer at a time, and a command goes on only in a folder that it made itself, from the same inputs.

``run.json`` in every folder says which stage made it, with which settings and from which inputs. The inputs are recorded by fingerprints of
their content (images, splits, verdicts, weights), so that a folder may be moved, but not changed, between two sessions of one run.
"""

from __future__ import annotations

import os
import platform
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from syntype.errors import InputError, shortened
from syntype.files import read_json_object, sweep_temporary
from syntype.recipe import Settings

__all__ = ["LOCK", "RUN_ID_VARIABLE", "FolderLock", "check_same_run", "describe_inputs", "discard_run", "is_empty", "new_run_id", "run_status"]

RUN_ID_VARIABLE = "SYNTYPE_RUN_ID"
"""Environment variable with the identifier of the run. A program that starts commands sets it, to recognise the folders that they made."""

LOCK = ".lock"


class FolderLock:
    """The right to write to a folder. The operating system ends it when its process ends in any way, so that no lock outlives its process.

    Args:
        folder: an existing folder.

    Raises:
        InputError: another process, or another run of this one, is writing to the folder.
    """

    def __init__(self, folder: Path) -> None:
        from filelock import FileLock, Timeout  # not at the top: `syntype --help` needs no locks

        self._path = folder / LOCK
        self._lock = FileLock(self._path, timeout=0, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout:
            who = read_json_object(self._path)
            told = f" (process {who['process']} on {who['machine']})" if {"process", "machine"} <= who.keys() else ""
            raise InputError(
                f"is being written to by another command{told}", "Wait until it has ended, or choose another folder.", file=folder
            ) from None
        with suppress(OSError):  # for the message above; on a full disk the lock holds all the same
            self._path.write_text(f'{{"process": {os.getpid()}, "machine": "{platform.node()}"}}', encoding="utf-8")

    def release(self) -> None:
        """End the lock and delete its file. Calling it again does nothing."""
        if self._lock.is_locked:
            with suppress(OSError):  # Windows cannot delete an open file
                self._path.unlink()
            self._lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a living process writes to the folder."""
    if not (folder / LOCK).exists():
        return False
    try:
        FolderLock(folder).release()
    except InputError:
        return True
    return False


def run_status(folder: Path) -> str | None:
    """How the run in a folder ended: ``running``, ``finished``, ``interrupted``, ``failed``, ``killed``; None if there is no run."""
    status = read_json_object(folder / "run.json").get("status")
    return "killed" if status == "running" and not is_locked(folder) else status


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing, apart from what a killed process left before it had written anything of its own."""
    return all(path.name == LOCK or (path.name.startswith("run.json.") and path.suffix == ".tmp") for path in folder.iterdir())


def new_run_id() -> str:
    """Identifier of a new run: that of ``RUN_ID_VARIABLE`` if it is set, otherwise 32 random hex digits."""
    return os.environ.get(RUN_ID_VARIABLE) or uuid.uuid4().hex


def describe_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Path and fingerprint of every input, as ``run.json`` records them.

    Args:
        inputs: collections and generators (anything with ``fingerprint``, and ``root`` or ``folder``), paths, or None.
    """
    described: dict[str, Any] = {}
    for name, value in inputs.items():
        path = getattr(value, "root", getattr(value, "folder", value))
        described[name] = None if value is None else {"path": str(path), "fingerprint": getattr(value, "fingerprint", None)}
    return described


def check_same_run(folder: Path, record: Mapping[str, Any], stage: str, settings: Settings, inputs: Mapping[str, Any]) -> None:
    """Check that a command may go on in a folder.

    Args:
        folder: the folder, which is not empty.
        record: its ``run.json``.
        stage: stage of the command.
        settings: settings of the command. Those in ``may_change`` may differ from those of the first session.
        inputs: as from ``describe_inputs``.

    Raises:
        InputError: the folder was made by something else, with other settings, or from other inputs.
    """
    if not record.get("stage") or not record.get("run_id"):
        raise InputError("holds files that Syntype did not make", "Give --out a new folder.", file=folder)
    if record["stage"] != stage:
        raise InputError(f"was made by the stage {record['stage']!r}, not by {stage!r}", "Give --out a new folder.", file=folder)
    wanted = os.environ.get(RUN_ID_VARIABLE)
    if wanted and record["run_id"] != wanted:
        raise InputError("was made by another run since", "Give --out a new folder.", file=folder)
    before, now = record.get("settings") or {}, settings.model_dump(mode="json")
    changed = sorted(name for name in now if name not in settings.may_change and before.get(name) != now[name])
    if changed:
        told = ", ".join(f"{name}: {shortened(repr(before.get(name)))} before, {shortened(repr(now[name]))} now" for name in changed[:3])
        raise InputError(f"was started with other settings ({told})", "Use the same settings, or give --out a new folder.", file=folder)
    first = record.get("inputs") or {}
    for name, value in inputs.items():
        old = first.get(name)
        if (old or {}).get("fingerprint") != (value or {}).get("fingerprint"):
            reason = f"was made from another {name}: its images, splits, verdicts or weights have changed, or another one was given"
            raise InputError(reason, f"Give --out a new folder, or use the {name} of before.", file=folder)


def discard_run(folder: Path, stage: str, run_id: str | None = None) -> None:
    """Delete the folder of an unfinished run, to start it again.

    Args:
        folder: the folder; a missing or empty one is left as it is.
        stage: the stage that must have made it.
        run_id: the run that must have made it. None: any run of this stage.

    Raises:
        InputError: the folder was made by something else, or a process is writing to it.
    """
    if not folder.is_dir() or is_empty(folder):
        return
    record = read_json_object(folder / "run.json")
    if record.get("stage") != stage or not record.get("run_id") or (run_id is not None and record["run_id"] != run_id):
        raise InputError("holds files that this command did not make", "Move them away, or give another folder.", file=folder)
    lock = FolderLock(folder)
    try:
        sweep_temporary(folder)
        shutil.rmtree(folder)
    finally:
        lock.release()

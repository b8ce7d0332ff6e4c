"""Identifiers as ONNX files, for other programs. Writing one takes a minute or two, so each is a command in a process of its own.

The file is kept in the cache until the identifier changes:

    WORKSPACE/.cache/onnx/IDENTIFIER/KEY/    job/: its process, IDENTIFIER.onnx: what the command wrote
"""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from syntype.apps.web.languages import gettext
from syntype.apps.web.processes import JobProcess
from syntype.apps.web.workspace import Workspace
from syntype.errors import UserError

__all__ = ["OnnxFiles", "OnnxState"]


class OnnxState(BaseModel):
    """How far the writing is. ``status``: none (it was not asked for), running, finished or failed; ``seconds``: since its beginning, while it runs;
    ``message``: why it failed."""

    status: Literal["none", "running", "finished", "failed"]
    seconds: int | None = None
    message: str | None = None


class OnnxFiles:
    """The ONNX files of a workspace. Safe to use from several threads."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._lock = workspace, threading.Lock()
        self._running: dict[Path, JobProcess] = {}

    def state(self, name: str) -> OnnxState:
        """How far the file of an identifier is.

        Raises:
            UnknownNameError: there is no such identifier.
        """
        folder = self._folder(name)
        process = self._running.get(folder) or JobProcess(folder / "job")
        if process.is_alive():
            return OnnxState(status="running", seconds=max(0, round(time.time() - (folder / "job").stat().st_ctime)))
        self._running.pop(folder, None)
        if not (folder / "job").is_dir():
            return OnnxState(status="none")
        if process.exit_code() == 0 and (folder / f"{name}.onnx").is_file():
            return OnnxState(status="finished")
        message = process.error_message() or "it was stopped before it was complete. Begin again."
        return OnnxState(status="failed", message=self._workspace.show(message))

    def start(self, name: str) -> OnnxState:
        """Begin to write it, unless it is being written or is there.

        Raises:
            UserError: another one is being written.
        """
        with self._lock:
            if (state := self.state(name)).status in ("running", "finished"):
                return state
            if any(process.is_alive() for process in list(self._running.values())):
                raise UserError(gettext("another identifier is being written as ONNX. Begin again when it is complete."))
            folder = self._folder(name)
            shutil.rmtree(folder.parent, ignore_errors=True)  # those of the identifier as it was
            (folder / "job").mkdir(parents=True)
            process = JobProcess(folder / "job")
            identifier = str(self._workspace.find("identifiers", name))
            process.start(["classify", "export", identifier, "--out", str(folder / f"{name}.onnx"), "--json"], folder.name)
            self._running[folder] = process
        return self.state(name)

    def file(self, name: str) -> Path:
        """The file.

        Raises:
            UserError: it is not there.
        """
        if self.state(name).status != "finished":
            raise UserError(gettext("{name} is not written as ONNX yet. Begin that first.", name=name))
        return self._folder(name) / f"{name}.onnx"

    def stop(self) -> None:
        """End what runs."""
        with self._lock:
            for process in self._running.values():
                process.end()
            self._running.clear()

    def _folder(self, name: str) -> Path:
        """Where the file of the identifier as it is now lies, or will lie."""
        stamp = (self._workspace.find("identifiers", name) / "classifier.json").stat().st_mtime_ns
        return self._workspace.root / ".cache" / "onnx" / name / str(stamp)

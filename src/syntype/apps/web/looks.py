"""What is computed of a collection for its pages: the map of its images, and the photographs that an expert should look at.

Each is a command of Syntype in a process of its own. Its result is kept in the cache, under a name that changes when the images, their species or
groups change; so it is never shown for others. At most one runs at a time.

    WORKSPACE/.cache/looks/COLLECTION/KIND/KEY/    job/: its process, out/: what the command wrote
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import threading
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from syntype.apps.web.catalogue import Catalogue
from syntype.apps.web.languages import gettext
from syntype.apps.web.processes import JobProcess
from syntype.apps.web.progress import now
from syntype.apps.web.words import value_in_words
from syntype.apps.web.workspace import Workspace
from syntype.errors import CollectionError, UserError
from syntype.files import read_json_object

__all__ = ["LookKind", "LookState", "Looks"]

LookKind = Literal["map", "suspects"]
_RESULTS: dict[LookKind, str] = {"map": "map.csv", "suspects": "suspects.csv"}


class LookState(BaseModel):
    """How far a computation is. ``status``: none (it was not asked for), running, finished or failed; ``message``: why it failed."""

    status: Literal["none", "running", "finished", "failed"]
    doing: str | None = None
    done: float | None = None
    total: float | None = None
    seconds_left: float | None = None
    message: str | None = None


class Looks:
    """The computations of a workspace. Safe to use from several threads."""

    def __init__(self, workspace: Workspace, catalogue: Catalogue) -> None:
        self._workspace, self._catalogue = workspace, catalogue
        self._lock = threading.Lock()
        self._running: dict[Path, JobProcess] = {}

    def state(self, name: str, kind: LookKind) -> LookState:
        """How far it is for the collection as it is now.

        Raises:
            UnknownNameError, CollectionError: there is no such collection, or it is damaged.
        """
        folder = self._folder(name, kind)
        process = self._running.get(folder) or JobProcess(folder / "job")
        if process.is_alive():
            told = now(folder / "out")
            known = {key: told.get(key) for key in ("doing", "done", "total", "seconds_left")}
            known["doing"] = value_in_words(known["doing"])
            return LookState(status="running", **known)  # type: ignore[arg-type]
        self._running.pop(folder, None)
        if not (folder / "job").is_dir():
            return LookState(status="none")
        if process.exit_code() == 0 and (folder / "out" / _RESULTS[kind]).is_file():
            return LookState(status="finished")
        message = process.error_message() or "it was stopped before it was complete. Begin again."
        return LookState(status="failed", message=self._workspace.show(message))

    def start(self, name: str, kind: LookKind) -> LookState:
        """Begin, unless it runs already or is there.

        Raises:
            UserError: another one runs.
        """
        with self._lock:
            if (state := self.state(name, kind)).status in ("running", "finished"):
                return state
            if (other := next((folder for folder, process in list(self._running.items()) if process.is_alive()), None)) is not None:
                raise UserError(
                    gettext(
                        "the {what} of {name} is being computed. Begin again when it is complete.",
                        what=_word(other.parent.name),
                        name=other.parent.parent.name,
                    )
                )
            folder = self._folder(name, kind)
            shutil.rmtree(folder.parent, ignore_errors=True)  # those of the collection as it was
            (folder / "job").mkdir(parents=True)
            process = JobProcess(folder / "job")
            process.start(self._command(name, kind, folder / "out"), folder.name)
            self._running[folder] = process
        return self.state(name, kind)

    def rows(self, name: str, kind: LookKind) -> list[dict[str, str]]:
        """The table of a finished one, a row each image.

        Raises:
            UserError: it is not there.
        """
        if self.state(name, kind).status != "finished":
            raise UserError(gettext("the {what} of {name} is not there yet. Begin it first.", what=_word(kind), name=name))
        try:
            with (self._folder(name, kind) / "out" / _RESULTS[kind]).open(encoding="utf-8", newline="") as file:
                return list(csv.DictReader(file))
        except (OSError, csv.Error, UnicodeDecodeError):
            raise CollectionError(
                gettext("the {what} of {name} is damaged. Empty the caches on the page Storage, and begin again.", what=_word(kind), name=name)
            ) from None

    def summary(self, name: str, kind: LookKind) -> dict[str, Any]:
        """What its command said of the result."""
        result = read_json_object(self._folder(name, kind) / "out" / "run.json").get("result")
        return result if isinstance(result, dict) else {}

    def stop(self, name: str | None = None) -> None:
        """End what runs for a collection, or for all."""
        with self._lock:
            for folder, process in list(self._running.items()):
                if name in (None, folder.parent.parent.name):
                    process.end()
                    self._running.pop(folder, None)

    def photographs(self, name: str) -> str | None:
        """The collection of photographs to show beside a collection of synthetic images, if it is still there."""
        if not self._catalogue.index(self._workspace.find("collections", name)).count("origin").get("synthetic"):
            return None
        found = self._workspace.reference(name) or self._workspace.photographs_of("collections", name)
        return None if found == name else found

    def _command(self, name: str, kind: LookKind, out: Path) -> list[str]:
        folder = str(self._workspace.find("collections", name))
        if kind == "suspects":
            return ["inspect", folder, "--labels", "--out", str(out), "--json"]
        beside = self.photographs(name)
        more = [] if beside is None else ["--photographs", str(self._workspace.find("collections", beside))]
        return ["inspect", folder, "--map", *more, "--out", str(out), "--json"]

    def _folder(self, name: str, kind: LookKind) -> Path:
        """Where the result for the collection as it is now lies, or will lie."""
        beside = self.photographs(name) if kind == "map" else None
        told = [self._catalogue.index(self._workspace.find("collections", one)).content for one in (name, beside) if one is not None]
        key = hashlib.sha256(" ".join([beside or "", *told]).encode()).hexdigest()[:16]
        return self._workspace.root / ".cache" / "looks" / name / kind / key


def _word(kind: str) -> str:
    return gettext("map") if kind == "map" else gettext("search for doubtful photographs")

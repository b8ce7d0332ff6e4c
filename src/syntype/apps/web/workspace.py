"""The workspace: the one folder that the Studio uses. Requests name things in it by slugs; only this module builds paths from them.

WORKSPACE/
  collections/ generators/ identifiers/ studies/ exports/   one folder a thing, its name is its slug; other folders are not listed
  uploads/                                     uploaded photographs that are not imported yet
  jobs/                                        one folder a job: its log, its result, its lock
  trash/                                       one folder a deleted thing: the thing, and entry.json
  .cache/                                      thumbnails, safe to delete
  studio.sqlite                                jobs, verdicts, reviewers
  .identity                                    32 hex digits, by which a database outside the workspace knows it
"""

from __future__ import annotations

import fcntl
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from syntype.apps.web.languages import gettext
from syntype.apps.web.translated import translated
from syntype.apps.web.wording import in_the_studio
from syntype.errors import CollectionError, InputError, UnknownNameError
from syntype.files import atomic_write, read_json_object

__all__ = ["KINDS", "MARKS", "SLUG", "Kind", "NameTakenError", "Workspace"]

Kind = Literal["collections", "generators", "identifiers", "studies", "exports"]
MARKS: dict[Kind, str] = {
    "collections": "collection.json", "generators": "generator.json", "identifiers": "classifier.json", "studies": "results.json",
    "exports": "export.json",
}  # fmt: skip
"""The file that a folder must have to be listed: stages write it last, so unfinished results are not listed."""
KINDS: tuple[Kind, ...] = tuple(MARKS)
_BETWEEN: dict[str, Kind] = {"synthetic": "collections", "generator": "generators"}
"""Inputs of stages through which images go back to their photographs."""
SLUG = r"^[a-z0-9][a-z0-9_-]{0,62}$"
"""Pattern of names: valid as a folder name on every system, and never a path."""


class NameTakenError(InputError):
    """Something has this name already, or a job makes something of this name."""


class Workspace:
    """A workspace folder; made, with its sub-folders, where it is missing.

    Raises:
        InputError: the path is a file, or cannot be written.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()
        try:
            for name in (*KINDS, "uploads", "jobs", "trash", ".cache"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot be a workspace ({error.strerror})", "Give a folder that may be written to.", file=root) from None

    @property
    def identity(self) -> str:
        """32 hex digits that no other workspace has; they stay when the folder is moved."""
        file = self.root / ".identity"
        if not file.exists():
            with atomic_write(file) as temporary:
                temporary.write_text(uuid.uuid4().hex, encoding="ascii")
        return file.read_text(encoding="ascii")

    def place(self, kind: Kind, slug: str) -> Path:
        """The folder of this name, whether it exists or not.

        Raises:
            InputError: the name is not a slug.
        """
        if not re.fullmatch(SLUG, slug):
            hint = gettext("Use 1 to 63 small letters, digits, hyphens and underscores, beginning with a letter or digit.")
            raise InputError(gettext("{name} cannot be a name", name=repr(slug[:80])), hint)
        return self.root / kind / slug

    def find(self, kind: Kind, slug: str) -> Path:
        """The folder of a finished thing.

        Raises:
            UnknownNameError: there is none; the message lists those that there are.
            CollectionError: it is a link that leads out of the workspace.
        """
        if not re.fullmatch(SLUG, slug) or not (self.root / kind / slug / MARKS[kind]).is_file():
            raise UnknownNameError(_one(kind), slug[:80], self.slugs(kind))
        return self.inside(self.root / kind / slug)

    def inside(self, path: Path) -> Path:
        """The path, after checking that no link leads out of the workspace.

        Raises:
            CollectionError: one does.
        """
        if not self._holds(path):
            raise CollectionError(gettext("{path} is a link that leads out of the workspace. Copy what it leads to into the workspace.", path=path))
        return path

    def _holds(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self.root.resolve())

    def slugs(self, kind: Kind) -> list[str]:
        """Names of all finished things of a kind, sorted; links that lead out of the workspace are left out."""
        with os.scandir(self.root / kind) as entries:
            there = [Path(entry.path) for entry in entries if re.fullmatch(SLUG, entry.name)]
        return sorted(path.name for path in there if (path / MARKS[kind]).is_file() and self._holds(path))

    def free(self, kind: Kind, slug: str) -> Path:
        """Where a new thing of this name may be written.

        Raises:
            InputError: the name is not a slug, or is taken.
        """
        place = self.place(kind, slug)
        if os.path.lexists(place):
            raise NameTakenError(gettext("{kind} {name} exists already", kind=gettext(_one(kind)), name=repr(slug)), gettext("Choose another name."))
        return place

    def slug_of(self, kind: Kind, path: str | Path) -> str | None:
        """The name of the thing that lies at a path, if it is one of this workspace."""
        place = Path(os.path.abspath(path))
        return place.name if place.parent == self.root / kind and (place / MARKS[kind]).is_file() else None

    def manifest(self, kind: Kind, slug: str) -> dict[str, Any]:
        """What a thing's ``run.json`` says of how it was made; empty where there is none."""
        return read_json_object(self.place(kind, slug) / "run.json")

    def reference(self, slug: str) -> str | None:
        """The name of the collection of photographs that a collection was curated against, if it is still there."""
        inputs = self.manifest("collections", slug).get("inputs")
        real = inputs.get("real") if isinstance(inputs, dict) else None
        path = real.get("path") if isinstance(real, dict) else None
        return self.slug_of("collections", path) if isinstance(path, str) else None

    def photographs_of(self, kind: Kind, slug: str) -> str | None:
        """The name of the collection of photographs from which a generator or synthetic images were made, if it is still there.

        It is found through what was between: the collection that was curated, the generator that drew the images.
        """
        return self._photographs_of(kind, slug, set())

    def _photographs_of(self, kind: Kind, slug: str, seen: set[tuple[Kind, str]]) -> str | None:
        if (kind, slug) in seen:
            return None
        seen.add((kind, slug))
        inputs = self.manifest(kind, slug).get("inputs")
        values = inputs.items() if isinstance(inputs, dict) else ()
        paths = {name: value["path"] for name, value in values if isinstance(value, dict) and isinstance(value.get("path"), str)}
        for name in ("real", "collection"):
            if name in paths and (found := self._named("collections", paths[name])) is not None:
                return found
        for name, of in _BETWEEN.items():
            between = self._named(of, paths[name]) if name in paths else None
            found = None if between is None else self._photographs_of(of, between, seen)
            if found is not None:
                return found
        told = read_json_object(self.place(kind, slug) / MARKS[kind]).get("collection") if kind == "generators" else None
        called = told.get("name") if isinstance(told, dict) else None
        return self._named("collections", called) if isinstance(called, str) else None

    def _named(self, kind: Kind, path: str) -> str | None:
        """The thing at a path; in a workspace that was moved, or for a generator that was copied here, the one of the same name."""
        return self.slug_of(kind, path) or self.slug_of(kind, self.root / kind / Path(path).name)

    def show(self, message: str) -> str:
        """A message as the pages show it: in the Studio's words and the page's language, and without the workspace's path."""
        return translated(in_the_studio(self.hide(message)))

    def hide(self, text: str) -> str:
        """A text without the workspace's path, which must not be shown over the network."""
        return text.replace(f"{self.root}{os.sep}", "").replace(str(self.root), "the workspace")

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold a lock on the workspace, so that no second server uses it.

        Raises:
            InputError: another server has it.
        """
        with (self.root / ".server.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError("is already served by another process", "Stop that one first, or give another workspace.", file=self.root) from None
            yield


def _one(kind: Kind) -> str:
    return "study" if kind == "studies" else kind.removesuffix("s")

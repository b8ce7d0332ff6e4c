"""How the things of a workspace refer to one another: by paths in ``run.json`` and ``generator.json``, and by names in the requests of jobs.

When a thing is renamed, deleted or restored, its path is corrected wherever it stands, so that what was made from it goes on pointing to the thing
itself, and never to a new one of the same name. Reports and the records of what was typed stay as they were written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from syntype.apps.web.languages import gettext, ngettext
from syntype.apps.web.trash import Trash
from syntype.apps.web.words import listed
from syntype.apps.web.workspace import KINDS, SLUG, Workspace
from syntype.files import read_json_object, write_json

__all__ = ["FIELDS", "Dependent", "base_of", "dependents", "redirect", "sentences", "unwritable"]

FIELDS = {
    "collection": "collections", "into": "collections", "synthetic": "collections", "real": "collections", "generator": "generators",
    "upload": "uploads", "mask": "uploads",
}  # fmt: skip
"""Fields of a job's request that name a thing, and its kind."""
_RELATIONS = {
    ("train", "collection"): "learnt from it",
    ("adapt", "collection"): "was adapted with its photographs",
    ("adapt", "generator"): "was adapted from it",
    ("generate", "generator"): "was drawn with it",
    ("blend", "generator"): "was drawn with it",
    ("vary", "generator"): "was drawn with it",
    ("inpaint", "generator"): "was drawn with it",
    ("curate", "real"): "was checked against it",
    ("classify", "collection"): "learnt from it",
    ("classify", "synthetic"): "learnt from it",
}
"""What a thing has to do with another, by the stage that made it and its input; for a study and all others see ``_relation``."""
NEEDS = "was adapted from it and cannot draw without it"


@dataclass(frozen=True)
class Dependent:
    """Something that was made from a thing.

    Attributes:
        place: kind of it.
        name: of its folder.
        relation: what it has to do with the thing, after "it".
        needs: it is of no use without the thing.
        unfinished: it is a study that can be continued only while the thing has its name.
        trashed: it lies in the trash.
    """

    place: str
    name: str
    relation: str
    needs: bool = False
    unfinished: bool = False
    trashed: bool = False


def dependents(workspace: Workspace, trash: Trash, folder: Path) -> list[Dependent]:
    """What was made from the thing in a folder."""
    found = []
    for place, live, now, trashed in _folders(workspace, trash):
        if now == folder:
            continue
        run = read_json_object(now / "run.json")
        relation, unfinished = _relation(run, folder), False
        if place == "studies" and run.get("status") != "finished":
            unfinished = any(_same(path, folder) for path in _settings(run).values())
        needs = place == "generators" and (base := base_of(now, live)) is not None and base == folder
        if needs or relation:
            found.append(Dependent(place, live.name, NEEDS if needs else relation or "", needs, unfinished, trashed))
    return found


def sentences(found: Iterable[Dependent]) -> list[str]:
    """The same in words, one sentence for each kind and relation: "Generators fish-a and fish-b learnt from it."."""
    told = []
    order = sorted(found, key=lambda item: (not item.needs, item.place, item.relation, item.name))
    for (place, relation), group in groupby(order, key=lambda item: (item.place, item.relation)):
        names = [gettext("{name} (in the trash)", name=item.name) if item.trashed else item.name for item in group]
        shown = names if len(names) <= 8 else [*names[:7], ngettext("{n} more", "{n} more", len(names) - 7)]
        told.append(_said(relation, _things(place, listed(shown), len(names)), len(names)))
    return told


def _things(place: str, names: str, number: int) -> str:
    return {
        "collections": ngettext("Collection {names}", "Collections {names}", number, names=names),
        "generators": ngettext("Generator {names}", "Generators {names}", number, names=names),
        "identifiers": ngettext("Identifier {names}", "Identifiers {names}", number, names=names),
        "studies": ngettext("Study {names}", "Studies {names}", number, names=names),
        "exports": ngettext("Export {names}", "Exports {names}", number, names=names),
    }.get(place, names)


def _said(relation: str, things: str, number: int) -> str:
    """What things have to do with another, as a sentence."""
    return {
        "learnt from it": ngettext("{things} learnt from it.", "{things} learnt from it.", number, things=things),
        "was adapted with its photographs": ngettext(
            "{things} was adapted with its photographs.", "{things} were adapted with its photographs.", number, things=things
        ),
        "was adapted from it": ngettext("{things} was adapted from it.", "{things} were adapted from it.", number, things=things),
        "was drawn with it": ngettext("{things} was drawn with it.", "{things} were drawn with it.", number, things=things),
        "was checked against it": ngettext("{things} was checked against it.", "{things} were checked against it.", number, things=things),
        "was made from it": ngettext("{things} was made from it.", "{things} were made from it.", number, things=things),
        "used it": ngettext("{things} used it.", "{things} used it.", number, things=things),
        NEEDS: ngettext(
            "{things} was adapted from it and cannot draw without it.", "{things} were adapted from it and cannot draw without it.", number,
            things=things,
        ),
    }[relation]  # fmt: skip


def base_of(now: Path, live: Path) -> Path | None:
    """The folder of the generator from which another was adapted and which it needs; None if it needs none.

    Args:
        now: where the generator lies.
        live: where it lies when it is not in the trash; its relative path starts there.
    """
    places = _base_places(read_json_object(now / "generator.json"), live)
    return next((path for path in places if (path / "generator.json").is_file()), places[0] if places else None)


def redirect(workspace: Workspace, trash: Trash, old: Path, new: Path, names: tuple[str, str] | None = None) -> None:
    """Correct every path to ``old``, which lies at ``new`` now. Doing it again changes nothing.

    Args:
        names: what a collection was called and is called now, for generators that say what they learnt from; None to leave it.
    """
    for file, content in _changes(workspace, trash, old, new, names):
        write_json(file, content)


def unwritable(workspace: Workspace, trash: Trash, folder: Path) -> Path | None:
    """A folder with a path to this one that could not be corrected, because nothing may be written there; None if there is none."""
    found = _changes(workspace, trash, folder, folder.with_name(f"{folder.name}.moved"), None)
    return next((file.parent for file, _ in found if not os.access(file.parent, os.W_OK)), None)


def _changes(workspace: Workspace, trash: Trash, old: Path, new: Path, names: tuple[str, str] | None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Files with paths to ``old``, and what they have to hold when it lies at ``new``."""
    for _, live, now, _trashed in _folders(workspace, trash):
        run, info = read_json_object(now / "run.json"), read_json_object(now / "generator.json")
        learnt, renamed = info.get("collection"), False
        if names and isinstance(learnt, dict) and learnt.get("name") == names[0] and "collection" in _inputs_at(run, old):
            learnt["name"], renamed = names[1], True
        if _redirect_base(info, live, old, new) or renamed:
            yield now / "generator.json", info
        if _redirect_run(run, old, new):  # last, as the path in it tells that the generator has learnt from the collection
            yield now / "run.json", run


def _folders(workspace: Workspace, trash: Trash) -> Iterator[tuple[str, Path, Path, bool]]:
    """Of every thing, finished or not: its kind, its folder when it is not in the trash, its folder now, whether it is in the trash."""
    for place in KINDS:
        with os.scandir(workspace.root / place) as entries:
            names = sorted(entry.name for entry in entries if re.fullmatch(SLUG, entry.name) and entry.is_dir(follow_symlinks=False))
        for name in names:
            yield place, workspace.root / place / name, workspace.root / place / name, False
    for entry in trash.entries():
        if entry.place in KINDS:
            yield entry.place, workspace.root / entry.place / entry.name, entry.folder, True


def _same(path: Any, folder: Path) -> bool:
    return isinstance(path, str) and bool(path) and "\0" not in path and os.path.abspath(path) == str(folder)


def _inputs_at(run: dict[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """The inputs of a run that lie in a folder, by their names."""
    inputs = run.get("inputs")
    if not isinstance(inputs, dict):
        return {}
    return {name: item for name, item in inputs.items() if isinstance(item, dict) and _same(item.get("path"), folder)}


def _settings(run: dict[str, Any]) -> dict[str, str]:
    """Settings of a run that may be paths: a study names its generator and its synthetic images there."""
    settings = run.get("settings")
    return {name: value for name, value in settings.items() if isinstance(value, str) and os.sep in value} if isinstance(settings, dict) else {}


def _relation(run: dict[str, Any], folder: Path) -> str | None:
    """What the thing that a run has made has to do with the one in a folder; None if nothing."""
    names = list(_inputs_at(run, folder)) + [name for name, path in _settings(run).items() if _same(path, folder)]
    if not names:
        return None
    if run.get("stage") == "study":
        return "used it"
    return _RELATIONS.get((str(run.get("stage")), names[0]), "was made from it")


def _base_places(info: dict[str, Any], live: Path) -> list[Path]:
    """Where an adapted generator looks for its base, in this order; empty for one that was not adapted."""
    base = info.get("base")
    if not isinstance(base, dict) or not all(isinstance(base.get(key), str) and "\0" not in base[key] for key in ("relative", "absolute")):
        return []
    return [Path(os.path.normpath(live / base["relative"])), Path(os.path.abspath(base["absolute"]))]


def _redirect_base(info: dict[str, Any], live: Path, old: Path, new: Path) -> bool:
    places = _base_places(info, live)
    if not places or not (places[0] == old or (places[1] in (old, old.resolve()) and not (places[0] / "generator.json").is_file())):
        return False
    info["base"] |= {"relative": os.path.relpath(new, live), "absolute": str(new.resolve())}
    return True


def _redirect_run(run: dict[str, Any], old: Path, new: Path) -> bool:
    found = [(item, "path") for item in _inputs_at(run, old).values()]
    found += [(run["settings"], name) for name, path in _settings(run).items() if _same(path, old)]
    for holder, key in found:
        holder[key] = str(new)
    return bool(found)

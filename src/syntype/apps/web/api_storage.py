"""Routes of disk use, of renaming and deleting, and of the trash."""

from __future__ import annotations

import shutil
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel

from syntype.apps.web.languages import gettext
from syntype.apps.web.requests import Slug
from syntype.apps.web.sizes import free_room, measure
from syntype.apps.web.storage import Thing
from syntype.apps.web.store import ACTIVE
from syntype.apps.web.studio import PROBLEMS, CurrentStudio, Studio
from syntype.apps.web.titles import Typed
from syntype.apps.web.trash import TRASH_ID, TrashEntry
from syntype.apps.web.words import num_photographs, num_species
from syntype.errors import UserError

__all__ = ["router", "show_storage", "show_thing"]

router = APIRouter(prefix="/api", tags=["storage"], responses=PROBLEMS)
Place = Literal["collections", "generators", "identifiers", "studies", "exports", "uploads"]
TrashId = Annotated[str, Path(pattern=TRASH_ID)]


class StoredThing(BaseModel):
    """Something that takes room. ``title`` is what people call it, ``name`` its folder.

    ``num_bytes``, ``num_files``: what would become free with it; null while it is being measured. ``finished``: false for what a job has left
    unfinished.
    """

    kind: Place
    name: str
    title: str
    finished: bool
    num_bytes: int | None
    num_files: int | None


class TrashedThing(BaseModel):
    """Something in the trash; ``deleted``: seconds since 1970, ``by``: the account that did it; ``num_bytes`` is null while it is being measured."""

    id: str
    kind: Place
    name: str
    title: str
    deleted: float
    by: str | None
    num_bytes: int | None
    num_files: int | None


class TrashDetail(TrashedThing):
    """Something in the trash, and what was made from it, one sentence for each kind."""

    dependents: list[str]


class Storage(BaseModel):
    """The disk and what the workspace holds, the largest first, in bytes.

    ``cache_bytes``: small pictures and decoded pixels, which fill again by themselves. ``measuring``: some sizes are not known yet: ask again.
    """

    free: int
    total: int
    cache_bytes: int
    things: list[StoredThing]
    trash: list[TrashedThing]
    measuring: bool


class ThingDetail(StoredThing):
    """One thing, and what to know before it is renamed or deleted.

    ``dependents``: what was made from it, one sentence for each kind. ``not_deleted``, ``not_renamed``: why it cannot be now, null if it can.
    """

    dependents: list[str]
    not_deleted: str | None
    not_renamed: str | None


class NewName(BaseModel):
    """A name as people type it; the folder is called the same in small letters, with hyphens in place of spaces."""

    name: Typed


class Restored(BaseModel):
    """Under which name to restore something; null: the one that it had."""

    name: Typed | None = None


class Freed(BaseModel):
    """What was deleted for good."""

    num_items: int
    num_bytes: int


def _stored(studio: Studio, thing: Thing) -> dict[str, object]:
    size = studio.storage.sizes.of(thing.folder)
    return {
        "kind": thing.place, "name": thing.name, "title": thing.title, "finished": thing.finished,
        "num_bytes": None if size is None else size.num_bytes, "num_files": None if size is None else size.num_files,
    }  # fmt: skip


def _trashed(studio: Studio, entry: TrashEntry) -> TrashedThing:
    size = studio.storage.sizes.of(entry.folder)
    title = studio.storage.titles.of(entry.place, entry.key)
    return TrashedThing(
        id=entry.id, kind=entry.place, name=entry.name, title=entry.name if title == entry.key else title, deleted=entry.deleted,
        by=entry.by,
        num_bytes=None if size is None else size.num_bytes, num_files=None if size is None else size.num_files,
    )  # type: ignore[arg-type]  # fmt: skip


def _upload_title(studio: Studio, thing: Thing) -> str:
    """What an upload is called that nobody has named: what it holds."""
    state = studio.uploads.state(thing.name)
    species = list(state.species)
    photographs = num_photographs(state.num_images)
    if not species:
        return photographs
    return gettext("{images} of {species}", images=photographs, species=species[0] if len(species) == 1 else num_species(len(species)))


@router.get("/storage")
def show_storage(studio: CurrentStudio) -> Storage:
    """How much room everything takes, and what is free. It answers at once: what is not known yet is measured in the background."""
    things, cache_bytes = [], 0
    for thing in studio.storage.things():
        shown = _stored(studio, thing)
        size = studio.storage.sizes.of(thing.folder)
        cache_bytes += 0 if size is None else size.cache_bytes
        if thing.place == "uploads" and thing.title == thing.name:
            shown["title"] = _upload_title(studio, thing)
        things.append(StoredThing.model_validate(shown))
    pictures = studio.storage.sizes.of(studio.workspace.root / ".cache")
    cache_bytes += 0 if pictures is None else pictures.num_bytes
    trash = [_trashed(studio, entry) for entry in studio.storage.trash.entries()]
    things.sort(key=lambda thing: (-(thing.num_bytes or 0), thing.kind, thing.name))
    disk = free_room(studio.workspace.root)
    return Storage(free=disk.free, total=disk.total, cache_bytes=cache_bytes, things=things, trash=trash, measuring=studio.storage.sizes.busy)


@router.delete("/storage/caches")
def empty_caches(studio: CurrentStudio) -> Freed:
    """Delete small pictures and decoded pixels; they are made again when they are needed. Not while a job waits or runs, which may use them."""
    with studio.queue.entering:
        if any(row.status in ACTIVE for row in studio.queue.list(200)):
            raise UserError(gettext("caches cannot be emptied while a job waits or runs. Try again when the jobs have ended."))
        studio.looks.stop()
        folders = [thing.folder for thing in studio.storage.things() if thing.place in ("collections", "identifiers")]
        caches = [path for path in (studio.workspace.root / ".cache", *(folder / ".cache" for folder in folders)) if path.is_dir()]
        freed = 0
        for cache in caches:
            if not cache.is_symlink():
                freed += measure(cache).num_bytes
                shutil.rmtree(cache, ignore_errors=True)
        (studio.workspace.root / ".cache").mkdir(exist_ok=True)
    return Freed(num_items=len(caches), num_bytes=freed)


@router.get("/storage/{kind}/{name}")
def show_thing(studio: CurrentStudio, kind: Place, name: Slug) -> ThingDetail:
    """One thing: how much room it takes, and what was made from it."""
    thing = studio.storage.thing(kind, name)
    studio.storage.sizes.now(thing.folder)
    shown = _stored(studio, thing)
    if kind == "uploads" and thing.title == thing.name:
        shown["title"] = _upload_title(studio, thing)
    used = studio.storage.in_use(thing)
    shown["dependents"] = studio.storage.told_dependents(thing)
    shown["not_deleted"] = _sentence(used or studio.storage.kept_by(thing))
    shown["not_renamed"] = None if kind == "uploads" else _sentence(used or studio.storage.named_by(thing))
    return ThingDetail.model_validate(shown)


@router.post("/storage/{kind}/{name}/rename")
def rename_thing(studio: CurrentStudio, kind: Place, name: Slug, new: NewName) -> StoredThing:
    """Give it another name; its verdicts, what was made from it and its jobs go along. What a job waits for, reads or makes is refused."""
    _stop_looks(studio, kind, name)
    return StoredThing.model_validate(_stored(studio, studio.storage.rename(kind, name, new.name)))


@router.delete("/storage/{kind}/{name}")
def delete_thing(request: Request, studio: CurrentStudio, kind: Place, name: Slug) -> TrashedThing:
    """Move it to the trash. What a job waits for, reads or makes is refused, and so is a generator that adapted ones need."""
    _stop_looks(studio, kind, name)
    return _trashed(studio, studio.storage.delete(kind, name, request.state.visitor.name))


@router.get("/trash")
def list_trash(studio: CurrentStudio) -> list[TrashedThing]:
    """All that lies in the trash, deleted last first."""
    return [_trashed(studio, entry) for entry in studio.storage.trash.entries()]


@router.get("/trash/{trashed}")
def show_trashed(studio: CurrentStudio, trashed: TrashId) -> TrashDetail:
    """One thing in the trash, and what was made from it."""
    entry = studio.storage.trash.find(trashed)
    studio.storage.sizes.now(entry.folder)
    return TrashDetail(**_trashed(studio, entry).model_dump(), dependents=studio.storage.told_dependents(entry))


@router.post("/trash/{trashed}/restore")
def restore_thing(studio: CurrentStudio, trashed: TrashId, wanted: Restored) -> StoredThing:
    """Take it out of the trash again, with its verdicts. If its name is taken, give another one."""
    return StoredThing.model_validate(_stored(studio, studio.storage.restore(trashed, wanted.name)))


@router.delete("/trash/{trashed}")
def destroy_thing(studio: CurrentStudio, trashed: TrashId) -> Freed:
    """Delete it for good, with its verdicts."""
    size = studio.storage.sizes.now(studio.storage.trash.find(trashed).folder)
    studio.storage.destroy(trashed)
    return Freed(num_items=1, num_bytes=size.num_bytes)


@router.delete("/trash")
def empty_trash(studio: CurrentStudio) -> Freed:
    """Delete all that lies in the trash for good."""
    freed = [destroy_thing(studio, entry.id) for entry in studio.storage.trash.entries()]
    return Freed(num_items=len(freed), num_bytes=sum(item.num_bytes for item in freed))


def _stop_looks(studio: Studio, kind: str, name: str) -> None:
    """What is computed of a collection ends before it moves, so that nothing is written where it was."""
    if kind == "collections":
        studio.looks.stop(name)


def _sentence(clause: str | None) -> str | None:
    return None if clause is None else f"{clause[:1].upper()}{clause[1:]}."

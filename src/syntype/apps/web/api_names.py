"""Routes to change a collection later: correct the names of photographs, move photographs to another collection, and take the latest change back."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, Request
from pydantic import BaseModel

from syntype.apps.web.api_collections import Duplicate, ImagesTogether, image_row, index_of
from syntype.apps.web.import_options import Text
from syntype.apps.web.languages import N_, gettext, ngettext
from syntype.apps.web.requests import Slug
from syntype.apps.web.studio import PROBLEMS, CurrentStudio, Studio, signed_name
from syntype.apps.web.translated import translated
from syntype.apps.web.words import num_photographs
from syntype.collection.changes import latest_change
from syntype.collection.moving import MoveResult, move_photographs, moved_with, undo_move
from syntype.collection.relabel import RelabelResult, relabel, undo_relabel
from syntype.errors import InputError, UserError

__all__ = ["router"]

router = APIRouter(prefix="/api/collections/{name}", tags=["collections"], responses=PROBLEMS)
_PAIRS = 12
"""Photographs that look like one that is there, which a move shows."""
_MADE_BEFORE = N_(
    "What was made before keeps the photographs that it was made from; reports of studies name the fingerprint of the collection of then."
)


class NewNames(BaseModel):
    """Photographs and the species that they show; null leaves them out. ``who`` corrects."""

    image_ids: ImagesTogether
    species: Text | None
    who: Text | None = None


class NamesChanged(BaseModel):
    """What was changed, in a sentence. ``num_companions``: photographs of the same groups that keep another name."""

    told: str
    num_companions: int = 0


class Move(BaseModel):
    """Photographs to be moved to another collection; without ``image_ids`` all. ``dry_run``: only tell what would be."""

    to: Slug
    image_ids: ImagesTogether | None = None
    who: Text | None = None
    dry_run: bool = False


class Moved(BaseModel):
    """What was moved, or would be.

    ``told``: what goes where and why, in sentences. ``dependents``: what was made from the two collections, and what becomes of it.
    ``near``: photographs beside those there that look nearly the same. ``trash``: where the collection is that has lost its last photograph.
    """

    num_images: int
    told: list[str]
    dependents: list[str]
    near: list[Duplicate]
    trash: str | None = None


def _told(result: RelabelResult) -> NamesChanged:
    parts = [f"{num_photographs(number)}: {pair}." for pair, number in result.renamed.items()]
    if result.num_left_out:
        parts.append(ngettext("{n} left out.", "{n} left out.", result.num_left_out))
    if result.num_changed_since:
        parts.append(
            ngettext("{n} were changed since, and stay as they are.", "{n} were changed since, and stay as they are.", result.num_changed_since)
        )
    if result.num_companions:
        parts.append(
            ngettext(
                "{n} others of the same observations keep another name.",
                "{n} others of the same observations keep another name.",
                result.num_companions,
            )
        )
    return NamesChanged(
        told=" ".join(parts) or gettext("The photographs that were left out are taken in again."), num_companions=result.num_companions
    )


@router.post("/names")
def correct_names(request: Request, studio: CurrentStudio, name: Slug, asked: NewNames) -> NamesChanged:
    """Give photographs another species, or leave them out. Refused while a job reads the collection."""
    who = signed_name(request, studio, asked.who)
    with studio.storage.changing("collections", name) as folder:
        return _told(relabel(folder, dict.fromkeys(asked.image_ids, asked.species), who=who))


@router.post("/move")
def move(request: Request, studio: CurrentStudio, name: Slug, asked: Move) -> Moved:
    """Move photographs to another collection, in which all are learnt from. Refused while a job reads one of the two.

    A collection that has lost its last photograph moves to the trash.
    """
    target = studio.workspace.find("collections", asked.to)
    things = [studio.storage.thing("collections", one) for one in (name, asked.to)]
    depends = list(dict.fromkeys(sentence for thing in things for sentence in studio.storage.told_dependents(thing)))
    if asked.dry_run:
        found = move_photographs(studio.workspace.find("collections", name), target, asked.image_ids, dry_run=True)
        return _moved(studio, name, asked.to, found, depends)
    who = signed_name(request, studio, asked.who)
    with studio.storage.changing("collections", name, asked.to) as folder:
        found = move_photographs(folder, target, asked.image_ids, who=who)
    told = _moved(studio, name, asked.to, found, depends)
    if not index_of(studio, name).num_images:
        with suppress(UserError):  # it is needed, and stays as it is: empty
            told.trash = studio.storage.delete("collections", name, request.state.visitor.name).id
    return told


@router.post("/changes/undo")
def undo_change(studio: CurrentStudio, name: Slug) -> NamesChanged:
    """Take the latest change back that has not been taken back yet: names that were corrected, or photographs that left or joined."""
    folder = studio.workspace.find("collections", name)
    change = latest_change(folder)
    if change is None:
        raise InputError(gettext("no change is left to be taken back"), gettext("Correct a name, or move photographs, first."))
    if change.kind == "relabel":
        with studio.storage.changing("collections", name) as folder:
            return _told(undo_relabel(folder))
    places = [entry.folder for entry in studio.storage.trash.entries() if entry.place == "collections"]
    other = studio.workspace.slug_of("collections", moved_with(folder, change, places))
    with studio.storage.changing("collections", name, *([] if other is None else [other])) as folder:
        found = undo_move(folder, places)
    moved = ngettext("{n} photograph moved back.", "{n} photographs moved back.", found.num_images)
    gone = gettext("The collection that they came from is in the trash: restore it on the page Storage.")
    changed = gettext("{name} has changed too.", name=other) if other else gone
    return NamesChanged(told=f"{moved} {changed}")


def _moved(studio: Studio, name: str, to: str, found: MoveResult, depends: list[str]) -> Moved:
    near = []
    if not found.number:  # afterwards they are not in the first collection any more
        here, there = index_of(studio, name), index_of(studio, to)
        near = [Duplicate(image=image_row(here.image(one)), first=image_row(there.image(other))) for one, other in found.near[:_PAIRS]]
    return Moved(
        num_images=found.num_images,
        told=[translated(sentence) for sentence in found.sentences()],
        dependents=[*depends, gettext(_MADE_BEFORE)] if depends else [],
        near=near,
    )

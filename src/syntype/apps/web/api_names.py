"""Routes to correct the names of photographs in a collection."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from syntype.apps.web.api_collections import ImagesTogether
from syntype.apps.web.import_options import Text
from syntype.apps.web.requests import Slug
from syntype.apps.web.studio import PROBLEMS, CurrentStudio
from syntype.collection.relabel import RelabelResult, relabel, undo_relabel

__all__ = ["router"]

router = APIRouter(prefix="/api/collections/{name}/names", tags=["collections"], responses=PROBLEMS)


class NewNames(BaseModel):
    """Photographs and the species that they show; null leaves them out. ``who`` corrects."""

    image_ids: ImagesTogether
    species: Text | None
    who: Text | None = None


class NamesChanged(BaseModel):
    """What was changed, in a sentence. ``num_companions``: photographs of the same groups that keep another name."""

    told: str
    num_companions: int


def _told(result: RelabelResult) -> NamesChanged:
    parts = [f"{number:,} {'photograph' if number == 1 else 'photographs'}: {pair}." for pair, number in result.renamed.items()]
    if result.num_left_out:
        parts.append(f"{result.num_left_out:,} left out.")
    if result.num_changed_since:
        parts.append(f"{result.num_changed_since:,} were changed since, and stay as they are.")
    if result.num_companions:
        parts.append(f"{result.num_companions:,} others of the same observations keep another name.")
    return NamesChanged(told=" ".join(parts) or "The photographs that were left out are taken in again.", num_companions=result.num_companions)


@router.post("")
def correct_names(studio: CurrentStudio, name: Slug, asked: NewNames) -> NamesChanged:
    """Give photographs another species, or leave them out. Refused while a job reads the collection."""
    with studio.storage.changing("collections", name) as folder:
        return _told(relabel(folder, dict.fromkeys(asked.image_ids, asked.species), who=asked.who))


@router.post("/undo")
def undo_names(studio: CurrentStudio, name: Slug) -> NamesChanged:
    """Take the latest change of names back that has not been taken back yet."""
    with studio.storage.changing("collections", name) as folder:
        return _told(undo_relabel(folder))

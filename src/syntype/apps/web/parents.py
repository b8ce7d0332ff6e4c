"""Images beside the photographs from which they were made."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from syntype.apps.web.requests import Slug
from syntype.apps.web.studio import PROBLEMS, CurrentStudio
from syntype.collection import Collection

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["collections"], responses=PROBLEMS)


class Child(BaseModel):
    """An image that was made from a photograph; ``strength``: how far a variation is from it, 0 to 1."""

    image_id: str
    species: str | None
    sha256: str | None
    strength: float | None


class Parent(BaseModel):
    """A photograph and what was made from it. ``collection``: where it lies; null if it is not there any more."""

    image_id: str
    collection: str | None
    num_children: int
    children: list[Child]


class Parents(BaseModel):
    """The first photographs, in the order of the collection, of ``total``."""

    total: int
    parents: list[Parent]


@router.get("/collections/{name}/parents")
def list_parents(
    studio: CurrentStudio, name: Slug, limit: Annotated[int, Query(ge=1, le=100)] = 20, each: Annotated[int, Query(ge=1, le=100)] = 24
) -> Parents:
    """For each photograph from which images of a collection were made, the first ``each`` of these."""
    table = Collection.open(studio.workspace.find("collections", name), hashes=False).table
    source = studio.workspace.photographs_of("collections", name)
    made: dict[str, list[int]] = {}
    for row, parents in enumerate(table["parents"]):
        if isinstance(parents, str) and (names := _loaded(parents)) and isinstance(names, list):
            made.setdefault(str(names[0]), []).append(row)
    there = set() if source is None else set(Collection.open(studio.workspace.find("collections", source), hashes=False).table["image_id"])
    shown = []
    for parent, rows in list(made.items())[:limit]:
        some = table.iloc[rows[:each]]
        columns = (some["image_id"], some["species"], some["sha256"], some["controls"])
        children = [
            Child(image_id=image, species=_text(species), sha256=_text(sha256), strength=_strength(controls))
            for image, species, sha256, controls in zip(*columns, strict=True)
        ]
        shown.append(Parent(image_id=parent, collection=source if parent in there else None, num_children=len(rows), children=children))
    return Parents(total=len(made), parents=shown)


def _loaded(text: Any) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _strength(controls: Any) -> float | None:
    told = _loaded(controls) if isinstance(controls, str) else None
    vary = told.get("vary") if isinstance(told, dict) else None
    strength = vary.get("strength") if isinstance(vary, dict) else None
    return float(strength) if isinstance(strength, (int, float)) else None

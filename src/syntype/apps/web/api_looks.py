"""Routes of what is computed of a collection: the map of its images, outliers, and photographs that are likely mislabelled."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from syntype.apps.web.api_collections import ImageRow, Offset, image_row
from syntype.apps.web.languages import gettext, number
from syntype.apps.web.looks import LookKind, LookState
from syntype.apps.web.requests import Slug
from syntype.apps.web.studio import PROBLEMS, CurrentStudio
from syntype.apps.web.words import percent_in_words

__all__ = ["SuspectKind", "list_suspects", "router"]

router = APIRouter(prefix="/api/collections/{name}", tags=["looks"], responses=PROBLEMS)
SuspectKind = Literal["label", "outlier", "near-duplicate"]


class MapPoint(BaseModel):
    """An image on the map; ``collection``: where it is."""

    collection: str
    image_id: str
    sha256: str | None
    species: str | None
    origin: str
    x: float
    y: float


class ImageMap(BaseModel):
    """The map of a collection's images. ``share``: part of the differences between the images that it holds, 0..1."""

    share: float | None
    points: list[MapPoint]


class Suspect(BaseModel):
    """A photograph that an expert should look at, one to compare it with, and why."""

    image: ImageRow
    beside: ImageRow | None
    words: str


class SuspectPage(BaseModel):
    """A page of them, the most suspicious first. ``too_few``: species with too few observations to be judged."""

    total: int
    offset: int
    suspects: list[Suspect]
    too_few: list[str]


@router.get("/looks/{kind}")
def show_look(studio: CurrentStudio, name: Slug, kind: LookKind) -> LookState:
    """How far the map, or the search for doubtful photographs, is for the collection as it is now."""
    return studio.looks.state(name, kind)


@router.post("/looks/{kind}", status_code=202)
def start_look(studio: CurrentStudio, name: Slug, kind: LookKind) -> LookState:
    """Begin it, unless it runs or is there. One runs at a time; it ends with the server."""
    return studio.looks.start(name, kind)


@router.get("/map")
def show_map(studio: CurrentStudio, name: Slug) -> ImageMap:
    """The map, once it is finished."""
    hashes: dict[str, dict[str, str | None]] = {}
    points = []
    for row in studio.looks.rows(name, "map"):
        of = row["collection"]
        if of not in hashes:
            table = studio.catalogue.index(studio.workspace.find("collections", of)).table
            hashes[of] = dict(zip(table["image_id"].to_pylist(), table["sha256"].to_pylist(), strict=True))
        shown: dict[str, Any] = {**row, "species": row["species"] or None, "sha256": hashes[of].get(row["image_id"])}
        points.append(MapPoint.model_validate(shown))
    return ImageMap(share=studio.looks.summary(name, "map").get("share"), points=points)


@router.get("/suspects")
def list_suspects(
    studio: CurrentStudio, name: Slug, kind: SuspectKind, offset: Offset = 0, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> SuspectPage:
    """Photographs of the search for doubtful ones, once it is finished: another species is more probable, unlike its species, or named twice."""
    rows = [row for row in studio.looks.rows(name, "suspects") if row["kind"] == kind]
    index = studio.catalogue.index(studio.workspace.find("collections", name))
    shown = rows[offset : offset + limit]
    images = index.images([row["image_id"] for row in shown]) if shown else []
    suspects = [
        Suspect(
            image=image_row(image), beside=image_row(index.image(row["beside_image_id"])) if row["beside_image_id"] else None, words=_words(kind, row)
        )
        for row, image in zip(shown, images, strict=True)
    ]
    too_few = studio.looks.summary(name, "suspects").get("too_few_to_judge", [])
    return SuspectPage(total=len(rows), offset=offset, suspects=suspects, too_few=too_few)


def _words(kind: SuspectKind, row: dict[str, str]) -> str:
    """Why a photograph is listed."""
    names = {"species": row["species"], "suggested": row["suggested_species"]}
    if kind == "label":
        given, other = (percent_in_words(float(row[f"probability_{one}"])) for one in ("given", "suggested"))
        return gettext("Called {species} ({given} probable). It looks more like {suggested} ({other} probable).", **names, given=given, other=other)
    if kind == "outlier":
        score = number(float(row["score"]), "0.0")
        return gettext("Unlike all other photographs of {species}: {score} deviations further from them than is usual.", **names, score=score)
    return gettext("Called {species}. Nearly the same picture is called {suggested}: one of the two names is wrong.", **names)

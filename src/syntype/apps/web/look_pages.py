"""The pages that look at a whole collection: its map, photographs beside synthetic images, outliers and doubtful names."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from syntype.apps.web.api_collections import Offset, list_images
from syntype.apps.web.api_looks import SuspectKind, list_suspects
from syntype.apps.web.pages import render
from syntype.apps.web.requests import Slug
from syntype.apps.web.studio import CurrentStudio, Studio

__all__ = ["router"]

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
SUSPECTS = 50
"""Photographs on a page."""
SPECIES, IMAGES = 10, 12
"""Species on a page, and images of each in a row."""
_KINDS: dict[str, SuspectKind] = {"outliers": "outlier", "mislabelled": "label"}


def _head(studio: Studio, name: str) -> dict[str, object]:
    """What all these pages show: the collection, and how many of its images are real and synthetic."""
    index = studio.catalogue.index(studio.workspace.find("collections", name))
    return {"name": name, "title": studio.storage.titles.of("collections", name), "origins": index.facets["origin"]}


@router.get("/collections/{name}/map")
def image_map(request: Request, studio: CurrentStudio, name: Slug) -> Response:
    """The map of a collection's images."""
    shown = {"state": studio.looks.state(name, "map"), "beside": studio.looks.photographs(name)}
    return render(request, "map", **_head(studio, name), **shown)


@router.get("/collections/{name}/outliers")
def outliers(request: Request, studio: CurrentStudio, name: Slug, offset: Offset = 0) -> Response:
    """Photographs that are unlike all others of their species."""
    return _suspects(request, studio, name, "outliers", offset)


@router.get("/collections/{name}/mislabelled")
def mislabelled(request: Request, studio: CurrentStudio, name: Slug, offset: Offset = 0) -> Response:
    """Photographs whose name is in doubt."""
    return _suspects(request, studio, name, "mislabelled", offset)


def _suspects(request: Request, studio: Studio, name: str, view: str, offset: int) -> Response:
    """Photographs that an expert should look at, the most suspicious first, with the reason in words."""
    state = studio.looks.state(name, "suspects")
    finished = state.status == "finished"
    page = list_suspects(studio, name, _KINDS[view], offset, SUSPECTS) if finished else None
    double = list_suspects(studio, name, "near-duplicate", 0, 200) if finished and view == "mislabelled" and not offset else None
    photographs = studio.looks.photographs(name)
    return render(
        request, "suspects", **_head(studio, name), state=state, view=view, page=page, double=double, size=SUSPECTS, photographs=photographs
    )


@router.get("/collections/{name}/beside")
def beside(request: Request, studio: CurrentStudio, name: Slug, species: str | None = None, offset: Offset = 0) -> Response:
    """For every species a row of photographs and a row of synthetic images."""
    head = _head(studio, name)
    index = studio.catalogue.index(studio.workspace.find("collections", name))
    there = index.facets["origin"]
    real = name if there.get("real") else studio.looks.photographs(name)
    names = sorted(one for one in index.facets["species"] if one != "none")
    chosen = [species] if species in names else names[offset : offset + SPECIES]

    def row(collection: str | None, origin: str, of: str) -> object:
        return None if collection is None else list_images(studio, collection, {"species": of, "origin": origin}, limit=IMAGES)

    rows = [(of, row(real, "real", of), row(name, "synthetic", of)) for of in chosen] if there.get("synthetic") and real else []
    made = [one for one in studio.workspace.slugs("collections") if one != name and studio.workspace.photographs_of("collections", one) == name]
    shown = {"real": real, "rows": rows, "names": names, "species": species, "offset": offset, "size": SPECIES, "made": made}
    return render(request, "beside", **head, **shown)

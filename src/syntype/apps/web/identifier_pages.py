"""The page on which an identifier is tried: What is this?"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from syntype.apps.web.api_identifiers import show_identifier
from syntype.apps.web.pages import render
from syntype.apps.web.requests import Slug
from syntype.apps.web.studio import CurrentStudio

__all__ = ["router"]

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/identifiers/{name}")
def identifier(request: Request, studio: CurrentStudio, name: Slug) -> Response:
    """Where photographs are dropped and named, and what the identifier knows."""
    found = show_identifier(studio, name)
    of = None if found.collection is None else studio.storage.titles.of("collections", found.collection)
    return render(request, "identifier", identifier=found, photographs=of)

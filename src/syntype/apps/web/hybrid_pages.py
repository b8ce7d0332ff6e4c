"""The page on which hybrids are drawn while somebody moves a slider."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from syntype.apps.web.api_jobs import hybrid_generators, list_generators
from syntype.apps.web.generators import generator_species
from syntype.apps.web.pages import render
from syntype.apps.web.studio import CurrentStudio

__all__ = ["router"]

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/hybrids")
def hybrids(request: Request, studio: CurrentStudio) -> Response:
    """One picture between two species, and what can be done with it."""
    generators = hybrid_generators(studio)
    given = request.query_params.get("generator")
    chosen = next((item for item in generators if (item.unfinished is None if given is None else item.name == given)), None)
    species = [] if chosen is None else sorted(generator_species(studio.workspace.find("generators", chosen.name)))
    known = any(item.damaged is None for item in list_generators(studio))
    lacks = None if generators else "ability" if known else "generator"
    return render(request, "hybrids", generators=generators, generator=chosen, species=species, given=given, lacks=lacks)

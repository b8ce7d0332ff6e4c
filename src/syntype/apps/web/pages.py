"""The pages: rendered here, made lively by small scripts in ``static/`` that speak to the REST interface. No page needs anything from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader
from starlette.staticfiles import StaticFiles

from syntype.apps.web.api_collections import Filters, Offset, list_collections, list_images, show_collection
from syntype.apps.web.api_jobs import JobNumber, list_exports, list_generators, list_studies, show_job
from syntype.apps.web.requests import Slug
from syntype.apps.web.studio import Here

__all__ = ["STATIC", "render", "router"]

_HERE = Path(__file__).parent
STATIC = StaticFiles(directory=_HERE / "static")
PAGE_SIZE = 120
router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
_environment = Environment(loader=FileSystemLoader(_HERE / "templates"), autoescape=True)  # whatever the files are called
_environment.globals["fields"] = _environment.get_template("fields.html.j2").module
_templates = Jinja2Templates(env=_environment)


def render(request: Request, page: str, status: int = 200, **shown: Any) -> Response:
    """A page of ``templates/``."""
    return _templates.TemplateResponse(request, f"{page}.html.j2", shown, status)


@router.get("/")
def home(request: Request, here: Here) -> Response:
    """What the workspace holds, the queue, and where photographs come in."""
    shown = {"collections": list_collections(here), "generators": list_generators(here), "studies": list_studies(here), "exports": list_exports(here)}
    return render(request, "home", **shown)


@router.get("/signin")
def sign_in(request: Request, here: Here) -> Response:
    """Where the token is asked for."""
    if here.config.token is None:
        return RedirectResponse("/", 303)
    return render(request, "signin")


@router.get("/jobs/{number}")
def job(request: Request, here: Here, number: JobNumber) -> Response:
    """How far a job is, what can be seen of it already, and where to go from there."""
    return render(request, "job", job=show_job(here, number))


@router.get("/collections/{name}")
def grid(request: Request, here: Here, name: Slug, chosen: Filters, offset: Offset = 0) -> Response:
    """A page of a collection's images, and filters."""
    page = list_images(here, name, chosen, offset=offset, limit=PAGE_SIZE)

    def address(to: int) -> str:
        return "?" + urlencode({**chosen, "offset": to})

    shown = {
        "collection": show_collection(here, name),
        "page": page,
        "chosen": chosen,
        "earlier": address(max(0, offset - PAGE_SIZE)) if offset > 0 else None,
        "later": address(offset + PAGE_SIZE) if offset + PAGE_SIZE < page.total else None,
    }
    return render(request, "grid", **shown)


@router.get("/collections/{name}/curate")
def curate(request: Request, here: Here, name: Slug) -> Response:
    """Judge a collection's synthetic images one by one."""
    shown = {"collection": show_collection(here, name), "references": [item.name for item in list_collections(here) if item.origins.get("real")]}
    return render(request, "curate", **shown)

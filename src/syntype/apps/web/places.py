"""The first page, and the four places of the Studio: photographs, generators, images, studies. Each lists what is there, newest first."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from syntype.apps.web.api_collections import list_collections
from syntype.apps.web.api_identifiers import list_identifiers
from syntype.apps.web.api_jobs import list_exports, list_generators, list_studies
from syntype.apps.web.api_uploads import list_uploads
from syntype.apps.web.pages import render
from syntype.apps.web.shown import glossary
from syntype.apps.web.studio import CurrentStudio, Studio
from syntype.apps.web.workspace import KINDS, MARKS, Kind

__all__ = ["router"]

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
NEWEST = 6
"""Things that the first page lists."""


class _Thing(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def damaged(self) -> str | None: ...


T = TypeVar("T", bound=_Thing)


@router.get("/")
def home(request: Request, studio: CurrentStudio) -> Response:
    """What the Studio is for, the four places with what each has and the next step, and where photographs come in.

    Reviewers and guests see what there is to judge and to look at.
    """
    if request.state.visitor.role != "owner":
        return render(request, "looking", **_listed(studio, "collections"))
    shown = _listed(studio, *KINDS)
    newest = [(kind, item) for kind in _FOLDERS for item in shown[kind] if item.damaged is None]
    newest.sort(key=lambda pair: -shown["made"](_FOLDERS[pair[0]], pair[1].name))
    once: dict[tuple[Kind, str], tuple[str, Any]] = {}  # a collection with both kinds of images is in two places
    for kind, item in newest:
        once.setdefault((_FOLDERS[kind], item.name), (kind, item))
    return render(request, "home", newest=list(once.values())[:NEWEST], **shown, **_uploads(studio))


@router.get("/photographs")
def photographs(request: Request, studio: CurrentStudio) -> Response:
    """Collections of real photographs, and where photographs come in."""
    return render(request, "photographs", **_listed(studio, "collections"), **_uploads(studio))


@router.get("/generators")
def generators(request: Request, studio: CurrentStudio) -> Response:
    """What draws images."""
    shown = _listed(studio, "generators")
    return render(request, "generators", **(shown if shown["generators"] else _listed(studio, "collections", "generators")))


@router.get("/images")
def images(request: Request, studio: CurrentStudio) -> Response:
    """Collections of synthetic images, and exports."""
    shown = _listed(studio, "collections", "exports")
    return render(request, "images", **(shown if shown["images"] else _listed(studio, "collections", "exports", "generators")))


@router.get("/studies")
def studies(request: Request, studio: CurrentStudio) -> Response:
    """Whether the images help."""
    return render(request, "studies", **_listed(studio, "collections", "generators", "identifiers", "studies"))


@router.get("/glossary")
def show_glossary(request: Request) -> Response:
    """What the terms mean."""
    return render(request, "glossary", sections=glossary())


_FOLDERS: dict[str, Kind] = {
    "photographs": "collections", "generators": "generators", "images": "collections", "identifiers": "identifiers", "studies": "studies",
    "exports": "exports",
}  # fmt: skip


def _listed(studio: Studio, *parts: Kind) -> dict[str, Any]:
    """What is there of some kinds by place, newest first; a collection with both kinds of images is in two places."""
    made = {(kind, name): _made(studio, kind, name) for kind in parts for name in studio.workspace.slugs(kind)}

    def newest(kind: Kind, items: Iterable[T]) -> list[T]:
        return sorted(items, key=lambda item: (-made.get((kind, item.name), 0.0), item.name))

    shown: dict[str, Any] = {"made": lambda kind, name: made.get((kind, name), 0.0)}
    if "collections" in parts:
        collections = newest("collections", list_collections(studio))
        shown["photographs"] = [item for item in collections if item.origins.get("real") or not item.origins]
        shown["images"] = [item for item in collections if item.origins.get("synthetic")]
        shown["drawn"] = {item.name for item in collections if studio.workspace.manifest("collections", item.name).get("stage") == "reef"}
    if "generators" in parts:
        shown["generators"] = sorted(newest("generators", list_generators(studio)), key=lambda item: item.unfinished is not None)
    if "identifiers" in parts:
        shown["identifiers"] = newest("identifiers", list_identifiers(studio))
    if "studies" in parts:
        shown["studies"] = newest("studies", list_studies(studio))
    if "exports" in parts:
        shown["exports"] = newest("exports", list_exports(studio))
    return shown


def _made(studio: Studio, kind: Kind, name: str) -> float:
    """When a thing was complete, in seconds since 1970."""
    folder = studio.workspace.place(kind, name)
    for file in ("recipe.yaml", MARKS[kind]):  # verdicts change the mark of a collection later
        with suppress(OSError):
            return (folder / file).stat().st_mtime
    return 0.0


def _uploads(studio: Studio) -> dict[str, Any]:
    """What was sent and is not imported yet."""
    return {"uploads": list_uploads(studio), "called": studio.storage.titles.of}

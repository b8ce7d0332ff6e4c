"""What visitors without an account may do: draw with the generators of ``--public``, and nothing else.

Their pages lie under ``/try``, their drawings under ``/api/try``. Every picture says that it is synthetic, on the page and in the file. How many
drawings are asked for is limited, in all and for each address, so that visitors keep neither one another nor the Studio's own people from working.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException

from syntype.apps.web.api_hybrids import AnimationAsked, HybridAsked, SheetAsked, animation_of, code_of, image_of, sheet_of
from syntype.apps.web.api_jobs import show_generator
from syntype.apps.web.drawing import Allowance
from syntype.apps.web.generators import describe_generator, generator_species
from syntype.apps.web.languages import gettext
from syntype.apps.web.pages import render
from syntype.apps.web.requests import Slug
from syntype.apps.web.studio import PROBLEMS, CurrentStudio, Studio
from syntype.apps.web.workspace import Workspace
from syntype.errors import InputError, UnknownNameError

__all__ = ["require_public", "router"]

router = APIRouter(tags=["visitors"], responses=PROBLEMS)
_DRAWN: dict[str, Any] = {"response_class": Response}
_PAGE: dict[str, Any] = {"response_class": HTMLResponse, "include_in_schema": False}


def require_public(workspace: Workspace, names: tuple[str, ...]) -> None:
    """Check that visitors can draw with these generators.

    Raises:
        UnknownNameError: the workspace has none of a name.
        InputError: one cannot draw hybrids.
    """
    for name in names:
        if "blend" not in describe_generator(workspace.find("generators", name))["abilities"]:
            raise InputError(f"--public {name}: this generator cannot draw hybrids", "Name one of a family that is trained, such as projected.")


@router.get("/try", **_PAGE)
def choose(request: Request, studio: CurrentStudio) -> Response:
    """The generators that visitors may use."""
    names = studio.config.public
    if not names:
        raise HTTPException(404)
    for name in names:
        _require(studio, name)
    if len(names) == 1:
        return RedirectResponse(f"/try/{names[0]}", 303)
    return render(request, "try-choose", generators=[show_generator(studio, name) for name in names])


@router.get("/try/{generator}", **_PAGE)
def try_generator(request: Request, studio: CurrentStudio, generator: Slug) -> Response:
    """One picture between two species."""
    _require(studio, generator)
    species = sorted(generator_species(studio.workspace.find("generators", generator)))
    shown = show_generator(studio, generator)
    return render(request, "try", generator=shown, species=species, several=len(studio.config.public) > 1)


@router.get("/api/try/{generator}/sheet", **_DRAWN)
def show_sheet(request: Request, studio: CurrentStudio, generator: Slug, asked: Annotated[SheetAsked, Query()]) -> Response:
    """See /api/hybrids/{generator}/sheet."""
    return sheet_of(studio, generator, asked, _allowed(request, studio, generator))


@router.get("/api/try/{generator}/image", **_DRAWN)
def show_hybrid(request: Request, studio: CurrentStudio, generator: Slug, asked: Annotated[HybridAsked, Query()]) -> Response:
    """One hybrid as a PNG, enlarged, with a line below it that it is synthetic."""
    return image_of(studio, generator, asked, _allowed(request, studio, generator), visibly=True)


@router.get("/api/try/{generator}/animation", **_DRAWN)
def show_animation(request: Request, studio: CurrentStudio, generator: Slug, asked: Annotated[AnimationAsked, Query()]) -> Response:
    """An animation, enlarged, with a line below it that it is synthetic."""
    return animation_of(studio, generator, asked, _allowed(request, studio, generator), visibly=True)


@router.get("/api/try/{generator}/code", **_DRAWN)
def show_code(request: Request, studio: CurrentStudio, generator: Slug, asked: Annotated[HybridAsked, Query()]) -> Response:
    """The QR code of the link that opens a hybrid, as an SVG."""
    _require(studio, generator)
    return code_of(request, studio, f"/try/{generator}", asked.hybrid())


def _require(studio: Studio, generator: str) -> None:
    if generator not in studio.config.public:
        raise UnknownNameError("public generator", generator, studio.config.public)
    if generator not in studio.workspace.slugs("generators"):  # an error of the workspace would name the others
        raise HTTPException(404, gettext("this generator is not there any more. Ask those who run the Studio."))


def _allowed(request: Request, studio: Studio, generator: str) -> Allowance:
    """How much a visitor may ask for."""
    _require(studio, generator)
    return Allowance(studio.config.limits.public_drawings, lambda: studio.turns.take(request.scope))

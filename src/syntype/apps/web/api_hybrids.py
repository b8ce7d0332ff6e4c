"""Routes of hybrids that are drawn while somebody looks: sheets of frames, pictures, animations, favourites and codes of links."""

from __future__ import annotations

import json
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from syntype.apps.web.drawing import Allowance
from syntype.apps.web.favourites import add_favourite, favourite_picture, list_favourites, remove_favourite
from syntype.apps.web.generators import describe_generator, generator_species
from syntype.apps.web.languages import gettext
from syntype.apps.web.links import link_to, qr_code
from syntype.apps.web.requests import Slug
from syntype.apps.web.studio import PROBLEMS, CurrentStudio, Studio, image_answer
from syntype.apps.web.titles import as_slug
from syntype.errors import UnsupportedError, require_known

__all__ = ["AnimationAsked", "HybridAsked", "SheetAsked", "animation_of", "code_of", "image_of", "router", "sheet_of"]

router = APIRouter(prefix="/api/hybrids", tags=["hybrids"], responses=PROBLEMS)
_DRAWN: dict[str, Any] = {"response_class": Response}
FavouriteId = Annotated[str, Path(pattern="^[0-9a-f]{20}$")]
_SEED = Field(ge=0, le=2**31 - 1)


class HybridAsked(BaseModel):
    """A hybrid: ``x`` is the position between the species, ``y`` that between the individuals, which are the seeds ``seed`` and ``other``."""

    first: str = Field(min_length=1, max_length=200)
    second: str = Field(min_length=1, max_length=200)
    seed: Annotated[int, _SEED] = 0
    other: Annotated[int, _SEED] = 1
    x: float = Field(0.5, ge=0, le=1)
    y: float = Field(0.0, ge=0, le=1)

    def hybrid(self) -> dict[str, Any]:
        """What draws it."""
        return {name: getattr(self, name) for name in HybridAsked.model_fields}


class SheetAsked(HybridAsked):
    """Frames between two species (``strip``), or also between two individuals (``map``), one batch at a time."""

    layout: Literal["strip", "map"] = "strip"
    part: int = Field(0, ge=0, le=1000)


class AnimationAsked(HybridAsked):
    """An animation."""

    suffix: Literal["webp", "gif"] = "webp"


class Favourite(HybridAsked):
    """A hybrid that was kept; ``generator_id``: of the generator when it was drawn, ``created``: seconds since 1970."""

    id: str
    generator_id: str
    created: float


@router.get("/{generator}/sheet", **_DRAWN)
def show_sheet(studio: CurrentStudio, generator: Slug, asked: Annotated[SheetAsked, Query()]) -> Response:
    """A WebP with many frames, row by row; the header X-Syntype-Sheet (JSON) says where they are and how many parts there are."""
    return sheet_of(studio, generator, asked, _allowed(studio))


@router.get("/{generator}/image", **_DRAWN)
def show_hybrid(studio: CurrentStudio, generator: Slug, asked: Annotated[HybridAsked, Query()]) -> Response:
    """One hybrid as a PNG, as large as it is drawn, with its provenance."""
    return image_of(studio, generator, asked, _allowed(studio))


@router.get("/{generator}/animation", **_DRAWN)
def show_animation(studio: CurrentStudio, generator: Slug, asked: Annotated[AnimationAsked, Query()]) -> Response:
    """From one species to the other and back, as an animated WebP or GIF."""
    return animation_of(studio, generator, asked, _allowed(studio))


@router.get("/{generator}/code", **_DRAWN)
def show_code(request: Request, studio: CurrentStudio, generator: Slug, asked: Annotated[HybridAsked, Query()]) -> Response:
    """The QR code of the link that opens a hybrid, as an SVG."""
    return code_of(request, studio, "/hybrids", {"generator": generator, **asked.hybrid()})


@router.get("/{generator}/favourites")
def show_favourites(studio: CurrentStudio, generator: Slug) -> list[Favourite]:
    """The hybrids that were kept, newest first."""
    return [Favourite(**item) for item in list_favourites(studio.workspace.find("generators", generator))]


@router.post("/{generator}/favourites", status_code=201)
def keep_favourite(studio: CurrentStudio, generator: Slug, asked: HybridAsked) -> Favourite:
    """Keep a hybrid with its picture."""
    folder = _found(studio, generator, asked)
    picture = studio.drawings.draw(folder, "image", asked.hybrid(), _allowed(studio))
    return Favourite(**add_favourite(folder, asked.hybrid(), str(describe_generator(folder)["generator_id"]), picture))


@router.delete("/{generator}/favourites/{favourite}", status_code=204)
def forget_favourite(studio: CurrentStudio, generator: Slug, favourite: FavouriteId) -> None:
    """Remove a hybrid from those that are kept."""
    remove_favourite(studio.workspace.find("generators", generator), favourite)


@router.get("/{generator}/favourites/{favourite}/picture", response_class=FileResponse)
def show_favourite(studio: CurrentStudio, generator: Slug, favourite: FavouriteId) -> FileResponse:
    """The picture of a hybrid as it was drawn when it was kept."""
    return image_answer(studio.workspace.inside(favourite_picture(studio.workspace.find("generators", generator), favourite)), for_ever=True)


def sheet_of(studio: Studio, generator: str, asked: SheetAsked, allowed: Allowance) -> Response:
    """Draw a sheet."""
    still = {"x": 0.5} if asked.layout == "strip" and asked.first != asked.second else {"x": 0.5, "y": 0.0}  # so that each sheet is drawn once
    hybrid = {**asked.hybrid(), **still}
    sheet = studio.drawings.draw(_found(studio, generator, asked), "sheet", hybrid, allowed, layout=asked.layout, part=asked.part)
    about = {name: value for name, value in sheet.items() if name != "content"}
    return Response(sheet["content"], media_type="image/webp", headers={"X-Syntype-Sheet": json.dumps(about)})


def image_of(studio: Studio, generator: str, asked: HybridAsked, allowed: Allowance, *, visibly: bool = False) -> Response:
    """Draw a picture; ``visibly``: it says itself, in large letters, that it is synthetic."""
    content = studio.drawings.draw(_found(studio, generator, asked), "image", asked.hybrid(), allowed, visibly=visibly)
    return _download(content, "image/png", f"{_file_name(asked)}-{round(100 * asked.x)}-percent.png")


def animation_of(studio: Studio, generator: str, asked: AnimationAsked, allowed: Allowance, *, visibly: bool = False) -> Response:
    """Draw an animation; see ``image_of``."""
    hybrid = {**asked.hybrid(), "x": 0.5}  # it does not matter, so that the animation is drawn once
    content = studio.drawings.draw(_found(studio, generator, asked), "animation", hybrid, allowed, suffix=asked.suffix, visibly=visibly)
    return _download(content, f"image/{asked.suffix}", f"{_file_name(asked)}.{asked.suffix}")


def code_of(request: Request, studio: Studio, page: str, query: dict[str, Any]) -> Response:
    """The QR code of a page of this server."""
    return Response(qr_code(link_to(request, studio, f"{page}?{urlencode(query)}")), media_type="image/svg+xml")


def _allowed(studio: Studio) -> Allowance:
    """How much people may ask for who are signed in."""
    return Allowance(studio.config.limits.drawings)


def _found(studio: Studio, name: str, asked: HybridAsked) -> FilePath:
    """The folder of a generator that can draw what is asked for, as far as its description tells."""
    folder = studio.workspace.find("generators", name)
    if "blend" not in describe_generator(folder)["abilities"]:
        raise UnsupportedError(gettext("this generator cannot draw hybrids. Choose one that is trained, for example of the family projected."))
    require_known("species of this generator", (asked.first, asked.second), generator_species(folder))
    return folder


def _file_name(asked: HybridAsked) -> str:
    return as_slug(asked.first if asked.first == asked.second else f"{asked.first} x {asked.second}")


def _download(content: bytes, kind: str, name: str) -> Response:
    return Response(content, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})

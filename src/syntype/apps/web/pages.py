"""The HTML pages. Small scripts in ``static/`` call the REST API. No page loads anything from another server."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader
from starlette.exceptions import HTTPException

from syntype.apps.web.api_collections import (
    Chosen,
    Offset,
    list_collections,
    list_duplicates,
    list_images,
    list_refused,
    neighbours,
    num_same,
    show_collection,
    show_image,
)
from syntype.apps.web.api_jobs import JobNumber, hybrid_generators, search_generator_species, show_generator, show_job, show_study
from syntype.apps.web.api_uploads import show_upload
from syntype.apps.web.api_verdicts import show_agreement
from syntype.apps.web.import_options import ImportOptions
from syntype.apps.web.languages import LANGUAGES, day, gettext, language, marked, marked_plural, number, pgettext, script, script_address
from syntype.apps.web.requests import Slug, UploadId
from syntype.apps.web.security import HEADERS
from syntype.apps.web.shown import species_name, term
from syntype.apps.web.static_files import KEPT, script_tags, static_address
from syntype.apps.web.studio import CurrentStudio, Studio
from syntype.apps.web.titles import as_slug
from syntype.apps.web.trash import IN_TRASH, Trash
from syntype.apps.web.words import REASONS, setting_in_words, value_in_words
from syntype.collection.sources.recognition import READERS
from syntype.errors import UnknownNameError
from syntype.generators.engine.expected import UNTRAINED

__all__ = ["render", "router"]

_HERE = Path(__file__).parent
PAGE_SIZE = 120
TILES = ("small", "medium", "large")
"""Sizes of the pictures on a page of images; the browser keeps the chosen one in a cookie."""
LEARNT_FROM = 12
"""Photographs shown of those that an adaptation learns from."""
DUPLICATES = 50
"""Pairs on a page."""
SPECIES = 60
"""That a generator's page names."""
router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
_FOLDERS = [_HERE / "templates", _HERE.parents[1] / "study"]  # in the second lies the picture that a study's report has too
_environment = Environment(loader=FileSystemLoader(_FOLDERS), autoescape=True)  # whatever the files are called
_environment.filters |= {"species": species_name, "date": day, "number": number, "value": value_in_words, "setting": setting_in_words}
_environment.globals |= {"term": term, "_": marked, "ngettext": marked_plural, "pgettext": pgettext, "language": language, "languages": LANGUAGES}
_environment.globals |= {"script_address": script_address, "script": script_tags, "static": static_address}
_environment.globals["fields"] = _environment.get_template("fields.html.j2").module
_environment.filters["day"] = lambda seconds: datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def render(request: Request, template: str, status: int = 200, /, **shown: Any) -> Response:
    """The page that ``templates/TEMPLATE.html.j2`` makes of what is shown, without links that lead to what the visitor may not open.

    Every page has ``visitor``, None where nobody is signed in, and ``role``, then None too; ``draws_hybrids()``: whether any generator can.
    """
    visitor = request.state.visitor
    role = None if visitor is None else visitor.role
    page = _environment.get_template(f"{template}.html.j2").render(
        request=request, visitor=visitor, role=role, draws_hybrids=lambda: bool(hybrid_generators(request.app.state.studio)), **shown
    )
    return HTMLResponse(page if role is None else request.state.gate.without_closed_links(role, page), status)


@router.get("/static/texts/{file}")
def texts(file: str) -> Response:
    """The texts of the scripts in one language. What another version of Syntype asks for is answered too, and not kept."""
    code, _, _ = file.partition("-")
    if code not in LANGUAGES:
        raise HTTPException(404)
    keep = KEPT if script_address(code).endswith(file) else "no-store"
    return Response(script(code), media_type="text/javascript", headers={"Cache-Control": keep})


@router.get("/uploads/{upload}")
def upload(request: Request, studio: CurrentStudio, upload: UploadId) -> Response:
    """What an import of an upload would do; only then it is imported, or discarded."""
    options = [name for name in ImportOptions.model_fields if name.endswith("_column")]
    formats = [(reader.name, reader.title) for reader in READERS]
    title = studio.storage.titles.of("uploads", upload)
    name = request.query_params.get("name", "" if title == upload else title)
    into = request.query_params.get("into") or None
    if into is not None:
        studio.workspace.find("collections", into)
        name = name or _additions(studio, into)
    called = None if into is None else studio.storage.titles.of("collections", into)
    shown = {"upload": show_upload(studio, upload), "name": name[:100], "columns": options, "formats": formats, "into": into, "called": called}
    return render(request, "upload", **shown)


def _additions(studio: Studio, into: str) -> str:
    """A free name for photographs that are to be added to a collection."""
    names = (
        gettext("Additions to {title} {number}", title=studio.storage.titles.of("collections", into)[:70], number=str(number)) for number in count(1)
    )
    return next(name for name in names if not os.path.lexists(studio.workspace.place("collections", as_slug(name))))


@router.get("/jobs/{number}")
def job(request: Request, studio: CurrentStudio, number: JobNumber) -> Response:
    """How far a job is, what can be seen of it already, and where to go from there."""
    job, learnt_from = show_job(studio, number), []
    if job.kind == "adapt":
        with suppress(UnknownNameError):  # the collection may be gone since
            learnt_from = list_images(
                studio, job.request["collection"], {"species": job.request["species"], "split": "train"}, limit=LEARNT_FROM
            ).images
    asked = {word: _told(studio, value) for word, value in job.request.items()}
    gone = job.status == "finished" and studio.queue.result_folder(studio.queue.get(number)) is None
    into = job.request.get("into")
    called = studio.storage.titles.of("collections", into) if isinstance(into, str) else None
    return render(request, "job", into=called, job=job, asked=asked, gone=gone, learnt_from=learnt_from, not_trained=UNTRAINED)


def _told(studio: Studio, value: Any) -> Any:
    """A value of a request as a page shows it: what was deleted since by its name, as far as the trash knows it."""
    if not isinstance(value, str) or not value.startswith(IN_TRASH):
        return value
    folder = studio.storage.trash.place_of(value)
    return gettext("deleted for good") if folder is None else gettext("{name} (in the trash)", name=Trash.name_of(folder))


@router.get("/collections/{name}")
def grid(request: Request, studio: CurrentStudio, name: Slug, chosen: Chosen, offset: Offset = 0) -> Response:
    """A page of a collection's images, the search and filters."""
    page = list_images(studio, name, chosen, offset=offset, limit=PAGE_SIZE)
    tiles = request.cookies.get("tiles", "")

    def address(to: int) -> str:
        return "?" + urlencode({**chosen, "offset": to})

    shown = {
        "collection": show_collection(studio, name),
        "page": page,
        "chosen": chosen,
        "state": urlencode(chosen),
        "tiles": tiles if tiles in TILES else TILES[1],
        "sizes": TILES,
        "earlier": address(max(0, offset - PAGE_SIZE)) if offset > 0 else None,
        "later": address(offset + PAGE_SIZE) if offset + PAGE_SIZE < page.total else None,
        "num_duplicates": num_same(studio, name),
        "num_refused": len(list_refused(studio, name)),
    }
    return render(request, "grid", **shown)


@router.get("/collections/{name}/images/{image_id:path}")
def image(request: Request, studio: CurrentStudio, name: Slug, image_id: str, chosen: Chosen) -> Response:
    """One image, large, what is known of it, and the way to those before and after it among the images that were chosen."""
    place, total, earlier, later = neighbours(studio, name, image_id, chosen)
    shown = {
        "name": name,
        "title": studio.storage.titles.of("collections", name),
        "image": show_image(studio, name, image_id),
        "reference": studio.workspace.reference(name),
        "position": place,
        "total": total,
        "earlier": earlier,
        "later": later,
        "state": urlencode(chosen),
        "offset": 0 if place is None else place // PAGE_SIZE * PAGE_SIZE,
    }
    return render(request, "image", **shown)


@router.get("/collections/{name}/duplicates")
def duplicates(request: Request, studio: CurrentStudio, name: Slug, offset: Offset = 0) -> Response:
    """Duplicates beside what they repeat."""
    title = studio.storage.titles.of("collections", name)
    return render(request, "duplicates", name=name, title=title, page=list_duplicates(studio, name, offset, DUPLICATES), size=DUPLICATES)


@router.get("/collections/{name}/refused")
def refused(request: Request, studio: CurrentStudio, name: Slug) -> Response:
    """Files that the import refused, and why."""
    return render(request, "refused", name=name, heading=studio.storage.titles.of("collections", name), files=list_refused(studio, name))


@router.get("/collections/{name}/curate")
def curate(request: Request, studio: CurrentStudio, name: Slug) -> Response:
    """Judge a collection's synthetic images one by one."""
    collection, agreement = show_collection(studio, name), show_agreement(studio, name)
    references = [item for item in list_collections(studio) if item.origins.get("real")]
    compare = collection.reference or studio.workspace.photographs_of("collections", name)
    checked = "passed" in studio.catalogue.index(studio.workspace.find("collections", name)).count("check") or sum(agreement.refused.values()) > 0
    shown = {"collection": collection, "agreement": agreement, "references": references, "compare": compare, "checked": checked, "reasons": REASONS}
    return render(request, "curate", **shown)


@router.get("/generators/{name}")
def generator(request: Request, studio: CurrentStudio, name: Slug) -> Response:
    """What a generator is, what it was made of, and what can be done with it."""
    species = search_generator_species(studio, name, limit=SPECIES + 1)
    return render(request, "generator", generator=show_generator(studio, name), species=species[:SPECIES], more=len(species) > SPECIES)


@router.get("/studies/{name}")
def study(request: Request, studio: CurrentStudio, name: Slug) -> Response:
    """A study's verdict, and its report in a frame in which nothing can run."""
    answer = render(request, "study", study=show_study(studio, name))
    answer.headers["Content-Security-Policy"] = f"{HEADERS['Content-Security-Policy']}; frame-src 'self'"
    return answer


@router.get("/quiz")
def quiz(request: Request, studio: CurrentStudio) -> Response:
    """Which pictures are photographs?"""
    collections = list_collections(studio)
    shown = {origin: [item for item in collections if item.origins.get(origin)] for origin in ("real", "synthetic")}
    given = request.query_params
    of = {item.name: studio.workspace.photographs_of("collections", item.name) for item in shown["synthetic"]}
    synthetic = given.get("synthetic") or next((name for name in of if of[name] and of[name] == given.get("real")), next(iter(of), None))
    return render(request, "quiz", chosen={"synthetic": synthetic, "real": given.get("real") or of.get(synthetic or "")}, of=of, **shown)

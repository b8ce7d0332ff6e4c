"""Routes of jobs and of what they make: generators, studies, exports."""

from __future__ import annotations

import json
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query
from fastapi.responses import FileResponse
from pydantic import BaseModel
from sqlalchemy import Row

from syntype.apps.web.generators import describe_generator, generator_species, search_species
from syntype.apps.web.progress import latest_events, now, pictures, preview
from syntype.apps.web.requests import JobRequest, Slug
from syntype.apps.web.studio import PROBLEMS, Here, Studio, image_answer
from syntype.errors import CollectionError, UnknownNameError
from syntype.generators.registry import list_families
from syntype.run import read_json_object

__all__ = ["JobNumber", "router"]

router = APIRouter(prefix="/api", tags=["jobs"], responses=PROBLEMS)
JobNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]


class Job(BaseModel):
    """A job.

    ``status``: waiting, running, finished, failed or cancelled; times in seconds since 1970; ``ahead``: jobs before it in the queue.
    """

    id: int
    kind: str
    name: str
    request: dict[str, Any]
    status: str
    ahead: int
    doing: str | None
    done: float | None
    total: float | None
    seconds_left: float | None
    message: str | None
    result: dict[str, Any] | None
    created: float
    started: float | None
    ended: float | None


class Family(BaseModel):
    """A generator family."""

    family: str
    description: str


class GeneratorSummary(BaseModel):
    """A trained generator; ``size`` in pixels, ``abilities`` the kinds of jobs that it can do besides ``generate``."""

    name: str
    generator_id: str | None
    family: str | None
    abilities: list[str]
    size: int | None
    num_species: int
    adapted_to: list[str]
    steps: int | None
    collection: dict[str, Any] | None
    licences: list[str]
    terms: list[str]
    preview: bool
    """Whether there is a picture of what it drew."""


class StudySummary(BaseModel):
    """A finished study and its verdict."""

    name: str
    verdict: str | None
    sentence: str | None


class ExportSummary(BaseModel):
    """A finished export."""

    name: str
    file: str
    num_images: int
    num_bytes: int


def _out(here: Studio, row: Row[Any]) -> FilePath:
    """Where a job's result lies or will lie."""
    return here.workspace.place(row.place, row.slug)


def _job(here: Studio, row: Row[Any]) -> Job:
    running = now(_out(here, row)) if row.status == "running" else {}
    told = {key: running.get(key) for key in ("doing", "done", "total", "seconds_left")}
    result = None if row.result is None else json.loads(here.workspace.show(json.dumps(row.result)))
    return Job(
        id=row.id, kind=row.kind, name=row.slug, request=row.request, status=row.status, message=row.message, result=result,
        created=row.created, started=row.started, ended=row.ended, ahead=here.queue.ahead(row.id) if row.status == "waiting" else 0, **told,
    )  # fmt: skip


@router.post("/jobs", status_code=201)
def create_job(here: Here, request: Annotated[JobRequest, Body()]) -> Job:
    """Put a job into the queue. What it makes bears the name given, and stands under collections, generators, studies or exports."""
    return _job(here, here.queue.get(here.queue.add(request)))


@router.get("/jobs")
def list_jobs(
    here: Here, limit: Annotated[int, Query(ge=1, le=200)] = 50, before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
) -> list[Job]:
    """Jobs, newest first; ``before`` pages on to those with smaller numbers."""
    return [_job(here, row) for row in here.queue.list(limit, before)]


@router.get("/jobs/{number}")
def show_job(here: Here, number: JobNumber) -> Job:
    """One job: how far it is, and the time left."""
    return _job(here, here.queue.get(number))


@router.post("/jobs/{number}/cancel")
def cancel_job(here: Here, number: JobNumber) -> Job:
    """Take it out of the queue, or stop it so that its work is kept; the third request ends it at once."""
    here.queue.cancel(number)
    return _job(here, here.queue.get(number))


@router.post("/jobs/{number}/resume")
def resume_job(here: Here, number: JobNumber) -> Job:
    """Queue a cancelled or failed job again; it goes on where it was."""
    here.queue.resume(number)
    return _job(here, here.queue.get(number))


@router.get("/jobs/{number}/log")
def show_log(here: Here, number: JobNumber) -> str:
    """The end of what the command said."""
    here.queue.get(number)
    return here.workspace.show(here.queue.process(number).log())


@router.get("/jobs/{number}/events")
def show_events(here: Here, number: JobNumber, limit: Annotated[int, Query(ge=1, le=500)] = 100) -> list[dict[str, Any]]:
    """The latest events of the run, oldest first: losses of training steps, messages."""
    return latest_events(_out(here, here.queue.get(number)), limit)


@router.get("/jobs/{number}/pictures")
def list_pictures(here: Here, number: JobNumber) -> list[str]:
    """Names of what can be seen already: previews (latest first), overviews, and the images drawn last."""
    return list(pictures(_out(here, here.queue.get(number))))


@router.get("/jobs/{number}/pictures/{picture}", response_class=FileResponse)
def show_picture(here: Here, number: JobNumber, picture: str) -> FileResponse:
    """One of these pictures."""
    found = pictures(_out(here, here.queue.get(number)))
    if picture not in found:
        raise UnknownNameError("picture", picture[:80], found)
    return image_answer(here.workspace.inside(found[picture]))


@router.get("/families", tags=["generators"])
def list_generator_families() -> list[Family]:
    """Families that a generator can be trained of."""
    return [Family(family=name, description=words.partition(": ")[2] or words) for name, words in list_families().items()]


@router.get("/generators", tags=["generators"])
def list_generators(here: Here) -> list[GeneratorSummary]:
    """All trained generators of the workspace."""
    return [show_generator(here, name) for name in here.workspace.slugs("generators")]


@router.get("/generators/{name}", tags=["generators"])
def show_generator(here: Here, name: Slug) -> GeneratorSummary:
    """One generator."""
    folder = here.workspace.find("generators", name)
    return GeneratorSummary(**describe_generator(folder), preview=preview(folder) is not None)


@router.get("/generators/{name}/preview", tags=["generators"], response_class=FileResponse)
def show_preview(here: Here, name: Slug) -> FileResponse:
    """What it drew when its training or adaptation ended: a species a row."""
    path = preview(here.workspace.find("generators", name))
    if path is None:
        raise UnknownNameError("picture of generator", name, ())
    return image_answer(here.workspace.inside(path))


@router.get("/generators/{name}/species", tags=["generators"])
def search_generator_species(
    here: Here, name: Slug, query: Annotated[str, Query(max_length=200)] = "", limit: Annotated[int, Query(ge=1, le=10_000)] = 50
) -> list[str]:
    """Species of a generator whose names hold every word of the query."""
    return search_species(generator_species(here.workspace.find("generators", name)), query, limit)


@router.get("/studies", tags=["studies"])
def list_studies(here: Here) -> list[StudySummary]:
    """All finished studies."""
    return [show_study(here, name) for name in here.workspace.slugs("studies")]


@router.get("/studies/{name}", tags=["studies"])
def show_study(here: Here, name: Slug) -> StudySummary:
    """One study's verdict."""
    verdict = read_json_object(here.workspace.find("studies", name) / "results.json").get("verdict", {})
    return StudySummary(name=name, verdict=verdict.get("word"), sentence=verdict.get("sentence"))


@router.get("/studies/{name}/report", tags=["studies"], response_class=FileResponse)
def show_report(here: Here, name: Slug) -> FileResponse:
    """The report: one HTML page with all its pictures in it."""
    path = here.workspace.find("studies", name) / "report.html"
    if not path.is_file():
        raise CollectionError(f"study {name!r} has no report. Write it with: syntype report STUDY")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"  # nothing in it can run
    headers = {"Content-Security-Policy": policy, "X-Frame-Options": "SAMEORIGIN"}  # our own page may show it in a frame
    return FileResponse(here.workspace.inside(path), media_type="text/html", headers=headers)


@router.get("/exports", tags=["exports"])
def list_exports(here: Here) -> list[ExportSummary]:
    """All finished exports."""
    return [_export(here, name) for name in here.workspace.slugs("exports")]


@router.get("/exports/{name}/file", tags=["exports"], response_class=FileResponse)
def download_export(here: Here, name: Slug) -> FileResponse:
    """The file of an export."""
    file = _export(here, name).file
    path = here.workspace.find("exports", name) / file
    if path.name != file or not path.is_file():
        raise CollectionError(f"export {name!r}: its file is missing. Export the collection again.")
    kind = "text/csv" if path.suffix == ".csv" else "application/zip"
    return FileResponse(here.workspace.inside(path), media_type=kind, filename=file)


def _export(here: Studio, name: str) -> ExportSummary:
    try:
        told = json.loads((here.workspace.find("exports", name) / "export.json").read_text(encoding="utf-8"))
        return ExportSummary(name=name, **told)
    except (OSError, ValueError, TypeError):
        raise CollectionError(f"export {name!r}: its export.json is damaged. Export the collection again.") from None

"""Routes of jobs and their results: generators, studies, exports."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import Row

from syntype.apps.web.generators import describe_generator, generator_species, search_species, unfinished
from syntype.apps.web.languages import ENGLISH, gettext, language
from syntype.apps.web.outcomes import WORK, outcome
from syntype.apps.web.progress import latest_events, now, pictures, preview, species_of_rows
from syntype.apps.web.progress import picture as find_picture
from syntype.apps.web.queue import run_id
from syntype.apps.web.requests import JobRequest, Slug
from syntype.apps.web.room import require_room_for_job
from syntype.apps.web.studio import PROBLEMS, CurrentStudio, Studio, image_answer, listed
from syntype.apps.web.translated import translated
from syntype.apps.web.words import value_in_words
from syntype.errors import CollectionError, InputError, UnknownNameError, UserError
from syntype.files import load_json
from syntype.generators.engine.expected import UNTRAINED
from syntype.generators.registry import list_families

__all__ = ["JobNumber", "hybrid_generators", "router"]

router = APIRouter(prefix="/api", tags=["jobs"], responses=PROBLEMS)
JobNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]


class Job(BaseModel):
    """A job.

    ``work``: the kind as pages call it; ``name``: folder of its result; ``title``: what people call that.
    ``outcome``: what came of it, in words, once it has ended; ``by``: the account that has started it.
    ``status``: waiting, running, finished, failed or cancelled; times in seconds since 1970; ``ahead``: jobs before it in the queue.
    """

    id: int
    kind: str
    work: str
    name: str
    title: str
    request: dict[str, Any]
    status: str
    ahead: int
    doing: str | None
    done: float | None
    total: float | None
    seconds_left: float | None
    message: str | None
    result: dict[str, Any] | None
    outcome: str | None
    by: str | None
    created: float
    started: float | None
    ended: float | None


class Family(BaseModel):
    """A generator family."""

    family: str
    description: str
    learns: bool
    """Whether it is trained, so that it needs minutes or steps."""


class GeneratorSummary(BaseModel):
    """A trained generator; ``title``: what people call it, ``size`` in pixels, ``abilities``: kinds of jobs that it can do besides ``generate``."""

    name: str
    title: str
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
    """Whether there is a preview picture."""
    preview_species: list[str] = []
    """Species of its rows, from the top; empty where the picture does not tell."""
    unfinished: str | None = None
    """What its training lacks, if it was stopped early or still goes on: ``unfinished: 3 of 5,000 steps``."""
    resumable: int | None = None
    """The job that was cancelled or failed, and can be resumed to finish it."""
    damaged: str | None = None
    """What is wrong with its folder, in a list; then the other values say nothing."""


class PlainFinding(BaseModel):
    """What a study found, for people who know no statistics. ``shares``: of 100 photographs of rare species, how many were named rightly, with the
    synthetic images and without; empty where nothing could be compared."""

    sentence: str
    shares: list[tuple[str, Annotated[int, Field(ge=0, le=100)]]]
    tested: str


class StudySummary(BaseModel):
    """A finished study and its verdict; ``title``: what people call it. ``plain``: null if an earlier version wrote the study."""

    name: str
    title: str
    verdict: str | None
    sentence: str | None
    plain: PlainFinding | None = None
    damaged: str | None = None
    """What is wrong with its folder, in a list."""


class ExportSummary(BaseModel):
    """A finished export; ``title``: what people call it."""

    name: str
    title: str
    file: str
    num_images: int
    num_bytes: int
    damaged: str | None = None
    """What is wrong with its folder, in a list; then the other values say nothing."""


_NOW: dict[str, tuple[type, ...]] = {"doing": (str,), "done": (int, float), "total": (int, float), "seconds_left": (int, float)}
"""What ``now.json`` tells of a running job, and the types; it may be damaged."""


def _typed(value: Any, kinds: tuple[type, ...]) -> Any:
    return value if isinstance(value, kinds) and not isinstance(value, bool) else None


def _job(studio: Studio, row: Row[Any]) -> Job:
    folder = studio.queue.result_folder(row) if row.status == "running" else None
    running = {} if folder is None else now(folder)
    told: dict[str, Any] = {key: _typed(running.get(key), kind) for key, kind in _NOW.items()}
    if row.status == "running" and told["doing"] is None:
        told["doing"] = studio.queue.process(row.id).doing()
    told["doing"] = value_in_words(told["doing"])
    result = None if row.result is None else json.loads(studio.workspace.hide(json.dumps(row.result)))
    return Job(
        id=row.id, kind=row.kind, work=gettext(WORK.get(row.kind, row.kind)), name=row.slug, title=studio.storage.titles.of(row.place, row.slug),
        request=row.request, status=row.status,
        message=None if row.message is None else translated(row.message), result=result,
        outcome=outcome(row.kind, row.status, row.request, result), by=row.by,
        created=row.created, started=row.started, ended=row.ended,
        ahead=studio.queue.ahead(row.id) if row.status == "waiting" else 0, **told,
    )  # fmt: skip


@router.post("/jobs", status_code=201)
def create_job(asking: Request, studio: CurrentStudio, request: Annotated[JobRequest, Body()]) -> Job:
    """Put a job into the queue. Its result gets the given name, under collections, generators, studies or exports.

    Any name will do: ``Reef fish 2026`` is the title of the thing, and ``reef-fish-2026`` its folder, which the answer names.
    """
    studio.storage.require_settled()
    require_room_for_job(studio, request)
    number = studio.queue.add(request, asking.state.visitor.name)
    studio.storage.titles.set(request.place, request.slug, request.name)
    return _job(studio, studio.queue.get(number))


@router.get("/jobs")
def list_jobs(
    studio: CurrentStudio, limit: Annotated[int, Query(ge=1, le=200)] = 50, before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
) -> list[Job]:
    """Jobs, newest first; ``before``: only jobs with smaller numbers, for the next page."""
    return [_job(studio, row) for row in studio.queue.list(limit, before)]


@router.get("/jobs/{number}")
def show_job(studio: CurrentStudio, number: JobNumber) -> Job:
    """One job: its progress and the time left."""
    return _job(studio, studio.queue.get(number))


@router.post("/jobs/{number}/cancel")
def cancel_job(studio: CurrentStudio, number: JobNumber) -> Job:
    """Remove it from the queue, or stop it with its work saved; the third request kills it."""
    studio.queue.cancel(number)
    return _job(studio, studio.queue.get(number))


@router.post("/jobs/{number}/resume")
def resume_job(studio: CurrentStudio, number: JobNumber) -> Job:
    """Queue a cancelled or failed job again; it continues where it stopped."""
    studio.queue.resume(number)
    return _job(studio, studio.queue.get(number))


@router.get("/jobs/{number}/log")
def show_log(studio: CurrentStudio, number: JobNumber) -> str:
    """The end of the job's log, in the words of the command that runs."""
    studio.queue.get(number)
    return studio.workspace.hide(studio.queue.process(number).log())


@router.get("/jobs/{number}/events")
def show_events(studio: CurrentStudio, number: JobNumber, limit: Annotated[int, Query(ge=1, le=500)] = 100) -> list[dict[str, Any]]:
    """The latest events of the run, oldest first: losses of training steps, messages."""
    folder = studio.queue.result_folder(studio.queue.get(number))
    return [] if folder is None else latest_events(folder, limit)


@router.get("/jobs/{number}/pictures")
def list_pictures(studio: CurrentStudio, number: JobNumber) -> list[str]:
    """Names of the job's pictures so far: previews (latest first), overviews, and the newest images."""
    folder = studio.queue.result_folder(studio.queue.get(number))
    return [] if folder is None else pictures(folder)


@router.get("/jobs/{number}/pictures/{picture}", response_class=FileResponse)
def show_picture(studio: CurrentStudio, number: JobNumber, picture: str) -> FileResponse:
    """One of these pictures."""
    folder = studio.queue.result_folder(studio.queue.get(number))
    path = None if folder is None else find_picture(folder, picture)
    if path is None:
        raise UnknownNameError("picture", picture[:80], ())
    return image_answer(studio.workspace.inside(path))


@router.get("/jobs/{number}/pictures/{picture}/species")
def list_picture_species(studio: CurrentStudio, number: JobNumber, picture: str) -> list[str]:
    """Species of the rows of a training's preview, from the top; empty for other pictures."""
    folder = studio.queue.result_folder(studio.queue.get(number))
    return species_of_rows(None if folder is None else find_picture(folder, picture))


@router.get("/families", tags=["generators"])
def list_generator_families() -> list[Family]:
    """Generator families."""
    return [
        Family(family=name, description=words.partition(": ")[2] or words, learns=name not in UNTRAINED) for name, words in list_families().items()
    ]


@router.get("/generators", tags=["generators"])
def list_generators(studio: CurrentStudio) -> list[GeneratorSummary]:
    """All trained generators of the workspace; damaged ones say what is wrong."""
    blank: dict[str, Any] = {"generator_id": None, "family": None, "abilities": [], "size": None, "num_species": 0, "adapted_to": [], "steps": None}
    blank |= {"collection": None, "licences": [], "terms": [], "preview": False}
    return listed(studio, "generators", show_generator, lambda name, why: GeneratorSummary(name=name, title=name, **blank, damaged=why))


@router.get("/generators/{name}", tags=["generators"])
def show_generator(studio: CurrentStudio, name: Slug) -> GeneratorSummary:
    """One generator."""
    folder = studio.workspace.find("generators", name)
    try:
        title = studio.storage.titles.of("generators", name)
        about = describe_generator(folder)
        manifest, latest = studio.workspace.manifest("generators", name), preview(folder)
        lacks = unfinished(manifest, about["steps"])
        more = {"preview": latest is not None, "preview_species": species_of_rows(latest), "unfinished": lacks}
        return GeneratorSummary(**about, **more, title=title, resumable=None if lacks is None else _resumable(studio, manifest))
    except ValidationError as error:
        key = ".".join(map(str, error.errors()[0]["loc"]))
        raise CollectionError(
            gettext(
                "{file}: is damaged ({key}: {error}). Train or adapt it again.",
                file=folder / "generator.json",
                key=key,
                error=error.errors()[0]["msg"],
            )
        ) from None


def _resumable(studio: Studio, manifest: dict[str, Any]) -> int | None:
    """The number of the job that can go on with a training; None if there is none."""
    number = str(manifest.get("run_id")).split("-")[1:2]
    with suppress(UnknownNameError):
        job = studio.queue.get(int(number[0])) if number and number[0].isdecimal() and len(number[0]) < 10 else None
        if job is not None and run_id(job) == manifest.get("run_id") and job.status in ("cancelled", "failed"):
            return int(job.id)
    return None


@router.get("/generators/{name}/preview", tags=["generators"], response_class=FileResponse)
def show_preview(studio: CurrentStudio, name: Slug) -> FileResponse:
    """Images made at the end of its training or adaptation, one row per species."""
    path = preview(studio.workspace.find("generators", name))
    if path is None:
        raise UnknownNameError("picture of generator", name, ())
    return image_answer(studio.workspace.inside(path))


@router.get("/generators/{name}/species", tags=["generators"])
def search_generator_species(
    studio: CurrentStudio, name: Slug, query: Annotated[str, Query(max_length=200)] = "", limit: Annotated[int, Query(ge=1, le=10_000)] = 50
) -> list[str]:
    """Species of a generator whose names hold every word of the query."""
    return search_species(generator_species(studio.workspace.find("generators", name)), query, limit)


def hybrid_generators(studio: Studio) -> list[GeneratorSummary]:
    """The generators that can draw hybrids, those whose training is finished first."""
    able = (item for item in list_generators(studio) if item.damaged is None and "blend" in item.abilities and item.num_species)
    return sorted(able, key=lambda item: item.unfinished is not None)


@router.get("/studies", tags=["studies"])
def list_studies(studio: CurrentStudio) -> list[StudySummary]:
    """All finished studies; damaged ones say what is wrong."""
    return listed(studio, "studies", show_study, lambda name, why: StudySummary(name=name, title=name, verdict=None, sentence=None, damaged=why))


@router.get("/studies/{name}", tags=["studies"])
def show_study(studio: CurrentStudio, name: Slug) -> StudySummary:
    """One study's verdict."""
    file, hint = studio.workspace.find("studies", name) / "results.json", "Continue the study with --resume, which writes it again."
    results = load_json(file, hint, {"verdict": dict}, {"plain": dict})
    verdict = results["verdict"]
    if not isinstance(verdict.get("word"), str) or not isinstance(verdict.get("sentence"), str):
        raise InputError(gettext("is damaged: 'verdict' is not complete"), hint, file=file)
    title = studio.storage.titles.of("studies", name)
    try:
        plain = PlainFinding.model_validate(results["plain"]) if "plain" in results else None
        if plain is not None:
            plain.sentence, plain.tested = translated(plain.sentence), translated(plain.tested)
            plain.shares = [(translated(called), number) for called, number in plain.shares]
    except ValidationError:
        raise InputError(gettext("is damaged: 'plain' is not complete"), hint, file=file) from None
    return StudySummary(name=name, title=title, verdict=verdict["word"], sentence=translated(verdict["sentence"]), plain=plain)


@router.get("/studies/{name}/report", tags=["studies"], response_class=FileResponse)
def show_report(studio: CurrentStudio, name: Slug) -> Response:
    """The report: one HTML page with all its pictures in it, in the language of the browser."""
    folder = studio.workspace.find("studies", name)
    path = folder / "report.html"
    if not path.is_file():
        raise CollectionError(gettext("study {name} has no report. Ask for the study again, under another name.", name=repr(name)))
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"  # no script in it can run
    headers = {"Content-Security-Policy": policy, "X-Frame-Options": "SAMEORIGIN"}  # our own page may show it in a frame
    if language() != ENGLISH:
        with suppress(UserError):  # what is damaged, or of another version of Syntype, is shown as it was written
            return HTMLResponse(studio.answers.report(folder, language(), studio.config.limits.answers), headers=headers)
    return FileResponse(studio.workspace.inside(path), media_type="text/html", headers=headers)


@router.get("/exports", tags=["exports"])
def list_exports(studio: CurrentStudio) -> list[ExportSummary]:
    """All finished exports; damaged ones say what is wrong."""
    return listed(studio, "exports", _export, lambda name, why: ExportSummary(name=name, title=name, file="", num_images=0, num_bytes=0, damaged=why))


@router.get("/exports/{name}/file", tags=["exports"], response_class=FileResponse)
def download_export(studio: CurrentStudio, name: Slug) -> FileResponse:
    """The file of an export."""
    file = _export(studio, name).file
    path = studio.workspace.find("exports", name) / file
    if path.name != file or not path.is_file():
        raise CollectionError(gettext("export {name}: its file is missing. Export the collection again.", name=repr(name)))
    kind = "text/csv" if path.suffix == ".csv" else "application/zip"
    return FileResponse(studio.workspace.inside(path), media_type=kind, filename=file)


def _export(studio: Studio, name: str) -> ExportSummary:
    try:
        told = json.loads((studio.workspace.find("exports", name) / "export.json").read_text(encoding="utf-8"))
        return ExportSummary(name=name, title=studio.storage.titles.of("exports", name), **told)
    except (OSError, ValueError, TypeError, RecursionError):
        raise CollectionError(gettext("export {name}: its export.json is damaged. Export the collection again.", name=repr(name))) from None

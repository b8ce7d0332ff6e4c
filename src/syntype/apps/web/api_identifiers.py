"""Routes of identifiers: what each has learnt, what a photograph shows, and the files to take away."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel
from starlette.background import BackgroundTask

from syntype.apps.web.identifiers import FILES, answer_in_words, describe_identifier
from syntype.apps.web.languages import gettext
from syntype.apps.web.onnx_files import OnnxState
from syntype.apps.web.requests import Slug
from syntype.apps.web.studio import PROBLEMS, CurrentStudio, Studio, listed
from syntype.errors import InputError, UserError

__all__ = ["IdentifierSummary", "list_identifiers", "router", "show_identifier"]

router = APIRouter(prefix="/api/identifiers", tags=["identifiers"], responses=PROBLEMS)
_BODY = {"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}


class IdentifierSummary(BaseModel):
    """An identifier; ``title``: what people call it.

    ``learnt``, ``accuracy``: from what it has learnt and how well it did, in words; null if its file does not say. ``synthetic``: name of the
    synthetic images that it has learnt from too. ``few``: species with fewer than ten training photographs. ``knows_strangers``: whether it can say
    that a photograph shows none of its species. ``sure``: probability from which it is sure of a name. ``collection``: its photographs, if they are
    still here; ``cut_out``: it has learnt from the animals in them, by their boxes.
    """

    name: str
    title: str
    num_species: int
    species: list[str]
    learnt: str | None
    accuracy: str | None
    synthetic: str | None
    few: list[str]
    knows_strangers: bool
    sure: float
    collection: str | None = None
    cut_out: bool = False
    damaged: str | None = None
    """What is wrong with its folder, in a list; then the other values say nothing."""


class ProbableSpecies(BaseModel):
    """A species with its probability."""

    species: str
    common_name: str | None
    probability: float


class NearPhotograph(BaseModel):
    """A training photograph that looks alike; ``similarity``: at most 1."""

    image_id: str
    species: str | None
    sha256: str | None
    width: int | None
    height: int | None
    similarity: float


class Answer(BaseModel):
    """What an identifier says of a photograph.

    ``sentence``: in words. ``rank``: species, genus, family, order, or none if it is sure of nothing; ``name``: of that taxon. ``none_of_these``: it
    may show none of the species; ``strangeness``: share of known photographs that look less strange, null if that was not measured. ``nearest``:
    photographs of ``collection``, the most similar first.
    """

    sentence: str
    rank: str
    name: str
    probability: float
    none_of_these: bool
    strangeness: float | None
    species: list[ProbableSpecies]
    collection: str | None
    nearest: list[NearPhotograph]


@router.get("")
def list_identifiers(studio: CurrentStudio) -> list[IdentifierSummary]:
    """All identifiers of the workspace; damaged ones say what is wrong."""
    blank: dict[str, Any] = {"num_species": 0, "species": [], "learnt": None, "accuracy": None, "synthetic": None, "few": []}
    blank |= {"knows_strangers": False, "sure": 0.8}
    return listed(studio, "identifiers", show_identifier, lambda name, why: IdentifierSummary(name=name, title=name, **blank, damaged=why))


@router.get("/{name}")
def show_identifier(studio: CurrentStudio, name: Slug) -> IdentifierSummary:
    """One identifier."""
    about = describe_identifier(studio.workspace.find("identifiers", name))
    collection, cut_out = studio.workspace.photographs_of("identifiers", name), False
    if collection is not None:
        with suppress(UserError):  # a damaged collection is shown as damaged where collections are
            table = studio.catalogue.index(studio.workspace.find("collections", collection)).table
            cut_out = table["box"].null_count < table.num_rows
    return IdentifierSummary(name=name, title=studio.storage.titles.of("identifiers", name), collection=collection, cut_out=cut_out, **about)


@router.post("/{name}/identify", openapi_extra=_BODY)
async def identify_photograph(request: Request, studio: CurrentStudio, name: Slug) -> Answer:
    """What a photograph shows, which is the body. It is held in memory until it is answered, and then forgotten."""
    folder, limit = studio.workspace.find("identifiers", name), studio.config.limits.answer_bytes
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > limit:
            raise InputError(gettext("has more than {limit} bytes", limit=limit), gettext("Send a smaller photograph."))
    return await to_thread.run_sync(partial(_answer, studio, name, folder, bytes(received)))


def _answer(studio: Studio, name: str, folder: Path, photograph: bytes) -> Answer:
    collection = studio.workspace.photographs_of("identifiers", name)
    index = None
    if collection is not None:
        with suppress(UserError):  # then there are no photographs to compare with
            index = studio.catalogue.index(studio.workspace.find("collections", collection))
    told = studio.answers.identify(folder, None if index is None else index.root, photograph, studio.config.limits.answers)
    common = {} if index is None else index.common_names
    nearest = []
    for image_id, _, similarity in told["nearest"]:
        if index is not None and (place := index.position(image_id)) is not None:  # it may have been taken away since
            nearest.append(NearPhotograph.model_validate({**index.rows([place])[0], "similarity": similarity}))
    species = [ProbableSpecies(species=one, common_name=common.get(one), probability=share) for one, share in told["species"]]
    sentence = answer_in_words(told["rank"], told["name"], told["probability"], species[0].species, none_of_these=told["none_of_these"])
    facts = {key: told[key] for key in ("rank", "name", "probability", "none_of_these", "strangeness")}
    return Answer(sentence=sentence, species=species, collection=None if index is None else collection, nearest=nearest, **facts)


@router.get("/{name}/onnx")
def show_onnx(studio: CurrentStudio, name: Slug) -> OnnxState:
    """How far the writing of an identifier as ONNX is."""
    return studio.onnx.state(name)


@router.post("/{name}/onnx", status_code=202)
def write_onnx(studio: CurrentStudio, name: Slug) -> OnnxState:
    """Begin to write an identifier as ONNX, unless it is being written or is there. It ends with the server."""
    describe_identifier(studio.workspace.find("identifiers", name))
    return studio.onnx.start(name)


@router.get("/{name}/file", response_class=FileResponse)
def download_identifier(studio: CurrentStudio, name: Slug, form: Annotated[Literal["folder", "onnx"], Query()] = "folder") -> FileResponse:
    """A zip to use it elsewhere: its folder, for Syntype and pytorch, or the ONNX file that was written, with the model card."""
    folder = studio.workspace.find("identifiers", name)
    describe_identifier(folder)
    place = TemporaryDirectory(dir=studio.workspace.root / ".cache")
    try:
        made = Path(place.name)
        files = [folder / file for file in (FILES if form == "folder" else ("MODEL_CARD.md",)) if (folder / file).is_file()]
        if form == "onnx":
            files.append(studio.onnx.file(name))
        with zipfile.ZipFile(made / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(studio.workspace.inside(file), f"{name}/{file.name}")
    except BaseException:
        place.cleanup()
        raise
    called = f"{name}{'-onnx' if form == 'onnx' else ''}.zip"
    return FileResponse(made / "all.zip", media_type="application/zip", filename=called, background=BackgroundTask(place.cleanup))

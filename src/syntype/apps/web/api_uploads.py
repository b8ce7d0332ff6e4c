"""Routes of uploads: files are sent to one, looked at, and imported by a job or discarded."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel

from syntype.apps.web.import_options import ImportOptions
from syntype.apps.web.languages import gettext
from syntype.apps.web.recognised import recognised
from syntype.apps.web.refusals import RefusedFile, in_the_language
from syntype.apps.web.requests import UploadId
from syntype.apps.web.room import require_room_for_upload
from syntype.apps.web.stock import UploadResult
from syntype.apps.web.studio import PROBLEMS, CurrentStudio, Studio, image_answer
from syntype.apps.web.thumbnails import thumbnail
from syntype.apps.web.titles import Typed
from syntype.apps.web.translated import translated
from syntype.errors import InputError

__all__ = ["Upload", "list_uploads", "router", "show_upload"]

router = APIRouter(prefix="/api/uploads", tags=["uploads"], responses=PROBLEMS)
_MOST = 200
"""Refused rows and species that a preview names."""


class Upload(BaseModel):
    """An upload: what was accepted so far, and what was refused while it was sent.

    ``species``: number of images of each species; empty where it takes more than the names of its folders to tell (see its preview).
    ``typed``: the species that was sent with photographs that lie in folders. An import goes by the folders, unless it is given ``species``.
    """

    upload: str
    num_images: int = 0
    num_tables: int = 0
    species: dict[str, int]
    refused: list[RefusedFile] = []
    typed: str | None = None


class PreviewRow(BaseModel):
    """One row of a source: its file as the source calls it, and ``path`` in the upload, null if it is no file of its own."""

    file: str
    species: str | None
    group: str | None
    split: str | None
    licence: str | None
    row: int | None
    path: str | None


class UploadPreview(BaseModel):
    """What an import will do, before anything is taken in: what ``syntype collect --dry-run --json`` tells, of long lists the first two hundred.

    ``sentence`` says the most of it. ``num_species`` and ``num_refused`` count all of them; ``refused`` is the number of refused rows or files for
    each reason. ``received``: what was refused while it was sent.
    """

    upload: str
    sentence: str
    format: str
    num_images: int
    num_files: int
    num_missing: int
    num_downloads: int
    num_species: int
    species: dict[str, int]
    splits: dict[str, int]
    num_groups: int
    licences: dict[str, int]
    origins: dict[str, int]
    num_boxes: int
    num_refused: int
    refused: dict[str, int]
    columns: list[str]
    rows: list[PreviewRow]
    examples: list[PreviewRow]
    missing: list[PreviewRow]
    refused_items: list[RefusedFile]
    received: list[RefusedFile]
    notes: list[str]


def _upload(studio: Studio, upload: str) -> Upload:
    return Upload(upload=upload, **vars(studio.uploads.state(upload)))


@router.get("")
def list_uploads(studio: CurrentStudio) -> list[Upload]:
    """Uploads that hold something and that no job reads, latest first."""
    return [_upload(studio, upload) for upload in studio.uploads.open_ones()]


@router.post("", status_code=201)
def begin_upload(studio: CurrentStudio, num_bytes: Annotated[int, Query(ge=0, le=10**15)] = 0) -> Upload:
    """Begin an upload: send files to it, look at its preview, then create a job of the kind ``import``.

    ``num_bytes``: how much will be sent; if it cannot fit on the disk, this is refused at once.
    """
    require_room_for_upload(studio, num_bytes)
    return Upload(upload=studio.uploads.begin(), species={})


@router.get("/{upload}")
def show_upload(studio: CurrentStudio, upload: UploadId) -> Upload:
    """What was accepted so far."""
    return _upload(studio, upload)


@router.put("/{upload}/title", status_code=204)
def call_upload(studio: CurrentStudio, upload: UploadId, title: Annotated[Typed, Body(embed=True)]) -> None:
    """Keep the name that its collection is to have, so that it is there when the upload is opened again."""
    studio.uploads.state(upload)
    studio.storage.titles.set("uploads", upload, title)


@router.delete("/{upload}", status_code=204)
def drop_upload(studio: CurrentStudio, upload: UploadId) -> None:
    """Delete an upload."""
    studio.uploads.drop(upload)
    studio.storage.titles.set("uploads", upload, None)


@router.get("/{upload}/preview")
async def show_preview(studio: CurrentStudio, upload: UploadId, options: Annotated[ImportOptions, Query()]) -> UploadPreview:
    """What an import would do: what was recognised, species, splits, licences, first rows, and what is refused and why. Nothing is taken in."""
    found = await studio.uploads.preview(upload, options)
    counts: dict[str, dict[str, int]] = {name: dict(list(found[name].items())[:_MOST]) for name in ("species", "licences", "refused")}
    refused = Counter[str]()
    for reason, number in counts["refused"].items():
        refused[translated(reason)] += number
    shown: dict[str, Any] = {
        **found, **counts, "num_species": len(found["species"].keys() - {"none"}), "num_refused": sum(found["refused"].values()),
        "columns": found["columns"][:_MOST], "notes": [translated(note) for note in found["notes"][:_MOST]],
        "refused": refused, "refused_items": [_in_the_language(item) for item in found["refused_items"][:_MOST]],
        "sentence": recognised(found), "rows": [_inside(row) for row in found["rows"]], "examples": [_inside(row) for row in found["examples"]],
        "missing": [_inside(row) for row in found["missing"]],
    }  # fmt: skip
    return UploadPreview(upload=upload, received=[in_the_language(item) for item in studio.uploads.state(upload).refused[:_MOST]], **shown)


def _in_the_language(refused: dict[str, Any]) -> dict[str, Any]:
    return {**refused, "reason": translated(refused["reason"]), "hint": translated(refused["hint"])}


def _inside(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose path is one in the upload, or null."""
    path = row["path"]
    return {**row, "path": path if path is not None and not path.startswith("/") else None}


@router.get("/{upload}/thumbnail", response_class=FileResponse)
def show_upload_thumbnail(
    studio: CurrentStudio, upload: UploadId, path: Annotated[str, Query(min_length=1, max_length=2000)], side: Literal["160", "320", "1024"] = "160"
) -> FileResponse:
    """A WebP of a photograph of an upload, of at most ``side`` pixels; ``path`` is that of a preview's row."""
    file = studio.uploads.file(upload, path)
    return image_answer(thumbnail(studio.workspace.root / ".cache", file, None, int(side)))


@router.put(
    "/{upload}/files", openapi_extra={"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}
)
async def send_file(
    request: Request,
    studio: CurrentStudio,
    upload: UploadId,
    name: Annotated[str, Query(min_length=1, max_length=200)],
    species: Annotated[str | None, Query(max_length=200)] = None,
    folder: Annotated[str | None, Query(max_length=2000)] = None,
) -> UploadResult:
    """Send one photograph, one zip or one table as the body. Refused files are deleted.

    ``folder``: its folder in the folder that is being sent, empty at its top. Such files and those of a zip keep their folders, which say what the
    photographs show; a ``species`` that is given too is kept as ``typed``, and the import chooses. A photograph on its own needs the species.
    """
    limit = studio.uploads.limit(name)
    too_large = InputError(gettext("has more than {limit} bytes", limit=limit), gettext("Send a smaller file, or several."), file=name)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 15 or int(declared) > limit):
        raise too_large
    async with studio.uploads.receiving(upload) as place:
        received = 0
        with (place / "received").open("xb") as file:
            async for chunk in request.stream():
                received += len(chunk)
                if received > limit:
                    raise too_large
                await studio.uploads.write(file, chunk)
        taken = await studio.uploads.check(upload, place / "received", name, species, folder)
    return replace(taken, refused=tuple(in_the_language(item) for item in taken.refused))

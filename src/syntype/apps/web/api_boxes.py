"""Routes of the boxes of an upload: photographs with the animals that their source has, and corrections before the import."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from syntype.apps.web.import_options import ImportOptions
from syntype.apps.web.requests import UploadId
from syntype.apps.web.studio import PROBLEMS, CurrentStudio, Studio
from syntype.apps.web.upload_boxes import corrected_boxes, corrections_of, keep_boxes, measure, source_animals
from syntype.collection.sources.box_corrections import MOST_ANIMALS, Animal, check_animals
from syntype.errors import UnknownNameError

__all__ = ["router"]

router = APIRouter(prefix="/api/uploads/{upload}/boxes", tags=["uploads"], responses=PROBLEMS)


class BoxedPhotograph(BaseModel):
    """A photograph of an upload and its animals; boxes in pixels of the upright photograph, which is ``width`` x ``height``.

    ``corrected``: they were corrected, and are not those of the source.
    """

    path: str
    width: int
    height: int
    corrected: bool
    animals: list[Animal]


class BoxedPhotographs(BaseModel):
    """Some photographs of ``total``, in the order of the source; none if it has no boxes."""

    total: int
    num_corrected: int
    photographs: list[BoxedPhotograph]


class CorrectedPhotograph(BaseModel):
    """All animals of a photograph; null: those of the source again. ``read``: how the upload is read, as its preview is asked."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(min_length=1, max_length=2000)
    animals: Annotated[list[Animal], Field(max_length=MOST_ANIMALS)] | None
    read: ImportOptions = ImportOptions()


class BoxesAsked(ImportOptions):
    """How the upload is read, and which photographs are wanted."""

    offset: int = Field(0, ge=0, le=10**9)
    limit: int = Field(24, ge=1, le=100)


async def _boxed(studio: Studio, upload: str, read: ImportOptions) -> dict[str, list[Mapping[str, Any]]]:
    """For each photograph that is there its animals, as the source has them."""
    found = await studio.uploads.preview(upload, read, boxes=False)
    folder = studio.uploads.folder(upload)
    return {item["path"]: item["animals"] for item in found["boxes"] if not item["path"].startswith("/") and (folder / item["path"]).is_file()}


def _photograph(file: Path, path: str, animals: list[Mapping[str, Any]], corrected: list[Animal] | None) -> BoxedPhotograph:
    size = measure(file)
    known = source_animals(animals, size)
    if corrected is not None:
        known = [one if one.species or one.number is None else one.model_copy(update={"species": known[one.number].species}) for one in corrected]
    return BoxedPhotograph(path=path, width=size[0], height=size[1], corrected=corrected is not None, animals=known)


@router.get("")
async def list_boxes(studio: CurrentStudio, upload: UploadId, asked: Annotated[BoxesAsked, Query()]) -> BoxedPhotographs:
    """Photographs of an upload that comes with boxes, with the boxes that an import would give them."""
    there = await _boxed(studio, upload, asked)
    corrected = corrected_boxes(corrections_of(studio.uploads.folder(upload), asked))
    some = list(there)[asked.offset : asked.offset + asked.limit]

    def photographs() -> list[BoxedPhotograph]:
        return [_photograph(studio.uploads.file(upload, path), path, there[path], corrected.get(path)) for path in some]

    return BoxedPhotographs(total=len(there), num_corrected=len(corrected), photographs=await to_thread.run_sync(photographs))


@router.put("")
async def correct_boxes(studio: CurrentStudio, upload: UploadId, sent: CorrectedPhotograph) -> BoxedPhotograph:
    """Keep the corrected animals of one photograph for the import, in place of those that the source has."""
    there = await _boxed(studio, upload, sent.read)
    if sent.path not in there:
        raise UnknownNameError("photograph of this upload", sent.path[:100], ())

    def keep() -> BoxedPhotograph:
        file, known = studio.uploads.file(upload, sent.path), there[sent.path]
        if sent.animals is not None:
            check_animals(sent.animals, len(known), measure(file)[:2])
        with studio.uploads.changing(upload) as folder:
            keep_boxes(corrections_of(folder, sent.read), sent.path, sent.animals)
        return _photograph(file, sent.path, known, sent.animals)

    return await to_thread.run_sync(keep)


@router.delete("", status_code=204)
def forget_boxes(studio: CurrentStudio, upload: UploadId, read: Annotated[ImportOptions, Query()]) -> None:
    """Take all corrections of boxes back."""
    with studio.uploads.changing(upload) as folder:
        corrections_of(folder, read).unlink(missing_ok=True)

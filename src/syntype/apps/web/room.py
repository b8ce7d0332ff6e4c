"""Whether what a job will write fits on the disk, as far as the sizes of its files say beforehand."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from syntype.apps.web.classify_request import THOROUGH_SIZE, ClassifyRequest
from syntype.apps.web.generators import describe_generator
from syntype.apps.web.requests import (
    CurateRequest,
    ExportRequest,
    GenerateRequest,
    ImportRequest,
    InpaintRequest,
    JobRequest,
    ResplitRequest,
    StudyRequest,
    TrainRequest,
    VaryRequest,
)
from syntype.apps.web.sizes import require_room
from syntype.apps.web.studio import Studio
from syntype.errors import UserError

__all__ = ["require_room_for_job", "require_room_for_upload"]

_PIXEL_BYTES = 3
_STUDY_SIDE = 224


def require_room_for_job(studio: Studio, request: JobRequest) -> None:
    """Check that the result of a job fits on the disk: copies of files by their sizes, images by their pixels.

    Raises:
        InputError: it does not fit.
        UserError: what it reads is not there, or is damaged.
    """
    require_room(studio.workspace.root, _needs(studio, request), f"this job ({request.kind})")


def require_room_for_upload(studio: Studio, num_bytes: int) -> None:
    """Check that files of so many bytes can be received and then imported, for which they are there twice.

    Raises:
        InputError: they do not fit.
    """
    require_room(studio.workspace.root, 2 * num_bytes, "sending and importing these files")


def _needs(studio: Studio, request: JobRequest) -> int:
    workspace, sizes = studio.workspace, studio.storage.sizes
    if isinstance(request, ImportRequest):
        return sizes.now(workspace.root / "uploads" / request.upload).num_bytes
    if isinstance(request, ExportRequest | CurateRequest | ResplitRequest):
        size = sizes.now(workspace.find("collections", request.synthetic if isinstance(request, CurateRequest) else request.collection))
        return size.num_bytes - size.cache_bytes
    if isinstance(request, GenerateRequest):
        about = describe_generator(workspace.find("generators", request.generator))
        return (len(request.species) or about["num_species"]) * request.num * _image(about["size"])
    if isinstance(request, VaryRequest | InpaintRequest):
        about, num = describe_generator(workspace.find("generators", request.generator)), len(request.photographs)
        each = len(request.strengths) if isinstance(request, VaryRequest) else 1
        return (num or _num_images(studio, request.collection)) * request.num * each * _image(about["size"])
    if isinstance(request, TrainRequest):
        return _num_images(studio, request.collection) * _image(request.size)
    if isinstance(request, ClassifyRequest):
        return _num_images(studio, request.collection) * _image(THOROUGH_SIZE)
    if isinstance(request, StudyRequest):
        return _num_images(studio, request.collection) * _image(_STUDY_SIDE)
    return 0


def _image(side: Any) -> int:
    """Most bytes of a square image without losses."""
    return side * side * _PIXEL_BYTES if isinstance(side, int) else 0


def _num_images(studio: Studio, collection: str) -> int:
    with suppress(UserError):  # the job itself says what is wrong with it
        return studio.catalogue.summary(studio.workspace.find("collections", collection)).num_images
    return 0

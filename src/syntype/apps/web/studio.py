"""What the routes share: the parts of the running Studio, and common responses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel

from syntype.apps.web.accounts import Accounts
from syntype.apps.web.answers import Answers
from syntype.apps.web.catalogue import Catalogue
from syntype.apps.web.drawing import Drawings
from syntype.apps.web.languages import gettext
from syntype.apps.web.limits import StudioConfig
from syntype.apps.web.looks import Looks
from syntype.apps.web.offers import Offers
from syntype.apps.web.onnx_files import OnnxFiles
from syntype.apps.web.queue import Queue
from syntype.apps.web.reviews import Reviews
from syntype.apps.web.security import Guesses, Sessions, Turns
from syntype.apps.web.storage import Storage
from syntype.apps.web.store import Store
from syntype.apps.web.uploads import Uploads
from syntype.apps.web.workspace import Kind, Workspace
from syntype.errors import InputError, UserError

__all__ = ["PROBLEMS", "CurrentStudio", "Problem", "Studio", "image_answer", "listed", "signed_name"]

_TYPES = {
    ".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".gif": "image/gif", ".tif": "image/tiff", ".bmp": "image/bmp",
}  # fmt: skip


T = TypeVar("T")
N = TypeVar("N", bound=str | None)


@dataclass(frozen=True)
class Studio:
    """The parts of a running Studio."""

    config: StudioConfig
    workspace: Workspace
    store: Store
    reviews: Reviews
    queue: Queue
    uploads: Uploads
    catalogue: Catalogue
    sessions: Sessions
    accounts: Accounts
    guesses: Guesses
    storage: Storage
    drawings: Drawings
    turns: Turns
    looks: Looks
    answers: Answers
    onnx: OnnxFiles
    offers: Offers = field(default_factory=Offers)
    password_guesses: Guesses = field(default_factory=Guesses)
    """Apart from wrong tokens, so that a class that mistypes its passwords does not keep programs out."""
    hashing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    """Passwords are compared two at a time, as each takes 32 MiB, and as wrong ones are counted only afterwards."""


class Problem(BaseModel):
    """Why a request was refused, and what to do next."""

    error: str
    taken: bool = False
    """The name that was given is taken; another one may do."""


PROBLEMS: dict[int | str, dict[str, Any]] = {status: {"model": Problem} for status in (400, 401, 403, 404, 408, 413, 421, 422, 429, 503, 507)}


def _studio(request: Request) -> Studio:
    return request.app.state.studio  # type: ignore[no-any-return]


CurrentStudio = Annotated[Studio, Depends(_studio)]


def signed_name(request: Request, studio: Studio, given: N) -> str | N:
    """Under which name something is kept: the account's, whatever was sent; without an account the name that was sent.

    Raises:
        InputError: the sender has no account, and the name is that of one.
    """
    name: str | None = request.state.visitor.name
    if name is not None:
        return name
    if given is not None and studio.accounts.has_name(given):
        taken = gettext("{name} is the name of an account, and you are not signed in with it", name=repr(given))
        raise InputError(taken, gettext("Sign in with it, or write another name."))
    return given


def listed(studio: Studio, kind: Kind, show: Callable[[Studio, str], T], damaged: Callable[[str, str], T]) -> list[T]:
    """Everything of a kind in the workspace. One damaged folder is shown as damaged and does not hide the others.

    Args:
        show: a summary of the thing of a name; raises ``UserError`` if it is damaged.
        damaged: a summary of a damaged thing, from its name and what is wrong.
    """
    found = []
    for name in studio.workspace.slugs(kind):
        try:
            found.append(show(studio, name))
        except UserError as error:
            found.append(damaged(name, studio.workspace.show(str(error))))
    return found


def image_answer(path: Path, *, for_ever: bool = False) -> FileResponse:
    """A picture as an answer; a browser that opens it on its own runs nothing of it.

    Args:
        for_ever: its address names its content, so that browsers may keep it.
    """
    headers = {
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "private, max-age=31536000, immutable" if for_ever else "private, no-cache",
    }
    return FileResponse(path, media_type=_TYPES.get(path.suffix.lower(), "application/octet-stream"), headers=headers)

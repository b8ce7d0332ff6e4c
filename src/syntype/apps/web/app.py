"""The ASGI application: its parts, its routes and its error responses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from syntype import __version__
from syntype.apps.web import (
    account_pages,
    api_accounts,
    api_boxes,
    api_collections,
    api_hybrids,
    api_identifiers,
    api_jobs,
    api_looks,
    api_names,
    api_plans,
    api_sessions,
    api_storage,
    api_training,
    api_uploads,
    api_verdicts,
    forms,
    hybrid_pages,
    identifier_pages,
    look_pages,
    pages,
    parents,
    places,
    quiz,
    storage_pages,
    visitors,
)  # fmt: skip
from syntype.apps.web.accounts import Accounts
from syntype.apps.web.answers import Answers
from syntype.apps.web.catalogue import Catalogue
from syntype.apps.web.drawing import Drawings
from syntype.apps.web.languages import N_, gettext
from syntype.apps.web.limits import StudioConfig
from syntype.apps.web.looks import Looks
from syntype.apps.web.onnx_files import OnnxFiles
from syntype.apps.web.queue import Queue
from syntype.apps.web.reviews import Reviews
from syntype.apps.web.roles import Gate
from syntype.apps.web.security import Guesses, SecurityMiddleware, Sessions, Turns
from syntype.apps.web.static_files import STATIC
from syntype.apps.web.storage import Storage
from syntype.apps.web.store import Store
from syntype.apps.web.studio import Studio
from syntype.apps.web.uploads import Uploads
from syntype.apps.web.wording import wrong_field
from syntype.apps.web.workspace import NameTakenError, Workspace
from syntype.errors import DiskError, SyntypeError, UnknownNameError, UserError
from syntype.files import disk_problem

__all__ = ["create_app"]

_log = logging.getLogger("syntype.studio")
_BACK = N_("Go back, or to the first page: it shows what there is.")
_NOTHING = N_("nothing is found at this address.")


def create_app(workspace: Workspace, config: StudioConfig, database: str | None = None) -> ASGIApp:
    """The Studio over a workspace, as an ASGI application; its queue works from startup to shutdown.

    Args:
        database: URL of the database; None for SQLite inside the workspace.

    Raises:
        InputError, UnsupportedError: the database cannot be used.
        UserError: there is no generator of a name in ``config.public``, or it cannot draw hybrids.
    """
    visitors.require_public(workspace, config.public)
    store = Store(database or f"sqlite:///{workspace.root / 'studio.sqlite'}")
    if database:
        store.belong_to(workspace.identity)
    reviews = Reviews(store, workspace)
    uploads = Uploads(workspace, config.limits, store)
    queue = Queue(store, workspace, reviews, uploads, config.jobs, config.cluster)
    sessions, accounts, guesses = Sessions(workspace.root / ".session-key", config.token), Accounts(store), Guesses()
    storage = Storage(workspace, store, reviews, queue, uploads)
    catalogue = Catalogue()
    drawings, answers = Drawings(config.limits.draw_seconds), Answers(config.limits.answer_seconds)
    turns = Turns(config.limits.public_rate)
    looks, onnx = Looks(workspace, catalogue), OnnxFiles(workspace)
    working = (workspace, store, reviews, queue, uploads, catalogue)
    studio = Studio(config, *working, sessions, accounts, guesses, storage, drawings, turns, looks, answers, onnx)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        uploads.sweep()
        await asyncio.to_thread(storage.settle)
        queue.start()
        yield
        storage.sizes.close()
        await asyncio.to_thread(drawings.close)
        await asyncio.to_thread(answers.close)
        studio.looks.stop()
        studio.onnx.stop()
        await asyncio.to_thread(queue.close)
        await asyncio.to_thread(reviews.apply_rested, 0)
        store.close()

    app = FastAPI(
        title="Syntype Studio", version=__version__, lifespan=lifespan, openapi_url="/api/openapi.json", docs_url=None, redoc_url=None,
        description="Everything that the Studio's pages can do. Names are folder names in the workspace. Errors are `{\"error\": message}`.",
    )  # fmt: skip
    app.state.studio = studio
    things = (parents, api_collections, api_looks, api_names, api_boxes, api_uploads, api_verdicts, quiz)
    apis = (api_sessions, api_accounts, *things, api_jobs, api_plans, api_training, api_identifiers, api_hybrids, api_storage)
    shown = (account_pages, look_pages, pages, places, forms, hybrid_pages, identifier_pages, storage_pages, visitors)
    for part in (*apis, *shown):
        app.router.routes.extend(part.router.routes)
    app.mount("/static", STATIC)
    app.add_exception_handler(SyntypeError, _handle)
    app.add_exception_handler(RequestValidationError, _handle_invalid)
    app.add_exception_handler(HTTPException, _handle_http)
    for kind in (OSError, DBAPIError, Exception):  # the first two so that a full disk is not logged as a fault of the program
        app.add_exception_handler(kind, _handle_unexpected)
    return SecurityMiddleware(app, config, sessions, accounts, guesses, Gate(app.router.routes), _error_response)


def _error_response(request: Request, status: int, message: str, *, missing: bool = False, taken: bool = False) -> Response:
    """An error response: a page for browsers, JSON for programs; ``missing``: nothing is at this address; ``taken``: a name is."""
    message = message.encode("utf-8", "replace").decode()
    if "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/"):
        return pages.render(request, "problem", status, message=message, missing=missing or status == 404)
    return JSONResponse({"error": message, **({"taken": True} if taken else {})}, status)


def _handle(request: Request, error: Exception) -> Response:
    """The message of one of Syntype's own errors, without paths of this machine."""
    studio: Studio = request.app.state.studio
    status = 404 if isinstance(error, UnknownNameError) else 507 if isinstance(error, DiskError) else 422 if isinstance(error, UserError) else 500
    return _error_response(request, status, studio.workspace.show(str(error)), taken=isinstance(error, NameTakenError))


def _handle_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if "text/html" in request.headers.get("accept", "") and first["loc"][:1] == ("path",) and not request.url.path.startswith("/api/"):
        return _error_response(request, 422, f"{gettext(_NOTHING)} {gettext(_BACK)}", missing=True)
    message = wrong_field(first)
    return _error_response(request, 422, message if _is_page(request) else f"{message} See /api/openapi.json for what is expected.")


def _handle_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = gettext(_BACK) if _is_page(request) else "See /api/openapi.json."
    known = {404: gettext(_NOTHING) + f" {where}", 405: gettext("this address does not accept this method.") + f" {where}"}
    answer = _error_response(request, error.status_code, known.get(error.status_code) or str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


def _is_page(request: Request) -> bool:
    """Whether a browser asks: for a page, or from one. Programs are told where the interface is described."""
    return "text/html" in request.headers.get("accept", "") or "sec-fetch-mode" in request.headers


def _handle_unexpected(request: Request, error: Exception) -> Response:
    studio: Studio = request.app.state.studio
    if (problem := disk_problem(error, studio.workspace.root)) is not None:
        return _handle(request, problem)
    _log.exception("error while handling a request", exc_info=error)
    return _error_response(
        request, 500, gettext("unexpected {error} on the server; see its log. Try again, or restart the server.", error=type(error).__name__)
    )

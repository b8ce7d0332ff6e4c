"""The pages of accounts: sign in, join with a link, one's own account, and the people of the Studio."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from syntype.apps.web.pages import render
from syntype.apps.web.studio import CurrentStudio

__all__ = ["router"]

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/signin")
def sign_in(request: Request, studio: CurrentStudio) -> Response:
    """Where the name and the password, or the token, are asked for."""
    accounts = studio.accounts.exist()
    if studio.config.token is None and not accounts:
        return RedirectResponse("/", 303)
    return render(request, "signin", accounts=accounts, token=studio.config.token is not None)


@router.get("/join")
def join(request: Request) -> Response:
    """Where somebody chooses a password who was invited."""
    return render(request, "join")


@router.get("/account")
def account(request: Request, studio: CurrentStudio) -> Response:
    """Who is signed in in this browser; another password; sign out."""
    return render(request, "account", token=studio.config.token is not None)


@router.get("/people")
def people(request: Request, studio: CurrentStudio) -> Response:
    """Who has an account, and invitations."""
    return render(request, "people", token=studio.config.token is not None)

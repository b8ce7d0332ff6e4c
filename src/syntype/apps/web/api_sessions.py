"""Routes to sign in and out: with the token, with the name and the password of an account, or with the link of an invitation."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, StringConstraints, model_validator
from starlette.exceptions import HTTPException

from syntype.apps.web.accounts import SESSION_SECONDS
from syntype.apps.web.languages import gettext
from syntype.apps.web.roles import Role
from syntype.apps.web.security import COOKIE, TOO_MANY_GUESSES
from syntype.apps.web.studio import PROBLEMS, CurrentStudio, Studio
from syntype.errors import UserError

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["session"], responses=PROBLEMS)
NewPassword = Annotated[str, StringConstraints(min_length=10, max_length=200)]
Secret = Annotated[str, StringConstraints(min_length=1, max_length=200)]
T = TypeVar("T")


class Session(BaseModel):
    """Whether this browser is signed in, as whom, and what its changes must carry in the header X-Syntype-Csrf. ``name``: the account's."""

    signed_in: bool
    csrf: str | None
    name: str | None = None
    role: Role | None = None


class SignIn(BaseModel):
    """The name and the password of an account, or the Studio's token."""

    token: Secret | None = None
    name: Secret | None = None
    password: Secret | None = None

    @model_validator(mode="after")
    def _one_way(self) -> SignIn:
        if (self.token is None) == (self.name is None or self.password is None):
            raise ValueError("send the name and the password of your account, or the token")
        return self


class Link(BaseModel):
    """The secret part of an invitation's link, behind its ``#``."""

    link: Secret


class Joining(Link):
    """The password to sign in with from now on."""

    password: NewPassword


class Invited(BaseModel):
    """Whose link it is; ``joined``: there is a password already, and the link is for another one."""

    name: str
    role: Role
    joined: bool


class PasswordChange(BaseModel):
    """The password until now, and from now on."""

    old: Secret
    new: NewPassword


@router.get("/session")
def show_session(request: Request, response: Response, studio: CurrentStudio) -> Session:
    """The session of this browser; on loopback without a token a new one is started."""
    visitor = request.state.visitor
    if visitor is None or visitor.by_header:
        return Session(signed_in=visitor is not None, csrf=None, role=None if visitor is None else visitor.role)
    csrf = studio.sessions.csrf(visitor.session or _begin(studio, response))
    return Session(signed_in=True, csrf=csrf, name=visitor.name, role=visitor.role)


@router.post("/session")
async def sign_in(request: Request, sign_in: SignIn, response: Response, studio: CurrentStudio) -> Session:
    """Sign in with the name and the password of an account, or with the token."""
    if sign_in.name is not None and sign_in.password is not None:
        name, password = sign_in.name, sign_in.password
        cookie = await _guessing(request, studio, lambda: studio.accounts.sign_in(name, password))
        if cookie is None:
            raise HTTPException(403, gettext("the name or the password is wrong. If you have forgotten the password, ask an owner for a new link."))
        return await asyncio.to_thread(_begin_account, request, studio, response, cookie)
    if studio.config.token is not None and studio.guesses.too_many(request.scope):
        raise HTTPException(429, gettext(TOO_MANY_GUESSES))
    if studio.config.token is None or not hmac.compare_digest(str(sign_in.token).encode(), studio.config.token.encode()):
        studio.guesses.wrong(request.scope)
        raise HTTPException(403, gettext("this is not the Studio's token. The token was shown when the server was first started with it."))
    await asyncio.to_thread(_end_account, request, studio)
    return Session(signed_in=True, csrf=studio.sessions.csrf(_begin(studio, response)), role="owner")


@router.delete("/session", status_code=204)
def sign_out(request: Request, response: Response, studio: CurrentStudio) -> None:
    """End the session. Its cookie, and copies of it, are of no use afterwards."""
    visitor = request.state.visitor
    if visitor is not None and visitor.session is not None and visitor.account is None:
        studio.sessions.end(visitor.session)
    _end_account(request, studio)
    response.delete_cookie(COOKIE)


@router.post("/session/password", status_code=204)
async def change_password(request: Request, studio: CurrentStudio, change: PasswordChange) -> None:
    """Choose another password for your account. It is signed out in all other browsers."""
    account = request.state.visitor.account
    if account is None:
        raise UserError(gettext("only an account has a password. Sign in with your name first."))
    if not await _guessing(request, studio, lambda: studio.accounts.change_password(account, change.old, change.new)):
        raise HTTPException(403, gettext("the old password is wrong. If you have forgotten it, ask an owner for a new link."))


@router.post("/join/look")
async def look_at_link(request: Request, studio: CurrentStudio, link: Link) -> Invited:
    """For whom the link of an invitation is. It can be used afterwards."""
    person = await _guessing(request, studio, lambda: studio.accounts.invited(link.link))
    return Invited(name=person.name, role=person.role, joined=person.joined)


@router.post("/join", status_code=201)
async def join(request: Request, studio: CurrentStudio, joining: Joining, response: Response) -> Session:
    """Choose the password of the account for which a link is, and sign in. The link is of no use afterwards."""
    cookie = await _guessing(request, studio, lambda: studio.accounts.join(joining.link, joining.password))
    return await asyncio.to_thread(_begin_account, request, studio, response, cookie)


async def _guessing(request: Request, studio: Studio, attempt: Callable[[], T]) -> T:
    """What an attempt gives that must not be repeated at will. One that fails, or gives nothing, counts as a wrong guess."""
    async with studio.hashing:
        if studio.password_guesses.too_many(request.scope):
            raise HTTPException(429, gettext(TOO_MANY_GUESSES))
        try:
            found = await asyncio.to_thread(attempt)
        except UserError:
            studio.password_guesses.wrong(request.scope)
            raise
        if not found:
            studio.password_guesses.wrong(request.scope)
        return found


def _begin_account(request: Request, studio: Studio, response: Response, cookie: str) -> Session:
    """Give the browser the cookie of an account's new session; that of an account which it had before ends."""
    _end_account(request, studio)
    account = studio.accounts.who(cookie)
    if account is None:  # removed at this moment
        raise UserError(gettext("this account was removed. Ask an owner of this Studio for a new link."))
    _set_cookie(studio, response, cookie)
    return Session(signed_in=True, csrf=studio.sessions.csrf(account.session), name=account.name, role=account.role)


def _begin(studio: Studio, response: Response) -> str:
    """Give the browser the cookie of a new session with the token; returns the session's id."""
    cookie = studio.sessions.make()
    _set_cookie(studio, response, cookie)
    return studio.sessions.check(cookie) or ""


def _set_cookie(studio: Studio, response: Response, cookie: str) -> None:
    response.set_cookie(COOKIE, cookie, max_age=SESSION_SECONDS, httponly=True, samesite="strict", secure=studio.config.https, path="/")


def _end_account(request: Request, studio: Studio) -> None:
    """End the browser's session, if it is one of an account."""
    visitor = request.state.visitor
    if visitor is not None and visitor.account is not None:
        studio.accounts.end(visitor.account.session)

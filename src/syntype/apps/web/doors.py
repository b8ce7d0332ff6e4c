"""The doors: who may come in, from which page, with how much; and what the answers forbid the browser.

Three ways in. On loopback without a token anybody on this machine. With a token: ``Authorization: Bearer TOKEN`` for programs, or a session
cookie that the sign-in page gets for it. A cookie travels with requests that other web pages make, so a request that changes something must
also carry a header that only our own pages can read (``X-Syntype-Csrf``), and must not say that it comes from elsewhere. The ``Host``
must be one that we answer to, or another page could reach a loopback server through a name of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from syntype.apps.web.limits import StudioConfig, is_loopback

__all__ = ["COOKIE", "CSRF_HEADER", "HEADERS", "Doors", "Sessions", "Visitor"]

COOKIE = "syntype_session"
CSRF_HEADER = "x-syntype-csrf"
SESSION_SECONDS = 30 * 86400
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' blob:; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""Of every answer; an answer that sets one itself keeps its own."""
_SAFE = ("GET", "HEAD", "OPTIONS")
_log = logging.getLogger("syntype.studio.requests")


@dataclass(frozen=True)
class Visitor:
    """Whose request it is: the session's id, and whether it was let in by a token in the header."""

    session: str | None
    by_header: bool


class Sessions:
    """Cookies that hold a random id, an end, and a signature; no list of them is kept, so they outlive a restart.

    Args:
        key_file: where the signing key lies; made where it is missing.
        token: changes with it, so that a new token ends all sessions.
    """

    def __init__(self, key_file: Path, token: str | None) -> None:
        if not key_file.is_file():
            key_file.touch(mode=0o600)
            key_file.write_bytes(secrets.token_bytes(32))
        self._key = hashlib.sha256(key_file.read_bytes() + (token or "").encode()).digest()

    def make(self) -> str:
        """A new session's cookie."""
        plain = f"{secrets.token_urlsafe(16)}.{int(time.time()) + SESSION_SECONDS}"
        return f"{plain}.{self._sign('session', plain)}"

    def check(self, cookie: str) -> str | None:
        """The id of the session that a cookie proves; None if it is forged or too old."""
        plain, _, signature = cookie.rpartition(".")
        name, _, end = plain.partition(".")
        good = hmac.compare_digest(signature.encode(), self._sign("session", plain).encode())
        return name if good and end.isdigit() and int(end) > time.time() else None

    def csrf(self, session: str) -> str:
        """What a page of the session must send along with changes."""
        return self._sign("csrf", session)

    def _sign(self, use: str, text: str) -> str:
        return hmac.new(self._key, f"{use}:{text}".encode(), hashlib.sha256).hexdigest()


@dataclass
class Doors:
    """ASGI middleware around the whole application.

    Args:
        open_paths: that anybody who reaches the server may read: the sign-in page and what it is made of.
        large: paths that receive files and count bytes themselves.
    """

    app: ASGIApp
    config: StudioConfig
    sessions: Sessions
    open_paths: Iterable[str] = ("/signin", "/static/", "/api/session")
    large: str = "/files"
    _hosts: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        own = {"localhost", "127.0.0.1", "::1"} if is_loopback(self.config.host) else set()
        self._hosts = frozenset(own | {self.config.host})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in or refuse it, and dress the answer."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), 0

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            headers = Headers(scope=scope)
            visitor = self._visitor(headers)
            refusal = self._refusal(scope, headers, visitor)
            if refusal is not None:
                await _answer(dressed, *refusal, scope)
                return
            scope.setdefault("state", {})["visitor"] = visitor
            counted = receive if scope["path"].endswith(self.large) else _counting(receive, self.config.limits.json_bytes)
            await self.app(scope, counted, dressed)
        finally:
            path = scope["path"].encode("unicode_escape").decode("ascii")[:300]  # never the query, headers or cookies: they may hold secrets
            _log.info("%s %s %s %.0f ms", scope["method"], path, status or "-", 1000 * (time.monotonic() - began))

    def _visitor(self, headers: Headers) -> Visitor | None:
        if self.config.token is not None:
            kind, _, shown = headers.get("authorization", "").partition(" ")
            if kind.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(), self.config.token.encode()):
                return Visitor(None, True)
        session = self._session(headers)
        if session is not None:
            return Visitor(session, False)
        return Visitor(None, False) if self.config.token is None else None

    def _session(self, headers: Headers) -> str | None:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return None
        return None if morsel is None else self.sessions.check(morsel.value)

    def _refusal(self, scope: Scope, headers: Headers, visitor: Visitor | None) -> tuple[int, str] | None:
        path, method = scope["path"], scope["method"]
        host = _host(headers.get("host", ""))
        if is_loopback(self.config.host) and host not in self._hosts:
            return 421, "this server answers to localhost alone. Open it as http://localhost, or serve it with --host and a token."
        if path.count("\0") or len(path) > 2000:
            return 400, "the address cannot be right. Check it."
        is_open = any(path == open_path or (open_path.endswith("/") and path.startswith(open_path)) for open_path in self.open_paths)
        if visitor is None and not is_open:
            return 401, "the Studio wants its token. Sign in at /signin, or send the header 'Authorization: Bearer TOKEN'."
        if method in _SAFE or (visitor is not None and visitor.by_header):
            return None
        origin = headers.get("origin")
        elsewhere = origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()
        if elsewhere or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, "the request comes from another web page. Use the Studio's own pages."
        if is_open:
            return None
        sent = headers.get(CSRF_HEADER, "")
        if visitor is None or visitor.session is None or not hmac.compare_digest(sent.encode(), self.sessions.csrf(visitor.session).encode()):
            return 403, "the request lacks the header X-Syntype-Csrf of its session. GET /api/session tells it, and sets the session's cookie."
        return None


def _counting(receive: Receive, limit: int) -> Receive:
    total = 0

    async def counted() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > limit:
            raise HTTPException(413, f"the request has more than {limit:,} bytes. Send less at once.")
        return message

    return counted


def _host(netloc: str) -> str:
    """The host of ``host:port``, without brackets, in small letters."""
    try:
        return (urlsplit(f"//{netloc}").hostname or "").rstrip(".")
    except ValueError:
        return ""


async def _answer(send: Send, status: int, message: str, scope: Scope) -> None:
    wants_page = scope["method"] == "GET" and "text/html" in Headers(scope=scope).get("accept", "") and status == 401
    headers: list[tuple[bytes, bytes]] = [(b"content-type", b"application/json")]
    if wants_page:
        status = 303
        headers.append((b"location", b"/signin"))
    body: Any = json.dumps({"error": message}).encode()
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

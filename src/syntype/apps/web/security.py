"""Security middleware: authentication, CSRF protection, the ``Host`` check, request size limits, response headers and the request log.

Authentication: on loopback without a token, everybody on this machine; with a token, ``Authorization: Bearer TOKEN`` for programs, or a session
cookie that the sign-in page sets. All of these may do everything. The session of an account (``accounts.py``) may do what its role allows
(``roles.py``). Browsers send cookies with requests from other web pages too, so a request that changes something needs a CSRF
token in the header ``X-Syntype-Csrf``, and its ``Origin`` and ``Sec-Fetch-Site`` must be this server's. On loopback the ``Host`` must be a name of
this machine, against DNS rebinding.

Why Starlette's own middleware is not used for this: ``TrustedHostMiddleware`` and ``RequestBodyLimitMiddleware`` answer in plain text, where all
errors here are JSON with what to do next; the second also counts uploads, which have a limit of their own, and replaces the answers 401 and 404.
``SessionMiddleware`` needs another package and sends its cookie with every answer. ``CORSMiddleware`` lets other origins in; here none may.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from syntype.apps.web.accounts import SESSION_SECONDS, Account, Accounts
from syntype.apps.web.languages import N_, gettext, in_language, language_of
from syntype.apps.web.limits import Limits, StudioConfig, is_loopback
from syntype.apps.web.roles import FORBIDDEN, Gate, Role
from syntype.files import atomic_write

__all__ = ["COOKIE", "CSRF_HEADER", "HEADERS", "TOO_MANY_GUESSES", "VISITORS", "Guesses", "SecurityMiddleware", "Sessions", "Turns", "Visitor"]

COOKIE = "syntype_session"
CSRF_HEADER = "x-syntype-csrf"
MAX_GUESSES = 10
GUESS_SECONDS = 60.0
TURN_SECONDS = 60.0
VISITORS = ("/try", "/try/", "/api/try/")
"""Addresses that visitors may open where generators are public; a trailing slash stands for everything below."""
TOO_MANY_GUESSES = N_("too many wrong tokens, passwords or links came from this address. Wait a minute, then try again.")
_ADDRESSES = 10_000
"""Addresses whose wrong tokens are remembered."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' blob:; script-src 'self'; style-src 'self'; connect-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""Headers of every response; a response that sets one itself keeps its own."""
_ASKED_BY_PAGES = "/api/jobs"
"""What open pages ask for again and again, whether somebody is there or not: no use of a session."""
_SAFE = ("GET", "HEAD", "OPTIONS")
_log = logging.getLogger("syntype.studio.requests")


@dataclass(frozen=True)
class Visitor:
    """Who sent a request.

    Attributes:
        session: the session's id; None without a session cookie.
        by_header: the request was authenticated by a bearer token.
        account: of an account's session; None with the token, and on a Studio of this machine without one.
        signed_in: the browser has entered the token or a password, so that it can sign out.
    """

    session: str | None
    by_header: bool
    account: Account | None = None
    signed_in: bool = False

    @property
    def role(self) -> Role:
        """What the sender may do."""
        return "owner" if self.account is None else self.account.role

    @property
    def name(self) -> str | None:
        """The account's name."""
        return None if self.account is None else self.account.name


class Sessions:
    """Signed session cookies: a random id, an expiry time and an HMAC-SHA256. Only sessions that were signed out are stored, one a line, so all
    survive a restart of the server.

    Args:
        key_file: file of the signing key; created if it is missing. The sessions that were signed out are stored beside it.
        token: part of the signing key, so that a new token ends all sessions.
    """

    def __init__(self, key_file: Path, token: str | None) -> None:
        if not key_file.is_file():
            key_file.touch(mode=0o600)
            key_file.write_bytes(secrets.token_bytes(32))
        self._key = hashlib.sha256(key_file.read_bytes() + (token or "").encode()).digest()
        self._ended_file = key_file.with_name(".ended-sessions")
        lines = self._ended_file.read_text(encoding="ascii", errors="replace").splitlines() if self._ended_file.is_file() else []
        since = time.time() - SESSION_SECONDS
        stored = [line.partition(" ") for line in lines]
        self._ended = {name for name, _, when in stored if when.isdigit() and int(when) > since}
        if len(self._ended) < len(lines):  # the cookies of the others have expired
            with atomic_write(self._ended_file) as temporary:
                temporary.write_text("".join(f"{name} {when}\n" for name, _, when in stored if name in self._ended), encoding="ascii")

    def make(self) -> str:
        """The cookie value of a new session."""
        plain = f"{secrets.token_urlsafe(16)}.{int(time.time()) + SESSION_SECONDS}"
        return f"{plain}.{self._sign('session', plain)}"

    def check(self, cookie: str) -> str | None:
        """The session id of a cookie value; None if the signature is wrong, or the session has expired or was signed out."""
        plain, _, signature = cookie.rpartition(".")
        name, _, end = plain.partition(".")
        good = hmac.compare_digest(signature.encode(), self._sign("session", plain).encode())
        return name if good and end.isdigit() and int(end) > time.time() and name not in self._ended else None

    def end(self, session: str) -> None:
        """End a session: from now on its cookie is not accepted, also if somebody has copied it."""
        if session not in self._ended:
            self._ended.add(session)
            with self._ended_file.open("a", encoding="ascii") as file:
                file.write(f"{session} {int(time.time())}\n")

    def csrf(self, session: str) -> str:
        """The session's CSRF token, which requests that change something must send."""
        return self._sign("csrf", session)

    def _sign(self, use: str, text: str) -> str:
        return hmac.new(self._key, f"{use}:{text}".encode(), hashlib.sha256).hexdigest()


class Guesses:
    """Counts wrong tokens, or wrong passwords. After ``MAX_GUESSES`` of them from one address within
    ``GUESS_SECONDS``, none from it is looked at for a while."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def too_many(self, scope: Scope) -> bool:
        """Whether the sender has to wait."""
        times = self._wrong.get(_address(scope), deque())
        while times and times[0] < time.monotonic() - GUESS_SECONDS:
            times.popleft()
        return len(times) >= MAX_GUESSES

    def wrong(self, scope: Scope) -> None:
        """Record a wrong token."""
        address = _address(scope)
        self._wrong.setdefault(address, deque(maxlen=MAX_GUESSES)).append(time.monotonic())
        self._wrong.move_to_end(address)
        while len(self._wrong) > _ADDRESSES:
            self._wrong.popitem(last=False)


class Turns:
    """Counts the drawings of each address, over the last minute. Safe to use from several threads.

    Args:
        most: drawings a minute.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, scope: Scope) -> None:
        """Count a drawing.

        Raises:
            HTTPException: 429, as this address has had all of the minute.
        """
        now = time.monotonic()
        with self._lock:
            taken = self._taken.setdefault(_address(scope), deque())
            self._taken.move_to_end(_address(scope))
            while len(self._taken) > _ADDRESSES:
                self._taken.popitem(last=False)
            while taken and taken[0] < now - TURN_SECONDS:
                taken.popleft()
            if len(taken) >= self._most:
                wait = str(int(taken[0] + TURN_SECONDS - now) + 1)
                raise HTTPException(
                    429, gettext("many pictures were asked for from here. Go on in {wait} seconds.", wait=wait), {"Retry-After": wait}
                )
            taken.append(now)


@dataclass
class SecurityMiddleware:
    """ASGI middleware around the whole application.

    Args:
        gate: which role may do what.
        page: makes the answer to somebody whose role does not allow the request, from its status and message.
        open_paths: paths that need no authentication: the pages to sign in and to join, and what they need. A trailing slash stands for
            everything below.
        upload_suffixes: ends of the paths that receive files; these check the size of the body themselves.
    """

    app: ASGIApp
    config: StudioConfig
    sessions: Sessions
    accounts: Accounts
    guesses: Guesses
    gate: Gate
    page: Callable[[Request, int, str], Response]
    open_paths: Iterable[str] = ("/signin", "/join", "/static/", "/api/session", "/api/join", "/api/join/look")
    upload_suffixes: tuple[str, ...] = ("/files", "/identify")
    _hosts: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        own = {"localhost", "127.0.0.1", "::1"} if is_loopback(self.config.host) else set()
        self._hosts = frozenset(own | {self.config.host})
        if self.config.public:
            self.open_paths = (*self.open_paths, *VISITORS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, pass it on or refuse it, add headers to the response and log it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        with in_language(language_of(HTTPConnection(scope))):  # here, as refusals are worded too
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.monotonic(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            headers = Headers(scope=scope)
            visitor, refusal = await self._authenticate(HTTPConnection(scope))
            refusal = refusal or self._refusal(scope, headers, visitor)
            if refusal is not None:
                at_home = "/try" if self.config.public and scope["path"] == "/" else _sign_in(scope)
                await _refuse(headers, scope["method"], at_home, *refusal)(scope, receive, send_with_headers)
                return
            scope.setdefault("state", {}).update(visitor=visitor, gate=self.gate)
            if visitor is not None and not self._is_open(scope) and not self.gate.allows(visitor.role, scope):
                await self.page(Request(scope), 403, gettext(FORBIDDEN[visitor.role]))(scope, receive, send_with_headers)
                return
            timely = _timely(receive, self.config.limits)
            limited = timely if scope["path"].endswith(self.upload_suffixes) else _limited(timely, self.config.limits.json_bytes)
            await self.app(scope, limited, send_with_headers)
        finally:
            path = scope["path"].encode("unicode_escape").decode("ascii")[:300]  # never the query, headers or cookies: they may hold secrets
            _log.info("%s %s %s %.0f ms", scope["method"], path, status or "-", 1000 * (time.monotonic() - began))

    async def _authenticate(self, connection: HTTPConnection) -> tuple[Visitor | None, tuple[int, str] | None]:
        """Who sent the request, None where a token is needed and neither it nor a valid session cookie was sent; and a refusal after many guesses."""
        cookie = connection.cookies.get(COOKIE, "")
        if (session := self.sessions.check(cookie)) is not None:
            return Visitor(session, False, signed_in=self.config.token is not None), None
        used = not (connection.scope["method"] == "GET" and connection.scope["path"].startswith(_ASKED_BY_PAGES))
        static = connection.scope["path"].startswith("/static/")  # the same for everybody: the database need not say who asks
        if cookie and not static and (account := await asyncio.to_thread(self.accounts.who, cookie, used=used)) is not None:
            return Visitor(account.session, False, account, signed_in=True), None
        if self.config.token is None:
            return Visitor(None, False), None
        kind, _, shown = connection.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            if self.guesses.too_many(connection.scope):
                return None, (429, gettext(TOO_MANY_GUESSES))
            if hmac.compare_digest(shown.strip().encode(), self.config.token.encode()):
                return Visitor(None, True), None
            self.guesses.wrong(connection.scope)
        return None, None

    def _refusal(self, scope: Scope, headers: Headers, visitor: Visitor | None) -> tuple[int, str] | None:
        """Status and message, if the request must be refused."""
        path, method = scope["path"], scope["method"]
        host = _host(headers.get("host", ""))
        if is_loopback(self.config.host) and host not in self._hosts:
            return 421, "this server only answers on localhost. Open it as http://localhost, or start it with --host and a token."
        if path.count("\0") or len(path) > 2000:
            return 400, "the address is not valid. Check it."
        is_open = self._is_open(scope)
        if visitor is None and not is_open:
            return 401, "you are not signed in. Sign in at /signin, or send the header 'Authorization: Bearer TOKEN'."
        if method in _SAFE or (visitor is not None and visitor.by_header):
            return None
        origin = headers.get("origin")
        elsewhere = origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()
        if elsewhere or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, gettext("the request comes from another web page. Use the Studio's own pages.")
        if is_open:
            return None
        sent = headers.get(CSRF_HEADER, "")
        if visitor is None or visitor.session is None or not hmac.compare_digest(sent.encode(), self.sessions.csrf(visitor.session).encode()):
            return 403, gettext(
                "since this page was opened, somebody signed in or out in this browser. Reload the page, and try again. (Programs: GET /api/session "
                "gives the value of the header X-Syntype-Csrf, and sets the session's cookie.)"
            )
        return None

    def _is_open(self, scope: Scope) -> bool:
        """Whether a request needs no authentication."""
        path = scope["path"]
        return any(path == open_path or (open_path.endswith("/") and path.startswith(open_path)) for open_path in self.open_paths)


def _limited(receive: Receive, limit: int) -> Receive:
    """``receive`` that raises 413 once the body has more than ``limit`` bytes, whatever Content-Length says."""
    total = 0

    async def receive_limited() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > limit:
            raise HTTPException(413, gettext("the request has more than {limit} bytes. Send less at once.", limit=limit))
        return message

    return receive_limited


def _timely(receive: Receive, limits: Limits) -> Receive:
    """``receive`` that raises 408 if the body comes too slowly: no part for ``wait_seconds``, or fewer than ``body_rate`` bytes a second after these.

    Only the time that is spent waiting for the sender counts.
    """
    waited, total, complete = 0.0, 0, False

    async def receive_timely() -> Message:
        nonlocal waited, total, complete
        if complete:
            return await receive()  # waits until the browser has gone
        began = time.monotonic()
        try:
            message = await asyncio.wait_for(receive(), limits.wait_seconds)
        except TimeoutError:
            raise HTTPException(408, gettext("the request came too slowly. Send it again, over a faster connection or in smaller parts.")) from None
        waited += time.monotonic() - began
        total += len(message.get("body", b""))
        complete = message["type"] != "http.request" or not message.get("more_body", False)
        if not complete and total < limits.body_rate * (waited - limits.wait_seconds):
            raise HTTPException(408, gettext("the request came too slowly. Send it again, over a faster connection or in smaller parts."))
        return message

    return receive_timely


def _address(scope: Scope) -> str:
    """The sender's address; of IPv6 the first half, as one sender usually has all addresses of it."""
    host = (scope.get("client") or ("", 0))[0]
    return ":".join(host.split(":")[:4])


def _host(netloc: str) -> str:
    """The host of ``host:port``, without brackets, in lower case."""
    try:
        return (urlsplit(f"//{netloc}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _sign_in(scope: Scope) -> str:
    """The page to sign in, which leads on to the page that was asked for."""
    path = scope["path"]
    if path == "/" or path.startswith("/api/"):
        return "/signin"
    query = scope.get("query_string", b"").decode("latin-1")
    return f"/signin?{urlencode({'to': quote(path) + (f'?{query}' if query else '')})}"


def _refuse(headers: Headers, method: str, instead: str, status: int, message: str) -> Response:
    """The error as JSON; a browser that opens a page without being signed in is sent to another one."""
    if status == 401 and method == "GET" and "text/html" in headers.get("accept", ""):
        return RedirectResponse(instead, 303)
    return JSONResponse({"error": message}, status)

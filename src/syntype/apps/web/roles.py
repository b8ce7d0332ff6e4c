"""What each role may do, in one table: routes, and the least role that each needs.

A route that is not in the table is the owners', so that a new one is closed until somebody has thought of it. Nobody who has no account is in here:
the token, and a Studio without one on this machine, make an owner; visitors have the addresses of ``security.VISITORS``.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Literal
from urllib.parse import unquote, urlsplit

from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from syntype.apps.web.languages import N_

__all__ = ["FORBIDDEN", "LEAST", "ROLES", "Gate", "Role"]

Role = Literal["guest", "reviewer", "owner"]
ROLES: tuple[Role, ...] = ("guest", "reviewer", "owner")
"""From the least to the most: each may do what those before it may."""
FORBIDDEN: dict[Role, str] = {
    "guest": N_("your account is a guest's: it can look, draw hybrids and take the quiz. Ask an owner of this Studio to do this for you."),
    "reviewer": N_("your account is a reviewer's: it can look and judge images. Ask an owner of this Studio to do this for you."),
}
"""Why somebody of a role is refused, and what to do."""
_GUEST = (
    "GET /", "GET /photographs", "GET /generators", "GET /images", "GET /studies", "GET /glossary", "GET /account",
    "GET /collections/{name}", "GET /collections/{name}/images/{image_id:path}", "GET /collections/{name}/duplicates",
    "GET /collections/{name}/beside", "GET /collections/{name}/map", "GET /collections/{name}/outliers", "GET /collections/{name}/mislabelled",
    "GET /generators/{name}", "GET /studies/{name}", "GET /quiz", "GET /hybrids",
    "GET /api/collections", "GET /api/collections/{name}", "GET /api/collections/{name}/parents", "GET /api/collections/{name}/images",
    "GET /api/collections/{name}/images/{image_id:path}", "GET /api/collections/{name}/images/{image_id:path}/thumbnail",
    "GET /api/collections/{name}/images/{image_id:path}/file", "GET /api/collections/{name}/images/{image_id:path}/square",
    "GET /api/collections/{name}/long-tail", "GET /api/collections/{name}/duplicates", "GET /api/collections/{name}/species",
    "GET /api/collections/{name}/looks/{kind}", "GET /api/collections/{name}/map", "GET /api/collections/{name}/suspects",
    "GET /api/generators", "GET /api/generators/{name}", "GET /api/generators/{name}/preview", "GET /api/generators/{name}/species",
    "GET /api/studies", "GET /api/studies/{name}", "GET /api/studies/{name}/report",
    "GET /api/hybrids/{generator}/sheet", "GET /api/hybrids/{generator}/image", "GET /api/hybrids/{generator}/animation",
    "GET /api/hybrids/{generator}/code", "GET /api/hybrids/{generator}/favourites", "GET /api/hybrids/{generator}/favourites/{favourite}/picture",
    "POST /api/quizzes", "GET /api/quizzes/{quiz}", "GET /api/quizzes/{quiz}/items/{number}/image", "GET /api/quizzes/{quiz}/items/{number}",
    "POST /api/quizzes/{quiz}/items/{number}", "GET /api/quizzes/{quiz}/result",
)  # fmt: skip
_REVIEWER = (
    "GET /collections/{name}/curate", "GET /api/collections/{name}/to-judge", "GET /api/collections/{name}/next",
    "GET /api/collections/{name}/verdicts", "POST /api/collections/{name}/verdicts", "GET /api/collections/{name}/verdicts/own",
    "POST /api/collections/{name}/verdicts/together", "POST /api/collections/{name}/verdicts/undo", "POST /api/session/password",
)  # fmt: skip
LEAST: dict[str, Role] = {**dict.fromkeys(_GUEST, "guest"), **dict.fromkeys(_REVIEWER, "reviewer")}  # type: ignore[dict-item]
"""Routes, as ``METHOD PATH``, and the least role that each needs; all others need an owner."""
_LINK = re.compile(r'<a\b[^>]*?\shref="(/[^"]*)"[^>]*>.*?</a>', re.DOTALL)


class Gate:
    """Who may do what on the routes of an application.

    Args:
        routes: in the order in which the application asks them.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = routes

    def allows(self, role: Role, scope: Scope) -> bool:
        """Whether somebody of a role may send a request. What leads to no route is let through: the application itself says so."""
        return role == "owner" or ROLES.index(self._least(scope)) <= ROLES.index(role)

    def without_closed_links(self, role: Role, page: str) -> str:
        """A page without the links and buttons that lead to pages which a role may not open."""
        if role == "owner":
            return page
        return _LINK.sub(lambda link: link[0] if self._opens(role, html.unescape(link[1])) else "", page)

    def _opens(self, role: Role, address: str) -> bool:
        path = unquote(urlsplit(address).path)
        if path in ("/signin", "/try") or path.startswith("/try/"):
            return True  # for everybody
        return self.allows(role, {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []})

    def _least(self, scope: Scope) -> Role:
        for route in self._routes:
            match, _ = route.matches(scope)
            if match is Match.FULL:
                method = "GET" if scope["method"] == "HEAD" else scope["method"]
                return LEAST.get(f"{method} {getattr(route, 'path', '')}", "owner")
        return "guest"

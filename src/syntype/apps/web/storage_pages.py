"""The page of disk use and of the trash."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from syntype.apps.web.pages import render

__all__ = ["router"]

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/storage")
def storage(request: Request) -> Response:
    """What takes room, the largest first, and the trash; its script fetches them."""
    return render(request, "storage")

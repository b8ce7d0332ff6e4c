"""Links to this server that are given to others, and their QR codes."""

from __future__ import annotations

import io

import segno
from fastapi import Request

from syntype.apps.web.studio import Studio

__all__ = ["link_to", "qr_code"]


def link_to(request: Request, studio: Studio, page: str) -> str:
    """The whole address of a page, under the name by which the browser reaches this server."""
    scheme = "https" if studio.config.https else request.url.scheme
    return f"{scheme}://{request.headers['host']}{page}"


def qr_code(link: str) -> bytes:
    """The QR code of a link, as an SVG."""
    file = io.BytesIO()
    segno.make_qr(link).save(file, kind="svg", scale=6, border=4, light="white")
    return file.getvalue()

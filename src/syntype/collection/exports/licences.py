"""Licences as other programs name them: the address of a text, and the hub's names."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["hub_licence", "licence_url"]

_CREATIVE = re.compile(r"cc[ -]?(?P<kind>by(?:-nc)?(?:-sa|-nd)?)[ -](?P<version>[1-4]\.\d)(?: .*)?")
_ZERO = re.compile(r"cc[ -]?0(?:[ -]1\.0)?(?: .*)?")
_ADDRESS = re.compile(r"https?://creativecommons\.org/(?:licenses/(?P<kind>[a-z-]+)|publicdomain/(?P<zero>zero|mark))/(?P<version>\d\.\d)/?.*")


def _creative(licence: str) -> tuple[str, str] | None:
    """Kind and version of a licence of Creative Commons, as in its address: ``by-nc``, ``4.0``; None if it is another."""
    plain = " ".join(licence.strip().lower().replace("_", "-").split())
    if address := _ADDRESS.fullmatch(plain):
        return address["kind"] or str(address["zero"]), address["version"]
    if _ZERO.fullmatch(plain):
        return "zero", "1.0"
    if found := _CREATIVE.fullmatch(plain):
        return found["kind"], found["version"]
    return None


def licence_url(licence: str) -> str | None:
    """The address of a licence's text, if it is one of Creative Commons or an address itself.

    Example:
        >>> licence_url("CC-BY-4.0"), licence_url("CC0-1.0"), licence_url("ask the museum")
        ('https://creativecommons.org/licenses/by/4.0/', 'https://creativecommons.org/publicdomain/zero/1.0/', None)
    """
    if found := _creative(licence):
        kind, version = found
        return f"https://creativecommons.org/{'publicdomain' if kind in ('zero', 'mark') else 'licenses'}/{kind}/{version}/"
    return licence.strip() if re.fullmatch(r"https?://\S+", licence.strip()) else None


def hub_licence(licences: Iterable[str | None]) -> str:
    """The hub's name for the licence of a data set: ``cc-by-4.0`` if all images have this one; ``unknown`` if none has any; otherwise ``other``.

    Example:
        >>> hub_licence(["CC0-1.0"]), hub_licence(["CC-BY-4.0", None]), hub_licence([None])
        ('cc0-1.0', 'other', 'unknown')
    """
    found = set(licences)
    if found <= {None}:
        return "unknown"
    if len(found) == 1 and (creative := _creative(str(next(iter(found))))):
        kind, version = creative
        return {"zero": "cc0-1.0", "mark": "other"}.get(kind, f"cc-{kind}-{version}")
    return "other"

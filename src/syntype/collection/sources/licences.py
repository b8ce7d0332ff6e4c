"""Licences as sources write them, addresses or words, in one form: "CC BY-NC 4.0"."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["is_open_licence", "licence_name"]

_LICENCE = re.compile(r"creativecommons\.org/licen[cs]es/([a-z-]+)/(\d\.\d)(?:/([a-z]{2,5})(?=/|$))?", re.IGNORECASE)
_PUBLIC = re.compile(r"creativecommons\.org/(?:publicdomain/(zero|mark)/(\d\.\d)|licen[cs]es/(zero|publicdomain))", re.IGNORECASE)
_ADDRESS = re.compile(r"<?\s*https?://\S+\s*>?", re.IGNORECASE)
_ZERO = re.compile(r"cc[ _-]*(?:0|zero)(?:[ _-]*(?:v|version)?[ _.-]*(1)[._ -]?0)?(?:[ _-]*universal)?", re.IGNORECASE)
_WORDS = re.compile(
    r"cc[ _-]*((?:by|nc|sa|nd)(?:[ _-]*(?:by|nc|sa|nd))*)(?:[ _-]*(?:v|version)?[ _-]*(\d)[._ ](\d))?(?:[ _-]*(?:international|unported))?",
    re.IGNORECASE,
)
_ORDER = ("by", "nc", "nd", "sa")
_DEED_PARTS = ("deed", "legal", "legalcode", "rdf")


def licence_name(text: str | None) -> str | None:
    """A licence in its usual short form; other texts as they are, without spaces at the ends; None if there is none.

    Addresses of Creative Commons and the usual abbreviations are recognised if they are the whole text. A version that is not said is not added.

    Example:
        >>> licence_name("http://creativecommons.org/licenses/by-nc/4.0/legalcode"), licence_name("CC-BY-SA"), licence_name("see the label")
        ('CC BY-NC 4.0', 'CC BY-SA', 'see the label')
    """
    plain = (text or "").strip()
    if not plain:
        return None
    return _known(plain) or plain


def is_open_licence(text: str | None) -> bool:
    """Whether a text is a licence or a dedication of Creative Commons that ``licence_name`` recognises."""
    plain = (text or "").strip()
    return bool(plain) and _known(plain) is not None


@lru_cache(maxsize=1024)  # a table has few licences, each in thousands of rows
def _known(text: str) -> str | None:
    """The short form of a licence of Creative Commons; None for other texts."""
    return _by_address(text) or _by_words(text)


def _by_address(text: str) -> str | None:
    if _ADDRESS.fullmatch(text) is None and not re.match(r"(www\.)?creativecommons\.org/\S+$", text, re.IGNORECASE):
        return None
    if found := _PUBLIC.search(text):
        if found[2] is not None:
            return f"{'CC0' if found[1].lower() == 'zero' else 'Public Domain Mark'} {found[2]}"
        return "CC0" if found[3].lower() == "zero" else "Public domain"
    if found := _LICENCE.search(text):
        parts = _parts(found[1])
        place = found[3] if found[3] and found[3].lower() not in _DEED_PARTS else None
        return None if parts is None else f"CC {parts} {found[2]}{f' {place.upper()}' if place else ''}"
    return None


def _by_words(text: str) -> str | None:
    if found := _ZERO.fullmatch(text):
        return "CC0 1.0" if found[1] else "CC0"
    if found := _WORDS.fullmatch(text):
        parts = _parts(found[1])
        version = f" {found[2]}.{found[3]}" if found[2] else ""
        return None if parts is None else f"CC {parts}{version}"
    return None


def _parts(text: str) -> str | None:
    """The parts of a licence in their order, with hyphens; None if they are no licence."""
    parts = re.findall(r"by|nc|sa|nd", text.lower())
    if parts and "".join(parts) == re.sub(r"[^a-z]", "", text.lower()) and len(set(parts)) == len(parts):
        return "-".join(part.upper() for part in _ORDER if part in parts)
    return None

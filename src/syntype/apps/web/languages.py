"""The languages of the pages: which one a request gets, its texts, and how it writes numbers and days.

English texts stand in the sources, and are the keys of the catalogue in ``locale/``. A text is looked up when it is shown, in the language of the
request that is answered; outside a request it stays English, as in what a job writes down.
"""

from __future__ import annotations

import gettext as gnu
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date as Day
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.dates import format_date
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from markupsafe import Markup
from starlette.requests import HTTPConnection

__all__ = [
    "COOKIE", "ENGLISH", "FOLDER", "LANGUAGES", "N_", "catalogue", "day", "gettext", "in_language", "language", "language_of", "marked",
    "marked_plural", "ngettext", "number", "pgettext", "preferred", "script", "script_address",
]  # fmt: skip

FOLDER = Path(__file__).parent / "locale"
"""``texts.pot``, and one file LANGUAGE.po for each language but English."""
COOKIE = "language"
ENGLISH = "en"
LANGUAGES = {ENGLISH: "English", "de": "Deutsch", "fr": "Français", "es": "Español", "ja": "日本語"}
"""Codes of the languages, and what they call themselves."""
_current: ContextVar[str] = ContextVar("language", default=ENGLISH)


def N_(text: str) -> str:
    """Mark a text for the catalogue that is looked up later, with ``gettext``; the name is the one that translators' tools know."""
    return text


def language() -> str:
    """Code of the language of the request that is answered."""
    return _current.get()


@contextmanager
def in_language(code: str) -> Iterator[None]:
    """Answer in a language."""
    before = _current.set(code if code in LANGUAGES else ENGLISH)
    try:
        yield
    finally:
        _current.reset(before)


def gettext(message: str, /, **values: Any) -> str:
    """A text in the language of the request.

    Args:
        message: in English, with names in braces where values go.
        values: of these names. Whole numbers are written as the language does.

    Example:
        >>> gettext("{number} of {total}", number=3, total=1200)
        '3 of 1,200'
    """
    return _filled(_translations(language()).gettext(message), values)


def pgettext(context: str, message: str, /, **values: Any) -> str:
    """The same for a text that means different things: ``context`` says which."""
    return _filled(_translations(language()).pgettext(context, message), values)


def ngettext(one: str, many: str, count: int, /, **values: Any) -> str:
    """The same for a text with a number, which ``{n}`` stands for.

    Example:
        >>> ngettext("{n} image", "{n} images", 1200)
        '1,200 images'
    """
    return _filled(_translations(language()).ngettext(one, many, count), {"n": count, **values})


def marked(message: str, /, **values: Any) -> Markup:
    """``gettext`` for templates: the text may hold HTML, of the values that of ``Markup`` alone stays."""
    return _filled(Markup(_translations(language()).gettext(message)), values)


def marked_plural(one: str, many: str, count: int, /, **values: Any) -> Markup:
    """``ngettext`` for templates."""
    return _filled(Markup(_translations(language()).ngettext(one, many, count)), {"n": count, **values})


def _filled(text: Any, values: dict[str, Any]) -> Any:
    return text.format(**{name: number(value) if type(value) is int else value for name, value in values.items()}) if values else text


def number(value: float, form: str | None = None) -> str:
    """A number as the language writes it; ``form``: a pattern of Unicode such as ``0.000``."""
    return str(format_decimal(value, form, language()))


def day(seconds: float) -> str:
    """A time since 1970 as the day that it was here: ``3 Nov 2026``."""
    return format_date(Day(*time.localtime(seconds)[:3]), "d MMM y" if language() == ENGLISH else "medium", language())


@cache
def catalogue(code: str) -> Catalog:
    """The texts in a language; of English none."""
    if code == ENGLISH:
        return Catalog(ENGLISH)
    with (FOLDER / f"{code}.po").open("rb") as file:
        return read_po(file, code)


@cache
def _translations(code: str) -> gnu.NullTranslations:
    if code == ENGLISH:
        return gnu.NullTranslations()
    compiled = BytesIO()
    write_mo(compiled, catalogue(code))  # leaves out what is not translated, or not checked since the English text changed: it is shown in English
    compiled.seek(0)
    return gnu.GNUTranslations(compiled)


@cache
def script(code: str) -> str:
    """The texts of the scripts in ``static/``, as a script that runs before them. English needs none."""
    known = catalogue(code)
    texts = {}
    for message in known:
        if message.id and not message.fuzzy and any(path.endswith(".js") for path, _ in message.locations):
            one = message.id if isinstance(message.id, str) else message.id[0]
            texts[one] = message.string
    told = json.dumps(texts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return f"globalThis.texts = {{ form: (n) => Number({known.plural_expr}), of: {told} }};\n"


@cache
def script_address(code: str) -> str:
    """Its address, which names its content so that browsers may keep it."""
    return f"/static/texts/{code}-{hashlib.sha256(script(code).encode()).hexdigest()[:16]}.js"


def preferred(cookie: str | None, accepted: str) -> str:
    """The language for a request: the one that was chosen, otherwise the first of those that the browser asks for, otherwise English.

    Args:
        cookie: the code that was chosen.
        accepted: the header Accept-Language.

    Example:
        >>> preferred(None, "pt-BR, fr;q=0.5, de-CH;q=0.8"), preferred("ja", "de"), preferred(None, "tlh")
        ('de', 'ja', 'en')
    """
    if cookie in LANGUAGES:
        return str(cookie)
    asked = []
    for place, part in enumerate(accepted[:500].split(",")):
        tag, _, weight = part.partition(";")
        code = tag.strip().split("-")[0].lower()
        try:
            share = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            continue
        if code in LANGUAGES and share > 0:
            asked.append((-share, place, code))
    return min(asked)[2] if asked else ENGLISH


def language_of(connection: HTTPConnection) -> str:
    """The language for a request."""
    return preferred(connection.cookies.get(COOKIE), connection.headers.get("accept-language", ""))

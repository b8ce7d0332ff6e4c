"""Texts that the packages below the Studio made, in the language of the page.

Those packages say it in English, and much of it is kept in files: reasons in ``refused.csv``, the sentences of a study. So a text is recognised when
it is shown: the catalogue has it as it stands in the source, with names in braces for values (``below``), and the values are taken from it.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

from babel.numbers import get_decimal_symbol, get_group_symbol

from syntype.apps.web.below import BELOW
from syntype.apps.web.languages import ENGLISH, N_, catalogue, gettext, language
from syntype.apps.web.wording import sentences

__all__ = ["translated"]

_NUMBER = re.compile(r"[+−-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
_FINAL, _AFTER = N_("{reason}."), N_("{what}: {told}")
_NAMES = {"competitor", "file", "group", "name", "species", "species_2"}
"""Values that are names, and stay as they are."""
_TRY_AGAIN = N_("Change what you asked for, and try again.")


def translated(text: str) -> str:
    """A text in the language of the page; what is not known stays as it is.

    Args:
        text: one or several sentences, a label, or a number.

    Example:
        >>> from syntype.apps.web.languages import in_language
        >>> with in_language("de"):
        ...     translated("reef.jpg: is smaller than 16 pixels. It measures 8 x 1,200 pixels; use a larger one.")
        'reef.jpg: ist kleiner als 16 Pixel. Es misst 8 x 1.200 Pixel; nehmen Sie ein größeres.'
    """
    return text if language() == ENGLISH or not text else _told(text, language())


@lru_cache(10_000)
def _told(text: str, code: str) -> str:
    if _NUMBER.fullmatch(text):
        marks = {",": get_group_symbol(code), ".": get_decimal_symbol(code)}
        return "".join(marks.get(letter, letter) for letter in text)
    parts, found, first = sentences(text), list[str](), 0
    while first < len(parts):
        for end in range(first + 1, len(parts) + 1):  # a value may hold what looks like the end of a sentence
            if (sentence := _sentence(" ".join(parts[first:end]), code)) is not None:
                break
        else:
            end, sentence = first + 1, parts[first]
        found.append(sentence)
        first = end
    return "".join(part if number == 0 or found[number - 1].endswith("。") else f" {part}" for number, part in enumerate(found))


def _sentence(text: str, code: str) -> str | None:
    """One sentence, or None: as it is known, without its full stop, with a capital letter, after the name of a file, or as a list."""
    colons = [(text[: colon.start()], text[colon.end() :]) for colon in re.finditer(": ", text)]
    for before, rest in colons:  # first, as a value may be as long as a sentence
        if (begun := _texts(code).get(before)) is not None and (after := _known(rest, code)) is not None:
            return gettext(_AFTER, what=begun, told=after)
    if (whole := _known(text, code)) is not None:
        return whole
    if text.endswith(".") and (clause := _sentence(text[:-1], code)) is not None:
        return gettext(_FINAL, reason=clause)
    if text[:1].isupper() and (clause := _known(text[:1].lower() + text[1:], code)) is not None:
        return clause[:1].upper() + clause[1:]
    for before, rest in colons:
        if (after := _known(rest, code)) is not None:
            return gettext(_AFTER, what=before, told=after)
    for separator, of in (("; ", _sentence), (", ", _value)):
        listed = [of(part, code) for part in text.split(separator)] if separator in text else []
        if len(listed) > 1 and all(listed):
            return separator.join(part for part in listed if part is not None)
    return None


def _value(text: str, code: str) -> str | None:
    return _told(text, code) if _NUMBER.fullmatch(text) else _known(text, code)


def _known(text: str, code: str) -> str | None:
    """The translation of a text of the catalogue, its values filled in."""
    if (exact := _texts(code).get(text)) is not None:
        return exact
    for pattern, translated in _templates(code):
        if found := pattern.fullmatch(text):
            values = {
                name: value if name in _NAMES and not _NUMBER.fullmatch(value) else _told(value, code) for name, value in found.groupdict().items()
            }
            return translated.format(**values)
    return None


@cache
def _texts(code: str) -> dict[str, str]:
    """All texts without values."""
    plain = (message for message in catalogue(code) if isinstance(message.id, str) and "{" not in message.id and not message.context)
    return {str(message.id): str(message.string) for message in plain if message.id and message.string and not message.fuzzy}


@cache
def _templates(code: str) -> list[tuple[re.Pattern[str], str]]:
    """Texts of the packages below with values; those of which most is given come first."""
    found: list[tuple[int, re.Pattern[str], str]] = []
    for message in catalogue(code):
        if message.fuzzy or not any(place.startswith(BELOW) for place, _ in message.locations):
            continue
        forms: list[Any] = [message.id] if isinstance(message.id, str) else list(message.id)
        strings: list[Any] = [message.string] if isinstance(message.string, str) else list(message.string or ())
        for number, english in enumerate(forms):
            translated = strings[min(number, len(strings) - 1)]
            if "{" in english and translated:
                parts = re.split(r"\{(\w+)\}", english)
                if not re.search("[A-Za-z]{2}", "".join(parts[::2])):
                    continue
                several = not isinstance(message.id, str)
                pattern, short = re.escape(parts[0]), sum(map(len, parts[::2])) < 9
                for name, rest in zip(parts[1::2], parts[2::2], strict=True):
                    pattern += _kind(name, rest, short=short, only_one=several and number == 0) + re.escape(rest)
                found.append((-sum(map(len, parts[::2])), re.compile(pattern, re.DOTALL), translated))
    return [(pattern, translated) for _, pattern, translated in sorted(found, key=lambda one: one[0])]


def _kind(name: str, rest: str, *, short: bool, only_one: bool) -> str:
    """What a value may look like: of a text with two forms, ``{n}`` is a number; what stands before another value may have several words; of a short
    text, which many longer ones hold, no list."""
    value = ("(?:[^ ;:,“]+ ){0,2}[^ ;:,“]+" if short else ".+" if rest == " " else ".+?") if name != "n" else "1" if only_one else "[0-9,]+"
    return f"(?P<{name}>{value})"

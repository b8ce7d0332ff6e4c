"""How pages write names of species and the glossary: filters and functions of the templates."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

from syntype.apps.web.languages import gettext
from syntype.collection.scientific_names import parse_name

__all__ = ["GLOSSARY", "Term", "entries", "glossary", "is_scientific", "species_name", "term"]

GLOSSARY = Path(__file__).parent / "glossary.md"
"""The one list of terms: the page Glossary shows it, and the documentation includes it."""
_BINOMIAL = re.compile(r"(?:× )?(?P<genus>[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ-]{2,}) (?:\([A-Z][a-z-]+\) )?(?:× )?(?P<epithet>[a-zß-öø-ÿ][a-zß-öø-ÿ-]+)(?: .*)?")
_OPEN = re.compile(r"[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ-]{2,} (?:cf|aff|nr|gr|spp?|indet)\.")
_LATIN = re.compile(r"(?:us|um|is|i|ae|a|ens|ans|ops|or|ix|ax|ex|os|on|es|ys|as)$")
_RARER = re.compile(r"(?:e|er|en|x|ps|o)$")
"""Endings of epithets that English nouns have too: they count behind a genus with a Latin ending only."""
_MARKS = re.compile(r"(?<!\S)(?:cf|aff|nr|gr|spp?|subsp|ssp|var|f|agg|cv|indet)\.(?!\S)|(?<!\S)×(?!\S)")
Term = tuple[str, str, str]
"""A term, the last part of its address, and what it means, as HTML."""


def is_scientific(name: str) -> bool:
    """Whether a species' name is a scientific one, by its form and endings; English names such as "Blue tang" have the same form.

    Example:
        >>> [is_scientific(name) for name in ("Amphiprion ocellaris", "Fictibranchus alter", "Aus sp.", "Blue tang", "Zebra finch", "wels")]
        [True, True, True, False, False, False]
    """
    if _OPEN.match(name):
        return True
    found = _BINOMIAL.fullmatch(name)
    if found is None:
        return False
    genus, epithet = found["genus"], found["epithet"]
    return bool(_LATIN.search(epithet) or (_LATIN.search(genus) and _RARER.search(epithet)))


def species_name(name: str | None) -> Markup:
    """A species' name for a page: scientific names in italics without their author, abbreviations and common names upright.

    Example:
        >>> str(species_name("Naso cf. unicornis (Forsskål, 1775)")), str(species_name("Blue tang")), str(species_name(None))
        ('<i>Naso</i> cf. <i>unicornis</i> (Forsskål, 1775)', 'Blue tang', 'no species')
    """
    if not name:
        return escape(gettext("no species"))
    if not is_scientific(name):
        return escape(name)
    bare = parse_name(name).bare
    italic, rest = (bare, name[len(bare) :]) if name.startswith(bare) else (name, "")
    parts, begin = Markup(), 0
    for mark in _MARKS.finditer(italic):
        parts += _slanted(italic[begin : mark.start()]) + mark[0]
        begin = mark.end()
    return parts + _slanted(italic[begin:]) + rest


def _slanted(text: str) -> Markup:
    words = text.strip()
    if not words:
        return escape(text)
    before, after = text[: text.index(words)], text[text.index(words) + len(words) :]
    return Markup("{}<i>{}</i>{}").format(before, words, after)


@cache
def entries() -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """The sections of the file, each with its terms and what they mean, in English."""
    sections = []
    for part in re.split(r"^## ", GLOSSARY.read_text(encoding="utf-8"), flags=re.M)[1:]:
        title, _, rest = part.partition("\n")
        found = (entry.partition("\n") for entry in re.split(r"^### ", rest, flags=re.M)[1:])
        sections.append((title.strip(), tuple((words.strip(), " ".join(text.split())) for words, _, text in found)))
    return tuple(sections)


def glossary() -> tuple[tuple[str, tuple[Term, ...]], ...]:
    """The sections of the glossary, each with its terms, in the order of the file."""
    return tuple(
        (gettext(title), tuple((gettext(words), _anchor(words), _inline(gettext(text))) for words, text in terms)) for title, terms in entries()
    )


def term(name: str) -> str:
    """What a term of the glossary means, as HTML.

    Raises:
        KeyError: the glossary has no such term.
    """
    return {anchor: text for _, terms in glossary() for _, anchor, text in terms}[_anchor(name)]


def _anchor(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", words.casefold()).strip("-")


def _inline(text: str) -> str:
    """Text of the glossary as HTML: code between backticks; of links, which lead to the documentation, the words alone."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if odd % 2 else escape(part) for odd, part in enumerate(plain.split("`")))

"""Collects the texts of the interface: run it after texts were changed, as ``make texts`` does.

It writes ``locale/texts.pot``, and brings each language's file up to date: new texts are added without a translation, those that are gone are
taken out. It says what each language lacks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from syntype.apps.web.below import BELOW, texts_below
from syntype.apps.web.languages import ENGLISH, FOLDER, LANGUAGES
from syntype.apps.web.shown import GLOSSARY, entries

__all__ = ["TEMPLATE", "as_bytes", "extract", "main", "updated", "without_translation"]

TEMPLATE = FOLDER / "texts.pot"
_SOURCES = Path(__file__).parent
_STUDY = _SOURCES.parents[1] / "study"
"""The report of a study is shown in the Studio too."""
_METHODS = [("**.py", "python"), ("templates/**.j2", "jinja2.ext:babel_extract"), ("static/**.js", "javascript")]
_OPTIONS: dict[str, dict[str, Any]] = {"static/**.js": {"parse_template_string": "true"}}
_KEYWORDS: dict[str, Any] = {
    "_": None, "gettext": None, "N_": None, "t": None, "tparts": None, "ngettext": (1, 2), "tn": (1, 2), "pgettext": ((1, "c"), 2),
}  # fmt: skip
"""Functions whose arguments are texts: ``_`` in templates, ``t``, ``tparts`` and ``tn`` in scripts."""

_NOT_KEPT = tuple(f'"{name}:'.encode() for name in (
    "Project-Id-Version", "Report-Msgid-Bugs-To", "POT-Creation-Date", "PO-Revision-Date", "Last-Translator", "Language-Team", "Generated-By",
))  # fmt: skip
"""Headers that would change with every run, or say nothing."""


def extract() -> Catalog:
    """All texts in the sources, each with the files in which it stands."""
    found = Catalog(project="Syntype Studio", charset="utf-8", fuzzy=False, header_comment="# Texts of Syntype Studio. Written by: make texts")
    for path, _, message, comments, context in extract_from_dir(_SOURCES, _METHODS, _OPTIONS, _KEYWORDS, ("Translators:",)):
        found.add(message, None, [(path, 0)], auto_comments=comments, context=context)
    for path, _, message, comments, context in extract_from_dir(_STUDY, [("**.j2", "jinja2.ext:babel_extract")], None, _KEYWORDS):
        found.add(message, None, [(f"{BELOW}study/{path}", 0)], auto_comments=comments, context=context)
    for place, text in texts_below():
        found.add(text, None, [(place, 0)])
    for section, terms in entries():
        for text in (section, *(text for term in terms for text in term)):
            found.add(text, None, [(GLOSSARY.name, 0)])
    return found


def updated(code: str, template: Catalog) -> Catalog:
    """The file of a language with the texts of the template, in their order."""
    path = FOLDER / f"{code}.po"
    known = read_po(BytesIO(path.read_bytes()), code) if path.exists() else Catalog(code, fuzzy=False)
    known.update(template, no_fuzzy_matching=True)
    known.obsolete.clear()
    return known


def as_bytes(catalogue: Catalog) -> bytes:
    """What is written: without dates and line numbers, so that a file changes only when texts do."""
    written = BytesIO()
    write_po(written, catalogue, width=0, include_lineno=False, sort_by_file=True)
    return b"".join(line for line in written.getvalue().splitlines(keepends=True) if not line.startswith(_NOT_KEPT))


def without_translation(catalogue: Catalog) -> Iterator[Message]:
    """Texts that a language lacks."""
    for message in catalogue:
        strings = message.string if isinstance(message.string, tuple | list) else [message.string]
        if message.id and (message.fuzzy or not all(strings)):
            yield message


def main() -> None:
    """Write all files."""
    template = extract()
    TEMPLATE.write_bytes(as_bytes(template))
    for code in LANGUAGES:
        if code == ENGLISH:
            continue
        catalogue = updated(code, template)
        (FOLDER / f"{code}.po").write_bytes(as_bytes(catalogue))
        lacking = sum(1 for _ in without_translation(catalogue))
        print(f"{code}: {len(catalogue) - lacking} of {len(catalogue)} texts translated", file=sys.stderr)


if __name__ == "__main__":
    main()

"""Species names: how they are drawn in pictures, and what is said of names that a collection does not know."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from itertools import accumulate
from typing import Any

__all__ = ["count_unknown", "drawn_name", "nearest_name", "plot_label"]

_LONGEST = 40
_NOT_DRAWN = ("Cc", "Cf", "Cs", "Cn", "Co")  # control, zero-width and direction characters, and those without a meaning


def drawn_name(name: str, *, any_font: bool = False) -> str:
    """A name as it is drawn in a picture: on one line, at most 40 characters wide; characters that the font lacks become □.

    Args:
        any_font: keep characters that the font of pictures lacks, for text that a browser draws.

    Example:
        >>> drawn_name("Aus\\nprimus"), drawn_name("a name that is very long " * 3)
        ('Aus primus', 'a name that is very long a name that is…')
    """
    plain = " ".join(unicodedata.normalize("NFC", name).split())
    known = None if any_font else _glyphs()
    kept = "".join(
        character if known is None or ord(character) in known else "□" for character in plain if unicodedata.category(character) not in _NOT_DRAWN
    )
    widths = [2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in kept]
    if sum(widths) > _LONGEST:
        kept = kept[: sum(1 for end in accumulate(widths) if end < _LONGEST)].rstrip() + "…"
    return kept or "?"


def plot_label(name: str, *, any_font: bool = False) -> str:
    """A name as a text of matplotlib, which would read what stands between two dollar signs as a formula. Arguments as for ``drawn_name``."""
    return drawn_name(name, any_font=any_font).replace("$", r"\$")


@cache
def _glyphs() -> frozenset[int]:
    """Characters that the font of pictures has, upright and italic."""
    from matplotlib.font_manager import FontProperties, findfont  # slow to import
    from matplotlib.ft2font import FT2Font

    faces = [FT2Font(findfont(FontProperties(family="DejaVu Sans", style=style))).get_charmap() for style in ("normal", "italic")]
    return frozenset(faces[0]) & frozenset(faces[1])


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like ``name``; case, underscores, spaces and the form of accents do not count. None if none is like it.

    Example:
        >>> nearest_name("aus_primus", ["Bus secundus", "Aus primus"])
        'Aus primus'
    """
    by_form = {_form(other): other for other in known}
    close = get_close_matches(_form(name), by_form, n=1)
    return by_form[close[0]] if close else None


def _form(name: str) -> str:
    visible = "".join(character for character in unicodedata.normalize("NFKC", name) if unicodedata.category(character) != "Cf")
    return " ".join(visible.casefold().replace("_", " ").split())


def count_unknown(counts: Mapping[Any, int], known: Iterable[str], most: int = 10) -> str:
    """How many images have names that are not known, with the nearest known name of each; empty if all are known.

    Args:
        counts: number of images of each name (text).
        most: number of names that are listed, those of most images first.

    Example:
        >>> count_unknown({"Aus primus": 4, "aus_primus": 3, "xyz": 1}, ["Aus primus"])
        "3 images of 'aus_primus' (nearest known name: 'Aus primus'), 1 image of 'xyz' (no known name is like it)"
    """
    known = tuple(known)
    there = set(known)
    unknown = sorted(((count, name) for name, count in counts.items() if count and name not in there), key=lambda item: (-item[0], item[1]))
    parts = []
    for count, name in unknown[:most]:
        near = nearest_name(name, known)
        hint = "no known name is like it" if near is None else f"nearest known name: {near!r}"
        parts.append(f"{count:,} {'image' if count == 1 else 'images'} of {name!r} ({hint})")
    if len(unknown) > most:
        parts.append(f"{sum(count for count, _ in unknown[most:]):,} images of {len(unknown) - most:,} other names")
    return ", ".join(parts)

"""The species of a record in Darwin Core: the accepted one where the source has it, without author and year."""

from __future__ import annotations

import re
from collections.abc import Mapping

from syntype.collection.sources.base import species_name

__all__ = ["is_above_species", "record_name", "without_author"]

_ABOVE = frozenset(
    {
        "domain", "superkingdom", "kingdom", "subkingdom", "infrakingdom", "superphylum", "phylum", "subphylum", "infraphylum", "superclass", "class",
        "subclass", "infraclass", "parvclass", "superorder", "order", "suborder", "infraorder", "parvorder", "superfamily", "family", "subfamily",
        "infrafamily", "tribe", "subtribe", "supertribe", "genus", "subgenus", "section", "subsection", "series", "supragenericname",
        "suprageneric_name", "epifamily", "zoosection", "zoosubsection", "cohort", "subterclass", "genushybrid",
    }
)  # fmt: skip
"""Ranks above the species, of GBIF and iNaturalist."""
_GENUS = re.compile(r"[A-ZÀ-ÖØ-Þ][^\W\d_]+(-[^\W\d_]+)*")
_EPITHET = re.compile(r"(×|[xX]|×?[a-zß-öø-ÿ][a-zß-öø-ÿ-]*\.?)")
_PARTICLES = frozenset(
    {"de", "da", "do", "dos", "del", "della", "di", "van", "von", "vom", "der", "den", "zu", "zur", "la", "le", "du", "et", "ex", "in", "non", "nec",
     "sensu", "auct.", "auctt.", "emend.", "fil.", "apud", "ter", "ten", "af", "and", "y"}
)  # fmt: skip
"""Small words with which the name of an author may begin, or that stand before one."""


def record_name(record: Mapping[str, str]) -> str | None:
    """The name of the species of a record, or of the higher taxon to which it was identified; None if it has none.

    In this order: ``species``, which GBIF fills with the accepted species; ``canonicalName``; genus and epithet of the scientific name; the
    scientific name without author.

    Args:
        record: values by term in small letters.
    """
    if name := record.get("species") or record.get("canonicalname"):
        return species_name(name)
    scientific = record.get("scientificname") or record.get("acceptedscientificname") or ""
    genus, epithet = record.get("genericname") or record.get("genus") or "", record.get("specificepithet") or ""
    # A genus that is not that of the scientific name is the accepted one, and would give a name that nobody published.
    if genus and epithet and not is_above_species(record.get("taxonrank"), "") and (not scientific or scientific.startswith(f"{genus} ")):
        return species_name(f"{genus} {epithet}")
    if not scientific:
        return species_name(record.get("genus") or "") or None
    author = record.get("scientificnameauthorship") or ""
    return without_author(scientific.removesuffix(author) if author else scientific) or None


def without_author(name: str) -> str:
    """A scientific name without author and year.

    Example:
        >>> without_author("Parus major Linnaeus, 1758"), without_author("Quercus × hispanica Lam."), without_author("Aves")
        ('Parus major', 'Quercus × hispanica', 'Aves')
    """
    words = species_name(name).split()
    start = 1 if words and words[0] in ("×", "x") else 0
    if len(words) <= start or not _GENUS.fullmatch(words[start]) or name.isupper():
        return " ".join(words)
    kept = words[: start + 1]
    rest = words[start + 1 :]
    if len(rest) > 1 and re.fullmatch(r"\([A-ZÀ-Þ][a-zß-ÿ-]+\)", rest[0]) and _EPITHET.fullmatch(rest[1]):
        rest = rest[1:]  # the subgenus
    for word in rest:
        if not _EPITHET.fullmatch(word) or word in _PARTICLES:
            break
        kept.append(word)
    return " ".join(kept)


def is_above_species(rank: str | None, name: str) -> bool:
    """Whether a rank is above the species; without a rank, whether a name is a single word."""
    if rank:
        return rank.strip().lower() in _ABOVE
    return bool(name) and " " not in name.strip()

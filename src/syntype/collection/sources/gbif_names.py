"""Accepted names and ranks from GBIF's name matching, one request a name (pygbif 0.7, https://techdocs.gbif.org/en/openapi/v1/species).

GBIF matches against the Catalogue of Life's extended release. Only exact matches are used: what GBIF finds by likeness is a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syntype.collection.scientific_names import ScientificName, parse_name
from syntype.collection.sources.checklists import HIGHER_RANKS, Found, Taxon
from syntype.errors import UnsupportedError, shortened

__all__ = ["GbifNames"]

_TIMEOUT = 30.0
"""Seconds to wait for an answer."""


class GbifNames:
    """GBIF as a list of names; see ``NameList``.

    Raises:
        UnsupportedError: pygbif is not installed.
    """

    def __init__(self) -> None:
        try:
            from pygbif import species
        except ImportError:
            raise UnsupportedError(
                "--names gbif needs the package pygbif. Install it with: pip install 'syntype[names]', or give --names a checklist."
            ) from None
        self._service = species

    def find(self, name: ScientificName, known: Mapping[str, str]) -> Found:
        """Ask GBIF for a name.

        Raises:
            UnsupportedError: GBIF cannot be reached.
        """
        asked = name.bare.split()[0] if name.is_open else name.text
        more = {"class_" if rank == "class" else rank: value for rank, value in known.items() if rank != "genus"}
        try:
            answer = self._service.name_backbone(scientificName=asked, verbose=True, timeout=_TIMEOUT, **more)
        except (OSError, ValueError) as error:  # what requests raises is an OSError
            reason = f"GBIF cannot be reached ({type(error).__name__}: {shortened(error, 80)})"
            raise UnsupportedError(f"{reason}. Look after the connection, or give --names a checklist.") from None
        return _found(answer, name)


def _found(answer: Mapping[str, Any], name: ScientificName) -> Found:
    diagnostics = answer.get("diagnostics") or {}
    if "multiple equal matches" in str(diagnostics.get("note", "")).lower():
        taxa = [_taxon(one) for one in diagnostics.get("alternatives") or [] if _is_of(one.get("usage") or {}, name)]
        if len(taxa) > 1:
            return Found("homonym", taxa=tuple(taxa))
    usage = answer.get("usage") or {}
    ranks = _ranks(answer)
    if diagnostics.get("matchType") == "EXACT" and not name.is_open and _is_of(usage, name):
        taxon = _taxon(answer)
        return Found("synonym" if answer.get("acceptedUsage") else "accepted", taxon)
    words = [word for word in name.bare.split() if word != "×"]
    if len(name.words) > 1 and words and ranks.get("genus") == words[0] and diagnostics.get("matchType") in ("EXACT", "HIGHERRANK"):
        return Found("genus", Taxon("", ranks=ranks))
    return Found("unknown")


def _is_of(usage: Mapping[str, Any], name: ScientificName) -> bool:
    """Whether GBIF's name is the one that was asked for, letter by letter."""
    return parse_name(str(usage.get("canonicalName") or usage.get("name") or "")).words == tuple(word for word in name.words if word != "subsp.")


def _taxon(answer: Mapping[str, Any]) -> Taxon:
    usage = answer.get("acceptedUsage") or answer.get("usage") or {}
    text, author = str(usage.get("canonicalName") or usage.get("name") or ""), str(usage.get("authorship") or "")
    rank, key = usage.get("rank"), usage.get("key")
    return Taxon(parse_name(text, author).bare, author, str(rank).lower() if rank else None, str(key) if key else None, _ranks(answer))


def _ranks(answer: Mapping[str, Any]) -> dict[str, str]:
    found = {str(one.get("rank", "")).lower(): str(one["name"]) for one in answer.get("classification") or [] if one.get("name")}
    return {rank: found[rank] for rank in HIGHER_RANKS if rank in found}

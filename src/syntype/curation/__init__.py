"""Curation: which synthetic images may be used, and why the others may not."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syntype.curation.copies import CopyDetector, NearestReal
    from syntype.curation.curate import CurateConfig, CurateResult, curate
    from syntype.curation.filters import SpeciesMargin, Typicality

__all__ = ["CopyDetector", "CurateConfig", "CurateResult", "NearestReal", "SpeciesMargin", "Typicality", "curate"]

_HOMES = {"CopyDetector": "copies", "NearestReal": "copies", "SpeciesMargin": "filters", "Typicality": "filters"}


def __getattr__(name: str) -> Any:
    """The filters need torch, experts' decisions do not: names are imported when they are first used."""
    if name in __all__:
        return getattr(import_module(f"syntype.curation.{_HOMES.get(name, 'curate')}"), name)
    raise AttributeError(f"module 'syntype.curation' has no attribute {name!r}")

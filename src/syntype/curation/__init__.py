"""Curation: detection of copies and filters for synthetic images; the search for photographs with a wrong name."""

from syntype.curation.copies import CopyDetector, NearestReal
from syntype.curation.curate import CurateConfig, CurateResult, curate
from syntype.curation.filters import SpeciesMargin, Typicality
from syntype.curation.suspects import SuspectsConfig, SuspectsResult, find_suspects

__all__ = [
    "CopyDetector",
    "CurateConfig",
    "CurateResult",
    "NearestReal",
    "SpeciesMargin",
    "SuspectsConfig",
    "SuspectsResult",
    "Typicality",
    "curate",
    "find_suspects",
]

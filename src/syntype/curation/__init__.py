"""Curation: which synthetic images may be used, and why the others may not."""

from syntype.curation.copies import CopyDetector, NearestReal
from syntype.curation.curate import CurateConfig, CurateResult, curate
from syntype.curation.filters import SpeciesMargin, Typicality

__all__ = ["CopyDetector", "CurateConfig", "CurateResult", "NearestReal", "SpeciesMargin", "Typicality", "curate"]

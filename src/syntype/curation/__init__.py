"""Curation of synthetic images: detection of copies, and filters on encoder features."""

from syntype.curation.copies import CopyDetector, NearestReal
from syntype.curation.curate import CurateConfig, CurateResult, curate
from syntype.curation.filters import SpeciesMargin, Typicality

__all__ = ["CopyDetector", "CurateConfig", "CurateResult", "NearestReal", "SpeciesMargin", "Typicality", "curate"]

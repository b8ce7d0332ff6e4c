"""Curation: detection of copies and filters for synthetic images; the search for photographs with a wrong name; maps of images."""

from syntype.curation.copies import CopyDetector, NearestReal
from syntype.curation.curate import CurateConfig, CurateResult, curate
from syntype.curation.filters import SpeciesMargin, Typicality
from syntype.curation.image_map import MapConfig, MapResult, map_images
from syntype.curation.suspects import SuspectsConfig, SuspectsResult, find_suspects

__all__ = [
    "CopyDetector",
    "CurateConfig",
    "CurateResult",
    "MapConfig",
    "MapResult",
    "NearestReal",
    "SpeciesMargin",
    "SuspectsConfig",
    "SuspectsResult",
    "Typicality",
    "curate",
    "find_suspects",
    "map_images",
]

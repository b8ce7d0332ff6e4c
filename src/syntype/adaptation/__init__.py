"""Few-shot adaptation: a trained generator learns a new species from a few photographs, or many species, each from its own."""

from syntype.adaptation.adapt import AdaptResult, adapt
from syntype.adaptation.many import AdaptManyResult, adapt_many, read_species_list, species_to_learn
from syntype.adaptation.methods import METHODS
from syntype.adaptation.relatives import nearest_relative
from syntype.adaptation.settings import AdaptConfig, AdaptManyConfig

__all__ = [
    "METHODS",
    "AdaptConfig",
    "AdaptManyConfig",
    "AdaptManyResult",
    "AdaptResult",
    "adapt",
    "adapt_many",
    "nearest_relative",
    "read_species_list",
    "species_to_learn",
]

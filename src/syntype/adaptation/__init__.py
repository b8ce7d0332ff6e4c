"""Few-shot adaptation: a trained generator learns a new species from a few photographs, or many species, each from its own."""

from syntype.adaptation.adapt import AdaptResult, adapt
from syntype.adaptation.methods import METHODS
from syntype.adaptation.relatives import nearest_relative
from syntype.adaptation.settings import AdaptConfig

__all__ = ["METHODS", "AdaptConfig", "AdaptResult", "adapt", "nearest_relative"]

"""Few-shot adaptation: a trained generator learns a new species from a few photographs."""

from syntype.adaptation.adapt import METHODS, AdaptConfig, AdaptResult, adapt, nearest_relative

__all__ = ["METHODS", "AdaptConfig", "AdaptResult", "adapt", "nearest_relative"]

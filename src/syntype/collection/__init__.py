"""Photographs in, one table out."""

from syntype.collection.table import COLUMNS, SPLITS, Collection

__all__ = ["COLUMNS", "SPLITS", "Collection"]

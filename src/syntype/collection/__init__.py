"""Collections: folders of images, each with one table that describes them."""

from syntype.collection.table import COLUMNS, SPLITS, Collection

__all__ = ["COLUMNS", "SPLITS", "Collection"]

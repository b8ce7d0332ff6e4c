"""Collections: folders of images, each with one table that describes them."""

from syntype.collection.columns import COLUMNS, SPLITS
from syntype.collection.table import Collection

__all__ = ["COLUMNS", "SPLITS", "Collection"]

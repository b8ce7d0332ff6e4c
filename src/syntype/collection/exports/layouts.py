"""The table of layouts: a new one is a module with a ``LAYOUT``, a line here, and its name in ``stage.LayoutName``."""

from __future__ import annotations

from syntype.collection.exports.base import Layout
from syntype.collection.exports.captions import LAYOUT as CAPTIONS
from syntype.collection.exports.coco import LAYOUT as COCO
from syntype.collection.exports.hugging_face import LAYOUT as HUGGING_FACE
from syntype.collection.exports.label_studio import LAYOUT as LABEL_STUDIO
from syntype.collection.exports.species_folders import LAYOUT as SPECIES
from syntype.collection.exports.table_only import LAYOUT as TABLE_ONLY
from syntype.collection.exports.whole import LAYOUT as COLLECTION

__all__ = ["LAYOUTS"]

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (SPECIES, COLLECTION, HUGGING_FACE, COCO, LABEL_STUDIO, CAPTIONS, TABLE_ONLY)}
"""Every layout by its name."""

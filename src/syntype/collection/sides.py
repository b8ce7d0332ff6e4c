"""How large the photographs of a collection are, as far as its table says."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from syntype.collection.table import Collection

__all__ = ["usual_side"]


def usual_side(collection: Collection, least: int = 64, most: int = 224) -> int:
    """Side of squares that suit the training photographs: median of their longer side (of their boxes, if they have any), in pixels.

    Args:
        least, most: bounds of the result; between them it is a multiple of 32, rounded down.
    """
    table = collection.training().table
    longer = table[["width", "height"]].max(axis=1).to_numpy(np.float64, na_value=np.nan)
    for row, box in enumerate(table["box"]):
        if not pd.isna(box):
            left, top, right, bottom = json.loads(box)
            longer[row] = max(right - left, bottom - top)
    known = longer[np.isfinite(longer)]
    return int(np.clip(np.median(known) // 32 * 32, least, most)) if len(known) else least

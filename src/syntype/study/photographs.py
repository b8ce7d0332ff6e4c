"""The photographs of one split that a study uses, with their labels and groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from syntype.collection import Collection
from syntype.identification import LabelledImages

__all__ = ["Split", "load_images", "select_split"]


@dataclass(frozen=True)
class Split:
    """Labels and groups of the photographs of one split.

    Attributes:
        labels: int64, shape (N,), position of the species in the collection's list of species.
        groups: int64, shape (N,); photographs with the same number are not independent.
        names: name of the group of each photograph, or of the photograph itself if it has none; empty if they are not known.
    """

    labels: np.ndarray
    groups: np.ndarray
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, collection: Collection, split: str) -> Self:
        """Labels and groups of the photographs that ``select_split`` returns, in the same order."""
        chosen = select_split(collection, split)
        return cls(chosen.labels(), chosen.groups(), tuple(chosen.table["group"].fillna(chosen.table["image_id"]).astype(str)))

    def name_of(self, group: int) -> str:
        """Name of the group with this number; the number if names are not known."""
        return self.names[int(np.flatnonzero(self.groups == group)[0])] if self.names else str(group)


def select_split(collection: Collection, split: str) -> Collection:
    """The photographs of a split that have a species and were not refused.

    Args:
        split: ``train``, ``val`` or ``test``.
    """
    chosen = collection.training() if split == "train" else collection.select(split=split, usable=True)
    return chosen.where(chosen.table["species"].notna())


def load_images(collection: Collection, split: str, size: int) -> LabelledImages:
    """The photographs that ``select_split`` returns, decoded to squares with a side of ``size`` pixels, with their labels."""
    chosen = select_split(collection, split)
    return LabelledImages(chosen.pixels(size), chosen.labels())

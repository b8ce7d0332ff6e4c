"""The labels of images between two species: column ``label_weights``, which ``syntype blend`` writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from syntype.collection.table import Collection
from syntype.errors import shown_list

__all__ = ["SoftLabels", "blends_left_out", "label_counts", "soft_labels", "with_main_species"]


@dataclass(frozen=True)
class SoftLabels:
    """Labels of N images: positions in a vocabulary.

    Attributes:
        main: Position of the image's species; between two species, of the one with the larger weight (the first, if they are equal). -1 if the image
            has no species, or one that is not in the vocabulary (of a blend: either one). int64, shape (N,).
        second: Position of the other species of a blend, -1 for all other images: int64, shape (N,).
        second_share: Weight of the other species, at most 0.5; 0 for all other images. float32, shape (N,).
    """

    main: np.ndarray
    second: np.ndarray
    second_share: np.ndarray


def soft_labels(table: pd.DataFrame, species: Sequence[str]) -> SoftLabels:
    """The labels of the images of a collection's table.

    Args:
        table: Table of a ``Collection``.
        species: Vocabulary.
    """
    position = {name: number for number, name in enumerate(species)}
    main = np.array([position.get(name, -1) for name in table["species"].fillna("")], np.int64)
    second, share = np.full(len(table), -1, np.int64), np.zeros(len(table), np.float32)
    for row, weights in _blends(table):
        (first, most), (other, least) = sorted(weights.items(), key=lambda item: -item[1])  # of equal ones the first stays first
        known = first in position and other in position
        main[row] = position[first] if known else -1
        if known:
            second[row], share[row] = position[other], least / (most + least)
    return SoftLabels(main, second, share)


def label_counts(table: pd.DataFrame, species: Sequence[str]) -> np.ndarray:
    """Number of images of each species, where an image between two species counts for each by its weight: float64, shape (len(species),).

    Images of other species are not counted.
    """
    found = soft_labels(table, species)
    known, mixed = found.main >= 0, found.second >= 0
    counts = np.bincount(found.main[known], 1 - found.second_share[known].astype(np.float64), minlength=len(species))
    return counts + np.bincount(found.second[mixed], found.second_share[mixed], minlength=len(species))


def with_main_species(collection: Collection, species: Sequence[str]) -> Collection:
    """A view in which each blend has the name of that of its two species with the larger weight. ``label_weights`` stays.

    Blends with a species that is not in the vocabulary keep their name, such as ``A × B``.

    Args:
        collection: Synthetic images.
        species: Vocabulary.
    """
    found = soft_labels(collection.table, species)
    mixed = found.second >= 0
    if not mixed.any():
        return collection
    names = collection.table["species"].to_numpy(dtype=object, copy=True)
    names[mixed] = np.array(species, dtype=object)[found.main[mixed]]
    vocabulary = tuple(dict.fromkeys((*collection.species, *species)))
    return Collection(collection.root, collection.table.assign(species=pd.array(names, dtype="string")), vocabulary, collection.info)


def blends_left_out(table: pd.DataFrame, species: Sequence[str]) -> tuple[np.ndarray, str]:
    """The blends that cannot be used, because one of their species is not in the vocabulary.

    Returns:
        Which rows they are, bool, shape (N,); and how many, with the missing species, in words, empty without any.
    """
    known, left_out, missing = set(species), np.zeros(len(table), bool), dict[str, None]()
    for row, weights in _blends(table):
        if lacking := [name for name in weights if name not in known]:
            left_out[row] = True
            missing.update(dict.fromkeys(lacking))
    number = int(left_out.sum())
    if not number:
        return left_out, ""
    what = "1 image" if number == 1 else f"{number:,} images"
    return left_out, f"{what} between two species of which the collection of photographs lacks one: {shown_list(map(repr, missing))}"


def _blends(table: pd.DataFrame) -> list[tuple[int, dict[str, float]]]:
    """Row and weights of every image between two species."""
    given = np.flatnonzero(table["label_weights"].notna().to_numpy(dtype=bool))
    return [(int(row), json.loads(text)) for row, text in zip(given, table["label_weights"].iloc[given], strict=True)]

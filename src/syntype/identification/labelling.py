"""Decoded images of a collection with their labels, as the classifier takes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from syntype.collection.names import count_unknown
from syntype.collection.table import Collection
from syntype.errors import CollectionError, shown_list
from syntype.identification.classifier import LabelledImages

__all__ = ["labelled", "require_two_species", "synthetic_images"]


def labelled(real: Collection, size: int, species: tuple[str, ...], synthetic: Collection | None = None) -> LabelledImages:
    """Decoded images and labels of a collection, followed by those of a synthetic collection (``synthetic_images``).

    Args:
        real: The collection.
        size: Side in pixels of the decoded squares.
        species: Vocabulary; labels are positions in it.
        synthetic: Collection of synthetic images to append.

    Raises:
        CollectionError: An image has no species, or one that is not in the vocabulary.
    """
    photographs = LabelledImages(real.pixels(size), _labels(real, species))
    return photographs if synthetic is None else photographs.followed_by(synthetic_images(synthetic, real, size, species))


def synthetic_images(synthetic: Collection, real: Collection, size: int, species: tuple[str, ...]) -> LabelledImages:
    """Decoded synthetic images, with their labels, and what their table says of them.

    An image's partner is the species of the first of its ``parents`` that is of another species than the image: for a pasted animal that of the
    photograph into which it was pasted. Its margin is that of curation.

    Args:
        synthetic: The collection.
        real: Photographs, of which some are the parents.
        size: Side in pixels of the decoded squares.
        species: Vocabulary; labels are positions in it.

    Raises:
        CollectionError: As for ``labelled``.
    """
    labels, table = _labels(synthetic, species), synthetic.table
    position = {name: number for number, name in enumerate(species)}
    known = real.table.loc[real.table["species"].isin(species)]
    label_of = dict(zip(known["image_id"], known["species"].map(position), strict=True))
    partners = np.array([_partner(text, label, label_of) for text, label in zip(table["parents"], labels, strict=True)], np.int64)
    margins = pd.to_numeric(table["margin"], errors="coerce") if "margin" in table else pd.Series(np.nan, table.index)
    return LabelledImages(
        synthetic.pixels(size), labels, np.ones(len(labels), bool), partners=partners, margins=margins.to_numpy(np.float32, na_value=np.nan)
    )


def _partner(parents: Any, label: int, label_of: Mapping[str, int]) -> int:
    """Label of the first parent of another species; -1 without one."""
    if pd.isna(parents):
        return -1
    return next((int(label_of[one]) for one in json.loads(parents) if label_of.get(one, label) != label), -1)


def _labels(part: Collection, species: tuple[str, ...]) -> np.ndarray:
    position = {name: number for number, name in enumerate(species)}
    unknown = sorted(set(part.table["species"].dropna()) - position.keys())
    if unknown or part.table["species"].isna().any():
        told = count_unknown(part.table["species"].value_counts().to_dict(), species)
        what = f"species that the real collection does not have: {told}" if unknown else "images without a species"
        raise CollectionError(f"{part.root}: has {what}. Correct or remove them, or use the real collection that these species come from.")
    return part.table["species"].map(position).to_numpy(np.int64, copy=True)


def require_two_species(collection: Collection, synthetic: Collection | None = None) -> None:
    """Raise ``CollectionError`` unless two species at least have images to learn from."""
    species = set(collection.training().table["species"].dropna())
    if synthetic is not None:
        species |= set(synthetic.select(usable=True).table["species"].dropna())
    if len(species) < 2:
        only = f"only {shown_list(species)} has" if species else "no species has"
        raise CollectionError(
            f"{collection.root}: a classifier tells species from each other, and {only} training photographs. "
            "Import photographs of a second species with them, or look in inspect how the splits were made."
        )

"""Decoded images of a collection with their labels, as the classifier takes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from syntype.collection.names import count_unknown
from syntype.collection.soft_labels import label_counts, soft_labels
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

    An image between two species (column ``label_weights``) has the one with the larger weight as its label, and the other as its second species.
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
    soft = soft_labels(table, species)
    mixed = {"seconds": soft.second, "second_shares": soft.second_share} if (soft.second >= 0).any() else {}
    position = {name: number for number, name in enumerate(species)}
    known = real.table.loc[real.table["species"].isin(species)]
    label_of = dict(zip(known["image_id"], known["species"].map(position), strict=True))
    partners = np.array([_partner(text, label, label_of) for text, label in zip(table["parents"], labels, strict=True)], np.int64)
    margins = pd.to_numeric(table["margin"], errors="coerce") if "margin" in table else pd.Series(np.nan, table.index)
    return LabelledImages(
        synthetic.pixels(size), labels, np.ones(len(labels), bool), partners=partners, margins=margins.to_numpy(np.float32, na_value=np.nan), **mixed
    )


def _partner(parents: Any, label: int, label_of: Mapping[str, int]) -> int:
    """Label of the first parent of another species; -1 without one."""
    if pd.isna(parents):
        return -1
    return next((int(label_of[one]) for one in json.loads(parents) if label_of.get(one, label) != label), -1)


def _labels(part: Collection, species: tuple[str, ...]) -> np.ndarray:
    labels = soft_labels(part.table, species).main
    if (labels < 0).any():
        told = count_unknown(part.table["species"][labels < 0].value_counts().to_dict(), species)
        what = f"species that the real collection does not have: {told}" if told else "images without a species"
        raise CollectionError(f"{part.root}: has {what}. Correct or remove them, or use the real collection that these species come from.")
    return labels


def require_two_species(collection: Collection, synthetic: Collection | None = None) -> None:
    """Raise ``CollectionError`` unless two species at least have images to learn from."""
    species = set(collection.training().table["species"].dropna())
    if synthetic is not None:
        table, vocabulary = synthetic.select(usable=True).table, tuple({**dict.fromkeys(collection.species), **dict.fromkeys(synthetic.species)})
        species |= {name for name, count in zip(vocabulary, label_counts(table, vocabulary), strict=True) if count}
    if len(species) < 2:
        only = f"only {shown_list(species)} has" if species else "no species has"
        raise CollectionError(
            f"{collection.root}: a classifier tells species from each other, and {only} training photographs. "
            "Import photographs of a second species with them, or look in inspect how the splits were made."
        )

"""Other draws of the few photographs of the rare species, so that a study shows how much depends on which photographs happened to be taken.

A draw is a bootstrap sample of groups within each rare species: as many groups as there are, drawn with replacement (Bouthillier et al. 2021, arXiv
2103.03098, section 2.2, draws training data so). Of six groups about four are drawn at least once, and the others are missing from the draw; so a
study with draws measures what images are worth that were made from fewer different photographs than there are. In return the spread of an effect
over such draws is, but for a factor of 5/6 with six groups, that over sets of photographs taken anew (Davison & Hinkley 1997, section 2.3).

Generators and curation see the photographs of the draw once; classifiers see one that was drawn twice as two.
"""

from __future__ import annotations

import numpy as np

from syntype.collection import Collection
from syntype.study.photographs import Split, select_split

__all__ = ["drawn_collection", "drawn_rows"]


def drawn_rows(training: Split, rare: np.ndarray, seed: int) -> np.ndarray:
    """Rows of the training photographs in a draw: all of the common species; of a rare one those of the groups drawn, as often as drawn.

    Args:
        training: labels and groups of the training photographs.
        rare: bool, shape (num_species,).
        seed: seed of the draw.

    Returns:
        int64, sorted; shape (N,) with N as before where all groups of a species have the same number of photographs.
    """
    chosen = [np.flatnonzero(~rare[training.labels])]
    for label in np.flatnonzero(rare):
        rows = np.flatnonzero(training.labels == label)
        groups = np.unique(training.groups[rows])
        for group in np.random.default_rng([seed, int(label), 0xD3A]).choice(groups, len(groups)) if len(groups) else ():
            chosen.append(rows[training.groups[rows] == group])
    return np.sort(np.concatenate(chosen))


def drawn_collection(real: Collection, rare: np.ndarray, seed: int) -> Collection:
    """The collection with the training photographs of a draw, each once, and all the others as they were."""
    train = select_split(real, "train")
    kept = train.table["image_id"].iloc[np.unique(drawn_rows(Split.of(real, "train"), rare, seed))]
    return real.where((real.table["split"] != "train") | real.table["image_id"].isin(kept))

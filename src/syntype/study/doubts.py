"""Reasons why a study can give no verdict, whatever its figures: the classifier learnt nothing, or synthetic images bear each other's names."""

from __future__ import annotations

import numpy as np

from syntype.collection import Collection
from syntype.encoders import encode_collection, load_encoder
from syntype.study.statistics import mean_recall, species_recall

__all__ = ["exchanged_species", "no_better_than_chance"]

ENCODER = "lite2"
MOST_IMAGES, FEWEST_IMAGES = 20, 4
"""Numbers of synthetic images of a species that are named: at most, and at least to say anything."""
AGREEMENT = 2 / 3
"""Share of a species' images that have to be named as one other species."""
SIGNIFICANT = 0.05


def no_better_than_chance(predicted: np.ndarray, labels: np.ndarray, groups: np.ndarray, num_species: int, *, seed: int = 0) -> str | None:
    """A sentence if the macro recall of the arm ``real`` could be chance: a permutation test of the species among the groups, at 5 %.

    Args:
        predicted: int64, shape (S, N), predicted species of the test photographs for each of S seeds.
        labels: int64, shape (N,), true species.
        groups: int64, shape (N,); photographs of one group keep one species together.
        num_species: number of species.
    """
    everything, rng = np.arange(num_species), np.random.default_rng([seed, 0xC4A])

    def recall(truth: np.ndarray) -> float:
        return mean_recall(species_recall(predicted == truth, truth, num_species), everything) or 0.0

    _, first, place = np.unique(groups, return_index=True, return_inverse=True)
    own = labels[first]
    measured = recall(labels)
    by_chance = np.array([recall(rng.permutation(own)[place]) for _ in range(199)])
    if (1 + (by_chance >= measured).sum()) / 200 <= SIGNIFICANT:
        return None
    return (
        f"the classifier trained on photographs alone is no better than chance ({100 * measured:.1f} % recall, {100 * by_chance.mean():.1f} % by "
        "chance), so no method could be compared."
    )


def exchanged_species(real: Collection, synthetic: Collection, size: int) -> str | None:
    """A sentence if photographs say that synthetic images of some species bear each other's names.

    Every image is named after the nearest mean of a species' training photographs. Species are exchanged if most images of each are named as the
    next one, in a ring.

    Args:
        real: the photographs; only the split ``train`` is read.
        synthetic: images with species of ``real``, before or after curation; those between two species are left out, as they look like both.
        size: side in pixels at which images are decoded.
    """
    train = real.training()
    synthetic = synthetic.where(synthetic.table["label_weights"].isna())
    if not len(synthetic):
        return None
    rank = synthetic.table.groupby("species").cumcount().to_numpy()
    chosen = Collection(synthetic.root, synthetic.table, real.species, synthetic.info).where(rank < MOST_IMAGES)
    labels, encoder = chosen.labels(), load_encoder(ENCODER)
    known = train.labels()
    present = np.unique(known[known >= 0])
    features, made = (encode_collection(encoder, one, pixels=size) for one in (train, chosen))
    means = np.stack([features[known == label].mean(0) for label in present])
    centre = means.mean(0)
    scale = np.maximum(features.std(0), 1e-6)
    unit_means, unit_made = (_unit((part - centre) / scale) for part in (means, made))
    named = present[(unit_made @ unit_means.T).argmax(1)]
    follows = {}
    for label in np.unique(labels[labels >= 0]):
        names, counts = np.unique(named[labels == label], return_counts=True)
        if counts.sum() >= FEWEST_IMAGES and counts.max() >= AGREEMENT * counts.sum():
            follows[int(label)] = int(names[counts.argmax()])
    rings = _rings(follows)
    if not rings:
        return None
    pairs = [f"those of {real.species[one]} look like {real.species[follows[one]]}" for ring in rings for one in ring]
    return f"the synthetic images of {len(pairs)} species seem to bear each other's names: {'; '.join(pairs[:4])}{'; …' if len(pairs) > 4 else ''}."


def _rings(follows: dict[int, int]) -> list[list[int]]:
    """Rings of two or more in a map of numbers, each from its smallest number."""
    rings = []
    for start in sorted(follows):
        ring, one = [start], follows[start]
        while one in follows and one not in ring:
            ring.append(one)
            one = follows[one]
        if one == start and len(ring) > 1 and start == min(ring):
            rings.append(ring)
    return rings


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))

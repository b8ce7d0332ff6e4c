"""Training, validation and test images: by group, stratified by species, decided once.

A *unit* is a set of images that must stay in one split: the images of one group, and groups joined by duplicates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

__all__ = ["join_groups", "make_splits", "splits_without_pictures"]

_PURPOSE = 101  # this module's own stream of random numbers


def join_groups(groups: np.ndarray, species: np.ndarray, same: Iterable[tuple[int, int]], near: Iterable[tuple[int, int]] = ()) -> np.ndarray:
    """Join groups that show the same picture.

    Args:
        groups: int, shape (N,): images with the same number belong together.
        species: labels, shape (N,).
        same: pairs of rows with the same bytes: always joined.
        near: pairs of near duplicates, the surest first: joined unless the unit would come to hold more than half of a species' groups. One camera
            before one background could otherwise chain a whole species into a single unit, and nothing of it could be tested.

    Returns:
        int64, shape (N,): units, numbered 0.. in order of first appearance.
    """
    groups = np.unique(groups, return_inverse=True)[1]
    labels = np.unique(species, return_inverse=True)[1]
    held: list[dict[int, int]] = [{} for _ in range(int(groups.max()) + 1)] if len(groups) else []  # groups of each species in a unit
    for group, label in np.unique(np.stack([groups, labels], axis=1), axis=0).tolist():
        held[group][label] = 1
    limit = np.zeros(int(labels.max()) + 1 if len(labels) else 0, dtype=np.int64)
    for unit in held:
        for label in unit:
            limit[label] += 1
    limit //= 2
    over = [any(count > limit[label] for label, count in unit.items()) for unit in held]
    from scipy.cluster.hierarchy import DisjointSet  # slow to import

    units = DisjointSet(range(len(held)))
    for pairs, bounded in ((same, False), (near, True)):
        for a, b in pairs:
            one, other = units[int(groups[a])], units[int(groups[b])]
            if one == other:
                continue
            if len(held[one]) > len(held[other]):
                one, other = other, one  # the smaller goes into the larger: a unit of thousands of species is not gone through again and again
            merged = {label: count + held[other].get(label, 0) for label, count in held[one].items()}
            exceeds = over[one] or over[other] or any(count > limit[label] for label, count in merged.items())
            if bounded and exceeds:
                continue
            held[other].update(merged)
            units.merge(one, other)
            root = units[one]
            held[root], over[root] = held[other], exceeds
    return pd.factorize(np.array([units[int(group)] for group in groups], dtype=np.int64))[0].astype(np.int64)


def make_splits(species: np.ndarray, units: np.ndarray, *, seed: int, test_fraction: float = 0.25, val_fraction: float = 0.15) -> np.ndarray:
    """Give every image to ``train``, ``val`` or ``test``; images of one unit go together.

    Of every species with two units or more at least one is tested, and at least one trained on. Validation gets units only
    of species with four or more, and only where two remain for training. Neither share exceeds its fraction of the species' images
    (rounded) except for that one obligatory test unit, so that the images of rare species mostly stay in training. Units that span species
    count for each of them; where such units make the promises contradict each other, training comes first.

    Args:
        species: labels, shape (N,).
        units: int, shape (N,), from ``join_groups``.
        seed: the same seed and rows give the same splits.

    Returns:
        str, shape (N,).
    """
    species, units = np.asarray(species), np.asarray(units)
    if not len(species):
        return np.empty(0, dtype="<U5")
    labels = np.unique(species, return_inverse=True)[1]
    units = np.unique(units, return_inverse=True)[1]
    plan = _Plan(labels, units)
    plan.fill("test", test_fraction, seed, fewest=2, spare=1, obligatory=True)
    plan.fill("val", val_fraction, seed, fewest=4, spare=2, obligatory=False)
    return plan.place[units]


def splits_without_pictures(
    species: Sequence[str], groups: Sequence[str | None], sha256: Sequence[str | None], test_fraction: float = 0.25, val_fraction: float = 0.15
) -> list[str | None]:
    """The splits that ``collect`` would draw, as far as a table tells: neither near duplicates nor one file in two groups are looked for.

    Args:
        groups: names, None for an image on its own.
        sha256: of the files; images without a group that have the same file stay together.

    Example:
        >>> splits_without_pictures(["Aus primus"] * 4, ["a", "a", "b", None], ["1", "2", "3", "4"], val_fraction=0)
        ['train', 'train', 'test', 'train']
    """
    files = (f"row {row}" if file is None else f"file {file}" for row, file in enumerate(sha256))
    together = [file if group is None else f"group {group}" for group, file in zip(groups, files, strict=True)]
    units = pd.factorize(np.array(together, dtype=object))[0]
    return list(make_splits(np.array(species), units, seed=0, test_fraction=test_fraction, val_fraction=val_fraction).tolist())


class _Plan:
    """Which unit goes where, while it is being decided; all units start in ``train``."""

    def __init__(self, labels: np.ndarray, units: np.ndarray) -> None:
        pairs, counts = np.unique(np.stack([units, labels], axis=1), axis=0, return_counts=True)
        self.totals = np.bincount(labels)
        self.place = np.full(int(units.max()) + 1, "train", dtype="<U5")
        self.images: list[dict[int, int]] = [{} for _ in self.place]  # of each species in each unit
        self.members: list[list[int]] = [[] for _ in self.totals]  # units of each species
        for (unit, label), count in zip(pairs.tolist(), counts.tolist(), strict=True):
            self.images[unit][label] = count
            self.members[label].append(unit)
        self.left = [len(units) for units in self.members]  # units that each species still trains on

    def fill(self, split: str, fraction: float, seed: int, *, fewest: int, spare: int, obligatory: bool) -> None:
        """Move units into ``split`` until it holds ``fraction`` of the images of each species with at least ``fewest`` units.

        Args:
            spare: units that every species keeps for training.
            obligatory: move the smallest unit even if it is more than the fraction.
        """
        if fraction <= 0:
            return
        limit = np.floor(fraction * self.totals + 0.5).astype(np.int64).tolist()
        taken = [0] * len(limit)
        for label in sorted(range(len(limit)), key=lambda number: (len(self.members[number]), number)):  # the rarest choose first
            if len(self.members[label]) < fewest:
                continue
            rng = np.random.default_rng([seed, _PURPOSE, ("test", "val").index(split), label])
            order = [self.members[label][position] for position in rng.permutation(len(self.members[label]))]
            for unit in order:
                if self._free(unit, spare) and all(taken[other] + count <= limit[other] for other, count in self.images[unit].items()):
                    self._move(unit, split, taken)
            if obligatory and not taken[label]:
                able = [unit for unit in order if self._free(unit, spare)]
                if able:
                    self._move(min(able, key=lambda unit: sum(self.images[unit].values())), split, taken)

    def _free(self, unit: int, spare: int) -> bool:
        return self.place[unit] == "train" and all(self.left[label] > spare for label in self.images[unit])

    def _move(self, unit: int, split: str, taken: list[int]) -> None:
        self.place[unit] = split
        for label, count in self.images[unit].items():
            taken[label] += count
            self.left[label] -= 1

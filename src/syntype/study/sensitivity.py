"""Whether a single species, or a single individual, track or specimen decides a verdict: the verdict without each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from syntype.study.photographs import Split
from syntype.study.verdict import Word

__all__ = ["Removal", "decisive_removals", "sensitivity_sentence"]

_NAMED = 3
"""So many removals are named in the sentence; of more the number is given."""


@dataclass(frozen=True)
class Removal:
    """A part of the test photographs without which the verdict is another.

    Attributes:
        kind: ``species``, or ``group``: an individual, track or specimen.
        species: name of the species.
        group: name of the group; None for a whole species.
        num_images: number of its test photographs.
        word: the verdict without it.
    """

    kind: str
    species: str
    group: str | None
    num_images: int
    word: Word


def decisive_removals(difference: np.ndarray, test: Split, target: np.ndarray, species: tuple[str, ...], word: Word,
                      judge: Callable[[np.ndarray], Word]) -> list[Removal]:  # fmt: skip
    """Species and groups whose removal turns ``add`` into another verdict, or another verdict into ``add``.

    Of each species only the two groups are tried whose removal moves its recall most, up and down. Species are removed where at least one other
    with test photographs is left, and groups where their species keeps one. The competitor stays the same.

    Args:
        difference: float64, shape (S, N), hits of the arm with synthetic images minus those of the competitor.
        test: labels and groups of the test photographs.
        target: labels of the species that the verdict is about.
        species: names of all species.
        word: the verdict of the study.
        judge: the verdict from the test photographs for which a mask (bool, shape (N,)) is true.
    """
    tested = [int(label) for label in target if (test.labels == label).any()]
    candidates: list[tuple[int, int | None, np.ndarray]] = [(label, None, test.labels == label) for label in tested] if len(tested) > 1 else []
    for label in tested:
        candidates += [(label, group, test.groups == group) for group in _strongest(difference.mean(axis=0), test, label)]
    found = []
    for label, group, removed in candidates:
        without = judge(~removed)
        if (without == "add") != (word == "add"):
            name = None if group is None else test.name_of(group)
            found.append(Removal("species" if group is None else "group", species[label], name, int(removed.sum()), without))
    return found


def sensitivity_sentence(removals: list[Removal], word: Word) -> str:
    """Whether the verdict rests on a single species or group; empty if it does not and is not ``add``."""
    if not removals:
        return "No single species and no single individual, track or specimen decides the verdict." if word == "add" else ""
    named = [
        f"{one.species}: {one.num_images} photographs, “{one.word}”"
        if one.group is None
        else f"{one.species} (individual, track or specimen {one.group}): {one.num_images} photographs, “{one.word}”"
        for one in removals[:_NAMED]
    ]
    if len(removals) > _NAMED:
        named.append(f"and {len(removals) - _NAMED} more")
    return f"The verdict rests on little: without the test photographs of one of these it would be another. {'; '.join(named)}."


def _strongest(difference: np.ndarray, test: Split, label: int) -> list[int]:
    """The groups of a species without which its mean is lowest and highest; none if it has only one group."""
    rows = np.flatnonzero(test.labels == label)
    groups, codes = np.unique(test.groups[rows], return_inverse=True)
    if len(groups) < 2:
        return []
    sums, sizes = np.bincount(codes, difference[rows]), np.bincount(codes)
    without = (sums.sum() - sums) / (sizes.sum() - sizes)
    return sorted({int(groups[without.argmin()]), int(groups[without.argmax()])})

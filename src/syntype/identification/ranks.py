"""Answers at the lowest rank of which a classifier is sure: the species, or else its genus, family or order.

The probability of a genus, family or order is the sum of the calibrated probabilities of its species. The answer is the most probable taxon of the
lowest rank that reaches a threshold. A threshold on the sums is one of the rules that Deng, Krause, Berg and Fei-Fei compare ("Hedging your bets:
optimizing accuracy-specificity trade-offs in large scale visual recognition", CVPR 2012). Their own method, DARTS, finds the rule with the most
information at a guaranteed accuracy of the whole; it needs more validation photographs than rare species have. With calibrated probabilities and a
threshold t, at least about a share t of the answers given is right; ``rank_metrics`` measures it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from syntype.collection.relatives import RANKS, taxa_of
from syntype.collection.scientific_names import binomial_genera
from syntype.collection.table import Collection

__all__ = ["Answer", "Ranks", "lowest_sure", "rank_metrics", "ranks_of"]


@dataclass(frozen=True)
class Ranks:
    """Genus, family and order of the species of a classifier.

    Attributes:
        names: For each of ``RANKS`` that is known of any species, the name of each species' taxon, in the order of the species; None where unknown.
    """

    names: Mapping[str, tuple[str | None, ...]]

    @cached_property
    def _taxa(self) -> dict[str, list[str]]:
        return {rank: sorted({name for name in names if name is not None}) for rank, names in self.names.items()}

    @cached_property
    def _places(self) -> dict[str, np.ndarray]:
        number = {rank: {name: place for place, name in enumerate(taxa)} for rank, taxa in self._taxa.items()}
        return {rank: np.array([-1 if name is None else number[rank][name] for name in names], np.int64) for rank, names in self.names.items()}

    def taxa(self, rank: str) -> list[str]:
        """The taxa of a rank, sorted."""
        return self._taxa[rank]

    def places(self, rank: str) -> np.ndarray:
        """Position of each species' taxon in ``taxa``, -1 where it is unknown: int64, shape (C,)."""
        return self._places[rank]

    def sums(self, probabilities: np.ndarray, rank: str) -> np.ndarray:
        """Probabilities of the taxa of a rank: float64, shape (N, number of taxa).

        Args:
            probabilities: Of the species, shape (N, C).
            rank: One of ``names``.
        """
        from scipy.sparse import csr_array  # slow to import

        places = self.places(rank)
        known = np.flatnonzero(places >= 0)
        members = csr_array((np.ones(len(known)), (known, places[known])), shape=(len(places), len(self.taxa(rank))))
        return np.asarray(probabilities.astype(np.float64) @ members)


@dataclass(frozen=True)
class Answer:
    """What a classifier says of one image.

    Attributes:
        rank: ``species``, one of ``RANKS``, or ``none`` if it is sure of nothing.
        name: Name of the taxon; "" with the rank ``none``.
        probability: Of the taxon; with the rank ``none`` that of the most probable species.
    """

    rank: str
    name: str
    probability: float

    def shown(self) -> str:
        """The answer for a person, for example "Amphiprion (genus) 0.93"."""
        if self.rank == "none":
            return f"not sure (best species {self.probability:.2f})"
        return f"{self.name}{'' if self.rank == 'species' else f' ({self.rank})'} {self.probability:.2f}"


def ranks_of(collection: Collection, species: Sequence[str]) -> Ranks | None:
    """Ranks of species by the columns ``genus``, ``family`` and ``order`` of a collection; without a genus, that of a well-formed binomial name.

    A rank that differs between the images of a species counts as unknown; see ``taxa_of``.

    Args:
        collection: Its images of training.
        species: The names, in order.

    Returns:
        the ranks; None if none is known of any species.
    """
    names = taxa_of(collection.table, species)
    binomials = binomial_genera(species)
    by_column = names.get("genus", (None,) * len(species))
    genera = tuple(column or binomials.get(name) for name, column in zip(species, by_column, strict=True))
    if any(genera):
        names = {"genus": genera, **{rank: taxa for rank, taxa in names.items() if rank != "genus"}}
    return Ranks(names) if names else None


def lowest_sure(probabilities: np.ndarray, species: Sequence[str], ranks: Ranks, sure: float) -> list[Answer]:
    """The answer for each image.

    Args:
        probabilities: Calibrated probabilities of the species, shape (N, C).
        species: Names of the species.
        ranks: Their ranks.
        sure: Probability from which an answer is given, in (0, 1].

    Returns:
        N answers. A species that is sure is named; otherwise the most probable genus if it is sure, and so on.
    """
    best = probabilities.argmax(axis=1) if len(probabilities) else np.empty(0, np.int64)
    answers = [Answer("none", "", float(row[place])) for row, place in zip(probabilities, best, strict=True)]
    open_rows = np.ones(len(answers), bool)
    for rank in ("species", *(rank for rank in RANKS if rank in ranks.names)):
        sums, names = (probabilities, species) if rank == "species" else (ranks.sums(probabilities, rank), ranks.taxa(rank))
        if not len(answers) or not len(names):
            continue
        place = sums.argmax(axis=1)
        highest = np.minimum(sums[np.arange(len(sums)), place], 1.0)  # sums of float32 may exceed 1 by a rounding error
        for row in np.flatnonzero(open_rows & (highest >= sure)):
            answers[row] = Answer(rank, names[place[row]], float(highest[row]))
            open_rows[row] = False
    return answers


def rank_metrics(probabilities: np.ndarray, labels: np.ndarray, species: Sequence[str], ranks: Ranks, sure: float) -> dict[str, dict[str, Any]]:
    """How well a classifier does at each rank.

    Args:
        probabilities: Calibrated, shape (N, C).
        labels: True species, int64, shape (N,).
        species: Names of the species.
        ranks: Their ranks.
        sure: As for ``lowest_sure``.

    Returns:
        for ``species`` and each known rank: ``accuracy`` (share of images whose most probable taxon is the true one, of those whose taxon is known),
        ``answered`` (share of the images whose answer is of this rank), ``right`` (share of these answers that are right); and for ``none``:
        ``answered``, the share without an answer. None where there are no images.
    """
    answers = lowest_sure(probabilities, species, ranks, sure)
    given = np.array([answer.rank for answer in answers], dtype=object)
    result: dict[str, dict[str, Any]] = {}
    for rank in ("species", *(rank for rank in RANKS if rank in ranks.names)):
        if rank == "species":
            names: list[str | None] = list(species)
            found = probabilities.argmax(axis=1) if len(labels) else labels
            known, right = np.ones(len(labels), bool), found == labels
        else:
            names = list(ranks.names[rank])
            places = ranks.places(rank)
            true = places[labels]
            known = true >= 0
            right = ranks.sums(probabilities, rank).argmax(axis=1) == true if len(labels) else known
        rows = np.flatnonzero(given == rank)
        correct = [answers[row].name == names[labels[row]] for row in rows]
        result[rank] = {"accuracy": _share(right[known]), "answered": _share(given == rank), "right": _share(np.array(correct, bool))}
    result["none"] = {"answered": _share(given == "none")}
    return result


def _share(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None

"""Genus, family and order of species, by the columns of a collection, and which species are relatives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

__all__ = ["RANKS", "nearest_relatives", "taxa_of"]

RANKS = ("genus", "family", "order")
"""Ranks above the species, from the lowest. Columns of these names in a collection give the species' taxa."""


def taxa_of(table: pd.DataFrame, species: Sequence[str], ranks: Sequence[str] = RANKS) -> dict[str, tuple[str | None, ...]]:
    """The taxa of species.

    Args:
        table: A collection's table; its columns named as ``ranks`` are read, if it has them.
        species: The names, in order.
        ranks: The ranks.

    Returns:
        for each rank that is known of any species, the name of each species' taxon; None where it is unknown, or differs between the species' rows.
    """
    taxa = {}
    for rank in ranks:
        if rank not in table:
            continue
        given: dict[str, set[str]] = {}
        pairs = table[["species", rank]].dropna().drop_duplicates()
        for one, value in zip(pairs["species"], pairs[rank], strict=True):
            if isinstance(value, str) and value.strip():
                given.setdefault(str(one), set()).add(value.strip())
        names = tuple(next(iter(given[one])) if len(given.get(one, ())) == 1 else None for one in species)
        if any(names):
            taxa[rank] = names
    return taxa


def nearest_relatives(taxa: Mapping[str, Sequence[str | None]], place: int, others: Iterable[int]) -> tuple[str | None, list[int]]:
    """The species of the same genus, or else of the same family, or else of the same order.

    Args:
        taxa: As from ``taxa_of``.
        place: Position of the species whose relatives are asked for.
        others: Positions of the species to choose from; it may be among them, but is no relative of its own.

    Returns:
        the rank that they share, and their positions; None and an empty list if no rank is known or shared.

    Example:
        >>> taxa = {"genus": ("Aus", "Bus", "Cus"), "family": ("Ausidae", "Ausidae", "Cusidae")}
        >>> nearest_relatives(taxa, 0, [1, 2]), nearest_relatives(taxa, 2, [0, 1])
        (('family', [1]), (None, []))
    """
    others = [other for other in others if other != place]
    for rank in RANKS:
        names = taxa.get(rank)
        if names is not None and names[place] is not None and (same := [other for other in others if names[other] == names[place]]):
            return rank, same
    return None, []

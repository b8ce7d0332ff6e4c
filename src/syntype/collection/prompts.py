"""The text that describes a photograph to a text-to-image model: the species by its names, and the photograph's caption."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from syntype.collection.relatives import taxa_of

__all__ = ["captions_of", "common_names_of", "prompt", "species_text", "species_texts"]


def species_text(name: str, common_name: str | None = None, genus: str | None = None, family: str | None = None) -> str:
    """A species by all its names, separated by commas. The genus is left out where the name begins with it, and whatever is missing or said before.

    Example:
        >>> species_text("Chaetodon trifascialis", "chevron butterflyfish", "Chaetodon", "Chaetodontidae")
        'Chaetodon trifascialis, chevron butterflyfish, Chaetodontidae'
        >>> species_text("blue tang", None, "Paracanthurus", "Acanthuridae")
        'blue tang, Paracanthurus, Acanthuridae'
    """
    parts = [name.strip()]
    for part in (common_name, genus, family):
        text = " ".join((part or "").split())
        if text and text.casefold() not in {said.casefold() for said in (*parts, name.partition(" ")[0])}:
            parts.append(text)
    return ", ".join(parts)


def prompt(species: str, caption: str | None = None) -> str:
    """The text for a photograph of a species, with its caption if it has one.

    Args:
        species: as from ``species_text``; empty if unknown.
        caption: what else the photograph shows, such as ``on a reef, seen from the side``.

    Example:
        >>> prompt("Zanclus cornutus, moorish idol, Zanclidae", "on a reef.")
        'a photo of Zanclus cornutus, moorish idol, Zanclidae, on a reef'
    """
    said = " ".join((caption or "").split()).rstrip(".")
    return ", ".join(part for part in (f"a photo of {species}" if species else "a photo", said) if part)


def captions_of(table: pd.DataFrame) -> tuple[str | None, ...]:
    """What else each image shows, in words: the column ``caption``; None where nobody said. Empty without such a column."""
    if "caption" not in table:
        return ()
    return tuple(value.strip() if isinstance(value, str) and value.strip() else None for value in table["caption"])


def common_names_of(table: pd.DataFrame) -> dict[str, str]:
    """The common name of each species that has one: the most frequent in the column ``vernacular_name``, or else in ``common_name``."""
    names: dict[str, str] = {}
    for column in ("vernacular_name", "common_name"):
        if column not in table:
            continue
        given = table.loc[table[column].map(lambda value: isinstance(value, str) and bool(value.strip())), ["species", column]]
        for species, values in given.groupby("species", observed=True)[column]:
            names.setdefault(str(species), str(values.mode().iloc[0]).strip())
    return names


def species_texts(table: pd.DataFrame, species: Sequence[str]) -> dict[str, str]:
    """The text of each species, from the names and taxa in a collection's table."""
    common, taxa = common_names_of(table), taxa_of(table, species)
    nothing = (None,) * len(species)
    genus, family = (taxa.get(rank, nothing) for rank in ("genus", "family"))
    return {name: species_text(name, common.get(name), genus[place], family[place]) for place, name in enumerate(species)}

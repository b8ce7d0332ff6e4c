"""What the user corrects in a source before it is imported: names of species, species to leave out, licence and rights holder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from syntype.collection.sources.base import Entry, Listing, Refused, SourceConfig, species_name
from syntype.collection.sources.checklists import HIGHER_RANKS
from syntype.collection.sources.naming import renamed_values
from syntype.errors import InputError, UnknownNameError

__all__ = ["corrected"]

_LEFT_OUT = "of a species that was left out"


def corrected(listing: Listing, config: SourceConfig) -> Listing:
    """The listing with the corrections that ``config`` asks for (``rename``, ``leave_out``, ``default_licence``, ``default_rights_holder``).

    Names are those that the preview shows. Two species that get one name become one. The column ``verbatim_name`` keeps the name of the source.

    Raises:
        UnknownNameError: a species to rename or to leave out is not in the source.
        InputError: a new name is empty, or a species is to be renamed and left out.
    """
    names = {species_name(old): species_name(new) for old, new in config.rename.items()}
    without = {species_name(name) for name in config.leave_out}
    _check(listing, names, without)
    defaults = {
        column: value for column, value in (("licence", config.default_licence), ("rights_holder", config.default_rights_holder)) if value is not None
    }
    if not names and not without and not defaults:
        return listing
    counts = Counter(entry.species for entry in listing.entries)
    ranks = _ranks(listing.entries, set(names.values()))
    items = [_corrected(item, names, without, defaults, ranks) for item in listing.items]
    species = None if listing.species is None else tuple(dict.fromkeys(names.get(name, name) for name in listing.species if name not in without))
    notes = [f"{old} ({counts[old]:,} images) is taken as {new}, as was asked for" for old, new in names.items()]
    for column, value in defaults.items():
        number = sum(not entry.values.get(column) for entry in listing.entries if entry.species not in without)
        notes.append(f"{number:,} images without a {column.replace('_', ' ')} get {value}, as was asked for")
    return replace(listing, items=items, species=species, notes=[*notes, *listing.notes])


def _check(listing: Listing, names: Mapping[str, str], without: set[str]) -> None:
    known = {entry.species for entry in listing.entries if entry.species} | set(listing.species or ())
    for name in [*names, *sorted(without)]:
        if name not in known:
            raise UnknownNameError("species", name, sorted(known))
        if name in names and name in without:
            raise InputError(f"{name} is to be renamed and to be left out", "Ask for one of the two.")
        if not names.get(name, name):
            raise InputError(f"the new name of {name} is empty", "Give a name, or leave the species out with --leave-out.")


def _corrected(
    item: Entry | Refused, names: Mapping[str, str], without: set[str], defaults: Mapping[str, str], ranks: Mapping[str, Mapping[str, Any]]
) -> Entry | Refused:
    if not isinstance(item, Entry):
        return item
    if item.species in without:
        return Refused(item.original_name or str(item.image), item.row, _LEFT_OUT, f"Take --leave-out {item.species} away to import it.")
    values = dict(item.values)
    for column, value in defaults.items():
        if not values.get(column):
            values[column] = value
    new = names.get(item.species or "")
    if new is None:
        return replace(item, values=values)
    return replace(item, species=new, values=renamed_values(values, item.species, new, ranks))


def _ranks(entries: Sequence[Entry], wanted: set[str]) -> dict[str, dict[str, Any]]:
    """Genus, family and the other ranks of the species that get the images of others, as the source has them."""
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if entry.species in wanted and entry.species not in found:
            found[str(entry.species)] = {rank: value for rank in HIGHER_RANKS if (value := entry.values.get(rank)) is not None}
    return found

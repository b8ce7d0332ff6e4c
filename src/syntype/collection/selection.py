"""Which images of a source are wanted: by licence, and at most so many of a species."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from syntype.collection.sources.base import Entry, Listing, Refused
from syntype.collection.sources.licences import licence_name
from syntype.errors import InputError, shortened, shown_list

__all__ = ["Selection", "limited", "select"]


@dataclass(frozen=True)
class Selection:
    """The images of a source that are wanted.

    Attributes:
        entries: those to import, in the order of the source.
        reserve: for each species those beyond its largest number, the next one first: they take the places of images that cannot be had.
        refused: those with another licence.
    """

    entries: list[Entry]
    reserve: dict[str | None, list[Entry]]
    refused: list[Refused]

    def left_over(self, most: int | None) -> list[Refused]:
        """The reserve as refused items."""
        hint = "Raise --max-per-species to take more."
        return [
            Refused(entry.original_name or str(entry.image), entry.row, f"is beyond the {most} images of its species", hint)
            for entries in self.reserve.values()
            for entry in entries
        ]


def select(entries: Sequence[Entry], licences: Sequence[str] | None, most: int | None) -> Selection:
    """Choose the images that are wanted.

    Args:
        entries: all of a source.
        licences: the licences that are wanted, such as "CC0" or "CC BY 4.0"; one without a version stands for all its versions. None: all.
        most: largest number of images of one species: first one of each observation, then a second one of each, and so on. None: all.

    Raises:
        InputError: there are images, and none has one of the licences.
    """
    refused: list[Refused] = []
    chosen = list(entries)
    if licences is not None:
        wanted = [_plain(licence) for licence in licences]
        fits = {text: _fits(text, wanted) for text in {entry.values.get("licence") for entry in entries}}
        chosen = [entry for entry in entries if fits[entry.values.get("licence")]]
        if entries and not chosen:
            there = Counter(licence_name(str(text)) if (text := entry.values.get("licence")) else "none" for entry in entries)
            shown = shown_list((f"{name} ({number:,})" for name, number in there.most_common()), 6, 30)
            reason = f"no image has the licence {' or '.join(licences)[:100]}; there are: {shown}"
            raise InputError(reason, "Name others with --licence, or leave it out.")
        for entry in entries:
            licence = entry.values.get("licence")
            if not fits[licence]:
                reason = "has no licence" if not licence else f"has the licence {shortened(licence_name(str(licence)), 40)}"
                hint = f"Add it with --licence, if you may use it; wanted are {', '.join(licences)[:100]}."
                refused.append(Refused(entry.original_name or str(entry.image), entry.row, f"{reason}, which was not asked for", hint))
    if most is None:
        return Selection(chosen, {}, refused)
    places = {id(entry): place for place, entry in enumerate(chosen)}
    taken: list[Entry] = []
    reserve: dict[str | None, list[Entry]] = {}
    by_species: dict[str | None, list[Entry]] = defaultdict(list)
    for entry in chosen:
        by_species[entry.species].append(entry)
    for species, own in by_species.items():
        queue = _one_of_each_observation_first(own)
        taken += queue[:most]
        if queue[most:]:
            reserve[species] = queue[most:]
    return Selection(sorted(taken, key=lambda entry: places[id(entry)]), reserve, refused)


def limited(listing: Listing, licences: Sequence[str] | None, most: int | None) -> Listing:
    """The listing with those images alone that are wanted; the others are refused items."""
    if licences is None and most is None:
        return listing
    chosen = select(listing.entries, licences, most)
    return replace(listing, items=[*chosen.entries, *listing.refused, *chosen.refused, *chosen.left_over(most)])


def _one_of_each_observation_first(entries: Sequence[Entry]) -> list[Entry]:
    """The images of a species in rounds: in each round one of every observation that has one left."""
    seen: dict[object, int] = defaultdict(int)
    rounds = []
    for place, entry in enumerate(entries):
        key = entry.group if entry.group is not None else ("no group", place)
        rounds.append((seen[key], place))
        seen[key] += 1
    return [entries[place] for _, place in sorted(rounds)]


def _plain(licence: object) -> str:
    return (licence_name(str(licence)) or "").casefold()


def _fits(licence: object, wanted: Sequence[str]) -> bool:
    """Whether a licence is one of those that are wanted: the same, or the same but for its version."""
    plain = _plain(licence) if licence else ""
    return bool(plain) and any(plain == one or re.fullmatch(rf"{re.escape(one)} \d\.\d( [a-z]+)?", plain) for one in wanted)

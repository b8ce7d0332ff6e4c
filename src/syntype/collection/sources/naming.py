"""Names of the species of a source: spellings of one name are joined, and a checklist gives accepted names and ranks.

Nothing is renamed without a note, and every image whose name changed keeps what the source says in ``verbatim_name``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from syntype.collection.scientific_names import doubtful_pairs, join_spellings, parse_name
from syntype.collection.sources.base import Entry, Listing, Refused, SourceConfig
from syntype.collection.sources.checklists import HIGHER_RANKS, Found, NameList, Taxon, read_checklist
from syntype.errors import shortened

__all__ = ["ONLINE", "VERBATIM", "name_species", "renamed_values"]

VERBATIM = "verbatim_name"
"""Column with the name that the source gives, of images that got another."""
ONLINE = "gbif"
"""Value of ``SourceConfig.names`` for GBIF's service instead of a file."""
_LONGEST = 40


@dataclass(frozen=True)
class _Names:
    """Names of a source and what became of them.

    Attributes:
        counts: number of images of each name.
        new: new names of those that changed.
        values: further values of the images of a name, by column.
        notes: sentences.
    """

    counts: Mapping[str, int]
    new: dict[str, str] = field(default_factory=dict)
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def name_species(listing: Listing, source: Path, config: SourceConfig) -> Listing:
    """Join spellings of one name, and apply the checklist ``config.names``.

    Names of synthetic images, and of a collection that Syntype made, are not joined, as generators and classifiers know the species by them; a
    checklist applies to them too, as it was asked for.

    Args:
        listing: what was read.
        source: where from.
        config: settings; only ``names`` matters here.

    Returns:
        the listing with new names, further columns and notes; the same object if nothing is to be said.

    Raises:
        InputError: the checklist cannot be read.
        UnsupportedError: GBIF was asked for, and pygbif is not installed or there is no connection.
    """
    entries = listing.entries
    counts = Counter(name for entry in entries if (name := entry.species))
    names = _Names(counts)
    is_own = bool(listing.info) or listing.species is not None or (source / "collection.json").is_file()
    is_own = is_own or getattr(config, "origin", None) == "synthetic"  # a setting of ``collect``
    fixed = set(counts) if is_own else {entry.species for entry in entries if entry.species and entry.values.get("origin") == "synthetic"}
    _join(names, fixed, _authorships(entries))
    if config.names is not None:
        _apply(names, _name_list(config.names), _ranks_of(entries), config.names)
    _tell_doubts(names)
    if not names.new and not names.values and not names.notes:
        return listing
    items = [_renamed(item, names) for item in listing.items]
    species = None if listing.species is None else tuple(dict.fromkeys(names.new.get(name, name) for name in listing.species))
    return replace(listing, items=items, species=species, notes=[*names.notes, *listing.notes])


def renamed_values(values: Mapping[str, Any], old: str | None, new: str, ranks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The columns of a photograph that gets another species: the first name is kept, and genus, family and the other ranks are those of the new
    name where they are known. Where they are not, they stay if the genus does, and else go.

    Args:
        values: columns of the photograph, without the species.
        old: its species, if it had one.
        new: the species that it gets.
        ranks: the ranks of the species that are known, by species.
    """
    kept = {**values, VERBATIM: values.get(VERBATIM) or old}
    if new not in ranks and old is not None and new.split()[0] == old.split()[0]:
        return kept
    return {**{column: value for column, value in kept.items() if column not in HIGHER_RANKS}, **ranks.get(new, {})}


def _renamed(item: Entry | Refused, names: _Names) -> Entry | Refused:
    if not isinstance(item, Entry) or item.species is None:
        return item
    new, values = names.new.get(item.species), names.values.get(item.species)
    if new is None and values is None:
        return item
    changed = {} if new is None else {VERBATIM: item.values.get(VERBATIM) or item.species}
    return replace(item, species=new or item.species, values={**item.values, **(values or {}), **changed})


def _authorships(entries: Sequence[Entry]) -> dict[str, str]:
    """Author and year of the names, where the source has them in a column."""
    return {entry.species: author for entry in entries if entry.species and isinstance(author := entry.values.get("authorship"), str)}


def _ranks_of(entries: Sequence[Entry]) -> dict[str, dict[str, str]]:
    """Ranks that the source gives for each name, the same for all its images."""
    found: dict[str, dict[str, set[str]]] = {}
    for entry in entries:
        if entry.species is None:
            continue
        for rank in HIGHER_RANKS:
            if isinstance(value := entry.values.get(rank), str):
                found.setdefault(entry.species, {}).setdefault(rank, set()).add(value)
    return {name: {rank: next(iter(values)) for rank, values in ranks.items() if len(values) == 1} for name, ranks in found.items()}


def _join(names: _Names, fixed: set[str], authorships: Mapping[str, str]) -> None:
    joined = join_spellings(names.counts, authorships)
    touched = {kept for spelling, kept in joined.items() if {spelling, kept} & fixed}
    names.new.update({spelling: kept for spelling, kept in joined.items() if kept not in touched})
    if names.new:
        shown = _examples((f"{old} → {new}" for old, new in names.new.items()), names, names.new)
        names.notes.append(f"{_images(names.new, names)} had another spelling of a name ({shown}); {VERBATIM} keeps it")
    left = [spelling for spelling, kept in joined.items() if kept in touched]
    if left:
        shown = _examples((f"{old} = {joined[old]}" for old in left), names, left)
        names.notes.append(f"other spellings of a name, kept as they are in synthetic images and in Syntype's own collections: {shown}")


def _apply(names: _Names, known: NameList, ranks: Mapping[str, Mapping[str, str]], title: str) -> None:
    """Look every name up, with what the first step made of it."""
    found: dict[str, Found] = {}
    kinds: dict[str, list[str]] = {}
    with_author = {names.new.get(text, text): text for text in names.counts if parse_name(text).author}
    for text in names.counts:
        name = names.new.get(text, text)
        if name not in found:
            found[name] = known.find(parse_name(with_author.get(name, name)), ranks.get(text, {}))
        kinds.setdefault(found[name].kind, []).append(text)
        if (taxon := found[name].taxon) is not None:
            names.values[text] = _values(taxon)
            if taxon.name and taxon.name != text:
                names.new[text] = taxon.name
            elif taxon.name:
                names.new.pop(text, None)
    where = ONLINE.upper() if title == ONLINE else shortened(Path(title).name or title, 30)
    choices = {text: _choices(found[names.new.get(text, text)]) for text in kinds.get("homonym", [])}
    synonyms = [text for text in kinds.get("synonym", []) if text in names.new]
    spellings = [text for text in kinds.get("accepted", []) if text in names.new]
    in_it = [*kinds.get("accepted", []), *kinds.get("synonym", [])]
    names.notes.append(f"names by {where}: {_images(in_it, names)} of {sum(names.counts.values()):,} are in it")
    told = [
        (synonyms, "are synonyms", [f"{text} → {names.new[text]}" for text in synonyms]),
        (spellings, "are spelt as there", [f"{text} → {names.new[text]}" for text in spellings]),
        (list(choices), "have a name with several accepted names, and keep it", list(choices.values())),
        (unresolved := kinds.get("unresolved", []), "have a synonym without an accepted name, and keep it", unresolved),
        (unknown := [*kinds.get("unknown", []), *kinds.get("genus", [])], "have a name that is not in it, and keep it", unknown),
    ]
    for some, what, shown in told:
        if some:
            names.notes.append(f"names by {where}: {_images(some, names)} {what}: {_examples(shown, names, some)}")
    if kinds.get("genus"):
        names.notes.append(f"names by {where}: the ranks of {_images(kinds['genus'], names)} are those of the genus")
    _tell_other_ranks(names, ranks, where)


def _values(taxon: Taxon) -> dict[str, str]:
    values = {rank: taxon.ranks[rank] for rank in HIGHER_RANKS if rank in taxon.ranks}
    more = {"taxon_rank": taxon.rank, "taxon_id": taxon.taxon_id}
    return values | {column: value for column, value in more.items() if value is not None}


def _choices(found: Found) -> str:
    return " or ".join(shortened(taxon.shown(), _LONGEST) for taxon in found.taxa[:3])


def _tell_other_ranks(names: _Names, ranks: Mapping[str, Mapping[str, str]], where: str) -> None:
    other = [text for text, given in ranks.items() if any(names.values.get(text, given).get(rank, value) != value for rank, value in given.items())]
    if other:
        given, new = ranks[other[0]], names.values[other[0]]
        rank = next(rank for rank in given if new.get(rank, given[rank]) != given[rank])
        example = f"{shortened(other[0], _LONGEST)}: {rank} {shortened(new[rank], 20)}, not {shortened(given[rank], 20)}"
        names.notes.append(f"names by {where}: its ranks replace other ones of {_images(other, names)} ({example})")


def _tell_doubts(names: _Names) -> None:
    """Say which names are left as they are although they may be of one species."""
    final: Counter[str] = Counter()
    for text, count in names.counts.items():
        final[names.new.get(text, text)] += count
    pairs = doubtful_pairs(final)
    if pairs:
        shown = "; ".join(f"{shortened(one, _LONGEST)} and {shortened(other, _LONGEST)} ({reason})" for one, other, reason in pairs[:2])
        names.notes.append(f"perhaps one species, not joined: {shown}{f'; … ({len(pairs) - 2:,} more pairs)' if len(pairs) > 2 else ''}")
    if open_names := sorted((text for text in final if parse_name(text).is_open), key=lambda text: (-final[text], text)):
        shown = ", ".join(f"{shortened(text, _LONGEST)} {final[text]:,}" for text in open_names[:3])
        more = f", … ({len(open_names) - 3:,} more)" if len(open_names) > 3 else ""
        names.notes.append(f"names that leave the species open, each kept as a species of its own: {shown}{more}")


def _images(some: Iterable[str], names: _Names) -> str:
    number = sum(names.counts[text] for text in some)
    return f"{number:,} {'image' if number == 1 else 'images'}"


def _examples(shown: Iterable[str], names: _Names, some: Iterable[str]) -> str:
    """The two commonest of some names, each with its number of images."""
    ranked = sorted(zip(shown, some, strict=True), key=lambda pair: (-names.counts[pair[1]], pair[1]))
    first = ", ".join(f"{shortened(text, 2 * _LONGEST)} {names.counts[name]:,}" for text, name in ranked[:2])
    return first + (f", … ({len(ranked) - 2:,} more)" if len(ranked) > 2 else "")


def _name_list(names: str) -> NameList:
    if names.strip().lower() == ONLINE and not Path(names).exists():
        from syntype.collection.sources.gbif_names import GbifNames

        return GbifNames()
    return read_checklist(names)

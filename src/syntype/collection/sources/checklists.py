"""Checklists: tables of names that say which name is accepted, which is a synonym of which, and where a name stands in the classification.

Darwin Core taxon tables (https://dwc.tdwg.org/terms/#taxon), as GBIF, the Catalogue of Life and WoRMS export them, and tables of two columns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

from syntype.collection.scientific_names import ScientificName, parse_name
from syntype.collection.sources.meanings import plain_name
from syntype.collection.sources.text_tables import TABLE_ENDINGS, read_table
from syntype.errors import InputError, shown_list

__all__ = ["HIGHER_RANKS", "Checklist", "Found", "NameList", "Taxon", "read_checklist"]

HIGHER_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")
"""Ranks of a checklist that a collection keeps as columns, from the widest to the narrowest."""

_COLUMNS: dict[str, tuple[str, ...]] = {
    "id": ("taxonid", "aphiaid", "taxonkey", "nameusageid", "id", "key"),
    "canonical": ("canonicalname",),
    "name": ("scientificname", "name", "taxonname", "species", "taxon", "synonym", "canonicalname"),
    "accepted_id": ("acceptednameusageid", "aphiaidaccepted", "acceptedtaxonkey", "acceptedtaxonid", "acceptednameid", "acceptedid"),
    "accepted": (
        "acceptednameusage", "acceptedscientificname", "scientificnameaccepted", "acceptedname", "accepted", "acceptedspecies", "validname", "valid",
        "currentname",
    ),
    "parent_id": ("parentnameusageid", "parentid", "parentkey"),
    "status": ("taxonomicstatus", "status", "taxonstatus"),
    "rank": ("taxonrank", "rank"),
    "author": ("scientificnameauthorship", "authorship", "authority", "author"),
    **{rank: (rank,) for rank in HIGHER_RANKS},
}  # fmt: skip
"""Names of columns, in the form of ``plain_name``, that are tried in this order."""
_TABLES = ("taxon", "taxa", "nameusage", "checklist")
"""Tables of names in a folder, without their ending."""
_SYNONYM = ("synonym", "unaccepted", "invalid", "not accepted")
_MOST_STEPS = 100
"""Steps from a name to its accepted name, or from a taxon to its kingdom. More than any classification has."""


@dataclass(frozen=True)
class Taxon:
    """An accepted name.

    Attributes:
        name: Without author.
        author: Author and year; "" if the list does not say.
        rank: In small letters ("species"); None if the list does not say.
        taxon_id: Its id in the list; None if it has none.
        ranks: Names of the taxa of ``HIGHER_RANKS`` to which it belongs, as far as the list says.
    """

    name: str
    author: str = ""
    rank: str | None = None
    taxon_id: str | None = None
    ranks: Mapping[str, str] = field(default_factory=dict)

    def shown(self) -> str:
        """The name for a message, with its author or family."""
        more = self.author or self.ranks.get("family") or self.taxon_id
        return f"{self.name} {self.author}" if self.author else f"{self.name} ({more})" if more else self.name


@dataclass(frozen=True)
class Found:
    """What a list says of a name.

    Attributes:
        kind: ``accepted``, ``synonym``; ``genus`` (the list has only its genus, so ``taxon`` has no name of its own); ``homonym`` (several accepted
            names for one spelling: ``taxa``); ``unresolved`` (a synonym whose accepted name is missing, or that refers to itself); ``unknown``.
        taxon: The accepted name, or the genus.
        taxa: The accepted names of a homonym.
    """

    kind: Literal["accepted", "synonym", "genus", "homonym", "unresolved", "unknown"]
    taxon: Taxon | None = None
    taxa: tuple[Taxon, ...] = ()


class NameList(Protocol):
    """Anything that knows accepted names: a table, or a service."""

    def find(self, name: ScientificName, known: Mapping[str, str]) -> Found:
        """Look a name up.

        Args:
            name: The name.
            known: Ranks that the source gives (``family`` ...), to tell homonyms apart.
        """


class Checklist:
    """A checklist in memory.

    Args:
        path: Its file.
        columns: Cells of the columns of ``_COLUMNS`` that it has; all of one length.
    """

    def __init__(self, path: Path, columns: Mapping[str, Sequence[str]]) -> None:
        self.path = path
        self._columns = columns
        authors = columns.get("author") or [""] * len(columns["name"])
        canonical = columns.get("canonical") or [""] * len(authors)
        names = zip(canonical, columns["name"], authors, strict=True)
        self._names = [parse_name(short or _without(name, author), author) for short, name, author in names]

    def __len__(self) -> int:
        return len(self._names)

    @cached_property
    def _by_words(self) -> dict[tuple[str, ...], list[int]]:
        rows = defaultdict(list)
        for row, name in enumerate(self._names):
            if "misapplied" not in self._cell("status", row).lower():
                rows[_words(name)].append(row)
        return rows

    @cached_property
    def _by_id(self) -> dict[str, int]:
        return {key: row for row, key in reversed(list(enumerate(self._columns.get("id", ())))) if key}

    @cached_property
    def _genera(self) -> dict[str, list[int]]:
        """Rows of each genus, by the column of genera."""
        rows = defaultdict(list)
        for row, genus in enumerate(self._columns.get("genus", ())):
            rows[genus.lower()].append(row)
        return rows

    def _cell(self, column: str, row: int) -> str:
        cells = self._columns.get(column)
        return cells[row] if cells is not None else ""

    def find(self, name: ScientificName, known: Mapping[str, str]) -> Found:
        """Look a name up; see ``NameList``. A name of open nomenclature ("Aus sp.", "Aus cf. primus") is looked up by its genus only."""
        rows = [] if name.is_open else self._by_words.get(_words(name), [])
        if not rows:
            taxon = self._genus(name)
            return Found("unknown") if taxon is None else Found("genus", taxon)
        if name.subgenus and (same := [row for row in rows if self._names[row].subgenus == name.subgenus]):
            rows = same
        if name.author and (same := [row for row in rows if self._author(row) == name.author]):
            rows = same
        ends = [end for row in rows for end in self._ends(row, frozenset())]
        taxa = _distinct([end if isinstance(end, Taxon) else self._taxon(end) for end in ends])
        if len(taxa) > 1:
            fitting = [taxon for taxon in taxa if all(taxon.ranks.get(rank, value) == value for rank, value in known.items())]
            taxa = fitting if len(fitting) == 1 else taxa
        if not taxa:
            return Found("unresolved")
        if len(taxa) > 1:
            return Found("homonym", taxa=tuple(taxa))
        is_same = _words(parse_name(taxa[0].name)) == _words(name)
        return Found("accepted" if is_same else "synonym", taxa[0])

    def _author(self, row: int) -> str:
        """Author of a row in the form in which authors are compared."""
        text = self._cell("author", row)
        return parse_name(f"Aus {text}", text).author if text else self._names[row].author

    def _ends(self, row: int, before: frozenset[int]) -> list[int | Taxon]:
        """Rows of the accepted names to which a row leads; a taxon where only the name is given. None if it leads in a circle or nowhere."""
        if row in before or len(before) > _MOST_STEPS:
            return []
        before = before | {row}
        own, status = self._cell("id", row), self._cell("status", row).lower()
        is_synonym = any(word in status for word in _SYNONYM)
        target = self._cell("accepted_id", row)
        if not target and is_synonym and not self._cell("accepted", row):
            target = self._cell("parent_id", row)  # the Catalogue of Life's own format
        if target and target != own and target in self._by_id:
            return self._ends(self._by_id[target], before)
        text = self._cell("accepted", row)
        accepted = parse_name(text) if text else None
        if accepted is not None and (_words(accepted) != _words(self._names[row]) or is_synonym):
            others = [other for other in self._by_words.get(_words(accepted), []) if other != row]
            others = [other for other in others if accepted.author and self._author(other) == accepted.author] or others
            return [end for other in others for end in self._ends(other, before)] if others else [Taxon(accepted.bare)]
        if (target and target != own) or (is_synonym and accepted is None):
            return []
        return [row]

    def _taxon(self, row: int) -> Taxon:
        name = self._names[row]
        rank = self._cell("rank", row).strip().lower() or None
        ranks = {one: value for one in HIGHER_RANKS if (value := self._cell(one, row))}
        ranks = {**self._ancestors(row), **ranks}
        if "genus" not in ranks and len(name.words) > 1 and name.is_well_formed:
            ranks["genus"] = name.bare.split()[0]
        ordered = {one: ranks[one] for one in HIGHER_RANKS if one in ranks}
        return Taxon(name.bare, self._cell("author", row), rank, self._cell("id", row) or None, ordered)

    def _ancestors(self, row: int) -> dict[str, str]:
        """Names of the taxa above a row, by the column of parents."""
        found: dict[str, str] = {}
        for _ in range(_MOST_STEPS):
            rank = self._cell("rank", row).strip().lower()
            if rank in HIGHER_RANKS:
                found.setdefault(rank, self._names[row].bare)
            parent = self._by_id.get(self._cell("parent_id", row), row) if "parent_id" in self._columns else row
            if parent == row:
                break
            row = parent
        return found

    def _genus(self, name: ScientificName) -> Taxon | None:
        """The genus of a name with the ranks above it, if the list has the genus once, or the same ranks for all its species."""
        words = [word for word in name.bare.split() if word != "×"]
        if len(name.words) < 2 or not words or not words[0][:1].isupper():
            return None
        rows = [row for row in self._by_words.get((words[0].lower(),), []) if self._ends(row, frozenset()) == [row]]
        taxa = _distinct([self._taxon(row) for row in rows or self._genera.get(words[0].lower(), [])], ranks_only=True)
        ranks = {**taxa[0].ranks, "genus": words[0]} if len(taxa) == 1 else {}
        return Taxon("", ranks=ranks) if len(ranks) > 1 else None


def _words(name: ScientificName) -> tuple[str, ...]:
    """The words by which names are looked up. A list writes a subspecies with or without "subsp."."""
    return name.words if "subsp." not in name.words else tuple(word for word in name.words if word != "subsp.")


def _without(name: str, author: str) -> str:
    return name[: -len(author) - 1] if author and name.endswith(f" {author}") else name


def _distinct(taxa: Sequence[Taxon], ranks_only: bool = False) -> list[Taxon]:
    """Taxa that differ in name or author, or, where no author tells, in their ranks."""
    seen: dict[object, Taxon] = {}
    for taxon in taxa:
        above = tuple((rank, taxon.ranks.get(rank)) for rank in HIGHER_RANKS[:-1])
        author = parse_name(f"Aus {taxon.author}", taxon.author).author
        seen.setdefault(above if ranks_only else (parse_name(taxon.name).key, author or above), taxon)
    return list(seen.values())


def read_checklist(path: Path | str) -> Checklist:
    """Read a checklist: a table, or a folder that holds one under a usual name (``taxon.txt``).

    Raises:
        InputError: it is missing, cannot be read, or its columns are not those of a checklist.
    """
    path = _table_of(Path(path))
    known = {name for names in _COLUMNS.values() for name in names}
    table = read_table(path, sorted(known))
    by_name: dict[str, str] = {}
    for column in table.frame.columns:
        by_name.setdefault(plain_name(column), column)
    chosen = {key: next((by_name[name] for name in names if name in by_name), None) for key, names in _COLUMNS.items()}
    if chosen["name"] is None and len(by_name) == 2:
        chosen["name"], chosen["accepted"] = by_name.values()
    if chosen["name"] is None or not any(chosen[key] for key in ("accepted", "accepted_id", "status", "parent_id", *HIGHER_RANKS)):
        raise InputError(
            f"is not a checklist; its columns are: {shown_list(by_name.values())}",
            "Give a table with the columns scientificName, acceptedNameUsage (or acceptedNameUsageID and taxonID), taxonRank, family ...",
            file=path,
        )
    columns = {key: [_text(cell) for cell in table.frame[column].tolist()] for key, column in chosen.items() if column is not None}
    if not columns["name"]:
        raise InputError("has a header but no rows", "Give a checklist with one row a name.", file=path)
    return Checklist(path, columns)


def _text(cell: object) -> str:
    if cell is None or cell != cell:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def _table_of(path: Path) -> Path:
    if not path.is_dir():
        if path.suffix.lower() == ".zip":
            raise InputError("is packed", "Unpack it, and give the folder with --names.", file=path)
        if not path.is_file():
            raise InputError("is not there", "Give --names a checklist: a table, a folder with taxon.txt, or gbif.", file=path)
        return path
    tables = sorted(file for file in path.iterdir() if file.suffix.lower() in TABLE_ENDINGS and file.is_file())
    named = [file for stem in _TABLES for file in tables if file.stem.lower() == stem]
    if named or len(tables) == 1:
        return (named or tables)[0]
    raise InputError(f"holds no table of names (taxon.txt) but {shown_list([file.name for file in tables], 5)}", "Give the table itself.", file=path)

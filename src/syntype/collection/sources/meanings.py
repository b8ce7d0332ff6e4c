"""What the columns of a table mean: usual names, and a look at the cells where several columns could be meant."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pandas as pd

from syntype.collection.columns import COLUMNS
from syntype.collection.sources.base import SPLIT_WORDS, SourceConfig
from syntype.collection.sources.delimited import looks_like_file
from syntype.errors import InputError

__all__ = ["NORMAL_NAMES", "SYNONYMS", "Meanings", "find_meanings", "known_names", "plain_name"]

SYNONYMS: dict[str, tuple[str, ...]] = {
    "file": (
        "file_name", "filename", "file", "image", "path", "file_path", "image_path", "image_name", "image_file", "image_file_name", "img",
        "img_path", "img_name", "img_file", "photo", "photo_path", "photo_file", "photo_name", "picture", "picture_name", "photograph",
        "relative_path", "rel_path", "fname", "media_file", "media_path", "media", "full_path", "location_path", "images", "photos", "im",
        "image_id", "photo_id", "source_file_name", "image_url", "photo_url",
    ),
    "species": (
        "standardized_species", "species", "scientific_name", "canonical_name", "species_name", "accepted_scientific_name", "accepted_name",
        "latin_name", "binomial", "binomial_name", "taxon", "taxon_name", "verbatim_scientific_name", "scientific", "label", "labels",
        "label_name", "species_label", "category", "category_name", "class_name", "classname", "class_label", "target",
        "class", "common_name", "vernacular_name", "species_common_name",
    ),
    "group": (
        "group", "group_id", "trajectory", "trajectory_id", "track", "track_id", "observation_id", "observation", "occurrence_id", "specimen_id",
        "specimen", "individual", "individual_id", "animal_id", "organism_id", "sequence_id", "sequence", "seq_id", "catalog_number",
    ),
    "split": ("split", "subset", "partition", "set", "fold", "dataset_split", "data_split", "split_name", "data_set", "usage"),
    "licence": ("licence", "license", "licence_name", "license_name", "license_code", "licence_code", "cc_license"),
    "box": ("box", "bbox", "bounding_box", "bndbox", "bboxes", "boxes"),
    "rights_holder": ("rights_holder", "copyright", "copyright_holder", "copyright_owner", "attribution"),
    "source_url": ("source_url", "url", "image_url", "photo_url", "references"),
    "terms": ("terms", "terms_of_use", "usage_terms"),
    "origin": ("origin",),
}  # fmt: skip
"""Column names that are tried in this order if none is given. Case, spaces, hyphens and underscores are ignored, as is a prefix such as ``dwc:``.
Names used by the Fish-Vista data set come first."""

NORMAL_NAMES: dict[str, str] = {
    "kingdom": "kingdom", "phylum": "phylum", "class": "class", "order": "order", "family": "family", "genus": "genus",
    "taxonrank": "taxon_rank", "scientificnameauthorship": "authorship", "vernacularname": "vernacular_name", "taxonid": "taxon_id",
    "scientificname": "scientific_name", "eventdate": "observed_on", "decimallatitude": "latitude", "decimallongitude": "longitude",
    "recordedby": "recorded_by",
}  # fmt: skip
"""Further columns with Darwin Core names, and the names that they have in a collection."""

_LAST = ("class", "common_name", "vernacular_name", "species_common_name")
_EPITHET = re.compile(r"[a-zß-öø-ÿ][a-zß-öø-ÿ-]+")
_NULLS = frozenset({"", "na", "n/a", "nan", "null", "none"})
_MEASURES = frozenset({"width", "height", "sha256", "phash"})
"""Columns that Syntype computes anew from the file."""
_KEPT = frozenset({"terms", "origin", "licence", "rights_holder", "source_url"})
_SAMPLE = 400


@dataclass
class Meanings:
    """Which column of a table has which meaning.

    Attributes:
        columns: name of the column for each key of ``SYNONYMS``; None: there is none.
        genus: column with the genus, if the species column has the second part of the name alone.
        further: the other columns, and the names under which they are kept.
        notes: sentences on what was decided.
    """

    columns: dict[str, str | None]
    genus: str | None = None
    further: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def plain_name(name: str) -> str:
    """A column name in small letters without prefix, spaces and signs, for comparisons."""
    return re.sub(r"[\W_]+", "", re.sub(r"^\s*[A-Za-z]+:", "", str(name))).casefold()


@cache
def _known(kind: str | None) -> frozenset[str]:
    kinds = SYNONYMS if kind is None else (kind,)
    return frozenset(plain_name(name) for key in kinds for name in SYNONYMS[key]) | (frozenset(NORMAL_NAMES) if kind is None else frozenset())


def known_names(kind: str | None = None) -> frozenset[str]:
    """Names of columns that have a meaning, in the form of ``plain_name``; all, or those of one key of ``SYNONYMS``."""
    return _known(kind)


def find_meanings(frame: pd.DataFrame, path: Path, config: SourceConfig, species_given: bool = False) -> Meanings:
    """Decide what the columns of a table mean.

    Args:
        frame: the table.
        path: its file, for messages.
        config: columns that the user named.
        species_given: the species may be missing, as it is known from elsewhere.

    Raises:
        InputError: a column that was given or is required is not there.
    """
    columns = [str(name) for name in frame.columns]
    asked = {
        "file": config.file_column, "species": config.species_column, "group": config.group_column, "split": config.split_column,
        "licence": config.licence_column, "box": config.box_column,
    }  # fmt: skip
    meanings = Meanings({})
    for key in SYNONYMS:
        taken = set() if key == "source_url" else {column for other, column in meanings.columns.items() if column and other != key}
        meanings.columns[key] = _choose(frame, path, columns, key, asked.get(key), taken, meanings.notes, species_given)
    _check_species(frame, columns, meanings, asked["species"])
    if (origin := meanings.columns["origin"]) is not None and not {cell.lower() for cell in _sample(frame, origin)} <= {"real", "synthetic"}:
        meanings.columns["origin"] = None  # a country, for example
    if asked["split"] is None:
        _check_split(frame, meanings)
    used = {column for column in meanings.columns.values() if column}
    meanings.further = _further([column for column in columns if column not in used], used, meanings)
    return meanings


def _choose(
    frame: pd.DataFrame, path: Path, columns: list[str], key: str, asked: str | None, taken: set[str], notes: list[str], species_given: bool
) -> str | None:
    if asked is not None:
        if asked in columns:
            return asked
        close = [column for column in columns if plain_name(column) == plain_name(asked)]
        if len(close) == 1:
            return close[0]
        raise InputError(f"has no column {asked!r}; its columns are: {_shown(columns)}", f"Give one of these with --{_option(key)}.", file=path)
    by_name: dict[str, str] = {}
    for column in columns:
        by_name.setdefault(plain_name(column), column)
    found = [by_name[plain] for name in SYNONYMS[key] if (plain := plain_name(name)) in by_name and by_name[plain] not in taken]
    found = list(dict.fromkeys(found))
    if key == "species" and {"kingdom", "phylum", "order", "family"} & by_name.keys():
        found = [column for column in found if plain_name(column) != "class"]  # the rank between phylum and order
    if not found:
        if key == "file" or (key == "species" and not species_given):
            if key == "species" and {"genus", "specificepithet"} <= by_name.keys():
                return by_name["specificepithet"]
            raise InputError(
                f"has no column that names the {key}; its columns are: {_shown(columns)}", f"Name one of these with --{_option(key)}.", file=path
            )
        return None
    chosen = _best(frame, key, found)
    others = [column for column in found if column != chosen and not (key == "species" and plain_name(column) in map(plain_name, _LAST))]
    if others and key in ("file", "species", "group", "split", "licence", "box"):
        notes.append(f"the {key} is taken from the column {chosen!r}, not from {_shown(others, 3)} (--{_option(key)} names another)")
    return chosen


def _best(frame: pd.DataFrame, key: str, found: Sequence[str]) -> str:
    """Of several columns the first whose cells are of the right kind, or else the first."""
    for column in found:
        cells = _sample(frame, column)
        if key == "file":
            right = sum(map(looks_like_file, cells)) > 0.5 * len(cells)
        elif key == "species":
            right = any(re.search(r"[^\W\d_]", cell) for cell in cells)
        elif key == "split":
            right = sum(cell.lower() in SPLIT_WORDS for cell in cells) > 0.5 * len(cells)
        else:
            right = True
        if right and cells:
            return column
    return found[0]


def _sample(frame: pd.DataFrame, column: str) -> list[str]:
    cells = (str(cell).strip() for cell in frame[column].head(_SAMPLE).tolist() if cell is not None)
    return [cell for cell in cells if cell.lower() not in _NULLS]


def _check_species(frame: pd.DataFrame, columns: list[str], meanings: Meanings, asked: str | None) -> None:
    chosen = meanings.columns["species"]
    if chosen is None:
        return
    cells = _sample(frame, chosen)
    genus = next((column for column in columns if plain_name(column) == "genus"), None)
    if genus is not None and asked is None and cells and sum(_EPITHET.fullmatch(cell) is not None for cell in cells) > 0.9 * len(cells):
        meanings.genus = genus
        meanings.notes.append(f"the species is put together from the columns {genus!r} and {chosen!r}")
    if asked is None and plain_name(chosen) in map(plain_name, _LAST):
        meanings.notes.append(f"the species is taken from the column {chosen!r}, as no column has scientific names")
    if asked is None and cells and all(re.fullmatch(r"-?[\d.]+", cell) for cell in cells):
        meanings.notes.append(f"the species in the column {chosen!r} are numbers (--species-column names another)")


def _check_split(frame: pd.DataFrame, meanings: Meanings) -> None:
    """A column that was not asked for is the author's split only if most of its words are splits."""
    column = meanings.columns["split"]
    if column is None:
        return
    words = Counter(str(cell).strip().lower() for cell in frame[column].tolist() if cell is not None and cell == cell)
    words = Counter({word: number for word, number in words.items() if word not in _NULLS})
    known = sum(number for word, number in words.items() if word in SPLIT_WORDS)
    sure = plain_name(column) in ("split", "subset", "partition", "datasplit", "splitname", "datasetsplit")
    if not known or (not sure and known <= 0.5 * sum(words.values())):
        meanings.columns["split"] = None
        if sure and words:
            shown = ", ".join(word[:20] for word, _ in words.most_common(3))
            meanings.notes.append(f"the column {column!r} ({shown}) does not say train, val or test: it is not used as the split")


def _further(rest: Iterable[str], used: set[str], meanings: Meanings) -> dict[str, str]:
    """The names under which the other columns are kept: their own, unless Syntype has a column of this name."""
    rest = list(rest)
    names: dict[str, str] = {}
    taken = set(COLUMNS) | set(rest)
    lost = []
    for column in rest:
        normal = NORMAL_NAMES.get(plain_name(column))
        if normal is not None and normal != column and normal not in taken:
            name = normal
        elif column in COLUMNS and column not in _KEPT:
            if column in _MEASURES:
                continue
            name = f"source_{column}"
        else:
            name = column
        if column == "origin" or (column in _KEPT and meanings.columns.get(column)):
            name = f"source_{column}"
        while name in names.values() or (name != column and name in rest):
            name = f"{name}_2"
        if name.startswith("source_") and name != column:
            lost.append(column)
        taken.add(name)
        names[column] = name
    if lost:
        meanings.notes.append(f"kept under other names, as a collection has columns of these: {_shown(lost)} (source_{lost[0]} ...)")
    return names


def _option(key: str) -> str:
    return f"{key}-column"


def _shown(columns: Sequence[str], most: int = 20) -> str:
    """Names of columns for a message, never more than a few lines."""
    names = [name if len(name) <= 40 else f"{name[:37]}…" for name in map(str, columns)]
    return ", ".join(names[:most]) + (f", … ({len(names) - most} more)" if len(names) > most else "")

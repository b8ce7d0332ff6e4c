"""Collections as the Studio shows them: an in-memory index of a few columns, which is filtered and paged.

An index takes about 170 bytes an image, and the catalogue keeps the most recently used ones, so memory stays bounded. An index is read
again when the collection's table has changed on disk.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from syntype.apps.web.checks import REFUSALS, thresholds
from syntype.apps.web.finding import order, searched
from syntype.apps.web.languages import gettext
from syntype.collection import Collection
from syntype.collection.columns import COLUMNS, TABLE
from syntype.collection.experts import check_outcomes
from syntype.collection.prompts import common_names_of
from syntype.errors import CollectionError, UnknownNameError, require_known
from syntype.files import read_json_object

__all__ = ["FILTERS", "OFFERED", "Catalogue", "Index", "Summary"]

FILTERS = ("species", "split", "licence", "origin", "verdict", "reason")
"""Columns by which images can be filtered; the word ``none`` asks for those without a value."""
_READ = (*FILTERS, "image_id", "file_name", "group", "width", "height", "sha256", "box", "duplicate_of", "nearest_real_id", "nearest_real_distance")
_MEASURED = {"margin": (pa.float64(), float), "typicality": (pa.float64(), float), "looks_like": (pa.string(), str)}
"""Further columns, which the automatic check writes."""
_REPEATED = {*FILTERS, "group", "looks_like", "check"}
"""Columns with few different values, each of which is kept once."""
_SUMMED = ("species", "origin", "verdict", "image_id", "sha256")
_KEPT = 6
"""Indexes, of which one of 50,000 images takes 12 MB."""
_KEPT_RESULTS = 4
_COVER = 4
_CHECK = "check"
OFFERED = "offered"
"""Value of the filter ``check`` that asks for the images that the automatic check did not refuse."""
_NONE = "none"


@dataclass(frozen=True)
class Index:
    """The columns of one collection that the Studio needs.

    Attributes:
        root: the collection's folder.
        table: one row an image, in the order of the collection.
        stamp: what the file was when it was read.
        common_names: of the species that have one.
    """

    root: Path
    table: pa.Table
    stamp: tuple[int, int] = field(repr=False)
    common_names: dict[str, str] = field(default_factory=dict, repr=False)
    _found: OrderedDict[tuple[tuple[str, str], ...], pa.Array] = field(default_factory=OrderedDict, repr=False, compare=False)

    @property
    def num_images(self) -> int:
        """Rows."""
        return int(self.table.num_rows)

    @cached_property
    def facets(self) -> dict[str, dict[str, int]]:
        """For every filter its values and how many images have each, commonest first."""
        return {name: self.count(name) for name in FILTERS}

    @cached_property
    def content(self) -> str:
        """Sixteen hex digits that change when the images, their species or their groups change."""
        digest = hashlib.sha256()
        for name in ("image_id", "species", "sha256", "group"):
            digest.update("\0".join("\1" if value is None else value for value in self.table[name].to_pylist()).encode())
            digest.update(b"\2")
        return digest.hexdigest()[:16]

    @cached_property
    def thresholds(self) -> dict[str, Any]:
        """Those of the automatic check; see ``checks.thresholds``."""
        return thresholds(read_json_object(self.root / "collection.json"))

    def count(self, name: str) -> dict[str, int]:
        """A column's values and how many images have each, commonest first."""
        counts = [(item["values"], item["counts"]) for item in self.table[name].value_counts().to_pylist()]
        return {_NONE if value is None else value: number for value, number in sorted(counts, key=lambda pair: (-pair[1], str(pair[0])))}

    def matching(self, chosen: dict[str, str]) -> pa.Array:
        """Positions of the images that fit every filter and have every word of the query.

        Args:
            chosen: values of ``FILTERS``; ``query``, see ``searched``; ``sort``, see ``order``, without which positions ascend.
        """
        key = tuple(sorted(chosen.items()))
        if (known := self._found.get(key)) is not None:
            return known
        filters = {name: value for name, value in chosen.items() if name not in ("query", "sort")}
        mask = pa.scalar(True) if "query" not in chosen else searched(self.table, self.root, chosen["query"])
        for name, value in filters.items():
            require_known("filter", [name], (*FILTERS, _CHECK))
            column = self.table[name]
            if name == _CHECK and value == OFFERED:
                mask = pc.and_(mask, pc.invert(pc.is_in(column, value_set=pa.array(REFUSALS))))
                continue
            fits = pc.is_null(column) if value == _NONE else pc.fill_null(pc.equal(column, value), False)
            mask = pc.and_(mask, fits)
        found = pa.array(range(self.num_images), pa.int64()) if isinstance(mask, pa.Scalar) else pc.indices_nonzero(mask)
        if "sort" in chosen:
            found = order(self.table, self.root, found, chosen["sort"])
        self._found[key] = found
        while len(self._found) > _KEPT_RESULTS:
            with suppress(KeyError):  # another thread was quicker
                self._found.popitem(last=False)
        return found

    def having(self, column: str) -> pa.Array:
        """Positions of the images that have a value in a column, ascending."""
        return pc.indices_nonzero(pc.is_valid(self.table[column]))

    def rows(self, positions: Any) -> list[dict[str, Any]]:
        """The images at some positions, as plain values, ``position`` among them."""
        positions = positions if isinstance(positions, (pa.Array, pa.ChunkedArray)) else pa.array(positions, pa.int64())
        found = self.table.take(positions).to_pylist()
        return [{"position": position, **row} for position, row in zip(positions.to_pylist(), found, strict=True)]

    def image(self, image_id: str) -> dict[str, Any]:
        """One image.

        Raises:
            UnknownNameError: the collection has none of this name.
        """
        if (position := self.position(image_id)) is None:
            raise UnknownNameError(f"image of {self.root.name}", image_id[:80], ())
        return self.rows([position])[0]

    def images(self, image_ids: list[str]) -> list[dict[str, Any]]:
        """Several images, in their order.

        Raises:
            UnknownNameError: the collection has none of one of these names.
        """
        found = pc.index_in(pa.array(image_ids, self.table["image_id"].type), value_set=self.table["image_id"])
        if found.null_count:
            raise UnknownNameError(f"image of {self.root.name}", image_ids[pc.index(found.is_null(), True).as_py()][:80], ())
        return self.rows(found.cast(pa.int64()))

    def position(self, image_id: str) -> int | None:
        """Where an image is in the order of the collection; None where it is not. (A search takes less than a millisecond, and no memory.)"""
        found = pc.index(self.table["image_id"], pa.scalar(image_id, self.table["image_id"].type)).as_py()
        return None if found < 0 else int(found)

    def file(self, image: dict[str, Any]) -> Path:
        """The file of an image, which lies inside the collection whatever the table says.

        Raises:
            CollectionError: it is missing, or the table points elsewhere.
        """
        root, path = self.root.resolve(), (self.root / str(image["file_name"])).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise CollectionError(
                gettext(
                    "collection {name}: the file of image {image} is missing. Put it back, or import again.",
                    name=repr(self.root.name),
                    image=image["image_id"],
                )
            )
        return path


@dataclass(frozen=True)
class Summary:
    """What a list of collections says of one: a few hundred bytes, however many images it has.

    Attributes:
        origins, verdicts: values and how many images have each.
        cover: image_id and sha256 of some images, of different species where there are several.
    """

    num_images: int
    num_species: int
    origins: dict[str, int]
    verdicts: dict[str, int]
    cover: tuple[tuple[str, str | None], ...]


class Catalogue:
    """The indexes used last, and summaries of all. Safe to use from several threads."""

    def __init__(self) -> None:
        self._indexes: OrderedDict[Path, Index] = OrderedDict()
        self._summaries: dict[Path, tuple[tuple[int, int], Summary]] = {}
        self._lock = threading.Lock()

    def index(self, folder: Path) -> Index:
        """The index of a collection as it is on the disk now.

        Raises:
            CollectionError: the collection is damaged.
        """
        with _readable(folder), self._lock:
            stamp = _stamp(folder)
            known = self._indexes.get(folder)
            if known is None or known.stamp != stamp:
                known = _index(folder, stamp)
                _give_back()
            self._indexes[folder] = known
            self._indexes.move_to_end(folder)
            while len(self._indexes) > _KEPT:
                self._indexes.popitem(last=False)
            return known

    def summary(self, folder: Path) -> Summary:
        """What a list says of a collection; its table is read only when it has changed, and is not kept.

        Raises:
            CollectionError: the collection is damaged.
        """
        with _readable(folder):
            stamp = _stamp(folder)
            known = self._summaries.get(folder)
            if known is not None and known[0] == stamp:
                return known[1]
            index = self._indexes.get(folder)
            if index is None or index.stamp != stamp:
                index = Index(folder, _columns(_open(folder), _SUMMED), stamp)
                _give_back()
        rows = index.rows(_spread(index.table["species"]))
        cover = tuple((row["image_id"], row["sha256"]) for row in rows)
        species = index.count("species").keys() - {_NONE}
        summary = Summary(index.num_images, len(species), index.count("origin"), index.count("verdict"), cover)
        self._summaries[folder] = (stamp, summary)
        return summary


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Turn errors while reading a collection's table into ``CollectionError``."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise CollectionError(
            gettext("collection {name}: its table cannot be read ({error}). Import it again.", name=repr(folder.name), error=type(error).__name__)
        ) from None


def _stamp(folder: Path) -> tuple[int, int]:
    """What changes when the table or the description is written again."""
    states = [(folder / name).stat() for name in (TABLE, "collection.json")]
    return sum(state.st_mtime_ns for state in states), sum(state.st_size for state in states)


def _spread(species: pa.ChunkedArray) -> list[int]:
    """Positions of the first image of each of the first species, filled up with the next images where there are few."""
    images = pa.table({"species": species.combine_chunks().indices, "position": pa.array(range(len(species)))})
    first = sorted(images.group_by("species").aggregate([("position", "min")])["position_min"].to_pylist())[:_COVER]
    return sorted(list(dict.fromkeys([*first, *range(min(len(species), 2 * _COVER))]))[:_COVER])


def _open(folder: Path) -> Collection:
    """A collection, checked as every command checks it."""
    return Collection.open(folder, hashes=False)


def _columns(collection: Collection, names: tuple[str, ...]) -> pa.Table:
    kinds = {"Float64": pa.float64(), "Int32": pa.int32(), "string": pa.string()}
    columns = {name: pa.array(collection.table[name], type=kinds[COLUMNS[name]]) for name in names}
    return pa.table({name: _short(name, column) for name, column in columns.items()}).combine_chunks()


def _short(name: str, column: pa.Array) -> pa.Array:
    return column.dictionary_encode() if name in _REPEATED else column


def _index(folder: Path, stamp: tuple[int, int]) -> Index:
    collection = _open(folder)
    found = _columns(collection, _READ)
    for name, (kind, python) in _MEASURED.items():  # a column of this name in another's table may hold anything
        if name in collection.table:
            fitting = pa.array([value if isinstance(value, python) and value == value else None for value in collection.table[name].tolist()], kind)
        else:
            fitting = pa.nulls(len(collection), kind)
        found = found.append_column(name, _short(name, fitting))
    found = found.append_column(_CHECK, _short(_CHECK, pa.array(check_outcomes(collection.table), pa.string())))
    return Index(folder, found, stamp, common_names_of(collection.table))


def _give_back() -> None:
    """Return to the system what reading a table took beyond what is kept; otherwise it stays with the process."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL(None).malloc_trim(0)

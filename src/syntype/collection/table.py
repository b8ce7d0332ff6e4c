"""The Collection: one table of images and the folder that contains them.

    FOLDER/
      metadata.parquet   one row per image; ``file_name`` is relative to the folder, so that the Hugging Face
                         ``imagefolder`` loader can open the folder
      images/            the image files, copied byte for byte
      refused.csv        files that could not be used: file, row, reason, hint
      collection.json    schema version, name, list of species, sources, history
      .cache/            decoded pixels; can be deleted

Missing values are null, never an empty string.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from syntype.collection.columns import SPLITS, TABLE, check_table, check_vocabulary, conform
from syntype.collection.hashes import fill_hashes
from syntype.collection.pixels import iterate_pixels, read_pixels
from syntype.errors import CollectionError, InputError, require_kind, require_known, shortened
from syntype.files import atomic_write, inside, write_json

__all__ = ["SCHEMA_VERSION", "Collection", "number_groups"]

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Collection:
    """A folder of images and the table that describes them. Selections are views of the same folder.

    A table with wrong values (a species that is not in the vocabulary, an unknown split, an id that occurs twice, a path out of the folder) is
    refused with ``CollectionError``, whether it is read, written or given.

    Attributes:
        root: the folder.
        table: one row per image, columns as in ``COLUMNS``, index 0..num_images-1.
        species: all species names, in a fixed order; ``labels()`` gives positions in it.
        info: the other content of ``collection.json`` (name, sources, history).

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"file_name": ["images/1.png", "images/2.png"], "species": ["Aus primus", None]})
        >>> collection = Collection.create("fish", table.assign(split=["train", "test"]))
        >>> len(collection), collection.counts(), collection.labels().tolist()
        (2, {'Aus primus': 1}, [0, -1])
        >>> collection.select(split="train").table["file_name"].tolist()
        ['images/1.png']
    """

    root: Path
    table: pd.DataFrame
    species: tuple[str, ...]
    info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Convert the columns to their types, and check the values."""
        require_kind(self.root, (str, os.PathLike), "the folder of a collection", "Give its path as a text.")
        require_kind(self.table, pd.DataFrame, "the table of a collection", "Give a pandas.DataFrame with a row for each image.")
        root, species = Path(self.root), check_vocabulary(self.species, self.root)
        table = conform(self.table, root)
        check_table(table, species, root)
        for name, kind in (("name", str), ("sources", list), ("history", list)):
            if not isinstance(self.info.get(name, kind()), kind):
                raise CollectionError(f"{root}: {name} in collection.json is not a {'text' if kind is str else 'list'}. Correct it, or remove it.")
        for attribute, value in (("root", root), ("species", species), ("table", table)):
            object.__setattr__(self, attribute, value)

    @classmethod
    def open(cls, folder: Path | str, *, hashes: bool = True) -> Collection:
        """Open a collection.

        Args:
            folder: the collection's folder.
            hashes: compute hashes that the table lacks from the image files (columns ``sha256`` and ``phash``). False: leave them null.

        Raises:
            CollectionError: the folder is not a collection, is damaged, has another schema version, or its table has a wrong value.
        """
        require_kind(folder, (str, os.PathLike), "the folder of a collection", "Give its path as a text.")
        root = Path(folder)
        if not (root / "collection.json").is_file() or not (root / TABLE).is_file():
            raise CollectionError(
                f"{root}: is not a collection (no collection.json and metadata.parquet). Make one with: syntype collect SOURCE --out {root}"
            )
        hint = "Make it again with: syntype collect SOURCE --out NEW_FOLDER"
        try:
            info = json.loads((root / "collection.json").read_text(encoding="utf-8"))
            version = info.pop("schema_version", None)
            species = info.pop("species") if version == SCHEMA_VERSION else ()
        except (ValueError, OSError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CollectionError(f"{root / 'collection.json'}: is damaged ({type(error).__name__}: {_brief(error)}). {hint}") from None
        if version != SCHEMA_VERSION:
            raise CollectionError(f"{root}: has schema version {version}; this Syntype reads {SCHEMA_VERSION}. Update Syntype.")
        try:
            table = pd.read_parquet(root / TABLE)
        except Exception as error:  # pyarrow raises anything on damaged bytes; the error concerns this file only
            raise CollectionError(f"{root / TABLE}: is damaged ({type(error).__name__}: {_brief(error)}). {hint}") from None
        collection = cls(root, table, species, info)
        return collection.hashed() if hashes else collection

    @classmethod
    def create(
        cls,
        folder: Path | str,
        table: pd.DataFrame,
        *,
        name: str | None = None,
        species: Iterable[str] | None = None,
        sources: Sequence[Any] = (),
        history: Sequence[Any] = (),
    ) -> Collection:
        """Write the table and ``collection.json`` of a collection whose image files are already in ``folder``.

        Hashes that the table lacks stay null; ``hashed`` and ``open`` compute them.

        Args:
            species: all species names, in order. Default: the species of the table, sorted.
            sources: where the images come from (paths, URLs, notices).
            history: the steps that made this collection, oldest first; each entry can be written as JSON.

        Raises:
            CollectionError: the table or the list of species has a wrong value; nothing is written.
        """
        require_kind(folder, (str, os.PathLike), "the folder of a collection", "Give its path as a text.")
        require_kind(table, pd.DataFrame, "the table of a collection", "Give a pandas.DataFrame with a row for each image.")
        root = Path(folder)
        table = conform(table, root)
        names = tuple(sorted(table["species"].dropna().unique())) if species is None else check_vocabulary(species, root)
        collection = cls(root, table, names, {"name": name or root.name, "sources": list(sources), "history": list(history)})
        root.mkdir(parents=True, exist_ok=True)
        collection.save()
        return collection

    def save(self) -> None:
        """Write ``metadata.parquet`` and ``collection.json``. Each is replaced as a whole: after a crash it is either the old or the new file."""
        with atomic_write(self.root / TABLE) as temporary:
            self.table.to_parquet(temporary, index=False)
        write_json(self.root / "collection.json", {"schema_version": SCHEMA_VERSION, "species": list(self.species), **self.info})

    def __len__(self) -> int:
        return len(self.table)

    @property
    def num_images(self) -> int:
        """Number of rows in the table."""
        return len(self.table)

    @property
    def name(self) -> str:
        """The collection's name. Default: the name of its folder."""
        return str(self.info.get("name", self.root.name))

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change when the images of this collection (or view), or their species, label weights, groups, splits, boxes or
        verdicts change.

        They do not depend on the order of the rows, the names of the files, or the place of the folder.

        Raises:
            CollectionError: an image file without hashes is missing or damaged.
        """
        table = self.hashed().table if self.table["sha256"].isna().any() else self.table
        names: tuple[str, ...] = ("sha256", "species", "group", "split", "box", "verdict")
        if table["label_weights"].notna().any():  # only then, so that other collections keep their fingerprints
            names = (*names, "label_weights")
        columns = (table[name].fillna("").tolist() for name in names)
        return hashlib.sha256("\n".join(sorted(map("|".join, zip(*columns, strict=True)))).encode()).hexdigest()[:16]

    def path(self, row: int) -> Path:
        """The image file of a row (0-based position).

        Raises:
            InputError: the table has no such row, or names a file outside the folder.
        """
        if isinstance(row, bool) or not isinstance(row, (int, np.integer)) or not -len(self.table) <= row < len(self.table):
            raise InputError(f"there is no row {shortened(repr(row))}", f"Give a whole number from 0 to {len(self.table) - 1}.", file=self.root)
        return inside(self.root, str(self.table["file_name"].iloc[row]))

    def labels(self) -> np.ndarray:
        """Position of each image's species in ``species``, -1 for images without a species: int64, shape (num_images,).

        Raises:
            CollectionError: a species is not in ``species``, as its row was changed after the collection was opened.
        """
        names = self.table["species"]
        codes = pd.Index(self.species, dtype="string").get_indexer(pd.Index(names)).astype(np.int64)
        unknown = names[(codes < 0) & names.notna().to_numpy(dtype=bool)]
        if len(unknown):
            raise CollectionError(f"{self.root}: the species {unknown.iloc[0]!r} is not in its list of species. Correct the name, or add it.")
        return codes

    def groups(self) -> np.ndarray:
        """Group number of each image: int64, shape (num_images,), from 0 in order of first appearance. Each image without a group has its own."""
        return number_groups(self.table["group"])

    def counts(self) -> dict[str, int]:
        """Number of images of every species in ``species``, in the same order; 0 for species without images."""
        found = self.table["species"].value_counts()
        return {name: int(found.get(name, 0)) for name in self.species}

    def hashed(self) -> Collection:
        """The same collection with ``sha256`` and ``phash`` in every row. Those that are null are computed from the image files.

        Raises:
            CollectionError: an image file without hashes is missing or damaged.
        """
        return self._with(fill_hashes(self.root, self.table))

    def _with(self, table: pd.DataFrame) -> Collection:
        """The collection with a table that need not be checked."""
        view = copy(self)
        object.__setattr__(view, "table", table)
        return view

    def where(self, mask: np.ndarray | pd.Series) -> Collection:
        """A view of the rows where ``mask`` is true. The mask is bool (or 0 and 1), one value per row; null counts as false.

        Raises:
            InputError: the mask is of another type or length.
        """
        if isinstance(mask, pd.Series):
            mask = mask.fillna(False)
        chosen = np.asarray(mask)
        yes_or_no = chosen.dtype == bool or (chosen.dtype != object and bool(np.isin(chosen, (0, 1)).all()))
        yes_or_no |= chosen.dtype == object and all(isinstance(value, (bool, np.bool_)) for value in chosen.flat)
        if chosen.shape != (len(self.table),) or not yes_or_no:
            told = f"type {chosen.dtype} and shape {chosen.shape}"
            raise InputError(f"the mask has {told}", f"Give one true or false for each of the {len(self.table):,} rows.")
        return self._with(self.table[chosen.astype(bool)].reset_index(drop=True))

    def select(self, *, split: str | Sequence[str] | None = None, species: str | Sequence[str] | None = None, usable: bool = False) -> Collection:
        """A view of the rows of the given split(s) and species. ``species`` is not changed.

        Args:
            usable: leave out images that curation or an expert refused.

        Raises:
            UnknownNameError: unknown split, or a species that is not in ``species``.
            InputError: neither a name nor a list of names.
        """
        mask = np.ones(len(self.table), dtype=bool)
        for column, asked, known, kind in (("split", split, SPLITS, "split"), ("species", species, self.species, "species")):
            if asked is None:
                continue
            if not isinstance(asked, Iterable):
                raise InputError(f"the {kind} to select is {asked!r}", "Give a name, or a list of names.")
            names = [asked] if isinstance(asked, str) else list(asked)
            require_known(kind, names, known)
            mask &= self.table[column].isin(names).to_numpy(dtype=bool)
        if usable:
            mask &= (self.table["verdict"].fillna("accepted") != "refused").to_numpy(dtype=bool)
        return self.where(mask)

    def training(self) -> Collection:
        """The images on which generators, filters and classifiers may be trained: split ``train``, without refused images.

        Raises:
            CollectionError: there are none.
        """
        train = self.select(split="train", usable=True)
        if not len(train):
            raise CollectionError(f"{self.root}: has no images in the split 'train'. Import it again with: syntype collect")
        return train

    def pixels(self, size: int | tuple[int, int]) -> np.ndarray:
        """Decoded images of one size: uint8, shape (num_images, height, width, 3), RGB 0..255. They are decoded once and cached.

        Each shows the whole box (or the whole image, if there is no box). It is padded where needed, and never stretched.

        Args:
            size: side of square images, or height and width, in pixels.

        Raises:
            InputError: the size is not one or two whole numbers from 1 to 16,384.
            CollectionError: an image file is missing or damaged.
        """
        return read_pixels(self.root, self.table, size)

    def iterate_pixels(self, size: int | tuple[int, int], rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Decode the given rows one after another, without the cache: each uint8, shape (height, width, 3).

        Args:
            size: as in ``pixels``.
            rows: int64, positions in the table. Default: all rows.
        """
        return iterate_pixels(self.root, self.table, size, rows)


def number_groups(groups: pd.Series) -> np.ndarray:
    """Number the groups from 0 in order of first appearance: int64. Each null is its own group."""
    codes = pd.factorize(groups)[0].astype(np.int64)
    missing = np.flatnonzero(codes < 0)
    codes[missing] = len(codes) + missing
    return pd.factorize(codes)[0].astype(np.int64)


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]

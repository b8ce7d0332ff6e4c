"""The Collection: one table of images and the folder that holds them.

    FOLDER/
      metadata.parquet   one row an image; ``file_name`` is relative to the folder, so that the Hugging Face
                         ``imagefolder`` loader opens the folder as it is
      images/            the image files, bytes as they came
      refused.csv        files that could not be used: file, row, reason, mend
      collection.json    schema version, name, species vocabulary, sources, history
      .cache/            decoded pixels, safe to delete

Missing values are null, never an empty string.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from syntype.errors import CollectionError, require_known
from syntype.run import replacing, write_json

__all__ = ["COLUMNS", "SCHEMA_VERSION", "SPLITS", "Collection", "conform", "number_groups"]

SCHEMA_VERSION = 1
SPLITS = ("train", "val", "test")

COLUMNS: dict[str, str] = {
    "image_id": "string",  # unique within the collection
    "file_name": "string",  # relative to the collection's folder, with forward slashes
    "species": "string",
    "group": "string",  # observation, specimen or video track: never straddles a split
    "split": "string",  # train | val | test; null for synthetic images
    "width": "Int32",  # pixels, after EXIF rotation
    "height": "Int32",
    "sha256": "string",  # of the file
    "phash": "string",  # 64-bit perceptual hash, 16 hex digits
    "duplicate_of": "string",  # image_id of the first image with the same bytes
    "box": "string",  # JSON [left, top, right, bottom] in pixels after EXIF rotation
    "licence": "string",
    "rights_holder": "string",
    "source_url": "string",
    "terms": "string",
    "origin": "string",  # real | synthetic
    "generator_id": "string",
    "seed": "Int64",
    "controls": "string",  # JSON
    "parents": "string",  # JSON list of image_id
    "nearest_real_id": "string",
    "nearest_real_distance": "Float64",
    "verdict": "string",  # accepted | refused
    "reason": "string",  # copy | species | distribution | expert
    "reviewer": "string",
    "note": "string",  # what a user should know of the import ("animated: the first frame is used")
}
"""Every column of ``metadata.parquet`` and its pandas type. Further columns are kept as they are."""


@dataclass(frozen=True)
class Collection:
    """A folder of images and the table that describes them. Selections are views on the same folder.

    Attributes:
        root: the folder.
        table: one row an image, columns as in ``COLUMNS``, index 0..num_images-1.
        species: the vocabulary, in a fixed order; ``labels()`` index into it.
        info: the content of ``collection.json`` besides the vocabulary (name, sources, history).

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

    @classmethod
    def open(cls, folder: Path | str) -> Collection:
        """Open a collection.

        Raises:
            CollectionError: the folder is not a collection, or is of a newer schema.
        """
        root = Path(folder)
        if not (root / "collection.json").is_file() or not (root / "metadata.parquet").is_file():
            raise CollectionError(
                f"{root}: is not a collection (no collection.json and metadata.parquet). Make one with: syntype collect SOURCE --out {root}"
            )
        mend = "Make it again with: syntype collect SOURCE --out NEW_FOLDER"
        try:
            info = json.loads((root / "collection.json").read_text(encoding="utf-8"))
            version = info.pop("schema_version", None)
            if version == SCHEMA_VERSION:
                species = tuple(info.pop("species"))
                table = pd.read_parquet(root / "metadata.parquet")
        except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
            raise CollectionError(f"{root}: is damaged ({type(error).__name__}: {error}). {mend}") from None
        if version != SCHEMA_VERSION:
            raise CollectionError(f"{root}: has schema version {version}; this Syntype reads {SCHEMA_VERSION}. Update Syntype.")
        return cls(root, conform(table), species, info)

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
        """Write the table and ``collection.json`` of a collection whose images already lie in ``folder``.

        Args:
            species: the vocabulary; by default the species of the table, sorted.
            sources: where the images come from (paths, URLs, notices).
            history: what made this collection, oldest first (one JSON-able entry a step).
        """
        root = Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        table = conform(table)
        names = tuple(sorted(table["species"].dropna().unique())) if species is None else tuple(species)
        collection = cls(root, table, names, {"name": name or root.name, "sources": list(sources), "history": list(history)})
        collection.save()
        return collection

    def save(self) -> None:
        """Write ``metadata.parquet`` and ``collection.json``; a crash leaves the old files or the new ones."""
        with replacing(self.root / "metadata.parquet") as temporary:
            self.table.to_parquet(temporary, index=False)
        write_json(self.root / "collection.json", {"schema_version": SCHEMA_VERSION, "species": list(self.species), **self.info})

    def __len__(self) -> int:
        return len(self.table)

    @property
    def num_images(self) -> int:
        """Rows in the table."""
        return len(self.table)

    @property
    def name(self) -> str:
        """The collection's name, by default that of its folder."""
        return str(self.info.get("name", self.root.name))

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with the images, species or splits of this (view of the) collection."""
        columns = (self.table[name].fillna("").tolist() for name in ("sha256", "species", "split"))
        return hashlib.sha256("\n".join(sorted(map("|".join, zip(*columns, strict=True)))).encode()).hexdigest()[:16]

    def path(self, row: int) -> Path:
        """The image file of a row (0-based position)."""
        return self.root / str(self.table["file_name"].iloc[row])

    def labels(self) -> np.ndarray:
        """Position of each image's species in ``species``: int64, shape (num_images,)."""
        return pd.Categorical(self.table["species"], categories=list(self.species)).codes.astype(np.int64)

    def groups(self) -> np.ndarray:
        """Number of each image's group: int64, shape (num_images,), 0.. by first appearance; an image without a group is one by itself."""
        return number_groups(self.table["group"])

    def counts(self) -> dict[str, int]:
        """Number of images of every species of the vocabulary, in its order (0 where there is none)."""
        found = self.table["species"].value_counts()
        return {name: int(found.get(name, 0)) for name in self.species}

    def where(self, mask: np.ndarray | pd.Series) -> Collection:
        """The view of the rows where ``mask`` (bool, one a row) holds; a null does not."""
        if isinstance(mask, pd.Series):
            mask = mask.fillna(False)
        return replace(self, table=self.table[np.asarray(mask, dtype=bool)].reset_index(drop=True))

    def select(self, *, split: str | Sequence[str] | None = None, species: str | Sequence[str] | None = None, usable: bool = False) -> Collection:
        """The view of the rows of the given split(s) and species; the vocabulary stays.

        Args:
            usable: leave out synthetic rows that curation or an expert refused.

        Raises:
            UnknownNameError: a split or species that the collection does not have.
        """
        mask = np.ones(len(self.table), dtype=bool)
        for column, asked, known, kind in (("split", split, SPLITS, "split"), ("species", species, self.species, "species")):
            if asked is None:
                continue
            names = [asked] if isinstance(asked, str) else list(asked)
            require_known(kind, names, known)
            mask &= self.table[column].isin(names).to_numpy(dtype=bool)
        if usable:
            mask &= (self.table["verdict"].fillna("accepted") != "refused").to_numpy(dtype=bool)
        return self.where(mask)

    def training(self) -> Collection:
        """The images that generators, filters and classifiers may learn from: split ``train``.

        Raises:
            CollectionError: there are none.
        """
        train = self.select(split="train", usable=True)
        if not len(train):
            raise CollectionError(f"{self.root}: has no images in the split 'train'. Import it again with: syntype collect")
        return train

    def pixels(self, size: int | tuple[int, int]) -> np.ndarray:
        """Decoded images of one size, uint8, shape (num_images, height, width, 3), RGB 0..255; decoded once and cached.

        Each keeps the whole box (or image); what it lacks is padded, never stretched.

        Args:
            size: side of square images, or height and width, in pixels.
        """
        from syntype.collection.pixels import read_pixels

        return read_pixels(self, size)


def number_groups(groups: pd.Series) -> np.ndarray:
    """Number groups 0.. by first appearance: int64; each null is a group by itself."""
    keys = [f"={group}" if isinstance(group, str) else str(row) for row, group in enumerate(groups)]
    return pd.factorize(np.array(keys, dtype=object))[0].astype(np.int64)


def conform(table: pd.DataFrame) -> pd.DataFrame:
    """Give the table every column of ``COLUMNS`` with its type (missing ones null), then any further columns."""
    result = pd.DataFrame(index=range(len(table)))
    for column, kind in COLUMNS.items():
        values = table[column].to_numpy(dtype=object, na_value=None) if column in table else [None] * len(table)  # type: ignore[call-overload]
        result[column] = pd.array(values, dtype=kind)  # type: ignore[call-overload, arg-type]
    for column in table.columns:
        if column not in COLUMNS:
            result[column] = table[column].to_numpy()
    return result

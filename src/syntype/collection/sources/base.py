"""What every reader of photographs gives: a listing of the images of one source, before any of them is opened."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from syntype.recipe import Settings

__all__ = ["ARCHIVES", "SIDECARS", "SPLIT_WORDS", "Entry", "Listing", "Packed", "Reader", "Refused", "SourceConfig", "parse_split", "species_name"]

SIDECARS = frozenset(
    {
        ".txt", ".csv", ".tsv", ".json", ".jsonl", ".parquet", ".xml", ".yaml", ".yml", ".md", ".html", ".pdf", ".xmp", ".log", ".py",
        ".ini", ".db", ".zip", ".mat", ".xlsx",
    }
)  # fmt: skip
"""Endings of files that are often found beside photographs. They are skipped without a message, and so are hidden files."""

ARCHIVES = (
    ".zip", ".zipx", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".7z", ".rar", ".tar.zst", ".lzh", ".sit",
)  # fmt: skip
"""Endings of archives, in small letters: those that are opened, and those that are named when they are refused."""

SPLIT_WORDS: Mapping[str, str] = {
    "train": "train", "training": "train", "trn": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "tst": "test",
}  # fmt: skip
"""Words for the splits, in small letters, and the names that Syntype uses."""


class SourceConfig(Settings):
    """How a source is read. What is not given is found from the content."""

    format: str | None = None
    """Name of the reader (``syntype formats`` lists them). Default: the first that recognises the content."""
    species: str | None = Field(None, min_length=1, max_length=300)
    """Species of all images, whatever their folders or tables say. Default: as the source says."""
    file_column: str | None = None
    """Column with the path of the image."""
    species_column: str | None = None
    """Column with the species."""
    group_column: str | None = None
    """Column with the observation, specimen or video track. All images of one group go into the same split."""
    split_column: str | None = None
    """Column with the author's split: train, val or test."""
    licence_column: str | None = None
    """Column with the licence."""
    box_column: str | None = None
    """Column with the bounding box."""
    box_format: Literal["corners", "size"] | None = None
    """What the four numbers of a box are: ``corners`` is left, top, right, bottom; ``size`` is left, top, width, height. In pixels of the image after
    EXIF rotation. Default: what the format prescribes; in other tables ``corners``."""
    splits: dict[Literal["train", "val", "test"], str] = Field(default_factory=dict)
    """Tables for single splits, as paths from the source folder (data sets with one table a split)."""
    images: str | None = None
    """Folder with the image files, if they do not lie beside the table."""
    licences: list[str] | None = None
    """Licences of the images that are wanted, such as "CC0" or "CC BY 4.0"; one without a version stands for all its versions. Default: all images,
    also those without a licence."""
    max_per_species: int | None = Field(None, ge=1)
    """Largest number of images of one species: first one of each observation, then a second one of each, and so on. Default: all."""
    boxes: str | None = None
    """MegaDetector file whose boxes are laid over the images of the source."""
    min_confidence: float = Field(0.2, ge=0, le=1)
    """Smallest confidence of a MegaDetector box that is used. 0.2 is the threshold that MegaDetector 5 recommends."""
    names: str | None = None
    """Checklist that gives accepted names and ranks: a table or a folder with ``taxon.txt`` (Darwin Core, WoRMS, Catalogue of Life, or two columns:
    name and accepted name), or ``gbif`` to ask GBIF over the internet."""
    rename: dict[str, str] = Field(default_factory=dict)
    """New names of species, by the names that the preview shows. Species that get the same name become one."""
    leave_out: list[str] = Field(default_factory=list)
    """Species that are not imported, by the names that the preview shows."""
    default_licence: str | None = Field(None, min_length=1, max_length=300)
    """Licence of the images of which the source gives none."""
    default_rights_holder: str | None = Field(None, min_length=1, max_length=300)
    """Photographer or institution that holds the rights in the images of which the source names none."""
    box_corrections: str | None = None
    """JSON file with the boxes that were corrected: for the path of a photograph from the source on, all its animals (``box_corrections.Animal``)."""


@dataclass(frozen=True)
class Packed:
    """An image that is not a file of its own, such as a cell of a Parquet table.

    Attributes:
        name: what the image is called, for messages and the collection.
        read: gives the bytes of the image file; may be called from several threads.
    """

    name: str
    read: Callable[[], bytes]

    def __str__(self) -> str:
        return self.name

    @property
    def stem(self) -> str:
        """The name without folders and ending."""
        return Path(self.name.replace("\\", "/")).stem


@dataclass(frozen=True)
class Entry:
    """One image to import, or one animal of it: several boxes in one photograph are several entries with one group.

    Attributes:
        image: the file; relative to nothing, it can be opened as it is.
        species: species name in Unicode NFC, without spaces at the ends. None only in collections made by Syntype.
        row: row of the table, counted from 1 below the header, or number of the annotation; None if the source is a folder.
        table: name of the table that has the row, if the source has several.
        group: observation, specimen, sequence or video track.
        split: the author's split: ``train``, ``val`` or ``test``.
        box: left, top, right, bottom in pixels of the upright image; not yet checked against the size of the image.
        box_shares: ``box`` is in shares of the width and height (0..1) instead of pixels.
        box_frame: width and height in pixels of the image on which the box was drawn, if the source says so. The box is turned or scaled to the
            upright image if that differs (see ``boxes.fit_box``).
        note: what the user should know of this image.
        values: further values by column: those of ``columns.COLUMNS`` that the source knows (licence, rights_holder, source_url, terms, origin,
            verdict, ...), and all other columns of the source under their own names.
        original_name: path of the file as the source calls it, with forward slashes.
        url: where the image can be downloaded from, if the source has no file of it; then ``image`` is where the download will lie.
    """

    image: Path | Packed
    species: str | None
    row: int | None = None
    table: str | None = None
    group: str | None = None
    split: str | None = None
    box: tuple[float, float, float, float] | None = None
    box_shares: bool = False
    box_frame: tuple[int, int] | None = None
    note: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    original_name: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Refused:
    """A file or row that cannot be used, with the reason and a hint on what to do. Reasons are few and short, so that they can be counted."""

    file: str
    row: int | None
    reason: str
    hint: str


@dataclass(frozen=True)
class Listing:
    """What a source holds. Every row or file of it is one item: an entry, or refused.

    Attributes:
        format: what was recognised, for a sentence ("GBIF download", "folder with a sub-folder for each species").
        items: entries and refused items, in the order of the source.
        notes: sentences on what was found and decided ("columns are separated by semicolons", "splits are the author's").
        origins: where the images come from, for ``collection.json``: the path, citation, DOI, ...
        species: all species names in order, if the source prescribes them; else those of the entries, sorted.
        info: further content of ``collection.json`` that a collection made by Syntype brings along (name, history).
        whole: a collection of Syntype, which is taken over as it is: no splits are drawn where it has none.
    """

    format: str
    items: Sequence[Entry | Refused]
    notes: Sequence[str] = ()
    origins: Sequence[Any] = ()
    species: tuple[str, ...] | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = False

    @property
    def entries(self) -> list[Entry]:
        """The items that can be imported."""
        return [item for item in self.items if isinstance(item, Entry)]

    @property
    def refused(self) -> list[Refused]:
        """The items that cannot."""
        return [item for item in self.items if isinstance(item, Refused)]


@dataclass(frozen=True)
class Reader:
    """A reader of one format. Each module of ``sources`` has one, called ``READER``.

    Attributes:
        name: for ``--format`` ("coco").
        title: one line for lists ("COCO and COCO-CameraTraps JSON").
        recognises: whether a path (file or folder) is of this format. It looks at the content as far as needed, is fast, and raises nothing on
            other content.
        read: lists the images. Raises ``InputError`` with one clear line if the source is damaged or lacks what is needed.
    """

    name: str
    title: str
    recognises: Callable[[Path, SourceConfig], bool]
    read: Callable[[Path, SourceConfig], Listing]


def species_name(text: str) -> str:
    """A species name in a standard form: Unicode NFC, single spaces, no spaces at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def parse_split(text: str | None) -> str | None:
    """The split that a word of the source means: ``train``, ``val`` or ``test``; None if it is none of ``SPLIT_WORDS``."""
    return None if text is None else SPLIT_WORDS.get(text.strip().lower())

"""What an upload holds, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from syntype.apps.web.refusals import RefusedFile
from syntype.collection.archives import KEPT, TABLES
from syntype.collection.sources.base import SPLIT_WORDS, species_name

__all__ = ["Stock", "UploadResult", "UploadState", "is_image"]


def is_image(path: Path) -> bool:
    """Whether a file of an upload is a photograph, by its ending: whatever else is kept has one of ``KEPT``."""
    return path.suffix.lower() not in KEPT


@dataclass(frozen=True)
class UploadResult:
    """Result of one sent file: number of accepted images, and the refused files of a zip."""

    num_taken: int
    refused: tuple[RefusedFile, ...] = ()


@dataclass(frozen=True)
class UploadState:
    """What an upload holds: number of images and of tables, of each species if its folders tell, and what was refused so far.

    ``typed``: species that the sender gave for photographs that lie in folders, which may say something else.
    """

    num_images: int
    num_tables: int
    species: dict[str, int]
    refused: tuple[RefusedFile, ...]
    typed: str | None = None


@dataclass
class Stock:
    """What an upload holds. Counted once and then kept up to date, as its folder may have twenty thousand files.

    Attributes:
        folders: number of images in each folder, which is given by its path from the upload.
        tables: paths of tables, from the upload.
        num_notes: number of other files.
        num_said: photographs of which the sender said the species.
        num_bytes: size of all files.
        copies: for each folder and file name in small letters, the highest number that was appended to it.
    """

    folders: Counter[str] = field(default_factory=Counter)
    tables: set[str] = field(default_factory=set)
    num_notes: int = 0
    num_said: int = 0
    num_bytes: int = 0
    copies: Counter[tuple[str, str]] = field(default_factory=Counter)

    @classmethod
    def count(cls, folder: Path) -> Stock:
        """What lies in the folder of an upload."""
        stock = cls()
        for path in folder.rglob("*"):
            parts = path.relative_to(folder).parts
            if not any(part.startswith(".") for part in parts) and path.is_file():
                stock.add(Path(*parts), path.stat().st_size)
        return stock

    def add(self, path: Path, size: int) -> None:
        """Count a file, given by its path from the upload."""
        self.num_bytes += size
        if is_image(path):
            self.folders[path.parent.as_posix()] += 1
        elif path.suffix.lower() in TABLES:
            self.tables.add(path.as_posix())
        else:
            self.num_notes += 1

    @property
    def num_files(self) -> int:
        """All files."""
        return self.folders.total() + len(self.tables) + self.num_notes

    def species(self) -> dict[str, int]:
        """Images of each species, where only folders of species hold images; empty where it takes a reader to tell."""
        names = list(self.folders)
        if self.tables or any("/" in name or name == "." or name.lower() in SPLIT_WORDS for name in names):
            return {}
        counts: Counter[str] = Counter()
        for name, number in self.folders.items():
            counts[species_name(name.replace("_", " "))] += number
        return dict(sorted(counts.items()))

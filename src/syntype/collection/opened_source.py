"""A source that may be an archive, as a folder that readers of formats open."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from syntype.collection.archives import ArchiveLimits, is_archive, unpack
from syntype.collection.sources import Entry, Listing, Refused, SourceConfig, read_source
from syntype.errors import InputError
from syntype.run import Run

__all__ = ["OpenedSource", "opened_source"]

_HEADS = ArchiveLimits(head_bytes=1 << 16, num_heads=2000)
"""For a preview: the beginnings of some photographs, which have their sizes and marks, and of the others the names."""


class OpenedSource:
    """The listing of a source, and how its files are called.

    Attributes:
        listing: what the source holds; its texts name files of an archive by their paths inside it.
    """

    def __init__(self, listing: Listing, folder: Path | None, source: Path) -> None:
        self._folder, self._source = folder, source
        if folder is None:
            self.listing = listing
            return
        notes = [self.told(note) for note in listing.notes]
        items: list[Entry | Refused] = [replace(item, file=self.told(item.file)) if isinstance(item, Refused) else item for item in listing.items]
        self.listing = replace(listing, items=items, notes=notes, origins=[self._origin(origin) for origin in listing.origins])

    def told(self, text: str) -> str:
        """A text in which files of an archive have their paths inside it."""
        return text if self._folder is None else _told(text, self._folder, self._source)

    def _origin(self, origin: Any) -> Any:
        if isinstance(origin, dict):
            return {key: self._origin(value) for key, value in origin.items()}
        return origin.replace(str(self._folder), str(self._source)) if isinstance(origin, str) else origin


def _told(text: str, folder: Path, source: Path) -> str:
    return text.replace(f"{folder}/", "").replace(str(folder), str(source))


@contextmanager
def opened_source(source: Path, config: SourceConfig, scratch: Path | None = None, run: Run | None = None) -> Iterator[OpenedSource]:
    """List the images of a source. An archive is unpacked first; what was unpacked is deleted when this ends.

    Args:
        source: a folder, a file or an archive.
        config: how it is read.
        scratch: where an archive is unpacked. None: for a preview, only the beginnings of some photographs, in a temporary folder.
        run: shows progress.

    Raises:
        InputError: the source or the archive is missing, damaged, of no known format, or has nothing to import; ``read_source`` says more.
    """
    if not is_archive(source):
        yield OpenedSource(read_source(source, config), None, source)
        return
    run = run or Run.silent()
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=scratch) as made:
        folder = Path(made) / "source"
        with run.progress("unpacking") as bar:
            unpacked = unpack(source, folder, ArchiveLimits() if scratch is not None else _HEADS, advance=bar.advance)
        run.say(f"unpacked {len(unpacked.images):,} images and {len(unpacked.tables):,} other files")
        try:
            listing = read_source(folder, config)
        except InputError as error:
            reason, hint = (_told(text, folder, source) for text in (error.reason, error.hint))
            file = None if error.file is None else str(error.file).replace(str(folder), str(source))
            raise type(error)(reason, hint, file=file, row=error.row) from None
        known = {item.file for item in listing.items if isinstance(item, Refused)}
        refused = [item for item in unpacked.refused if item.file not in known]
        yield OpenedSource(replace(listing, items=[*listing.items, *refused]), folder, source)

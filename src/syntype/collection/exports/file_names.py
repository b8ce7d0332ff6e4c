"""Names of the files in an export: readable, different also where case is ignored, and allowed on every operating system."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from PIL import Image

from syntype.collection.table import Collection

__all__ = ["FileNames", "keep_names", "name_rows", "plain_name", "readable_stem"]

_LONGEST = 80
"""Bytes. A folder and a file of this length fit into the 260 characters that some programs on Windows allow for a path."""
_WINDOWS = frozenset({"con", "prn", "aux", "nul", "conin$", "conout$", *(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³")})
_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp"})
_ENDING_OF = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "GIF": ".gif", "BMP": ".bmp"}


def plain_name(text: str) -> str:
    """Keep letters, digits, hyphens and underscores, at most 80 bytes: a name that every system takes. Empty if nothing is left.

    Example:
        >>> plain_name("Aus primus (juv.) 1/2"), plain_name("aux"), plain_name("…")
        ('Aus_primus_juv_1_2', 'aux_', '')
    """
    kept = re.sub(r"[^\w-]+", "_", unicodedata.normalize("NFC", text)).strip("_-")
    kept = kept.encode("utf-8")[:_LONGEST].decode("utf-8", "ignore").strip("_-")
    return f"{kept}_" if kept.lower() in _WINDOWS else kept


class FileNames:
    """Gives each file a path of its own. Paths that differ only in case or in the form of their letters count as the same."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def own(self, name: str, ending: str = "") -> str:
        """The path ``name`` + ``ending``, with a number between them if it is taken."""
        key, path = _form(name + ending), name + ending
        number = self._next.get(key, 2)
        while _form(path) in self._taken:
            path, number = f"{name}-{number}{ending}", number + 1
        self._next[key] = number
        self._taken.add(_form(path))
        return path


def _form(path: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())


def readable_stem(row: Any) -> str:
    """The name of a row's file without folders and ending: as its source calls it, or else as the collection does. It is kept as it is where every
    system takes it; else what some system does not take becomes an underscore.

    Args:
        row: has ``original_name`` (may be null) and ``file_name``.
    """
    original = row.original_name
    for name in (None if original is None or original is pd.NA or original != original else str(original), str(row.file_name)):
        own = PurePosixPath(name.replace("\\", "/")).stem if name else ""
        if stem := unicodedata.normalize("NFC", own) if _is_kept(own) else plain_name(own):
            return stem
    return "image"


def _is_kept(stem: str) -> bool:
    return len(stem.encode("utf-8", "replace")) <= _LONGEST and any(map(str.isalnum, stem)) and _is_safe(unicodedata.normalize("NFC", stem))


def name_rows(
    collection: Collection, folder: Callable[[Any], str], stem: Callable[[Any], str] = readable_stem, *, one_stem: bool = False
) -> list[str]:
    """The path in the export of the file of every row. Rows of one file (several animals in one photograph) share it where their folder is the same.

    Args:
        collection: the rows, with the files' own names.
        folder: the folder of a row, without a slash at its end; safe already.
        stem: the name of a row's file, without ending; safe already.
        one_stem: no two files differ in their endings alone, so that each can have a further file of its name.
    """
    names, known, paths = FileNames(), dict[tuple[str, str], str](), []
    table = collection.table[["file_name", "original_name", "species", "split"]]
    for number, row in enumerate(table.itertuples(index=False)):
        key = (place := folder(row), str(row.file_name))
        if key not in known:
            name, ending = f"{place}/{stem(row)}", _ending(collection, number, key[1])
            known[key] = names.own(name) + ending if one_stem else names.own(name, ending)
        paths.append(known[key])
    return paths


def _ending(collection: Collection, row: int, file_name: str) -> str:
    """The ending of a file, in small letters; if it has none that programs know, the one of its content."""
    ending = PurePosixPath(file_name).suffix.lower()
    if ending in _ENDINGS:
        return ending
    path: Path = collection.path(row)
    try:
        with Image.open(path) as image:
            return _ENDING_OF.get(image.format or "", "")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what is missing or damaged is told when it is packed
        return ""


def keep_names(files: Sequence[str], reserved: Iterable[str]) -> list[str]:
    """The names of a collection's files as they are; those that some system does not allow, or takes for another one, are changed.

    Args:
        files: one for each row; equal ones are one file.
        reserved: paths that are other files of the export.
    """
    names, known = FileNames(), dict[str, str]()
    for path in reserved:
        names.own(path)
    distinct = list(dict.fromkeys(files))
    for file in (*filter(_is_safe, distinct), *(file for file in distinct if not _is_safe(file))):  # a changed name takes no other's
        whole = PurePosixPath(file)
        ending = whole.suffix.lower() if whole.suffix.lower() in _ENDINGS else ""
        parts = [part for part in file.replace("\\", "/").removesuffix(whole.suffix if ending else "").split("/") if part not in ("", ".")]
        name = file.removesuffix(whole.suffix) if _is_safe(file) else "/".join(plain_name(part) or "image" for part in parts) or "image"
        known[file] = names.own(name, whole.suffix if _is_safe(file) else ending)
    return [known[file] for file in files]


def _is_safe(path: str) -> bool:
    parts = path.split("/")
    return all(
        re.fullmatch(r"[\w(-]([\w .,()+=@~-]*[\w)+=@~-])?", part)
        and part.partition(".")[0].strip().lower() not in _WINDOWS
        and len(part.encode()) <= 200
        for part in parts
    ) and unicodedata.is_normalized("NFC", path)

"""Finds the image files that a source names, also where the spelling differs: case, accents, slashes, leading folders, endings."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from syntype.collection.sources.base import SIDECARS
from syntype.collection.sources.encodings import BROKEN

__all__ = ["FileFinder", "Found", "Unclear"]

_ABSOLUTE = re.compile(r"^(/|[A-Za-z]:/|file:)")
_MOST_FILES = 5_000_000
"""Files that are looked at below a folder, so that a table in the root of a disk ends too."""


@dataclass(frozen=True)
class Found:
    """The file of a name.

    Attributes:
        path: the file; if there is none, the path at which it was expected.
        how: ``exact``: the name as it is; ``spelling``: another case or form of accents; ``ending``: another ending; ``place``: other folders before
            it; ``missing``: there is no such file.
    """

    path: Path
    how: Literal["exact", "spelling", "ending", "place", "missing"]


@dataclass(frozen=True)
class Unclear:
    """A name for which there is no file, but something like it, or several files; reason and hint are those of a refused row."""

    path: Path
    reason: str
    hint: str


class FileFinder:
    """Finds files by the names that a table gives them. The folder is read once, when the first name is not there as it is.

    Args:
        folder: where relative names start.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._start = str(folder)
        self._own_name = _key(folder.resolve().name)
        self._names: tuple[_Names, _Names] | None = None

    def find(self, name: str) -> Path:
        """The file of a name. If there is no such file, or it is not certain, the path at which it was expected."""
        return self.search(name).path

    def search(self, name: str) -> Found | Unclear:
        """The file of a name, and how it was found.

        Names that differ in upper and lower case, in the form of accents (NFC, NFD), in the slashes, by ``%20`` and the like, by an absolute path of
        another machine, by folders before the name, or in the ending, are found if one file alone can be meant. A folder in the name that contradicts
        the folder of the file rules it out.
        """
        plain = name.replace("\\", "/")
        for spelling in (name,) if plain == name else (name, plain):
            # Once the folder was read, what it holds need not be asked for name by name.
            known = self._names is not None and self._names[0].exactly(spelling)
            if known or _exists(os.path.join(self._start, spelling)):
                return Found(self.folder / spelling, "exact")
        expected = self.folder / plain
        if not plain.strip("/. ") or "\0" in plain:
            return Found(expected, "missing")
        spellings = [plain.removeprefix("file:")]
        if "%" in plain:
            spellings.append(unquote(spellings[0]))
        if "?" in plain:
            spellings.append(spellings[0].partition("?")[0])
        for spelling in spellings:
            answer = self._like(spelling, expected)
            if answer is not None:
                return answer
        return self._elsewhere(spellings[-1], expected)

    def files(self) -> list[str]:
        """All files below the folder, as paths from it with forward slashes, without hidden ones."""
        return [file for same in self._index()[0].whole.values() for file in same]

    def _like(self, name: str, expected: Path) -> Found | Unclear | None:
        """A file whose name differs in spelling, ending or place; None if there is none."""
        whole, stems = self._index()
        parts = _key(name).split("/")
        if same := whole.whole.get("/".join(parts)):
            return self._one(same, name, expected, "spelling")
        absolute = _ABSOLUTE.match(name) is not None
        if found := whole.lookup(parts, absolute, self._own_name):
            return self._one(found, name, expected, "place")
        for last in dict.fromkeys((_stem(parts[-1]), parts[-1])):
            without = [*parts[:-1], last]
            found = stems.whole.get("/".join(without)) or stems.lookup(without, absolute, self._own_name)
            if found:
                return self._one(found, name, expected, "ending")
        return None

    def _one(self, files: list[str], name: str, expected: Path, how: Literal["spelling", "ending", "place"]) -> Found | Unclear:
        if len(files) > 1:  # of several the one that differs least
            nfc = unicodedata.normalize("NFC", name).removeprefix("./")
            closest = [file for file in files if unicodedata.normalize("NFC", file) == nfc]
            files = closest if len(closest) == 1 else files
        if len(files) == 1:
            return Found(self.folder / files[0], how)
        shown = " and ".join(sorted(files)[:2]) + (f" and {len(files) - 2} more" if len(files) > 2 else "")
        return Unclear(expected, "could be one of several files", f"{shown} are there: write the name exactly, with its folders.")

    def _elsewhere(self, name: str, expected: Path) -> Found | Unclear:
        """No file: a hint on one of the same name in another folder."""
        whole, stems = self._index()
        last = _key(name).rpartition("/")[2]
        other = whole.last.get(last) or stems.last.get(_stem(last))
        if not other:
            return Found(expected, "missing")
        more = f" (and {len(other) - 1} more)" if len(other) > 1 else ""
        return Unclear(expected, "is missing, but a similar name is there", f"{other[0][:200]}{more} is there: correct the name or the folder.")

    def _index(self) -> tuple[_Names, _Names]:
        """All files by their names, and images by their names without ending."""
        if self._names is None:
            whole, stems = _Names(), _Names()
            for file in _walk(self._start):
                key = _key(file)
                whole.add(key, file)
                stem, dot, ending = key.rpartition(".")
                if dot and "/" not in ending and f".{ending}" not in SIDECARS:
                    stems.add(stem, file)
            whole.wrapper = stems.wrapper = _common_folder(list(stems.whole))
            self._names = (whole, stems)
        return self._names


class _Names:
    """Files by what their names end with."""

    def __init__(self) -> None:
        self.whole: dict[str, list[str]] = {}
        self.last: dict[str, list[str]] = {}
        self._pairs: dict[str, list[str]] = {}
        self.wrapper = ""

    def add(self, key: str, file: str) -> None:
        """Add a file with its name for comparisons."""
        before, slash, last = key.rpartition("/")
        self.whole.setdefault(key, []).append(file)
        self.last.setdefault(last, []).append(file)
        if slash:
            self._pairs.setdefault(f"{before.rpartition('/')[2]}/{last}", []).append(file)

    def exactly(self, name: str) -> bool:
        """Whether a file has exactly this name."""
        return name in self.whole.get(_key(name), ())

    def lookup(self, parts: list[str], absolute: bool, folder: str) -> list[str]:
        """Files whose path ends with a name, or with which a name ends.

        Args:
            parts: folders and name, for comparisons.
            absolute: the name starts at the root of a disk, so that its first folders say nothing.
            folder: the name of the folder in which the files lie.
        """
        if not absolute:
            if len(parts) == 1:
                return self.last.get(parts[0], [])
            tail = "/" + "/".join(parts)
            pairs = self._pairs.get("/".join(parts[-2:]), ())
            if deeper := [file for file in pairs if f"/{(key := _key(file))}".endswith(tail) or f"/{_stem(key)}".endswith(tail)]:
                return deeper
        for start in range(1, len(parts)):
            tail = "/".join(parts[start:])
            # A name whose folder is left out may be that of another species: it must be the folder that was given.
            if len(parts) - start == 1 and not absolute and parts[-2] != folder:
                continue
            if found := self.whole.get(tail) or (self.wrapper and self.whole.get(self.wrapper + tail)):
                return found
        return []


def _common_folder(keys: list[str]) -> str:
    """The folders in which all files lie, with a slash at the end; empty if there are none."""
    if not keys:
        return ""
    common = []
    for one, other in zip(min(keys).split("/")[:-1], max(keys).split("/")[:-1], strict=False):  # those between begin as both do
        if one != other:
            break
        common.append(one)
    return "".join(f"{folder}/" for folder in common)


def _walk(folder: str) -> list[str]:
    """Paths of all files from a folder, with forward slashes. Links are followed, each folder once."""
    found, waiting, seen = [], [("", folder)], set()
    while waiting:
        start, here = waiting.pop()
        try:
            known = os.stat(here)
            if (known.st_dev, known.st_ino) in seen and known.st_ino:
                continue
            seen.add((known.st_dev, known.st_ino))
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name == "__MACOSX":
                        continue
                    try:
                        is_folder, is_file = entry.is_dir(), entry.is_file()
                    except OSError:  # links in a circle
                        continue
                    if is_folder:
                        waiting.append((f"{start}{entry.name}/", entry.path))
                    elif is_file:
                        found.append(start + entry.name)
        except OSError:
            continue
        if len(found) > _MOST_FILES:
            break
    return sorted(found)


def _key(name: str) -> str:
    """A name for comparisons: small letters, accents in one form, one kind of slash, no spaces at the ends of its parts."""
    if name.isascii():
        key = name.lower()
    else:
        if BROKEN.search(name):  # a file name that is not UTF-8
            name = os.fsencode(name).decode("latin-1") if os.name != "nt" else name
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    key = key.replace("\\", "/")
    if " " in key or "./" in key or "//" in key or key.startswith("/"):
        key = "/".join(part for piece in key.split("/") if (part := piece.strip()) not in ("", "."))
    return key


def _stem(name: str) -> str:
    """A name without its ending."""
    before, dot, ending = name.rpartition(".")
    return before if dot and before and "/" not in ending else name


def _exists(path: str) -> bool:
    """Whether there is anything at a path that is not a folder."""
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):  # a name of more than 255 bytes, or with a null character
        return False

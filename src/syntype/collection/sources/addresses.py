"""Image files that a table names by address: what is already there beside the table, and where the download of the rest will lie."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import unquote, urlsplit

from syntype.collection.sources.finding import FileFinder, Found, Unclear

__all__ = ["LONG_NUMBER", "find_addressed", "find_named", "is_address"]

LONG_NUMBER = 6
"""Digits that the number of a record or photograph must have for a file called by it alone to be its image."""
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_OUTSIDE = re.compile(r"^(/|~|[A-Za-z]:|[A-Za-z][\w+.-]*:)|(^|/)\.\.(/|$)")
_LONGEST = 120
_NO_NAME = re.compile(r"[^\w.-]+")


def is_address(name: str) -> bool:
    """Whether a name is an address of the web."""
    return _ADDRESS.match(name) is not None


def find_addressed(finder: FileFinder, addresses: Iterable[str], others: Mapping[str, str] | None = None) -> dict[str, Found]:
    """The file of every address: one that is there under the end of the address, or else (``missing``) the place of its download.

    The end of an address counts only if no other address has the same, whatever the ending: ``original.jpg`` may be the end of thousands.

    Args:
        finder: finds files in the folder.
        addresses: addresses of images; repeated ones are one image.
        others: a further name of the file by address ("IMG_0001.JPG"); it counts only if it is that of one address.
    """
    distinct = list(dict.fromkeys(addresses))
    parts = {address: _parts(address) for address in distinct}
    ends = Counter(_stem("/".join(own[-length:])) for own in parts.values() for length in range(1, min(len(own), 3) + 1))
    names = Counter(map(_joined, parts.values()))
    # Most addresses have no file yet, so that a look at the names that are there saves most searches.
    there_is = {_stem(file.rpartition("/")[2]) for file in finder.files()}
    others = others or {}
    further = Counter(others.values())
    found: dict[str, Found] = {}
    for address in distinct:
        own = parts[address]
        name = _joined(own)
        if names[name] > 1:  # addresses that differ in a part that is no name, such as ?id=5
            stem, dot, ending = name.rpartition(".")
            mark = hashlib.sha256(address.encode("utf-8", "replace")).hexdigest()[:8]
            name = f"{stem}_{mark}.{ending}" if dot and stem and len(ending) < 6 else f"{name}_{mark}"
        tails = ["/".join(own[-length:]) for length in range(min(len(own), 3), 0, -1)]
        candidates = [name, *(tail for tail in tails if ends[_stem(tail)] == 1)]
        if (other := others.get(address)) and further[other] == 1:
            candidates.append(other)
        answers = (finder.search(candidate) for candidate in candidates if not _ends(candidate).isdisjoint(there_is))
        there = next((answer for answer in answers if isinstance(answer, Found) and answer.how != "missing"), None)
        found[address] = there or Found(finder.folder / name, "missing")
    return found


def find_named(finder: FileFinder, name: str) -> Found | Unclear:
    """The file of a name that is a path; one that leads out of the folder is none, as tables may come from anybody."""
    plain = name.replace("\\", "/")
    if _OUTSIDE.search(plain):
        return Unclear(finder.folder, "leads out of the folder", "Write the path of the file from the folder of the tables.")
    return finder.search(plain)


def _joined(parts: Sequence[str]) -> str:
    """The name of the file into which an address is downloaded: the end of its path, in one name."""
    return "_".join(parts[-3:])[-_LONGEST:] or "image"


def _stem(name: str) -> str:
    """A name for comparison, without its ending."""
    plain = name.casefold() if name.isascii() else unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    before, dot, ending = plain.rpartition(".")
    return before if dot and before and "/" not in ending else plain


def _ends(name: str) -> set[str]:
    """The last part of a name, as it is and without its ending."""
    last = name.rpartition("/")[2]
    return {_stem(last), _stem(f"{last}.")}


def _parts(address: str) -> list[str]:
    """The parts of the path of an address, as they may be in names of files."""
    try:
        path = unquote(urlsplit(address).path)
    except ValueError:  # a bracket where a host should be
        path = address.partition("://")[2]
    return [_NO_NAME.sub("_", part) for part in path.split("/") if part.strip("/.")]

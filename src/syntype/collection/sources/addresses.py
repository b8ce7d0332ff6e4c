"""Image files that a table names by address: what is already there beside the table, and where the download of the rest will lie."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from syntype.collection.sources.finding import FileFinder, Found, Unclear

__all__ = ["LONG_NUMBER", "find_addressed", "find_named", "is_address", "local_name"]

LONG_NUMBER = 6
"""Digits that the number of a record or photograph must have for a file called by it alone to be its image."""
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_OUTSIDE = re.compile(r"^(/|~|[A-Za-z]:|[A-Za-z][\w+.-]*:)|(^|/)\.\.(/|$)")
_LONGEST = 120


def is_address(name: str) -> bool:
    """Whether a name is an address of the web."""
    return _ADDRESS.match(name) is not None


def local_name(address: str) -> str:
    """The name of the file into which an address is downloaded: the end of its path, in one name."""
    return "_".join(_parts(address)[-3:])[-_LONGEST:] or "image"


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
    names = Counter(local_name(address) for address in distinct)
    others = others or {}
    further = Counter(others.values())
    found: dict[str, Found] = {}
    for address in distinct:
        name = local_name(address)
        if names[name] > 1:  # addresses that differ in a part that is no name, such as ?id=5
            stem, dot, ending = name.rpartition(".")
            mark = hashlib.sha256(address.encode("utf-8", "replace")).hexdigest()[:8]
            name = f"{stem}_{mark}.{ending}" if dot and stem and len(ending) < 6 else f"{name}_{mark}"
        own = parts[address]
        tails = ["/".join(own[-length:]) for length in range(min(len(own), 3), 0, -1)]
        candidates = [name, *(tail for tail in tails if ends[_stem(tail)] == 1)]
        if (other := others.get(address)) and further[other] == 1:
            candidates.append(other)
        answers = (finder.search(candidate) for candidate in candidates)
        there = next((answer for answer in answers if isinstance(answer, Found) and answer.how != "missing"), None)
        found[address] = there or Found(finder.folder / name, "missing")
    return found


def find_named(finder: FileFinder, name: str) -> Found | Unclear:
    """The file of a name that is a path; one that leads out of the folder is none, as tables may come from anybody."""
    plain = name.replace("\\", "/")
    if _OUTSIDE.search(plain):
        return Unclear(finder.folder, "leads out of the folder", "Write the path of the file from the folder of the tables.")
    return finder.search(plain)


def _stem(name: str) -> str:
    before, dot, ending = name.lower().rpartition(".")
    return before if dot and "/" not in ending else name.lower()


def _parts(address: str) -> list[str]:
    try:
        path = PurePosixPath(unquote(urlsplit(address).path))
    except ValueError:  # a bracket where a host should be
        path = PurePosixPath(address.partition("://")[2])
    return [re.sub(r"[^\w.-]+", "_", part) for part in path.parts if part.strip("/.")]

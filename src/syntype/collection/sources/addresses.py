"""Image files that a table names by address: what is already there beside the table, and where the download of the rest will lie."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
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
    if not distinct:
        return {}
    parts = {address: _parts(address) for address in distinct}
    tails = {address: ["/".join(own[-length:]) for length in range(min(len(own), 3), 0, -1)] for address, own in parts.items()}
    stems = {address: [_stem(tail) for tail in own] for address, own in tails.items()}
    ends = Counter(stem for own in stems.values() for stem in own)
    names = Counter(map(_joined, parts.values()))
    # Most addresses have no file yet, so that a look at the names that are there saves most searches.
    there_is = {_stem(file.rpartition("/")[2]) for file in finder.files()}
    others = others or {}
    further = Counter(others.values())
    found: dict[str, Found] = {}
    for address in distinct:
        name = _joined(parts[address])
        if names[name] > 1:  # addresses that differ in a part that is no name, such as ?id=5
            stem, dot, ending = name.rpartition(".")
            mark = hashlib.sha256(address.encode("utf-8", "replace")).hexdigest()[:8]
            name = f"{stem}_{mark}.{ending}" if dot and stem and len(ending) < 6 else f"{name}_{mark}"
        candidates = [name] if _is_among(name, there_is) else []
        if parts[address] and _is_among(parts[address][-1], there_is):
            candidates += [tail for tail, stem in zip(tails[address], stems[address], strict=True) if ends[stem] == 1]
        if (other := others.get(address)) and further[other] == 1 and _is_among(other.rpartition("/")[2], there_is):
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


def _joined(parts: Sequence[str]) -> str:
    """The name of the file into which an address is downloaded: the end of its path, in one name."""
    return "_".join(parts[-3:])[-_LONGEST:] or "image"


def _plain(name: str) -> str:
    """A name for comparison: small letters, accents in one form."""
    return name.casefold() if name.isascii() else unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _stem(name: str) -> str:
    """A name for comparison, without its ending."""
    plain = _plain(name)
    before, dot, ending = plain.rpartition(".")
    return before if dot and before and "/" not in ending else plain


def _is_among(name: str, stems: Set[str]) -> bool:
    """Whether a name without folders is one of some names without endings, as it is or without its own."""
    plain = _plain(name)
    return plain in stems or plain.rpartition(".")[0] in stems


def _parts(address: str) -> list[str]:
    """The parts of the path of an address, as they may be in names of files."""
    try:
        path = unquote(urlsplit(address).path)
    except ValueError:  # a bracket where a host should be
        path = address.partition("://")[2]
    return [_NO_NAME.sub("_", part) for part in path.split("/") if part.strip("/.")]

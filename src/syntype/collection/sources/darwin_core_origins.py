"""What an archive says of itself: citation, DOI and rights, for ``collection.json``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from syntype.collection.sources.darwin_core_archive import Archive, local
from syntype.collection.sources.licences import licence_name
from syntype.collection.sources.xml_files import load_xml
from syntype.errors import InputError, shortened

__all__ = ["archive_origins", "doi_of"]

_DOI = re.compile(r"10\.\d{4,9}/[^\s\"'<>]+", re.IGNORECASE)
_LONGEST = 2000
_LONGEST_LIST = 50_000
"""Characters of the citations of all data sets of a download."""
_MOST_FILES = 500


def doi_of(text: str) -> str | None:
    """The first DOI in a text as an address; None if there is none."""
    found = _DOI.search(text)
    return f"https://doi.org/{found[0].rstrip('.,;)')}" if found else None


def archive_origins(archive: Archive) -> list[str]:
    """Sentences on where the records come from: DOI, citation, rights; those that are there."""
    lines: list[str] = []
    if archive.metadata is not None:
        lines += _of_metadata(archive.metadata)
    listed = False
    for name, kind in (("citations.txt", "Citations"), ("rights.txt", "Rights")):
        text = _text(archive.folder / name)
        if text:
            lines.append(f"{kind}: {shortened(text, _LONGEST_LIST)}")
            listed |= kind == "Citations"
    if not listed and (archive.folder / "dataset").is_dir():
        for path in sorted((archive.folder / "dataset").glob("*.xml"))[:_MOST_FILES]:
            lines += [line for line in _of_metadata(path) if line.startswith("Citation")]
    return list(dict.fromkeys(lines))


def _of_metadata(path: Path) -> list[str]:
    """The lines of a file in EML; none if it is damaged, which is no reason not to import the photographs."""
    try:
        root = load_xml(path)
    except InputError:
        return []
    title = next(_texts(root, "title"), "")
    citations = list(_elements(root, "citation"))
    identifiers = [*(element.get("identifier") or "" for element in citations), *_texts(root, "alternateIdentifier"), root.get("packageId") or ""]
    doi = next((doi for text in identifiers if (doi := doi_of(text))), None)
    citation = next((text for element in citations if (text := _joined(element))), "") or title
    rights = next(_texts(root, "intellectualRights"), "")
    address = next((element.get("url") for element in _elements(root, "ulink") if element.get("url")), None)
    known = licence_name(address) if address and rights else None
    lines = [f"DOI: {doi}"] if doi else []
    lines += [f"Citation: {shortened(citation, _LONGEST)}"] if citation else []
    lines += [f"Rights: {known if known and known != address else shortened(rights, _LONGEST)}"] if rights else []
    return lines


def _elements(root: Any, name: str) -> Iterator[Any]:
    return (element for element in root.iter() if isinstance(element.tag, str) and local(element.tag) == name.lower())


def _texts(root: Any, name: str) -> Iterator[str]:
    return (text for element in _elements(root, name) if (text := _joined(element)))


def _joined(element: Any) -> str:
    return " ".join("".join(element.itertext()).split())


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_LONGEST_LIST + 1).strip()
    except OSError:
        return ""

"""The rows of the media tables of a Darwin Core Archive: which are images, where their files are, and under which licence each is.

Formats: https://rs.gbif.org/extension/gbif/1.0/multimedia.xml and https://ac.tdwg.org/termlist (Audiovisual Core)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from syntype.collection.sources.addresses import is_address
from syntype.collection.sources.base import Refused
from syntype.collection.sources.darwin_core_archive import Archive, ArchiveTable, Record
from syntype.collection.sources.licences import is_open_licence, licence_name
from syntype.errors import InputError, plural

__all__ = ["Media", "image_values", "read_media"]

_TYPES = ("Multimedia", "Image")
_STILL = frozenset({"stillimage", "image", "photograph", "photo", "physicalobject"})
_SOUND_OR_FILM = re.compile(r"\.(mp3|wav|wave|flac|ogg|oga|m4a|aac|aiff?|mp4|m4v|avi|mov|mkv|mpe?g|wmv|webm|ogv|3gp)$", re.IGNORECASE)
_NO_FILE = re.compile(r"\.(html?|php|aspx?|pdf|zip|obj|stl|ply)$", re.IGNORECASE)
_LICENCES = ("license", "webstatement", "usageterms", "rights")
"""Terms with the licence of an image; the last are often sentences, so what is surely a licence is taken first."""
_KEPT = {"creator": "creator", "title": "title", "description": "description", "caption": "caption", "subjectpart": "subjectPart",
         "subjectorientation": "subjectOrientation", "created": "created"}  # fmt: skip


@dataclass
class Media:
    """What the media tables hold.

    Attributes:
        images: rows that are images, with the name or address of the file of each.
        refused: rows that cannot be used.
        left_out: number of rows that are no images, by what they are.
        twice: number of rows whose image is in an earlier media table too.
    """

    images: list[tuple[Record, str]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    twice: int = 0

    def notes(self) -> list[str]:
        """Sentences on what was left out."""
        notes = []
        if self.left_out:
            shown = ", ".join(f"{count:,} {kind[:30]}" for kind, count in self.left_out.most_common(5))
            notes.append(f"{plural(sum(self.left_out.values()), 'row')} left out, because they are no images ({shown})")
        if self.twice:
            notes.append(f"{plural(self.twice, 'image')} in two media tables: taken once")
        return notes


def read_media(archive: Archive) -> Media:
    """The rows of all media tables.

    Raises:
        InputError: there is no such table, or it does not say to which record a row belongs.
    """
    tables = [table for table in archive.extensions if table.row_type in _TYPES]
    if not tables:
        raise InputError(
            "has no table of images (extension Multimedia)",
            "On gbif.org filter by media type 'Image', and download a Darwin Core Archive.",
            file=archive.folder,
        )
    media = Media()
    known: dict[tuple[str, str], int] = {}
    for table in tables:
        if table.key is None:
            reason = f"does not say to which record a row of {table.name} belongs"
            raise InputError(reason, "meta.xml needs an element coreid there.", file=archive.folder)
        earlier = dict(known)
        for record in table.records():
            _add(media, table, record, earlier, known)
    return media


def _add(media: Media, table: ArchiveTable, record: Record, earlier: Mapping[tuple[str, str], int], known: dict[tuple[str, str], int]) -> None:
    if record.problem is not None:
        media.refused.append(Refused(record.table, record.row, *record.problem))
        return
    name = _file_of(record.values, table)
    kind = _kind(record.values, name or "")
    if kind is not None:
        media.left_out[kind] += 1
        return
    if name is None:
        page = record.values.get("references") or record.values.get("furtherinformationurl")
        hint = f"It has only a page ({page[:100]})." if page else "Fill in identifier or accessURI."
        media.refused.append(Refused(record.table, record.row, "names no file", hint))
        return
    key = (record.key, name)
    if key not in earlier:
        known.setdefault(key, len(media.images))
        media.images.append((record, name))
        return
    media.twice += 1
    position = earlier[key]
    first = media.images[position][0]
    if _licence(first.values) is None and _licence(record.values) is not None:
        media.images[position] = (record, name)  # of two rows on one image the one that says its licence


def _file_of(values: Mapping[str, str], table: ArchiveTable) -> str | None:
    """The address or path of the file; an ``identifier`` of Audiovisual Core that is no address is a number or code."""
    if access := values.get("accessuri"):
        return access
    name = values.get("identifier")
    return name if name and (is_address(name) or "accessuri" not in table.terms) else None


def _kind(values: Mapping[str, str], name: str) -> str | None:
    """What a row is if it is no image; None for images, and where nothing says otherwise."""
    kind = re.split(r"[/#]", values.get("type", ""))[-1].strip()
    plain = re.sub(r"[\W_]+", "", kind).lower()
    format_ = values.get("format", "").strip().lower()
    if plain and plain not in _STILL:
        return kind
    if "/" in format_ and not format_.startswith(("image/", "application/octet", "binary/")):
        return format_
    path = name.partition("?")[0]
    if not plain and not format_ and (found := _SOUND_OR_FILM.search(path) or _NO_FILE.search(path)):
        return found[0].lstrip(".").lower()
    return None


def _licence(values: Mapping[str, str]) -> str | None:
    texts = [text for term in _LICENCES if (text := values.get(term))]
    return licence_name(next((text for text in texts if is_open_licence(text)), texts[0] if texts else None))


def image_values(record: Record) -> dict[str, str]:
    """Licence, rights holder, page and further values of an image, from its own row alone."""
    values = record.values
    licence = _licence(values)
    result = {name: values[term] for term, name in _KEPT.items() if term in values}
    terms = values.get("usageterms")
    further: Iterable[tuple[str, str | None]] = (
        ("licence", licence),
        ("rights_holder", values.get("rightsholder") or values.get("owner")),
        ("source_url", values.get("references") or values.get("furtherinformationurl")),
        ("terms", terms if terms and licence_name(terms) != licence else None),
    )
    result.update((key, value) for key, value in further if value)
    return result

"""Safe unpacking of a zip that somebody sent: its photographs and tables, in the folders that it has inside.

A zip that could do harm (a name that leads out of it, a link, more content than is allowed) is refused as a whole; a single file that cannot be used
is left out and named.
"""

from __future__ import annotations

import io
import re
import stat
import time
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from syntype.apps.web.limits import Limits
from syntype.apps.web.refusals import RefusedFile
from syntype.collection.sources.base import SIDECARS, parse_split, species_name
from syntype.errors import DiskError, InputError
from syntype.files import disk_problem

__all__ = ["KEPT", "TABLES", "Unpacked", "checked_name", "checked_species", "free_path", "unpack"]

TABLES = frozenset({".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".xml", ".xlsx"})
"""Endings of files that may say what photographs show. They are kept beside the photographs, for the readers of ``collection/sources``."""
KEPT = TABLES | {".txt", ".yaml", ".yml"}
"""Endings of all files that are kept beside the photographs."""
_PASSED_OVER = frozenset({"__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found", "system volume information"})
"""Folders that systems and clouds make, in small letters."""
_CHUNK = 1 << 20
_DIRECTORY_BYTES = 512
"""Size allowed per file in a zip's central directory."""
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_DRIVE = re.compile("[A-Za-z]:")
_DEEPEST = 20
"""Folders in one another."""


@dataclass
class Unpacked:
    """What a zip held: paths of the photographs and of the tables and notes beside them, in ``folder``; and the refused files."""

    folder: Path
    images: list[Path] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)
    refused: list[RefusedFile] = field(default_factory=list)


def unpack(zip_file: Path, folder: Path, limits: Limits, check_image: Callable[[Path, str], None]) -> Unpacked:
    """Unpack the photographs and tables of a zip into a folder.

    Args:
        zip_file: the zip.
        folder: a new folder; the files keep their folders inside it.
        check_image: called with every photograph and its name; raises ``InputError`` for one that cannot be used.

    Raises:
        InputError: the zip cannot be read, could do harm, or the disk is full. Whoever calls deletes the folder.
    """
    result, copies = Unpacked(folder), Counter[tuple[str, str]]()
    folder.mkdir()
    try:
        with _LimitedZipFile(io.FileIO(zip_file)) as file, zipfile.ZipFile(file.checked_start(limits.files)) as archive:
            room, began = limits.unpacked_bytes, time.monotonic()
            for member, parts in _checked_members(archive, limits):
                if time.monotonic() - began > limits.check_seconds:
                    raise _Bomb(f"the zip is refused: checking it takes more than {limits.check_seconds:.0f} s", "Split it.")
                name, path = "/".join(parts), None
                try:
                    _check_parts(parts)
                    path = free_path(folder.joinpath(*parts[:-1]), parts[-1], copies)
                    _make_folder(path.parent, name)
                    is_table = path.suffix.lower() in KEPT
                    room -= _extract(archive, member, path, min(room, limits.table_bytes if is_table else limits.file_bytes))
                    if not is_table:
                        check_image(path, parts[-1])
                    (result.tables if is_table else result.images).append(path)
                except InputError as error:
                    if isinstance(error, _Bomb | DiskError):
                        raise
                    if path is not None:
                        path.unlink(missing_ok=True)
                    result.refused.append(RefusedFile(name[:300], error.reason[:300], error.hint))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        if (problem := disk_problem(error, zip_file)) is not None:
            raise problem from None
        raise InputError(f"is not a zip that can be read ({type(error).__name__})", "Pack it again, without a password.") from None
    return result


class _LimitedZipFile(io.BufferedReader):
    """A zip file whose central directory is limited: ``zipfile`` reads it in one call, however large the zip declares it to be."""

    _most = _CHUNK

    def checked_start(self, files: int) -> _LimitedZipFile:
        """This file, for a zip of at most ``files`` files. Raises ``BadZipFile`` for another file with a zip appended."""
        self._most = max(files * _DIRECTORY_BYTES, _CHUNK)
        if not self.peek(4).startswith((b"PK\3\4", b"PK\5\6")):
            raise zipfile.BadZipFile("it does not begin as a zip")
        return self

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most the limit at once."""
        if size is not None and size > self._most:
            raise _Bomb("the zip is refused: its directory is too large", "Send fewer photographs at once.")
        return super().read(self._most if size is None or size < 0 else size)


class _Bomb(InputError):
    """A zip unpacks to more than is allowed: the whole zip is refused, not one image."""


def _checked_members(archive: zipfile.ZipFile, limits: Limits) -> list[tuple[zipfile.ZipInfo, tuple[str, ...]]]:
    """Members to unpack, with the parts of their names; folders, hidden files, and files that are neither photographs nor tables are skipped.

    Raises:
        InputError: a name leads out of the archive, an entry is a link, or there is too much.
    """
    members: list[tuple[zipfile.ZipInfo, tuple[str, ...]]] = []
    declared = 0
    if len(archive.infolist()) > limits.files:
        raise InputError(f"the zip has more than {limits.files:,} entries", "Split it.")
    for member in archive.infolist():
        name = _name(member).replace("\\", "/")  # as Windows writes it
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if not name or "\0" in name or name.startswith("/") or _DRIVE.match(name) or ".." in parts:
            raise InputError(f"the zip is refused: {name[:100]!r} leads out of it", "Pack the folders of photographs again, with plain names.")
        mode = member.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise InputError(f"the zip is refused: {name[:100]!r} is a link or a device", "Pack the photographs themselves.")
        if member.flag_bits & 0x1:
            raise InputError(f"the zip is refused: {name[:100]!r} is encrypted", "Pack it again, without a password.")
        if name.endswith("/") or not parts or any(part.startswith(".") or part.lower() in _PASSED_OVER for part in parts):
            continue
        ending = Path(parts[-1]).suffix.lower()
        if ending in SIDECARS - KEPT - {".zip"}:
            continue
        declared += member.file_size
        dense = ending not in KEPT and member.file_size > _CHUNK and member.file_size > limits.ratio * max(1, member.compress_size)
        if declared > limits.unpacked_bytes or dense:
            raise _bomb(name)
        members.append((member, parts))
    return members


def _name(member: zipfile.ZipInfo) -> str:
    """The name of a member. Zips made on macOS hold UTF-8 without saying so; old ones hold the letters of their system."""
    name = member.orig_filename
    if member.flag_bits & 0x800 or name.isascii():
        return name
    try:
        data = name.encode("cp437")
    except UnicodeEncodeError:
        return name
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return min((data.decode(system, "replace") for system in ("cp850", "cp1252")), key=_oddness)


def _oddness(name: str) -> int:
    """How much of a name is unlikely: signs that are no letters, and capitals behind small letters."""
    odd = sum(not letter.isascii() and not letter.isalpha() and letter not in "×–’" for letter in name)
    return odd + sum(one.islower() and other.isupper() and not (one + other).isascii() for one, other in pairwise(name))


def _check_parts(parts: tuple[str, ...]) -> None:
    """Raise ``InputError`` if a member cannot be written under its name."""
    name = "/".join(parts)
    if len(parts) > _DEEPEST or not _is_file_name(parts[-1]):
        raise InputError(f"{name[:100]!r} is no file name", "Use a plain name such as fish-1.jpg.")
    for part in parts[:-1]:
        if not _is_folder_name(part):
            raise InputError(f"{part[:100]!r} is no name for a folder", "Name the folder after its species, as in 'Amphiprion ocellaris'.")


def _make_folder(folder: Path, name: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{name[:100]!r} lies in a folder that is a file too", "Rename one of them.") from None


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, room: int) -> int:
    """Unpack one file and count its actual bytes, whatever the zip declares."""
    size = 0
    with archive.open(member) as source, path.open("xb") as target:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > room:
                raise _bomb(member.filename)
            target.write(chunk)
    return size


def _bomb(name: str) -> _Bomb:
    return _Bomb(f"the zip is refused: {name[:100]!r} unpacks to more than is allowed", "Send fewer or smaller photographs at once.")


def checked_name(name: str) -> str:
    """The name of a file that was sent on its own, in Unicode NFC.

    Raises:
        InputError: it is not a plain file name.
    """
    name = unicodedata.normalize("NFC", name)
    if not _is_file_name(name) or any(letter in '\\:*?"<>|' for letter in name) or name.endswith((" ", ".")) or _DEVICES.fullmatch(name):
        raise InputError(f"{name[:100]!r} is no file name", "Use a plain name such as fish-1.jpg.")
    return name


def checked_species(name: str) -> str:
    """A species name that can also be a folder name: open nomenclature ("sp.", "cf."), quotation marks and authors are fine.

    Raises:
        InputError: it cannot.
    """
    try:
        found = species_name(name)
    except (TypeError, ValueError):
        found = ""
    lone = " " not in found and found.endswith(".")  # "Aus sp." is a name, "Aus." is none
    if not _is_folder_name(found) or lone or parse_split(found) is not None:
        raise InputError(f"{name[:100]!r} cannot name a species", "Write it as in 'Amphiprion ocellaris'.")
    return found


def _is_file_name(name: str) -> bool:
    return _is_visible(name) and len(name.encode("utf-8", "replace")) <= 200


def _is_folder_name(name: str) -> bool:
    """A visible name that is no option of a command and no device of Windows."""
    return _is_visible(name) and len(name.encode("utf-8", "replace")) <= 150 and not name.startswith("-") and not _DEVICES.fullmatch(name)


def _is_visible(name: str) -> bool:
    """No separators, no control or invisible characters, not hidden, no drive."""
    if any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") or letter in "/\\" for letter in name):
        return False
    return bool(name.strip()) and not name.startswith(".") and not _DRIVE.match(name)


def free_path(folder: Path, name: str, copies: Counter[tuple[str, str]]) -> Path:
    """A path in the folder that is not taken. ``copies`` remembers the numbers used, so that equal names are not tried one after another."""
    path = Path(name)
    key = (str(folder), name.lower())
    while True:
        copies[key] += 1
        candidate = folder / (name if copies[key] == 1 else f"{path.stem}-{copies[key]}{path.suffix}")
        if not candidate.exists():
            return candidate

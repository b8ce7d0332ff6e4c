"""Safe unpacking of archives (zip, tar): their photographs and tables, in the folders that they have inside.

An archive that could do harm (a name that leads out of it, a link, more content than is allowed) is refused as a whole; a single file that cannot be
used is left out and named.
"""

from __future__ import annotations

import io
import lzma
import re
import stat
import tarfile
import time
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO

from syntype.collection.answers import kind_of_text
from syntype.collection.decoding import MAX_BYTES
from syntype.collection.sources.base import ARCHIVES, SIDECARS, Refused
from syntype.errors import DiskError, InputError
from syntype.files import disk_problem

__all__ = [
    "KEPT", "TABLES", "ArchiveLimits", "Unpacked", "checked_path", "free_path", "is_archive", "is_device_name", "is_file_name", "is_folder_name",
    "unpack",
]  # fmt: skip

TABLES = frozenset({".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".xml", ".xlsx"})
"""Endings of files that may say what photographs show. They are kept beside the photographs, for the readers of ``collection/sources``."""
KEPT = TABLES | {".txt", ".yaml", ".yml", ".md", ".gz", ".arrow"}
"""Endings of all files that are kept beside the photographs."""
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_OTHERS = {".7z": "7z", ".rar": "RAR", ".tar.zst": "Zstandard", ".lzh": "LZH", ".sit": "StuffIt"}
_PASSED_OVER = frozenset({"__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found", "system volume information"})
"""Folders that systems and clouds make, in small letters."""
_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"})
"""Files that they make, in small letters."""
_CHUNK = 1 << 20
_DIRECTORY_BYTES = 512
"""Size allowed per file in a zip's central directory."""
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_DRIVE = re.compile("[A-Za-z]:")
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, ValueError)
_DEEPEST = 20
"""Folders in one another."""


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may hold.

    Attributes:
        files: most entries.
        unpacked_bytes: of all that is unpacked.
        file_bytes: of one photograph.
        table_bytes: of one table.
        ratio: largest compression ratio of a photograph, which is compressed already.
        seconds: longest time for all.
        head_bytes, num_heads: unpack this many bytes of this many photographs, and nothing of the others; None: all of all. For a preview.
    """

    files: int = 10_000_000
    unpacked_bytes: int = 10**15
    file_bytes: int = MAX_BYTES
    table_bytes: int = 50_000_000_000
    ratio: int = 100
    seconds: float = float("inf")
    head_bytes: int | None = None
    num_heads: int = 0


@dataclass
class Unpacked:
    """What an archive held: paths of the photographs and of the tables and notes beside them, in ``folder``; and the refused files."""

    folder: Path
    images: list[Path] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


@dataclass(frozen=True)
class _Member:
    """A file in an archive.

    Attributes:
        parts: of its name.
        size: as the archive declares it.
        packed: compressed size; None if the archive does not tell.
        read: opens it.
    """

    parts: tuple[str, ...]
    size: int
    packed: int | None
    read: Callable[[], IO[bytes]]


def is_archive(path: Path) -> bool:
    """Whether a file is an archive that ``unpack`` opens, or is of a kind that it names when it refuses it. An Excel file is none."""
    return path.name.lower().endswith(ARCHIVES) and path.is_file()


def unpack(
    archive: Path,
    folder: Path,
    limits: ArchiveLimits,
    check_image: Callable[[Path, str], None] = lambda path, name: None,
    advance: Callable[[], None] = lambda: None,
) -> Unpacked:
    """Unpack the photographs and tables of an archive into a folder.

    Args:
        archive: a zip or tar file.
        folder: a new folder; the files keep their folders inside it.
        limits: what it may hold.
        check_image: called with every photograph and its name; raises ``InputError`` for one that cannot be used.
        advance: called after every file.

    Raises:
        InputError: the archive cannot be read, could do harm, or the disk is full. Whoever calls deletes the folder.
    """
    result, copies = Unpacked(folder), Counter[tuple[str, str]]()
    folder.mkdir()
    try:
        with _opened(archive, limits) as members:
            room, began = limits.unpacked_bytes, time.monotonic()
            for member in members:
                if time.monotonic() - began > limits.seconds:
                    raise _Bomb(f"the archive is refused: checking it takes more than {limits.seconds:.0f} s", "Split it.")
                name, path = "/".join(member.parts), None
                try:
                    _check_parts(member.parts)
                    path = free_path(folder.joinpath(*member.parts[:-1]), member.parts[-1], copies)
                    _make_folder(path.parent, name)
                    is_table = path.suffix.lower() in KEPT
                    head = None if is_table or limits.head_bytes is None else limits.head_bytes if len(result.images) < limits.num_heads else 0
                    room -= _extract(member, path, min(room, limits.table_bytes if is_table else limits.file_bytes), head)
                    if not is_table:
                        check_image(path, member.parts[-1])
                    (result.tables if is_table else result.images).append(path)
                except InputError as error:
                    if isinstance(error, _Bomb | DiskError):
                        raise
                    if path is not None:
                        path.unlink(missing_ok=True)
                    result.refused.append(Refused(name[:300], None, error.reason[:300], error.hint))
                advance()
    except (*_DAMAGED, OSError) as error:
        if (problem := disk_problem(error, archive)) is not None:
            raise problem from None
        raise _unreadable(archive, error) from None
    return result


def _unreadable(archive: Path, error: Exception) -> InputError:
    """What a file is that is called an archive and cannot be read as one."""
    with archive.open("rb") as file:
        head = file.read(1000)
    kind = "tar archive" if archive.name.lower().endswith(_TARS) else "zip"
    again = "Download or copy it again from where it came."
    if not head:
        return InputError("is empty", again, file=archive)
    if (text := kind_of_text(head)) is not None:
        return InputError(f"is {text}, not a {kind}", again, file=archive)
    reason = f"is not a {kind} that can be read: it is damaged, cut off or of another kind ({type(error).__name__})"
    return InputError(reason, f"{again[:-1]}, or pack it again without a password.", file=archive)


@contextmanager
def _opened(archive: Path, limits: ArchiveLimits) -> Iterator[Iterator[_Member]]:
    """The files of an archive that are unpacked, in their order."""
    name = archive.name.lower()
    other = next((kind for ending, kind in _OTHERS.items() if name.endswith(ending)), None)
    if other is not None:
        raise InputError(f"is a {other} archive, which is not opened", "Unpack it, and give the folder.", file=archive)
    with ExitStack() as stack:
        if name.endswith(_TARS):
            tar = stack.enter_context(tarfile.open(archive, "r:*"))
            yield _tar_members(tar, limits)
        else:
            file = stack.enter_context(_LimitedZipFile(io.FileIO(archive)))
            unzipped = stack.enter_context(zipfile.ZipFile(file.checked_start(limits.files)))
            yield iter(_zip_members(unzipped, limits))


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
    """An archive unpacks to more than is allowed: the whole is refused, not one image."""


def _zip_members(archive: zipfile.ZipFile, limits: ArchiveLimits) -> list[_Member]:
    """Files to unpack; folders, hidden files, and files that are neither photographs nor tables are skipped.

    Raises:
        InputError: a name leads out of the archive, an entry is a link, or there is too much.
    """
    members: list[_Member] = []
    declared = 0
    if len(archive.infolist()) > limits.files:
        raise InputError(f"the zip has more than {limits.files:,} entries", "Split it.")
    for member in archive.infolist():
        name = _name(member).replace("\\", "/")  # as Windows writes it
        mode = member.external_attr >> 16
        parts = _checked_parts(name, "zip", plain=stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR))
        if member.flag_bits & 0x1:
            raise InputError(f"the zip is refused: {name[:100]!r} is encrypted", "Pack it again, without a password.")
        if name.endswith("/") or not _is_wanted(parts):
            continue
        ending = Path(parts[-1]).suffix.lower()
        declared += member.file_size
        dense = ending not in KEPT and member.file_size > _CHUNK and member.file_size > limits.ratio * max(1, member.compress_size)
        if declared > limits.unpacked_bytes or dense:
            raise _bomb(name)
        members.append(_Member(parts, member.file_size, member.compress_size, lambda entry=member: archive.open(entry)))  # type: ignore[misc]
    return members


def _tar_members(archive: tarfile.TarFile, limits: ArchiveLimits) -> Iterator[_Member]:
    """The same of a tar archive. It has no directory, so that a wrong name is found when it is reached."""
    for number, member in enumerate(archive):
        if number >= limits.files:
            raise InputError(f"the archive has more than {limits.files:,} entries", "Split it.")
        parts = _checked_parts(member.name, "archive", plain=member.isreg() or member.isdir())
        archive.members = []  # type: ignore[attr-defined]  # it remembers all, which would fill the memory
        if member.isreg() and _is_wanted(parts):

            def read(entry: tarfile.TarInfo = member) -> IO[bytes]:
                file = archive.extractfile(entry)
                if file is None:
                    raise tarfile.ReadError("no file")
                return file

            yield _Member(parts, member.size, None, read)


def _checked_parts(name: str, kind: str, *, plain: bool) -> tuple[str, ...]:
    """The parts of a name in an archive.

    Raises:
        InputError: it leads out of the archive, or the entry is neither a file nor a folder.
    """
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if not name or "\0" in name or name.startswith("/") or _DRIVE.match(name) or ".." in parts:
        raise InputError(f"the {kind} is refused: {name[:100]!r} leads out of it", "Pack the folders of photographs again, with plain names.")
    if not plain:
        raise InputError(f"the {kind} is refused: {name[:100]!r} is a link or a device", "Pack the photographs themselves.")
    return parts


def _is_wanted(parts: tuple[str, ...]) -> bool:
    """Whether a file may be a photograph, a table or a note beside them."""
    if not parts or parts[-1].lower() in _SYSTEM_FILES or any(part.startswith(".") or part.lower() in _PASSED_OVER for part in parts):
        return False
    return Path(parts[-1]).suffix.lower() not in SIDECARS - KEPT - {".zip"}


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
    if len(parts) > _DEEPEST or not is_file_name(parts[-1]):
        raise InputError(f"{name[:100]!r} is no file name", "Use a plain name such as fish-1.jpg.")
    if parts[-1].lower().endswith(ARCHIVES):
        raise InputError("is an archive in the archive", "Unpack it first.")
    for part in parts[:-1]:
        if not is_folder_name(part):
            raise InputError(f"{part[:100]!r} is no name for a folder", "Name the folder after its species, as in 'Amphiprion ocellaris'.")


def checked_path(name: str) -> tuple[str, ...] | None:
    """The parts of the path that a file has in a folder that is sent file by file: checked as the names in an archive are.

    Returns:
        None for what is passed over: hidden files, files of the system, and what is neither a photograph nor a table.

    Raises:
        InputError: it leads out of the folder, or cannot be written under its name.
    """
    parts = _checked_parts(name.replace("\\", "/"), "folder", plain=True)
    if not _is_wanted(parts):
        return None
    if parts[-1].lower().endswith(ARCHIVES):
        raise InputError("is an archive in the folder", "Unpack it first, or send it on its own.")
    _check_parts(parts)
    return parts


def _make_folder(folder: Path, name: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{name[:100]!r} lies in a folder that is a file too", "Rename one of them.") from None


def _extract(member: _Member, path: Path, room: int, head: int | None) -> int:
    """Unpack one file, or its first bytes, and count its actual bytes, whatever the archive declares."""
    size = 0
    if head == 0:
        path.touch(exist_ok=False)
        return 0
    with member.read() as source, path.open("xb") as target:
        while chunk := source.read(_CHUNK if head is None else head):
            size += len(chunk)
            if size > room:
                raise _bomb("/".join(member.parts))
            target.write(chunk)
            if head is not None:
                break
    return size


def _bomb(name: str) -> _Bomb:
    return _Bomb(f"the archive is refused: {name[:100]!r} unpacks to more than is allowed", "Pack fewer or smaller photographs at once.")


def is_file_name(name: str) -> bool:
    """Whether a name, without folders, can be that of a file."""
    return _is_visible(name) and len(name.encode("utf-8", "replace")) <= 200


def is_folder_name(name: str) -> bool:
    """A visible name that is no option of a command and no device of Windows."""
    return _is_visible(name) and len(name.encode("utf-8", "replace")) <= 150 and not name.startswith("-") and not is_device_name(name)


def is_device_name(name: str) -> bool:
    """Whether Windows would open a device under this name."""
    return _DEVICES.fullmatch(name) is not None


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

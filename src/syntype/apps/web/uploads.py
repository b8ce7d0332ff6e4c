"""Uploads of photographs: one file per request, checked by decoding; refused files are deleted.

uploads/ID/<species>/<file>    accepted files; the importer reads this folder
uploads/ID/.part-*             files being received; deleted when the request ends, or when the next server starts

An upload that a waiting or running job reads stays as it is: nothing enters it, and it is not deleted.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import stat
import threading
import time
import unicodedata
import uuid
import zipfile
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from anyio import CancelScope, CapacityLimiter, to_thread
from PIL import Image
from sqlalchemy import select
from starlette.exceptions import HTTPException

from syntype.apps.web.limits import Limits
from syntype.apps.web.store import ACTIVE, Store, jobs
from syntype.apps.web.workspace import Workspace
from syntype.collection.costs import Watched, check_cost
from syntype.collection.decoding import FORMATS, read_image
from syntype.collection.sources import SIDECARS, species_name
from syntype.errors import DiskError, InputError, UnknownNameError
from syntype.files import disk_problem

__all__ = ["RefusedFile", "UploadResult", "Uploads", "checked_species"]

_CHUNK = 1 << 20
_DIRECTORY_BYTES = 512
"""Size allowed per file in a zip's central directory."""
_WRITERS = 4
"""Threads that write received files."""
_CHECKERS = 4
"""Threads that unpack and check them."""
_decoding = threading.BoundedSemaphore(1)
"""One photograph at a time is decoded for checking, so that many uploads do not add up their pixels in memory."""
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_OLD_SECONDS = 7 * 86400
_ID = "[0-9a-f]{32}"


@dataclass(frozen=True)
class RefusedFile:
    """A refused file: what is wrong, and what to do."""

    file: str
    reason: str
    hint: str


@dataclass(frozen=True)
class UploadResult:
    """Result of one sent file: number of accepted images, and the refused files of a zip."""

    num_taken: int
    refused: tuple[RefusedFile, ...] = ()


@dataclass
class _Stock:
    """What an upload holds. Counted once and then kept up to date, as its folder may have twenty thousand files.

    Attributes:
        species: number of images of each species.
        num_bytes: size of all files.
        copies: for each species and file name in small letters, the highest number that was appended to it.
    """

    species: Counter[str] = field(default_factory=Counter)
    num_bytes: int = 0
    copies: Counter[tuple[str, str]] = field(default_factory=Counter)

    @classmethod
    def count(cls, folder: Path) -> _Stock:
        """What lies in the folder of an upload."""
        stock = cls()
        for path in folder.glob("[!.]*/*"):
            stock.species[path.parent.name] += 1
            stock.num_bytes += path.stat().st_size
        return stock


class Uploads:
    """All uploads of a workspace. Safe to use from several threads.

    Attributes:
        lock: held while files enter an upload or an upload is deleted; hold it too while a job that reads an upload is created.
    """

    def __init__(self, workspace: Workspace, limits: Limits, store: Store) -> None:
        self._root, self._limits, self._store = workspace.root / "uploads", limits, store
        self.lock = threading.Lock()
        self._writers, self._checkers = CapacityLimiter(_WRITERS), CapacityLimiter(_CHECKERS)
        self._receiving = 0
        self._stocks: dict[str, _Stock] = {}

    def sweep(self) -> None:
        """Delete what killed servers were receiving. Call it before the first request."""
        for part in self._root.glob("*/.part-*"):
            if re.fullmatch(_ID, part.parent.name):
                shutil.rmtree(part, ignore_errors=True)

    def _readers(self, upload: str) -> list[int]:
        """Numbers of the waiting and running jobs that read an upload."""
        with self._store.reading() as connection:
            rows = connection.execute(select(jobs.c.id, jobs.c.request).where(jobs.c.status.in_(ACTIVE)))
            return [row.id for row in rows if upload in (row.request.get("upload"), row.request.get("mask"))]

    def _require_unused(self, upload: str) -> None:
        for number in self._readers(upload):
            raise InputError(f"job {number} reads this upload", "Wait until the job has ended, cancel it, or begin another upload.")

    def begin(self) -> str:
        """Begin an upload; returns its id. Uploads that nobody has touched for a week, and that no job reads, are removed.

        Raises:
            InputError: too many have not become collections.
        """
        with self.lock:
            open_ones = [path for path in self._root.iterdir() if re.fullmatch(_ID, path.name) and path.is_dir() and not path.is_symlink()]
            for path in open_ones:
                if time.time() - path.stat().st_mtime > _OLD_SECONDS and not self._readers(path.name):
                    shutil.rmtree(path, ignore_errors=True)
            if sum(path.is_dir() for path in open_ones) >= self._limits.uploads:
                raise InputError(f"{self._limits.uploads} uploads are open", "Import or delete one first.")
            self._stocks = {name: stock for name, stock in self._stocks.items() if (self._root / name).is_dir()}
            name = uuid.uuid4().hex
            (self._root / name).mkdir()
            return name

    def drop(self, upload: str) -> None:
        """Delete an upload with all its files.

        Raises:
            UnknownNameError: there is none of this id.
            InputError: a waiting or running job reads it.
        """
        with self.lock:
            folder = self.folder(upload)
            self._require_unused(upload)
            shutil.rmtree(folder)

    def drop_read(self, upload: str, job: int) -> None:
        """Delete an upload that a job has read and no longer needs, unless another job still reads it."""
        with self.lock:
            if set(self._readers(upload)) <= {job} and re.fullmatch(_ID, upload):
                shutil.rmtree(self._root / upload, ignore_errors=True)

    def folder(self, upload: str) -> Path:
        """The folder of an upload.

        Raises:
            UnknownNameError: there is none of this id.
        """
        folder = self._root / upload
        if not re.fullmatch(_ID, upload) or not folder.is_dir() or folder.is_symlink():
            raise UnknownNameError("upload", upload[:40], ())
        return folder

    def contents(self, upload: str) -> dict[str, int]:
        """Number of images of each species."""
        with self.lock:
            return dict(sorted(self._stock(upload).species.items()))

    def _stock(self, upload: str) -> _Stock:
        folder = self.folder(upload)
        if upload not in self._stocks:
            self._stocks[upload] = _Stock.count(folder)
        return self._stocks[upload]

    @asynccontextmanager
    async def receiving(self, upload: str) -> AsyncIterator[Path]:
        """A folder for what is being received; gone, with all in it, when this ends.

        Raises:
            HTTPException: too many files are being received.
        """
        if self._receiving >= self._limits.receiving:
            raise HTTPException(503, f"{self._limits.receiving} files are being received. Send this one again when some of them have arrived.")
        folder = self.folder(upload) / f".part-{uuid.uuid4().hex}"
        folder.mkdir()
        self._receiving += 1
        try:
            yield folder
        finally:
            self._receiving -= 1
            with CancelScope(shield=True):  # also if the sender has gone
                await to_thread.run_sync(shutil.rmtree, folder, True, limiter=self._writers)

    async def write(self, file: BinaryIO, part: bytes) -> None:
        """Write a part of a received file, in a thread of the uploads."""
        await to_thread.run_sync(file.write, part, limiter=self._writers)

    async def check(self, upload: str, part: Path, name: str, species: str | None) -> UploadResult:
        """``take`` in a thread of the uploads. The pages have other threads, so they never wait for an upload."""
        return await to_thread.run_sync(self.take, upload, part, name, species, limiter=self._checkers)

    def limit(self, name: str) -> int:
        """Bytes that a file of this name may have."""
        return self._limits.zip_bytes if name.lower().endswith(".zip") else self._limits.file_bytes

    def take(self, upload: str, part: Path, name: str, species: str | None) -> UploadResult:
        """Check a received file and put its image, or the images of a zip, into the upload.

        Args:
            part: the file, inside the folder of ``receiving``.
            name: what the sender calls it.
            species: what it shows; None only for a zip, whose folders then name the species.

        Raises:
            InputError: it cannot be used, a job reads the upload already, or the disk is full; nothing of it stays.
        """
        name = _checked_name(name)
        wanted = None if species is None else checked_species(species)
        refused: list[RefusedFile] = []
        if name.lower().endswith(".zip"):
            found = self._unpack(part, wanted, refused)
        else:
            if wanted is None:
                raise InputError(f"{name}: a single photograph needs a species", "Say what it shows.")
            self._check_image(part, name)
            found = [(wanted, name, part)]
        with self.lock:
            self._require_unused(upload)
            stock = self._stock(upload)
            sizes = [path.stat().st_size for *_, path in found]
            self._check_room(stock, sizes)
            moved: list[Path] = []
            try:
                for (kind, own, path), size in zip(found, sizes, strict=True):
                    target = _free(self.folder(upload) / kind, own, stock.copies)
                    target.parent.mkdir(exist_ok=True)
                    os.replace(path, target)
                    moved.append(target)
                    stock.species[kind] += 1
                    stock.num_bytes += size
            except OSError:  # all of them are taken, or none
                for target in moved:
                    target.unlink(missing_ok=True)
                self._stocks.pop(upload, None)
                raise
        return UploadResult(len(found), tuple(refused))

    def _check_room(self, stock: _Stock, sizes: list[int]) -> None:
        if stock.species.total() + len(sizes) > self._limits.files:
            raise InputError(
                f"the upload would have more than {self._limits.files:,} files", "Import these first, and the others as another collection."
            )
        if stock.num_bytes + sum(sizes) > self._limits.upload_bytes:
            raise InputError(f"the upload would have more than {self._limits.upload_bytes:,} bytes", "Import these first, and the others separately.")

    def _check_image(self, path: Path, name: str) -> None:
        """Decode an image as the importer will."""
        data = path.read_bytes()
        try:
            check_cost(data)
            with Image.open(Watched(data), formats=FORMATS) as image:
                width, height = image.size
        except Image.DecompressionBombError:
            width = height = self._limits.pixels
        except Exception:  # whatever a header makes Pillow throw: the importer's own check, below, says what is wrong
            width = height = 0
        if width * height > self._limits.pixels:
            raise InputError(f"{name}: has more than {self._limits.pixels // 1_000_000} million pixels", "Scale it down first.")
        try:
            with _decoding:
                read_image(data)
        except InputError as error:
            raise InputError(f"{name}: {error.reason}", error.hint) from None

    def _unpack(self, part: Path, species: str | None, refused: list[RefusedFile]) -> list[tuple[str, str, Path]]:
        """Images of a zip as (species, name, file beside the zip); a zip that could do harm is refused as a whole."""
        try:
            with _LimitedZipFile(io.FileIO(part)) as file, zipfile.ZipFile(file.checked_start(self._limits.files)) as archive:
                members = _checked_members(archive, self._limits)
                found, room, began = [], self._limits.unpacked_bytes, time.monotonic()
                for number, (member, parts) in enumerate(members):
                    kind = species if species is not None else (_species_of(parts) if len(parts) > 1 else None)
                    try:
                        if time.monotonic() - began > self._limits.check_seconds:
                            raise _Bomb(f"the zip is refused: checking it takes more than {self._limits.check_seconds:.0f} s", "Split it.")
                        if kind is None:
                            raise InputError(f"{'/'.join(parts)}: lies beside the species' folders", "Move it into the folder of its species.")
                        name = _checked_name(parts[-1])
                        path = part.parent / f"{number}"
                        room -= _extract(archive, member, path, min(room, self._limits.file_bytes))
                        self._check_image(path, name)
                        found.append((kind, name, path))
                    except InputError as error:
                        (part.parent / f"{number}").unlink(missing_ok=True)
                        if isinstance(error, _Bomb | DiskError):
                            raise
                        refused.append(RefusedFile("/".join(parts)[:300], error.reason[:300], error.hint))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
            if (problem := disk_problem(error, part)) is not None:
                raise problem from None
            raise InputError(f"is not a zip that can be read ({type(error).__name__})", "Pack it again, without a password.") from None
        if not found:
            reason = f"{refused[0].reason}" if refused else "it is empty"
            raise InputError(f"the zip holds no image that can be used ({reason})", "Pack photographs in one folder for each species.")
        return found


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
    """Members to unpack, with the parts of their names; folders, hidden files and text files are skipped.

    Raises:
        InputError: a name leads out of the archive, an entry is a link, or there is too much.
    """
    members: list[tuple[zipfile.ZipInfo, tuple[str, ...]]] = []
    declared = 0
    if len(archive.infolist()) > limits.files:
        raise InputError(f"the zip has more than {limits.files:,} entries", "Split it.")
    for member in archive.infolist():
        name = member.orig_filename
        if not name or "\0" in name or "\\" in name or name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in PurePosixPath(name).parts:
            raise InputError(f"the zip is refused: {name[:100]!r} leads out of it", "Pack the folders of photographs again, with plain names.")
        mode = member.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise InputError(f"the zip is refused: {name[:100]!r} is a link or a device", "Pack the photographs themselves.")
        if member.flag_bits & 0x1:
            raise InputError(f"the zip is refused: {name[:100]!r} is encrypted", "Pack it again, without a password.")
        parts = tuple(part for part in PurePosixPath(name).parts if part != ".")
        if member.is_dir() or not parts or any(part.startswith((".", "__MACOSX")) for part in parts):
            continue
        if PurePosixPath(name).suffix.lower() in SIDECARS - {".zip"}:
            continue
        declared += member.file_size
        if declared > limits.unpacked_bytes or (member.file_size > _CHUNK and member.file_size > limits.ratio * max(1, member.compress_size)):
            raise _bomb(name)
        members.append((member, parts))
    return members


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


def _checked_name(name: str) -> str:
    """A file name without path separators or invisible characters.

    Raises:
        InputError: it is not a plain file name.
    """
    name = unicodedata.normalize("NFC", name)
    if not name.strip() or len(name.encode("utf-8", "replace")) > 200 or name.startswith(".") or not _is_plain(name):
        raise InputError(f"{name[:100]!r} is no file name", "Use a plain name such as fish-1.jpg.")
    return name


def checked_species(name: str) -> str:
    """A species name that can also be a folder name.

    Raises:
        InputError: it cannot.
    """
    try:
        found = species_name(name)
    except (TypeError, ValueError):
        found = ""
    if not found or len(found.encode("utf-8", "replace")) > 150 or found.startswith((".", "-")) or not _is_plain(found):
        raise InputError(f"{name[:100]!r} cannot name a species", "Write it as in 'Amphiprion ocellaris'.")
    return found


def _species_of(parts: tuple[str, ...]) -> str:
    return checked_species(parts[0].replace("_", " "))


def _is_plain(name: str) -> bool:
    """No separators, no control or invisible characters, no Windows device name, no trailing space or dot."""
    if any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") or letter in '/\\:*?"<>|' for letter in name):
        return False
    return name not in (".", "..") and not name.endswith((" ", ".")) and not _DEVICES.fullmatch(name)


def _free(folder: Path, name: str, copies: Counter[tuple[str, str]]) -> Path:
    """A path in the folder that is not taken. ``copies`` remembers the numbers used, so that equal names are not tried one after another."""
    stem, ending = os.path.splitext(name)
    key = (folder.name, name.lower())
    while True:
        copies[key] += 1
        candidate = folder / (name if copies[key] == 1 else f"{stem}-{copies[key]}{ending}")
        if not candidate.exists():
            return candidate

"""Uploads of photographs: what was sent, as a folder that ``syntype collect`` reads. Images are checked by decoding; refused files are deleted.

uploads/ID/<species>/<file>    photographs of which the sender said what they show
uploads/ID/<as in the zip>     photographs and tables of zips
uploads/ID/.part-*             files being received; deleted when the request ends, or when the next server starts
uploads/ID/<folder>/<file>     photographs and tables of a folder that was sent file by file
uploads/ID/.refused.json       files that were refused, written when an import is asked for
uploads/ID/.typed              the species that was given with photographs whose folders may say another
uploads/ID/.boxes-*.json       boxes that were corrected in the preview

An upload that a waiting or running job reads stays as it is: nothing enters it, and it is not deleted.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
import unicodedata
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from anyio import CancelScope, CapacityLimiter, to_thread
from sqlalchemy import select
from starlette.exceptions import HTTPException

from syntype.apps.web.image_check import check_image
from syntype.apps.web.import_options import ImportOptions
from syntype.apps.web.languages import gettext
from syntype.apps.web.limits import Limits
from syntype.apps.web.looking import look
from syntype.apps.web.refusals import RefusedFile, join_refused, load_refused, save_refused
from syntype.apps.web.sent_names import checked_name, checked_species
from syntype.apps.web.stock import Stock, UploadResult, UploadState, is_image
from syntype.apps.web.store import ACTIVE, Store, jobs
from syntype.apps.web.upload_boxes import box_options, corrections_of
from syntype.apps.web.workspace import Workspace
from syntype.collection.archives import TABLES, checked_path, free_path, unpack
from syntype.errors import DiskError, InputError, UnknownNameError
from syntype.files import inside

__all__ = ["Uploads"]

_WRITERS = 4
"""Threads that write received files."""
_CHECKERS = 4
"""Threads that unpack and check them."""
_LOOKERS = 2
"""Previews at the same time."""
_LOOKS = 3
"""Previews of an upload that are remembered: as it was sent, with corrected boxes, and with all corrections."""
_MOST_REFUSED = 1000
"""Refused files of an upload that are remembered."""
_OLD_SECONDS = 7 * 86400
_EMPTY_SECONDS = 3600
_TYPED = ".typed"
_ID = "[0-9a-f]{32}"


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
        self._lookers = CapacityLimiter(_LOOKERS)
        self._stocks: dict[str, Stock] = {}
        self._refused: dict[str, list[RefusedFile]] = {}
        self._looks: dict[str, dict[Any, dict[str, Any]]] = {}

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
            raise InputError(
                gettext("job {job} reads this upload", job=str(number)), gettext("Wait until the job has ended, cancel it, or begin another upload.")
            )

    def begin(self) -> str:
        """Begin an upload; returns its id. Uploads that nobody has touched for a week, and empty ones after an hour, go if no job reads them.

        Only those count against the limit that ``open_ones`` shows: what was begun and never filled, or is being imported, is in nobody's way.

        Raises:
            InputError: too many have not become collections.
        """
        with self.lock:
            for path in self._folders():
                seconds = time.time() - path.stat().st_mtime
                old = seconds > (_OLD_SECONDS if self._stock(path.name).num_files else _EMPTY_SECONDS)
                if old and not self._readers(path.name) and not any(path.glob(".part-*")):
                    shutil.rmtree(path, ignore_errors=True)
            if len(self._unread()) >= self._limits.uploads:
                hint = gettext("Import or discard one of them first: the first page lists them under “Sent, but not imported”.")
                raise InputError(gettext("{uploads} uploads were sent and are not imported yet", uploads=self._limits.uploads), hint)
            for known in (self._stocks, self._refused, self._looks):
                for name in [name for name in known if not (self._root / name).is_dir()]:
                    del known[name]  # type: ignore[attr-defined]
            name = uuid.uuid4().hex
            (self._root / name).mkdir()
            return name

    def drop(self, upload: str) -> None:
        """Delete an upload with all its files.

        Raises:
            UnknownNameError: there is none of this id.
            InputError: a waiting or running job reads it.
        """
        with self.changing(upload) as folder:
            for _ in range(3):  # a file that is being received may enter it meanwhile
                shutil.rmtree(folder, ignore_errors=True)
            if folder.exists():
                shutil.rmtree(folder)

    def forget(self, upload: str) -> None:
        """Forget what was counted in an upload, as it has been moved. Call it with ``lock`` held."""
        for known in (self._stocks, self._refused, self._looks):
            known.pop(upload, None)  # type: ignore[attr-defined]

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

    def open_ones(self) -> list[str]:
        """Ids of all uploads that hold something and that no job reads, latest first."""
        with self.lock:
            return self._unread()

    def _folders(self) -> list[Path]:
        return [path for path in self._root.iterdir() if re.fullmatch(_ID, path.name) and path.is_dir() and not path.is_symlink()]

    def _unread(self) -> list[str]:
        found = sorted(self._folders(), key=lambda path: path.stat().st_mtime, reverse=True)
        return [path.name for path in found if self._stock(path.name).num_files and not self._readers(path.name)]

    def contents(self, upload: str) -> dict[str, int]:
        """Number of images of each species; empty if its folders do not tell."""
        with self.lock:
            return self._stock(upload).species()

    def state(self, upload: str) -> UploadState:
        """What an upload holds."""
        with self.lock:
            stock = self._stock(upload)
            typed = self.folder(upload) / _TYPED
            said = typed.read_text(encoding="utf-8") if typed.is_file() else None
            return UploadState(stock.folders.total(), len(stock.tables), stock.species(), tuple(self._refused_of(upload)), said)

    @contextmanager
    def changing(self, upload: str) -> Iterator[Path]:
        """The folder of an upload, while something of it is changed.

        Raises:
            UnknownNameError: there is none of this id.
            InputError: a waiting or running job reads it.
        """
        with self.lock:
            folder = self.folder(upload)
            self._require_unused(upload)
            yield folder

    async def preview(self, upload: str, read: ImportOptions, *, boxes: bool = True) -> dict[str, Any]:
        """What an import of an upload would do: the summary of ``Preview``, paths as they were sent.

        Args:
            read: how it is read, and corrected.
            boxes: with the corrected boxes; else as the source has them.

        Raises:
            UnknownNameError: there is no upload of this id.
            InputError: it cannot be read, or holds nothing.
        """
        folder = self.folder(upload)
        with self.lock:
            stock = self._stock(upload)
            corrected = box_options(folder, read) if boxes else []
            since = corrections_of(folder, read).stat().st_mtime_ns if corrected else None
            options = [*read.options(), *corrected]
            state = (stock.num_files, stock.num_bytes, since, *options)
        if not stock.num_files:
            raise InputError(gettext("the upload is empty"), gettext("Send photographs to it first."))
        known = self._looks.setdefault(upload, {})
        if state not in known:
            found = await to_thread.run_sync(look, folder, options, self._limits, limiter=self._lookers)
            for old in list(known)[: max(0, len(known) + 1 - _LOOKS)]:
                known.pop(old, None)
            known[state] = found
        return known[state]

    def file(self, upload: str, path: str) -> Path:
        """A file of an upload, for a picture of it.

        Raises:
            UnknownNameError: there is none.
        """
        folder = self.folder(upload)
        file = inside(folder, path)
        if any(part.startswith(".") for part in Path(path).parts) or not file.is_file() or not file.resolve().is_relative_to(folder.resolve()):
            raise UnknownNameError("file of this upload", path[:100], ())
        return file

    def keep_refused(self, upload: str) -> None:
        """Write down what was refused, for the collection that a job makes of the upload. Call it with ``lock`` held."""
        if refused := self._refused_of(upload):
            save_refused(self.folder(upload), refused)

    def tell_refused(self, upload: str, collection: Path) -> None:
        """Add what was refused when it was sent to the ``refused.csv`` of the collection that was made of an upload."""
        with self.lock:
            if not re.fullmatch(_ID, upload):
                return
            refused = self._refused_of(upload)
        if refused:
            join_refused(collection, refused, f"{self._root / upload}{os.sep}")

    def _refused_of(self, upload: str) -> list[RefusedFile]:
        if upload not in self._refused:
            self._refused[upload] = load_refused(self._root / upload)
        return self._refused[upload]

    def _remember(self, upload: str, refused: Sequence[RefusedFile]) -> None:
        with self.lock:
            known = self._refused_of(upload)
            known += [item for item in refused if item not in known][: max(0, _MOST_REFUSED - len(known))]

    def _stock(self, upload: str) -> Stock:
        folder = self.folder(upload)
        if upload not in self._stocks:
            self._stocks[upload] = Stock.count(folder)
        return self._stocks[upload]

    @asynccontextmanager
    async def receiving(self, upload: str) -> AsyncIterator[Path]:
        """A folder for what is being received; gone, with all in it, when this ends.

        Raises:
            HTTPException: too many files are being received.
        """
        if self._receiving >= self._limits.receiving:
            raise HTTPException(
                503,
                gettext(
                    "{receiving} files are being received. Send this one again when some of them have arrived.", receiving=self._limits.receiving
                ),
            )
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

    async def check(self, upload: str, part: Path, name: str, species: str | None, folder: str | None) -> UploadResult:
        """``take`` in a thread of the uploads. The pages have other threads, so they never wait for an upload."""
        return await to_thread.run_sync(self.take, upload, part, name, species, folder, limiter=self._checkers)

    def limit(self, name: str) -> int:
        """Bytes that a file of this name may have."""
        limits = {".zip": self._limits.zip_bytes} | dict.fromkeys(TABLES, self._limits.table_bytes)
        return limits.get(Path(name).suffix.lower(), self._limits.file_bytes)

    def take(self, upload: str, part: Path, name: str, species: str | None, folder: str | None = None) -> UploadResult:
        """Check a received file and put it, or what a zip holds, into the upload.

        Args:
            part: the file, inside the folder of ``receiving``.
            name: what the sender calls it.
            species: what it shows; None for a table, and where folders or tables say it. Of photographs in folders it is only remembered
                (``UploadState.typed``): whoever imports decides whether it, or the folders, are right.
            folder: path of its folder in the folder that is sent, empty at its top; None for a file that was sent on its own.

        Raises:
            InputError: it cannot be used, a job reads the upload already, or the disk is full; nothing of it stays.
        """
        try:
            return self._take(upload, part, name, species, folder)
        except InputError as error:
            if not isinstance(error, DiskError) and not self._readers(upload):
                self._remember(upload, [RefusedFile(f"{folder}/{name}"[:300] if folder else name[:300], error.reason, error.hint)])
            raise

    def _take(self, upload: str, part: Path, name: str, species: str | None, folder: str | None) -> UploadResult:
        wanted = None if species is None else checked_species(species)
        if folder is not None and (folder or wanted is None or not is_image(Path(name)) or checked_path(name) is None):
            return self._take_of_folder(upload, part, f"{folder}/{name}" if folder else name, wanted)
        name = checked_name(name)
        refused: list[RefusedFile] = []
        if name.lower().endswith(".zip"):
            found, wanted = self._unpack(upload, part, wanted, refused)
        elif Path(name).suffix.lower() in TABLES and wanted is None:
            found = [(Path(name), part)]
        else:
            if wanted is None:
                raise InputError(gettext("a single photograph needs a species"), gettext("Say what it shows."), file=name)
            check_image(part, name, self._limits.pixels)
            found = [(Path(wanted, name), part)]
        self._keep(upload, found, said=wanted is not None)
        self._remember(upload, refused)
        return UploadResult(sum(is_image(path) for path, _ in found), tuple(refused))

    def _take_of_folder(self, upload: str, part: Path, path: str, typed: str | None) -> UploadResult:
        """A file of a folder that is sent file by file: it keeps its place, and what a system put there is passed over."""
        if (parts := checked_path(path)) is None:
            return UploadResult(0)
        place = Path(*(unicodedata.normalize("NFC", name) for name in parts))
        if is_image(place):
            check_image(part, path, self._limits.pixels)
        self._keep(upload, [(place, part)], said=False)
        if typed is not None:
            (self.folder(upload) / _TYPED).write_text(typed, encoding="utf-8")
        return UploadResult(int(is_image(place)))

    def _keep(self, upload: str, found: Sequence[tuple[Path, Path]], *, said: bool) -> None:
        with self.lock:
            self._require_unused(upload)
            self._move(upload, self._stock(upload), found, said=said)

    def _move(self, upload: str, stock: Stock, found: Sequence[tuple[Path, Path]], *, said: bool) -> None:
        """Move files to their places in the upload, all of them or none.

        Args:
            found: for each file its path in the upload and where it is.
            said: the sender said what the photographs show.
        """
        folder, sizes = self.folder(upload), [path.stat().st_size for _, path in found]
        self._check_room(stock, sizes)
        with_tables = bool(stock.tables) or any(path.suffix.lower() in TABLES for path, _ in found)
        if with_tables and (said or stock.num_said):
            raise InputError(
                gettext("tables and photographs of which you say the species cannot be in one upload, because a table says itself what they show"),
                gettext("Import them separately, or leave the species empty."),
            )
        if with_tables and (twice := next((path for path, _ in found if (folder / path).exists()), None)) is not None:
            raise InputError(
                gettext("the upload has another {file} already, and a table names it", file=repr(twice.as_posix()[:100])),
                gettext("Import them separately."),
            )
        moved: list[Path] = []
        try:
            for (path, source), size in zip(found, sizes, strict=True):
                target = folder / path if with_tables else free_path(folder / path.parent, path.name, stock.copies)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(source, target)
                moved.append(target)
                stock.add(path, size)
                stock.num_said += said
        except OSError as error:  # all of them are taken, or none
            for target in moved:
                target.unlink(missing_ok=True)
            self._stocks.pop(upload, None)
            if isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError):
                raise InputError(gettext("a folder of it is a file in what was sent before"), gettext("Import them separately.")) from None
            raise

    def _check_room(self, stock: Stock, sizes: list[int]) -> None:
        if stock.num_files + len(sizes) > self._limits.files:
            raise InputError(
                gettext("the upload would have more than {files} files", files=self._limits.files),
                gettext("Import these first, and the others as another collection."),
            )
        if stock.num_bytes + sum(sizes) > self._limits.upload_bytes:
            raise InputError(
                gettext("the upload would have more than {upload_bytes} bytes", upload_bytes=self._limits.upload_bytes),
                gettext("Import these first, and the others separately."),
            )

    def _unpack(self, upload: str, part: Path, species: str | None, refused: list[RefusedFile]) -> tuple[list[tuple[Path, Path]], str | None]:
        """Files of a zip, as their paths in the upload and where they are, and what they all show; a zip that could do harm is refused as a whole.

        Photographs in folders stay in them, also where a species was given: then that is only remembered.
        """
        found = unpack(part, part.parent / "unpacked", self._limits.of_archive(), partial(check_image, most_pixels=self._limits.pixels))
        refused += [RefusedFile(item.file, item.reason, item.hint) for item in found.refused]
        tables = [path for path in found.tables if path.suffix.lower() in TABLES]
        loose = [path for path in found.images if path.parent == found.folder]
        in_folders = len(loose) < len(found.images)
        if species is not None and in_folders:
            (self.folder(upload) / _TYPED).write_text(species, encoding="utf-8")
            species = None
        if species is not None:
            hint = gettext("Leave the species empty if the table says what the photographs show.")
            refused += [RefusedFile(path.name, gettext("is not read, as the species was given with the zip"), hint) for path in tables]
            found.tables, tables = [], []
        if not found.images and not tables:
            self._remember(upload, refused)
            reason = refused[0].reason if refused else "it is empty"
            raise InputError(
                gettext("the zip holds no image that can be used ({reason})", reason=reason),
                gettext("Pack photographs in one folder for each species."),
            )
        if species is None and not found.tables and not in_folders:
            raise InputError(
                gettext("the photographs of the zip lie in no folder that names a species"),
                gettext("Say what they show, or pack one folder for each species."),
            )
        if species is not None:
            return [(Path(species, path.name), path) for path in found.images], species
        return [(path.relative_to(found.folder), path) for path in (*found.images, *found.tables)], None

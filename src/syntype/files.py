"""Files that are never half written, never outside their folder, and never written by two processes at once.

Every stage writes with ``atomic_write`` and opens what a table or a JSON file names with ``inside``.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PureWindowsPath
from typing import Any

from syntype.errors import DiskError, InputError, SyntypeError

__all__ = [
    "atomic_write",
    "check_keys",
    "disk_problem",
    "inside",
    "load_json",
    "read_json_object",
    "read_npz",
    "sha256_of",
    "sweep_temporary",
    "write_json",
    "write_npz",
]

_KINDS: dict[type, str] = {str: "text", int: "a whole number", float: "a number", list: "a list", dict: "an object"}
_LITTLE_SPACE = 64 * 1024
"""Bytes. With less free space than this, an unexplained error while writing means that the disk is full."""
_TEMPORARY = re.compile(r"\.(?P<process>\d+)-\d+(@(?P<machine>[\w-]*))?\.tmp$")
_MACHINE = re.sub(r"[^\w-]+", "-", platform.node())[:20]
_DAY = 86400.0


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder. On success its content is on the disk and replaces ``path``; after an error it is deleted.

    A reader therefore sees the old file or the new one, never a part of one, also after a power failure. If several processes or threads
    write at once, the last one wins. What a killed process leaves is removed by ``sweep_temporary``.

    Raises:
        DiskError: the disk is full or read-only, or the folder may not be written to.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}@{_MACHINE}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # safetensors makes files that only their owner can read
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except Exception as error:
        if (problem := disk_problem(error, path)) is not None:
            raise problem from None
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()


def sweep_temporary(folder: Path, *, own: bool = False) -> None:
    """Delete the temporary files that killed processes left in ``folder`` and the folders in it. Those of living processes stay, and on a disk
    that machines share those that another machine wrote less than a day ago.

    Args:
        folder: a folder that Syntype has made.
        own: delete those of this process too, when it writes no longer.
    """
    for path in folder.rglob("*.tmp"):
        found = _TEMPORARY.search(path.name)
        with suppress(OSError):
            if found and not (_is_young(path) if found["machine"] not in (None, _MACHINE) else _is_alive(int(found["process"]), own)):
                path.unlink()


def _is_young(path: Path) -> bool:
    return time.time() - path.stat().st_mtime < _DAY


def _is_alive(process: int, own: bool) -> bool:
    if process == os.getpid():
        return not own
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to somebody else
        return True
    return True


def disk_problem(error: BaseException, path: Path | str) -> DiskError | None:
    """One sentence for an error of the disk rather than of the input (full, read-only, no permission); None for any other error.

    Libraries report such errors in several ways: as an ``OSError`` with or without a number, or as a ``RuntimeError`` or an exception of their
    own that holds only the text.

    Args:
        error: the error.
        path: what was being written; the error's own file is named if it has one.
    """
    if isinstance(error, SyntypeError) or not isinstance(error, Exception):
        return None
    own_file, text = getattr(error, "filename", None), str(error)
    place = own_file if isinstance(own_file, str) else path
    number = getattr(error, "errno", None)
    if number is None:
        number = next((code for code, words in _DISK_WORDS.items() if any(word in text for word in words)), None)
    if number is None and _WRITING.search(f"{type(error).__name__} {text}") and _has_no_space(Path(path)):
        number = errno.ENOSPC
    if number in (errno.ENOSPC, errno.EDQUOT):
        return DiskError("cannot be written, because the disk is full", "Free some space, then try again.", file=place)
    if number == errno.EROFS:
        return DiskError("cannot be written, because the disk is read-only", "Choose a folder on another disk.", file=place)
    if number in (errno.EACCES, errno.EPERM):
        return DiskError("cannot be read or written (no permission)", "Change the permissions, or choose another folder.", file=place)
    return None


_DISK_WORDS = {
    errno.ENOSPC: ("No space left", "os error 28", "Errno 28", "disk is full"),  # the last one is SQLite's
    errno.EROFS: ("Read-only file system", "os error 30", "Errno 30", "readonly database"),
    errno.EACCES: ("Permission denied", "os error 13", "Errno 13"),
}
_WRITING = re.compile("OSError|[Ww]rit|[Ss]afetensor|inline_container")  # the last is torch.save


def _has_no_space(path: Path) -> bool:
    while not path.exists() and path != path.parent:
        path = path.parent
    with suppress(OSError):
        return shutil.disk_usage(path).free < _LITTLE_SPACE
    return False


def inside(folder: Path, name: str) -> Path:
    """The path of ``name`` in ``folder``. ``name`` comes from a table or a JSON file, so it is not trusted.

    Args:
        folder: the folder that the table or JSON file describes.
        name: a relative path with forward slashes.

    Raises:
        InputError: ``name`` is absolute, has a drive letter, or leaves the folder with ``..``.

    Example:
        >>> inside(Path("fish"), "images/1.png").as_posix()
        'fish/images/1.png'
        >>> inside(Path("fish"), "../1.png")
        Traceback (most recent call last):
        syntype.errors.InputError: fish: names the file '../1.png', which is outside this folder. Correct the name, or make the folder again.
    """
    pure = PureWindowsPath(name)  # knows both kinds of slash, and drive letters
    if not pure.parts or "\0" in name or pure.drive or pure.root or ".." in pure.parts:
        raise InputError(f"names the file {name!r}, which is outside this folder", "Correct the name, or make the folder again.", file=folder)
    return folder / name


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    with atomic_write(path) as temporary:
        # A file name that is not valid Unicode holds lone surrogates, which become \uXXXX: still JSON, and read back as they were.
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", errors="backslashreplace")


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object. Returns an empty dict if the file is missing or holds no JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_json(path: Path, hint: str, required: Mapping[str, type], optional: Mapping[str, type] | None = None) -> dict[str, Any]:
    """Read a JSON object whose keys are known, and check the types of their values.

    Args:
        path: the file.
        hint: what to do if the file is damaged, as a sentence.
        required: keys that must be there, and the type of each value: str, int, float (which takes whole numbers too), list or dict.
        optional: keys that may be missing. Other keys are not checked.

    Raises:
        InputError: the file is missing or damaged, or a key is missing or of another type. The message names it.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("is missing", hint, file=path) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"is damaged ({type(error).__name__}: {' '.join(str(error).split())[:100]})", hint, file=path) from None
    if not isinstance(value, dict):
        raise InputError("is damaged: it holds no JSON object", hint, file=path)
    check_keys(path, value, hint, required, optional)
    return value


def check_keys(path: Path, value: Mapping[str, Any], hint: str, required: Mapping[str, type], optional: Mapping[str, type] | None = None) -> None:
    """Check the keys of a JSON object that was read from ``path``, as ``load_json`` does."""
    for key, kind in {**required, **(optional or {})}.items():
        if key not in value and key not in required:
            continue
        if key not in value:
            raise InputError(f"is damaged: it has no {key!r}", hint, file=path)
        kinds = (int, float) if kind is float else (kind,)
        if not isinstance(value[key], kinds) or isinstance(value[key], bool):
            raise InputError(f"is damaged: {key!r} is not {_KINDS[kind]}", hint, file=path)


def write_npz(path: Path, **arrays: Any) -> None:
    """Write arrays as ``.npz`` atomically. A missing folder is created."""
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def read_npz(path: Path, *names: str) -> dict[str, Any] | None:
    """Arrays of a ``.npz`` file: all of it, which must hold those ``names``; None if the file is missing or damaged. No pickles are read."""
    import zlib
    from zipfile import BadZipFile

    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, NotImplementedError, BadZipFile, zlib.error):
        return None  # a .npy file has no ``files``
    return arrays if arrays.keys() >= set(names) else None

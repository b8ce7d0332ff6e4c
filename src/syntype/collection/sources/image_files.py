"""Image files that an annotation file names: beside it, in a folder further up or down, or under a path of another computer."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from syntype.collection.sources.base import SourceConfig, parse_split
from syntype.errors import InputError

__all__ = ["find_images", "folders_of_images", "images_folder", "is_there", "parts_of"]

_MOST_FILES = 5_000_000
_ANNOTATIONS = frozenset({"annotations", "annotation", "labels"})


def folders_of_images(file: Path, source: Path, config: SourceConfig, further: Sequence[str] = ()) -> list[Path]:
    """The folders in which names may start: the one that the user gave, or else that of the annotation file and the usual ones beside it.

    All lie within the source. If that is a file, the folder above is meant too if the file's folder is one for annotations or of a split.

    Args:
        file: the annotation file.
        source: what the user gave: the file, or a folder that holds it.
        config: ``images`` is the user's folder.
        further: names of folders beside and above the annotation file that its format prescribes ("train2017").
    """
    if config.images is not None:
        beside = (source if source.is_dir() else source.parent) / config.images
        return [beside if beside.is_dir() and not Path(config.images).is_dir() else Path(config.images)]
    folder = file.parent
    up = folder != source if source.is_dir() else folder.name.casefold() in _ANNOTATIONS or parse_split(folder.name) is not None
    bases = (folder, folder.parent) if up else (folder,)
    places = [folder, *(base / name for base in bases for name in ("images", *further)), *bases[1:]]
    return [place for place in dict.fromkeys(places) if place.is_dir()] or [folder]


def images_folder(folder: Path, config: SourceConfig) -> Path:
    """Where relative names of image files start: the folder that the user gave, as a path from that of the table or from here; or else that of the
    table.

    Args:
        folder: of the table.
        config: ``images`` is the user's folder.

    Raises:
        InputError: it is none.
    """
    if config.images is None:
        return folder
    for path in (folder / config.images, Path(config.images)):
        if path.is_dir():
            return path
    raise InputError(
        "is not a folder", "Give the folder with the images, from the folder of the table or from here, with --images.", file=config.images
    )


def find_images(names: Iterable[str], folders: Sequence[Path]) -> dict[str, Path]:
    """The file of every name; for a name without one, the path at which it was expected.

    A name that is no path from one of the folders is looked for below them by its end, whatever its case and Unicode form: the path of the file below
    the folder is the end of the name ("D:/cameras/a/1.jpg" is "a/1.jpg"), or the name is the end of the path. A match counts only if it is the only
    one on both sides: two cameras may both have a file "IMG_0001.jpg".

    Args:
        names: names, as the annotation file has them.
        folders: where names may start, at least one; the first that has the file is used. A file outside all of them is never taken: annotation
            files may come from anybody.
    """
    present = _Listings(folders)
    found: dict[str, Path] = {}
    missing: list[str] = []
    for name in dict.fromkeys(names):
        path = next((path for folder in folders if (path := present.find(folder, name)) is not None), None)
        if path is None:
            missing.append(name)
        else:
            found[name] = path
    if missing:
        by_end = _find_by_end(missing, folders, set(found.values()))
        found |= {name: by_end.get(name) or _expected(folders[0], name) for name in missing}
    return found


def _expected(folder: Path, name: str) -> Path:
    """Where a missing file was expected; it lies in the folder whatever the name says, so that nothing else is read."""
    return folder.joinpath(*(part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")))


class _Listings:
    """What is in folders, each listed once: much faster than to ask for each of 100,000 files whether it is there."""

    def __init__(self, bounds: Sequence[Path]) -> None:
        self._bounds = tuple(f"{os.path.normpath(os.path.abspath(place))}{os.sep}".replace(os.sep * 2, os.sep) for place in bounds)
        self._names: dict[str, frozenset[str]] = {}

    def find(self, folder: Path, name: str) -> Path | None:
        """The file of a name that starts in a folder, exactly as it is written; None if there is none."""
        for plain in (name, name.replace("\\", "/")) if "\\" in name else (name,):
            place, _, file = plain.rpartition("/")
            key = f"{folder}/{place}" if place and not plain.startswith("/") else place or ("/" if plain.startswith("/") else str(folder))
            if key not in self._names:
                try:
                    self._names[key] = frozenset(os.listdir(key))
                except (OSError, ValueError):  # no such folder; a name with a null character or of more than 255 bytes
                    self._names[key] = frozenset()
            if file in self._names[key]:
                path = folder / plain
                if is_there(path) and os.path.normpath(os.path.abspath(path)).startswith(self._bounds):
                    return path
        return None


def parts_of(name: str) -> tuple[str, ...]:
    """A path as its folders and file, for comparison: without drive and leading slashes, in one case and Unicode form."""
    plain = unicodedata.normalize("NFC", name.replace("\\", "/")).casefold()
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    return tuple(parts[1:] if parts and len(parts[0]) == 2 and parts[0][1] == ":" else parts)


def _find_by_end(names: Sequence[str], folders: Sequence[Path], taken: set[Path]) -> dict[str, Path]:
    files: dict[str, dict[Path, tuple[str, ...]]] = defaultdict(dict)
    wanted = {parts[-1] for name in names if (parts := parts_of(name))}
    seen = 0
    for folder in [folders[0], *(place for place in folders[1:] if place not in folders[0].parents)]:
        for here, inner, present in os.walk(folder):
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            seen += len(present)
            if seen > _MOST_FILES:
                break
            for file in present:
                if unicodedata.normalize("NFC", file).casefold() in wanted:
                    path = Path(here) / file
                    files[unicodedata.normalize("NFC", file).casefold()].setdefault(path, parts_of(path.relative_to(folder).as_posix()))
    claims: dict[Path, list[str]] = defaultdict(list)
    for name in names:
        parts = parts_of(name)
        near = files.get(parts[-1] if parts else "", {})
        fitting = [path for path, other in near.items() if _is_end(other, parts) or _is_end(parts, other)]
        if len(fitting) == 1 and fitting[0] not in taken:
            claims[fitting[0]].append(name)
    return {claimants[0]: path for path, claimants in claims.items() if len(claimants) == 1}


def _is_end(short: tuple[str, ...], long: tuple[str, ...]) -> bool:
    return len(short) <= len(long) and long[len(long) - len(short) :] == short


def is_there(path: Path) -> bool:
    """Whether a path is that of a file. Names from other programs may be ones that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name of more than 255 bytes, or with a null character
        return False

"""Image files that an annotation file names: beside it, in a folder further up or down, or under a path of another computer."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from syntype.collection.sources.base import SourceConfig
from syntype.collection.sources.finding import FileFinder

__all__ = ["find_images", "folders_of_images", "is_there", "parts_of"]

_MOST_FILES = 5_000_000


def folders_of_images(folder: Path, config: SourceConfig, further: Sequence[str] = ()) -> list[Path]:
    """The folders in which names may start: the one that the user gave, or else that of the annotation file and the usual ones beside it.

    Args:
        folder: of the annotation file.
        config: ``images`` is the user's folder.
        further: names of folders beside and above the annotation file that its format prescribes ("train2017").
    """
    if config.images is not None:
        return [Path(config.images)]
    places = [folder, *(place / name for place in (folder, folder.parent) for name in ("images", *further)), folder.parent]
    return [place for place in dict.fromkeys(places) if place.is_dir()]


def find_images(names: Iterable[str], folders: Sequence[Path]) -> dict[str, Path]:
    """The file of every name; for a name without one, the path at which it was expected.

    A name that is no path from one of the folders is looked for in the first folder by its end: the path of the file below the folder is the end of
    the name ("D:/cameras/a/1.jpg" is "a/1.jpg"), or the name is the end of the path. A match counts only if it is the only one on both sides: two
    cameras may both have a file "IMG_0001.jpg".

    Args:
        names: names, as the annotation file has them.
        folders: where names may start, at least one; the first that has the file is used.
    """
    finders = [FileFinder(folder) for folder in folders]
    found: dict[str, Path] = {}
    missing: list[str] = []
    for name in dict.fromkeys(names):
        paths = (finder.find(name) for finder in finders)
        path = next((path for path in paths if is_there(path)), None)
        if path is None:
            missing.append(name)
        else:
            found[name] = path
    if missing:
        by_end = _find_by_end(missing, folders[0], set(found.values()))
        found |= {name: by_end.get(name) or folders[0] / name.replace("\\", "/").lstrip("/") for name in missing}
    return found


def parts_of(name: str) -> tuple[str, ...]:
    """A path as its folders and file, for comparison: without drive and leading slashes, in one case and Unicode form."""
    plain = unicodedata.normalize("NFC", name.replace("\\", "/")).casefold()
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    return tuple(parts[1:] if parts and len(parts[0]) == 2 and parts[0][1] == ":" else parts)


def _find_by_end(names: Sequence[str], folder: Path, taken: set[Path]) -> dict[str, Path]:
    files: dict[str, list[tuple[tuple[str, ...], Path]]] = defaultdict(list)
    wanted = {parts[-1] for name in names if (parts := parts_of(name))}
    seen = 0
    for here, folders, present in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        seen += len(present)
        if seen > _MOST_FILES:
            break
        for file in present:
            if unicodedata.normalize("NFC", file).casefold() in wanted:
                path = Path(here) / file
                parts = parts_of(path.relative_to(folder).as_posix())
                files[parts[-1]].append((parts, path))
    claims: dict[Path, list[str]] = defaultdict(list)
    for name in names:
        parts = parts_of(name)
        fitting = [path for other, path in files.get(parts[-1] if parts else "", ()) if _is_end(other, parts) or _is_end(parts, other)]
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

"""Folders of photographs: a sub-folder for each species, at whatever level, also below folders of the splits.

Nothing is decided silently: wrapping folders, splits and what was passed over stand in the listing's notes.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from syntype.collection.sources.base import ARCHIVES, SIDECARS, Entry, Listing, Reader, Refused, SourceConfig, parse_split, species_name
from syntype.errors import InputError

__all__ = ["READER", "SYSTEM_FOLDERS", "is_system_file", "is_system_folder", "readable"]

SYSTEM_FOLDERS = frozenset(
    {
        "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "recycler", "system volume information", "__macosx",
        "lost+found", "lost.dir", "thumbs", "__pycache__", "node_modules",
    }
)  # fmt: skip
"""Folders that operating systems, network storage and cloud programs make, in small letters. Folders whose names begin with a dot are too."""
_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"})
_NO_SPECIES = frozenset({"unknown", "unsorted", "misc", "miscellaneous", "other", "others", "various", "new folder", "untitled folder"})
_WRAPPERS = frozenset({"images", "image", "photos", "photographs", "pictures", "data", "dataset", "raw", "jpg", "jpeg", "originals"})
_OTHER_THINGS = _WRAPPERS | {
    "img", "imgs", "photo", "picture", "jpegimages", "jpgimages", "allimages", "all images", "media", "files", "frames", "frame", "crops", "dcim",
    "obj train data", "annotations", "labels", "upload", "uploads", "thumbnails", "gbif", "inaturalist", "download", "downloads",
}  # fmt: skip
"""Names of folders in which programs put images, in small letters: of no species."""
_BESIDE = (".csv", ".tsv", ".xlsx", ".parquet", ".json", ".jsonl", ".xml", ".yaml", ".yml")
_SHOWN = 4


def _recognises(source: Path, _: SourceConfig) -> bool:
    return source.is_dir()


def is_system_folder(name: str) -> bool:
    """Whether a folder is one of the system's or hidden, so that what lies in it is passed over."""
    return name.startswith(".") or name.strip().lower() in SYSTEM_FOLDERS


def is_system_file(name: str) -> bool:
    """Whether a file is one of the system's or hidden."""
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def readable(name: str) -> str:
    """A name as text: bytes that are not UTF-8 are read as Windows' Western code page (cp1252), or as Latin-1 where that has no such letter."""
    if name.isascii():
        return name
    raw = os.fsencode(name)
    for encoding in ("utf-8", "cp1252", "latin-1"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("ascii", "replace")


@dataclass
class _Walk:
    """What lies in a folder.

    Attributes:
        files: paths of the files that may be images, each with its folders below the first and its name.
        refused: what cannot be read: broken links, folders without permission.
        passed: number of files and folders of the system that were passed over, by name.
        links: folders that links lead to and that were listed before, or that lead back to themselves.
        beside: zips and tables that lie among the images and are not read.
    """

    files: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)
    beside: Counter[str] = field(default_factory=Counter)
    followed: int = 0
    seen: set[tuple[int, int]] = field(default_factory=set)

    def visit(self, folder: Path, above: tuple[str, ...] = ()) -> None:
        """List a folder, below the folders ``above``, and those in it. Links are followed; a folder is listed once, so that links in a circle end."""
        try:
            state = folder.stat()
            if (state.st_dev, state.st_ino) in self.seen:
                self.links.append(readable(str(folder)))
                return
            self.seen.add((state.st_dev, state.st_ino))
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.refused.append(Refused(readable(str(folder)), None, "cannot be opened", f"Check its permissions ({error.strerror})."))
            return
        for entry in sorted(found, key=lambda entry: entry.is_symlink()):  # what is really here first, links to it afterwards
            self._take(Path(entry.path), entry, (*above, entry.name))

    def _take(self, path: Path, entry: os.DirEntry[str], parts: tuple[str, ...]) -> None:
        try:
            is_folder, is_file, is_link = entry.is_dir(), entry.is_file(), entry.is_symlink()
        except OSError:  # links in a circle
            is_folder, is_file, is_link = False, False, True
        if is_folder:
            if is_system_folder(entry.name):
                self.passed[entry.name] += 1
                return
            self.followed += is_link
            self.visit(path, parts)
        elif is_system_file(entry.name):
            self.passed["hidden files"] += 1
        elif not is_file:
            if is_link:
                self.refused.append(Refused(readable(str(path)), None, "is a link that leads nowhere", "Copy the file that it meant to its place."))
        elif path.suffix.lower() in SIDECARS or path.name.lower().endswith(ARCHIVES):
            if path.name.lower().endswith((*_BESIDE, *ARCHIVES)):
                self.beside[readable(path.name)] += 1
        else:
            self.files[path] = parts

    def notes(self) -> Iterator[str]:
        """Sentences on what was passed over."""
        if self.passed:
            yield f"passed over: {_few([f'{name} ({number})' if number > 1 else name for name, number in self.passed.most_common()])}"
        if self.followed:
            yield f"{self.followed} links to folders were followed"
        if self.links:
            yield f"listed once although links lead there again: {_few(self.links)}"
        if self.beside:
            yield f"not read: {_few(list(self.beside))} (species come from the folders; to use a table or a zip, give it as SOURCE)"


def _read(source: Path, config: SourceConfig) -> Listing:
    """List the images below a folder.

    Raises:
        InputError: a column was asked for, or there are no files.
    """
    asked = [name for name in (config.file_column, config.species_column, config.group_column, config.licence_column, config.box_column) if name]
    if asked:
        raise InputError(f"is a folder: it has no column {asked[0]!r}", "Give the CSV file itself, or leave the column options out.", file=source)
    walk = _Walk()
    walk.visit(source)
    if not walk.files and not walk.refused:
        if walk.beside:
            raise InputError(f"holds no images, but {_few(list(walk.beside))}", f"Give {next(iter(walk.beside))} itself.", file=source)
        raise InputError("holds no files to import", "Give a folder with one sub-folder a species, or a CSV file.", file=source)
    notes = list(walk.notes())
    paths = {path: tuple(map(readable, raw)) for path, raw in walk.files.items()}
    strange = sorted({part for path, parts in paths.items() for raw, part in zip(walk.files[path], parts, strict=True) if raw != part})
    if strange:
        notes.append(f"names that are not UTF-8 were read as Western European letters: {_few(strange)}")
    depth = _common_depth(paths, notes)
    items: list[Entry | Refused] = list(walk.refused)
    names: dict[str, set[str]] = {}
    tops = {parts[depth] for parts in paths.values() if depth is not None and len(parts) > depth + 1}
    named_splits = sorted(top for top in tops if _split_of(top))
    if named_splits and len(named_splits) < len(tops):
        notes.append(f"folders named {_few(named_splits)} lie beside folders of species: they are read as species, not as splits")
    splits: Counter[str] = Counter()
    title = species_name(readable(source.resolve().name).replace("_", " "))
    for path, parts in paths.items():
        item = _entry(path, parts, depth, title, names, split_above=len(named_splits) == len(tops))
        if config.species is not None and (depth is None or isinstance(item, Refused)):  # in no folder that names a species, and none is needed
            split = _split_of(parts[depth]) if depth is not None and len(parts) > depth + 1 and len(named_splits) == len(tops) else None
            item = Entry(path, species_name(config.species), split=split, original_name="/".join(parts))
        if isinstance(item, Entry) and item.split:
            splits[item.split] += 1
        items.append(item)
    if splits:
        notes.append(f"splits are the author's: {', '.join(f'{name} {splits[name]:,}' for name in ('train', 'val', 'test') if splits[name])}")
        missing = [name for name in ("train", "test") if not splits[name]]
        if missing:
            notes.append(f"the author's splits have no {' and no '.join(missing)} images; draw them anew with --set redraw_splits=true")
    joined = [f"{' and '.join(sorted(spellings))} as {name}" for name, spellings in names.items() if len(spellings) > 1]
    if joined:
        notes.append(f"folders of one name joined: {_few(joined)}")
    if config.format is None and config.species is None:
        _require_names(source, names, walk)
    doubtful = sorted(name for name in names if name.lower() in _NO_SPECIES | _OTHER_THINGS)
    if doubtful and config.species is None:
        notes.append(f"imported as species, by the names of their folders: {_few(doubtful)}; leave them out if they are none")
    whole = depth is None
    form = "folder of images of one species, the folder's name" if whole else "folder with a sub-folder for each species"
    return Listing(form, items, notes=notes, origins=[readable(str(source))])


def _require_names(source: Path, names: dict[str, set[str]], walk: _Walk) -> None:
    """Refuse a folder in which the names of the folders are surely none of species: it is the data set of another program, without its description.

    Raises:
        InputError: they are.
    """
    things = [name for name in names if name.lower() in _OTHER_THINGS]
    numbers = [name for name in names if not any(letter.isalpha() for letter in name)]
    if len(things) < len(names) and (len(numbers) < len(names) or len(names) < 2):
        return
    beside = next(iter(walk.beside), None)
    mend = f"Give {beside} itself, if it says so" if beside else "Give the file that says so, or name the folders after the species"
    where = f"they lie in {_few(sorted(map(repr, names)))}" if names else "they lie in no folder named after a species"
    if numbers:
        where = f"their folders have numbers as names ({_few(sorted(names))})"
    raise InputError(f"says nowhere what the images show: {where}", f"{mend}; or add --format folders to take these names.", file=source)


def _common_depth(paths: dict[Path, tuple[str, ...]], notes: list[str]) -> int | None:
    """How many folders lie above those of the species (or of the splits), at the same place for all files; None: the files lie in no sub-folder.

    A folder wraps the species' folders if it is the only one of its level, holds no image itself, and there are folders below it.
    """
    folders = [parts[:-1] for parts in paths.values()]
    if all(not parts for parts in folders):
        return None
    depth = 0
    while True:
        here = {parts[depth] for parts in folders if len(parts) > depth}
        direct = any(len(parts) <= depth for parts in folders)
        below = {parts[depth + 1] for parts in folders if len(parts) > depth + 1}
        loose = any(len(parts) == depth + 1 for parts in folders)
        if direct or len(here) != 1 or loose or not below or parse_split(next(iter(here))):
            break
        if len(below) < 2 and not (next(iter(here)).lower() in _WRAPPERS or len(folders) == 1 or _deeper(folders, depth + 1)):
            break
        depth += 1
    if depth:
        notes.append(f"the species' folders lie in {'/'.join(next(iter(folders))[:depth])}")
    return depth


def _deeper(folders: list[tuple[str, ...]], depth: int) -> bool:
    """Whether there are several folders on some level below ``depth``, all of whose files lie as deep: then what is above only wraps them."""
    return any(len({parts[level] for parts in folders if len(parts) > level}) > 1 for level in range(depth, max(map(len, folders))))


def _entry(path: Path, parts: tuple[str, ...], depth: int | None, title: str, names: dict[str, set[str]], *, split_above: bool) -> Entry | Refused:
    """One file, with its species and split by the folders it lies in."""
    shown = "/".join(parts)
    if depth is None:
        folder, split = title, None
    else:
        above = list(parts[depth:-1])
        split = _split_of(above[0]) if above and split_above else None
        if split:
            above = above[1:]
        elif len(above) > 1 and _split_of(above[1]):  # species/train/1.jpg
            split = _split_of(above[1])
        elif len(above) > 1 and _split_of(above[-1]):
            split = _split_of(above[-1])
        if not above:
            return Refused(readable(str(path)), None, "lies beside the species' folders", "Move it into the folder of its species.")
        folder = above[0]
    species = species_name(folder.replace("_", " "))
    if not species or not any(unicodedata.category(letter)[0] in "LN" for letter in species):
        return Refused(readable(str(path)), None, "has no species", "Name its folder after the species.")
    names.setdefault(species, set()).add(folder)
    return Entry(path, species, split=split, original_name=shown)


def _split_of(folder: str) -> str | None:
    """The split that a folder's name means: ``train``, ``valid_images``, ``images_test`` ..."""
    words = folder.strip().lower().replace("-", "_").split("_")
    rest = [word for word in words if word not in _WRAPPERS and word != "set"]
    return parse_split(rest[0]) if len(rest) == 1 else None


def _few(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")


READER = Reader("folders", "folders named after species, also below wrapping folders and train/val/test", _recognises, _read)

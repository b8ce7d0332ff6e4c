"""Pascal VOC: a folder of XML files, one an image, as labelImg, Roboflow and others write them.

Format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from syntype.collection.sources.annotations import as_text, group_photographs, keep_splits, left_out_note, names_no_species, number, refuse_options
from syntype.collection.sources.base import Entry, Listing, Reader, Refused, SourceConfig, parse_split, species_name
from syntype.collection.sources.image_files import is_there
from syntype.collection.sources.xml_files import head_of, load_xml
from syntype.errors import InputError, plural

__all__ = ["READER"]

_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
_LOOKED_AT = 20
"""Files of a folder that are looked at, as the first one may be damaged."""
_IMAGE_FOLDERS = ("JPEGImages", "images")


def _recognises(source: Path, _: SourceConfig) -> bool:
    files = [source] if source.is_file() and source.suffix.lower() == ".xml" else _files_in(source) if source.is_dir() else []
    return any(_is_voc(path) for path in files[:_LOOKED_AT])


def _is_voc(path: Path) -> bool:
    head = head_of(path)
    return b"<annotation>" in head or b"<annotation " in head


def _files_in(folder: Path) -> list[Path]:
    """The XML files of a folder: in ``Annotations``, in the folder itself, or in folders of splits and those in them."""
    try:
        splits = [place for place in sorted(folder.iterdir()) if place.is_dir() and parse_split(place.name)]
        places = ([folder / "Annotations"], [folder / "annotations"], [folder], [*splits, *(place / "annotations" for place in splits)])
        for group in places:
            found = [path for place in group for path in sorted(place.glob("*.xml")) if not path.name.startswith(".")]
            if found:
                return found
    except (OSError, ValueError):
        pass
    return []


def _read(source: Path, config: SourceConfig) -> Listing:
    """List the objects of VOC files: a row an object.

    Raises:
        InputError: there are none.
    """
    files = [source] if source.is_file() else _files_in(source)
    if not files:
        raise InputError("holds no VOC files", "Give the folder with the XML files, or the one that holds it.", file=source)
    refuse_options(config, source, "Pascal VOC")
    root = source.parent if source.is_file() else source
    sets = _image_sets(root)
    items: list[Entry | Refused] = []
    left_out: Counter[str] = Counter()
    bare = 0
    for path in files:
        try:
            content = load_xml(path)
        except InputError as error:
            items.append(Refused(str(path), None, "is not whole XML" if "XML" in error.reason else error.reason, error.hint))
            continue
        split = sets.get(path.stem) or (parse_split(path.relative_to(root).parts[0]) if path.parent != root else None)
        found = _objects(path, content, root, config, split, left_out)
        bare += not found and content.find("object") is None
        items += found
    items, remarks = keep_splits(items)
    items, _ = group_photographs(items)
    notes = left_out_note(left_out)
    if bare:
        notes.append(f"{plural(bare, 'file')} without an object: not imported")
    notes += remarks
    return Listing("Pascal VOC: a row an object", items, notes=notes, origins=[str(source)])


def _image_sets(root: Path) -> dict[str, str]:
    """The split of each image by its name without ending, from ``ImageSets/Main``; images that are in several have none."""
    found: dict[str, set[str]] = {}
    for split in ("train", "val", "test"):
        try:
            lines = (root / "ImageSets" / "Main" / f"{split}.txt").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            if line.strip():
                found.setdefault(line.split()[0], set()).add(split)
    return {name: splits.pop() for name, splits in found.items() if len(splits) == 1}


def _objects(path: Path, content: Any, root: Path, config: SourceConfig, split: str | None, left_out: Counter[str]) -> list[Entry | Refused]:
    """The rows of one file."""
    if content.tag != "annotation":
        return [Refused(str(path), None, "is not a VOC file", "Remove it from the folder.")]
    image = _image_of(path, as_text(content.findtext("filename")), root, config)
    if isinstance(image, Refused):
        return [image]
    width, height = number(content.findtext("size/width")), number(content.findtext("size/height"))
    frame = (int(width), int(height)) if width and height and width >= 1 and height >= 1 else None
    rows: list[Entry | Refused] = []
    for row, one in enumerate(content.findall("object"), 1):
        species = species_name(as_text(one.findtext("name")) or "")
        if not species:
            rows.append(Refused(str(path), row, "has no species", "Give the object a name."))
        elif names_no_species(species):
            left_out[species] += 1
        else:
            box, note = _box_of(one)
            values = {
                key: text for key in ("pose", "truncated", "difficult") if (text := as_text(one.findtext(key))) not in (None, "0", "Unspecified")
            }
            rows.append(Entry(image, species, row, path.name, split=split, box=box, box_frame=frame, note=note, values=values,
                              original_name=_shown(image, root)))  # fmt: skip
    return rows


def _image_of(path: Path, name: str | None, root: Path, config: SourceConfig) -> Path | Refused:
    """The image of an annotation file: the one that it names. Programs look for the one that is called like the file, so the two must agree."""
    places = [Path(config.images)] if config.images is not None else [path.parent, *(path.parent.parent / name for name in _IMAGE_FOLDERS), root]
    places = [place for place in places if place.is_dir()] or [path.parent]
    alike = [place / f"{path.stem}{ending}" for place in places for ending in (*_ENDINGS, *(ending.upper() for ending in _ENDINGS))]
    own = next((candidate for candidate in alike if is_there(candidate)), None)
    base = name.replace("\\", "/").rpartition("/")[2] if name else None
    named = next((file for place in places if base and is_there(file := place / base)), None)
    if named is not None and own is not None and named.stem != own.stem:
        hint = f"It names {named.name}, and {own.name} is there too: correct <filename>, or rename the file."
        return Refused(str(path), None, "names another image than the one it is called after", hint)
    return named or own or places[0] / (base or f"{path.stem}.jpg")


def _shown(image: Path, root: Path) -> str:
    return image.relative_to(root).as_posix() if image.is_relative_to(root) else image.name


def _box_of(one: Any) -> tuple[tuple[float, float, float, float] | None, str | None]:
    if one.find("bndbox") is None:
        return None, None
    edges: Mapping[str, float | None] = {key: number(one.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")}
    left, top, right, bottom = edges.values()
    if left is None or top is None or right is None or bottom is None or right <= left or bottom <= top:
        return None, "box not used: it is not left, top, right, bottom with an area"
    return (left, top, right, bottom), None


READER = Reader("voc", "Pascal VOC: XML files, one an image", _recognises, _read)

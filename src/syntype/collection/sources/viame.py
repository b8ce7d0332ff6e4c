"""VIAME CSV, as VIAME and DIVE write it: a row a detection, tracks are groups.

Format: https://viame.readthedocs.io/en/latest/section_links/detection_file_conversions.html. The columns are: number of the detection or track;
video or image; number of the frame; left, top, right, bottom of the box in pixels; confidence; length; then pairs of species and confidence, and
behind them fields that begin with a bracket: ``(kp)``, ``(atr)``, ``(trk-atr)``, ``(poly)``. Lines that begin with ``#`` are comments.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from syntype.collection.sources.annotations import as_text, left_out_note, names_no_species, number, refuse_options
from syntype.collection.sources.base import Entry, Listing, Reader, Refused, SourceConfig, species_name
from syntype.collection.sources.image_files import find_images, folders_of_images
from syntype.errors import InputError, plural, shown_list

__all__ = ["READER"]

_FIXED = 9
_HEAD = 64 * 1024  # bytes looked at to recognise the format
_MOST_FILES = 50
_VIDEO = re.compile(r"\.(mp4|m4v|avi|mov|mkv|mpe?g|wmv|ts|mts|webm|flv)$|^\d{1,2}:\d{2}:\d{2}(\.\d+)?$", re.IGNORECASE)
"""A film, or the time in a film, instead of the file of an image."""
_HEADER = re.compile(r"^\s*\"?#\s*1\s*:\s*detection or track", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"^\((?:trk-)?atr\)\s+(\S+)\s+(.+)$")


@dataclass(frozen=True)
class _Row:
    """One detection: number of its line, its cells, and its species with their confidences, the highest first."""

    line: int
    cells: list[str]
    pairs: list[tuple[str, float]]


def _recognises(source: Path, _: SourceConfig) -> bool:
    return _is_viame(source) if source.is_file() else bool(_files_in(source))


def _files_in(folder: Path) -> list[Path]:
    """The VIAME files of a folder."""
    try:
        tables = [path for path in sorted(folder.glob("*.csv")) if not path.name.startswith(".")]
    except (OSError, ValueError):
        return []
    return [path for path in tables if _is_viame(path)] if len(tables) <= _MOST_FILES else []


def _is_viame(path: Path) -> bool:
    if path.suffix.lower() not in (".csv", ".txt"):
        return False
    try:
        with path.open("rb") as file:
            text = file.read(_HEAD).decode("utf-8-sig", errors="replace")
    except OSError:
        return False
    lines = [line for line in text.splitlines() if line.strip()]
    if any(_HEADER.match(line) for line in lines[:5]):
        return True
    first = next((line for line in lines if not line.lstrip().startswith("#")), "")
    cells = next(_cells(first), [])
    return len(cells) >= _FIXED + 2 and _problem(cells) is None and number(cells[_FIXED]) is None and number(cells[_FIXED + 1]) is not None


def _cells(text: str) -> Iterator[list[str]]:
    try:
        for row in csv.reader(io.StringIO(text), skipinitialspace=True):
            yield [cell.strip() for cell in row]
    except csv.Error:
        return


def _read(source: Path, config: SourceConfig) -> Listing:
    """List the detections of a VIAME file.

    Raises:
        InputError: the file cannot be read, or names frames of a film.
    """
    tables = [source] if source.is_file() else _files_in(source)
    if len(tables) != 1:
        told = f"{len(tables)} VIAME files ({shown_list((path.name for path in tables), 3)})" if tables else "no VIAME file"
        raise InputError(f"holds {told}", "Give the CSV file itself.", file=source)
    path = tables[0]
    refuse_options(config, path, "VIAME CSV")
    text, notes = _text_of(path)
    rows, refused = _rows(path, text)
    films = [row for row in rows if not row.cells[1] or _VIDEO.search(row.cells[1])]
    if films and len(films) == len(rows):
        raise InputError(
            f"names frames of a film ({films[0].cells[1][:60] or 'no file'}), not image files",
            "Extract the frames as images (DIVE and ffmpeg do it), and put their names into the second column.",
            file=path,
        )
    hint = "Extract the frame as an image, and put its name into the second column."
    refused += [Refused(row.cells[1], row.line, "is a frame of a film, not an image file", hint) for row in films]
    film_lines = {row.line for row in films}
    rows = [row for row in rows if row.line not in film_lines]
    files = find_images((row.cells[1] for row in rows), folders_of_images(path, source, config))
    items: list[Entry | Refused] = list(refused)
    left_out: Counter[str] = Counter()
    seen: dict[tuple[str, ...], int] = {}
    for row in rows:
        item = _item(row, files, seen, left_out)
        if item is not None:
            items.append(item)
    items.sort(key=lambda item: item.row or 0)
    notes += left_out_note(left_out)
    notes += _remarks([item for item in items if isinstance(item, Entry)])
    return Listing("VIAME CSV: a row a detection, tracks are groups", items, notes=notes, origins=[str(source)])


def _text_of(path: Path) -> tuple[str, list[str]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError("cannot be read", f"Check its permissions ({type(error).__name__}).", file=path) from None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace"), ["the text is in UTF-16"]
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace"), ["the text is not in UTF-8 and was read as Windows-1252: check names with accents"]


def _rows(path: Path, text: str) -> tuple[list[_Row], list[Refused]]:
    """Rows by the number of their line in the file, comments counted."""
    rows, refused = [], []
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=False)
    try:
        for raw in reader:
            cells = [as_text(cell) or "" for cell in raw]
            if not any(cells) or cells[0].startswith("#"):
                continue
            problem = _problem(cells)
            if problem:
                name = cells[1] if len(cells) > 1 else ""
                refused.append(Refused(name[:200], reader.line_num, problem, "Nine columns, then pairs of species and confidence, are needed."))
            else:
                rows.append(_Row(reader.line_num, cells, _pairs(cells)))
    except csv.Error as error:
        raise InputError(f"is damaged at line {reader.line_num} ({str(error)[:80]})", "Export it again.", file=path) from None
    return rows, refused


def _problem(cells: Sequence[str]) -> str | None:
    if len(cells) < _FIXED:
        return "has too few columns"
    if number(cells[0]) is None:
        return "has no number of a detection or track"
    if any(number(cell) is None for cell in cells[3:7]):
        return "has a box that is not four numbers"
    return None


def _pairs(cells: Sequence[str]) -> list[tuple[str, float]]:
    pairs = []
    for name, confidence in zip(cells[_FIXED::2], cells[_FIXED + 1 :: 2], strict=False):
        value = number(confidence)
        if not name or name.startswith("(") or value is None:
            break
        pairs.append((species_name(name), value))
    return sorted(pairs, key=lambda pair: -pair[1])  # stable: of equals the first


def _item(row: _Row, files: dict[str, Path], seen: dict[tuple[str, ...], int], left_out: Counter[str]) -> Entry | Refused | None:
    name = row.cells[1]
    if not row.pairs:
        return Refused(name, row.line, "names no species", "Assign a type to the track in VIAME or DIVE, or remove the row.")
    species, confidence = row.pairs[0]
    if names_no_species(species):
        left_out[species] += 1
        return None
    key = (row.cells[0], name, *row.cells[3:7], species)
    if key in seen:
        return Refused(name, row.line, "is listed twice", f"Line {seen[key]} says the same: remove one of them.")
    seen[key] = row.line
    left, top, right, bottom = (float(cell) for cell in row.cells[3:7])
    sound = right > left and bottom > top
    note = None if sound else f"box not used: {','.join(row.cells[3:7])[:60]} is not left, top, right, bottom with an area"
    values = {"frame": row.cells[2], "confidence": f"{confidence:g}"}
    length = number(row.cells[8])
    if length is not None and length > 0:
        values["target_length"] = row.cells[8]
    if len(row.pairs) > 1:
        values["further_species"] = ", ".join(f"{name} {value:g}" for name, value in row.pairs[1:6])
    for cell in row.cells[_FIXED + 2 * len(row.pairs) :]:
        found = _ATTRIBUTE.match(cell)
        if found:
            values.setdefault(f"attribute_{found[1]}", found[2])
    track = number(row.cells[0])
    group = str(int(track)) if track is not None and track.is_integer() else row.cells[0]
    box = (left, top, right, bottom) if sound else None
    return Entry(files[name], species, row.line, group=group, box=box, note=note, values=values, original_name=name.replace("\\", "/"))


def _remarks(entries: Sequence[Entry]) -> list[str]:
    names: dict[str | None, set[str | None]] = defaultdict(set)
    for entry in entries:
        names[entry.group].add(entry.species)
    notes = []
    mixed = sorted(str(track) for track, species in names.items() if len(species) > 1)
    if mixed:
        shown = ", ".join(mixed[:5]) + (", …" if len(mixed) > 5 else "")
        notes.append(f"{plural(len(mixed), 'track')} named as different species in different frames ({shown}): each frame keeps its own")
    unsure = sum(float(str(entry.values["confidence"])) < 1 for entry in entries)
    if unsure:
        notes.append(f"{plural(unsure, 'detection')} with a confidence below 1: the species may be a program's and not a person's; check them")
    return notes


READER = Reader("viame", "VIAME and DIVE CSV", _recognises, _read)

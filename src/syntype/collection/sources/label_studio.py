"""Label Studio exports: JSON and JSON-MIN, with choices (labels of images) and rectangles (boxes, in percent of the image).

Formats: https://labelstud.io/guide/task_format and https://labelstud.io/guide/export
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from syntype.collection.sources.annotations import (
    as_text,
    further_values,
    group_photographs,
    keep_splits,
    left_out_note,
    names_no_species,
    number,
    refuse_options,
)
from syntype.collection.sources.base import Entry, Listing, Reader, Refused, SourceConfig, parse_split, species_name
from syntype.collection.sources.image_files import find_images, folders_of_images, is_there
from syntype.collection.sources.json_files import forget, load_json_source, peek_json
from syntype.errors import InputError, plural

__all__ = ["READER"]

_IMAGE_KEYS = ("image", "img", "photo", "picture", "ocr", "url", "file", "file_name")
_MIN_KEYS = frozenset({"annotator", "annotation_id", "created_at", "updated_at", "lead_time"})
_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of an uploaded file."""
_PICTURE = re.compile(r"\.(jpe?g|png|webp|tiff?|gif|bmp)$", re.IGNORECASE)
_SPECIES_KEYS = ("species", "taxon", "scientific_name", "choice", "label", "labels", "class")
_BOXES = ("rectanglelabels", "brushlabels", "polygonlabels", "ellipselabels", "keypointlabels")


@dataclass(frozen=True)
class _Label:
    """A label that one annotator gave to an image, or to a box in it."""

    species: str
    box: tuple[float, float, float, float] | None
    frame: tuple[int, int] | None
    note: str | None


def _recognises(source: Path, _: SourceConfig) -> bool:
    return _is_label_studio(peek_json(source))


def _is_label_studio(content: Any) -> bool:
    first = content[0] if isinstance(content, list) and content else None
    if not isinstance(first, dict):
        return False
    whole = isinstance(first.get("data"), dict) and ("annotations" in first or "completions" in first)
    return whole or (len(_MIN_KEYS & set(first)) >= 2 and _image_key(first, None) is not None)


def _image_key(data: Mapping[str, Any], asked: str | None) -> str | None:
    """The key of a task's data that names the image."""
    if asked is not None:
        return asked if asked in data else None
    usual = [key for key in _IMAGE_KEYS if isinstance(data.get(key), str)]
    pictures = [key for key, value in data.items() if isinstance(value, str) and _PICTURE.search(value.split("?")[0] or value)]
    return next((key for key in (*[key for key in usual if key in pictures], *pictures, *usual)), None)


def _read(source: Path, config: SourceConfig) -> Listing:
    """List the labels of an export: a row a box, or a row an image that has a choice and no boxes.

    Raises:
        InputError: the file is damaged, or is no such export.
    """
    try:
        content = load_json_source(source)
        if not _is_label_studio(content):
            raise InputError("is not a Label Studio export", "Export the project as JSON.", file=source)
    finally:
        forget()
    refuse_options(config, source, "a Label Studio export", "file", "species", "group", "split", "licence")
    tasks = _tasks(content)
    reader = _Export(config, _question(source, tasks, config))
    names = {row: name for row, group in tasks for name in [_name_in(group[0], config)] if name is not None}
    files = _files_of(names.values(), folders_of_images(source, source, config, ("media", "upload")))
    items: list[Entry | Refused] = []
    for row, group in tasks:
        items += reader.items(row, group, names.get(row), files)
    items, _ = group_photographs(items)
    items, remarks = keep_splits(items)
    return Listing("Label Studio export", items, notes=[*reader.notes(), *remarks], origins=[str(source)])


def _tasks(content: Sequence[Any]) -> list[tuple[int, list[Any]]]:
    """The tasks with the number of their first row. In JSON-MIN each annotation of a task is a row of its own."""
    tasks: dict[Any, tuple[int, list[Any]]] = {}
    for row, task in enumerate(content, 1):
        short = isinstance(task, dict) and not isinstance(task.get("data"), dict)
        key = (as_text(task.get("id")) if short else None) or row
        tasks.setdefault(key, (row, []))[1].append(task)
    return list(tasks.values())


def _name_in(task: Any, config: SourceConfig) -> str | None:
    data = _data_of(task)
    key = _image_key(data, config.file_column)
    return None if key is None else as_text(data[key])


def _question(source: Path, tasks: Sequence[tuple[int, list[Any]]], config: SourceConfig) -> str | None:
    """The question of the project whose answers are the species. A project may also ask for the quality, the sex or the pose.

    Raises:
        InputError: there are several, and none is called "species", "label" or the like.
    """
    kinds: dict[str, str] = {}
    for _, group in tasks:
        for task in group:
            for name, kind, _ in _results(task, config):
                kinds.setdefault(name, kind)
    shown = ", ".join(sorted(kinds))[:200]
    if config.species_column is not None:
        if kinds and config.species_column not in kinds:
            raise InputError(
                f"has no question {config.species_column!r}; there are: {shown}", "Give one of these with --species-column.", file=source
            )
        return config.species_column
    boxes = [name for name, kind in kinds.items() if kind in _BOXES]
    choices = [name for name, kind in kinds.items() if kind not in _BOXES]
    asked = [name for name in choices if name.casefold() in _SPECIES_KEYS[:3]]
    candidates = [*boxes, *asked] if boxes else asked or [name for name in choices if name.casefold() in _SPECIES_KEYS] or choices
    if len(candidates) > 1:
        raise InputError(f"has several questions ({shown})", "Say which has the species by --species-column.", file=source)
    return candidates[0] if candidates else None


def _results(task: Any, config: SourceConfig) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Question, kind and result of all answers of a task that are labels."""
    if not isinstance(task, dict):
        return []
    if isinstance(task.get("data"), dict):
        annotations = task.get("annotations", task.get("completions"))
        return [found for one in (annotations if isinstance(annotations, list) else []) if isinstance(one, dict) for found in _whole_results(one)]
    return _short_results(task, config)


def _whole_results(annotation: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    results = annotation.get("result")
    found: list[tuple[str, str, Mapping[str, Any]]] = []
    for one in results if isinstance(results, list) else []:
        if isinstance(one, dict) and isinstance(one.get("value"), dict) and (one.get("type") in _BOXES or one.get("type") in ("choices", "taxonomy")):
            found.append((str(one.get("from_name")), str(one["type"]), one))
    return found


def _short_results(task: Mapping[str, Any], config: SourceConfig) -> list[tuple[str, str, Mapping[str, Any]]]:
    """The same of a row of JSON-MIN: a choice is a text, several choices are a mapping, regions a list."""
    image = _image_key(task, config.file_column)
    found: list[tuple[str, str, Mapping[str, Any]]] = []
    texts = []
    for key, value in task.items():
        if key in _MIN_KEYS or key in ("id", image, config.group_column, config.split_column, config.licence_column):
            continue
        if isinstance(value, list):
            regions = [(kind, one) for one in value if isinstance(one, dict) for kind in _BOXES if isinstance(one.get(kind), list)]
            found += [(key, kind, {**one, "value": one}) for kind, one in regions]
        elif isinstance(value, dict) and isinstance(value.get("choices"), list):
            found.append((key, "choices", {"value": value}))
        elif isinstance(value, str) and value.strip():
            texts.append((key, "choices", {"value": {"choices": [value]}}))
    asked = [one for one in texts if one[0] == config.species_column or (config.species_column is None and one[0].casefold() in _SPECIES_KEYS)]
    return [*found, *(asked or ([] if found else texts))]


def _data_of(task: Any) -> Mapping[str, Any]:
    if not isinstance(task, dict):
        return {}
    data = task.get("data")
    return data if isinstance(data, dict) else task


def _files_of(names: Any, folders: Sequence[Path]) -> dict[str, Path]:
    """The files of images. Names are addresses on the server: of an upload, of a file on its disk, or of a cloud."""
    plain = {name: _path_of(name) for name in dict.fromkeys(names)}
    files = find_images(plain.values(), folders)
    result = {name: files[path] for name, path in plain.items()}
    bare = {name: _UPLOADED.sub("", path.rpartition("/")[2]) for name, path in plain.items() if not is_there(result[name])}
    counts = Counter(bare.values())
    second = find_images([stem for stem, count in counts.items() if count == 1 and stem], folders)
    taken = {path for path in result.values() if is_there(path)}
    for name, stem in bare.items():
        path = second.get(stem)
        if path is not None and is_there(path) and path not in taken:
            result[name] = path
    return result


def _path_of(name: str) -> str:
    """The path within an address."""
    if not ("?" in name or "://" in name):
        return unquote(name) if name.startswith("/data/") else name
    try:
        parts = urlsplit(name)
    except ValueError:
        return name
    local = parse_qs(parts.query).get("d")
    return local[0] if local else unquote(parts.path).lstrip("/")


class _Export:
    """Reads tasks, and counts what the user should know."""

    def __init__(self, config: SourceConfig, question: str | None) -> None:
        self.config, self.question = config, question
        self.left_out: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def items(self, row: int, group: Sequence[Any], name: str | None, files: Mapping[str, Path]) -> list[Entry | Refused]:
        """The rows of one task."""
        task = group[0]
        if not isinstance(task, dict) or name is None:
            return [Refused("", row, "names no image", "Export tasks that have an image, or name its key with --file-column.")]
        shown = _path_of(name)
        answers, truths = self._answers(group)
        if not answers:
            self.counts["unlabelled"] += 1
            return []
        chosen = self._agreed(answers, truths)
        if chosen is None:
            several = " / ".join(sorted({label.species for answer in answers for label in answer}))[:120]
            return [Refused(shown, row, "is labelled differently by several annotators", f"They say {several}: settle it in Label Studio.")]
        labels = []
        for label in chosen:
            if names_no_species(label.species):
                self.left_out[label.species] += 1
            else:
                labels.append(label)
        boxed = [label for label in labels if label.box is not None]
        labels = boxed or labels
        data = _data_of(task)
        image_key = _image_key(data, self.config.file_column)
        min_keys = ("id", "predictions", self.question or "", *_MIN_KEYS)
        drop = (image_key or "", *(min_keys if data is task else ()), *(key for key, value in data.items() if isinstance(value, list)))
        values = {**further_values(data, drop), "source_task_id": as_text(task.get("id"))}
        if self.config.licence_column:
            values["licence"] = as_text(data.get(self.config.licence_column))
        kept = {key: value for key, value in values.items() if value is not None}
        url = name if name.startswith(("http://", "https://")) else None
        own_group = as_text(data.get(self.config.group_column or "group"))
        split = parse_split(as_text(data.get(self.config.split_column or "split")))
        return [
            Entry(
                files[name], label.species, row, group=own_group, split=split, box=label.box, box_shares=label.box is not None, box_frame=label.frame,
                note=label.note, values={**kept, "source_url": url} if url else kept, original_name=shown,
                url=url if url and not is_there(files[name]) else None,
            )
            for label in labels
        ]  # fmt: skip

    def notes(self) -> list[str]:
        """Sentences on what was found."""
        notes = left_out_note(self.left_out)
        if self.counts["unlabelled"]:
            notes.append(f"{plural(self.counts['unlabelled'], 'task')} without a label: not imported")
        if self.counts["cancelled"]:
            notes.append(f"{plural(self.counts['cancelled'], 'annotation')} skipped by the annotator: not used")
        if self.counts["several"]:
            notes.append(f"{plural(self.counts['several'], 'image')} with several annotations that agree on the species: the first is used")
        if self.counts["truth"]:
            notes.append(
                f"{plural(self.counts['truth'], 'image')} on which annotators differ, with one annotation marked as ground truth: that is used"
            )
        return notes

    def _answers(self, group: Sequence[Any]) -> tuple[list[list[_Label]], list[bool]]:
        """The labels of each annotator, and whether they are marked as the truth; those who skipped the task, or labelled nothing, are left out."""
        found: list[tuple[list[_Label], bool]] = []
        for task in group:
            if not isinstance(task, dict):
                continue
            if not isinstance(task.get("data"), dict):
                found.append((self._labels(_short_results(task, self.config)), False))
                continue
            annotations = task.get("annotations", task.get("completions"))
            for one in annotations if isinstance(annotations, list) else []:
                if isinstance(one, dict) and one.get("was_cancelled") is True:
                    self.counts["cancelled"] += 1
                elif isinstance(one, dict):
                    found.append((self._labels(_whole_results(one)), one.get("ground_truth") is True))
        found = [(labels, truth) for labels, truth in found if labels]
        return [labels for labels, _ in found], [truth for _, truth in found]

    def _agreed(self, answers: Sequence[list[_Label]], truths: Sequence[bool]) -> list[_Label] | None:
        """The answer that counts; None if annotators contradict one another."""
        if len(answers) == 1:
            return answers[0]
        if len({tuple(sorted({label.species for label in answer})) for answer in answers}) == 1:
            self.counts["several"] += 1
            return answers[0]
        true = [answer for answer, truth in zip(answers, truths, strict=True) if truth]
        if len(true) == 1:
            self.counts["truth"] += 1
            return true[0]
        return None

    def _labels(self, results: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[_Label]:
        """The labels among results: of choices for the whole image or for a region, and of regions."""
        labels = []
        for name, kind, result in results:
            value = result["value"]
            names = value.get(kind, value.get("choices"))
            if name != self.question or not isinstance(names, list):
                continue
            whole = kind not in _BOXES and number(value.get("width")) is None
            box, frame, note = (None, None, None) if whole else _region(kind, value, result)
            labels += [_Label(species, box, frame, note) for one in names if (species := _name_of(one))]
        return labels


def _name_of(name: Any) -> str | None:
    """A label as a species name; of a path in a taxonomy the last step."""
    if isinstance(name, list):
        name = name[-1] if name else None
    text = as_text(name)
    return species_name(text) or None if text else None


def _region(
    kind: str, value: Mapping[str, Any], result: Mapping[str, Any]
) -> tuple[tuple[float, float, float, float] | None, tuple[int, int] | None, str | None]:
    """The box of a region in shares of the image, the size of that image, and a note if there is no box."""
    width, height = number(result.get("original_width")), number(result.get("original_height"))
    frame = (int(width), int(height)) if width and height and width >= 1 and height >= 1 else None
    if number(result.get("image_rotation")) not in (None, 0):
        return None, None, "box not used: the image was turned while it was labelled"
    if kind == "polygonlabels" and isinstance(value.get("points"), list):
        points = [[number(part) for part in point] for point in value["points"] if isinstance(point, list) and len(point) == 2]
        corners = [(x, y) for x, y in points if x is not None and y is not None]
    elif kind in ("rectanglelabels", "choices", "taxonomy"):
        corners = _corners(value, frame)
    else:
        return None, None, f"box not used: the region is no rectangle or polygon ({kind})"
    if len(corners) < 2:
        return None, None, "box not used: it has no position"
    xs, ys = [x / 100 for x, _ in corners], [y / 100 for _, y in corners]
    return (min(xs), min(ys), max(xs), max(ys)), frame, None


def _corners(value: Mapping[str, Any], frame: tuple[int, int] | None) -> list[tuple[float, float]]:
    """The four corners of a rectangle, in percent. It may be turned around its first corner, by degrees clockwise."""
    x, y, width, height = (number(value.get(key)) for key in ("x", "y", "width", "height"))
    if x is None or y is None or width is None or height is None:
        return []
    angle = math.radians(number(value.get("rotation")) or 0)
    ratio = frame[0] / frame[1] if frame else 1.0  # percents of the width and of the height are not equally long
    cos, sin = math.cos(angle), math.sin(angle)
    sides = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]
    return [(x + across * cos - down * sin / ratio, y + across * sin * ratio + down * cos) for across, down in sides]


READER = Reader("label-studio", "Label Studio exports: JSON and JSON-MIN", _recognises, _read)

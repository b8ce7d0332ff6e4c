"""Identify the species of all photographs in a folder."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from syntype.collection.decoding import decode, in_threads
from syntype.collection.pixels import crop_square
from syntype.collection.relatives import RANKS
from syntype.collection.sources import SIDECARS
from syntype.errors import InputError, checks_arguments, shortened
from syntype.files import atomic_write
from syntype.identification.ranks import Answer, lowest_sure
from syntype.identification.storage import Classifier
from syntype.run import OWN_RUN, Run

__all__ = ["Form", "PredictResult", "predict"]

Form = Literal["syntype", "pybioclip"]

_CHUNK = 128
_TOP = 5
_SHOWN = 10
"""Photographs whose species is not sure that the summary names."""


@dataclass(frozen=True)
class PredictResult:
    """Result of ``predict``.

    Attributes:
        path: The CSV file.
        num_images: Number of identified images.
        num_errors: Number of files that could not be read.
        counts: Number of images per most probable species, most frequent first.
        answered: Number of images whose answer is a species, a genus, a family, an order, or none; empty if the classifier knows no ranks.
        unsure: Answers for the first ten images whose species is not sure ("Amphiprion (genus) 0.93"), by file name.
    """

    path: Path
    num_images: int
    num_errors: int
    counts: dict[str, int]
    answered: dict[str, int] = field(default_factory=dict)
    unsure: dict[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Values for ``--json``."""
        values = {"file": str(self.path), "num_images": self.num_images, "num_errors": self.num_errors, "species": self.counts}
        return {**values, **({"answered": self.answered, "unsure": self.unsure} if self.answered else {})}


@checks_arguments
def predict(
    classifier: Classifier, folder: Path | str, out_csv: Path | str, run: Run = OWN_RUN, form: Form = "syntype", sure: float | None = None
) -> PredictResult:
    """Identify the species of every image in a folder and its sub-folders, and write a CSV file.

    The format ``syntype`` has one row per image: ``file_name`` (relative to the folder), ``species``, ``probability``, ``species_2``,
    ``probability_2`` ... up to five, ``out_of_distribution_score`` (in [0, 1]; from about 0.95 on, the image may show none of the species) and
    ``error``. If the classifier knows the genus, family or order of its species, ``name``, ``rank`` and ``name_probability`` follow
    ``probability_2`` ... : the lowest rank with a probability of at least ``sure`` (see ``ranks.lowest_sure``); ``rank`` is ``none`` and ``name``
    empty if no rank reaches it. The format ``pybioclip`` has the columns of that program and one row for each of the five species of an image. Its
    ranks are empty where the classifier does not know them, and files that cannot be read are left out. Unreadable files do not stop the run.

    Args:
        classifier: As ``load_classifier`` returns it.
        folder: Folder of images. Hidden files and tables are skipped.
        out_csv: CSV file to write.
        run: Shows progress. Default: progress on standard error.
        form: Format of the CSV file.
        sure: Probability from which a name counts as sure, in (0, 1]. Default: the one with which the classifier was trained (0.8).

    Returns:
        numbers of images and errors, and images per species.

    Raises:
        InputError: The folder does not exist or holds no files, or ``sure`` is out of range.

    Example:
        >>> import syntype
        >>> result = syntype.predict(syntype.load_classifier("out/classifier"), "photographs", "names.csv")
        >>> result.num_images, result.num_errors
        (16, 0)
    """
    folder, out_csv = Path(folder), Path(out_csv)
    if not folder.is_dir():
        raise InputError("is not a folder", "Give a folder of images.", file=folder)
    files = [file for file in _walk(folder) if file != out_csv.absolute()]
    if not files:
        raise InputError("holds no files", "Give a folder of images.", file=folder)
    sure = classifier.fitted.config.sure if sure is None else sure
    if not 0 < sure <= 1:
        raise InputError(f"the probability from which a name is sure is {sure:g}", "Give a number above 0, and at most 1.")
    top = min(_TOP, len(classifier.species))
    table = _Wide(top, classifier.ranks is not None) if form == "syntype" else _Long(_taxa(classifier))
    out_csv.parent.mkdir(parents=True, exist_ok=True)
    found, errors = np.zeros(len(classifier.species), np.int64), 0
    answered = {} if classifier.ranks is None else dict.fromkeys(("species", *(rank for rank in RANKS if rank in classifier.ranks.names), "none"), 0)
    unsure: dict[str, str] = {}
    with (
        atomic_write(out_csv) as temporary,
        temporary.open("w", encoding="utf-8", newline="", errors="backslashreplace") as handle,
        run.progress("identifying", len(files)) as bar,
    ):
        writer = csv.writer(handle)
        writer.writerow(table.columns)
        decoded = in_threads(lambda file: _read(file, classifier.size), files)
        names = iter(files)
        while chunk := list(islice(decoded, _CHUNK)):
            images = [item for item in chunk if isinstance(item, np.ndarray)]
            probabilities, ood_scores = classifier.identify(np.stack(images)) if images else (np.empty((0, 0)), np.empty(0))
            sure_names: list[Answer] | list[None] = [None] * len(images)
            if classifier.ranks is not None and images:
                sure_names = lowest_sure(probabilities, classifier.species, classifier.ranks, sure)
            answers = iter(zip(probabilities, ood_scores, sure_names, strict=True))
            for item in chunk:
                name = next(names).relative_to(folder.absolute()).as_posix()
                if isinstance(item, str):
                    writer.writerows(table.rows(name, [], None, float("nan"), item))
                    errors += 1
                    continue
                shares, score, answer = next(answers)
                order = np.argsort(-shares, kind="stable")[:top]
                found[order[0]] += 1
                if answer is not None:
                    answered[answer.rank] += 1
                    if answer.rank != "species" and len(unsure) < _SHOWN:
                        unsure[shortened(name)] = answer.shown()
                writer.writerows(table.rows(name, [(classifier.species[i], float(shares[i])) for i in order], answer, float(score), ""))
            bar.advance(len(chunk))
    ranked = [int(i) for i in np.argsort(-found, kind="stable") if found[i]]
    return PredictResult(out_csv, int(found.sum()), errors, {classifier.species[i]: int(found[i]) for i in ranked}, answered, unsure)


class _Wide:
    """Columns and rows of the format ``syntype``."""

    def __init__(self, top: int, with_ranks: bool) -> None:
        places = [("species", "probability"), *((f"species_{place}", f"probability_{place}") for place in range(2, top + 1))]
        self._blank = [""] * (2 * top)
        self._no_answer = [""] * (3 if with_ranks else 0)
        answer = ["name", "rank", "name_probability"] if with_ranks else []
        self.columns = ["file_name", *(name for pair in places for name in pair), *answer, "out_of_distribution_score", "error"]

    def rows(self, name: str, species: list[tuple[str, float]], answer: Answer | None, ood_score: float, error: str) -> list[list[str]]:
        cells = [cell for one, share in species for cell in (one, f"{share:.4f}")] or self._blank
        given = self._no_answer if answer is None else [answer.name, answer.rank, f"{answer.probability:.4f}"]
        return [[name, *cells, *given, "" if math.isnan(ood_score) else f"{ood_score:.3f}", error]]


class _Long:
    """Columns and rows of the format ``pybioclip``."""

    columns = ["file_name", "kingdom", "phylum", "class", "order", "family", "genus", "species_epithet", "species", "common_name", "score"]

    def __init__(self, taxa: Mapping[str, Mapping[str, str | None]]) -> None:
        self._taxa = taxa

    def rows(self, name: str, species: list[tuple[str, float]], _answer: Answer | None, _score: float, _error: str) -> list[list[str]]:
        rows = []
        for one, share in species:
            genus, _, epithet = one.partition(" ")
            order, family = (self._taxa[one].get(rank) or "" for rank in ("order", "family"))
            rows.append([name, "", "", "", order, family, genus, epithet, one, "", str(share)])
        return rows


def _taxa(classifier: Classifier) -> dict[str, dict[str, str | None]]:
    """Genus, family and order of each species, as far as they are known."""
    names = {} if classifier.ranks is None else classifier.ranks.names
    return {species: {rank: taxa[place] for rank, taxa in names.items()} for place, species in enumerate(classifier.species)}


def _walk(folder: Path) -> list[Path]:
    """Files that may be images, sorted. Hidden files and tables are skipped."""
    found = []
    for here, folders, names in os.walk(folder.absolute()):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(here) / name for name in sorted(names) if not name.startswith(".") and Path(name).suffix.lower() not in SIDECARS]
    return found


def _read(file: Path, size: int) -> np.ndarray | str:
    try:
        return crop_square(decode(file), size)
    except InputError as error:
        return f"{error.reason}. {error.hint}"

"""Identify the species of all photographs in a folder."""

from __future__ import annotations

import csv
import math
import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from syntype.collection.decoding import decode, in_threads
from syntype.collection.pixels import crop_square
from syntype.collection.sources import SIDECARS
from syntype.errors import InputError, checks_arguments
from syntype.files import atomic_write
from syntype.identification.storage import Classifier
from syntype.run import OWN_RUN, Run

__all__ = ["Form", "PredictResult", "predict"]

Form = Literal["syntype", "pybioclip"]

_CHUNK = 128
_TOP = 5


@dataclass(frozen=True)
class PredictResult:
    """Result of ``predict``.

    Attributes:
        path: The CSV file.
        num_images: Number of identified images.
        num_errors: Number of files that could not be read.
        counts: Number of images per species, most frequent first.
    """

    path: Path
    num_images: int
    num_errors: int
    counts: dict[str, int]

    def summary(self) -> dict[str, Any]:
        """Values for ``--json``."""
        return {"file": str(self.path), "num_images": self.num_images, "num_errors": self.num_errors, "species": self.counts}


@checks_arguments
def predict(classifier: Classifier, folder: Path | str, out_csv: Path | str, run: Run = OWN_RUN, form: Form = "syntype") -> PredictResult:
    """Identify the species of every image in a folder and its sub-folders, and write a CSV file.

    The format ``syntype`` has one row per image: ``file_name`` (relative to the folder), ``species``, ``probability``, ``species_2``,
    ``probability_2`` ... up to five, ``out_of_distribution_score`` (in [0, 1]; from about 0.95 on, the image may show none of the species) and
    ``error``. The format ``pybioclip`` has the columns of that program and one row for each of the five species of an image. Its taxonomic ranks
    above genus are empty, and files that cannot be read are left out. Unreadable files do not stop the run.

    Args:
        classifier: As ``load_classifier`` returns it.
        folder: Folder of images. Hidden files and tables are skipped.
        out_csv: CSV file to write.
        run: Shows progress. Default: progress on standard error.
        form: Format of the CSV file.

    Returns:
        numbers of images and errors, and images per species.

    Raises:
        InputError: The folder does not exist or holds no files.

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
    top = min(_TOP, len(classifier.species))
    columns, rows_of = (_wide_columns(top), _wide) if form == "syntype" else (_LONG_COLUMNS, _long)
    out_csv.parent.mkdir(parents=True, exist_ok=True)
    found, errors = np.zeros(len(classifier.species), np.int64), 0
    with (
        atomic_write(out_csv) as temporary,
        temporary.open("w", encoding="utf-8", newline="", errors="backslashreplace") as handle,
        run.progress("identifying", len(files)) as bar,
    ):
        writer = csv.writer(handle)
        writer.writerow(columns)
        decoded = in_threads(lambda file: _read(file, classifier.size), files)
        names = iter(files)
        while chunk := list(islice(decoded, _CHUNK)):
            images = [item for item in chunk if isinstance(item, np.ndarray)]
            probabilities, ood_scores = classifier.identify(np.stack(images)) if images else (np.empty((0, 0)), np.empty(0))
            answers = iter(zip(probabilities, ood_scores, strict=True))
            for item in chunk:
                name = next(names).relative_to(folder.absolute()).as_posix()
                if isinstance(item, str):
                    writer.writerows(rows_of(name, [], float("nan"), item, top))
                    errors += 1
                    continue
                shares, score = next(answers)
                order = np.argsort(-shares, kind="stable")[:top]
                found[order[0]] += 1
                writer.writerows(rows_of(name, [(classifier.species[i], float(shares[i])) for i in order], float(score), "", top))
            bar.advance(len(chunk))
    ranked = [int(i) for i in np.argsort(-found, kind="stable") if found[i]]
    return PredictResult(out_csv, int(found.sum()), errors, {classifier.species[i]: int(found[i]) for i in ranked})


def _wide_columns(top: int) -> list[str]:
    places = [("species", "probability"), *((f"species_{place}", f"probability_{place}") for place in range(2, top + 1))]
    return ["file_name", *(name for pair in places for name in pair), "out_of_distribution_score", "error"]


def _wide(name: str, species: list[tuple[str, float]], ood_score: float, error: str, top: int) -> list[list[str]]:
    cells = [cell for one, share in species for cell in (one, f"{share:.4f}")] or [""] * (2 * top)
    return [[name, *cells, "" if math.isnan(ood_score) else f"{ood_score:.3f}", error]]


_LONG_COLUMNS = ["file_name", "kingdom", "phylum", "class", "order", "family", "genus", "species_epithet", "species", "common_name", "score"]


def _long(name: str, species: list[tuple[str, float]], ood_score: float, error: str, top: int) -> list[list[str]]:
    rows = []
    for one, share in species:
        genus, _, epithet = one.partition(" ")
        rows.append([name, *[""] * 5, genus, epithet, one, "", str(share)])
    return rows


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

"""Identify a folder of photographs."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from syntype.collection.decoding import decode, in_threads
from syntype.collection.pixels import crop_square
from syntype.collection.sources import SIDECARS
from syntype.errors import InputError
from syntype.identification.storage import Classifier
from syntype.run import Run, replacing

__all__ = ["PredictResult", "predict"]

_CHUNK = 128
_TOP = 5


@dataclass(frozen=True)
class PredictResult:
    """What was identified.

    Attributes:
        path: the CSV file.
        num_images: rows with a species.
        num_errors: rows with an error.
        counts: images a species, commonest first.
    """

    path: Path
    num_images: int
    num_errors: int
    counts: dict[str, int]

    def summary(self) -> dict[str, Any]:
        """The counts, as plain values."""
        return {"file": str(self.path), "num_images": self.num_images, "num_errors": self.num_errors, "species": self.counts}


def predict(classifier: Classifier, folder: Path, out_csv: Path, run: Run) -> PredictResult:
    """Identify every image of a folder and its sub-folders, and write a CSV.

    Columns: file_name (relative to the folder), species, probability, species_2, probability_2 … up to five, error. A file that
    cannot be read has an error and no species; it stops nothing. Images are decoded, squared and identified in chunks.

    Raises:
        InputError: the folder does not exist or holds no files.
    """
    folder, out_csv = Path(folder), Path(out_csv)
    if not folder.is_dir():
        raise InputError("is not a folder", "Give a folder of images.", file=folder)
    files = [file for file in _walk(folder) if file != out_csv.absolute()]
    if not files:
        raise InputError("holds no files", "Give a folder of images.", file=folder)
    top = min(_TOP, len(classifier.species))
    columns = [
        name for place in range(top) for name in (("species", "probability") if place == 0 else (f"species_{place + 1}", f"probability_{place + 1}"))
    ]
    out_csv.parent.mkdir(parents=True, exist_ok=True)
    found, errors = np.zeros(len(classifier.species), np.int64), 0
    with (
        replacing(out_csv) as temporary,
        temporary.open("w", encoding="utf-8", newline="", errors="backslashreplace") as handle,
        run.progress("identifying", len(files)) as bar,
    ):
        writer = csv.writer(handle)
        writer.writerow(["file_name", *columns, "error"])
        decoded = in_threads(lambda file: _read(file, classifier.size), files)
        names = iter(files)
        while chunk := list(islice(decoded, _CHUNK)):
            images = [item for item in chunk if isinstance(item, np.ndarray)]
            rows: Iterator[np.ndarray] = iter(classifier.predict(np.stack(images)) if images else ())
            for item in chunk:
                name = next(names).relative_to(folder.absolute()).as_posix()
                if isinstance(item, str):
                    writer.writerow([name, *[""] * (2 * top), item])
                    errors += 1
                    continue
                probabilities = next(rows)
                order = np.argsort(-probabilities, kind="stable")[:top]
                found[order[0]] += 1
                writer.writerow([name, *(cell for i in order for cell in (classifier.species[i], f"{probabilities[i]:.4f}")), ""])
            bar.advance(len(chunk))
    ranked = [int(i) for i in np.argsort(-found, kind="stable") if found[i]]
    return PredictResult(out_csv, int(found.sum()), errors, {classifier.species[i]: int(found[i]) for i in ranked})


def _walk(folder: Path) -> list[Path]:
    """Files that may be images, sorted; hidden ones and tables are passed over."""
    found = []
    for here, folders, names in os.walk(folder.absolute()):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(here) / name for name in sorted(names) if not name.startswith(".") and Path(name).suffix.lower() not in SIDECARS]
    return found


def _read(file: Path, size: int) -> np.ndarray | str:
    try:
        return crop_square(decode(file), size)
    except InputError as error:
        return f"{error.reason}. {error.mend}"

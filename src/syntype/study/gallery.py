"""The pictures of a report. They are chosen at the end of the study and saved with it, so the report can be written again without the images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from syntype.collection import Collection
from syntype.errors import InputError
from syntype.files import load_json, read_npz, write_json

__all__ = ["Gallery", "collect_gallery"]


@dataclass(frozen=True)
class Gallery:
    """Thumbnails, with what they show.

    Attributes:
        images: uint8, shape (M, size, size, 3).
        species: one dict per species: ``name``, ``real`` (positions in ``images``), ``synthetic`` (dicts: image, nearest, nearest_species,
            distance, seed).
        refused: for each reason a list of dicts (image, species).
        notices: distinct licences and terms of the photographs shown.
        sources: sources that the photographs and the synthetic images name.
    """

    images: np.ndarray
    species: list[dict[str, Any]]
    refused: dict[str, list[dict[str, Any]]]
    notices: list[dict[str, str]]
    sources: list[str]

    def save(self, folder: Path) -> None:
        """Write ``gallery.npz`` and ``gallery.json``."""
        np.savez_compressed(folder / "gallery.npz", images=self.images)
        write_json(folder / "gallery.json", {"species": self.species, "refused": self.refused, "notices": self.notices, "sources": self.sources})

    @classmethod
    def load(cls, folder: Path) -> Gallery:
        """Read what ``save`` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        hint = "Continue the study with --resume, which writes it again."
        arrays = read_npz(folder / "gallery.npz", "images")
        if arrays is None:
            raise InputError("is missing or damaged", hint, file=folder / "gallery.npz")
        told = load_json(folder / "gallery.json", hint, {"species": list, "refused": dict, "notices": list, "sources": list})
        return cls(arrays["images"], told["species"], told["refused"], told["notices"], told["sources"])


def collect_gallery(real: Collection, curated: Collection, species: Sequence[str], size: int, *, per_row: int = 6, per_reason: int = 7) -> Gallery:
    """Choose pictures: for each species real training images, and accepted synthetic images with their nearest real image.

    Images are chosen at even intervals from each list. Refused synthetic images are chosen for each reason.

    Args:
        real: the photographs; only the training split is shown.
        curated: synthetic images with curation's verdicts.
        species: names of the species to show, in the order of the report.
        size: side of the thumbnails, in pixels.
        per_row: largest number of images per species, real and synthetic each.
        per_reason: largest number of refused images per reason.
    """
    train = real.training()
    real_pixels, made_pixels = train.pixels(size), curated.pixels(size)
    row_of = {str(name): row for row, name in enumerate(train.table["image_id"])}
    images: list[np.ndarray] = []
    shown: set[int] = set()

    def put(image: np.ndarray) -> int:
        images.append(np.asarray(image))
        return len(images) - 1

    def put_real(row: int) -> int:
        shown.add(row)
        return put(real_pixels[row])

    refused_mask = (curated.table["verdict"] == "refused").fillna(False).to_numpy(dtype=bool)
    entries = []
    for name in species:
        made = []
        for row in _spread(np.flatnonzero((curated.table["species"] == name).fillna(False).to_numpy(dtype=bool) & ~refused_mask), per_row):
            record = curated.table.iloc[row]
            nearest = row_of.get(str(record["nearest_real_id"]))
            made.append({
                "image": put(made_pixels[row]),
                "nearest": None if nearest is None else put_real(nearest),
                "nearest_species": None if nearest is None else str(train.table["species"].iloc[nearest]),
                "distance": None if pd.isna(record["nearest_real_distance"]) else float(record["nearest_real_distance"]),
                "seed": None if pd.isna(record["seed"]) else int(record["seed"]),
            })  # fmt: skip
        rows = _spread(np.flatnonzero((train.table["species"] == name).fillna(False).to_numpy(dtype=bool)), per_row)
        entries.append({"name": name, "real": [put_real(row) for row in rows], "synthetic": made})
    refused = {}
    for reason in sorted(curated.table["reason"][refused_mask].dropna().unique()):
        rows = _spread(np.flatnonzero(refused_mask & (curated.table["reason"] == reason).fillna(False).to_numpy(dtype=bool)), per_reason)
        refused[str(reason)] = [{"image": put(made_pixels[row]), "species": str(curated.table["species"].iloc[row])} for row in rows]
    stack = np.stack(images) if images else np.empty((0, size, size, 3), np.uint8)
    told = [*real.info.get("sources", []), *curated.info.get("sources", [])]
    sources = [source if isinstance(source, str) else json.dumps(source, ensure_ascii=False) for source in told]
    return Gallery(stack, entries, refused, _notices(train.table.iloc[sorted(shown)]), sources)


def _spread(rows: np.ndarray, count: int) -> list[int]:
    if len(rows) <= count:
        return [int(row) for row in rows]
    return [int(row) for row in rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]]


def _notices(table: pd.DataFrame) -> list[dict[str, str]]:
    distinct = table[[column for column in ("licence", "terms", "rights_holder") if column in table]].drop_duplicates()
    return [{str(column): str(value) for column, value in row.items() if not pd.isna(value)} for row in distinct.to_dict("records")][:50]

"""Photographs that tests write down as other programs and data portals do (``written_portals``, ``written_annotations``)."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from syntype.collection.reef import ReefConfig, draw_images

__all__ = ["LICENCES", "SIZE", "SPECIES", "Shot", "copies", "draw_shots", "write_rows"]

SPECIES = {"Amphiprion ocellaris": 28, "Naso lituratus": 24, "Zebrasoma rostratum": 10}
"""Number of photographs of each species. Two photographs are a group."""
LICENCES = {
    "CC BY 4.0": "http://creativecommons.org/licenses/by/4.0/legalcode",
    "CC0 1.0": "http://creativecommons.org/publicdomain/zero/1.0/legalcode",
}
SIZE = (96, 72)


@dataclass(frozen=True)
class Shot:
    """One photograph: its file, what it shows, and the box (left, top, right, bottom in pixels) of the animal."""

    number: int
    file: Path
    species: str
    group: str
    split: str
    box: tuple[int, int, int, int]
    licence: str
    sha256: str

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def photo(self) -> int:
        """Its number at a data portal."""
        return 7_000_000 + self.number

    @property
    def size_box(self) -> list[int]:
        left, top, right, bottom = self.box
        return [left, top, right - left, bottom - top]

    @property
    def shares(self) -> list[float]:
        """Left, top, width, height in shares of the picture."""
        return [value / SIZE[place % 2] for place, value in enumerate(self.size_box)]

    def copy(self, folder: Path, name: str | None = None) -> Path:
        target = folder / (name or self.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(self.file, target)
        return target


def draw_shots(folder: Path) -> list[Shot]:
    """Three species, one of them rare, with animals of the reef. Of five groups three are for training and one each for validation and test."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    side = 52
    shots = []
    for kind, (species, count) in enumerate(SPECIES.items()):
        animals = draw_images(ReefConfig(num_species=3, size=side), [kind] * count, range(count))
        for index, animal in enumerate(animals):
            number, group = len(shots) + 1, index // 2
            left, top = (int(value) for value in random.integers(0, (SIZE[0] - side + 1, SIZE[1] - side + 1)))
            scene = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
            scene.paste(Image.fromarray(animal), (left, top))
            file = folder / f"IMG_{number:04}.jpg"
            scene.save(file, quality=95)
            split = ("train", "train", "train", "val", "test")[group % 5]
            checksum = hashlib.sha256(file.read_bytes()).hexdigest()
            box = (left, top, left + side, top + side)
            shots.append(Shot(number, file, species, f"g{kind}-{group}", split, box, list(LICENCES)[number % 3 == 0], checksum))
    return shots


def copies(folder: Path, shots: Sequence[Shot]) -> None:
    for shot in shots:
        shot.copy(folder)


def write_rows(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]], delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)

"""A workspace with large collections. Their files are hard links of a few drawn ones, while every row of a table is another image."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection

__all__ = ["BESIDE", "COLLECTIONS", "DIFFERENT", "LARGE", "make_workspace"]

COLLECTIONS, SPECIES, DRAWN = 10, 500, 200
LARGE, BESIDE, DIFFERENT = (1600, 1200), 3, 20
"""Pixels of large photographs, how many of these each species has, and how many are different."""


def make_workspace(root: Path, num_images: int, num_drawn: int) -> None:
    """Ten collections of so many photographs, nine of which share the first one's files, and so many synthetic images to judge."""
    shutil.rmtree(root, ignore_errors=True)
    Workspace(root)
    large, drawn = root / "collections" / "large", root / "collections" / "drawn"
    pictures = draw(root / "collections" / "pictures", DRAWN, (64, 64))
    (large / "images").mkdir(parents=True)
    for row in range(num_images):
        os.link(pictures[row % DRAWN], large / "images" / f"{row}.png")
    Collection.create(large, rows(num_images, (64, 64), "real"))
    draw(drawn / "images", num_drawn, (256, 256))
    Collection.create(drawn, rows(num_drawn, (256, 256), "synthetic"))
    beside, pictures = root / "collections" / "photographs", draw(root / "collections" / "large-pictures", DIFFERENT, LARGE, "jpg")
    (beside / "images").mkdir(parents=True)
    for row in range(SPECIES * BESIDE):
        os.link(pictures[row % DIFFERENT], beside / "images" / f"{row}.jpg")
    table = rows(SPECIES * BESIDE, LARGE, "real", "jpg").assign(split="train")
    table["sha256"] = table["sha256"].tolist()[:DIFFERENT] * (len(table) // DIFFERENT)  # each is made smaller once
    Collection.create(beside, table)
    for number in range(2, COLLECTIONS + 1):
        other = root / "collections" / f"large-{number}"
        other.mkdir()
        for name in ("metadata.parquet", "collection.json"):
            os.link(large / name, other / name)


def draw(folder: Path, num: int, size: tuple[int, int], ending: str = "png") -> list[Path]:
    """So many different images of smooth colours."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(size[0])
    for number in range(num):
        small = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        small.resize(size, Image.Resampling.BICUBIC).save(folder / f"{number}.{ending}")
    return [folder / f"{number}.{ending}" for number in range(num)]


def rows(num: int, size: tuple[int, int], origin: str, ending: str = "png") -> pd.DataFrame:
    """A table of images that are all different, by what it says of them."""
    numbers = range(num)
    return pd.DataFrame(
        {
            "image_id": [str(number) for number in numbers],
            "file_name": [f"images/{number}.{ending}" for number in numbers],
            "species": [f"Species {number % SPECIES}" for number in numbers],
            "split": ["test" if number % 4 == 0 else "train" for number in numbers] if origin == "real" else None,
            "origin": origin,
            "licence": "CC0-1.0",
            "width": size[0],
            "height": size[1],
            "sha256": [hashlib.sha256(f"{origin} {number} {size[0]}".encode()).hexdigest() for number in numbers],
        }
    )

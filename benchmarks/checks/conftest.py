"""What the checks share: the benchmarks can be imported, and there is a small drawn collection. Nothing is written outside the check's folder."""

from __future__ import annotations

import colorsys
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageDraw

from syntype.collection import Collection

sys.path.insert(0, str(Path(__file__).parents[1]))


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """families.py sets the number of threads: it is put back."""
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small_collection(tmp_path: Path) -> Collection:
    """Four species of 16, 12, 8 and 6 images."""
    return make_collection(tmp_path / "collection", {"Aus primus": 16, "Aus secundus": 12, "Bus tertius": 8, "Bus quartus": 6})


def make_collection(folder: Path, counts: dict[str, int], *, size: int = 48, seed: int = 0, split: str | None = None) -> Collection:
    """A small collection of coloured ellipses, one hue a species; every fourth image is a test image unless ``split`` says otherwise."""
    random = np.random.default_rng(seed)
    rows = []
    (folder / "images").mkdir(parents=True)
    for number, (species, count) in enumerate(counts.items()):
        for index in range(count):
            image = Image.new("RGB", (size, size), tuple(int(v) for v in random.integers(0, 90, 3)))
            left, top = (int(v) for v in random.integers(0, size // 3, 2))
            hue = tuple(int(v) for v in 255 * np.array(colorsys.hsv_to_rgb(number / len(counts), 0.9, random.uniform(0.6, 1))))
            ImageDraw.Draw(image).ellipse((left, top, left + size // 2, top + size // 3), fill=hue)
            name = f"images/{number}-{index}.png"
            image.save(folder / name)
            rows.append(
                {
                    "image_id": f"{number}-{index}",
                    "file_name": name,
                    "species": species,
                    "group": f"{number}-{index // 2}",
                    "width": size,
                    "height": size,
                    "split": split or ("test" if index // 2 % 4 == 1 else "val" if index // 2 % 4 == 3 else "train"),
                    "origin": "real",
                    "licence": "CC0-1.0",
                    "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
                }
            )
    return Collection.create(folder, pd.DataFrame(rows), species=list(counts))

"""What tests make themselves."""

from __future__ import annotations

import colorsys
import hashlib
import io
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import DEFAULT, patch

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from syntype.collection import Collection

if TYPE_CHECKING:
    from syntype.generators import TrainConfig, TrainResult
    from syntype.study import StudyConfig


def make_collection(folder: Path, counts: dict[str, int], *, size: int = 48, seed: int = 0, split: str | None = None) -> Collection:
    """A small collection of coloured ellipses, one hue a species; every fourth image is a test image unless ``split`` says otherwise."""
    (folder / "images").mkdir(parents=True)
    rows, images = _drawn(tuple(counts.items()), size, seed, split)
    for name, content in images.items():
        (folder / name).write_bytes(content)
    return Collection.create(folder, pd.DataFrame(rows), species=list(counts))


@cache
def _drawn(counts: tuple[tuple[str, int], ...], size: int, seed: int, split: str | None) -> tuple[list[dict[str, object]], dict[str, bytes]]:
    """The rows of a small collection and its files: drawn once, as many tests ask for the same."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    images: dict[str, bytes] = {}
    for number, (species, count) in enumerate(counts):
        for index in range(count):
            image = Image.new("RGB", (size, size), tuple(int(v) for v in random.integers(0, 90, 3)))
            left, top = (int(v) for v in random.integers(0, size // 3, 2))
            hue = tuple(int(v) for v in 255 * np.array(colorsys.hsv_to_rgb(number / len(counts), 0.9, random.uniform(0.6, 1))))
            ImageDraw.Draw(image).ellipse((left, top, left + size // 2, top + size // 3), fill=hue)
            name = f"images/{number}-{index}.png"
            file = io.BytesIO()
            image.save(file, "PNG")
            images[name] = file.getvalue()
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
                    "sha256": hashlib.sha256(images[name]).hexdigest(),
                }
            )
    return rows, images


def write_tree(content: dict[str, bytes], folder: Path) -> None:
    """Write the files that ``tree`` has read, and the folders in which they lie."""
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def tiny_config(family_name: str, **settings: object) -> TrainConfig:
    """Three steps of the smallest model of a family, on the processor."""
    from syntype.generators import TrainConfig, family  # not every test needs torch

    model = family(family_name).Config.tiny(32).model_dump(exclude={"size"})
    plain = {"size": 32, "batch_size": 4, "steps": 3, "device": "cpu", "precision": "fp32", "model": model}
    return TrainConfig.parse({"family": family_name, **plain, **settings})


def without_previews() -> AbstractContextManager[object]:
    """Trainings here draw no previews: these take longer than a few steps, and few tests see them."""
    from syntype.generators.engine.training import TrainingLoop  # not every test needs torch

    return patch.multiple(TrainingLoop, preview=DEFAULT, final_preview=DEFAULT)


def train_tiny(family_name: str, collection: Collection, out: Path, *, previews: bool = False, **settings: object) -> TrainResult:
    """Train the smallest model of a family, or go on where ``out`` holds one."""
    from syntype.generators import train
    from syntype.run import Run

    config = tiny_config(family_name, **settings)
    with nullcontext() if previews else without_previews(), Run.start(out, "train", config, seed=config.seed, resume=True, quiet=True) as run:
        result = train(collection, config, out, run)
        run.finish(**result.summary())
    return result


def tree(folder: Path) -> dict[str, bytes]:
    """Content of every file of a folder, by its path in it."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def fill(disk: Path) -> None:
    """Write the file ``filler`` until the disk is full."""
    with (disk / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="space"):
        while True:
            file.write(b"0" * 4096)


def small_study(**changes: Any) -> StudyConfig:
    """Settings of a study that takes seconds, with these changes."""
    from syntype.identification import ClassifierConfig
    from syntype.study import StudyConfig

    values = {
        "generator": "copies",
        "seeds": 2,
        "fill_to": 8,
        "size": 32,
        "num_bootstrap": 200,
        "classifier": ClassifierConfig(steps=7, batch_size=8),
        "device": "cpu",
    }
    return StudyConfig(**{**values, **changes})

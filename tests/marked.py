"""Images in which each animal is a square of one colour, and a look at what a collection shows of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from syntype.collection import Collection
from syntype.collection.importers import CollectConfig, CollectResult, collect
from syntype.run import Run

__all__ = ["COLOURS", "imported", "marked", "refused", "said", "shown_colours", "write_json"]

COLOURS: dict[str, tuple[int, int, int]] = {"red": (250, 20, 20), "green": (20, 250, 20), "blue": (20, 20, 250), "white": (250, 250, 250)}


def marked(path: Path, squares: Mapping[str, tuple[int, int, int, int]] = {}, size: tuple[int, int] = (64, 48), seed: int = 0, **save: Any) -> Path:
    """Write a picture of dark noise with a square of a colour at each box (left, top, right, bottom; the right and bottom edge excluded)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(sum(map(ord, path.name)) + seed).integers(0, 90, (size[1] // 4, size[0] // 4, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    for colour, (left, top, right, bottom) in squares.items():
        ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), fill=COLOURS[colour])
    image.save(path, **save)
    return path


def shown_colours(collection: Collection, size: int = 12) -> list[str | None]:
    """The colour of which the picture of each row consists (its box is the square); None if it is another picture."""
    means = collection.pixels(size)[:, 1:-1, 1:-1].astype(float).mean(axis=(1, 2))
    near = {name: np.abs(means - np.array(colour)).max(axis=1) < 40 for name, colour in COLOURS.items()}
    return [next((name for name in COLOURS if near[name][row]), None) for row in range(len(means))]


def imported(source: Path, out: Path, **settings: object) -> CollectResult:
    return collect(source, CollectConfig.parse(settings), out, Run.silent())


def said(source: Path, **settings: object) -> str:
    """The notes of a listing, as one text."""
    from syntype.collection.sources import SourceConfig, read_source

    return "\n".join(read_source(source, SourceConfig.parse(settings)).notes)


def refused(out: Path) -> list[dict[str, str]]:
    with (out / "refused.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path

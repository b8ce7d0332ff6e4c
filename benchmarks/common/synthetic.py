"""Images saved as a synthetic collection, and what studies of one collection share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from syntype.collection import Collection
from syntype.study.arms import COMPETITORS

__all__ = ["save", "share"]


def save(folder: Path, images: np.ndarray, labels: np.ndarray, species: tuple[str, ...], verdict: str | None) -> Collection:
    """Write images as a synthetic collection; with a verdict, curation takes it for judged and leaves it alone."""
    folder.mkdir(parents=True)
    rows = []
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / f"{number:05d}.png"
        Image.fromarray(image).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append(
            {"image_id": path.stem, "file_name": path.name, "species": species[label], "sha256": digest, "origin": "synthetic", "verdict": verdict}
        )
    size = {"width": images.shape[2], "height": images.shape[1]}
    return Collection.create(folder, pd.DataFrame(rows).assign(**size), species=species)


def share(done: Path, out: Path, arms: Sequence[str] = COMPETITORS) -> None:
    """Hand a study what an earlier one of the same reef, seeds and numbers of images has computed: its features, and its arms without a generator."""
    files = [*(done / "features").rglob("*.npz"), *(path for name in arms for path in (done / "arms").glob(f"{name}-*.npz"))]
    for path in files:
        target = out / path.relative_to(done)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, target)

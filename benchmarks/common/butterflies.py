"""The butterflies' photographs as features of a frozen network, computed once: what benchmarks of the statistics train their classifiers on.

The test split is not read: photographs of ``train``, ``val`` and the reserve are divided anew by whoever uses them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.decomposition import PCA

from common.results import ROOT
from syntype.encoders import load_encoder
from syntype.identification import ClassifierConfig, FeatureCache

__all__ = ["BUTTERFLIES", "NUM_VIEWS", "Photographs", "encoded"]

BUTTERFLIES = Path(os.environ.get("SYNTYPE_BUTTERFLIES", ROOT.parent / "shared" / "data" / "butterflies"))
SIZE, NUM_VIEWS, DIM = 128, 4, 96
"""Side of the photographs in pixels; views of each (itself, its mirror image, two augmented); principal components that are kept of the features."""


@dataclass(frozen=True)
class Photographs:
    """Features of photographs.

    Attributes:
        views: float32, shape (NUM_VIEWS, N, DIM); the first is the photograph itself. Mean 0 and standard deviation 1.
        labels: int64, shape (N,).
        species: names by label.
    """

    views: np.ndarray
    labels: np.ndarray
    species: tuple[str, ...]


def encoded(folder: Path, out: Path) -> Photographs | None:
    """All photographs but those of the test split: features of Lite2, reduced to their principal components. None without the photographs.

    Args:
        folder: the butterflies (``images.csv``, ``reserve.csv``).
        out: folder in which features are kept.
    """
    if not (folder / "images.csv").is_file():
        print(f"{folder}/images.csv is not there: nothing measured of the butterflies. Give --butterflies or set SYNTYPE_BUTTERFLIES.")
        return None
    table = pd.read_csv(folder / "images.csv")
    table = pd.concat([table[table["split"].isin(["train", "val"])], pd.read_csv(folder / "reserve.csv")], ignore_index=True)
    config = ClassifierConfig(backbone="lite2", size=SIZE, device="cpu")
    backbone, runtime, cache = load_encoder(config.backbone).backbone, config.runtime(), FeatureCache(out / "features")
    images = np.stack([_square(folder / name) for name in table["file_name"]])
    views = np.stack(
        [cache.features(backbone, images, view, size=config.input_size, config=config.augment, runtime=runtime) for view in range(NUM_VIEWS)]
    ).astype(np.float32)  # fmt: skip
    names, labels = np.unique(table["species"].to_numpy(dtype=str), return_inverse=True)
    flat = PCA(DIM, whiten=True, random_state=0).fit(views[0]).transform(views.reshape(-1, views.shape[-1])).astype(np.float32)
    return Photographs(flat.reshape(NUM_VIEWS, len(table), DIM), labels.astype(np.int64), tuple(names.tolist()))


def _square(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS))

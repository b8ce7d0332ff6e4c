"""Miniature studies on the butterflies' photographs: a linear classifier on features of a frozen network that were computed once.

Photographs of ``train``, ``val`` and the reserve are divided anew for every study: 18 of a species, or 46. With those of ``test``, which are read
only where nothing is chosen, there are 43 of a rare species, or 71.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.decomposition import PCA

from syntype.encoders import load_encoder
from syntype.files import read_npz, write_npz
from syntype.identification import ClassifierConfig, FeatureCache

__all__ = ["Division", "Photographs", "divide", "encoded", "predictions"]

SIZE, NUM_VIEWS, DIM = 128, 4, 96
"""Side of the photographs in pixels; views of each (itself, its mirror image, two augmented); principal components that are kept of the features."""
FEW, VAL = 6, 2
"""Photographs of a target species: for training, for validation."""
RIDGE = 30.0
"""Penalty of the classifier."""


@dataclass(frozen=True)
class Photographs:
    """Features of photographs.

    Attributes:
        views: float32, shape (NUM_VIEWS, N, DIM); the first is the photograph itself. Mean 0 and standard deviation 1.
        labels: int64, shape (N,), in 0..num_species-1.
    """

    views: np.ndarray
    labels: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Photographs of each species."""
        return np.bincount(self.labels)


@dataclass(frozen=True)
class Division:
    """Rows of the photographs of one study; ``target``: labels of the species with few training photographs; ``extra``: rows of more of them."""

    target: np.ndarray
    train: np.ndarray
    extra: np.ndarray
    val: np.ndarray
    test: np.ndarray


def encoded(folder: Path, out: Path, *, test: bool = False) -> Photographs | None:
    """Photographs as features of Lite2, reduced to their principal components. None without the photographs.

    Args:
        folder: the butterflies (``images.csv``, ``reserve.csv``).
        out: folder in which features are kept.
        test: those of the test split too.
    """
    if not (folder / "images.csv").is_file():
        print(f"{folder}/images.csv is not there: nothing measured of the butterflies. Give --butterflies or set SYNTYPE_BUTTERFLIES.")
        return None
    file = out / ("butterflies-all.npz" if test else "butterflies.npz")
    if (known := read_npz(file, "views", "labels")) is None:
        table = pd.read_csv(folder / "images.csv")
        table = pd.concat([table[test | table["split"].isin(["train", "val"])], pd.read_csv(folder / "reserve.csv")], ignore_index=True)
        config = ClassifierConfig(backbone="lite2", size=SIZE, device="cpu")
        backbone, runtime, cache = load_encoder(config.backbone).backbone, config.runtime(), FeatureCache(out / "features")
        images = np.stack([_square(folder / name) for name in table["file_name"]])
        views = np.stack(
            [cache.features(backbone, images, view, size=config.input_size, config=config.augment, runtime=runtime) for view in range(NUM_VIEWS)]
        ).astype(np.float32)
        flat = PCA(DIM, whiten=True, random_state=0).fit(views[0]).transform(views.reshape(-1, views.shape[-1])).astype(np.float32)
        labels = np.unique(table["species"].to_numpy(dtype=str), return_inverse=True)[1]
        known = {"views": flat.reshape(NUM_VIEWS, len(table), DIM), "labels": labels.astype(np.int64)}
        out.mkdir(parents=True, exist_ok=True)
        write_npz(file, **known)
    return Photographs(known["views"], known["labels"])


def divide(
    photographs: Photographs,
    target: np.ndarray,
    num_extra: int,
    random: np.random.Generator,
    num_test: int | None = None,
    num_others: int | None = None,
) -> Division:
    """Divide the photographs anew: of each target species ``FEW`` for training, ``num_extra`` to add, ``VAL`` for validation, the rest (at most
    ``num_test``) for the test.

    Other species have all (at most ``num_others``) for training, since a study of the target asks for no other test.
    """
    parts: dict[str, list[np.ndarray]] = {"train": [], "extra": [], "val": [], "test": []}
    for label in range(len(photographs.counts)):
        rows = random.permutation(np.flatnonzero(photographs.labels == label))
        if label not in target:
            parts["train"].append(rows[:num_others])
            continue
        ends = np.cumsum([FEW, num_extra, VAL])
        for name, some in zip(("train", "extra", "val", "test"), np.split(rows, ends), strict=True):
            parts[name].append(some[:num_test] if name == "test" else some)
    return Division(target, **{name: np.concatenate(rows) for name, rows in parts.items()})


def predictions(photographs: Photographs, train: np.ndarray, asked: np.ndarray, random: np.random.Generator, *, balanced: bool) -> np.ndarray:
    """Species that a classifier names: ridge regression of the species on two views of each training photograph, drawn at random.

    Args:
        train: rows, of which one may occur several times.
        asked: rows to name.
        balanced: every species has the same weight.
    """
    num_species = len(photographs.counts)
    which = np.stack([random.permutation(NUM_VIEWS)[:2] for _ in train])
    features = np.concatenate([photographs.views[which[:, one], train] for one in (0, 1)])
    labels = np.tile(photographs.labels[train], 2)
    counts = np.bincount(labels, minlength=num_species)
    weights = ((len(labels) / num_species / counts[labels]) if balanced else np.ones(len(labels))).astype(np.float32)
    centre = weights @ features / weights.sum()
    features -= centre
    prior = np.bincount(labels, weights, num_species).astype(np.float32) / weights.sum()
    wanted = np.eye(num_species, dtype=np.float32)[labels] - prior
    scaled = features * weights[:, None]
    solution = np.linalg.solve(scaled.T @ features + RIDGE * np.eye(DIM, dtype=np.float32), scaled.T @ wanted)
    return ((photographs.views[0, asked] - centre) @ solution + prior).argmax(axis=1)


def _square(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS))

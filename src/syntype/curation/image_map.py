"""A map of images: those that a pre-trained network describes alike lie close together. Nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from syntype.collection.table import Collection
from syntype.encoders import encode_collection, load_encoder
from syntype.errors import CollectionError
from syntype.files import atomic_write
from syntype.recipe import Seed, Settings
from syntype.run import OWN_RUN, Run, keeps_run

__all__ = ["MapConfig", "MapResult", "map_images"]

_LOOKS = {"real": ("o", "#2166ac", "photographs"), "synthetic": ("^", "#d95f02", "synthetic images")}
"""Marker, colour and name of each origin; readers with colour blindness can tell them apart."""


class MapConfig(Settings):
    """Settings of ``map_images``."""

    encoder: str = "lite2"
    """Network that describes the images (``lite1``, ``lite2``, ``timm:NAME[:FILE]``, ``open_clip:NAME[:FILE]``)."""
    size: int = Field(192, ge=32, le=1024)
    """Side in pixels of the squares that it looks at; a model that was made for images of one side has its own."""
    most: int = Field(2000, ge=3, le=100_000)
    """Largest number of images of each collection; of more, so many are drawn at random."""
    seed: Seed = 0
    """Seed of that draw."""


@dataclass(frozen=True)
class MapResult:
    """Result of ``map_images``.

    Attributes:
        table: one row an image: ``collection`` (name of its folder), ``image_id``, ``species``, ``origin``, ``x``, ``y``.
        share: part of the differences between the images that the two directions of the map hold, 0..1.
        picture: the map as a PNG.
    """

    table: pd.DataFrame
    share: float
    picture: Path

    def summary(self) -> dict[str, Any]:
        """Values for ``--json``."""
        return {"num_images": len(self.table), "share": self.share, "picture": str(self.picture)}


@keeps_run("map")
def map_images(
    collection: Collection, config: MapConfig, out: Path | str, run: Run = OWN_RUN, photographs: Collection | None = None
) -> MapResult:  # fmt: skip
    """Lay images out in two directions: the first two principal components of the features of a pre-trained network.

    The folder gets ``map.csv``, a row an image, and ``map.png``, where photographs and synthetic images have different colours and shapes. Where
    synthetic images lie beside the photographs of their species, the network describes both alike; a cloud of their own means that they differ from
    all photographs in something. The map shows only a part of the differences (``share``), so distances in it are hints, no measurements.

    Args:
        collection: The images; they are not changed.
        config: Settings.
        out: Folder to write to.
        run: Records progress. Default: a run folder in ``out``, with progress on standard error.
        photographs: Further images to lay out with them, mostly the photographs from which they were made.

    Returns:
        The places of the images.

    Raises:
        CollectionError: There are fewer than three images.

    Example:
        >>> import syntype
        >>> reef = syntype.Collection.open("out/reef")
        >>> found = syntype.map_images(reef, syntype.MapConfig(size=64, most=20), "out/map")
        >>> len(found.table), list(found.table.columns), 0 < found.share <= 1
        (20, ['collection', 'image_id', 'species', 'origin', 'x', 'y'], True)
    """
    from sklearn.decomposition import PCA

    out = Path(out)
    parts = [_drawn(part, config) for part in (collection, photographs) if part is not None]
    total = sum(map(len, parts))
    if total < 3:
        raise CollectionError(f"{collection.root}: has {total} images; a map needs three. Add images.")
    encoder = load_encoder(config.encoder)
    with run.progress("Describing images", total) as bar:
        raw = [encode_collection(encoder, part, pixels=encoder.input_size or config.size, size=config.size, progress=bar.advance) for part in parts]
    features = np.concatenate(raw).astype(np.float64)
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    analysis = PCA(2, svd_solver="full" if total < 5000 else "randomized", random_state=config.seed % 2**32)
    with np.errstate(invalid="ignore"):  # images that are all the same
        places = analysis.fit_transform(features)
    table = pd.concat([part.table[["image_id", "species", "origin"]].assign(collection=part.root.name) for part in parts], ignore_index=True)
    table = table.assign(origin=table["origin"].fillna("real"), x=places[:, 0], y=places[:, 1])
    table = table[["collection", "image_id", "species", "origin", "x", "y"]]
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / "map.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.5g")
    share = float(np.nan_to_num(analysis.explained_variance_ratio_).sum())
    return MapResult(table, share, _picture(table, share, out / "map.png"))


def _drawn(part: Collection, config: MapConfig) -> Collection:
    """At most so many images, drawn at random, in the order of the table."""
    if len(part) <= config.most:
        return part
    chosen = np.zeros(len(part), dtype=bool)
    chosen[np.random.default_rng([config.seed, len(part)]).permutation(len(part))[: config.most]] = True
    return part.where(chosen)


def _picture(table: pd.DataFrame, share: float, path: Path) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for origin, (marker, colour, name) in _LOOKS.items():
        own = table[table["origin"] == origin]
        if len(own):
            axes.scatter(own["x"], own["y"], s=14, marker=marker, c=colour, alpha=0.6, linewidths=0, label=f"{len(own):,} {name}")
    axes.legend(loc="best")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(f"Images that lie close together are described alike; the map holds {share:.0%} of the differences", fontsize=9)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    return path

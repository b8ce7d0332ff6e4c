"""The reef: a collection of drawn images of invented fish species. It needs no download, and its true distribution is known.

Each image depends only on (seed, species, individual, frame), so a larger reef contains the individuals of a smaller one with the same
seed. ``draw_images`` draws any number of further individuals; the ``oracle`` arm of a study uses them.
The reef is for tests and demonstrations of Syntype. Results on it are no evidence about living fishes.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import Field, model_validator

from syntype.collection.columns import SPLITS
from syntype.collection.duplicates import perceptual_hash
from syntype.collection.importers import CollectResult
from syntype.collection.reef_drawing import draw_individual
from syntype.collection.reef_species import species_name
from syntype.collection.table import Collection
from syntype.errors import InputError, checks_arguments, shortened
from syntype.recipe import Seed, Settings
from syntype.run import OWN_RUN, Run, keeps_run

__all__ = ["ReefConfig", "draw_images", "draw_reef", "reef_config", "species_names", "training_counts"]

_PURPOSE = {"train": 11, "val": 12, "test": 13, "oracle": 14, "rank": 15, "track": 16}  # numbers of separate random streams
_MAX_TRACK = 4

LICENCE = "CC0-1.0"
TERMS = "Drawn by Syntype; shows invented species. Not a photograph and not evidence of any organism."


class ReefConfig(Settings):
    """Settings of a reef. The number of training images per species follows a power law: ``max_images / rank ** tail``, at least ``min_images``."""

    num_species: int = Field(24, ge=2)
    size: int = Field(64, ge=16, le=1024)
    """Side of the images, in pixels."""
    seed: Seed = 0
    """Another seed gives other species and other individuals."""
    max_images: int = Field(120, ge=1)
    """Number of training images of the most common species."""
    min_images: int = Field(6, ge=1)
    """Number of training images of the rarest species."""
    tail: float = Field(0.9, ge=0)
    """Exponent of the power law. With 0, all species have ``max_images`` training images."""
    num_val: int = Field(4, ge=0)
    """Validation images per species, each of a different individual."""
    num_test: int = Field(12, ge=0)
    """Test images per species, each of a different individual."""

    @model_validator(mode="after")
    def _counts_in_order(self) -> ReefConfig:
        if self.min_images > self.max_images:
            raise ValueError("min_images is greater than max_images")
        return self


@dataclass(frozen=True)
class _Picture:
    """One image to draw."""

    species: int
    split: str
    individual: int
    frame: int

    @property
    def group(self) -> str:
        return f"{self.species:05d}-{self.split}-{self.individual:05d}"


def species_names(config: ReefConfig) -> tuple[str, ...]:
    """Names of the reef's species: invented binomials, not names of real taxa. Species of the same genus (first word) look similar.

    Example:
        >>> species_names(ReefConfig(num_species=2))
        ('Pictopiscis primus', 'Pictopiscis alter')
    """
    return tuple(species_name(number) for number in range(config.num_species))


def training_counts(config: ReefConfig) -> np.ndarray:
    """Training images of each species: int64, shape (num_species,). Ranks are assigned at random, so that species of one genus differ in rarity."""
    ranks = np.random.default_rng([config.seed, _PURPOSE["rank"]]).permutation(config.num_species) + 1
    return np.maximum(config.min_images, np.rint(config.max_images / ranks**config.tail)).astype(np.int64)


@keeps_run("reef")
def draw_reef(config: ReefConfig, out: Path | str, run: Run = OWN_RUN) -> CollectResult:
    """Draw a reef into the new collection ``out``.

    Training images come in tracks of one to four frames that show one individual before one background (column ``group``). Every
    validation and test image shows a different individual. The column ``split`` is filled in. The column ``origin`` is ``real``,
    because the drawn images take the place of photographs.

    Args:
        config: number of species, image size, number of images per species, seed.
        out: folder of the new collection; new or empty.
        run: Records progress and events. Default: a run folder in ``out``, with progress on standard error.

    Returns:
        the collection and its counts, as from ``collect``.

    Raises:
        InputError: ``out`` is already a collection.

    Example:
        >>> import syntype
        >>> config = syntype.ReefConfig(num_species=4, size=32, max_images=16, min_images=6)
        >>> reef = syntype.draw_reef(config, "out/reef").collection
        >>> reef.training().counts()
        {'Pictopiscis primus': 6, 'Pictopiscis alter': 16, 'Graphiichthys primus': 6, 'Graphiichthys alter': 9}
    """
    out = Path(out)
    if (out / "collection.json").exists():
        raise InputError("already holds a collection", "Give --out a new folder.", file=out)
    names = species_names(config)
    pictures = [picture for number, count in enumerate(training_counts(config)) for picture in _pictures(config, number, int(count))]
    rows = []
    for picture in run.track(pictures, "drawing the reef"):
        folder = Path("images") / names[picture.species].replace(" ", "_")
        if not (out / folder).is_dir():
            (out / folder).mkdir(parents=True)
        pixels = draw_individual(config.seed, _PURPOSE[picture.split], picture.species, picture.individual, picture.frame, config.size)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        file_name = (folder / f"{picture.group}-{picture.frame}.png").as_posix()
        (out / file_name).write_bytes(buffer.getvalue())
        rows.append(
            {
                "image_id": f"{picture.group}-{picture.frame}",
                "file_name": file_name,
                "species": names[picture.species],
                "group": picture.group,
                "split": picture.split,
                "width": config.size,
                "height": config.size,
                "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
                "phash": perceptual_hash(pixels),
                "licence": LICENCE,
                "terms": TERMS,
                "origin": "real",
            }
        )
    step = {"stage": "reef", "settings": config.model_dump(mode="json")}
    collection = Collection.create(
        out, pd.DataFrame(rows), name=f"reef-{config.seed}", species=names, sources=["drawn by syntype reef"], history=[step]
    )
    return CollectResult(
        collection=collection,
        num_groups=int(collection.table["group"].nunique()),
        num_refused=0,
        num_duplicates=0,
        splits={split: int((collection.table["split"] == split).sum()) for split in SPLITS},
    )


def _pictures(config: ReefConfig, species: int, num_train: int) -> Iterator[_Picture]:
    drawn, individual = 0, 0
    while drawn < num_train:
        frames = int(np.random.default_rng([config.seed, _PURPOSE["track"], species, individual]).integers(1, _MAX_TRACK + 1))
        for frame in range(min(frames, num_train - drawn)):
            yield _Picture(species, "train", individual, frame)
        drawn, individual = drawn + frames, individual + 1
    for split, count in (("val", config.num_val), ("test", config.num_test)):
        for individual in range(count):
            yield _Picture(species, split, individual, 0)


@checks_arguments
def draw_images(config: ReefConfig, labels: Sequence[int] | np.ndarray, seeds: Sequence[int] | np.ndarray, size: int | None = None) -> np.ndarray:
    """Draw new individuals from the reef's true distribution. None of them is in the collection that ``draw_reef`` makes.

    The same label and seed always give the same image. It does not depend on the other arguments, nor on the number of images in the reef.

    Args:
        config: the reef; only its seed, number of species and size are used.
        labels: positions in ``species_names(config)``.
        seeds: one for each label, 0 or greater.
        size: side in pixels. Default: that of the reef.

    Returns:
        uint8, shape (len(labels), size, size, 3), RGB.

    Raises:
        InputError: lengths differ, or a label or seed is out of range.

    Example:
        >>> import syntype
        >>> config = syntype.ReefConfig(num_species=4, seed=0)
        >>> images = syntype.draw_images(config, labels=[0, 0, 3], seeds=[1, 2, 1], size=32)
        >>> images.shape, images.dtype
        ((3, 32, 32, 3), dtype('uint8'))
    """
    side = config.size if size is None else size
    if isinstance(side, bool) or not isinstance(side, (int, np.integer)) or not 1 <= side <= 4096:
        raise InputError(f"the size is {shortened(repr(size))}", "Give a whole number of pixels from 1 to 4096.")
    for what, values in (("labels", labels), ("seeds", seeds)):
        is_list = hasattr(values, "__len__") and hasattr(values, "__iter__") and not isinstance(values, (str, bytes))
        if not is_list or any(isinstance(value, bool) or not isinstance(value, (int, np.integer)) for value in values):
            raise InputError(f"the {what} are {shortened(repr(values))}", "Give a list of whole numbers.")
    if len(labels) != len(seeds):
        raise InputError(f"{len(labels)} labels and {len(seeds)} seeds were given", "Give one seed for each label.")
    for label, seed in zip(labels, seeds, strict=True):
        if not 0 <= label < config.num_species or seed < 0:
            raise InputError(f"label {label} or seed {seed} is out of range", f"Labels run from 0 to {config.num_species - 1}, seeds from 0.")
    images = np.empty((len(labels), side, side, 3), np.uint8)
    for position, (label, seed) in enumerate(zip(labels, seeds, strict=True)):
        images[position] = draw_individual(config.seed, _PURPOSE["oracle"], int(label), int(seed), 0, side)
    return images


def reef_config(collection: Collection) -> ReefConfig | None:
    """The settings with which a collection was drawn by ``draw_reef``; None if it is not a reef."""
    for step in collection.info.get("history", []):
        if isinstance(step, dict) and step.get("stage") == "reef":
            return ReefConfig.parse(step.get("settings"), source=str(collection.root / "collection.json"))
    return None

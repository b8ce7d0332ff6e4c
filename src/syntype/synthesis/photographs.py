"""Draw from photographs: variations of them, and what fills a hole in them. Training photographs alone, whatever the collection holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from pydantic import Field, model_validator
from torch import Tensor

from syntype.collection import Collection
from syntype.collection.decoding import decode, read_bytes
from syntype.compute.grids import tile
from syntype.compute.tensors import to_tensor
from syntype.errors import CollectionError, InputError, LeakageError, require_known
from syntype.generators import Generator
from syntype.run import OWN_RUN, Run, keeps_run
from syntype.synthesis._drawing import DrawConfig, DrawResult, Job, draw_collection, image_seed, licence_of, mark_of, require_species, slug, suffix
from syntype.synthesis.provenance import EDITED, write_image

__all__ = ["InpaintConfig", "InpaintResult", "PhotographsConfig", "VaryConfig", "VaryResult", "choose_photographs", "inpaint", "vary"]

MOST_SHOWN = (12, 8)
"""Photographs (rows) and drawn images of each (columns) on a sheet, at most."""


class PhotographsConfig(DrawConfig):
    """Which photographs to start from."""

    species: tuple[str, ...] = ()
    """Photographs of these species; empty: of all that the generator knows and the collection shows."""
    photographs: tuple[str, ...] = ()
    """Photographs with these image_ids alone; empty: all training photographs of the species."""
    num: int = Field(1, ge=1)
    """Images of each photograph (at each strength)."""
    batch_size: int = Field(8, ge=1)
    """Images drawn at once; it changes the speed, never the images."""


class VaryConfig(PhotographsConfig):
    """What to vary, and how far."""

    strengths: tuple[float, ...] = Field((0.5,), min_length=1)
    """0 draws the photograph again as nearly as the family can, 1 owes it least."""

    @model_validator(mode="after")
    def _check(self) -> VaryConfig:
        if not all(0 <= strength <= 1 for strength in self.strengths):
            raise ValueError("strengths lie between 0 and 1")
        return self


class InpaintConfig(PhotographsConfig):
    """What to fill in."""

    box: tuple[float, float, float, float] | None = None
    """Left, top, right, bottom of what is drawn anew: shares of the side where all are at most 1, else pixels of the generator's square."""
    mask: Path | None = None
    """An image file instead, white where to draw and black where to keep; scaled to the generator's square."""

    @model_validator(mode="after")
    def _check(self) -> InpaintConfig:
        if (self.box is None) == (self.mask is None):
            raise ValueError("say what to draw anew: give either a box or a mask")
        return self


class VaryResult(DrawResult):
    """What ``vary`` drew."""


class InpaintResult(DrawResult):
    """What ``inpaint`` drew."""


@dataclass(frozen=True)
class _FromPhotograph(Job):
    """One image to draw from photograph number ``row`` of those chosen."""

    row: int = 0
    strength: float = 0.0


@keeps_run("vary", resumable=True)
def vary(generator: Generator, collection: Collection, config: VaryConfig, out: Path | str, run: Run = OWN_RUN) -> VaryResult:
    """Draw ``config.num`` variations of each training photograph at each strength into the collection ``out``.

    A variation has the species of its photograph and names it as its parent. Variation i has one seed at all strengths, so that these
    can be compared. Going on after an interruption is as for ``generate``. ``sheet.png`` shows photographs, each with its variations.

    Args:
        generator: as ``load_generator`` gives it; on whichever device it is.
        collection: photographs; only those of the split ``train`` are used.
        config: species or photographs, number of variations, strengths in [0, 1].
        out: folder of the synthetic collection. Images that a stopped call with the same settings left there are kept.
        run: where progress, messages and events go; by default a run folder in ``out``, with progress on standard error.

    Returns:
        the synthetic collection, and pictures as paths.

    Raises:
        UnsupportedError: the family cannot start from photographs; the message lists those that can.
        UnknownNameError: a species that the generator does not know, or a photograph that the collection does not have.
        LeakageError: a photograph that is not for training.
        CollectionError: no training photograph of the species.
        RecipeError: a control that the family does not have.
        TrainingError: the generator gives values that are not finite.
        InputError: a file cannot be written.
        KeyboardInterrupt: again, once the collection of what is finished is written and the run marked ``interrupted``.

    Example:
        >>> import syntype
        >>> reef, generator = syntype.Collection.open("out/reef"), syntype.load_generator("out/generator")
        >>> config = syntype.VaryConfig(species=("Graphiichthys primus",), strengths=(0.5, 1.0), controls={"search_steps": 2})
        >>> len(syntype.vary(generator, reef, config, "out/variations").collection)  # 6 photographs at 2 strengths
        12
    """
    out = Path(out)
    chosen = choose_photographs(generator, collection, config)
    pixels = chosen.pixels(generator.model.config.shape)
    generator.vary(_photographs(pixels, []), [], [], 0.0, **config.controls)  # a family that cannot is refused before anything is written
    jobs = [
        _job(generator, config, chosen, row, index, "vary", {"strength": strength}, f"{strength:g}", strength)
        for row in range(len(chosen))
        for strength in config.strengths
        for index in range(config.num)
    ]

    def draw(batch: list[_FromPhotograph]) -> Tensor:
        images = torch.empty_like(_photographs(pixels, batch))
        for strength in {job.strength for job in batch}:
            places = [place for place, job in enumerate(batch) if job.strength == strength]
            some = [batch[place] for place in places]
            images[places] = generator.vary(_photographs(pixels, some), *_asked(some), strength, **config.controls)
        return images

    result = draw_collection("vary", generator, jobs, draw, config, out, run, species=_names(chosen), result=VaryResult)
    return replace(result, pictures=(_sheet(jobs, [pixels], out),))


@keeps_run("inpaint", resumable=True)
def inpaint(generator: Generator, collection: Collection, config: InpaintConfig, out: Path | str, run: Run = OWN_RUN) -> InpaintResult:
    """Draw a part of each training photograph anew, ``config.num`` times, into the collection ``out``; the rest stays as it is.

    What comes out is the square of the photograph that the generator sees, at the generator's size. Each image names its photograph as
    its parent. Going on after an interruption is as for ``generate``. ``sheet.png`` shows photographs, the hole, and what fills it.

    Args:
        generator: as ``load_generator`` gives it; on whichever device it is.
        collection: photographs; only those of the split ``train`` are used.
        config: species or photographs, and what to draw anew: a box or a mask.
        out: folder of the synthetic collection. Images that a stopped call with the same settings left there are kept.
        run: where progress, messages and events go; by default a run folder in ``out``, with progress on standard error.

    Returns:
        the synthetic collection, and pictures as paths.

    Raises:
        UnsupportedError: the family cannot fill in photographs; the message lists those that can.
        UnknownNameError: a species that the generator does not know, or a photograph that the collection does not have.
        LeakageError: a photograph that is not for training.
        CollectionError: no training photograph of the species.
        RecipeError: a control that the family does not have.
        TrainingError: the generator gives values that are not finite.
        InputError: a mask that cannot be used, a box without a pixel, or a file that cannot be written.
        KeyboardInterrupt: again, once the collection of what is finished is written and the run marked ``interrupted``.

    Example:
        >>> import syntype
        >>> reef, generator = syntype.Collection.open("out/reef"), syntype.load_generator("out/generator")
        >>> config = syntype.InpaintConfig(species=("Graphiichthys primus",), box=(0.6, 0.2, 0.9, 0.5), controls={"search_steps": 2})
        >>> len(syntype.inpaint(generator, reef, config, "out/filled").collection)
        6
    """
    out = Path(out)
    chosen = choose_photographs(generator, collection, config)
    pixels = chosen.pixels(generator.model.config.shape)
    hole, told = _hole(config, *pixels.shape[1:3])
    mask = torch.from_numpy(hole)[None, None]
    generator.inpaint(_photographs(pixels, []), mask[:0], [], [], **config.controls)
    jobs = [_job(generator, config, chosen, row, index, "inpaint", told, "filled") for row in range(len(chosen)) for index in range(config.num)]

    def draw(batch: list[_FromPhotograph]) -> Tensor:
        return generator.inpaint(_photographs(pixels, batch), mask.expand(len(batch), -1, -1, -1), *_asked(batch), **config.controls)

    result = draw_collection("inpaint", generator, jobs, draw, config, out, run, species=_names(chosen), result=InpaintResult)
    return replace(result, pictures=(_sheet(jobs, [pixels, np.where(hole[:, :, None], np.uint8(128), pixels)], out),))


def choose_photographs(generator: Generator, collection: Collection, config: PhotographsConfig) -> Collection:
    """The training photographs to start from."""
    train = collection.training()
    if config.photographs:
        require_known("photograph of this collection", config.photographs, collection.table["image_id"])
        held = sorted(set(config.photographs) - set(train.table["image_id"]))
        if held:
            raise LeakageError(
                f"{collection.root}: {', '.join(held[:3])}{', …' if len(held) > 3 else ''} is not a training photograph. What is drawn from test or "
                "validation photographs would carry the answers into the training set; choose photographs of the split 'train'."
            )
        train = train.where(train.table["image_id"].isin(config.photographs))
    names = config.species or tuple(name for name, count in train.counts().items() if count and name in generator.species)
    require_species(generator, names)
    require_known("species of this collection", names, collection.species)
    chosen = train.select(species=names)
    if not len(chosen):
        raise CollectionError(f"{collection.root}: has no training photograph to start from of {', '.join(names) or 'what the generator knows'}.")
    return chosen


def _names(chosen: Collection) -> tuple[str, ...]:
    return tuple(name for name, count in chosen.counts().items() if count)


def _job(
    generator: Generator,
    config: PhotographsConfig,
    chosen: Collection,
    row: int,
    index: int,
    stage: str,
    told: dict[str, Any],
    name: str,
    strength: float = 0.0,
) -> _FromPhotograph:
    entry = chosen.table.iloc[row]
    species, parent = str(entry["species"]), str(entry["image_id"])
    controls = {**config.controls, stage: {"photograph": parent, **told}}
    mark = mark_of(generator, species, image_seed(config.seed, parent, index), controls, EDITED)
    own = [] if pd.isna(entry["licence"]) else [str(entry["licence"])]
    file_name = f"images/{slug(species)}/{slug(parent)}-{name}-{index:04d}.{suffix(config)}"
    return _FromPhotograph(file_name, mark, licence_of(sorted({*generator.licences, *own})), (parent,), row, strength)


def _photographs(pixels: np.ndarray, jobs: Sequence[_FromPhotograph]) -> Tensor:
    return to_tensor(pixels[[job.row for job in jobs]])


def _asked(jobs: Sequence[_FromPhotograph]) -> tuple[list[str], list[int]]:
    return [job.mark.species for job in jobs], [job.mark.seed for job in jobs]


def _hole(config: InpaintConfig, height: int, width: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Where to draw: bool, shape (height, width); and what the marks say of it."""
    if config.mask is not None:
        grey = Image.fromarray(decode(config.mask)).convert("L").resize((width, height), Image.Resampling.BOX)
        hole = np.asarray(grey) >= 128
        told: dict[str, Any] = {"mask": hashlib.sha256(read_bytes(config.mask)).hexdigest()}
        mend, file = "Paint it white where to draw, and black where to keep.", config.mask
    else:
        box, sides = np.array(config.box, dtype=float), np.array([width, height, width, height])
        left, top, right, bottom = np.rint(box * (sides if box.max() <= 1 else 1)).astype(int).clip(0, sides).tolist()
        hole = np.zeros((height, width), dtype=bool)
        hole[top:bottom, left:right] = True
        told, file = {"box": [left, top, right, bottom]}, None
        mend = f"The generator's images are {width} pixels wide and {height} high; give left, top, right, bottom."
    if not hole.any():
        raise InputError("leaves nothing to draw" if file else f"the box {config.box} holds no pixel", mend, file=file)
    if hole.all():
        raise InputError("leaves nothing of the photograph" if file else f"the box {config.box} covers the whole photograph", mend, file=file)
    return hole, told


def _sheet(jobs: Sequence[_FromPhotograph], before: Sequence[np.ndarray], out: Path) -> Path:
    """``sheet.png``: a line a photograph, evenly chosen among all: what is ``before`` its drawn images, then these."""
    photographs = sorted({job.row for job in jobs})
    shown = [photographs[place] for place in np.linspace(0, len(photographs) - 1, min(len(photographs), MOST_SHOWN[0])).round().astype(int)]
    lines = list(_lines(jobs, before, shown, out))
    sheet = tile(np.concatenate(lines), len(lines[0]))
    write_image(sheet, out / "sheet.png", replace(jobs[0].mark, species=" + ".join(dict.fromkeys(job.mark.species for job in jobs))))
    return out / "sheet.png"


def _lines(jobs: Sequence[_FromPhotograph], before: Sequence[np.ndarray], shown: Sequence[int], out: Path) -> Iterator[np.ndarray]:
    for row in shown:
        own = [job for job in jobs if job.row == row]
        columns = np.linspace(0, len(own) - 1, min(len(own), MOST_SHOWN[1])).round().astype(int)
        yield np.stack([*(images[row] for images in before), *(decode(out / own[column].file_name) for column in columns)])

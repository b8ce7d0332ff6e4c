"""Synthetic images from photographs: variations, and inpainting of a part. Only training photographs are used."""

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
from syntype.errors import CollectionError, InputError, LeakageError, require_known, shown_list
from syntype.generators import Generator
from syntype.run import OWN_RUN, Run, keeps_run
from syntype.synthesis._drawing import (
    DrawConfig,
    DrawResult,
    Job,
    draw_collection,
    image_seed,
    licence_of,
    provenance_of,
    require_species,
    slugs,
    suffix,
)
from syntype.synthesis.provenance import EDITED, write_image

__all__ = ["InpaintConfig", "InpaintResult", "PhotographsConfig", "VaryConfig", "VaryResult", "choose_photographs", "inpaint", "vary"]

SHEET_SIZE = (12, 8)
"""Largest number of photographs (rows) and of generated images per photograph (columns) on the contact sheet."""


class PhotographsConfig(DrawConfig):
    """Settings of ``vary`` and ``inpaint``: the photographs to start from."""

    species: tuple[str, ...] = ()
    """Use photographs of these species; empty for all species of both generator and collection."""
    photographs: tuple[str, ...] = ()
    """Use photographs with these image_ids; empty for all training photographs of the species."""
    num: int = Field(1, ge=1)
    """Number of images per photograph (and strength)."""
    batch_size: int = Field(8, ge=1)
    """Images generated at once. It changes the speed, not the images."""


class VaryConfig(PhotographsConfig):
    """Settings of ``vary``."""

    strengths: tuple[float, ...] = Field((0.5,), min_length=1)
    """How far to change the photograph, in [0, 1]: 0 reconstructs it as well as the family can, 1 depends on it least."""

    @model_validator(mode="after")
    def _check(self) -> VaryConfig:
        if not all(0 <= strength <= 1 for strength in self.strengths):
            raise ValueError("each strength must be between 0 and 1")
        return self


class InpaintConfig(PhotographsConfig):
    """Settings of ``inpaint``."""

    box: tuple[float, float, float, float] | None = None
    """Left, top, right, bottom of the area to replace: as fractions of the side if all are at most 1, else in pixels of the generator's image."""
    mask: Path | None = None
    """Instead of a box, a mask image: white where to replace, black where to keep. It is scaled to the size of the generator's images."""

    @model_validator(mode="after")
    def _check(self) -> InpaintConfig:
        if (self.box is None) == (self.mask is None):
            raise ValueError("give either a box or a mask, to say which area to replace")
        return self


class VaryResult(DrawResult):
    """Result of ``vary``."""


class InpaintResult(DrawResult):
    """Result of ``inpaint``."""


@dataclass(frozen=True)
class _PhotographJob(Job):
    """One image to generate from photograph number ``row`` of the chosen ones."""

    row: int = 0
    strength: float = 0.0


@keeps_run("vary", resumable=True)
def vary(generator: Generator, collection: Collection, config: VaryConfig, out: Path | str, run: Run = OWN_RUN) -> VaryResult:
    """Generate ``config.num`` variations of each training photograph at each strength, as a collection.

    A variation has the species of its photograph, which the column ``parents`` names. Variation i has the same seed at all strengths, so that
    they can be compared. An interrupted run can be continued, as for ``generate``. ``sheet.png`` shows photographs with their variations.

    Args:
        generator: As ``load_generator`` returns it.
        collection: Contains the photographs.
        config: Settings.
        out: Folder of the new collection.
        run: Records progress and events. Default: a run folder in ``out``, with progress on standard error.

    Returns:
        The collection and its contact sheet.

    Raises:
        UnsupportedError: The family does not support variations. The message lists the families that do.
        UnknownNameError: The generator does not know a species, or the collection has no photograph of this image_id.
        LeakageError: A photograph is not in the training split.
        CollectionError: There is no training photograph of the species.
        RecipeError: The family does not have a control of this name.
        TrainingError: The generator produced infinite or NaN values.
        InputError: A file cannot be written.
        KeyboardInterrupt: After Ctrl-C, once the collection of the finished images is written.

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
    generator.vary(_photographs(pixels, []), [], [], 0.0, **config.controls)  # raises before anything is written if the family does not support it
    jobs = [
        _job(generator, config, chosen, row, stem, index, "vary", {"strength": strength}, f"{strength:g}", strength)
        for row, stem in enumerate(_stems(chosen))
        for strength in config.strengths
        for index in range(config.num)
    ]

    def draw(batch: list[_PhotographJob]) -> Tensor:
        images = torch.empty_like(_photographs(pixels, batch))
        for strength in {job.strength for job in batch}:
            places = [place for place, job in enumerate(batch) if job.strength == strength]
            some = [batch[place] for place in places]
            images[places] = generator.vary(_photographs(pixels, some), *_species_and_seeds(some), strength, **config.controls)
        return images

    result = draw_collection("vary", generator, jobs, draw, config, out, run, species=_species_of(chosen), result=VaryResult)
    return replace(result, pictures=(_sheet(jobs, [pixels], out),))


@keeps_run("inpaint", resumable=True)
def inpaint(generator: Generator, collection: Collection, config: InpaintConfig, out: Path | str, run: Run = OWN_RUN) -> InpaintResult:
    """Replace a part of each training photograph by generated content, ``config.num`` times, as a collection.

    Pixels outside the area keep their values. The images are the square crop of the photograph at the generator's size. The column ``parents``
    names the photograph. An interrupted run can be continued, as for ``generate``. ``sheet.png`` shows photographs, the area, and the results.

    Args:
        generator: As ``load_generator`` returns it.
        collection: Contains the photographs.
        config: Settings.
        out: Folder of the new collection.
        run: Records progress and events. Default: a run folder in ``out``, with progress on standard error.

    Returns:
        The collection and its contact sheet.

    Raises:
        UnsupportedError: The family does not support inpainting. The message lists the families that do.
        UnknownNameError: The generator does not know a species, or the collection has no photograph of this image_id.
        LeakageError: A photograph is not in the training split.
        CollectionError: There is no training photograph of the species.
        RecipeError: The family does not have a control of this name.
        TrainingError: The generator produced infinite or NaN values.
        InputError: The mask or box is empty or covers everything, or a file cannot be written.
        KeyboardInterrupt: After Ctrl-C, once the collection of the finished images is written.

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
    area, details = _inpainting_area(config, *pixels.shape[1:3])
    mask = torch.from_numpy(area)[None, None]
    generator.inpaint(_photographs(pixels, []), mask[:0], [], [], **config.controls)
    jobs = [
        _job(generator, config, chosen, row, stem, index, "inpaint", details, "filled")
        for row, stem in enumerate(_stems(chosen))
        for index in range(config.num)
    ]

    def draw(batch: list[_PhotographJob]) -> Tensor:
        return generator.inpaint(_photographs(pixels, batch), mask.expand(len(batch), -1, -1, -1), *_species_and_seeds(batch), **config.controls)

    result = draw_collection("inpaint", generator, jobs, draw, config, out, run, species=_species_of(chosen), result=InpaintResult)
    return replace(result, pictures=(_sheet(jobs, [pixels, np.where(area[:, :, None], np.uint8(128), pixels)], out),))


def choose_photographs(generator: Generator, collection: Collection, config: PhotographsConfig) -> Collection:
    """The training photographs to start from.

    Raises:
        UnsupportedError, UnknownNameError, LeakageError, CollectionError: See ``vary``.
    """
    train = collection.training()
    if config.photographs:
        require_known("photograph of this collection", config.photographs, collection.table["image_id"])
        not_training = sorted(set(config.photographs) - set(train.table["image_id"]))
        if not_training:
            raise LeakageError(
                f"{collection.root}: {shown_list(not_training, 3)} is not a training photograph. Images made from test or validation photographs "
                "would leak them into training. Choose photographs of the split 'train'."
            )
        train = train.where(train.table["image_id"].isin(config.photographs))
    names = config.species or tuple(name for name, count in train.counts().items() if count and name in generator.species)
    require_species(generator, names)
    require_known("species of this collection", names, collection.species)
    chosen = train.select(species=names)
    if not len(chosen):
        wanted = shown_list(names) if names else "any species of the generator"
        raise CollectionError(f"{collection.root}: has no training photograph of {wanted} to start from.")
    return chosen


def _species_of(chosen: Collection) -> tuple[str, ...]:
    return tuple(name for name, count in chosen.counts().items() if count)


def _stems(chosen: Collection) -> list[str]:
    """For each photograph, what the names of the files made from it begin with."""
    species, parents = chosen.table["species"].astype(str), chosen.table["image_id"].astype(str)
    folders, names = slugs(species), slugs(parents)
    return [f"images/{folders[one]}/{names[parent]}" for one, parent in zip(species, parents, strict=True)]


def _job(
    generator: Generator,
    config: PhotographsConfig,
    chosen: Collection,
    row: int,
    stem: str,
    index: int,
    stage: str,
    details: dict[str, Any],
    name: str,
    strength: float = 0.0,
) -> _PhotographJob:
    entry = chosen.table.iloc[row]
    species, parent = str(entry["species"]), str(entry["image_id"])
    controls = {**config.controls, stage: {"photograph": parent, **details}}
    provenance = provenance_of(generator, species, image_seed(config.seed, parent, index), controls, EDITED)
    own = [] if pd.isna(entry["licence"]) else [str(entry["licence"])]
    file_name = f"{stem}-{name}-{index:04d}.{suffix(config)}"
    return _PhotographJob(file_name, provenance, licence_of(sorted({*generator.licences, *own})), (parent,), row, strength)


def _photographs(pixels: np.ndarray, jobs: Sequence[_PhotographJob]) -> Tensor:
    return to_tensor(pixels[[job.row for job in jobs]])


def _species_and_seeds(jobs: Sequence[_PhotographJob]) -> tuple[list[str], list[int]]:
    return [job.provenance.species for job in jobs], [job.provenance.seed for job in jobs]


def _inpainting_area(config: InpaintConfig, height: int, width: int) -> tuple[np.ndarray, dict[str, Any]]:
    """The area to replace, bool, shape (height, width), and its description for the provenance."""
    if config.mask is not None:
        grey = Image.fromarray(decode(config.mask)).convert("L").resize((width, height), Image.Resampling.BOX)
        area = np.asarray(grey) >= 128
        details: dict[str, Any] = {"mask": hashlib.sha256(read_bytes(config.mask)).hexdigest()}
        hint, file = "Paint the area to replace white, and the rest black.", config.mask
    else:
        box, sides = np.array(config.box, dtype=float), np.array([width, height, width, height])
        left, top, right, bottom = np.rint(box * (sides if box.max() <= 1 else 1)).astype(int).clip(0, sides).tolist()
        area = np.zeros((height, width), dtype=bool)
        area[top:bottom, left:right] = True
        details, file = {"box": [left, top, right, bottom]}, None
        hint = f"The generator's images are {width} pixels wide and {height} high; give left, top, right, bottom."
    if not area.any():
        raise InputError("has no white pixel, so nothing would be replaced" if file else f"the box {config.box} contains no pixel", hint, file=file)
    if area.all():
        raise InputError(
            "has no black pixel, so nothing of the photograph would be kept" if file else f"the box {config.box} covers the whole photograph",
            hint,
            file=file,
        )
    return area, details


def _sheet(jobs: Sequence[_PhotographJob], before: Sequence[np.ndarray], out: Path) -> Path:
    """Write ``sheet.png``, with one row per photograph (evenly sampled): the images in ``before``, then the generated images."""
    photographs = sorted({job.row for job in jobs})
    shown = [photographs[place] for place in np.linspace(0, len(photographs) - 1, min(len(photographs), SHEET_SIZE[0])).round().astype(int)]
    sheet_rows = list(_sheet_rows(jobs, before, shown, out))
    sheet = tile(np.concatenate(sheet_rows), len(sheet_rows[0]))
    write_image(sheet, out / "sheet.png", replace(jobs[0].provenance, species=" + ".join(dict.fromkeys(job.provenance.species for job in jobs))))
    return out / "sheet.png"


def _sheet_rows(jobs: Sequence[_PhotographJob], before: Sequence[np.ndarray], shown: Sequence[int], out: Path) -> Iterator[np.ndarray]:
    for row in shown:
        own = [job for job in jobs if job.row == row]
        columns = np.linspace(0, len(own) - 1, min(len(own), SHEET_SIZE[1])).round().astype(int)
        yield np.stack([*(images[row] for images in before), *(decode(out / own[column].file_name) for column in columns)])

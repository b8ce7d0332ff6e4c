"""Shared by all stages that generate images: settings, file names, writing the collection, and resuming an interrupted run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from syntype.collection import Collection
from syntype.collection.columns import TABLE
from syntype.collection.decoding import decode
from syntype.collection.duplicates import perceptual_hash
from syntype.compute.tensors import to_uint8
from syntype.errors import InputError, TrainingError, UnsupportedError, require_known, shown_list
from syntype.generators import Generator
from syntype.generators.contract import Adapts
from syntype.recipe import Seed, Settings
from syntype.run import Run
from syntype.synthesis.provenance import NOTICE, Provenance, read_provenance, write_image

__all__ = [
    "DrawConfig", "DrawResult", "Job", "Jobs", "draw_collection", "draw_files", "image_seed", "licence_of", "provenance_of", "require_species",
    "slugs", "suffix",
]  # fmt: skip


class DrawConfig(Settings):
    """Settings of every stage that generates images."""

    seed: Seed = 0
    """Seed from which the seed of every image is derived (``image_seed``)."""
    format: Literal["png", "jpeg"] = "png"
    """File format of the images."""
    quality: int = Field(95, ge=1, le=100)
    """JPEG quality."""
    batch_size: int = Field(32, ge=1)
    """Images generated at once. It changes the speed, not the images."""
    controls: dict[str, Any] = Field(default_factory=dict)
    """Additional arguments of the generator's family, name -> value."""

    may_change: ClassVar[frozenset[str]] = frozenset({"batch_size", "num"})


@dataclass(frozen=True)
class DrawResult:
    """Result of a stage that generates images.

    Attributes:
        collection: The synthetic images.
        generator_id: Identifier of the generator.
        size: Side of the images in pixels.
        images_per_second: Speed in this run, including writing the files.
        pictures: Overview images, in the folder of the collection.
    """

    collection: Collection
    generator_id: str
    size: int
    images_per_second: float
    pictures: tuple[Path, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Values for ``--json``."""
        return {
            "num_images": len(self.collection),
            "num_species": int(self.collection.table["species"].nunique()),
            "generator_id": self.generator_id,
            "size": self.size,
            "images_per_second": round(self.images_per_second, 2),
            "out": str(self.collection.root),
            **({"pictures": [str(path) for path in self.pictures]} if self.pictures else {}),
        }


@dataclass(frozen=True)
class Job:
    """One image to generate.

    Attributes:
        file_name: File name relative to the collection's folder.
        provenance: Metadata of the file. An existing file with equal metadata is kept.
        licence: Licence of the image.
        parents: image_id of the photographs that it is made from.
        label_weights: Weight of each of the two species of an image between species; empty for all other images.
    """

    file_name: str
    provenance: Provenance
    licence: str | None
    parents: tuple[str, ...] = ()
    label_weights: Mapping[str, float] = field(default_factory=dict, kw_only=True)


JobT = TypeVar("JobT", bound=Job)


class Jobs(Sequence[JobT]):
    """Jobs that are made when they are asked for, so that a hundred thousand of them take no time before the first image, and no memory.

    Args:
        num: Number of jobs.
        make: Returns the job at a position, 0 <= position < ``num``.
    """

    def __init__(self, num: int, make: Callable[[int], JobT]) -> None:
        self._num, self._make = num, make

    def __len__(self) -> int:
        return self._num

    def __getitem__(self, position: Any) -> Any:
        """The job at a position, or those of a slice."""
        places = range(self._num)[position]
        return self._make(places) if isinstance(places, int) else [self._make(place) for place in places]


ResultT = TypeVar("ResultT", bound=DrawResult)


def image_seed(seed: int, species: str, index: int) -> int:
    """Seed of one image. It depends neither on the number of images nor on the other species.

    It consists of the first eight bytes of the SHA-256 of the JSON list [seed, species, index], shifted right by one bit.

    Args:
        seed: Seed of the stage (``DrawConfig.seed``).
        species: Species; for variations of a photograph its image_id instead.
        index: Number of the image of this species, from 0.

    Returns:
        The seed, 0 <= seed < 2**63.
    """
    digest = hashlib.sha256(json.dumps([seed, species, index]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def require_species(generator: Generator, names: Sequence[str]) -> None:
    """Check that a generator can generate these species.

    Raises:
        UnknownNameError: The generator does not know a species.
        UnsupportedError: The generator is unconditional (it was trained without species labels) and was not adapted to one of the species.
    """
    if not generator.model.is_conditional and (not names or set(names) - set(generator.species)):
        raise UnsupportedError(f"{generator.folder}: was trained without species labels, so it {_alternative(generator)}")
    require_known("species of this generator", names, generator.species)


def _alternative(generator: Generator) -> str:
    """What an unconditional generator can do instead, for an error message."""
    if not isinstance(generator.model, Adapts):
        return "cannot generate images of a given species. Train it on one species (--only NAME), or train a conditional family such as cgan."
    return (
        f"can only generate species that it was adapted to ({shown_list(generator.species) if generator.species else 'none yet'}). "
        f"Adapt it with: syntype adapt {generator.folder} COLLECTION --species NAME; or train again with --set model.conditional=true."
    )


def provenance_of(generator: Generator, species: str, seed: int, controls: dict[str, Any], digital_source_type: str) -> Provenance:
    """Provenance of an image.

    Args:
        generator: The generator.
        species: Species of the image.
        seed: Seed of the image.
        controls: Additional arguments of ``sample``; converted to JSON values.
        digital_source_type: ``TRAINED`` or ``EDITED``.
    """
    return Provenance(generator.generator_id, generator.family, species, seed, json.loads(json.dumps(controls)), digital_source_type, _software())


@cache
def _software() -> str:
    """Name and version of this software. Looking up the version reads the metadata of all installed packages, so it is done once."""
    return f"Syntype {metadata.version('syntype')}"


def licence_of(licences: Iterable[str]) -> str | None:
    """Licence of an image that was made from sources with these licences: all of them apply."""
    return "; ".join(licences) or None


def slugs(names: Iterable[str]) -> dict[str, str]:
    """Each name as part of a file name.

    A short hash is appended where characters had to be replaced, or where another of the names differs in upper and lower case alone, so that
    different names are different files on every operating system.
    """
    plain = {name: re.sub(r"[^\w-]+", "", re.sub(r"\s", "_", name))[:80] for name in names}
    kept = {name for name, part in plain.items() if part.replace("_", " ") == name}
    alike = Counter(name.casefold() for name in kept)
    return {
        name: part if name in kept and alike[name.casefold()] == 1 else f"{part}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        for name, part in plain.items()
    }


def suffix(config: DrawConfig) -> str:
    """File name extension, without the dot."""
    return "png" if config.format == "png" else "jpg"


def draw_collection(
    stage: str,
    generator: Generator,
    jobs: Sequence[JobT],
    draw: Callable[[list[JobT]], Tensor],
    config: DrawConfig,
    out: Path,
    run: Run,
    *,
    species: Sequence[str],
    result: type[ResultT],
) -> ResultT:
    """Generate the images of ``jobs`` and write them to the collection ``out``.

    Existing images with the same provenance are kept, so that an interrupted run continues. After Ctrl-C the folder is a valid collection
    of the finished images.

    Args:
        stage: Name of the stage, for the history of the collection.
        generator: The generator.
        jobs: The images to generate.
        draw: Generates the images of some jobs: float, shape (N, 3, size, size), in [-1, 1].
        config: Settings.
        out: Folder of the collection.
        run: Shows progress.
        species: Vocabulary of the collection.
        result: Class of the result.

    Raises:
        TrainingError: The generator produced infinite or NaN values.
        InputError: A file cannot be written.
        KeyboardInterrupt: After Ctrl-C, once the collection of the finished images is written.
    """
    there = _file_names(out)
    names = [job.file_name for job in jobs] if there or (out / TABLE).is_file() else []
    earlier = _earlier_rows(out, names)
    rows: dict[int, dict[str, Any]] = {}
    num_kept = 0
    start = time.monotonic()

    def finish() -> ResultT:
        history = {"stage": stage, "family": generator.family, "generator_id": generator.generator_id, **config.model_dump(mode="json")}
        table = pd.DataFrame([rows[position] for position in sorted(rows)])
        collection = Collection.create(out, table, species=species, sources=generator.sources, history=[history])
        speed = (len(rows) - num_kept) / max(time.monotonic() - start, 1e-9)
        return result(collection, generator.generator_id, generator.size, speed)

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool, run.progress("generate", len(jobs)) as bar:
        pending: deque[tuple[int, Future[dict[str, Any]]]] = deque()
        try:
            known = [position for position, name in enumerate(names) if name in there]
            for position, row in zip(known, pool.map(lambda position: _existing_row(out, jobs[position]), known), strict=True):
                if row is not None:
                    before = earlier.get(row["file_name"], {})
                    rows[position] = row if before.get("sha256") != row["sha256"] else before | row  # with the verdicts of experts
            num_kept = len(rows)
            bar.advance(num_kept)
            todo = [position for position in range(len(jobs)) if position not in rows]
            start = time.monotonic()
            for number in _draw_each(generator, jobs, todo, draw, config, out, pool, pending, rows):
                bar.advance(number)
        except KeyboardInterrupt:
            _collect(pending, rows)
            run.finish("interrupted", **finish().summary())
            raise
    return finish()


def draw_files(generator: Generator, jobs: Sequence[JobT], draw: Callable[[list[JobT]], Tensor], config: DrawConfig, out: Path) -> None:
    """Write the files of those images that are not there, without a table. The arguments are those of ``draw_collection``.

    Raises:
        TrainingError: The generator produced infinite or NaN values.
        InputError: A file cannot be written.
    """
    todo = [position for position, job in enumerate(jobs) if _existing_row(out, job) is None]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for _ in _draw_each(generator, jobs, todo, draw, config, out, pool, deque(), {}):
            pass


def _draw_each(
    generator: Generator,
    jobs: Sequence[JobT],
    todo: Sequence[int],
    draw: Callable[[list[JobT]], Tensor],
    config: DrawConfig,
    out: Path,
    pool: ThreadPoolExecutor,
    pending: deque[tuple[int, Future[dict[str, Any]]]],
    rows: dict[int, dict[str, Any]],
) -> Iterator[int]:
    """Generate the images of the jobs at these positions, batch by batch, and enter their rows; yields the number of each batch."""
    made: set[Path] = set()
    for at in range(0, len(todo), config.batch_size):
        batch = todo[at : at + config.batch_size]
        asked = [jobs[position] for position in batch]
        for folder in {(out / job.file_name).parent for job in asked} - made:
            folder.mkdir(parents=True, exist_ok=True)
            made.add(folder)
        for position, job, image in zip(batch, asked, _finite(draw(asked), generator), strict=True):
            pending.append((position, pool.submit(_write, image, out, job, config.quality)))
        _collect(pending, rows, leave=2 * config.batch_size)  # so that generating never runs far ahead of a slow disk
        yield len(batch)
    _collect(pending, rows)


def _earlier_rows(out: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The rows of the table that an earlier session wrote to ``out``, by file name. ``names``: those of the images to generate.

    Raises:
        InputError: the table has other images, so that their rows would be lost.
    """
    if not (out / TABLE).is_file():
        return {}
    table = Collection.open(out).table
    others = set(table["file_name"]).difference(names)
    if others:
        reason = f"holds {len(others)} other images ({min(others)} …), which would be lost"
        raise InputError(reason, "Ask for at least as many images as before, or give --out a new folder.", file=out)
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return {str(row["file_name"]): {str(name): value for name, value in row.items()} for row in rows}


def _collect(pending: deque[tuple[int, Future[dict[str, Any]]]], rows: dict[int, dict[str, Any]], leave: int = 0) -> None:
    """Wait for all but the last ``leave`` files, and move their rows from ``pending`` to ``rows``."""
    while len(pending) > leave:
        position, future = pending[0]
        rows[position] = future.result()
        pending.popleft()  # only now, so that Ctrl-C while waiting does not lose an image


def _finite(images_NCHW: Tensor, generator: Generator) -> np.ndarray:
    """The images as uint8, shape (N, size, size, 3)."""
    if not bool(torch.isfinite(images_NCHW).all()):
        raise TrainingError(
            f"generator {generator.generator_id}: produced infinite or NaN values. Use an earlier checkpoint, or lower the learning rate."
        )
    return to_uint8(images_NCHW)


def _write(image: np.ndarray, out: Path, job: Job, quality: int) -> dict[str, Any]:
    return _row(write_image(image, out / job.file_name, job.provenance, quality=quality), job)


def _file_names(out: Path) -> set[str]:
    """Names of the images that an earlier run left, relative to ``out``; empty in a new folder."""
    return {path.relative_to(out).as_posix() for path in (out / "images").rglob("*.*")}


def _existing_row(out: Path, job: Job) -> dict[str, Any] | None:
    """The table row of an existing file that is complete and has the provenance of ``job``; otherwise None."""
    path = out / job.file_name
    try:
        return _row(path.read_bytes(), job) if path.is_file() and read_provenance(path) == job.provenance else None
    except InputError:
        return None


def _row(content: bytes, job: Job) -> dict[str, Any]:
    pixels, provenance = decode(content), job.provenance
    return {
        "image_id": Path(job.file_name).stem,
        "file_name": job.file_name,
        "species": provenance.species,
        "label_weights": json.dumps(job.label_weights, ensure_ascii=False) if job.label_weights else None,
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "sha256": hashlib.sha256(content).hexdigest(),
        "phash": perceptual_hash(pixels),
        "licence": job.licence,
        "terms": NOTICE,
        "origin": "synthetic",
        "generator_id": provenance.generator_id,
        "seed": provenance.seed,
        "controls": json.dumps(provenance.controls, sort_keys=True) if provenance.controls else None,
        "parents": json.dumps(job.parents) if job.parents else None,
    }

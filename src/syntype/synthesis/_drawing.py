"""What all stages that draw have in common: jobs to images to a collection, and going on where a run was stopped."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from syntype.collection import Collection
from syntype.collection.decoding import decode
from syntype.collection.duplicates import perceptual_hash
from syntype.compute.tensors import to_uint8
from syntype.errors import InputError, TrainingError, UnsupportedError, require_known
from syntype.generators import Generator
from syntype.generators.contract import Adapts
from syntype.recipe import Settings
from syntype.run import Run
from syntype.synthesis.provenance import NOTICE, Provenance, read_provenance, write_image

__all__ = ["DrawConfig", "DrawResult", "Job", "draw_collection", "image_seed", "licence_of", "provenance_of", "require_species", "slug", "suffix"]


class DrawConfig(Settings):
    """Settings of every stage that draws."""

    seed: int = Field(0, ge=0)
    """Where every image's own seed comes from (``image_seed``)."""
    format: Literal["png", "jpeg"] = "png"
    """Of the files."""
    quality: int = Field(95, ge=1, le=100)
    """Of JPEG files."""
    batch_size: int = Field(32, ge=1)
    """Images drawn at once; it changes the speed, never the images."""
    controls: dict[str, Any] = Field(default_factory=dict)
    """Controls of the generator's family."""


@dataclass(frozen=True)
class DrawResult:
    """What was drawn.

    Attributes:
        collection: the synthetic images.
        generator_id: which generator drew them.
        size: side of the images, in pixels.
        images_per_second: of those drawn in this run, files included.
        pictures: files beside the collection that show it at a glance.
    """

    collection: Collection
    generator_id: str
    size: int
    images_per_second: float
    pictures: tuple[Path, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Figures for ``--json``."""
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
    """One image to draw.

    Attributes:
        file_name: relative to the collection's folder.
        mark: what the file will say of itself; a file that says so already is kept.
        licence: under which the image may be used.
        parents: image_id of the photographs that it was made from.
    """

    file_name: str
    mark: Provenance
    licence: str | None
    parents: tuple[str, ...] = ()


JobT = TypeVar("JobT", bound=Job)
ResultT = TypeVar("ResultT", bound=DrawResult)


def image_seed(seed: int, species: str, index: int) -> int:
    """Seed of image ``index`` of a species, 0 <= seed < 2**63; it depends neither on how many images are asked for nor on the other species.

    The first eight bytes of SHA-256 over the JSON list [seed, species, index], without the lowest bit. For variations of a photograph its
    image_id stands for the species.
    """
    digest = hashlib.sha256(json.dumps([seed, species, index]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def require_species(generator: Generator, names: Sequence[str]) -> None:
    """Refuse species that a generator cannot draw by name.

    Raises:
        UnknownNameError: a species that the generator does not know.
        UnsupportedError: the generator does not tell species apart, and was not adapted to one that is asked for.
    """
    if not generator.model.is_conditional and (not names or set(names) - set(generator.species)):
        raise UnsupportedError(f"{generator.folder}: was trained without telling species apart, so it {_instead(generator)}")
    require_known("species of this generator", names, generator.species)


def _instead(generator: Generator) -> str:
    """What a generator that does not tell species apart can do nevertheless, and what to do about it."""
    if not isinstance(generator.model, Adapts):
        return "draws none by name. Train it on one species (--only NAME), or train a family that tells species apart, such as cgan."
    return (
        f"draws by name only what it was adapted to ({', '.join(generator.species) or 'nothing yet'}). "
        f"Adapt it with: syntype adapt {generator.folder} COLLECTION --species NAME; or train again with --set model.conditional=true."
    )


def provenance_of(generator: Generator, species: str, seed: int, controls: dict[str, Any], term: str) -> Provenance:
    """The mark of an image; ``controls`` as JSON has them."""
    software = f"Syntype {metadata.version('syntype')}"
    return Provenance(generator.generator_id, generator.family, species, seed, json.loads(json.dumps(controls)), term, software)


def licence_of(licences: Iterable[str]) -> str | None:
    """Whatever an image was made from, it is used under no milder terms."""
    return "; ".join(licences) or None


def slug(name: str) -> str:
    """A name as part of a file name; what cannot be read back from it gets a short hash, so that no two names meet."""
    plain = re.sub(r"[^\w-]+", "", re.sub(r"\s", "_", name))[:80]
    if plain.replace("_", " ") != name:
        plain += "-" + hashlib.sha256(name.encode()).hexdigest()[:8]
    return plain


def suffix(config: DrawConfig) -> str:
    """End of the files' names."""
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
    """Draw ``jobs`` into the collection ``out``.

    Images that lie in ``out`` already and bear the very mark that they would get are kept, so that an interrupted run goes on where
    it was. Ctrl-C leaves a valid collection of what is finished.

    Args:
        draw: images of some jobs, shape (N, 3, size, size), in [-1, 1].
        species: vocabulary of the collection.
        result: what to return it as.

    Raises:
        TrainingError: the generator gives values that are not finite.
        InputError: a file cannot be written.
        KeyboardInterrupt: again, once the collection of what is finished is written and the run marked ``interrupted``.
    """
    for folder in {(out / job.file_name).parent for job in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
    rows: dict[int, dict[str, Any]] = {}
    num_kept = 0
    start = time.monotonic()

    def finish() -> ResultT:
        history = {"stage": stage, "family": generator.family, "generator_id": generator.generator_id, **config.model_dump(mode="json")}
        table = pd.DataFrame([rows[position] for position in sorted(rows)])
        collection = Collection.create(out, table, species=species, sources=[f"generator {generator.generator_id}"], history=[history])
        speed = (len(rows) - num_kept) / max(time.monotonic() - start, 1e-9)
        return result(collection, generator.generator_id, generator.size, speed)

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool, run.progress("draw", len(jobs)) as bar:
        pending: deque[tuple[int, Future[dict[str, Any]]]] = deque()
        try:
            for position, row in enumerate(pool.map(lambda job: _kept(out, job), jobs)):
                if row is not None:
                    rows[position] = row
            num_kept = len(rows)
            bar.advance(num_kept)
            todo = [position for position in range(len(jobs)) if position not in rows]
            start = time.monotonic()
            for at in range(0, len(todo), config.batch_size):
                batch = todo[at : at + config.batch_size]
                images = _finite(draw([jobs[position] for position in batch]), generator)
                for position, image in zip(batch, images, strict=True):
                    pending.append((position, pool.submit(_write, image, out, jobs[position], config.quality)))
                _collect(pending, rows, leave=2 * config.batch_size)  # so that drawing never runs far ahead of a slow disk
                bar.advance(len(batch))
            _collect(pending, rows)
        except KeyboardInterrupt:
            _collect(pending, rows)
            run.finish("interrupted", **finish().summary())
            raise
    return finish()


def _collect(pending: deque[tuple[int, Future[dict[str, Any]]]], rows: dict[int, dict[str, Any]], leave: int = 0) -> None:
    """Move finished images from ``pending`` to ``rows``, waiting for all but ``leave`` of them."""
    while len(pending) > leave:
        position, future = pending[0]
        rows[position] = future.result()
        pending.popleft()  # only now: Ctrl-C while waiting must not lose an image


def _finite(images_NCHW: Tensor, generator: Generator) -> np.ndarray:
    """The images as uint8, shape (N, size, size, 3)."""
    if not bool(torch.isfinite(images_NCHW).all()):
        raise TrainingError(
            f"generator {generator.generator_id}: gives values that are not finite. Go back to an earlier checkpoint, or train again."
        )
    return to_uint8(images_NCHW)


def _write(image: np.ndarray, out: Path, job: Job, quality: int) -> dict[str, Any]:
    return _row(write_image(image, out / job.file_name, job.mark, quality=quality), job)


def _kept(out: Path, job: Job) -> dict[str, Any] | None:
    """The row of an image that lies there whole and is the one asked for; else None."""
    path = out / job.file_name
    try:
        return _row(path.read_bytes(), job) if path.is_file() and read_provenance(path) == job.mark else None
    except InputError:
        return None


def _row(content: bytes, job: Job) -> dict[str, Any]:
    pixels, mark = decode(content), job.mark
    return {
        "image_id": Path(job.file_name).stem,
        "file_name": job.file_name,
        "species": mark.species,
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "sha256": hashlib.sha256(content).hexdigest(),
        "phash": perceptual_hash(pixels),
        "licence": job.licence,
        "terms": NOTICE,
        "origin": "synthetic",
        "generator_id": mark.generator_id,
        "seed": mark.seed,
        "controls": json.dumps(mark.controls, sort_keys=True) if mark.controls else None,
        "parents": json.dumps(job.parents) if job.parents else None,
    }

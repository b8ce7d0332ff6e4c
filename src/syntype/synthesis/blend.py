"""Interpolation between species or individuals: strips from one to the next, and boards (grids) of all pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor

from syntype.collection.decoding import decode
from syntype.compute.grids import tile
from syntype.generators import Generator, family
from syntype.generators.contract import BlendOf
from syntype.run import OWN_RUN, Run, keeps_run
from syntype.synthesis._drawing import DrawConfig, DrawResult, Job, draw_collection, image_seed, licence_of, provenance_of, require_species, suffix
from syntype.synthesis.pictures import labelled_grid
from syntype.synthesis.provenance import write_animation, write_image

__all__ = ["BlendConfig", "BlendResult", "blend"]


class BlendConfig(DrawConfig):
    """Settings of ``blend``."""

    species: tuple[str, ...] = Field(min_length=1)
    """Species to interpolate between, in this order. A single species means: between two of its individuals."""
    layout: Literal["strip", "board"] = "strip"
    """``strip``: images in even steps from each species to the next. ``board``: a grid of all pairs of species, with one latent vector per row."""
    of: BlendOf = "both"
    """What is interpolated along a strip: the ``latent`` vector (the individual), the ``species``, or ``both``."""
    steps: int = Field(9, ge=2, le=1000)
    """Number of images from one species to the next, including both ends."""
    amount: float = Field(0.5, ge=0, le=1)
    """Weight of the column's species in a board: 0 is the row's species, 1 the column's."""
    label_power: float = Field(1.0, gt=0, le=10)
    """Label of an image between two species (column ``label_weights``): the second has the weight amount ** label_power, the first the rest. Below 1
    the second species counts more than its amount, as in Diff-Mix (Wang et al. 2024, arXiv 2403.19600, where it is called gamma)."""
    num: int = Field(1, ge=1, le=1000)
    """Number of strips or boards, each with other seeds."""
    milliseconds: int = Field(120, ge=20)
    """Duration of each image in the animations of strips, in milliseconds."""

    may_change: ClassVar[frozenset[str]] = DrawConfig.may_change | {"label_power"}  # the images stay as they are

    @model_validator(mode="after")
    def _check(self) -> BlendConfig:
        if self.layout == "board" and len(set(self.species)) < 2:
            raise ValueError("layout 'board' needs at least two species")
        if self.layout == "strip" and len(self.species) > 2 and self.of != "both":
            raise ValueError(f"a strip of more than two species needs of='both'; of={self.of!r} would jump at each species")
        return self


class BlendResult(DrawResult):
    """Result of ``blend``."""


class _BlendJob(Job):
    """One interpolated image.

    Its controls contain the entry ``blend``: ``species`` and ``seeds`` of both ends, ``amount`` (0 is the first end, 1 the second), and ``of``
    (what is interpolated).
    """

    @property
    def ends(self) -> dict[str, Any]:
        return dict(self.provenance.controls["blend"])


@keeps_run("blend", resumable=True)
def blend(generator: Generator, config: BlendConfig, out: Path | str, run: Run = OWN_RUN) -> BlendResult:
    """Generate images that interpolate between species or individuals, as a collection with overview images.

    The ends of strip n are image n that ``generate`` makes of their species with the same seed. An image of two species has the species
    name ``A × B``, so that it is not taken for an image of either, and its label in the column ``label_weights``, such as
    ``{"A": 0.7, "B": 0.3}``. Curation, classifiers and studies use this label. An interrupted run can be continued, as for ``generate``.

    Overview images in ``out``: ``strip.png`` (one strip per row), ``strip.gif`` and ``strip.webp`` (animations forwards and backwards), or
    ``board.png`` (row species on the left, column species on top).

    Args:
        generator: As ``load_generator`` returns it.
        config: Settings.
        out: Folder of the new collection.
        run: Records progress and events. Default: a run folder in ``out``, with progress on standard error.

    Returns:
        The collection and its overview images.

    Raises:
        UnsupportedError: The family does not support interpolation, or the generator is unconditional.
        UnknownNameError: The generator does not know a species.
        RecipeError: The family does not have a control of this name.
        TrainingError: The generator produced infinite or NaN values.
        InputError: A file cannot be written.
        KeyboardInterrupt: After Ctrl-C, once the collection of the finished images is written.

    Example:
        >>> import syntype
        >>> config = syntype.BlendConfig(species=("Pictopiscis primus", "Pictopiscis alter"), steps=4)
        >>> result = syntype.blend(syntype.load_generator("out/generator"), config, "out/strip")
        >>> [path.name for path in result.pictures]
        ['strip.png', 'strip.gif', 'strip.webp']
    """
    out = Path(out)
    require_species(generator, config.species)
    generator.blend([], [], [], **config.controls)  # raises before anything is written if the family does not support it
    jobs = list(_strips(generator, config) if config.layout == "strip" else _boards(generator, config))

    def draw(batch: list[_BlendJob]) -> Tensor:
        blends = [job.ends for job in batch]
        pairs, seeds = [(one["species"][0], one["species"][1]) for one in blends], [(one["seeds"][0], one["seeds"][1]) for one in blends]
        return generator.blend(pairs, seeds, [one["amount"] for one in blends], blends[0]["of"], **config.controls)

    names = tuple(dict.fromkeys(job.provenance.species for job in jobs))
    result = draw_collection("blend", generator, jobs, draw, config, out, run, species=names, result=BlendResult)
    return replace(result, pictures=tuple(_pictures(jobs, config, out)))


def _strips(generator: Generator, config: BlendConfig) -> Iterator[_BlendJob]:
    stops = config.species if len(config.species) > 1 else config.species * 2
    for strip in range(config.num):
        ends, met = [], dict.fromkeys(stops, 0)
        for name in stops:
            ends.append((name, image_seed(config.seed, name, strip * stops.count(name) + met[name])))
            met[name] += 1
        frames = [
            (first, second, float(amount))
            for number, (first, second) in enumerate(pairwise(ends))
            for amount in np.linspace(0, 1, config.steps)[1 if number else 0 :]  # the end of one part is the start of the next
        ]
        for place, (first, second, amount) in enumerate(frames):
            yield _job(generator, config, f"strip-{strip:03d}-{place:04d}", first, second, amount, config.of)


def _boards(generator: Generator, config: BlendConfig) -> Iterator[_BlendJob]:
    names = tuple(dict.fromkeys(config.species))
    for board in range(config.num):
        for row, first in enumerate(names):
            for column, second in enumerate(names):
                name, seed = f"board-{board:03d}-{row:03d}-{column:03d}", image_seed(config.seed, first, board)
                yield _job(generator, config, name, (first, seed), (second, seed), config.amount, "species")


def _job(
    generator: Generator, config: BlendConfig, name: str, first: tuple[str, int], second: tuple[str, int], amount: float, of: BlendOf
) -> _BlendJob:
    details = {"species": [first[0], second[0]], "seeds": [first[1], second[1]], "amount": amount, "of": of}
    if first[0] == second[0] or of == "latent" or amount == 0:
        species = first[0]
    else:
        species = second[0] if amount == 1 else f"{first[0]} × {second[0]}"
    weight = 0.0 if species == first[0] else amount**config.label_power
    weights = {first[0]: 1 - weight, second[0]: weight} if 0 < weight < 1 else {}
    source_type = family(generator.family).digital_source_type
    provenance = provenance_of(generator, species, first[1], {**config.controls, "blend": details}, source_type)
    return _BlendJob(f"images/{name.rpartition('-')[0]}/{name}.{suffix(config)}", provenance, licence_of(generator.licences), label_weights=weights)


def _pictures(jobs: Sequence[_BlendJob], config: BlendConfig, out: Path) -> Iterator[Path]:
    """Write the overview images of all strips, or of the first board, and yield their paths."""
    images = np.stack([decode(out / job.file_name) for job in jobs])
    provenance = replace(jobs[0].provenance, species=" × ".join(dict.fromkeys(config.species)))
    if config.layout == "board":
        names = tuple(dict.fromkeys(config.species))
        path = out / "board.png"
        write_image(labelled_grid(images[: len(names) ** 2], names, names), path, provenance)
        yield path
        return
    columns = len(images) // config.num
    write_image(tile(images, columns), out / "strip.png", provenance)
    yield out / "strip.png"
    frames = [tile(images[place::columns], 1) for place in range(columns)]  # all strips, one below the other
    for path in (out / "strip.gif", out / "strip.webp"):
        write_animation([*frames, *frames[-2:0:-1]], path, provenance, milliseconds=config.milliseconds)
        yield path

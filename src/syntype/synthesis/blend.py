"""Draw what lies between images: strips from one species (or individual) to another, boards of every species with every other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor

from syntype.collection.decoding import decode
from syntype.compute.grids import tile
from syntype.generators import Generator, family
from syntype.generators.contract import BlendOf
from syntype.run import OWN_RUN, Run, keeps_run
from syntype.synthesis._drawing import DrawConfig, DrawResult, Job, draw_collection, image_seed, licence_of, mark_of, require_species, suffix
from syntype.synthesis.pictures import label_board
from syntype.synthesis.provenance import write_animation, write_image

__all__ = ["BlendConfig", "BlendResult", "blend"]


class BlendConfig(DrawConfig):
    """What to draw between."""

    species: tuple[str, ...] = Field(min_length=1)
    """Where to go, in order: two species or more; one goes from one individual of it to another."""
    layout: Literal["strip", "board"] = "strip"
    """``strip`` walks from each species to the next; ``board`` mixes every species with every other, the latent of a row being one."""
    of: BlendOf = "both"
    """What moves along a strip: the ``latent`` (the individual), the ``species``, or ``both``."""
    steps: int = Field(9, ge=2, le=1000)
    """Images of a strip from one species to the next, both included."""
    amount: float = Field(0.5, ge=0, le=1)
    """How far the species of a board go from the row's (0) to the column's (1)."""
    num: int = Field(1, ge=1, le=1000)
    """Strips, or boards, each from other seeds."""
    milliseconds: int = Field(120, ge=20)
    """How long the animations of strips show an image."""

    @model_validator(mode="after")
    def _check(self) -> BlendConfig:
        if self.layout == "board" and len(set(self.species)) < 2:
            raise ValueError("a board needs two species or more")
        if self.layout == "strip" and len(self.species) > 2 and self.of != "both":
            raise ValueError(f"through more than two species only of='both' goes on without a jump, not {self.of!r}")
        return self


class BlendResult(DrawResult):
    """What ``blend`` drew."""


class _Blend(Job):
    """One image between two.

    Its controls hold, under ``blend``, what lies at either end (``species``, ``seeds``), how far it is from the first to the second
    (``amount``), and what moves (``of``).
    """

    @property
    def between(self) -> dict[str, Any]:
        return dict(self.mark.controls["blend"])


@keeps_run("blend", resumable=True)
def blend(generator: Generator, config: BlendConfig, out: Path | str, run: Run = OWN_RUN) -> BlendResult:
    """Draw strips or boards into the collection ``out``, and pictures of them beside it.

    The ends of strip n are image n that ``generate`` draws of their species with the same seed. An image of two species bears the name of
    both, ``A × B``, so that none of them is taken for a photograph of either. Going on after an interruption is as for ``generate``.

    Pictures: ``strip.png`` (a strip a line) with ``strip.gif`` and ``strip.webp``, which go there and back; or ``board.png``, with the
    row's species to the left and the column's above.

    Args:
        generator: as ``load_generator`` gives it; on whichever device it is.
        config: species in order, layout, number of images between two species.
        out: folder of the synthetic collection. Images that a stopped call with the same settings left there are kept.
        run: where progress, messages and events go; by default a run folder in ``out``, with progress on standard error.

    Returns:
        the synthetic collection, and pictures as paths.

    Raises:
        UnsupportedError: the family has no blends, or cannot draw a species by name.
        UnknownNameError: a species that the generator does not know.
        RecipeError: a control that the family does not have.
        TrainingError: the generator gives values that are not finite.
        InputError: a file cannot be written.
        KeyboardInterrupt: again, once the collection of what is finished is written and the run marked ``interrupted``.

    Example:
        >>> import syntype
        >>> config = syntype.BlendConfig(species=("Pictopiscis primus", "Pictopiscis alter"), steps=4)
        >>> result = syntype.blend(syntype.load_generator("out/generator"), config, "out/strip")
        >>> [path.name for path in result.pictures]
        ['strip.png', 'strip.gif', 'strip.webp']
    """
    out = Path(out)
    require_species(generator, config.species)
    generator.blend([], [], [], **config.controls)  # a family that cannot is refused before anything is written
    jobs = list(_strips(generator, config) if config.layout == "strip" else _boards(generator, config))

    def draw(batch: list[_Blend]) -> Tensor:
        told = [job.between for job in batch]
        pairs, seeds = [(one["species"][0], one["species"][1]) for one in told], [(one["seeds"][0], one["seeds"][1]) for one in told]
        return generator.blend(pairs, seeds, [one["amount"] for one in told], told[0]["of"], **config.controls)

    names = tuple(dict.fromkeys(job.mark.species for job in jobs))
    result = draw_collection("blend", generator, jobs, draw, config, out, run, species=names, result=BlendResult)
    return replace(result, pictures=tuple(_pictures(jobs, config, out)))


def _strips(generator: Generator, config: BlendConfig) -> Iterator[_Blend]:
    stops = config.species if len(config.species) > 1 else config.species * 2
    for strip in range(config.num):
        ends, met = [], dict.fromkeys(stops, 0)
        for name in stops:
            ends.append((name, image_seed(config.seed, name, strip * stops.count(name) + met[name])))
            met[name] += 1
        frames = [
            (first, second, float(amount))
            for number, (first, second) in enumerate(pairwise(ends))
            for amount in np.linspace(0, 1, config.steps)[1 if number else 0 :]  # a stop is shown once
        ]
        for place, (first, second, amount) in enumerate(frames):
            yield _job(generator, config, f"strip-{strip:03d}-{place:04d}", first, second, amount, config.of)


def _boards(generator: Generator, config: BlendConfig) -> Iterator[_Blend]:
    names = tuple(dict.fromkeys(config.species))
    for board in range(config.num):
        for row, first in enumerate(names):
            for column, second in enumerate(names):
                name, seed = f"board-{board:03d}-{row:03d}-{column:03d}", image_seed(config.seed, first, board)
                yield _job(generator, config, name, (first, seed), (second, seed), config.amount, "species")


def _job(generator: Generator, config: BlendConfig, name: str, first: tuple[str, int], second: tuple[str, int], amount: float, of: BlendOf) -> _Blend:
    told = {"species": [first[0], second[0]], "seeds": [first[1], second[1]], "amount": amount, "of": of}
    if first[0] == second[0] or of == "latent" or amount == 0:
        species = first[0]
    else:
        species = second[0] if amount == 1 else f"{first[0]} × {second[0]}"
    term = family(generator.family).digital_source_type
    mark = mark_of(generator, species, first[1], {**config.controls, "blend": told}, term)
    return _Blend(f"images/{name.rpartition('-')[0]}/{name}.{suffix(config)}", mark, licence_of(generator.licences))


def _pictures(jobs: Sequence[_Blend], config: BlendConfig, out: Path) -> Iterator[Path]:
    """Write and name the pictures of all strips, or of the first board."""
    images = np.stack([decode(out / job.file_name) for job in jobs])
    mark = replace(jobs[0].mark, species=" × ".join(dict.fromkeys(config.species)))
    if config.layout == "board":
        names = tuple(dict.fromkeys(config.species))
        path = out / "board.png"
        write_image(label_board(images[: len(names) ** 2], names, names), path, mark)
        yield path
        return
    columns = len(images) // config.num
    write_image(tile(images, columns), out / "strip.png", mark)
    yield out / "strip.png"
    frames = [tile(images[place::columns], 1) for place in range(columns)]  # all strips at once, one below the other
    for path in (out / "strip.gif", out / "strip.webp"):
        write_animation([*frames, *frames[-2:0:-1]], path, mark, milliseconds=config.milliseconds)
        yield path

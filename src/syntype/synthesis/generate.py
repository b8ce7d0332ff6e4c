"""Generation of synthetic images by a trained generator. Every image has its own seed."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from torch import Tensor

from syntype.generators import Generator, family
from syntype.run import OWN_RUN, Run, keeps_run
from syntype.synthesis._drawing import (
    DrawConfig,
    DrawResult,
    Job,
    Jobs,
    draw_collection,
    image_seed,
    licence_of,
    provenance_of,
    require_species,
    slugs,
    suffix,
)

__all__ = ["GenerateConfig", "GenerateResult", "generate", "image_seed"]


class GenerateConfig(DrawConfig):
    """Settings of ``generate``."""

    species: tuple[str, ...] = ()
    """Species to generate; empty for all species of the generator."""
    num: int = Field(ge=1)
    """Number of images per species."""


class GenerateResult(DrawResult):
    """Result of ``generate``."""


@keeps_run("generate", resumable=True)
def generate(generator: Generator, config: GenerateConfig, out: Path | str, run: Run = OWN_RUN) -> GenerateResult:
    """Generate ``config.num`` synthetic images of each species, as a collection.

    Image i of a species depends only on the generator, the seed and the controls, so a larger ``num`` adds images to those of a smaller one.
    Existing images in ``out`` with the same provenance are kept, so that an interrupted run continues. After Ctrl-C the folder is a valid
    collection of the finished images.

    Args:
        generator: As ``load_generator`` returns it.
        config: Settings.
        out: Folder of the new collection.
        run: Records progress and events. Default: a run folder in ``out``, with progress on standard error.

    Returns:
        The collection, and the speed.

    Raises:
        UnknownNameError: The generator does not know a species.
        UnsupportedError: The generator is unconditional and was not adapted to one of the species.
        RecipeError: The family does not have a control of this name.
        TrainingError: The generator produced infinite or NaN values.
        InputError: A file cannot be written.
        KeyboardInterrupt: After Ctrl-C, once the collection of the finished images is written.

    Example:
        >>> import syntype
        >>> generator = syntype.load_generator("out/generator")
        >>> drawn = syntype.generate(generator, syntype.GenerateConfig(num=3), "out/synthetic")
        >>> len(drawn.collection), set(drawn.collection.table["origin"])
        (9, {'synthetic'})
    """
    out = Path(out)
    names = tuple(dict.fromkeys(config.species or generator.species))
    require_species(generator, names)
    generator.check_controls(config.controls)  # raises before anything is written
    source_type, licence = family(generator.family).digital_source_type, licence_of(generator.licences)

    parts = slugs(names)

    def job(position: int) -> Job:
        name, index = names[position // config.num], position % config.num
        provenance = provenance_of(generator, name, image_seed(config.seed, name, index), config.controls, source_type)
        file_name = f"images/{parts[name]}/{parts[name]}-{index:06d}.{suffix(config)}"
        return Job(file_name, provenance, licence, generator.parents(name, provenance.seed))

    jobs = Jobs(len(names) * config.num, job)

    def draw(batch: list[Job]) -> Tensor:
        return generator.sample([job.provenance.species for job in batch], [job.provenance.seed for job in batch], **config.controls)

    return draw_collection("generate", generator, jobs, draw, config, out, run, species=names, result=GenerateResult)

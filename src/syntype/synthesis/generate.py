"""Draw synthetic images from a trained generator: a collection in which every image has its own seed."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from torch import Tensor

from syntype.generators import Generator, family
from syntype.run import OWN_RUN, Run, keeps_run
from syntype.synthesis._drawing import DrawConfig, DrawResult, Job, draw_collection, image_seed, licence_of, mark_of, require_species, slug, suffix

__all__ = ["GenerateConfig", "GenerateResult", "generate", "image_seed"]


class GenerateConfig(DrawConfig):
    """What to draw."""

    species: tuple[str, ...] = ()
    """Species to draw; empty: all that the generator knows."""
    num: int = Field(ge=1)
    """Images of each species."""


class GenerateResult(DrawResult):
    """What ``generate`` drew."""


@keeps_run("generate", resumable=True)
def generate(generator: Generator, config: GenerateConfig, out: Path | str, run: Run = OWN_RUN) -> GenerateResult:
    """Draw ``config.num`` images of each species into the collection ``out``.

    Image i of a species is the same whatever else is asked for, so that a larger ``num`` continues a smaller one. Images that
    lie in ``out`` already and bear the very mark that they would get are kept, so that an interrupted run goes on where
    it was. Ctrl-C leaves a valid collection of what is finished.

    Args:
        generator: as ``load_generator`` gives it; on whichever device it is.
        config: species, number of images of each, seed, file format, and controls of the family.
        out: folder of the synthetic collection. Images that a stopped call with the same settings left there are kept.
        run: where progress, messages and events go; by default a run folder in ``out``, with progress on standard error.

    Returns:
        the synthetic collection, the generator's id, the size in pixels, and images per second.

    Raises:
        UnknownNameError: a species that the generator does not know.
        UnsupportedError: the generator does not tell species apart, and was not adapted to one that is asked for.
        RecipeError: a control that the family does not have.
        TrainingError: the generator gives values that are not finite.
        InputError: a file cannot be written.
        KeyboardInterrupt: again, once the collection of what is finished is written and the run marked ``interrupted``.

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
    generator.check_controls(config.controls)  # refused before anything is written
    term, licence = family(generator.family).digital_source_type, licence_of(generator.licences)
    jobs = [
        Job(
            f"images/{slug(name)}/{slug(name)}-{index:06d}.{suffix(config)}",
            mark_of(generator, name, image_seed(config.seed, name, index), config.controls, term),
            licence,
        )
        for name in names
        for index in range(config.num)
    ]

    def draw(batch: list[Job]) -> Tensor:
        return generator.sample([job.mark.species for job in batch], [job.mark.seed for job in batch], **config.controls)

    return draw_collection("generate", generator, jobs, draw, config, out, run, species=names, result=GenerateResult)

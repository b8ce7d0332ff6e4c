"""Generation of synthetic images by a trained generator. Every image has its own seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field
from torch import Tensor

from syntype.cluster import Cluster, run_jobs
from syntype.cluster import Job as Work
from syntype.compute.runtime import Runtime
from syntype.errors import TrainingError
from syntype.generators import Generator, family, load_generator
from syntype.run import OWN_RUN, Run, keeps_run
from syntype.synthesis._drawing import (
    DrawConfig,
    DrawResult,
    Job,
    Jobs,
    draw_collection,
    draw_files,
    image_seed,
    licence_of,
    provenance_of,
    require_species,
    slugs,
    suffix,
)

__all__ = ["GenerateConfig", "GenerateResult", "generate", "image_seed"]

IMAGES_PER_JOB = 2000
"""Images that a job of a cluster draws."""


class GenerateConfig(DrawConfig):
    """Settings of ``generate``."""

    species: tuple[str, ...] = ()
    """Species to generate; empty for all species of the generator."""
    num: int = Field(ge=1)
    """Number of images per species."""


class GenerateResult(DrawResult):
    """Result of ``generate``."""


@keeps_run("generate", resumable=True)
def generate(generator: Generator, config: GenerateConfig, out: Path | str, run: Run = OWN_RUN, *, cluster: Cluster | None = None) -> GenerateResult:
    """Generate ``config.num`` synthetic images of each species, as a collection.

    Image i of a species depends only on the generator, the seed and the controls, so a larger ``num`` adds images to those of a smaller one.
    Existing images in ``out`` with the same provenance are kept, so that an interrupted run continues. After Ctrl-C the folder is a valid
    collection of the finished images.

    Args:
        generator: As ``load_generator`` returns it.
        config: Settings.
        out: Folder of the new collection.
        run: Records progress and events. Default: a run folder in ``out``, with progress on standard error.
        cluster: Where the images are drawn, 2,000 in a job; None: here. Each job uses the device that its machine has.

    Returns:
        The collection, and the speed.

    Raises:
        UnknownNameError: The generator does not know a species.
        UnsupportedError: The generator is unconditional and was not adapted to one of the species.
        RecipeError: The family does not have a control of this name.
        TrainingError: The generator produced infinite or NaN values, or a job failed.
        InputError: A file cannot be written.
        KeyboardInterrupt: After Ctrl-C, once the collection of the finished images is written.

    Example:
        >>> import syntype
        >>> generator = syntype.load_generator("out/generator")
        >>> drawn = syntype.generate(generator, syntype.GenerateConfig(num=3), "out/synthetic")
        >>> len(drawn.collection), set(drawn.collection.table["origin"])
        (9, {'synthetic'})
    """
    out, names = Path(out), _names(generator, config)
    require_species(generator, names)
    generator.check_controls(config.controls)  # raises before anything is written
    jobs = _jobs(generator, config)
    if cluster is not None and cluster.executor != "here":
        _draw_elsewhere(generator, config, jobs, out, run, cluster)
    return draw_collection("generate", generator, jobs, _draw(generator, config), config, out, run, species=names, result=GenerateResult)


def _names(generator: Generator, config: GenerateConfig) -> tuple[str, ...]:
    return tuple(dict.fromkeys(config.species or generator.species))


def _jobs(generator: Generator, config: GenerateConfig) -> Jobs[Job]:
    """All images: those of the first species, then those of the second one, and so on."""
    names = _names(generator, config)
    source_type, licence, parts = family(generator.family).digital_source_type, licence_of(generator.licences), slugs(names)

    def job(position: int) -> Job:
        name, index = names[position // config.num], position % config.num
        provenance = provenance_of(generator, name, image_seed(config.seed, name, index), config.controls, source_type)
        file_name = f"images/{parts[name]}/{parts[name]}-{index:06d}.{suffix(config)}"
        return Job(file_name, provenance, licence, generator.parents(name, provenance.seed))

    return Jobs(len(names) * config.num, job)


def _draw(generator: Generator, config: GenerateConfig) -> Callable[[list[Job]], Tensor]:
    return lambda batch: generator.sample([job.provenance.species for job in batch], [job.provenance.seed for job in batch], **config.controls)


@dataclass(frozen=True)
class _Part:
    """The work of a job: it writes the files of the images from ``first`` to ``last`` that are not there, and no table."""

    generator: Path
    config: GenerateConfig
    out: Path
    first: int
    last: int

    def __call__(self) -> None:
        generator = load_generator(self.generator).to(Runtime("auto").device)
        jobs = _jobs(generator, self.config)[self.first : self.last]
        draw_files(generator, jobs, _draw(generator, self.config), self.config, self.out)


def _draw_elsewhere(generator: Generator, config: GenerateConfig, jobs: Jobs[Job], out: Path, run: Run, cluster: Cluster) -> None:
    """Draw the missing images in jobs of a cluster.

    Raises:
        TrainingError: A job failed.
    """
    parts = []
    for first in range(0, len(jobs), IMAGES_PER_JOB):
        last = min(first + IMAGES_PER_JOB, len(jobs))
        if not all((out / job.file_name).is_file() for job in jobs[first:last]):
            part = _Part(generator.folder.resolve(), config, out.resolve(), first, last)
            parts.append(Work(f"{first:08d}", part))
    failures = run_jobs(parts, cluster, out / "cluster", run)
    for name, reason in failures.items():
        number = f"{len(failures)} of {len(parts)} jobs failed" if len(parts) > 1 else "the job failed"
        raise TrainingError(f"{number}. Images from number {int(name)}: {reason} Finished images are kept: continue with --resume.")

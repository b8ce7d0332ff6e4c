"""The synthetic images of a study: their source, and one curated set for each repetition, which is made once and kept on disk.

OUT/generator-G/        a generator that the study trained
OUT/collage/            generator of the collage arm (with ``draws`` one for each: collage-D/)
OUT/synthetic-S/        images of repetition S
OUT/curated-S/          the same with curation's verdicts
OUT/done/NAME.json      written when the folder NAME is complete, with the seconds that it took; a folder without it is made again or continued
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from syntype.cluster.preemption import Preempted
from syntype.collection import Collection
from syntype.collection.names import count_unknown
from syntype.collection.soft_labels import blends_left_out, label_counts, soft_labels, with_main_species
from syntype.curation import curate
from syntype.errors import CollectionError, RecipeError, UnknownNameError
from syntype.files import read_json_object, write_json
from syntype.generators import Generator, TrainConfig, list_families, load_generator, train
from syntype.generators.contract import Plans
from syntype.generators.registry import family
from syntype.run import Run
from syntype.study.config import StudyConfig
from syntype.study.draws import drawn_collection
from syntype.study.leakage import check_leakage, check_synthetic
from syntype.synthesis import GenerateConfig, generate

__all__ = ["SyntheticSets", "SyntheticSource", "find_source", "label_positions", "prepare_synthetic"]


@dataclass(frozen=True)
class SyntheticSource:
    """Source of a study's synthetic images: a given collection, a trained generator, or a family that the study trains.

    Attributes:
        num_planned: int64, shape (num_species,), number of synthetic images of each species in one repetition; images between two species count
            for both by their weights, and the sum is rounded up.
        given: the collection, or None.
        generator: the trained generator, or None.
        family: name of the family to train, or None.
    """

    num_planned: np.ndarray
    given: Collection | None = None
    generator: Generator | None = None
    family: str | None = None

    @property
    def fingerprint(self) -> str:
        """Changes with the content: images and verdicts of the collection, weights of the generator, or the family."""
        if self.given is not None:
            return self.given.fingerprint
        return self.generator.fingerprint if self.generator is not None else str(self.family)

    @property
    def is_collage(self) -> bool:
        """True if the generator under study is the collage."""
        return "collage" in (self.family, self.generator.family if self.generator else None)


@dataclass(frozen=True)
class SyntheticSets:
    """The synthetic images of a study, ready for the arms.

    Attributes:
        curated: for each repetition, its images with the verdicts of curation (the same images every time if a collection was given). Images between
            two species have the name of the one with the larger weight, and both in the column ``label_weights``.
        num_planned: as in ``SyntheticSource``.
        collage: for each repetition, the folder of the generator of the collage arm; empty without that arm.
        origin: where the images come from, in words.
        num_trainings: number of times that the generator was trained.
        is_given: True if a collection was given, so that nothing is known about its generator.
        minutes: time for training, generating and curating.
        left_out: given images that are not used, by species, in words; empty if all are used.
        retrieved: photographs of another collection, named after the rare species that they look like, the most similar of each first; None
            without the arm ``retrieved``.
    """

    curated: tuple[Collection, ...]
    num_planned: np.ndarray
    collage: tuple[Path, ...]
    origin: str
    num_trainings: int
    is_given: bool
    minutes: float
    left_out: str = ""
    retrieved: Collection | None = None

    def at_ratio(self, ratio: float, real: Collection) -> SyntheticSets:
        """The same sets, with only the first images of each species: at most ``ratio`` times its number of real training images."""
        most = np.ceil(ratio * _training_counts(real))

        def first(curated: Collection) -> Collection:
            rank = curated.table.groupby("species").cumcount().to_numpy()
            return curated.where(rank < most[label_positions(curated, real.species)])

        return replace(self, curated=tuple(first(curated) for curated in self.curated))


def find_source(real: Collection, config: StudyConfig) -> SyntheticSource:
    """Open the source of synthetic images that the settings name, and check it before any training.

    Args:
        real: the photographs, all splits.

    Raises:
        LeakageError: test photographs have reached the training split, the generator or the synthetic images.
        UnknownNameError: ``config.generator`` is neither a folder nor a family.
        RecipeError: photographs are to be drawn, and the generator or the images exist already.
        CollectionError: no species would get synthetic images.
    """
    if config.draws > 1 and (config.synthetic is not None or Path(config.generator).is_dir()):
        raise RecipeError(
            "draws: these synthetic images come from all training photographs, and would know those that a draw leaves out. Leave draws out, or "
            "name a generator family in place of a folder; the study then trains it on every draw."
        )
    if config.synthetic is not None:
        given = Collection.open(config.synthetic)
        check_leakage(real)
        check_synthetic(given, real)
        num_planned = np.ceil(label_counts(given.table, real.species) - 1e-3).astype(np.int64)  # sums of weights are not exact
        if not num_planned.any():
            raise CollectionError(
                f"{real.root}: no species would get synthetic images: the synthetic collection has none of its species, but "
                f"{_not_used(given, real) or 'no images'}."
            )
        return SyntheticSource(num_planned, given=given)
    if Path(config.generator).is_dir():
        generator = load_generator(Path(config.generator))
        check_leakage(real, generator.trained_on)
        return SyntheticSource(_plan(real, generator.species, config), generator=generator)
    if config.generator not in list_families():
        raise UnknownNameError("generator folder or family", config.generator, list_families())
    check_leakage(real)  # a family that the study trains uses only the training split
    return SyntheticSource(_plan(real, real.species, config), family=config.generator)


def prepare_synthetic(real: Collection, source: SyntheticSource, config: StudyConfig, out: Path, run: Run, *, with_collage: bool) -> SyntheticSets:
    """Train the generator if the source is a family, then generate and curate the images of every repetition.

    Folders that an earlier run completed are read from disk.

    Args:
        real: the photographs; generators and curation use only the training split.
        source: as from ``find_source``.
        config: settings of the study.
        out: the study's folder.
        run: Records progress and events.
        with_collage: True if there is a collage arm. Its generator is then prepared too.
    """
    steps = _Steps(out, run)

    drawn = [photographs_of(real, source.num_planned, number, config) for number in range(config.draws)]

    def trained(name: str, family: str, number: int, minutes: float | None) -> Path:
        settings = {
            "family": family,
            "size": _size_of(family, config.size),
            "seed": config.seed_of(number),
            "device": config.device,
            "minutes": minutes,
        }
        return steps.do(name, lambda folder: _train(drawn[number % config.draws], TrainConfig.parse(settings), folder, run), continues=True)

    left_out = "" if source.given is None else _not_used(source.given, real)
    if left_out:
        run.say(f"Not used, as the photographs do not have their species: {left_out}")
    if source.given is not None:
        curated = (_curate_given(real, source.given, config, steps),) * config.seeds
        origin, num_trainings = f"existing synthetic collection “{source.given.name}” ({source.given.root})", 1
    else:
        if source.generator is not None:
            generators, how = [source.generator], f"trained before, {config.generator}"
        else:
            number = config.num_trainings
            generators = [load_generator(trained(f"generator-{place}", config.generator, place, config.minutes)) for place in range(number)]
            how = f"trained inside the study, {number} time(s)"
        curated = tuple(
            _generate_and_curate(drawn[number % config.draws], generators[number % len(generators)], source.num_planned, number, config, steps)
            for number in range(config.seeds)
        )
        ids = ", ".join(generator.generator_id for generator in generators)
        origin, num_trainings = f"generator family “{generators[0].family}” ({how}), id {ids}", len(generators)
    names = ["collage" if config.draws == 1 else f"collage-{place}" for place in range(config.draws)] if with_collage else []
    folders = [trained(name, "collage", place, None) for place, name in enumerate(names)]
    collage = tuple(folders[number % config.draws] for number in range(config.seeds)) if folders else ()
    return SyntheticSets(curated, source.num_planned, collage, origin, num_trainings, source.given is not None, steps.minutes(), left_out)


def photographs_of(real: Collection, num_planned: np.ndarray, repetition: int, config: StudyConfig) -> Collection:
    """The collection with the training photographs that generators and curation use in a repetition; see ``draws``."""
    seed = config.draw_seed(repetition)
    return real if seed is None else drawn_collection(real, num_planned > 0, seed)


def label_positions(collection: Collection, species: tuple[str, ...]) -> np.ndarray:
    """Position in ``species`` of each image's species: int64, shape (num_images,)."""
    position = {name: label for label, name in enumerate(species)}
    return np.array([position[str(name)] for name in collection.table["species"]], dtype=np.int64)


def _size_of(name: str, size: int) -> int:
    """Size at which a study trains a family for images of ``size`` pixels: families draw squares whose side is a power of two, which are then scaled.

    A family that learns is trained at the power of two below ``size``, as larger images take several times as long; the others at the one above. One
    that builds on a large model is trained at its own size, if that is larger: such models draw badly at much smaller ones than they were made for.
    """
    kind, below = family(name), 1 << (size.bit_length() - 1)
    if issubclass(kind, Plans):
        return max(below, int(kind.Config.model_fields["size"].default))
    return below if below == size or kind.learns else 2 * below


def _training_counts(real: Collection) -> np.ndarray:
    return np.array(list(real.training().counts().values()), dtype=np.int64)


def _plan(real: Collection, known: tuple[str, ...], config: StudyConfig) -> np.ndarray:
    """Number of images of each species that a generator has to make in one repetition: int64, shape (num_species,).

    Args:
        known: species of which the generator can make images.
    """
    counts = _training_counts(real)
    can_draw = np.isin(real.species, known) & (counts > 0)
    lacking = np.maximum(config.fill_to - counts, 0)
    most = np.ceil(max(config.ratios) * counts) if config.ratios else lacking
    wanted = np.where(can_draw & (lacking > 0), most, 0).astype(np.int64)
    if not wanted.any():
        raise CollectionError(
            f"{real.root}: no species that the generator knows has fewer than {config.fill_to} training images. "
            "Raise it with --set fill_to=N, or train the generator on the rare species."
        )
    return wanted


def _train(real: Collection, settings: TrainConfig, folder: Path, run: Run) -> None:
    result = train(real, settings, folder, _run_in(folder, run))
    if result.status != "finished":  # train saves its state and returns; the study has to stop too
        raise Preempted if result.status == "preempted" else KeyboardInterrupt


def _generate_and_curate(
    real: Collection, generator: Generator, num_planned: np.ndarray, number: int, config: StudyConfig, steps: _Steps
) -> Collection:
    """The curated images of repetition ``number``: as many of each species as planned."""
    names = tuple(name for name, count in zip(real.species, num_planned, strict=True) if count)
    settings = GenerateConfig(species=names, num=int(num_planned.max()), seed=config.seed_of(number))
    made = Collection.open(
        steps.do(f"synthetic-{number}", lambda folder: generate(generator, settings, folder, _run_in(folder, steps.run)), continues=True)
    )
    rank = made.table.groupby("species").cumcount().to_numpy()
    needed = made.where(rank < num_planned[label_positions(made, real.species)])
    return _curate(real, needed, f"curated-{number}", config, steps)


def _not_used(given: Collection, real: Collection) -> str:
    """The given images whose species the photographs do not have, by number and species; empty if there are none."""
    strange, blends = blends_left_out(given.table, real.species)
    species = given.table["species"][~strange & given.table["label_weights"].isna().to_numpy(dtype=bool)]
    unnamed, unknown = int(species.isna().sum()), count_unknown(species.value_counts().to_dict(), real.species)
    return ", ".join(part for part in (unknown, f"{unnamed:,} without a species" if unnamed else "", blends) if part)


def _curate_given(real: Collection, given: Collection, config: StudyConfig, steps: _Steps) -> Collection:
    """The given images of species that the photographs have, curated unless a curation against these photographs has judged all of them.

    An expert's verdicts alone are no curation: they stand, and the other images are judged by the filters.
    """
    known = given.where(soft_labels(given.table, real.species).main >= 0)
    judged = known.table["verdict"].notna() & known.table["nearest_real_id"].isin(real.table["image_id"])
    return with_main_species(known if judged.all() else _curate(real, known, "curated", config, steps), real.species)


def _curate(real: Collection, synthetic: Collection, name: str, config: StudyConfig, steps: _Steps) -> Collection:
    return Collection.open(steps.do(name, lambda folder: curate(synthetic, real, config.curate, folder, _run_in(folder, steps.run))))


def _run_in(folder: Path, run: Run) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    return Run(folder, quiet=run.quiet)


class _Steps:
    """Folders of a study, each of which is made only once, even if the study is stopped and continued."""

    def __init__(self, out: Path, run: Run) -> None:
        self.out, self.run = out, run
        (out / "done").mkdir(parents=True, exist_ok=True)

    def do(self, name: str, make: Callable[[Path], Any], *, continues: bool = False) -> Path:
        """Make the folder ``name`` unless it is complete. An incomplete folder is deleted first, or, with ``continues``, completed by ``make``."""
        folder, marker = self.out / name, self.out / "done" / f"{name}.json"
        if not marker.exists():
            if not continues:
                shutil.rmtree(folder, ignore_errors=True)
            self.run.event("step", name=name)
            start = time.monotonic()
            make(folder)
            (folder / "now.json").unlink(missing_ok=True)  # the study's own run goes on, and shows its progress itself
            write_json(marker, {"seconds": time.monotonic() - start})
        return folder

    def minutes(self) -> float:
        """Total time of all steps."""
        seconds = [read_json_object(path).get("seconds") for path in (self.out / "done").glob("*.json")]
        return sum(time for time in seconds if isinstance(time, float)) / 60

"""The images of a study: trains or loads the generator, draws and curates fresh images for every repetition, once, on disk.

OUT/generator-G/        a family trained inside the study
OUT/collage/            the collage family, trained for its arm
OUT/synthetic-S/        images of repetition S
OUT/curated-S/          the same with curation's verdicts
OUT/done/NAME.json      that step ended well, and what it took (a folder without it is made anew)
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from syntype.collection import Collection
from syntype.collection.reef import draw_images, reef_config, species_names
from syntype.compute.tensors import to_uint8
from syntype.curation import curate
from syntype.errors import CollectionError, UnknownNameError
from syntype.generators import Generator, TrainConfig, list_families, load_generator, train
from syntype.run import Run, write_json
from syntype.study.arms import Arm, Pool
from syntype.study.config import StudyConfig
from syntype.study.leakage import check_leakage, check_synthetic
from syntype.synthesis import GenerateConfig, generate

__all__ = ["Materials"]


class Materials:
    """Provides every repetition's images.

    Args:
        collection: the photographs, all splits; only the training split is learned from.
        config: of the study.
        out: the study's folder.
        run: for progress.

    Attributes:
        ratio: synthetic images for each real one that are used; None for all that are made.

    Raises:
        LeakageError: test photographs have reached the generator or the synthetic images.
        UnknownNameError: neither a generator's folder nor a family.
        CollectionError: no species would get synthetic images.
    """

    def __init__(self, collection: Collection, config: StudyConfig, out: Path, run: Run) -> None:
        self.collection, self.config, self.out, self.run = collection, config, out, run
        self.ratio: float | None = None
        self.species = collection.species
        self.counts_real = np.array(list(collection.training().counts().values()), dtype=np.int64)
        self.external = Collection.open(config.synthetic) if config.synthetic is not None else None
        if self.external is None and not Path(config.generator).is_dir() and config.generator not in list_families():
            raise UnknownNameError("generator folder or family", config.generator, list_families())
        # A family trained inside the study sees the training split alone; nothing is known of any other generator.
        check_leakage(collection, self.generators[0].trained_on if self.external is None and not self.is_family else ())
        if self.external is not None:
            check_synthetic(self.external, collection)
        self.plan()
        (out / "done").mkdir(parents=True, exist_ok=True)

    @property
    def is_family(self) -> bool:
        """Is the generator trained inside the study?"""
        return self.external is None and not Path(self.config.generator).is_dir()

    @property
    def num_trainings(self) -> int:
        """Trainings of the generator that the study's repetitions share out."""
        return min(self.config.generator_seeds, self.config.seeds) if self.is_family else 1

    @cached_property
    def generators(self) -> list[Generator]:
        """The generators under study; repetition s uses number s modulo their number."""
        if not self.is_family:
            return [load_generator(Path(self.config.generator))]
        return [self._family(self.config.generator, f"generator-{number}", number, self.config.minutes) for number in range(self.num_trainings)]

    @property
    def source_words(self) -> str:
        """Where the synthetic images come from, for the report."""
        if self.external is not None:
            return f"ready synthetic collection “{self.external.name}” ({self.external.root})"
        made = ", ".join(f"{generator.generator_id}" for generator in self.generators)
        how = f"trained inside the study, {self.num_trainings} time(s)" if self.is_family else f"trained before, {self.config.generator}"
        return f"generator family “{self.generators[0].family}” ({how}), id {made}"

    @property
    def is_collage(self) -> bool:
        """Is the collage family itself under study?"""
        return self.external is None and (self.config.generator if self.is_family else self.generators[0].family) == "collage"

    def plan(self) -> np.ndarray:
        """Synthetic images to make for each species in one repetition: int64, shape (num_species,).

        Raises:
            CollectionError: none for any.
        """
        if self.external is not None:
            wanted = np.array([self.external.counts().get(name, 0) for name in self.species])
        else:
            known = set(self.species if self.is_family else self.generators[0].species)
            can_draw = np.array([name in known for name in self.species]) & (self.counts_real > 0)
            lacking = np.maximum(self.config.fill_to - self.counts_real, 0)
            most = np.ceil(max(self.config.ratios) * self.counts_real) if self.config.ratios else lacking
            wanted = np.where(can_draw & (lacking > 0), most, 0)
        if not wanted.any():
            raise CollectionError(
                f"{self.collection.root}: no species would get synthetic images: the synthetic collection has none of its species."
                if self.external is not None
                else f"{self.collection.root}: no species that the generator knows has fewer than {self.config.fill_to} training images. "
                "Raise it with --set fill_to=N, or train the generator on the rare species."
            )
        return wanted.astype(np.int64)

    def used(self, number: int) -> Collection:
        """The images of ``judged``, of every species the first as many as ``ratio`` says."""
        judged = self.judged(number)
        if self.ratio is None:
            return judged
        rank, most = judged.table.groupby("species").cumcount().to_numpy(), np.ceil(self.ratio * self.counts_real)
        return judged.where(rank < most[_labels(judged, self.species)])

    def judged(self, number: int) -> Collection:
        """The synthetic images of repetition ``number`` with curation's verdicts (one and the same for a ready collection)."""
        if self.external is not None:
            known = self.external.where(self.external.table["species"].isin(self.species))
            if known.table["verdict"].notna().any():
                return known
            return self._curate(known, "curated")
        drawn = Collection.open(self._once(f"synthetic-{number}", lambda folder: self._draw(number, folder), continues=True))
        rank = drawn.table.groupby("species").cumcount().to_numpy()
        wanted = dict(zip(self.species, self.plan(), strict=True))
        needed = drawn.where(rank < drawn.table["species"].map(wanted).to_numpy(dtype=np.int64))
        return self._curate(needed, f"curated-{number}")

    def prepare(self, arms: tuple[Arm, ...]) -> None:
        """Make all that takes long, so that only the arms remain."""
        for number in range(self.config.seeds):
            self.judged(number)
        if any(arm.adds == "collage" for arm in arms):
            self._family("collage", "collage", 0, None)

    def pool(self, number: int, arms: tuple[Arm, ...]) -> Pool:
        """The images that repetition ``number`` of the arms chooses from."""
        judged, size = self.used(number), self.config.size
        sources = {arm.adds for arm in arms}
        labels = _labels(judged, self.species)
        made = np.bincount(labels, minlength=len(self.species))
        return Pool(
            images=judged.pixels(size),
            labels=labels,
            accepted=(judged.table["verdict"].fillna("accepted") != "refused").to_numpy(dtype=bool),
            collage=self._collage(made, number) if "collage" in sources else None,
            oracle=self._oracle(made, number) if "oracle" in sources else None,
        )

    def minutes(self) -> float:
        """What training, drawing and curating took."""
        return sum(json.loads(path.read_text(encoding="utf-8"))["seconds"] for path in (self.out / "done").glob("*.json")) / 60

    def _draw(self, number: int, folder: Path) -> None:
        wanted = self.plan()
        names = tuple(name for name, count in zip(self.species, wanted, strict=True) if count)
        settings = GenerateConfig(species=names, num=int(wanted.max()), seed=self.seed(number))
        generate(self.generators[number % len(self.generators)], settings, folder, self._run_in(folder))

    def _curate(self, synthetic: Collection, name: str) -> Collection:
        return Collection.open(self._once(name, lambda folder: curate(synthetic, self.collection, self.config.curate, folder, self._run_in(folder))))

    def _collage(self, made: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
        generator = self._family("collage", "collage", 0, None)
        known = {label for label, name in enumerate(self.species) if name in generator.species}
        labels = np.array([label for label in np.repeat(np.arange(len(made)), made) if label in known], dtype=np.int64)
        images = generator.sample([self.species[label] for label in labels], self._image_seeds(number, len(labels)))
        return to_uint8(images), labels

    def _oracle(self, made: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
        reef = reef_config(self.collection)
        if reef is None:
            raise ValueError("choose_arms lets the oracle through only on a reef")
        names = species_names(reef)
        labels = np.repeat(np.arange(len(made)), made)
        drawn = [names.index(self.species[label]) for label in labels]
        return draw_images(reef, drawn, self._image_seeds(number, len(labels)), self.config.size), labels

    def _family(self, family: str, name: str, number: int, minutes: float | None) -> Generator:
        settings = {"family": family, "size": self.config.size, "seed": self.seed(number), "device": self.config.device, "minutes": minutes}

        def make(folder: Path) -> None:
            result = train(self.collection, TrainConfig.parse(settings), folder, self._run_in(folder))
            if result.status == "interrupted":  # train keeps its state and returns; the study has to stop as well
                raise KeyboardInterrupt

        self._once(name, make, continues=True)
        return load_generator(self.out / name)

    def seed(self, number: int) -> int:
        """Where all randomness of repetition ``number`` comes from."""
        return self.config.seed * 1000 + number

    def _image_seeds(self, number: int, count: int) -> list[int]:
        return [int(seed) for seed in np.random.default_rng([self.seed(number), 0x1396]).integers(2**62, size=count)]

    def _run_in(self, folder: Path) -> Run:
        folder.mkdir(parents=True, exist_ok=True)
        return Run(folder, quiet=self.run.quiet)

    def _once(self, name: str, make: Callable[[Path], Any], *, continues: bool = False) -> Path:
        """Make a folder unless an earlier session ended it. What was left half-made is thrown away unless its maker ``continues`` it."""
        folder, marker = self.out / name, self.out / "done" / f"{name}.json"
        if not marker.exists():
            if not continues:
                shutil.rmtree(folder, ignore_errors=True)
            self.run.event("step", name=name)
            start = time.monotonic()
            make(folder)
            write_json(marker, {"seconds": time.monotonic() - start})
        return folder


def _labels(collection: Collection, species: tuple[str, ...]) -> np.ndarray:
    position = {name: label for label, name in enumerate(species)}
    return np.array([position[str(name)] for name in collection.table["species"]], dtype=np.int64)

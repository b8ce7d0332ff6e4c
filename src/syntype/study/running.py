"""Training and judging the arms of a study: one after the other, or several at a time, each in a process of its own."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from syntype.collection import Collection
from syntype.errors import TrainingError
from syntype.identification import ClassifierConfig, FeatureCache, LabelledImages, fit
from syntype.run import Run, write_npz
from syntype.study.analysis import Outcome, Split
from syntype.study.arms import ARMS, Arm, Pool, added_images
from syntype.study.config import StudyConfig
from syntype.study.materials import Materials

__all__ = ["Parts", "Photographs", "classifier_of", "processes_for", "run_arms"]

MOST_PROCESSES = 8


@dataclass(frozen=True)
class Photographs:
    """Decoded images of a split, and what is known of them."""

    labelled: LabelledImages
    split: Split

    @classmethod
    def of(cls, collection: Collection, split: str, size: int) -> Self:
        """Those of a split that can be used and have a species, as squares of ``size`` pixels."""
        chosen = collection.training() if split == "train" else collection.select(split=split, usable=True)
        chosen = chosen.where(chosen.table["species"].notna())
        labels = chosen.labels()
        return cls(LabelledImages(chosen.pixels(size), labels), Split(labels, chosen.groups()))


@dataclass(frozen=True)
class Parts:
    """The photographs of all splits."""

    train: Photographs
    val: Photographs
    test: Photographs

    @classmethod
    def of(cls, collection: Collection, size: int) -> Self:
        """Those of a collection, as squares of ``size`` pixels."""
        return cls(*(Photographs.of(collection, split, size) for split in ("train", "val", "test")))


def classifier_of(arm: Arm, config: StudyConfig) -> ClassifierConfig:
    """The classifier's settings in an arm: those of the study but for what the arm is about."""
    shared = {"size": config.size, "device": config.device, **arm.classifier}
    return ClassifierConfig.parse({**config.classifier.model_dump(), **shared})


def processes_for(device: str) -> int:
    """Arms to train at a time where nobody says: each takes about a gigabyte, and a GPU is busy with one."""
    on_gpu = torch.cuda.is_available() or torch.backends.mps.is_available() if device == "auto" else device != "cpu"
    return 1 if on_gpu else min(MOST_PROCESSES, os.cpu_count() or 1)


def run_arms(materials: Materials, arms: Sequence[Arm], parts: Parts, folder: Path, run: Run, *, test: bool = True) -> dict[str, Outcome]:
    """Train every arm with every seed, and judge it on the validation photographs and, unless ``test`` is false, on the test photographs;
    but for those that an earlier session has done.

    Raises:
        TrainingError: a process that worked on an arm was killed.
    """
    config = materials.config
    folder.mkdir(parents=True, exist_ok=True)
    todo = [(number, arm.name) for number in range(config.seeds) for arm in arms if not _file(folder, arm, number).exists()]
    here = _Workplace(materials, parts, arms, folder, test)
    with run.progress("study", len(todo)) as bar:
        for number, name in todo[:1]:  # finds the features of the photographs, which all others share
            bar.advance(0, f"repetition {number + 1} of {config.seeds}: {name}")
            run.event("arm", **here.train(number, name))
            bar.advance()
        several = min(config.processes, len(todo) - 1)
        for done in _in_processes(here, todo[1:], several) if several > 1 else (here.train(*item) for item in todo[1:]):
            run.event("arm", **done)
            bar.advance(1, f"repetition {done['seed'] + 1} of {config.seeds}: {done['name']}")
    return {arm.name: _load(folder, arm, config.seeds) for arm in arms}


class _Workplace:
    """Where arms are trained: all that they need, in one process."""

    def __init__(self, materials: Materials, parts: Parts, arms: Sequence[Arm], folder: Path, test: bool) -> None:
        self.materials, self.parts, self.arms, self.folder, self.test = materials, parts, tuple(arms), folder, test
        self._cache = FeatureCache(materials.out / "features")
        self._pool: tuple[int, Pool] | None = None

    def pool(self, number: int) -> Pool:
        """The images that repetition ``number`` chooses from; those of the last one asked for are kept."""
        if self._pool is None or self._pool[0] != number:
            self._pool = number, self.materials.pool(number, self.arms)
        return self._pool[1]

    def train(self, number: int, name: str) -> dict[str, Any]:
        """Train an arm in repetition ``number`` and write what it says of the photographs; gives what to tell of it."""
        materials, config, arm = self.materials, self.materials.config, ARMS[name]
        pool, train, seed = self.pool(number), self.parts.train.labelled, materials.seed(number)
        start = time.monotonic()
        images, labels = added_images(arm, pool, train.images, train.labels, seed=seed)
        settings = classifier_of(arm, config)
        fitted = fit(_join(train, images, labels), materials.counts_real, len(materials.species), settings, seed, self.parts.val.labelled,
                     Run(None, quiet=True), self._cache)  # fmt: skip
        judged = {"val": self.parts.val, "test": self.parts.test} if self.test else {"val": self.parts.val}
        named = {split: fitted.predict_logits(part.labelled.images).argmax(axis=1) for split, part in judged.items()}
        seconds = time.monotonic() - start
        write_npz(_file(self.folder, arm, number), num_added=len(labels), steps=settings.steps, seconds=seconds, **named)
        return {"name": name, "seed": number, "num_added": len(labels), "seconds": round(seconds, 1)}


def _in_processes(here: _Workplace, todo: Sequence[tuple[int, str]], processes: int) -> Iterator[dict[str, Any]]:
    """What ``train`` gives for each, in order; so many are trained at a time, each with its share of the cores."""
    materials, threads = here.materials, max(1, (os.cpu_count() or 1) // processes)
    asked = (materials.collection, materials.config, materials.out, materials.ratio, here.arms, here.folder, here.test, threads)
    with ProcessPoolExecutor(processes, get_context("spawn"), _begin, asked) as pool:
        try:
            yield from pool.map(_train, *zip(*todo, strict=True))
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in active_children():
                child.terminate()
            if isinstance(error, BrokenProcessPool):
                raise TrainingError(
                    "a process that trained a classifier was killed, perhaps for want of memory. Finished arms are kept: "
                    "go on with --resume and fewer --processes."
                ) from None
            raise


_here: list[_Workplace] = []
"""The one of a process that was started for it."""


def _begin(collection: Collection, config: StudyConfig, out: Path, ratio: float | None, arms: tuple[Arm, ...], folder: Path, test: bool,
           threads: int) -> None:  # fmt: skip
    torch.set_num_threads(threads)
    materials = Materials(collection, config, out, Run.silent())
    materials.ratio = ratio
    _here.append(_Workplace(materials, Parts.of(collection, config.size), arms, folder, test))


def _train(number: int, name: str) -> dict[str, Any]:
    return _here[0].train(number, name)


def _join(real: LabelledImages, images: np.ndarray, labels: np.ndarray) -> LabelledImages:
    added = np.repeat([False, True], [len(real), len(labels)])
    return LabelledImages(np.concatenate([real.images, images]), np.concatenate([real.labels, labels]), added)


def _file(folder: Path, arm: Arm, number: int) -> Path:
    return folder / f"{re.sub('[^a-z]+', '-', arm.name)}-{number}.npz"


def _load(folder: Path, arm: Arm, seeds: int) -> Outcome:
    parts = []
    for number in range(seeds):
        with np.load(_file(folder, arm, number), allow_pickle=False) as archive:
            parts.append({name: archive[name] for name in archive.files})
    return Outcome(
        test=np.stack([part.get("test", np.empty(0, np.int64)) for part in parts]),
        val=np.stack([part["val"] for part in parts]),
        num_added=tuple(int(part["num_added"]) for part in parts),
        steps=tuple(int(part["steps"]) for part in parts),
        seconds=float(sum(part["seconds"] for part in parts)),
    )

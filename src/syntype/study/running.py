"""Trains the arms of a study and predicts with them: one after the other, several at a time in separate processes, or in jobs of a cluster."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from syntype.cluster import Cluster, Job, run_jobs
from syntype.collection import Collection
from syntype.errors import TrainingError
from syntype.files import read_npz, write_npz
from syntype.identification import ClassifierConfig, FeatureCache, LabelledImages, fit, measure_speed
from syntype.identification.calibration import Calibration, temperature
from syntype.run import Run
from syntype.study.analysis import Outcome
from syntype.study.arms import ARMS, Arm, Pool, added_images
from syntype.study.config import StudyConfig
from syntype.study.draws import drawn_rows
from syntype.study.photographs import Split, load_images
from syntype.study.pool import make_pool
from syntype.study.synthetic import SyntheticSets

__all__ = ["Photographs", "calibrated_confidence", "classifier_of", "minutes_of", "processes_for", "run_arms"]

MOST_PROCESSES = 8


class Photographs(Protocol):
    """Chooses the real training images of each arm, where arms differ in them."""

    def chosen(self, arm: str, number: int, real: LabelledImages) -> LabelledImages:
        """Those of ``arm`` in repetition ``number``; ``real`` are all real training images of the collection."""


def classifier_of(arm: Arm, config: StudyConfig) -> ClassifierConfig:
    """The classifier settings of an arm: those of the study, with the changes of the arm."""
    given = config.classifier.model_dump(exclude_unset=True)  # what depends on another setting is resolved anew
    settings = ClassifierConfig.parse({**given, "size": config.size, "device": config.device, **arm.classifier})
    return settings.model_copy(update={"encoder_size": max(settings.encoder_size, config.size)})  # images are never made smaller


def minutes_of(real: Collection, arms: Sequence[Arm], num_added: int, num_classifiers: int, config: StudyConfig) -> float:
    """Minutes for training the classifiers of a study one after the other, by the speed of the network on this machine.

    Args:
        real: the photographs.
        arms: the arms.
        num_added: number of images that an arm with synthetic images adds.
        num_classifiers: number of classifiers to train.
        config: settings of the study.
    """
    settings = classifier_of(ARMS["real"], config)
    speed, num_train = measure_speed(settings), len(real.training())
    added = sum(arm.adds != "nothing" for arm in arms) / len(arms) * num_added  # a mean over the arms
    num_held_out = len(real.select(split=("val", "test")))
    if settings.frozen:  # features of photographs are computed once; those of synthetic images in each repetition
        sources = len({arm.adds for arm in arms} & {"synthetic", "collage", "oracle"})
        fresh = sources * config.seeds * num_added
        return (speed.seconds(settings, num_train + fresh, num_held_out) + (num_classifiers - 1) * speed.seconds(settings, 0, 0)) / 60
    return num_classifiers * speed.seconds(settings, num_train + round(added), num_held_out) / 60


def processes_for(device: str) -> int:
    """Default number of arms to train at the same time: 1 on a GPU, which one arm keeps busy; else one per core, at most ``MOST_PROCESSES``.

    Each process needs about a gigabyte of memory.
    """
    on_gpu = torch.cuda.is_available() or torch.backends.mps.is_available() if device == "auto" else device != "cpu"
    return 1 if on_gpu else min(MOST_PROCESSES, os.cpu_count() or 1)


def run_arms(real: Collection, synthetic: SyntheticSets, arms: Sequence[Arm], config: StudyConfig, out: Path, run: Run, *,
             folder: str = "arms", splits: Sequence[str] = ("val", "test"),
             photographs: Photographs | None = None) -> dict[str, Outcome]:  # fmt: skip
    """Train every arm with every seed, and predict the species of the photographs of ``splits``.

    Predictions that an earlier run wrote to ``out`` are read instead.

    Args:
        real: the photographs.
        synthetic: the curated synthetic images of all repetitions.
        arms: the arms to train.
        config: settings of the study.
        out: the study's folder.
        run: Records progress and events.
        folder: folder inside ``out`` for the predictions.
        splits: splits whose photographs are predicted. Besides these, only the splits ``train`` and ``val`` are read.
        photographs: chooses the real training images of each arm; None: all of the collection in every arm.

    Returns:
        predictions by name of arm, in the order of ``arms``.

    Raises:
        TrainingError: a process that worked on an arm was killed.
    """
    (out / folder).mkdir(parents=True, exist_ok=True)
    task = _Task(real, synthetic, tuple(arms), config, out / folder, out / "features", tuple(splits), photographs)
    remaining = [(number, arm.name) for number in range(config.seeds) for arm in arms if task.read(arm.name, number) is None]
    with run.progress("study", len(remaining)) as bar:
        if remaining:  # the first arm is trained in this process; it writes the features of the photographs to disk for the others
            trainer = _Trainer(task)
            bar.advance(0, f"repetition {remaining[0][0] + 1} of {config.seeds}: {remaining[0][1]}")
            run.event("arm", **trainer.train(*remaining[0]))
            bar.advance()
            elsewhere = config.cluster is not None and config.cluster.executor != "here"
            others, processes = [] if elsewhere else remaining[1:], min(config.processes, len(remaining) - 1)
            for done in _in_processes(task, others, processes) if processes > 1 else (trainer.train(*item) for item in others):
                run.event("arm", **done)
                bar.advance(1, f"repetition {done['seed'] + 1} of {config.seeds}: {done['name']}")
    if config.cluster is not None and config.cluster.executor != "here":
        _in_jobs(task, remaining[1:], config.cluster, out / "cluster" / folder, run)
    return {arm.name: _load(task, arm.name) for arm in arms}


@dataclass(frozen=True)
class _Task:
    """The data that a process needs to train arms.

    Attributes:
        folder: folder for predictions.
        features: folder for features of the photographs.
        splits: splits whose photographs are predicted.
        photographs: chooses the real training images of each arm, or None.
    """

    real: Collection
    synthetic: SyntheticSets
    arms: tuple[Arm, ...]
    config: StudyConfig
    folder: Path
    features: Path
    splits: tuple[str, ...]
    photographs: Photographs | None

    def file(self, arm: str, number: int) -> Path:
        """The file with the predictions of an arm in repetition ``number``."""
        return self.folder / f"{re.sub('[^a-z0-9]+', '-', arm)}-{number}.npz"

    def read(self, arm: str, number: int) -> dict[str, np.ndarray] | None:
        """The predictions of an arm in repetition ``number``; None if they are missing or damaged, so that the arm has to be trained."""
        return read_npz(self.file(arm, number), "num_added", "steps", "seconds", *self.splits, *(["confidence"] if "test" in self.splits else []))


class _Trainer:
    """Trains arms, and keeps the data that they share in memory."""

    def __init__(self, task: _Task) -> None:
        self.task = task
        self._images = {split: load_images(task.real, split, task.config.size) for split in ("train", "val", *task.splits)}
        self._training = Split.of(task.real, "train")
        self._cache = FeatureCache(task.features)
        self._pool: tuple[int, Pool] | None = None

    def pool(self, number: int) -> Pool:
        """The images that arms can add in repetition ``number``. Those of the last repetition asked for are kept in memory."""
        if self._pool is None or self._pool[0] != number:
            self._pool = number, make_pool(self.task.real, self.task.synthetic, self.task.arms, number, self.task.config)
        return self._pool[1]

    def photographs(self, number: int) -> LabelledImages:
        """The training photographs of repetition ``number``: all, or those of its draw."""
        draw, every = self.task.config.draw_seed(number), self._images["train"]
        return every if draw is None else every.rows(drawn_rows(self._training, self.task.synthetic.num_planned > 0, draw))

    def train(self, number: int, name: str) -> dict[str, Any]:
        """Train an arm in repetition ``number`` and write its predictions. Returns the values for the log of events."""
        task, pool, real = self.task, self.pool(number), self.photographs(number)
        arm = next(one for one in task.arms if one.name == name)
        if task.photographs is not None:
            real = task.photographs.chosen(name, number, real)
        seed = task.config.seed_of(number)
        counts_real = np.bincount(real.labels, minlength=len(task.real.species))
        start = time.monotonic()
        added = added_images(arm, pool, real, seed=seed)
        settings = classifier_of(arm, task.config)
        fitted = fit(real.followed_by(added), counts_real, len(task.real.species), settings, seed, self._images["val"],
                     Run(None, quiet=True), self._cache)  # fmt: skip
        logits = {split: fitted.predict_logits(self._images[split].images) for split in task.splits}
        predicted = {split: found.argmax(axis=1) for split, found in logits.items()}
        if "test" in logits:
            predicted["confidence"] = calibrated_confidence(logits, self._images["val"].labels)
        seconds = time.monotonic() - start
        write_npz(task.file(name, number), num_added=len(added), steps=settings.steps, seconds=seconds, **predicted)
        return {"name": name, "seed": number, "num_added": len(added), "seconds": round(seconds, 1)}


def _in_processes(task: _Task, remaining: Sequence[tuple[int, str]], processes: int) -> Iterator[dict[str, Any]]:
    """Train the remaining arms, ``processes`` at a time, each with an equal part of the cores. Yields the results of ``_Trainer.train`` in order."""
    threads = max(1, (os.cpu_count() or 1) // processes)
    context = get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload([__name__, "timm"])  # imported once, by the process that the others are copied from
    with ProcessPoolExecutor(processes, context, _start_process, (task, threads)) as pool:
        try:
            yield from pool.map(_train, *zip(*remaining, strict=True))
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in active_children():
                child.terminate()
            if isinstance(error, BrokenProcessPool):
                raise TrainingError(
                    "a process that trained a classifier was killed, perhaps because memory ran out. Finished arms are kept: "
                    "continue with --resume and fewer --processes."
                ) from None
            raise


@dataclass(frozen=True)
class _ArmJob:
    """The work of a job: to train one arm in one repetition, unless its predictions are there already."""

    task: _Task
    number: int
    name: str

    def __call__(self) -> None:
        """Write the predictions."""
        if self.task.read(self.name, self.number) is None:
            _Trainer(self.task).train(self.number, self.name)


def _in_jobs(task: _Task, remaining: Sequence[tuple[int, str]], cluster: Cluster, folder: Path, run: Run) -> None:
    """Train the remaining arms in jobs, one for each arm and repetition.

    Raises:
        TrainingError: A job failed.
    """
    items = {task.file(name, number).stem: (number, name) for number, name in remaining}

    def arrived(job: str) -> None:
        number, name = items[job]
        found = task.read(name, number)
        if found is not None:
            run.event("arm", name=name, seed=number, num_added=int(found["num_added"]), seconds=round(float(found["seconds"]), 1))

    failures = run_jobs([Job(job, _ArmJob(task, *item)) for job, item in items.items()], cluster, folder, run, arrived=arrived)
    for job, reason in failures.items():
        number, name = items[job]
        raise TrainingError(f"the arm {name!r} in repetition {number + 1}: {reason} Finished arms are kept: continue with --resume.")


_trainers: list[_Trainer] = []
"""In a worker process: a list with its trainer. Otherwise empty."""


def _start_process(task: _Task, threads: int) -> None:
    torch.set_num_threads(threads)
    _trainers.append(_Trainer(task))


def _train(number: int, name: str) -> dict[str, Any]:
    return _trainers[0].train(number, name)


def calibrated_confidence(logits: dict[str, np.ndarray], val_labels: np.ndarray) -> np.ndarray:
    """Probability of the species named for each test photograph, calibrated on the validation photographs if there are any: float32, shape (N,)."""
    calibration = Calibration(temperature(logits["val"], val_labels)) if len(val_labels) and "val" in logits else Calibration()
    return calibration.probabilities(logits["test"]).max(axis=1, initial=0.0)


def _load(task: _Task, arm: str) -> Outcome:
    repetitions = [found for number in range(task.config.seeds) if (found := task.read(arm, number)) is not None]
    return Outcome(
        test=np.stack([one.get("test", np.empty(0, np.int64)) for one in repetitions]),
        val=np.stack([one["val"] for one in repetitions]),
        confidence=np.stack([one.get("confidence", np.empty(0, np.float32)) for one in repetitions]),
        num_added=tuple(int(one["num_added"]) for one in repetitions),
        steps=tuple(int(one["steps"]) for one in repetitions),
        seconds=float(sum(one["seconds"] for one in repetitions)),
    )

"""Trains a classifier with every combination of some settings, here or on a cluster, and tells the best by the validation photographs.

OUT/
  grid.csv     one row a combination: its folder and settings, whether it is trained, figures on the validation photographs, or why it failed
  0001/ ...    one folder a combination, as ``classify train`` writes it
  cluster/     messages of jobs (cluster/running.py)
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from operator import getitem
from pathlib import Path
from typing import Any

from syntype.cluster import Cluster, Job, run_jobs
from syntype.collection.bins import BINS
from syntype.collection.table import Collection
from syntype.errors import CollectionError, DiskError, RecipeError, SyntypeError, TrainingError, shortened
from syntype.files import atomic_write, read_json_object
from syntype.identification.classifier import ClassifierConfig
from syntype.identification.labelling import require_two_species
from syntype.identification.train import train_classifier
from syntype.ownership import discard_run
from syntype.recipe import Settings, read_yaml
from syntype.run import Run, plain

__all__ = ["GridConfig", "GridResult", "combinations", "is_trained", "read_grid", "train_grid"]

MOST = 1000
"""Combinations of a grid at most."""
TABLE = "grid.csv"
_RECALL = "validation_recall"
_FIGURES = ("validation_accuracy", _RECALL, "validation_recall_rare")


class GridConfig(Settings):
    """Settings of ``train_grid``."""

    classifier: ClassifierConfig = ClassifierConfig()
    """Settings that all classifiers share."""
    grid: dict[str, tuple[Any, ...]]
    """Name of a setting (``loss_settings.gamma`` for one in a group) -> its values. Every combination of the values is trained."""


@dataclass(frozen=True)
class GridResult:
    """Result of ``train_grid``.

    Attributes:
        folder: Folder of the grid.
        num_done: Combinations that are trained, by this call and earlier ones.
        num_failed: Combinations that could not be trained; ``table`` says why.
        best: Folder of the classifier with the highest mean recall on the validation photographs, the first of equal ones.
        best_settings: What it was trained with, of the settings of the grid.
        validation: Its ``validation_accuracy``, ``validation_recall`` (mean over the species) and ``validation_recall_rare`` (mean over the species
            with at most ten training photographs; None if none of them has validation photographs), in [0, 1].
        num_validation: Number of validation photographs.
        minutes: Duration of this call.
        table: Path of ``grid.csv``.
    """

    folder: Path
    num_done: int
    num_failed: int
    best: Path
    best_settings: dict[str, Any]
    validation: dict[str, float | None]
    num_validation: int
    minutes: float
    table: Path

    def summary(self) -> dict[str, Any]:
        """Values for ``--json``."""
        values = {key: str(value) if isinstance(value, Path) else value for key, value in vars(self).items() if key != "validation"}
        return {**values, **self.validation}


def read_grid(path: Path, classifier: ClassifierConfig) -> GridConfig:
    """Read a grid file: settings of ``ClassifierConfig``, nested as in a recipe, each with a list of values or one value.

    Args:
        path: The file.
        classifier: The settings that the file does not name.

    Raises:
        RecipeError: The file cannot be read, a setting is unknown, a value is out of range, some values do not go together, a combination stands
            there twice, or there are more than ``MOST``.
    """
    grid: dict[str, tuple[Any, ...]] = {}
    for name, values in _flat(read_yaml(path, ClassifierConfig)):
        if name in grid:
            raise RecipeError(f"{path}: {name}: stands there twice. Give each setting once.")
        grid[name] = tuple(values) if isinstance(values, list) else (values,)
        if not grid[name]:
            raise RecipeError(f"{path}: {name}: has no values. Give a list, for example 'learning_rate: [0.001, 0.003]'.")
    if not grid:
        raise RecipeError(f"{path}: names no settings. Give each a list of values, for example 'learning_rate: [0.001, 0.003]'.")
    number = math.prod(len(values) for values in grid.values())
    if number > MOST:
        raise RecipeError(f"{path}: has {number:,} combinations, more than {MOST:,}. Leave out values, or make several grids.")
    config = GridConfig(classifier=classifier, grid=grid)
    seen: dict[str, dict[str, Any]] = {}
    for chosen, settings in combinations(config, str(path)):
        first = seen.setdefault(settings.model_dump_json(), chosen)
        if first is not chosen:
            raise RecipeError(f"{path}: {_told(first)}, and {_told(chosen)}, are the same settings. Leave one of them out.")
    return config


def combinations(config: GridConfig, source: str = "grid") -> Iterator[tuple[dict[str, Any], ClassifierConfig]]:
    """The combinations of a grid, the values of the last setting changing fastest: the values of its settings, and all settings.

    Args:
        config: Settings.
        source: Where the grid comes from, for error messages.

    Raises:
        RecipeError: A setting is unknown, or values are out of range or do not go together.
    """
    for values in product(*config.grid.values()):
        chosen = dict(zip(config.grid, values, strict=True))
        merged = config.classifier.model_dump(exclude_unset=True)  # what is not given follows from the settings of the combination
        for name, value in chosen.items():
            *groups, last = name.split(".")
            target = merged
            for group in groups:
                inner = target.get(group)
                target[group] = dict(inner) if isinstance(inner, Mapping) else {}
                target = target[group]
            target[last] = value
        try:
            settings = ClassifierConfig.parse(merged, source)
        except RecipeError as error:
            raise RecipeError(f"{error} (In the combination {_told(chosen)}.)") from None
        read = settings.model_dump(mode="json")  # YAML reads 1e-3 as a text
        yield {name: reduce(getitem, name.split("."), read) for name in chosen}, settings


def is_trained(folder: Path) -> bool:
    """Whether a combination's folder holds its classifier."""
    return read_json_object(folder / "run.json").get("status") == "finished"


def train_grid(
    collection: Collection, config: GridConfig, out: Path, run: Run, *, synthetic: Collection | None = None, cluster: Cluster | None = None
) -> GridResult:
    """Train a classifier with every combination of a grid, each as ``train_classifier`` does, in a folder of its own.

    A second call in the same folder trains the missing combinations alone. One that cannot be trained does not stop the others.

    Args:
        collection: As for ``train_classifier``; it needs validation photographs.
        config: Settings.
        out: Folder of the grid.
        run: Records progress and events.
        synthetic: As for ``train_classifier``.
        cluster: Where to compute; None: here, one combination after the other.

    Returns:
        the best combination by the validation photographs, and how many are trained.

    Raises:
        CollectionError: There are no validation photographs, or too few species.
        RecipeError: A combination has settings that do not go together.
        TrainingError: No combination at all could be trained.
        KeyboardInterrupt: After Ctrl-C or a warning of the cluster. What is trained is kept.
    """
    began = time.monotonic()
    require_two_species(collection, synthetic)
    if not len(collection.where(collection.table["species"].notna()).select(split="val")):
        raise CollectionError(
            f"{collection.root}: has no photographs in the split 'val', by which the best combination is told. "
            "Look in inspect how the splits were made, and import it again with some."
        )
    names, jobs, table = [], [], _Table(out, list(config.grid))
    submitted = read_json_object(out / "cluster" / "jobs.json").get("jobs", {})  # by a call that was stopped; their records have to be cleared up
    root, added = collection.root.resolve(), None if synthetic is None else synthetic.root.resolve()
    for number, (chosen, settings) in enumerate(combinations(config), 1):
        name = f"{number:04d}"
        names.append(name)
        if not table.add(name, chosen) or name in submitted:
            jobs.append(Job(name, _Training(root, added, settings, (out / name).resolve(), run.quiet)))
    table.write()
    failures = run_jobs(jobs, cluster or Cluster(), out / "cluster", run, arrived=table.arrived)
    for name, reason in failures.items():
        table.rows[name].update(status="failed", reason=reason)
    table.write()
    done = [row for row in table.rows.values() if row["status"] == "done"]
    run.event("grid", done=len(done), failed=len(failures))
    measured = [row for row in done if row[_RECALL] is not None]
    if not measured:
        name, reason = next(iter(failures.items()), (names[0], "no validation photographs are left, because training images repeat them."))
        raise TrainingError(f"no combination could be trained and validated. {name}: {reason} All reasons are in {out / TABLE}.")
    best = max(measured, key=lambda row: row[_RECALL])  # of equal values ``max`` returns the first
    folder, chosen, figures = out / best["folder"], {name: best[name] for name in config.grid}, {name: best[name] for name in _FIGURES}
    minutes = round((time.monotonic() - began) / 60, 4)
    return GridResult(out, len(done), len(failures), folder, chosen, figures, _validation(folder)["num_images"], minutes, out / TABLE)


@dataclass(frozen=True)
class _Training:
    """The work of a job: ``classify train`` with one combination. Called again, it does nothing if it had finished, and else begins anew."""

    collection: Path
    synthetic: Path | None
    config: ClassifierConfig
    folder: Path
    quiet: bool

    def __call__(self) -> None:
        if is_trained(self.folder):
            return
        try:
            discard_run(self.folder, "classify")
            opened, added = Collection.open(self.collection), None if self.synthetic is None else Collection.open(self.synthetic)
            inputs = {"collection": opened, "synthetic": added}
            with Run.start(self.folder, "classify", self.config, seed=self.config.seed, inputs=inputs, quiet=self.quiet) as run:
                result = train_classifier(opened, self.config, self.folder, run, synthetic=added)
                run.finish(**plain(result.summary()))
        except DiskError:
            raise
        except SyntypeError as error:  # one combination must not stop the others
            raise TrainingError(str(error)) from error
        except Exception as error:  # for example torch's, that the card's memory is full
            raise TrainingError(f"unexpected {type(error).__name__}: {shortened(' '.join(str(error).split()), 300)}") from error


class _Table:
    """``grid.csv``. ``rows``: by name of the combination."""

    def __init__(self, out: Path, settings: Sequence[str]) -> None:
        self.out, self.columns = out, ("folder", *settings, "status", *_FIGURES, "reason")
        self.rows: dict[str, dict[str, Any]] = {}

    def add(self, name: str, chosen: Mapping[str, Any]) -> bool:
        """Add a combination; returns whether it is trained."""
        self.rows[name] = {"folder": name, **chosen, "status": "missing"}
        done = is_trained(self.out / name)
        if done:
            self._take(name)
        return done

    def arrived(self, name: str) -> None:
        """Note that a combination has been trained."""
        self._take(name)
        self.write()

    def _take(self, name: str) -> None:
        found = _validation(self.out / name)
        rare = found.get("bins", {}).get(BINS[0], {}).get("recall")
        self.rows[name].update(zip(_FIGURES, (found.get("accuracy"), found.get("macro_recall"), rare), strict=True), status="done")

    def write(self) -> None:
        """Write the file."""
        with atomic_write(self.out / TABLE) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows.values())


def _validation(folder: Path) -> dict[str, Any]:
    """Figures of a classifier on the validation photographs, as ``Metrics.summary`` gives them; empty if there are none."""
    return read_json_object(folder / "classifier.json").get("training", {}).get("validation") or {}


def _flat(values: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of settings; those in a group have its name before them."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{group}{name}.")
        else:
            yield f"{group}{name}", value


def _told(chosen: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {shortened(value)}" for name, value in chosen.items())

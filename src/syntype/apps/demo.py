"""``syntype demo``: all stages on the drawn reef, in about 15 minutes on two processor cores.

Each stage writes a folder in OUT. An interrupted demo continues when it is started again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syntype.apps.cli_common import FOLDER, Result, device_option, dry_run_option, example, output_options, plan, run_stage, settings, show
from syntype.errors import CollectionError

if TYPE_CHECKING:
    from syntype.collection import Collection
    from syntype.recipe import Settings
    from syntype.run import Run

__all__ = ["COMMANDS", "demo"]

STAGES = ("1-reef", "2-generator", "3-adapted", "4-synthetic", "5-curated", "6-study")
SHOTS = 6
NUM_SPECIES, SIZE = 24, 64
NUM_IMAGES = 60  # per rare species
FIXED_MINUTES = 8.0  # all stages except the training of the generator, on two cores
QUICK_STUDY: dict[str, Any] = {"fill_to": 30, "classifier": {"steps": 600, "views": 2}}
"""Fewer images and steps than in a real study, so that the demo takes about 15 minutes."""


@click.command(
    short_help="Run all steps on drawn fish, in about 15 minutes.",
    epilog=example("syntype demo --out out/demo", "syntype demo --out out/demo --minutes 12 --seeds 5"),
)
@click.option("--out", type=FOLDER, required=True, help="Folder to write one folder per stage to.")
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), default=5.0, show_default=True, help="Training time of the generator, in minutes."
)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Number of seeds of the study.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed. Equal seeds give equal results.")
@device_option
@dry_run_option
@output_options
def demo(out: Path, minutes: float, seeds: int, seed: int, device: str | None, dry_run: bool, as_json: bool, quiet: bool) -> None:
    """Run all steps on drawn fish: make a collection, train a generator, adapt it to a rare species, generate, curate, study, report.

    It takes about 15 minutes on two cores. An interrupted demo continues when it is started again. The other commands can use the folders.
    """
    stages = _Stages(out, quiet)
    if dry_run:
        plan(as_json, out=out, images=_reef_size(seed), steps=None, minutes=minutes + FIXED_MINUTES, stages=list(STAGES))
        return
    config = _demo_settings(minutes=minutes, seeds=seeds, seed=seed)
    result = run_stage(
        lambda run: _run_all(stages, minutes=minutes, seeds=seeds, seed=seed, device=device or "auto"),
        "demo",
        out,
        config,
        seed=seed,
        inputs={},
        kept=f"Finished stages are in {out}; the same command continues from there.",
        resume=True,
        quiet=quiet,
    )
    show(result.summary(), as_json, f"Open the report: {result.report}")


def _demo_settings(**values: Any) -> Settings:
    """The settings of the demo as a settings object, so that the demo goes on only in a folder that was made with the same ones."""
    from syntype.recipe import Settings

    class DemoSettings(Settings):
        minutes: float
        seeds: int
        seed: int

    return DemoSettings.parse(values)


@dataclass(frozen=True)
class DemoResult:
    """Result of the demo: the values that it prints, and the path of the report."""

    values: dict[str, Any]
    report: Path

    def summary(self) -> dict[str, Any]:
        """The values that ``--json`` prints."""
        return {**self.values, "report": str(self.report)}


class _Stages:
    """Runs stages, each in its own folder, and skips those that are finished."""

    def __init__(self, out: Path, quiet: bool) -> None:
        self.out, self.quiet = out, quiet

    def run(self, name: str, config: Settings, call: Callable[[Path, Run], Result], *, seed: int, resumable: bool = False) -> Path:
        """Run a stage unless it is finished. Returns its folder."""
        from syntype.ownership import discard_run, run_status

        folder, stage = self.out / name, name.partition("-")[2]
        if run_status(folder) == "finished":
            self._say(f"{name}: already finished")
            return folder
        if not resumable:
            discard_run(folder, stage)
        self._say(f"{name} …")
        start = time.monotonic()
        run_stage(
            lambda run: call(folder, run),
            stage,
            folder,
            config,
            seed=seed,
            inputs={},
            kept=f"Finished stages are in {self.out}; the same command continues from there.",
            resume=True,
            quiet=self.quiet,
        )
        self._say(f"{name}: {(time.monotonic() - start) / 60:.1f} minutes")
        return folder

    def _say(self, text: str) -> None:
        if not self.quiet:
            click.echo(text, err=True)


def _run_all(stages: _Stages, *, minutes: float, seeds: int, seed: int, device: str) -> DemoResult:
    """Run all stages."""
    start = time.monotonic()
    from syntype.adaptation import AdaptConfig, adapt
    from syntype.collection import Collection
    from syntype.collection.reef import ReefConfig, draw_reef
    from syntype.curation import CurateConfig, curate
    from syntype.generators import TrainConfig, load_generator, train
    from syntype.study import StudyConfig, study
    from syntype.synthesis import GenerateConfig, generate

    reef_config = ReefConfig.parse({"num_species": NUM_SPECIES, "size": SIZE, "seed": seed})
    reef = Collection.open(stages.run(STAGES[0], reef_config, lambda out, run: draw_reef(reef_config, out, run), seed=seed))
    rare, new = _rare_species(reef)

    flags = {"size": SIZE, "minutes": minutes, "except_": (new,), "seed": seed, "device": device}
    train_config = settings(TrainConfig, flags, recipe="demo")
    base = stages.run(STAGES[1], train_config, lambda out, run: train(reef, train_config, out, run), seed=seed, resumable=True)

    adapt_config = AdaptConfig.parse({"species": new, "shots": SHOTS, "seed": seed, "device": device})
    adapted = stages.run(STAGES[2], adapt_config, lambda out, run: adapt(load_generator(base), reef, adapt_config, out, run), seed=seed)

    generate_config = GenerateConfig.parse({"species": rare, "num": NUM_IMAGES, "seed": seed})
    drawn = stages.run(STAGES[3], generate_config, lambda out, run: generate(load_generator(adapted), generate_config, out, run), seed=seed)

    curate_config = CurateConfig.parse({"size": SIZE, "seed": seed})
    synthetic = Collection.open(drawn)
    curated = stages.run(STAGES[4], curate_config, lambda out, run: curate(synthetic, reef, curate_config, out, run), seed=seed)

    study_config = StudyConfig.parse(
        {"generator": str(adapted), "seeds": seeds, "seed": seed, "device": device, "size": SIZE, "quick": True, **QUICK_STUDY}
    )
    study_folder = stages.run(STAGES[5], study_config, lambda out, run: study(reef, study_config, out, run), seed=seed, resumable=True)

    result = json.loads((study_folder / "run.json").read_text(encoding="utf-8"))["result"]
    kept = Collection.open(curated)
    values = {
        "verdict": result["verdict"],
        "effect": result["effect"],
        "interval": result["interval"],
        "adapted_to": new,
        "synthetic": len(kept),
        "accepted": len(kept.select(usable=True)),
        "minutes": round((time.monotonic() - start) / 60, 1),
    }
    return DemoResult(values, study_folder / "report.html")


def _rare_species(reef: Collection) -> tuple[list[str], str]:
    """The species with 6 to 10 training images, and the rarest of them."""
    counts = {name: count for name, count in reef.training().counts().items() if SHOTS <= count <= 10}
    if not counts:
        raise CollectionError(f"{reef.root}: this reef has no species of {SHOTS} to 10 training images. Choose another --seed.")
    return list(counts), min(counts, key=lambda name: (counts[name], name))


def _reef_size(seed: int) -> int:
    from syntype.collection.reef import ReefConfig, training_counts

    config = ReefConfig.parse({"num_species": NUM_SPECIES, "size": SIZE, "seed": seed})
    return int(training_counts(config).sum()) + NUM_SPECIES * (config.num_val + config.num_test)


COMMANDS = (demo,)

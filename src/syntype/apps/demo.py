"""``syntype demo``: from photographs to a verdict in minutes on two processor cores, on drawn fish or on one's own photographs.

Each stage writes a folder in OUT. An interrupted demo continues when it is started again.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syntype.apps.cli_common import FOLDER, Result, device_option, dry_run_option, example, output_options, plan, run_stage, show
from syntype.errors import CollectionError

if TYPE_CHECKING:
    from syntype.collection import Collection
    from syntype.collection.importers import CollectConfig
    from syntype.collection.reef import ReefConfig
    from syntype.recipe import Settings
    from syntype.run import Run

__all__ = ["COMMANDS", "demo"]

STAGES = ("1-photographs", "2-generator", "3-synthetic", "4-curated", "5-study")
PICTURE = "pictures.jpg"
FAMILY, SIZE = "pose_transfer", 128
NUM_SPECIES = 24  # of the drawn reef
RARE = 30
"""Species with fewer training photographs than this are filled up to it, as in the study."""
MAX_SPECIES, NUM_IMAGES = 24, 20
"""Synthetic images are made of so many species, the rarest first, and so many of each."""
ROWS, SHOTS = 6, 6
"""Of the picture: species, and photographs of each that are shown, which is also the least number of them."""
QUICK_STUDY: dict[str, Any] = {"quick": True, "size": SIZE, "fill_to": RARE, "classifier": {"steps": 600, "views": 2}}
"""Fewer images and steps than in a real study, so that the demo takes minutes."""
START_MINUTES, IMAGES_PER_MINUTE = 2.0, 200.0
"""For ``--dry-run``: time of all stages on two cores, by number of photographs."""


@click.command(
    short_help="Run all steps in minutes, on drawn fish or your photographs.",
    epilog=example(
        "syntype demo --out out/demo", "syntype demo photographs/ --out out/mine", "syntype demo labels.csv --group-column specimen --out out/mine"
    ),
)
@click.argument("photographs", type=FOLDER, required=False)
@click.option("--out", type=FOLDER, required=True, help="Folder to write one folder per stage to.")
@click.option("--group-column", help="Column of a table with the specimen, observation or video track.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Number of seeds of the study.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed. Equal seeds give equal results.")
@device_option
@dry_run_option
@output_options
def demo(
    photographs: Path | None,
    out: Path,
    group_column: str | None,
    seeds: int,
    seed: int,
    device: str | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run all steps in minutes: photographs, a generator, synthetic images of the rare species, curation, a quick study.

    Without PHOTOGRAPHS it draws fish of an invented reef. PHOTOGRAPHS is what `syntype collect` reads: a folder with one sub-folder for each species,
    a table, a zip, or a collection, which keeps its splits.

    The generator recombines cut-outs of the photographs (family `pose_transfer`) and needs no training. An interrupted demo continues when it is
    started again. The other commands can use the folders.
    """
    source = _DrawnReef(seed) if photographs is None else _Photographs(photographs, group_column, seed)
    if dry_run:
        images = source.num_images()
        plan(as_json, out=out, images=images, steps=None, minutes=START_MINUTES + images / IMAGES_PER_MINUTE, stages=list(STAGES))
        return
    stages = _Stages(out, quiet)
    result = run_stage(
        lambda run: _run_all(stages, source, seeds=seeds, seed=seed, device=device or "auto"),
        "demo",
        out,
        _demo_settings(seeds=seeds, seed=seed, group_column=group_column),
        seed=seed,
        inputs={"photographs": photographs},
        kept=f"Finished stages are in {out}; the same command continues from there.",
        resume=True,
        quiet=quiet,
    )
    show(result.summary(), as_json, _next_steps(result, out, photographs))


def _next_steps(result: DemoResult, out: Path, photographs: Path | None) -> str:
    """What to look at, and the command to type next."""
    collection, generator, learnt, whole = (shlex.quote(str(out / name)) for name in (*STAGES[:2], "learnt", "whole-study"))
    then = [
        ("Look at", str(result.picture)),
        ("The report", str(result.report)),
        ("A generator that learns", f"syntype train projected {collection} --minutes 45 --out {learnt}"),
    ]
    if photographs is None:
        then.append(("Next, your own photographs", "syntype demo photographs/ --out out/mine"))
    else:
        then.append(("Next, the whole study (hours)", f"syntype study {collection} --generator {generator} --out {whole}"))
    return "\n".join(f"{what + ':':<31}{words}" for what, words in then)


def _demo_settings(**values: Any) -> Settings:
    """The settings of the demo as a settings object, so that the demo goes on only in a folder that was made with the same ones."""
    from syntype.recipe import Settings

    class DemoSettings(Settings):
        seeds: int
        seed: int
        group_column: str | None

    return DemoSettings.parse(values)


@dataclass(frozen=True)
class DemoResult:
    """Result of the demo: the values that it prints, and the paths of the picture and of the report."""

    values: dict[str, Any]
    picture: Path
    report: Path

    def summary(self) -> dict[str, Any]:
        """The values that ``--json`` prints."""
        return {**self.values, "picture": str(self.picture), "report": str(self.report)}


class _DrawnReef:
    """Drawn fish in the place of photographs."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @property
    def config(self) -> ReefConfig:
        from syntype.collection.reef import ReefConfig

        return ReefConfig.parse({"num_species": NUM_SPECIES, "size": SIZE, "seed": self.seed})

    def num_images(self) -> int:
        from syntype.collection.reef import training_counts

        return int(training_counts(self.config).sum()) + NUM_SPECIES * (self.config.num_val + self.config.num_test)

    def make(self, out: Path, run: Run) -> Result:
        from syntype.collection.reef import draw_reef

        return draw_reef(self.config, out, run)


class _Photographs:
    """The user's photographs."""

    def __init__(self, source: Path, group_column: str | None, seed: int) -> None:
        self.source, self.group_column, self.seed = source, group_column, seed

    @property
    def config(self) -> CollectConfig:
        from syntype.collection.importers import CollectConfig

        return CollectConfig.parse({"group_column": self.group_column, "seed": self.seed})

    def num_images(self) -> int:
        from syntype.collection.preview import preview

        return preview(self.source, self.config).num_usable

    def make(self, out: Path, run: Run) -> Result:
        from syntype.collection.importers import collect

        return collect(self.source, self.config, out, run)


class _Stages:
    """Runs stages, each in its own folder, and skips those that are finished."""

    def __init__(self, out: Path, quiet: bool) -> None:
        self.out, self.quiet = out, quiet

    def run(self, name: str, config: Settings, call: Callable[[Path, Run], Result], *, seed: int, resumable: bool = False) -> Path:
        """Run a stage unless it is finished. Returns its folder."""
        from syntype.ownership import discard_run, run_status

        folder, stage = self.out / name, name.partition("-")[2]
        if run_status(folder) == "finished":
            self.say(f"{name}: already finished")
            return folder
        if not resumable:
            discard_run(folder, stage)
        self.say(f"{name} …")
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
        self.say(f"{name}: {(time.monotonic() - start) / 60:.1f} minutes")
        return folder

    def say(self, text: str) -> None:
        """Print a line on standard error."""
        if not self.quiet:
            click.echo(text, err=True)


def _run_all(stages: _Stages, source: _DrawnReef | _Photographs, *, seeds: int, seed: int, device: str) -> DemoResult:
    """Run all stages."""
    from syntype.collection import Collection
    from syntype.curation import CurateConfig, curate
    from syntype.generators import TrainConfig, load_generator, train
    from syntype.study import StudyConfig, study
    from syntype.synthesis import GenerateConfig, generate
    from syntype.synthesis.pairs import write_pairs

    photographs = Collection.open(stages.run(STAGES[0], source.config, source.make, seed=seed))
    rare = _rare_species(photographs)

    train_config = TrainConfig.parse({"family": FAMILY, "size": SIZE, "seed": seed, "device": device})
    generator = stages.run(STAGES[1], train_config, lambda out, run: train(photographs, train_config, out, run), seed=seed, resumable=True)

    generate_config = GenerateConfig.parse({"species": rare, "num": NUM_IMAGES, "seed": seed})
    drawn = stages.run(STAGES[2], generate_config, lambda out, run: generate(load_generator(generator), generate_config, out, run), seed=seed)

    curate_config = CurateConfig.parse({"size": SIZE, "seed": seed})
    synthetic = Collection.open(drawn)
    curated = Collection.open(
        stages.run(STAGES[3], curate_config, lambda out, run: curate(synthetic, photographs, curate_config, out, run), seed=seed)
    )
    picture = write_pairs(photographs, curated, rare[:ROWS], SIZE, SHOTS, stages.out / PICTURE)
    stages.say(f"Look at {picture}: photographs on the left, synthetic images on the right")

    study_config = StudyConfig.parse({"generator": str(generator), "seeds": seeds, "seed": seed, "device": device, **QUICK_STUDY})
    study_folder = stages.run(STAGES[4], study_config, lambda out, run: study(photographs, study_config, out, run), seed=seed, resumable=True)

    result = json.loads((study_folder / "run.json").read_text(encoding="utf-8"))["result"]
    values = {
        "verdict": result["verdict"],
        "sentence": result["sentence"],
        "effect": result["effect"],
        "interval": result["interval"],
        "best_without_generator": result["best_without_generator"],
        "synthetic": len(curated),
        "accepted": len(curated.select(usable=True)),
        "minutes": {name.partition("-")[2]: _minutes(stages.out / name) for name in STAGES},
    }
    return DemoResult(values, picture, study_folder / "report.html")


def _minutes(folder: Path) -> float:
    """How long a finished stage took, from its first start to its end, to a tenth of a minute."""
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    ended, started = (datetime.fromisoformat(record[key]) for key in ("ended", "started"))
    return round((ended - started).total_seconds() / 60, 1)


def _rare_species(photographs: Collection) -> list[str]:
    """The species with too few training photographs, the rarest first; those with too few for a row of the picture come last."""
    counts = {name: count for name, count in photographs.training().counts().items() if 0 < count < RARE}
    if not counts:
        raise CollectionError(
            f"{photographs.root}: all species have {RARE} training photographs or more, so the demo has no rare ones. Try the commands one by one: "
            "docs/tutorials/quickstart.md."
        )
    return sorted(counts, key=lambda name: (counts[name] < SHOTS, counts[name], name))[:MAX_SPECIES]


COMMANDS = (demo,)

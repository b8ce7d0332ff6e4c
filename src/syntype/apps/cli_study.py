"""Commands that judge: evaluate, study, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from syntype.apps.cli_common import (
    FOLDER,
    example,
    open_collection,
    out_option,
    output_options,
    plan,
    run_stage,
    seed_option,
    set_option,
    settings,
    show,
    stage_options,
)

__all__ = ["COMMANDS"]

DEFAULT_MINUTES = 30.0
MINUTES_PER_SEED = 6.0
"""For plans: all arms of one repetition with about a thousand photographs, on two cores without a GPU."""


@click.command(short_help="Measure fidelity, variety and copies.", epilog=example("syntype evaluate out/curated --real out/fish --split test"))
@click.argument("synthetic", type=FOLDER)
@click.option("--real", type=FOLDER, required=True, help="The collection of photographs to compare with.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Which photographs.  [default: test]")
@seed_option
@set_option
@output_options
def evaluate(synthetic: Path, real: Path, overrides: tuple[str, ...], as_json: bool, quiet: bool, **flags: Any) -> None:
    """Measure how close synthetic images are to photographs, how varied, and how many are copies."""
    from syntype.run import Run
    from syntype.study.fidelity import EvaluateConfig
    from syntype.study.fidelity import evaluate as stage

    config = settings(EvaluateConfig, flags, overrides=overrides)
    result = stage(open_collection(synthetic), open_collection(real), config, Run(None, quiet=quiet))
    show(result.summary(), as_json)


@click.command(
    short_help="Find out whether synthetic images help.",
    epilog=example("syntype study out/fish --generator out/adapted --seeds 5 --out out/study", "syntype report out/study"),
)
@click.argument("collection", type=FOLDER)
@out_option("the study")
@click.option("--generator", metavar="GENERATOR|FAMILY", help="A generator's folder, or a family to train inside the study.")
@click.option("--synthetic", metavar="COLLECTION", help="A ready synthetic collection, from any generator, in place of --generator.")
@click.option("--seeds", type=click.IntRange(min=1), help="Number of paired seeds.  [default: 5]")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Time for training a family inside the study.  [default: 30]")
@click.option("--processes", type=click.IntRange(min=1), help="Arms to train at a time.  [default: one a core, 8 at most; on a GPU 1]")
@stage_options
def study(collection: Path, out: Path, resume: bool, overrides: tuple[str, ...], dry_run: bool, as_json: bool, quiet: bool, **flags: Any) -> None:
    """Find out whether synthetic images help: equal arms, paired seeds, intervals, and a verdict in words.

    Without --generator the family `projected` is trained inside the study, for --minutes.
    """
    from syntype.study import StudyConfig
    from syntype.study import study as stage
    from syntype.study.arms import ARMS
    from syntype.study.running import processes_for

    if flags["synthetic"] is None and flags["minutes"] is None and not (flags["generator"] and Path(flags["generator"]).is_dir()):
        flags["minutes"] = DEFAULT_MINUTES
    flags["processes"] = flags["processes"] or processes_for(flags["device"] or "auto")
    config = settings(StudyConfig, flags, overrides=overrides)
    opened = open_collection(collection)
    if dry_run:
        arms = len(config.arms or ARMS)
        minutes = (config.minutes or 0) * config.generator_seeds + config.seeds * MINUTES_PER_SEED
        plan(
            as_json, out=out, images=len(opened), steps=arms * config.seeds * config.classifier.steps, minutes=minutes, arms=arms, seeds=config.seeds
        )
        return
    result = run_stage(
        lambda run: stage(opened, config, out, run),
        "study",
        out,
        config,
        seed=config.seed,
        inputs={"collection": str(collection)},
        kept=f"Finished arms are in {out}; continue with --resume.",
        resumable=True,
        resume=resume,
        quiet=quiet,
    )
    show(result.summary(), as_json, f"The report: {result.report}")


@click.command(short_help="Write a study's report.", epilog=example("syntype report out/study"))
@click.argument("study_folder", metavar="STUDY", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def report(study_folder: Path, as_json: bool) -> None:
    """Write a study's report again: one HTML file that needs nothing else."""
    from syntype.study import write_report

    show({"report": str(write_report(study_folder))}, as_json)


COMMANDS = (evaluate, study, report)
